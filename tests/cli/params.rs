//! Params from outside: the command line, files, and the environment.

use crate::environment::{Environment, Ran};

const FARM: &str = r#"param workers type=integer default=2 min=1 max=9
param head-memory type=bytes default="64MiB"
param keys list=#true default=none

pool farm {
    budget 10 for="1h"
    domain web count=($)workers {
        image "std:tiny"
        memory ($)head-memory
        cloud-init { file "/keys" (f)"${join(keys, ' ')}"; }
    }
}
"#;

fn farm() -> Environment {
    let environment = Environment::new();
    environment.write("farm.kdl", FARM);
    environment
}

/// Runs a command with variables set.
fn with_variables(environment: &Environment, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = environment.command(arguments);
    command.envs(variables.iter().copied());
    environment.ran(arguments, command)
}

/// How many domains a command line gives, with variables set.
fn domains(environment: &Environment, arguments: &[&str], variables: &[(&str, &str)]) -> u64 {
    let arguments = [&["check", "farm.kdl", "--json"], arguments].concat();
    let ran = with_variables(environment, &arguments, variables).ok();
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"));
    value["domains"].as_u64().unwrap_or_else(|| panic!("no number of domains\n{ran}"))
}

#[test]
fn the_command_line_wins_over_files_over_the_environment_over_the_default() {
    let farm = farm();
    farm.write("three.kdl", "workers 3\n");
    farm.write("four.kdl", "// a comment\nworkers 4\nkeys a b c\n");
    let variable = [("TYCOON_PARAM_WORKERS", "5")];
    assert_eq!(domains(&farm, &[], &[]), 2);
    assert_eq!(domains(&farm, &[], &variable), 5);
    assert_eq!(domains(&farm, &["--params", "three.kdl"], &variable), 3);
    assert_eq!(domains(&farm, &["--params", "three.kdl", "--params", "four.kdl"], &variable), 4, "the later file");
    assert_eq!(domains(&farm, &["--params", "four.kdl", "-p", "workers=6"], &variable), 6);
}

#[test]
fn every_command_that_reads_a_description_takes_them() {
    let farm = farm();
    farm.write("three.kdl", "workers 3\nhead-memory \"96MiB\"\nkeys a b c\n");
    let with = ["--params", "three.kdl"];
    for command in ["plan", "resolve", "graph", "up"] {
        let ran = farm.run(&[&[command, "farm.kdl"], &with[..]].concat()).ok();
        assert!(ran.stdout.contains("web.2") || ran.stdout.contains("\"key\": \"2\""), "{ran}");
    }
    let ran = with_variables(&farm, &["up", "farm.kdl"], &[("TYCOON_PARAM_HEAD_MEMORY", "80MiB")]).ok();
    assert!(ran.stdout.contains("web.1"), "{ran}");
    let explained = farm.run(&["explain", "farm.kdl", "web.0.memory", "--params", "three.kdl"]).ok();
    assert!(explained.stdout.contains("= 96MiB"), "{explained}");
    insta::assert_snapshot!(
        "explain_param",
        farm.run(&["explain", "farm.kdl", "workers", "--params", "three.kdl"]).ok()
    );
    farm.write("farm.kdl", &format!("{FARM}test \"three\" {{ expect \"len(farm.web) == 3\"; }}\n"));
    farm.run(&["test", "farm.kdl", "--params", "three.kdl"]).ok();
    farm.run(&["test", "farm.kdl"]).ends_with(1);
}

#[test]
fn what_is_wrong_names_the_file_and_the_place() {
    let farm = farm();
    farm.write(
        "wrong.kdl",
        "wrokers 3\nworkers 10\nhead-memory 64\nfarm.web.0.memory \"1GiB\"\nkeys ($)workers\nkeys { a; }\nhead-memory\nworkers 2\n",
    );
    farm.write("broken.kdl", "workers {\n");
    insta::assert_snapshot!("params_wrong", farm.run(&["check", "farm.kdl", "--params", "wrong.kdl"]).ends_with(1));
    insta::assert_snapshot!("params_broken", farm.run(&["check", "farm.kdl", "--params", "broken.kdl"]).ends_with(1));
    insta::assert_snapshot!("params_missing", farm.run(&["check", "farm.kdl", "--params", "missing.kdl"]).ends_with(1));
    insta::assert_snapshot!("params_folder", farm.run(&["check", "farm.kdl", "--params", "."]).ends_with(1));
}

#[test]
fn what_is_wrong_names_the_variable() {
    let farm = farm();
    let check = ["check", "farm.kdl"];
    insta::assert_snapshot!(
        "variable_out_of_range",
        with_variables(&farm, &check, &[("TYCOON_PARAM_WORKERS", "10")]).ends_with(1)
    );
    insta::assert_snapshot!(
        "variable_slip",
        with_variables(&farm, &check, &[("TYCOON_PARAM_WROKERS", "3"), ("TYCOON_PARAM_COLOUR", "red")]).ok()
    );
}
