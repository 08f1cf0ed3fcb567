//! Ports of hosts that lead to domains: sold, planned, paid, and nobody else's meanwhile.

use crate::environment::Environment;

const GATE: &str = r#"
pool gate {
    budget 10 for="10h"
    domain web count=2 { image "std:tiny"; memory "64MiB"; eth0 { forward 2222 to=22; forward 2280; }; }
}
"#;

#[test]
fn ports_of_hosts_lead_to_the_domains_that_ask_for_them() {
    let environment = Environment::new();
    environment.write("gate.kdl", GATE);
    // A port leads to one domain, so that each has a host of its own.
    insta::assert_snapshot!("forwards_plan", environment.run(&["plan", "gate.kdl"]).ok());
    environment.run(&["up", "gate.kdl"]).ok();
    let status = environment.json(&["status", "gate"]);
    let rows = status["domains"].as_array().expect("domains");
    let hosts: Vec<&str> = rows.iter().map(|row| row["host"].as_str().expect("a host")).collect();
    assert_ne!(hosts[0], hosts[1]);
    for host in &hosts {
        let held = environment.run(&["host", "status", host, "--pool", "gate"]).ok();
        assert!(held.stdout.contains("2222") && held.stdout.contains("2280"), "{held}");
    }
    assert!(environment.run(&["up", "gate.kdl"]).ok().stdout.contains("nothing to do"));

    // Another pool of hers cannot have them there; and a port that is given back can be had again.
    let there = format!("domain web {{ place {{ require \"host.name == '{}'\"; }};", hosts[0]);
    environment.write("other.kdl", &GATE.replace("pool gate", "pool other").replace("domain web count=2 {", &there));
    let refused = environment.run(&["plan", "other.kdl"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("its TCP port 2222 held by another pool"), "{refused}");
    environment.write("gate.kdl", &GATE.replace("forward 2222 to=22; forward 2280;", "forward 2222 to=80;"));
    insta::assert_snapshot!("forwards_fewer", environment.run(&["plan", "gate.kdl"]).ok());
    environment.run(&["up", "gate.kdl"]).ok();
    let held = environment.run(&["host", "status", hosts[0], "--pool", "gate"]).ok();
    assert!(held.stdout.contains("2222") && !held.stdout.contains("2280"), "{held}");
    // Another port while it runs, which it goes on to do.
    environment.write("gate.kdl", &GATE.replace("forward 2222 to=22; forward 2280;", "forward 2290 to=80;"));
    environment.run(&["up", "gate.kdl"]).ok();
    insta::assert_snapshot!("forwards_status", environment.run(&["status", "gate"]).ok());
    // One that its host does not sell is no change that can be made, and nothing is begun.
    environment.write("gate.kdl", &GATE.replace("forward 2222 to=22; forward 2280;", "forward 443;"));
    let refused = environment.run(&["up", "gate.kdl"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("TCP port 443"), "{refused}");
    let status = environment.json(&["status", "gate"]);
    let rows = status["domains"].as_array().expect("domains");
    assert!(rows.iter().all(|row| row["state"] == "running" && row["forwards"][0]["port"] == 2290), "{status}");
    environment.run(&["down", "gate"]).ok();
    environment.audited_balance();

    let twice = "eth0 { forward 2222; }; nic eth1 { forward 2222; }";
    environment.write("gate.kdl", &GATE.replace("eth0 { forward 2222 to=22; forward 2280; }", twice));
    insta::assert_snapshot!("forwards_twice", environment.run(&["check", "gate.kdl"]));

    environment.write("gate.kdl", &GATE.replace("2222 to=22", "22 to=22"));
    insta::assert_snapshot!("forwards_not_sold", environment.run(&["plan", "gate.kdl"]));
}
