//! Pools of more than one kind of machine.

use crate::environment::Environment;

/// A head and some workers of two sizes, made from templates.
const CLUSTER: &str = r#"// A small cluster: one head, some workers, all from one template.
param workers type=integer default=4 min=1 max=20 doc="how many workers"

template Node extends=domain {
    image "debian-12"
    memory "512MiB"
    root size="4GiB"
}

pool cluster {
    budget 40 for="2h"

    domain head extends=Node {
        vcpus 2
        memory "1GiB"
    }
    domain worker extends=Node count=($)workers
    worker.0.memory "2GiB"
}
"#;

#[test]
fn a_cluster_from_a_template_comes_up() {
    let environment = Environment::new();
    environment.write("cluster.kdl", CLUSTER);
    insta::assert_snapshot!("cluster_plan", environment.run(&["plan", "cluster.kdl"]).ok());
    environment.run(&["up", "cluster.kdl"]).ok();
    assert_eq!(environment.domains("cluster").len(), 5);
    let status = environment.json(&["status", "cluster"]);
    let memory = |path: &str| {
        let domains = status["domains"].as_array().expect("domains");
        domains.iter().find(|domain| domain["domain"] == path).expect("the domain")["memory_bytes"].clone()
    };
    assert_eq!(memory("worker.0"), 2_u64 << 30);
    assert_eq!(memory("worker.1"), 512_u64 << 20);
    environment.run(&["down", "cluster"]).ok();
    assert_eq!(environment.audited_balance(), 1_000_000_000);
}

#[test]
fn a_param_is_set_on_the_command_line() {
    let environment = Environment::new();
    environment.write("cluster.kdl", CLUSTER);
    environment.run(&["up", "cluster.kdl", "-p", "workers=2"]).ok();
    assert_eq!(environment.domains("cluster").len(), 3);
    let ran = environment.run(&["up", "cluster.kdl", "-p", "workers=0"]).ends_with(1);
    insta::assert_snapshot!("param_out_of_range", ran);
    let ran = environment.run(&["up", "cluster.kdl", "-p", "wrokers=2"]).ends_with(1);
    insta::assert_snapshot!("unknown_param", ran);
    assert_eq!(environment.domains("cluster").len(), 3, "nothing was changed");
}

#[test]
fn two_pools_live_side_by_side() {
    let environment = Environment::new();
    environment.write("cluster.kdl", CLUSTER);
    environment.run(&["up", "hello.kdl"]).ok();
    environment.run(&["up", "cluster.kdl"]).ok();
    insta::assert_snapshot!("ls_two", environment.run(&["ls"]).ok());
    environment.run(&["down", "hello"]).ok();
    assert_eq!(environment.domains("cluster").len(), 5, "the other pool is left alone");
    environment.run(&["down", "cluster"]).ok();
    assert_eq!(environment.audited_balance(), 1_000_000_000);
}

#[test]
fn another_image_replaces_the_machine_and_says_that_its_disk_goes() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    environment.write("hello.kdl", &crate::environment::HELLO.replace("std:tiny", "debian-12"));
    insta::assert_snapshot!("replace_plan", environment.run(&["plan", "hello.kdl"]).ok());
    environment.run(&["up", "hello.kdl"]).ok();
    assert_eq!(environment.domains("hello").len(), 3);
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"));
}

#[test]
fn a_disk_grows_with_a_restart_and_never_shrinks() {
    let environment = Environment::new();
    let hello =
        |size: &str| crate::environment::HELLO.replace("memory", &format!("root size=\"{size}\"\n        memory"));
    environment.write("hello.kdl", &hello("2GiB"));
    environment.run(&["up", "hello.kdl"]).ok();
    environment.write("hello.kdl", &hello("3GiB"));
    insta::assert_snapshot!("grow_plan", environment.run(&["plan", "hello.kdl"]).ok());
    environment.run(&["up", "hello.kdl"]).ok();
    environment.write("hello.kdl", &hello("1GiB"));
    insta::assert_snapshot!("shrink_plan", environment.run(&["plan", "hello.kdl"]).ends_with(1));
    environment.run(&["up", "hello.kdl", "--yes"]).ends_with(1);
    environment.write("hello.kdl", &hello("3GiB"));
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"));
}

#[test]
fn a_domain_that_outgrows_its_host_moves() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    environment.write("hello.kdl", &crate::environment::HELLO.replace("64MiB", "6GiB"));
    insta::assert_snapshot!("move_plan", environment.run(&["plan", "hello.kdl"]).ok());
    environment.run(&["up", "hello.kdl"]).ok();
    assert_eq!(environment.domains("hello").len(), 3);
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"));
    environment.run(&["down", "hello"]).ok();
    assert_eq!(environment.audited_balance(), 1_000_000_000);
}
