//! The mathematics of the market and its simulation, from the command line.

use std::process::Stdio;

use serde_json::Value;

use crate::environment::{Environment, Ran};

const EXAMPLE: &str = r#"{"budget": 1.5, "hosts": [
    {"id": "h1", "weight": 3, "price": 1}, {"id": "h2", "weight": 2, "price": 2},
    {"id": "h3", "weight": 1, "price": 0.5}, {"id": "h4", "weight": 0.5, "price": 4}]}"#;

fn best_response(environment: &Environment, input: &str) -> Ran {
    environment.write("input.json", input);
    environment.run(&["market", "best-response", "--input", "input.json", "--json"])
}

fn data(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{ran}"))
}

#[test]
fn the_worked_example_is_shown_and_given_as_data() {
    let environment = Environment::new();
    let ran = best_response(&environment, EXAMPLE).ok();
    let found = data(&ran);
    for (host, bid) in [(0, 0.950878), (1, 0.252680), (2, 0.296443), (3, 0.0)] {
        let got = found["hosts"][host]["bid"].as_f64().unwrap();
        assert!((got - bid).abs() < 1e-6, "{found}");
    }
    assert!((found["utility"].as_f64().unwrap() - 2.058776).abs() < 1e-6);
    assert!((found["lambda"].as_f64().unwrap() - 0.788245).abs() < 1e-6);
    assert_eq!(found["optimality_gap"], 0.0);
    let table = environment.run(&["market", "best-response", "--input", "input.json"]).ok();
    assert!(table.stdout.contains("h1") && table.stdout.contains("0.950878"), "{table}");
}

#[test]
fn standard_input_is_a_file_too() {
    let environment = Environment::new();
    environment.write("input.json", EXAMPLE);
    let arguments = ["market", "best-response", "--input", "-", "--json"];
    let mut command = environment.command(&arguments);
    command.stdin(Stdio::from(std::fs::File::open(environment.path().join("input.json")).unwrap()));
    assert!(data(&environment.ran(&arguments, command).ok())["utility"].as_f64().unwrap() > 2.0);
}

#[test]
fn edges_have_defined_answers() {
    let environment = Environment::new();
    let empty = data(&best_response(&environment, r#"{"budget": 2, "hosts": []}"#).ok());
    assert_eq!((&empty["unspent"], &empty["utility"]), (&Value::from(2.0), &Value::from(0.0)));
    let extremes = r#"{"budget": 1, "hosts": [
        {"id": "free", "weight": 1, "price": 0}, {"id": "a", "weight": 1e12, "price": 1e-12},
        {"id": "b", "weight": 1e-12, "price": 1e12}, {"id": "tie", "weight": 1e-12, "price": 1e12}]}"#;
    let ran = best_response(&environment, extremes).ok();
    let found = data(&ran);
    assert!(!ran.stdout.contains("NaN") && !ran.stdout.contains("null"), "{ran}");
    assert!(found["utility"].as_f64().unwrap() > 0.99e12);
    assert_eq!(found["hosts"][0]["share"], 1.0);

    let bound = r#"{"budget": 1, "max_hosts": 1, "hosts": [
        {"id": "good", "weight": 9, "price": 1}, {"id": "must", "weight": 1, "price": 1, "min_share": 0.1}]}"#;
    let found = data(&best_response(&environment, bound).ok());
    assert_eq!(found["hosts"][0]["bid"], 0.0, "a least share binds: {found}");
    assert!(found["hosts"][1]["share"].as_f64().unwrap() >= 0.1);
    let floor = r#"{"budget": 1, "hosts": [{"id": "a", "weight": 1, "price": 0, "price_floor": 4}]}"#;
    assert_eq!(data(&best_response(&environment, floor).ok())["hosts"][0]["share"], 0.25);
}

#[test]
fn what_is_no_problem_is_refused_by_name() {
    let environment = Environment::new();
    let host = |text: &str| format!(r#"{{"budget": 1, "hosts": [{{"id": "h1", "weight": 1, "price": 1{text}}}]}}"#);
    for (input, code, word) in [
        (host(r#", "min_share": 0.75"#), 5, "3 credits per second"),
        (host(r#", "min_share": 0.5, "max_share": 0.2"#), 1, "`h1`"),
        (host(r#", "max_share": 0"#), 1, "`h1`"),
        (host(r#", "prize": 0"#), 1, "prize"),
        (host("").replace("\"price\": 1", "\"price\": -1"), 1, "the price of host `h1` is -1"),
        (host("").replace("h1", ""), 1, "id"),
        (r#"{"budget": 1}"#.to_owned(), 1, "hosts"),
        ("[".to_owned(), 1, "line 1"),
        (r#"{"budget": 1e999, "hosts": []}"#.to_owned(), 1, "out of range"),
    ] {
        let ran = best_response(&environment, &input).ends_with(code);
        assert!(ran.stdout.contains(word) && !ran.stderr.contains("panicked"), "{input}: {ran}");
    }
    let twice = EXAMPLE.replace("h2", "h1");
    assert!(best_response(&environment, &twice).ends_with(1).stdout.contains("two hosts are called"));
}

const SCENARIO: &str = r#"
scenario "small" {
    rounds 20
    hosts 10 base-price=0.01
    users "all" count=5 {
        budget 1
    }
}
"#;

#[test]
fn a_scenario_is_run_and_written() {
    let environment = Environment::new();
    environment.write("s.kdl", SCENARIO);
    let ran = environment.run(&["sim", "s.kdl", "--csv", "s.csv", "--svg", "s.svg"]).ok();
    assert!(ran.stdout.contains("EFFICIENCY") && ran.stdout.contains("small"), "{ran}");
    let csv = std::fs::read_to_string(environment.path().join("s.csv")).unwrap();
    assert!(csv.starts_with("scenario,seed,round,") && csv.lines().count() > 3, "{csv}");
    assert!(std::fs::read_to_string(environment.path().join("s.svg")).unwrap().ends_with("</svg>\n"));
    let found = environment.json(&["sim", "s.kdl"]);
    let efficiency = found["scenarios"][0]["efficiency"]["mean"].as_f64().unwrap();
    assert!((0.5..=1.0).contains(&efficiency), "{found}");
    assert_eq!(found, environment.json(&["sim", "s.kdl"]), "the same seed, the same result");
    assert_ne!(found, environment.json(&["sim", "s.kdl", "--seed", "9"]));
}

#[test]
fn a_wrong_scenario_is_shown_with_all_its_errors() {
    let environment = Environment::new();
    environment.write(
        "s.kdl",
        &SCENARIO
            .replace("rounds", "ronds")
            .replace("base-price", "baseprice")
            .replace("budget 1", "strategy \"best\""),
    );
    let ran = environment.run(&["sim", "s.kdl"]).ends_with(1);
    insta::assert_snapshot!("wrong_scenario", ran);
    for text in ["", "scenario", "scenario \"a\" {", "users \"a\" count=1", "\u{0}", &"a {".repeat(5000)] {
        environment.write("s.kdl", text);
        let ran = environment.run(&["sim", "s.kdl"]).ends_with(1);
        assert!(!ran.stderr.is_empty() && !ran.stderr.contains("panicked"), "{text:?}: {ran}");
    }
    environment.write("s.kdl", &SCENARIO.replace("ase-price=0.01", "ase-price=-1"));
    let ran = environment.run(&["sim", "s.kdl", "--json"]).ends_with(1);
    assert!(ran.stdout.contains("\"line\": 4"), "{ran}");
}

#[test]
fn the_scenario_of_the_manual_is_one() {
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/simulation.md")).unwrap();
    let environment = Environment::new();
    let mut read = 0;
    for block in manual.split("```kdl\n").skip(1) {
        environment.write("scenario.kdl", &block[..block.find("```").unwrap()]);
        let ran = environment.run(&["sim", "scenario.kdl", "--only", "nothing that is there"]).ends_with(1);
        assert!(ran.stderr.contains("has no scenario"), "it is read:\n{ran}");
        read += 1;
    }
    assert!(read > 0);
}

/// The examples that take a second or two; the rest is read all the same.
#[test]
fn the_example_scenarios_run() {
    let environment = Environment::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/scenarios");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let only = match path.file_stem().and_then(|name| name.to_str()).unwrap() {
            "paper" => "10 users, uniform, Nash",
            "convergence" => "one after the other",
            "max-hosts" => "10 users",
            "abuse" => "one under-bidder",
            "market-day" | "large" | "sparse" => "nothing that is there",
            other => panic!("add `{other}` to this test"),
        };
        let file = path.to_str().unwrap();
        let ran = environment.run(&["sim", file, "--only", only]);
        if only == "nothing that is there" {
            assert!(ran.ends_with(1).stderr.contains("has no scenario"), "{file} is read");
        } else {
            assert!(ran.ok().stdout.contains(only), "{file}");
        }
    }
}
