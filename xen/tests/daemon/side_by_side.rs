//! Many calls at one time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tycoon_market::{Credits, TimeSpan};

use super::scene::*;

/// Opens the line again however the test ends, so that nobody waits for ever.
struct Unstuck<'a>(&'a Scene);

impl Drop for Unstuck<'_> {
    fn drop(&mut self) {
        self.0.wire.set(Line::Works);
    }
}

/// A bank that does not answer delays only who has to wait for it.
#[test]
fn a_stuck_bank_keeps_nobody_else_waiting() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", 10 * HOUR);
    scene.fund(BOB, "hello", "10");
    scene.wire.set(Line::Stuck);
    std::thread::scope(|scope| {
        let _unstuck = Unstuck(&scene);
        let calls = scene.wire.calls();
        let closing = scope.spawn(|| scene.close(ALICE, "hello").unwrap());
        let started = Instant::now();
        while scene.wire.calls() == calls {
            assert!(started.elapsed() < Duration::from_secs(30), "the bank was never called");
            std::thread::yield_now();
        }
        // The daemon waits for the bank. Meanwhile:
        assert_eq!(scene.account(ALICE, "hello"), None);
        assert!(scene.account(BOB, "hello").is_some());
        assert!(scene.host(BOB).offers(&pool("hello")).is_ok());
        let inspect = tycoon_xen::protocol::Request::Inspect { pool: None };
        assert!(scene.ask(BOB, inspect).is_ok());
        assert!(!closing.is_finished());
        scene.wire.set(Line::Works);
        assert!(closing.join().unwrap().is_settled);
    });
    scene.check_money();
}

/// Two people and the passing of time, all at once, for a while.
#[test]
fn calls_side_by_side_lose_nothing() {
    let scene = Scene::new();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let time = scope.spawn(|| {
            let mut seconds = 0;
            while !is_over.load(Ordering::SeqCst) {
                // Calls are accepted for five minutes: not so much time that one is too old before it arrives.
                if seconds < 280 {
                    scene.clock.advance(TimeSpan::from_seconds(1));
                    seconds += 1;
                }
                scene.daemon().tick().unwrap();
            }
        });
        let people: Vec<_> = [ALICE, BOB]
            .into_iter()
            .map(|party| {
                let scene = &scene;
                scope.spawn(move || {
                    for round in 0..12 {
                        scene.fund(party, "hello", "5");
                        // The other may have taken what this one needs; then it goes without.
                        if scene.bid(party, "hello", bid(HOUR + round, 1)).is_ok() {
                            for request in making("hello", &spec("web.0")) {
                                let _ = scene.ask(party, request);
                            }
                        }
                        let _ = scene.refund(party, "hello", "2");
                        scene.close(party, "hello").unwrap();
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = people.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::SeqCst);
        time.join().unwrap();
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    });
    scene.pass(10);
    assert_eq!(scene.domains(), []);
    assert_eq!(scene.bank.books().unwrap().in_escrow, Credits::ZERO);
    assert_eq!(scene.daemon().faults(), []);
    scene.check_money();
}
