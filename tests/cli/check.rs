//! `tycoon check` and `explain`.

use crate::environment::{Environment, HELLO};

#[test]
fn a_right_description_is_said_to_be_right() {
    let environment = Environment::new();
    insta::assert_snapshot!("check_ok", environment.run(&["check", "hello.kdl"]).ok());
}

#[test]
fn errors_are_data_too() {
    let environment = Environment::new();
    environment.write("pool.kdl", &HELLO.replace("memory", "memroy"));
    let ran = environment.run(&["check", "pool.kdl", "--json"]).ends_with(1);
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"));
    insta::assert_json_snapshot!("check_json_error", value);
}

#[test]
fn every_error_code_can_be_explained() {
    let environment = Environment::new();
    environment.write("pool.kdl", &HELLO.replace("memory", "memroy"));
    let ran = environment.run(&["check", "pool.kdl", "--json"]).ends_with(1);
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"));
    let code = value["error"]["diagnostics"][0]["code"].as_str().expect("a code").to_owned();
    let explained = environment.run(&["explain", &code]).ok();
    assert!(explained.stdout.contains(&code) && explained.stdout.contains("Cure"), "{explained}");
    for code in ["P0101", "P0201", "P0301", "P0302", "P0401", "P0501"] {
        assert!(environment.run(&["explain", code]).ok().stdout.contains("Cure"), "{code}");
    }
    insta::assert_snapshot!("no_such_code", environment.run(&["explain", "E9999"]).ends_with(1));
}

#[test]
fn a_file_that_is_not_sound_passes_no_test() {
    let environment = Environment::new();
    environment.write("pool.kdl", &HELLO.replace("memory", "memroy"));
    let checked = environment.run(&["check", "pool.kdl"]).ends_with(1);
    let tested = environment.run(&["test", "pool.kdl"]).ends_with(1);
    assert_eq!(checked.stderr, tested.stderr);
    let ran = environment.run(&["test", "pool.kdl", "--json"]).ends_with(1);
    assert!(ran.stdout.contains("\"E0201\""), "{ran}");
    environment.run(&["test", "missing.kdl"]).ends_with(1);
    insta::assert_snapshot!("no_tests", environment.run(&["test", "hello.kdl"]).ok());
}
