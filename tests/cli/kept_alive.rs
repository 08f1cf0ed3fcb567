//! Domains that end by themselves are started again by the hosts that have them; domains stand still, and go on.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bank_service::{json, live, user};
use crate::environment::Environment;
use crate::host_service::{ServedHost, audited, town, write_site};

/// Simulated hosts whose domains crash ten minutes after their start.
const FRAIL: &str = r#"
site frail {
    simulated-host host1 { crash-after "10m"; }
}
"#;

/// One domain that is started again, and one that is not. One after the other, so that each has always the same address.
const KEPT: &str = r#"
pool kept {
    budget 10 for="10h"
    domain web { image "std:tiny"; memory "128MiB"; restart on-failure times=2 within="1h" backoff="5s"; }
    domain plain { image "std:tiny"; memory "128MiB"; start-after web; }
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

#[test]
fn keep_looks_again_and_again_and_tells_what_happens_beside_other_commands() {
    let environment = frail();
    environment.write("frail.kdl", &FRAIL.replace("10m", "2s"));
    environment.write("kept.kdl", &KEPT.replace("5s", "0s"));
    let run = |arguments: &[&str]| environment.ran(arguments, live(&environment, arguments));
    run(&["up", "kept.kdl"]).ok();
    let keep = ["keep", "--every", "1s", "--for", "12s"];
    let mut command = live(&environment, &keep);
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    run(&["status", "kept"]).ok();
    let kept = child.wait_with_output().expect("it ends");
    let kept = crate::environment::Ran::of(&environment, &keep, &kept).ok();
    for word in ["web crashed, starts again", "web, restart 1 of late", "web, restart 2 of late", "it stays as it is"] {
        assert!(kept.stdout.contains(word), "`{word}` is not told: {kept}");
    }
    assert!(kept.stderr.contains("looking after 1 host;"), "{kept}");
    run(&["down", "kept"]).ok();
    environment.run(&["keep", "--every", "0s"]).ends_with(2);
}

#[test]
fn keep_has_nothing_to_do_where_hosts_look_after_themselves() {
    let environment = Environment::new();
    let bank = town(&environment);
    let host = ServedHost::start(&environment, "host1", &bank, &[]);
    write_site(&environment, &[&host]);
    let refused = user(&environment, "jane", &["--site", "hosts.kdl", "keep"]).ends_with(2);
    assert!(refused.stderr.contains("look after their domains themselves"), "{refused}");
}

/// Whose money runs out is warned, stopped in order and not started again, whatever the policy; her disk waits for her.
#[test]
fn a_pool_that_runs_dry_is_warned_then_stopped_and_finds_its_disk_when_it_pays_again() {
    let environment = Environment::new();
    let bank = town(&environment);
    environment.write("policy", "interval \"1s\"\nwarning-grace \"4s\"\ndisk-grace \"1h\"\n");
    environment.write(
        "dry.kdl",
        "pool dry { budget 0.01 for=\"5s\"; domain web { image \"std:tiny\"; memory \"128MiB\"; restart always backoff=\"0s\"; } }",
    );
    let host = ServedHost::start(&environment, "host1", &bank, &["--policy", "policy"]);
    write_site(&environment, &[&host]);
    let jane = |arguments: &[&str]| user(&environment, "jane", &[&["--site", "hosts.kdl"], arguments].concat());
    let wait = |word: &str| {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let status = jane(&["status", "dry"]).ok();
            if status.stdout.contains(word) {
                return status;
            }
            assert!(Instant::now() < deadline, "`{word}` is never said: {status}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    jane(&["up", "dry.kdl", "--yes"]).ok();
    let warned = wait("host1 shuts down what the pool has there");
    assert!(warned.stdout.contains("running") && warned.stdout.contains("out of funds"), "{warned}");
    let stopped = wait("and deletes its disks on");
    assert!(stopped.stdout.contains("stopped"), "{stopped}");
    let events = jane(&["host", "history", "host1", "--pool", "dry"]).ok();
    for word in ["warned", "stopped", "disks go in"] {
        assert!(events.stdout.contains(word), "{events}");
    }
    assert!(!events.stdout.contains("restarted"), "{events}");
    // Two more intervals: nobody starts it.
    std::thread::sleep(Duration::from_secs(2));
    assert!(jane(&["status", "dry"]).ok().stdout.contains("stopped"));
    let plan = jane(&["plan", "dry.kdl"]).ok();
    assert!(plan.stdout.contains("1 to start") && !plan.stdout.contains("to create"), "its disk is there: {plan}");
    environment.write(
        "dry.kdl",
        &std::fs::read_to_string(environment.path().join("dry.kdl"))
            .expect("it")
            .replace("0.01 for=\"5s\"", "1 for=\"1h\""),
    );
    jane(&["up", "dry.kdl", "--yes"]).ok();
    assert!(jane(&["status", "dry"]).ok().stdout.contains("running"));
    jane(&["down", "dry", "--yes"]).ok();
    let gone = jane(&["status", "dry"]).ends_with(1);
    assert!(gone.stderr.contains("host history all --pool dry"), "{gone}");
    host.stop();
    assert_eq!(audited(&environment, bank), (1_000_000_000, 0));
}
