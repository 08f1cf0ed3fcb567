//! Domains that end by themselves are started again by the hosts that have them; domains stand still, and go on.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bank_service::{json, user};
use crate::environment::Environment;
use crate::host_service::{ServedHost, audited, town, write_site};

/// Simulated hosts whose domains crash ten minutes after their start.
const FRAIL: &str = r#"
site frail {
    simulated-host host1 { crash-after "10m"; }
}
"#;

/// One domain that is started again, and one that is not.
const KEPT: &str = r#"
pool kept {
    budget 10 for="10h"
    domain web { image "std:tiny"; memory "128MiB"; restart on-failure times=2 within="1h" backoff="5s"; }
    domain plain { image "std:tiny"; memory "128MiB"; }
}
"#;

fn frail() -> Environment {
    let mut environment = Environment::new();
    environment.write("frail.kdl", FRAIL);
    environment.write("kept.kdl", KEPT);
    environment.set("TYCOON_SITE", "frail.kdl");
    environment
}

#[test]
fn what_crashed_while_nobody_looked_is_started_again_by_the_next_command() {
    let mut environment = frail();
    let planned = environment.run(&["plan", "kept.kdl"]).ok();
    assert!(!planned.to_string().contains("not carried out"), "{planned}");
    environment.run(&["up", "kept.kdl"]).ok();
    environment.pass(300);
    insta::assert_snapshot!("kept_before_the_crash", environment.run(&["status", "kept"]).ok());
    environment.pass(600);
    insta::assert_snapshot!("kept_after_a_crash", environment.run(&["status", "kept"]).ok());
    let web = |environment: &Environment| {
        let status = environment.json(&["status", "kept"]);
        status["domains"].as_array().expect("domains").iter().find(|row| row["domain"] == "web").expect("it").clone()
    };
    assert_eq!(web(&environment)["restarts"]["count"], 1);
    environment.pass(700);
    assert_eq!(web(&environment)["restarts"]["count"], 2);
    environment.pass(700);
    insta::assert_snapshot!("kept_given_up", environment.run(&["status", "kept"]).ok());
    insta::assert_snapshot!("kept_history", environment.run(&["host", "history", "host1", "--pool", "kept"]).ok());
    environment.run(&["up", "kept.kdl"]).ok();
    let found = web(&environment);
    assert_eq!((&found["state"], &found["restarts"]["count"]), (&Value::from("running"), &Value::from(0)), "{found}");
    environment.run(&["down", "kept"]).ok();
    environment.audited_balance();
}

#[test]
fn another_policy_is_a_change_of_the_running_domain() {
    let environment = frail();
    environment.run(&["up", "kept.kdl"]).ok();
    environment.write("kept.kdl", &KEPT.replace("times=2", "times=4"));
    insta::assert_snapshot!("kept_another_policy", environment.run(&["plan", "kept.kdl"]).ok());
    environment.run(&["up", "kept.kdl"]).ok();
    assert!(environment.run(&["up", "kept.kdl"]).ok().stdout.contains("nothing to do"));
    environment.write("kept.kdl", &KEPT.replace("times=2", "times=101"));
    let refused = environment.run(&["check", "kept.kdl"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("101"), "{refused}");
    environment.run(&["down", "kept"]).ok();
}

/// Waits until Jane's `status` of the pool says what is asked.
fn wait_for(environment: &Environment, what: &str, is_there: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let status = json(environment, "jane", &["--site", "hosts.kdl", "status", "kept"]);
        let web = status["domains"].as_array().and_then(|rows| rows.iter().find(|row| row["domain"] == "web")).cloned();
        let web = web.unwrap_or_default();
        if is_there(&web) {
            return web;
        }
        assert!(Instant::now() < deadline, "{what} does not come: {status}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_served_host_starts_its_domains_again_and_goes_on_with_it_after_it_was_killed() {
    let environment = Environment::new();
    let bank = town(&environment);
    environment.write("policy", "interval \"1s\"\n");
    environment.write("kept.kdl", &KEPT.replace("backoff=\"5s\"", "backoff=\"2s\""));
    let options = ["--policy", "policy", "--crash-after", "3s"];
    let mut host = ServedHost::start(&environment, "host1", &bank, &options);
    write_site(&environment, &[&host]);
    let jane = |arguments: &[&str]| user(&environment, "jane", &[&["--site", "hosts.kdl"], arguments].concat());
    jane(&["up", "kept.kdl", "--yes"]).ok();
    wait_for(&environment, "its crash", |web| web["state"] == "crashed" && !web["restarts"]["next_unix_us"].is_null());
    let listen = host.listen().to_owned();
    host.kill();
    let host = ServedHost::start_with(&environment, "host1", &bank, &listen, &options, &[]);
    wait_for(&environment, "its restart", |web| web["restarts"]["count"] == 1);
    let last = wait_for(&environment, "the end of patience", |web| web["restarts"]["given_up"] == true);
    assert_eq!((&last["state"], &last["restarts"]["count"]), (&Value::from("crashed"), &Value::from(2)), "{last}");
    let history = json(&environment, "jane", &["--site", "hosts.kdl", "host", "history", "host1"]);
    let events = history[0]["events"].as_array().expect("events").clone();
    let of_domains: Vec<String> = events
        .iter()
        .filter(|event| event["domain"] == "web")
        .map(|event| event["event"].as_str().expect("a word").to_owned())
        .collect();
    assert_eq!(of_domains, ["ended", "restarted", "ended", "restarted", "gave-up"], "{history}");
    assert!(events.iter().all(|event| event["domain"] != "plain"), "nobody keeps it: {history}");
    jane(&["down", "kept", "--yes"]).ok();
    host.stop();
    assert_eq!(audited(&environment, bank), (1_000_000_000, 0));
}

#[test]
fn a_suspended_domain_costs_no_cpu_and_goes_on_with_resume_or_up() {
    let mut environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    insta::assert_snapshot!("suspend", environment.run(&["suspend", "hello/web.0", "hello/web.1"]).ok());
    insta::assert_snapshot!("suspended_status", environment.run(&["status", "hello"]).ok());
    let again = environment.run(&["suspend", "hello/web.0"]).ok();
    assert!(again.stdout.contains("suspended already"), "{again}");
    environment.pass(600);
    insta::assert_snapshot!("resume", environment.run(&["resume", "hello/web.0"]).ok());
    // The description has the last word.
    insta::assert_snapshot!("plan_of_suspended", environment.run(&["plan", "hello.kdl"]).ok());
    environment.write("hello.kdl", &crate::environment::HELLO.replace("128MiB", "96MiB"));
    environment.run(&["up", "hello.kdl"]).ok();
    assert!(environment.domains("hello").iter().all(|(_, state)| state == "running"), "also where it changes");
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"));
    let wrong = environment.run(&["suspend", "hello/db"]).ends_with(1);
    assert!(wrong.stderr.contains("has no domain named `db`"), "{wrong}");
    environment.run(&["suspend", "hello"]).ok();
    assert!(environment.domains("hello").iter().all(|(_, state)| state == "paused"));
    environment.run(&["resume", "hello"]).ok();
    environment.run(&["suspend", "hello"]).ok();
    environment.run(&["down", "hello"]).ok();
    environment.audited_balance();
}

#[test]
fn domains_of_served_hosts_are_suspended_by_signed_calls() {
    let environment = Environment::new();
    let bank = town(&environment);
    let host = ServedHost::start(&environment, "host1", &bank, &[]);
    write_site(&environment, &[&host]);
    let jane = |arguments: &[&str]| user(&environment, "jane", &[&["--site", "hosts.kdl"], arguments].concat());
    jane(&["up", "hello.kdl", "--yes"]).ok();
    let suspended = json(&environment, "jane", &["--site", "hosts.kdl", "suspend", "hello"]);
    let rows = suspended.as_array().expect("rows");
    assert!(
        rows.len() == 3 && rows.iter().all(|row| row["state"] == "paused" && row["changed"] == true),
        "{suspended}"
    );
    jane(&["resume", "hello/web.1"]).ok();
    let status = jane(&["status", "hello"]).ok();
    assert_eq!(status.stdout.matches("suspended").count(), 2, "{status}");
    jane(&["up", "hello.kdl", "--yes"]).ok();
    assert!(!jane(&["status", "hello"]).ok().stdout.contains("suspended"));
    jane(&["down", "hello", "--yes"]).ok();
    host.stop();
    assert_eq!(audited(&environment, bank), (1_000_000_000, 0));
}
