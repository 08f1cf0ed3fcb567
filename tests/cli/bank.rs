//! The account at the bank.

use crate::environment::Environment;

#[test]
fn the_account_and_its_history_can_be_seen() {
    let environment = Environment::new();
    insta::assert_snapshot!("balance_at_first", environment.run(&["bank", "balance"]).ok());
    // One machine on one host: several hosts pay back side by side, in an order of their own.
    environment.write("hello.kdl", &crate::environment::HELLO.replace("count=3", "count=1"));
    environment.run(&["up", "hello.kdl"]).ok();
    environment.run(&["down", "hello"]).ok();
    insta::assert_snapshot!("history", environment.run(&["bank", "history"]).ok());
    insta::assert_snapshot!("statement", environment.run(&["bank", "statement"]).ok());
    insta::assert_snapshot!("usage", environment.run(&["bank", "usage", "--month", "2026-01"]).ok());
    insta::assert_snapshot!("usage_csv", environment.run(&["bank", "usage", "--month", "2026-01", "--csv"]).ok());
    insta::assert_snapshot!("audit", environment.run(&["bank", "audit"]).ok());
    insta::assert_snapshot!("user", environment.run(&["user", "show"]).ok());
    insta::assert_snapshot!("hosts", environment.run(&["hosts"]).ok());
}
