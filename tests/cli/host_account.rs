//! `tycoon host account`: every charge is explained.

use crate::environment::Environment;

#[test]
fn every_charge_of_a_host_is_explained() {
    let mut environment = Environment::new();
    environment.run(&["up", "hello.kdl", "--yes"]).ok();
    environment.pass(600);
    let hosts = environment.json(&["hosts"]);
    let mut explained = 0;
    for host in hosts.as_array().unwrap() {
        let name = host["host"].as_str().unwrap();
        for account in environment.json(&["host", "account", name]).as_array().unwrap() {
            assert_eq!(account["pool"], "hello");
            let lines = account["lines"].as_array().unwrap();
            let micro = |value: &serde_json::Value| value.as_i64().unwrap();
            let sum: i64 = lines.iter().map(|line| micro(&line["amount_micro"])).sum();
            assert_eq!(sum + micro(&account["earlier_micro"]), micro(&account["charged_micro"]), "{account}");
            assert!(micro(&account["charged_micro"]) > 0);
            explained += lines.len();
        }
    }
    assert!(explained > 0, "{hosts}");
    let first = hosts[0]["host"].as_str().unwrap();
    insta::assert_snapshot!("host_account", environment.run(&["host", "account", first]).ok());
    insta::assert_snapshot!("host_account_unknown_host", environment.run(&["host", "account", "sim"]).ends_with(1));
    let none = environment.run(&["host", "account", first, "--pool", "other"]).ends_with(1);
    insta::assert_snapshot!("host_account_unknown_pool", none);
}

#[test]
fn who_has_no_account_is_told_so() {
    let environment = Environment::new();
    let ran = environment.run(&["host", "account", "sim1"]).ok();
    assert_eq!(ran.stdout, "You have no account on host sim1.\n");
}
