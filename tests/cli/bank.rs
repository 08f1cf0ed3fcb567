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

#[test]
fn a_receipt_of_the_embedded_bank_is_checked_against_its_key() {
    let environment = Environment::new();
    let export = ["user", "export"];
    let mut command = environment.command(&export);
    command.env("XDG_CONFIG_HOME", environment.path().join("joe")).env("TYCOON_SEED", "8");
    let joe = environment.ran(&export, command).ok().stdout;
    environment.run(&["bank", "create-account", joe.trim()]).ok();
    let paid = environment.json(&["bank", "transfer", joe.trim(), "10"]);
    let id = paid["transfer"]["id"].as_str().expect("an id");
    let receipt = environment.run(&["bank", "receipt", id]).ok().stdout;
    environment.write("receipt.json", &receipt);
    environment.run(&["bank", "receipt", "--check", "receipt.json"]).ok();
    environment.write("receipt.json", &receipt.replace("10000000", "90000000"));
    let forged = environment.run(&["bank", "receipt", "--check", "receipt.json"]).ends_with(1);
    assert!(forged.stderr.contains("do not rely on it"), "{forged}");
    environment.write("receipt.json", &" ".repeat(65 << 10));
    let large = environment.run(&["bank", "receipt", "--check", "receipt.json"]).ends_with(1);
    assert!(large.stderr.contains("is larger than 64 KiB"), "{large}");
}
