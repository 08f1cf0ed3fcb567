//! A pool comes up and goes on real hosts while services die and hosts are cut off, and no credit is lost.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::lab::{Ran, wait};
use crate::terms;
use crate::town::Town;

/// How long `up` and `down` may try before they give up on what does not answer.
const PATIENCE: Duration = Duration::from_secs(400);

/// The pool of the manual, on both hosts.
const POOL: &str = "pool physics {\n    budget 20 for=\"1h\"\n    domain sim count=2 {\n        image \"std:tiny\"\n        \
                    memory \"128MiB\"\n        place { max-per-host 1; }\n    }\n}\n";

/// Begins something, kills a party once `begun` is so, and lets it end; the party is back then. It may have done what it
/// could, or all; it must say so, and not fall over.
fn disturbed(town: &mut Town, line: &str, party: &str, begun: impl Fn(&Town) -> bool) -> Ran {
    let mut child = town.begin("physics", line);
    town.until(&format!("that `{line}` has begun"), || {
        (begun(town) || child.try_wait().expect("it can be asked").is_some()).then_some(())
    });
    town.kill(party);
    let output = wait(child, PATIENCE);
    town.start(party);
    let ran = Ran::of(&format!("physics: {line}, without {party}"), &output);
    println!("{ran}");
    assert!(matches!(ran.code, Some(0 | 1 | 3 | 4)), "{ran}");
    ran
}

/// The domains of physics that are defined, running or not.
fn defined(town: &Town) -> usize {
    let on = |host| town.lab.on(host, "virsh list --all --name").matches("physics.").count();
    on(1) + on(2)
}

#[test]
#[ignore = "needs the lab: `make test`"]
fn up_and_down_survive_dead_services_and_hosts_that_are_cut_off() {
    let mut town = Town::with_groups(2);
    let before = [town.lab.traces(1), town.lab.traces(2)];
    fs::write(town.lab.path().join("physics/pool.kdl"), POOL).expect("the file can be written");
    let up = "tycoon up pool.kdl --yes";
    let down = "tycoon down physics --yes";
    for (of_up, of_down) in [("way2", "bank"), ("bank", "way1")] {
        disturbed(&mut town, up, of_up, |town| defined(town) > 0);
        town.until("that it comes up after all", || (town.run("physics", up).code == Some(0)).then_some(()));
        town.is_up("physics", 2);
        disturbed(&mut town, down, of_down, |town| town.running("physics").len() < 2);
        town.until("that it goes after all", || (town.run("physics", down).code == Some(0)).then_some(()));
        assert_eq!(defined(&town), 0);
        assert_eq!(town.money("physics").1, 0, "nothing of hers is set aside");
    }

    // Without the list of hosts she goes by what she knows; and another machine, with her key and the site's line and
    // nothing else, takes down what this one brought up.
    town.kill("sls");
    town.run("physics", up).ok();
    town.is_up("physics", 2);
    town.start("sls");
    let (home, elsewhere) = (town.lab.path().join("physics"), town.lab.path().join("elsewhere"));
    fs::create_dir_all(elsewhere.join(".config")).expect("a home");
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(home.join(".config/tycoon")).arg(elsewhere.join(".config"));
    assert!(copy.status().expect("cp starts").success());
    town.run("elsewhere", "tycoon status physics").ok().says(&["sim.0", "sim.1", "running"]);
    town.run("elsewhere", down).ok();
    assert_eq!(defined(&town), 0);
    assert_eq!(town.money("physics").1, 0, "nothing of hers is set aside");

    terms::a_quote_holds_its_price_and_no_longer_than_it_says(&town);
    town.run("physics", up).ok();
    terms::a_host_gets_no_more_than_it_may_and_she_is_told(&town);
    town.run("physics", down).ok();

    for host in [1, 2] {
        assert_eq!(town.lab.traces(host), before[host - 1], "nothing stays on host {host}");
    }
    let paid = 200_000_000 - town.money("physics").0;
    town.run("operator", "tycoon host withdraw all").ok();
    assert_eq!(town.money("operator").0, 700_000_000 + paid, "what she paid is what the hosts earned");
    town.run("operator", "tycoon bank audit --store sled:/var/lib/tycoon-bank/books").ok().says(&["It adds up"]);
}
