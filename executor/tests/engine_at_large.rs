//! The engine with plans of any shape, and with large ones.

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use proptest::prelude::*;
use support::plans::plan;
use support::steps::{Calls, Paper, broken, check_story, done, failed, run, run_on, skipped};
use tycoon_executor::engine::{ATTEMPTS, StopFlag};
use tycoon_executor::journal::Outcome;
use tycoon_executor::progress::Silent;

/// A star, a fan of many hosts, and layers that all need one another: the time grows with the plan, not with its square.
#[test]
fn time_is_near_linear_in_the_plan() {
    let star = |count: usize| -> Vec<(usize, Vec<usize>)> {
        (0..count).map(|number| (number % 500, if number == 0 { vec![] } else { vec![0] })).collect()
    };
    let rows = |count: usize| -> Vec<(usize, Vec<usize>)> {
        let row = |number: usize| if number < 100 { vec![] } else { vec![number - 100] };
        (0..count).map(|number| (number % 100, row(number))).collect()
    };
    let collected = |count: usize| -> Vec<(usize, Vec<usize>)> {
        let last = count - 1;
        (0..count).map(|number| (number % 50, if number == last { (0..last).collect() } else { vec![] })).collect()
    };
    let seconds = |steps: Vec<(usize, Vec<usize>)>| {
        let plan = plan(&steps);
        let started = Instant::now();
        let (report, _) = run(&plan, Calls::new(|_, _| Ok(true)));
        assert!(report.succeeded());
        started.elapsed().as_secs_f64()
    };
    type Shape<'a> = (&'a str, usize, &'a dyn Fn(usize) -> Vec<(usize, Vec<usize>)>);
    let shapes: [Shape<'_>; 3] = [("star", 50_000, &star), ("rows", 20_000, &rows), ("collected", 20_000, &collected)];
    for (name, count, shape) in shapes {
        // Ten times the steps take ten times as long, or a hundred times where it is quadratic. Other work on the
        // machine may disturb one measurement, not three.
        let ratio = || seconds(shape(count)) / seconds(shape(count / 10));
        let is_linear = (0..3).any(|_| ratio() < 40.0);
        assert!(is_linear, "{name}: ten times the steps take more than forty times as long");
    }
}

/// A random plan: for each step its host, the earlier ones it needs, and how it goes: for each attempt.
fn random_plan() -> impl Strategy<Value = Vec<(usize, Vec<usize>, Vec<u8>)>> {
    let step =
        (0_usize..4, prop::collection::vec(any::<prop::sample::Index>(), 0..4), prop::collection::vec(0_u8..12, 3));
    prop::collection::vec(step, 0..60).prop_map(|steps| {
        let needs = |number: usize, needs: Vec<prop::sample::Index>| -> Vec<usize> {
            if number == 0 { Vec::new() } else { needs.iter().map(|need| need.index(number)).collect() }
        };
        steps
            .into_iter()
            .enumerate()
            .map(|(number, (host, wanted, attempts))| (host, needs(number, wanted), attempts))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn any_plan_is_carried_out_as_far_as_it_goes(steps in random_plan(), stop_at in prop::option::weighted(0.3, 0_usize..60)) {
        let shape: Vec<(usize, Vec<usize>)> = steps.iter().map(|(host, needs, _)| (*host, needs.clone())).collect();
        let plan = plan(&shape);
        let stop = StopFlag::default();
        let finished: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
        let (asked, ended, script, wanted) = (stop.clone(), finished.clone(), steps.clone(), shape.clone());
        let performer = Calls::new(move |number, before| {
            for need in &wanted[number].1 {
                assert!(ended.lock().unwrap().contains(need), "step {number} began before {need} was done");
            }
            if stop_at == Some(number) {
                asked.stop();
            }
            match script[number].2[before.min(2)] {
                0 => Err(broken(false)),
                1 | 2 => Err(broken(true)),
                _ => {
                    ended.lock().unwrap().insert(number);
                    Ok(true)
                }
            }
        });
        let paper = Paper::new();
        let report = run_on(&paper, &plan, performer.clone(), &Silent, &stop).unwrap();
        check_story(&plan, &report, &paper.records());

        // What the script says about a step alone: how often it is tried, and whether it succeeds.
        let fate = |number: usize| {
            let attempts = &steps[number].2;
            match attempts.iter().position(|attempt| *attempt == 0 || *attempt > 2) {
                Some(last) => (last + 1, attempts[last] != 0),
                None => (ATTEMPTS as usize, false),
            }
        };
        let calls = performer.before.lock().unwrap().clone();
        let mut expected: Vec<Option<Outcome>> = Vec::new();
        for (number, (_, needs)) in shape.iter().enumerate() {
            let outcome = if needs.iter().any(|need| expected[*need] != done()) {
                skipped()
            } else if fate(number).1 {
                done()
            } else {
                failed()
            };
            expected.push(outcome);
        }
        for (number, outcome) in report.outcomes.iter().enumerate() {
            match outcome {
                None => {
                    prop_assert!(report.was_stopped, "step {} was forgotten", number);
                    prop_assert!(!calls.contains_key(&number));
                }
                Some(outcome) => {
                    prop_assert_eq!(Some(outcome), expected[number].as_ref(), "step {}", number);
                    let tries = if *outcome == Outcome::Skipped { None } else { Some(fate(number).0) };
                    prop_assert_eq!(calls.get(&number).copied(), tries, "step {}", number);
                }
            }
        }
        prop_assert!(stop_at.is_some() || !report.was_stopped);
    }
}
