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
fn several_files_are_checked_and_one_that_is_wrong_stops_none() {
    let environment = Environment::new();
    environment.write("wrong.kdl", &HELLO.replace("memory", "memroy"));
    environment.write("other.kdl", &HELLO.replace("pool hello", "pool other"));
    let ran = environment.run(&["check", "hello.kdl", "wrong.kdl", "other.kdl"]).ends_with(1);
    assert!(ran.stdout.starts_with("hello.kdl: ") && ran.stdout.contains("\nother.kdl: pool other"), "{ran}");
    assert!(ran.stderr.contains("memroy"), "{ran}");
    let ran = environment.run(&["check", "hello.kdl", "wrong.kdl", "--json"]).ends_with(1);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"));
    assert_eq!((&found[0]["file"], &found[0]["ok"]), (&"hello.kdl".into(), &true.into()));
    assert_eq!(found[1]["error"]["diagnostics"][0]["code"], "E0201");
    environment.run(&["check", "hello.kdl", "other.kdl"]).ok();
}

/// An assertion that does not hold is looked into with these.
#[test]
fn a_description_with_a_broken_assertion_can_be_looked_at() {
    let environment = Environment::new();
    environment.write("pool.kdl", &HELLO.replacen('{', "{\n    assert \"len(web) == 9\"\n", 1));
    for arguments in [&["resolve", "pool.kdl"][..], &["graph", "pool.kdl"], &["explain", "pool.kdl", "web.0.memory"]] {
        let ran = environment.run(arguments).ends_with(1);
        assert!(ran.stderr.contains("`len(web) == 9` does not hold"), "{ran}");
        assert!(ran.stdout.contains("web"), "it is shown all the same: {ran}");
        let ran = environment.run(&[arguments, &["--json"]].concat()).ends_with(1);
        let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{ran}"));
        assert_eq!(value["errors"][0]["code"], "E0501", "{ran}");
        assert_eq!(ran.stderr, "", "{ran}");
    }
    environment.run(&["plan", "pool.kdl"]).ends_with(1);
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

/// What can be known before anything is asked is said by `check`, with its places, and by `up` in the same words.
#[test]
fn what_cannot_be_is_found_by_check() {
    let domain =
        |name: &str, more: &str| format!("    domain {name} {{ image \"std:tiny\"; memory \"64MiB\"; {more}; }}\n");
    let pool = |domains: &[String]| format!("pool hello {{\n    budget 10 for=\"1h\"\n{}}}\n", domains.concat());
    for (name, text) in [
        ("start_circle", pool(&[domain("a", "start-after b"), domain("b", "start-after a")])),
        ("one_address", pool(&[domain("a", "eth0 ip=\"192.0.2.7\""), domain("b", "eth0 ip=\"192.0.2.7\"")])),
        ("file_system", pool(&[domain("a", "volume data fs=ext2"), domain("b", "volume data fs=btrfs")])),
    ] {
        let environment = Environment::new();
        environment.write("pool.kdl", &text);
        let checked = environment.run(&["check", "pool.kdl"]).ends_with(1);
        let up = environment.run(&["up", "pool.kdl"]).ends_with(1);
        let first = checked.stderr.lines().find(|line| line.contains('×')).expect("an error");
        assert!(up.stderr.contains(first), "{checked}\n{up}");
        insta::assert_snapshot!(format!("check_{name}"), checked);
    }
}

#[test]
fn a_pool_that_nobody_can_bring_up_for_lack_of_a_budget_is_told() {
    let environment = Environment::new();
    environment.write("pool.kdl", &HELLO.replace("budget 10 for=\"1h\"", ""));
    let ran = environment.run(&["check", "pool.kdl"]).ok();
    assert!(ran.stderr.contains("P0101") && ran.stderr.contains("has no budget"), "{ran}");
    environment.write("empty.kdl", "pool empty { }\n");
    assert_eq!(environment.run(&["check", "empty.kdl"]).ok().stderr, "");
}

#[test]
fn hosts_that_are_not_there_are_told() {
    let environment = Environment::new();
    let text = "pool hello {\n    budget 10 for=\"1h\"\n    place {\n        avoid \"simm1\"\n        avoid \"sim2\"\n        \
                require \"host.name != 'nowhere'\"\n        prefer \"contains(['sim3', 'sim33'], host.name)\"\n    }\n    \
                domain web { image \"std:tiny\"; memory \"64MiB\"; }\n}\n";
    environment.write("pool.kdl", text);
    insta::assert_snapshot!("check_hosts", environment.run(&["check", "pool.kdl"]).ok());
    let warnings = environment.json(&["check", "pool.kdl"])["warnings"].clone();
    let codes: Vec<&str> = warnings.as_array().expect("a list").iter().filter_map(|w| w["code"].as_str()).collect();
    assert_eq!(codes, ["W0004", "W0004", "W0004"], "{warnings}");
    // Of a site with other hosts other names are right.
    environment.write(
        "site.kdl",
        "site other { simulated-host simm1; simulated-host sim2; simulated-host nowhere; simulated-host sim3; simulated-host sim33; }\n",
    );
    let ran = environment.run(&["check", "pool.kdl", "--site", "site.kdl"]).ok();
    assert_eq!(ran.stderr, "", "{ran}");
}
