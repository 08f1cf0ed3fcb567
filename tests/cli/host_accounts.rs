//! The commands for host accounts and for owners, on hosts of the network; and that no crash loses or doubles a credit.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bank_service::{json, live, text, user};
use crate::environment::Environment;
use crate::host_service::{ServedHost, audited, balance, town, write_site};

/// A command of `tycoon host` on the hosts of the site.
fn on<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["--site", "hosts.kdl", "host"], arguments].concat()
}

/// What the bank has issued, in micro-credits.
const ALL: i64 = 1_000_000_000;

#[test]
fn accounts_on_hosts_are_opened_bid_with_and_closed_by_hand() {
    let environment = Environment::new();
    let bank = town(&environment);
    environment.write("policy.kdl", "interval \"1s\"\nports \"8000-8001\"\nport-price 0.01\n");
    let hosts: Vec<ServedHost> = [("host1", "rack=a"), ("host2", "rack=b")]
        .map(|(name, label)| {
            ServedHost::start(&environment, name, &bank, &["--policy", "policy.kdl", "--label", label])
        })
        .into();
    write_site(&environment, &hosts.iter().collect::<Vec<_>>());
    environment.write("both.txt", "host1\nhost2 # the other one\n");
    let jane = |arguments: &[&str]| user(&environment, "jane", &on(arguments));
    let jane_json = |arguments: &[&str]| json(&environment, "jane", &on(arguments));

    let missing = jane(&["fund", "host1", "--amount", "5"]).ends_with(1);
    assert!(missing.stderr.contains("tycoon host create-account host1"), "{missing}");
    jane(&["create-account", "@both.txt", "--amount", "10"]).ok();
    let twice = jane(&["create-account", "host1", "--amount", "5"]).ends_with(1);
    assert!(twice.stderr.contains("there is an account"), "{twice}");
    jane(&["fund", "rack=a", "--amount", "5"]).ok();
    let preview = jane_json(&["bid", "host*", "10h", "CPU:1,0.5CPU,2CPU,0.2", "memory:1,256MiB,1GiB", "--dry-run"]);
    let cpu = preview[0]["allocation"]["CPU"].as_u64().expect("a share");
    assert!((500_000..=2_000_000).contains(&cpu), "between the minimum and the maximum: {preview}");
    assert!(preview[0]["contingency_micro"].as_i64() > Some(0), "{preview}");
    let idle = jane_json(&["status", "all"]);
    assert_eq!(idle[0]["state"], "idle", "a dry run changes nothing: {idle}");
    jane(&["bid", "host1", "host2", "10h", "CPU:1,0.5CPU,2CPU,0.2", "memory:1,256MiB,1GiB", "TCPv4Port,any:1"]).ok();
    let status = jane_json(&["status", "all"]);
    assert_eq!(status[0]["state"], "active", "{status}");
    assert_eq!(status[0]["funded_micro"], 15_000_000);
    assert_eq!(status[1]["funded_micro"], 10_000_000);
    assert!(status[0]["contingency_micro"].as_i64() > Some(0), "{status}");
    let prices = jane(&["prices", "host1"]).ok();
    let held: Vec<&str> =
        prices.stdout.lines().find(|line| line.contains(" port 8000 ")).expect("a line").split_whitespace().collect();
    assert_eq!(held[..5], ["host1", "port", "8000", "0", "1"], "none is free of one: {prices}");
    let history = jane(&["history", "host1"]).ok();
    for word in ["funded", "allocated", "granted"] {
        assert!(history.stdout.contains(word), "{word} is missing: {history}");
    }
    let unknown = jane(&["status", "hst1"]).ends_with(1);
    assert!(unknown.stderr.contains("did you mean `host1`?"), "{unknown}");
    let bad = jane(&["bid", "host1", "10h", "CPU:many"]).ends_with(2);
    assert!(bad.stderr.contains("`many`"), "{bad}");
    jane(&["refund", "host1", "--leave", "8"]).ok();
    let refunded = jane_json(&["status", "host1"]);
    assert!(refunded[0]["balance_micro"].as_i64() <= Some(8_000_000), "{refunded}");
    jane(&["close-account", "all", "--yes"]).ok();
    assert_eq!(jane_json(&["accounts", "all"])[0]["accounts"].as_array().map(Vec::len), Some(0));
    assert_eq!(balance(&environment, "jane") + balance(&environment, "owner"), ALL);
    for host in hosts {
        host.stop();
    }
    assert_eq!(audited(&environment, bank), (ALL, 0));
}

#[test]
fn a_host_out_of_reach_is_its_own_answer_and_the_others_are_asked() {
    let environment = Environment::new();
    let site = "site lab {\n    simulated-host near\n    xen-host far { ssh \"root@127.0.0.1:1\"; }\n}\n";
    environment.write("lab.kdl", site);
    let ran = environment.run(&["--site", "lab.kdl", "host", "accounts", "all", "--json"]).ends_with(4);
    let answers: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"));
    assert_eq!(answers[0]["host"], "far");
    assert!(answers[0]["error"].is_string(), "{answers}");
    assert!(answers[1]["accounts"].is_array(), "{answers}");
    let ran = environment.run(&["--site", "lab.kdl", "host", "history", "far"]).ends_with(1);
    assert!(ran.stderr.contains("host far:"), "{ran}");
}

#[test]
fn who_watches_hosts_is_told_of_each_and_may_go_at_any_time() {
    let environment = Environment::new();
    let bank = town(&environment);
    let [mut silent, host] = ["host1", "host2"].map(|name| ServedHost::start(&environment, name, &bank, &[]));
    write_site(&environment, &[&silent, &host]);
    user(&environment, "jane", &on(&["create-account", "host2", "--amount", "10"])).ok();
    silent.kill();
    let mut command = live(&environment, &on(&["watch", "all"]));
    let home = environment.path().join("jane");
    command.env("XDG_CONFIG_HOME", &home).env("XDG_STATE_HOME", &home);
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stderr = BufReader::new(watch.stderr.take().expect("its messages")).lines();
    let told = stderr.next().expect("it says something").expect("text");
    assert!(told.contains("does not answer, and is asked again"), "{told}");
    let stdout = BufReader::new(watch.stdout.take().expect("its output"));
    let (tell, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
    // From when on it watches is not known, so that something happens again and again.
    let seen = (0..60).find_map(|_| {
        user(&environment, "jane", &on(&["fund", "host2", "--amount", "1"])).ok();
        lines.recv_timeout(Duration::from_secs(1)).ok()
    });
    assert!(seen.as_ref().is_some_and(|line| line.contains("host2") && line.contains("funded")), "{seen:?}");
    // In the middle of the long poll.
    let asked = Instant::now();
    assert!(Command::new("kill").arg(watch.id().to_string()).status().expect("kill runs").success());
    assert_eq!(watch.wait().expect("it ends").code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(5), "it waited for {:?}", asked.elapsed());
}

#[test]
fn an_owner_sets_prices_drains_and_keeps_people_out() {
    let environment = Environment::new();
    let bank = town(&environment);
    environment.write("policy.kdl", "cpu-price 0.25\ninterval \"1s\"\n");
    let host = ServedHost::start(&environment, "host1", &bank, &["--policy", "policy.kdl"]);
    write_site(&environment, &[&host]);
    let jane = |arguments: &[&str]| user(&environment, "jane", &on(arguments));
    let owner = |arguments: &[&str]| user(&environment, "owner", &on(arguments));
    let price = || {
        let prices = json(&environment, "jane", &on(&["prices", "host1"]));
        (prices[0]["offers"]["CPU"]["base_price_credits_per_hour"].as_f64().expect("a price") * 100.0).round()
    };
    let becomes = |expected: f64| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while price() != expected {
            assert!(std::time::Instant::now() < deadline, "the price is {} and not {expected}", price());
        }
    };
    assert_eq!(price(), 25.0);
    owner(&["set", "host1", "cpu-price=0.75"]).ok();
    becomes(75.0);
    environment.write("policy.kdl", "cpu-price 0.30\nmemory-price 0.2\ninterval \"1s\"\n");
    owner(&["set", "host1", "--reset", "cpu-price"]).ok();
    becomes(30.0);
    let wrong = owner(&["set", "host1", "cpu-price=cheap"]).ends_with(2);
    assert!(wrong.stderr.contains("write credits per hour"), "{wrong}");
    let not_hers = jane(&["set", "host1", "cpu-price=0"]).ends_with(1);
    assert!(not_hers.stderr.contains("only the owner") || not_hers.stderr.contains("not a key"), "{not_hers}");

    jane(&["create-account", "host1", "--amount", "10"]).ok();
    owner(&["drain", "host1"]).ok();
    let drained = jane(&["bid", "host1", "10h", "CPU:1,0.5CPU,2CPU"]).ends_with(1);
    assert!(drained.stderr.contains("draining"), "{drained}");
    owner(&["drain", "host1", "--end"]).ok();
    jane(&["bid", "host1", "10h", "CPU:1,0.5CPU,2CPU"]).ok();
    let shown = json(&environment, "jane", &["user", "show"]);
    owner(&["ban", "host1", "--account", text(&shown, "account"), "--yes"]).ok();
    let banned = jane(&["bid", "host1", "10h", "CPU:1,0.6CPU,2CPU"]).ends_with(1);
    assert!(banned.stderr.contains("keeps this account out"), "{banned}");
    let everybody = json(&environment, "owner", &on(&["accounts", "host1", "--everybody"]));
    assert!(everybody[0]["accounts"][0]["state"]["warned"].is_object(), "{everybody}");
    owner(&["withdraw", "host1"]).ok();
    jane(&["close-account", "host1", "--yes"]).ok();
    assert_eq!(balance(&environment, "jane") + balance(&environment, "owner"), ALL);
    host.stop();
    assert_eq!(audited(&environment, bank), (ALL, 0));
}

/// A host is ended as if by a power cut before and after every write that a life of an account has; each time it is
/// started again and the user repeats what did not come about.
#[test]
fn a_host_that_crashes_at_any_write_neither_loses_nor_doubles_a_credit() {
    let environment = Environment::new();
    let bank = town(&environment);
    // Writes come from calls alone: no interval ends while the test runs.
    environment.write("policy.kdl", "interval \"1h\"\n");
    let steps: &[&[&str]] = &[
        &["create-account", "host1", "--amount", "10"],
        &["bid", "host1", "10h", "CPU:1,0.5CPU,2CPU,0.1"],
        &["fund", "host1", "--amount", "3"],
        &["refund", "host1", "--leave", "2"],
        &["close-account", "host1", "--yes"],
    ];
    let mut reached_the_end = false;
    let mut point = 0;
    while !reached_the_end {
        point += 1;
        assert!(point < 100, "there are more writes than a life has");
        let crash = [("TYCOON_CRASH_AFTER", format!("host:{point}"))];
        let crash: Vec<(&str, &str)> = crash.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut host =
            ServedHost::start_with(&environment, "host1", &bank, "127.0.0.1:0", &["--policy", "policy.kdl"], &crash);
        write_site(&environment, &[&host]);
        reached_the_end = true;
        for step in steps {
            let mut command = live(&environment, &on(step));
            command.env("XDG_CONFIG_HOME", environment.path().join("jane"));
            command.env("XDG_STATE_HOME", environment.path().join("jane"));
            let ran = environment.ran(step, command);
            if ran.code == Some(0) {
                continue;
            }
            assert!(reached_the_end, "at point {point} a second attempt fails: {ran}");
            assert!(ran.stderr.contains("cannot be reached") || ran.stderr.contains("connection"), "{ran}");
            reached_the_end = false;
            host.kill();
            let listen = host.listen().to_owned();
            host = ServedHost::start_with(&environment, "host1", &bank, &listen, &["--policy", "policy.kdl"], &[]);
            let again = user(&environment, "jane", &on(step));
            // What was done before the crash was done: then there is nothing more to open or to close.
            let was_done =
                ["there is an account", "there is no account"].iter().any(|text| again.stderr.contains(text));
            assert!(again.code == Some(0) || was_done, "at point {point}: {again}");
        }
        // From here on the host is well.
        host.kill();
        let listen = host.listen().to_owned();
        let host = ServedHost::start_with(&environment, "host1", &bank, &listen, &["--policy", "policy.kdl"], &[]);
        // Nothing is left over, whichever step was cut short; what was set aside and not handed in is handed in now.
        let left = json(&environment, "jane", &on(&["accounts", "host1"]));
        assert_eq!(left[0]["accounts"].as_array().map(Vec::len), Some(0), "at point {point}: {left}");
        user(&environment, "jane", &on(&["create-account", "host1", "--amount", "0.000001"])).ok();
        user(&environment, "jane", &on(&["close-account", "host1", "--yes"])).ok();
        let (jane, owner) = (balance(&environment, "jane"), balance(&environment, "owner"));
        assert_eq!(jane + owner, ALL, "at point {point} something is lost, or made, or left in escrow");
        host.stop();
    }
    assert!(point > 8, "only {point} points were tried");
    assert_eq!(audited(&environment, bank), (ALL, 0));
}
