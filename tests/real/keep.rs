//! What a host keeps alive, lets stand still and holds within its share, on real Xen.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, hello_of};

/// The only domain of the pool, as `status` tells it.
fn web(lab: &Lab) -> Value {
    lab.json(&["status", "hello"])["domains"][0].clone()
}

/// Waits until the domain is as it should be.
fn wait_for(lab: &Lab, what: &str, is_there: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let web = web(lab);
        if is_there(&web) {
            return web;
        }
        assert!(Instant::now() < deadline, "{what} does not come: {web}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// A panic inside is a crash, which the next command mends as the policy says; and no oftener.
#[test]
#[ignore = "needs the lab: `make test`"]
fn a_domain_that_panics_is_started_again_and_given_up_in_the_end() {
    let lab = Lab::prepared(1, "fast");
    let kept = "memory \"128MiB\"\n        restart on-failure times=1 within=\"1h\" backoff=\"1s\"";
    lab.write("hello.kdl", &hello_of(1).replace("memory \"128MiB\"", kept));
    lab.tycoon(&["up", "hello.kdl"]).ok();
    lab.is_up("hello", 1);
    // The shell answers before the kernel ends.
    let panic = "(sleep 1; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 < /dev/null &";
    lab.inside("hello/web.0", panic).ok();
    let again = wait_for(&lab, "the restart", |web| web["restarts"]["count"] == 1);
    assert_eq!(again["restarts"]["given_up"], false, "{again}");
    lab.is_up("hello", 1);
    lab.inside("hello/web.0", panic).ok();
    let left = wait_for(&lab, "the end of patience", |web| web["restarts"]["given_up"] == true);
    assert_eq!(left["state"], "crashed", "{left}");
    lab.tycoon(&["host", "history", "all"]).ok().says(&["ended", "restarted", "gave-up"]);
    lab.tycoon(&["up", "hello.kdl"]).ok();
    lab.is_up("hello", 1);
    lab.tycoon(&["down", "hello"]).ok();
    lab.settled_balance();
}

/// The root disk of the domain, which is suspended, comes whole: what was written to it before, and what its host reads of it.
fn saved_while_it_stands_still(lab: &Lab) {
    let saved = lab.json(&["save-image", "hello/web.0", "--name", "still"]);
    let disk = std::fs::read(lab.path().join("still.raw")).expect("the file is there");
    assert_eq!(saved["volume_bytes"], disk.len(), "{saved}");
    let there = "cat $(virsh domblklist $(virsh list --all --name | grep hello) | awk '/dev/ { print $2; exit }')";
    let digest = lab.on(1, &format!("{there} | head -c {} | sha256sum", disk.len()));
    assert_eq!(digest.split_whitespace().next(), saved["volume_sha256"].as_str(), "{saved}");
    let archive = lab.json(&["save-image", "hello/web.0", "--format", "tar", "--name", "files"]);
    assert_eq!(archive["instead"], Value::Null, "{archive}");
    let files = std::fs::read(lab.path().join("files.tar")).expect("the archive is there");
    let has = |text: &[u8]| files.windows(text.len()).any(|bytes| bytes == text);
    assert!(has(b"./note") && has(b"written before\n"), "what was written is not in the archive");
}

/// Waits until the domain has from `least` to `most` KiB of memory, as Xen says.
fn memory_becomes(lab: &Lab, least: u64, most: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        // A look of the program is a tick of the host.
        web(lab);
        let has = lab.on(1, "virsh dominfo $(virsh list --name | grep hello) | awk '/^Used memory/ { print $3 }'");
        let has: u64 = has.trim().parse().expect("KiB");
        if (least..=most).contains(&has) {
            return;
        }
        assert!(Instant::now() < deadline, "it has {has} KiB, which is not {least} to {most}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What stands still uses no CPU and goes on with all that was in its memory, also where somebody enters it; a cap holds on an
/// idle machine.
#[test]
#[ignore = "needs the lab: `make test`"]
fn a_domain_stands_still_and_goes_on_and_stays_within_its_cap() {
    let lab = Lab::prepared(1, "fast");
    let capped = "memory \"128MiB\"\n        memory-max \"192MiB\"\n        burst #false";
    lab.write("hello.kdl", &hello_of(1).replace("memory \"128MiB\"", capped));
    lab.tycoon(&["up", "hello.kdl"]).ok();
    lab.is_up("hello", 1);
    let cpu = "xl sched-credit2 2>/dev/null | awk '/hello/ { print $NF }'; xl sched-credit 2>/dev/null | awk '/hello/ { print $NF }'";
    let cap = lab.on(1, cpu);
    assert!(cap.split_whitespace().any(|cap| cap.parse::<u32>().is_ok_and(|cap| cap > 0)), "it has no cap: {cap:?}");

    // Nobody else wants the memory, and she bids for it; what is bid for less goes back, and what is its own stays.
    memory_becomes(&lab, 190 << 10, 192 << 10);
    lab.tycoon(&["host", "bid", "lab-h1", "1h", "memory:0.0001", "--pool", "hello"]).ok();
    memory_becomes(&lab, 126 << 10, 129 << 10);
    lab.tycoon(&["host", "bid", "lab-h1", "1h", "memory:1", "--pool", "hello"]).ok();
    memory_becomes(&lab, 160 << 10, 192 << 10);

    lab.inside("hello/web.0", "echo kept > /dev/shm/note 2>/dev/null || echo kept > /tmp/note").ok();
    lab.inside("hello/web.0", "echo written before > /data/note && sync").ok();
    lab.tycoon(&["suspend", "hello/web.0"]).ok().says(&["suspended"]);
    assert!(lab.on(1, "virsh list | grep hello").contains("paused"));
    memory_becomes(&lab, 126 << 10, 129 << 10);
    lab.tycoon(&["status", "hello"]).ok().says(&["suspended"]);
    let used = "virsh dominfo $(virsh list --name | grep hello) | grep 'CPU time'";
    let before = lab.on(1, used);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(lab.on(1, used), before, "it uses CPU while it is suspended");
    lab.tycoon(&["plan", "hello.kdl"]).ok().says(&["suspended"]);
    saved_while_it_stands_still(&lab);
    lab.tycoon(&["resume", "hello"]).ok();
    lab.is_up("hello", 1);
    lab.inside("hello/web.0", "cat /dev/shm/note 2>/dev/null || cat /tmp/note").ok().says(&["kept"]);

    // Who has shut it down from inside enters it again with one command.
    let off = "(sleep 1; poweroff -f) > /dev/null 2>&1 < /dev/null &";
    lab.inside("hello/web.0", off).ok();
    wait_for(&lab, "its end", |web| web["state"] == "stopped");
    lab.tycoon(&["ssh", "hello/web.0", "hostname"]).ended(1).says(&["is stopped", "--start"]);
    let entered = lab.tycoon(&["ssh", "--start", "hello/web.0", "hostname"]).ok();
    assert_eq!(entered.stdout.trim(), "web-0");
    lab.tycoon(&["suspend", "hello/web.0"]).ok();
    let entered = lab.tycoon(&["ssh", "--start", "hello/web.0", "hostname"]).ok();
    assert_eq!(entered.stdout.trim(), "web-0");
    lab.tycoon(&["suspend", "hello"]).ok();
    lab.tycoon(&["down", "hello"]).ok();
    lab.settled_balance();
}
