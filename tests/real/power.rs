//! What happens when something is cut off in the middle.

use std::time::{Duration, Instant};

use crate::lab::{Lab, Ran, hello_of, wait};

/// `up` is killed at ten random moments on the way to two pools; the next one goes on from there.
#[test]
#[ignore = "needs the lab: `make test`"]
fn a_killed_up_is_taken_up_again() {
    let lab = Lab::prepared(2, "fast");
    let before = [lab.traces(1), lab.traces(2)];
    // Chosen once at random, in milliseconds; the same in every run.
    for moments in [[2_300, 9_100, 700, 14_800, 5_200], [11_700, 3_900, 6_600, 1_500, 17_300]] {
        for moment in moments {
            let mut child = lab.start(&["up", "hello.kdl"]);
            std::thread::sleep(Duration::from_millis(moment));
            // It may be done already.
            let _ = child.kill();
            child.wait().expect("it ends");
        }
        lab.tycoon(&["up", "hello.kdl"]).ok();
        lab.is_up("hello", 3);
        assert_eq!(lab.running(1).len() + lab.running(2).len(), 3, "no domain runs twice");
        lab.tycoon(&["up", "hello.kdl"]).ok().says(&["nothing to do"]);
        lab.tycoon(&["down", "hello"]).ok();
        assert_eq!([lab.traces(1), lab.traces(2)], before, "everything of the pool is gone");
        lab.settled_balance();
    }
}

/// One of two hosts loses its power while a pool comes up.
#[test]
#[ignore = "needs the lab: `make test`"]
fn a_power_cut_stops_only_its_own_part() {
    let lab = Lab::prepared(2, "fast");
    lab.write("hello.kdl", &hello_of(4));
    let before = [lab.traces(1), lab.traces(2)];
    let child = lab.start(&["up", "hello.kdl"]);
    // In the middle: the host has begun with a domain.
    let begun = Instant::now();
    while lab.on(2, "ls /var/lib/tycoon/domains 2>/dev/null | wc -l").trim() == "0" {
        assert!(begun.elapsed() < Duration::from_secs(120), "nothing began on the second host");
    }
    lab.cut(2);
    let output = wait(child, Duration::from_secs(540));
    let up = Ran::of("tycoon up hello.kdl", &output).ended(4).says(&["lab-h2"]);
    let on_first = lab.running(1).len();
    assert!(on_first >= 1, "the part on the first host came up: {up}");
    lab.tycoon(&["status", "hello"]).says(&["lab-h2"]);

    lab.boot(2);
    lab.on(2, "for i in $(seq 100); do virsh list >/dev/null 2>&1 && exit 0; sleep 0.3; done; exit 1");
    eprintln!("{up}");
    let up = lab.tycoon(&["up", "hello.kdl"]).ok();
    eprintln!("{up}");
    lab.is_up("hello", 4);
    assert_eq!(lab.running(1).len() + lab.running(2).len(), 4, "no domain runs twice");
    lab.tycoon(&["down", "hello"]).ok();
    assert_eq!([lab.traces(1), lab.traces(2)], before, "everything of the pool is gone");
    lab.settled_balance();
}
