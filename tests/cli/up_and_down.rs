//! The main job.

use crate::environment::{Environment, HELLO};

#[test]
fn the_first_pool_comes_up_and_goes() {
    let environment = Environment::new();
    insta::assert_snapshot!("plan", environment.run(&["plan", "hello.kdl"]).ok());
    insta::assert_snapshot!("up", environment.run(&["up", "hello.kdl"]).ok());
    insta::assert_snapshot!("up_again", environment.run(&["up", "hello.kdl"]).ok());
    insta::assert_snapshot!("status", environment.run(&["status"]).ok());
    insta::assert_snapshot!("ls", environment.run(&["ls"]).ok());
    insta::assert_snapshot!("down", environment.run(&["down", "hello"]).ok());
    insta::assert_snapshot!("down_again", environment.run(&["down", "hello"]).ok());
    assert_eq!(environment.audited_balance(), 1_000_000_000);
}

#[test]
fn the_same_as_data() {
    let environment = Environment::new();
    for (name, arguments) in [
        ("json_check", &["check", "hello.kdl"][..]),
        ("json_up", &["up", "hello.kdl"]),
        ("json_status", &["status", "hello"]),
        ("json_ls", &["ls"]),
        ("json_down", &["down", "hello"]),
    ] {
        let value = environment.json(arguments);
        insta::assert_json_snapshot!(name, value);
    }
}

#[test]
fn a_plan_spends_nothing_and_locks_nothing() {
    let environment = Environment::new();
    environment.run(&["plan", "hello.kdl"]).ok();
    assert_eq!(environment.audited_balance(), 1_000_000_000);
    assert!(environment.domains("hello").is_empty());
    assert!(environment.run(&["ls"]).ok().stdout.contains("no pools"));
}

#[test]
fn a_plan_says_by_its_exit_code_whether_there_is_something_to_do() {
    let environment = Environment::new();
    environment.run(&["plan", "hello.kdl", "--exit-code"]).ends_with(3);
    environment.run(&["up", "hello.kdl"]).ok();
    environment.run(&["plan", "hello.kdl", "--exit-code"]).ok();
}

#[test]
fn one_domain_more_adds_just_that() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    environment.write("hello.kdl", &HELLO.replace("count=3", "count=4"));
    insta::assert_snapshot!("plan_one_more", environment.run(&["plan", "hello.kdl"]).ok());
    insta::assert_snapshot!("up_one_more", environment.run(&["up", "hello.kdl"]).ok());
    assert_eq!(environment.domains("hello").len(), 4);
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"));
}

#[test]
fn one_domain_less_removes_just_that() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    environment.write("hello.kdl", &HELLO.replace("count=3", "count=2"));
    insta::assert_snapshot!("plan_one_less", environment.run(&["plan", "hello.kdl"]).ok());
    insta::assert_snapshot!("up_one_less", environment.run(&["up", "hello.kdl"]).ok());
    assert_eq!(environment.domains("hello").len(), 2);
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"));
    environment.run(&["down", "hello"]).ok();
    assert_eq!(environment.audited_balance(), 1_000_000_000);
}

#[test]
fn a_host_that_stays_in_use_takes_a_smaller_bid_and_gives_money_back() {
    let environment = Environment::new();
    let four = HELLO.replace("count=3", "count=4");
    environment.write("hello.kdl", &four);
    environment.run(&["up", "hello.kdl"]).ok();
    let paid = 1_000_000_000 - environment.audited_balance();
    environment.write("hello.kdl", HELLO);
    environment.run(&["up", "hello.kdl"]).ok();
    let less = 1_000_000_000 - environment.audited_balance();
    assert!(less < paid, "{less} of {paid} micro-credits are still paid for one machine less");
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"));
    environment.write("hello.kdl", &four.replace("64MiB", "512MiB"));
    environment.run(&["up", "hello.kdl"]).ok();
    environment.write("hello.kdl", &four.replace("64MiB", "256MiB"));
    environment.run(&["up", "hello.kdl"]).ok();
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"));
}

#[test]
fn more_memory_is_given_while_the_domains_run() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    environment.write("hello.kdl", &HELLO.replace("64MiB", "128MiB"));
    insta::assert_snapshot!("plan_more_memory", environment.run(&["plan", "hello.kdl"]).ok());
    environment.run(&["up", "hello.kdl"]).ok();
    let status = environment.json(&["status", "hello"]);
    for domain in status["domains"].as_array().expect("domains") {
        assert_eq!(domain["memory_bytes"], 128 << 20, "{domain}");
        assert_eq!(domain["state"], "running", "{domain}");
    }
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"));
}

#[test]
fn down_takes_the_description_as_well_as_the_name() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    environment.run(&["down", "hello.kdl"]).ok();
    assert!(environment.domains("hello").is_empty());
}

#[test]
fn down_works_when_the_local_journal_is_lost() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    std::fs::remove_dir_all(environment.site().join("pools")).expect("the journals can be removed");
    environment.run(&["down", "hello"]).ok();
    assert!(environment.domains("hello").is_empty());
    assert_eq!(environment.audited_balance(), 1_000_000_000);
}
