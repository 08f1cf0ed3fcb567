//! `tycoon market predict`: from a file, from the site's hosts, and what it refuses.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::environment::{Environment, Ran};

/// Two hosts; the first is that of the worked example of the manual.
const HOSTS: &str = r#"{"unit": "credits per hour", "hosts": [
  {"id": "h1", "capacity": 2, "mean": 10, "deviation": 3, "skewness": 0, "excess_kurtosis": 0, "spot": 9,
   "history": [8, 9, 12, 10, 7, 11], "histogram": {"top": 20, "bins": [1, 6, 2, 1]}},
  {"id": "h2", "capacity": 4, "mean": 8, "deviation": 2}]}"#;

fn predict(environment: &Environment, more: &[&str]) -> Ran {
    environment.run(&[&["market", "predict", "--input", "hosts.json"], more].concat())
}

fn with_hosts(text: &str) -> Environment {
    let environment = Environment::new();
    environment.write("hosts.json", text);
    environment
}

fn close(value: &Value, expected: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - expected).abs() < 1e-4)
}

#[test]
fn hosts_of_a_file_are_predicted_one_by_one_and_together() {
    let environment = with_hosts(HOSTS);
    insta::assert_snapshot!("predict", predict(&environment, &["--performance", "0.5"]).ok());
    let charts = predict(&environment, &["h1", "--color", "always"]).ok();
    assert!(charts.stdout.contains("▂▄█▅▁▇") && charts.stdout.contains("████"), "{charts}");
}

/// The manual's worked example, and that the three questions are each other's inverses, through the program.
#[test]
fn the_answers_are_those_of_the_manual_and_agree_with_each_other() {
    let environment = with_hosts(HOSTS);
    let ask = |more: &[&str]| {
        let mut all = vec!["market", "predict", "--input", "hosts.json", "--model", "normal", "--model", "cantelli"];
        all.extend(["--model", "maximum-entropy-of-mean", "--model", "empirical"]);
        all.extend(more);
        environment.json(&all)
    };
    let answers = ask(&["--performance", "0.5"]);
    let models = &answers["hosts"][0]["models"];
    for (model, price) in [("normal", 4.6149), ("cantelli", 6.3333), ("maximum-entropy-of-mean", 7.6753)] {
        assert!(close(&models[model]["price"], price), "{model}: {models}");
        let price = models[model]["price"].to_string();
        let back = ask(&["--performance", "0.5", "--price", &price]);
        let host = &back["hosts"][0]["models"][model];
        assert!((host["performance"].as_f64().unwrap() - 0.5).abs() < 1e-9, "{host}");
        assert!((host["probability"].as_f64().unwrap() - 0.9).abs() < 1e-9, "{host}");
        for way in ["each", "together"] {
            let price = answers["set"]["models"][model][way]["price"].to_string();
            let back = ask(&["--performance", "0.5", "--price", &price]);
            let found = &back["set"]["models"][model][way]["performance"];
            assert!((found.as_f64().unwrap() - 0.5).abs() < 1e-6, "{model}, {way}: {found}");
        }
    }
    assert_eq!(answers["hosts"][1]["models"]["empirical"]["price"], Value::Null, "of h2 there is no histogram");
    assert_eq!(answers, ask(&["--performance", "0.5"]), "the same seed draws the same");
}

#[test]
fn hosts_of_the_site_publish_what_their_prices_were() {
    let mut environment = Environment::new();
    let nothing_yet = environment.json(&["market", "predict"]);
    assert_eq!(nothing_yet["hosts"][0]["filled"], 0.0, "{nothing_yet}");
    environment.run(&["up", "hello.kdl", "--yes"]).ok();
    environment.pass(1800);
    let hosts = environment.json(&["hosts"]);
    let mut seen = 0;
    for host in hosts.as_array().unwrap() {
        let Some(cpu) = host["prices"].get("CPU") else { continue };
        let hour = &cpu["hour"];
        if hour["filled"] == 0.0 {
            continue;
        }
        seen += 1;
        assert!((hour["filled"].as_f64().unwrap() - (1.0 - (-0.5_f64).exp())).abs() < 0.01, "half an hour: {hour}");
        assert!(hour["mean_credits_per_hour"].as_f64().unwrap() > 0.0);
        assert_eq!(hour["history_credits_per_hour"].as_array().unwrap().len(), 12, "points of 150 seconds");
        let name = host["host"].as_str().unwrap();
        let predicted = environment.json(&["market", "predict", name, "--window", "hour"]);
        assert_eq!(predicted["hosts"].as_array().unwrap().len(), 1);
        assert!(close(&predicted["hosts"][0]["filled"], hour["filled"].as_f64().unwrap()), "{predicted}");
        let memory = environment.json(&["market", "predict", name, "--resource", "memory"]);
        assert_eq!(memory["resource"], "memory");
    }
    assert!(seen > 0, "{hosts}");
}

/// What is wrong is said, and nothing panics.
#[test]
fn what_cannot_be_predicted_is_refused() {
    let environment = with_hosts(HOSTS);
    let mut all = String::new();
    let lists: [&[&str]; 9] = [
        &["--probability", "1"],
        &["--probability", "NaN"],
        &["--performance", "-1"],
        &["--price", "inf"],
        &["--model", "guess"],
        &["--resource", "gold"],
        &["h3"],
        &["--input", "missing.json"],
        &["--seed", "-1"],
    ];
    for arguments in lists {
        let mut line = vec!["market", "predict"];
        if arguments[0] != "--input" {
            line.extend(["--input", "hosts.json"]);
        }
        line.extend(arguments);
        let ran = environment.run(&line);
        assert!(matches!(ran.code, Some(1 | 2)) && ran.stdout.is_empty(), "{ran}");
        all.push_str(&ran.to_string());
    }
    insta::assert_snapshot!("predict_refused", all);
}

#[test]
fn a_file_that_is_not_good_is_refused_with_what_is_wrong() {
    let environment = Environment::new();
    let mut all = String::new();
    for text in [
        "",
        "[]",
        r#"{"hosts": []}"#,
        r#"{"hosts": [{"id": "a", "capacity": 1}]}"#,
        r#"{"hosts": [{"id": "a", "capacity": 0, "mean": 1}]}"#,
        r#"{"hosts": [{"id": "a", "capacity": -1, "mean": 1}]}"#,
        r#"{"hosts": [{"id": "a", "capacity": 1, "mean": 1e999}]}"#,
        r#"{"hosts": [{"id": "a", "capacity": 1, "mean": -1}]}"#,
        r#"{"hosts": [{"id": "a", "capacity": 1, "mean": 1}, {"id": "a", "capacity": 1, "mean": 1}]}"#,
        r#"{"hosts": [{"id": "a\nb", "capacity": 1, "mean": 1}]}"#,
        r#"{"hosts": [{"id": "a", "capacity": 1, "mean": 1, "histogram": {"top": 1, "bins": []}}]}"#,
        r#"{"hosts": [{"id": "a", "capacity": 1, "mean": 1, "histogram": {"top": 0, "bins": [1]}}]}"#,
        r#"{"hosts": [{"id": "a", "capacity": 1, "mean": 1, "history": [-1]}]}"#,
        r#"{"hosts": [{"id": "a", "capacity": 1, "mean": 1, "prise": 1}]}"#,
    ] {
        let mut command = environment.command(&["market", "predict", "--input", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        let ran = Ran::of(&environment, &[text], &child.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, Some(1), "{ran}");
        all.push_str(&ran.to_string().replace("$ tycoon ", "< "));
    }
    insta::assert_snapshot!("predict_bad_files", all);
}
