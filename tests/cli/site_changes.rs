//! Pools on sites that change: services that are down, and hosts that leave the site while a pool is on them.

use std::time::{Duration, Instant};

use crate::bank_service::{ServedBank, json, user};
use crate::environment::{Environment, Ran};
use crate::host_service::{ServedHost, admit, audited, balance, find_hosts, town};
use crate::sls::ServedSls;

/// Runs a command until it says something.
fn wait_for(environment: &Environment, arguments: &[&str], what: &str) -> Ran {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let ran = user(environment, "jane", arguments);
        if ran.stdout.contains(what) || ran.stderr.contains(what) {
            return ran;
        }
        assert!(Instant::now() < deadline, "`{what}` is never said: {ran}");
    }
}

#[test]
fn a_pool_is_looked_after_while_services_are_down_and_after_its_host_left_the_site() {
    let environment = Environment::new();
    let mut bank = town(&environment);
    let site = user(&environment, "operator", &["site", "init"]).ok().stdout.trim().to_owned();
    let mut sls = ServedSls::of_site(&environment, "127.0.0.1:0", &site, &[]);
    let (sls_url, sls_key) = (sls.url.clone(), sls.key.clone());
    let of_sls = ["--sls", &sls_url, "--sls-key", &sls_key];
    let hosts: Vec<ServedHost> =
        ["host1", "host2"].map(|name| ServedHost::start(&environment, name, &bank, &of_sls)).into();
    admit(&environment, &of_sls, &site, &["host1", "host2"]);
    find_hosts(&environment, 2);
    user(&environment, "jane", &["up", "hello.kdl", "--yes"]).ok();
    let running = |ran: &Ran| ran.stdout.matches(" running ").count();
    assert_eq!(running(&user(&environment, "jane", &["status", "hello"]).ok()), 3);

    // Nobody answers but the hosts.
    sls.kill();
    bank.kill();
    let alone = user(&environment, "jane", &["status", "hello"]).ok();
    assert_eq!(running(&alone), 3, "{alone}");
    assert!(alone.stderr.contains("the hosts are those of"), "{alone}");
    assert!(alone.stdout.contains("the bank cannot be asked"), "{alone}");
    assert!(user(&environment, "jane", &["ls"]).ok().stdout.contains("3/3"));
    let refused = user(&environment, "jane", &["up", "hello.kdl", "--yes"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("bank"), "{refused}");

    // Both are back, and the site admits one of the hosts no more.
    let listen = bank.listen().to_owned();
    bank = ServedBank::start_at(&environment, &format!("sled:{}", environment.path().join("bank").display()), &listen);
    let _sls = ServedSls::of_site(&environment, sls.listen(), &site, &[]);
    wait_for(&environment, &["bank", "balance"], "balance");
    user(&environment, "operator", &["site", "revoke", "host1"]).ok();
    let seen = user(&environment, "jane", &["status", "hello"]).ok();
    assert_eq!(running(&seen), 3, "what it has there stays in sight: {seen}");
    let plan = user(&environment, "jane", &["plan", "hello.kdl"]).ok();
    assert!(plan.stdout.contains("is not listed by the site now"), "{plan}");
    assert!(user(&environment, "owner", &["host", "status", "host1"]).code.is_some());
    for domain in ["hello/web.0", "hello/web.1", "hello/web.2"] {
        let found = user(&environment, "jane", &["ssh", domain]).ends_with(1);
        assert!(found.stderr.contains("is simulated"), "it is found wherever it is: {found}");
    }

    user(&environment, "jane", &["down", "hello", "--yes"]).ok();
    assert_eq!(balance(&environment, "owner") + balance(&environment, "jane"), 1_000_000_000);
    assert_eq!(json(&environment, "jane", &["ls"]).as_array().map(Vec::len), Some(0), "nothing is left");
    for host in hosts {
        host.stop();
    }
    assert_eq!(audited(&environment, bank), (1_000_000_000, 0));
}

/// Over signed calls: what is kept is told by the host, found again, and nobody else's.
#[test]
fn volumes_are_kept_on_hosts_of_a_site() {
    const KEEPING: &str = "pool shop {\n    budget 10 for=\"1h\"\n    domain db {\n        image \"std:tiny\"\n        memory \
                           \"128MiB\"\n        keep-volumes always\n    }\n}\n";
    let environment = Environment::new();
    let bank = town(&environment);
    let site = user(&environment, "operator", &["site", "init"]).ok().stdout.trim().to_owned();
    let sls = ServedSls::of_site(&environment, "127.0.0.1:0", &site, &[]);
    let of_sls = ["--sls", &sls.url, "--sls-key", &sls.key];
    let host = ServedHost::start(&environment, "host1", &bank, &of_sls);
    admit(&environment, &of_sls, &site, &["host1"]);
    find_hosts(&environment, 1);
    user(&environment, "owner", &[&["init"], &of_sls[..], &["--site-key", &site]].concat()).ok();
    environment.write("shop.kdl", KEEPING);
    user(&environment, "jane", &["up", "shop.kdl", "--yes"]).ok();
    let down = user(&environment, "jane", &["down", "shop", "--yes"]).ok();
    assert!(down.stdout.contains("root (1 GiB)"), "{down}");
    assert_eq!(json(&environment, "owner", &["volumes"]).as_array().map(Vec::len), Some(0), "they are jane's");
    let kept = |state: &str| user(&environment, "jane", &["volumes"]).ok().stdout.contains(state);
    assert!(kept("kept until"));
    let plan = user(&environment, "jane", &["plan", "shop.kdl"]).ok();
    assert!(plan.stdout.contains("with what was kept of it: root"), "{plan}");
    user(&environment, "jane", &["up", "shop.kdl", "--yes"]).ok();
    assert!(kept("in use"));
    user(&environment, "jane", &["down", "shop", "--yes"]).ok();
    user(&environment, "jane", &["volumes", "remove", "shop", "--yes"]).ok();
    assert!(kept("There are no volumes"));
    host.stop();
}
