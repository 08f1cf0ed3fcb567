//! Time passes between commands: simulated hosts live on, charge, and stop what nobody pays for.

use crate::environment::Environment;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

#[test]
fn a_pool_is_charged_for_the_time_it_ran() {
    let mut environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    environment.pass(HOUR / 2);
    insta::assert_snapshot!("status_after_half_an_hour", environment.run(&["status", "hello"]).ok());
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"), "time alone changes no bid");
    insta::assert_snapshot!("down_after_half_an_hour", environment.run(&["down", "hello"]).ok());
    let cost = 1_000_000_000 - environment.audited_balance();
    assert!(cost > 0 && cost < 5_000_000, "half an hour of a budget of 10 for an hour cost {cost} micro-credits");
}

#[test]
fn a_pool_that_nobody_looks_after_runs_dry_is_stopped_and_in_the_end_removed() {
    let mut environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    // What is not used of an hour's money is spread over 30 days, and then there is nothing left.
    environment.pass(60 * DAY);
    environment.audited_balance();
    let domains = environment.domains("hello");
    assert!(domains.iter().all(|(_, state)| state != "running"), "{domains:?}");
    let spent = 1_000_000_000 - environment.audited_balance();
    assert!(spent <= 10_000_000, "never more than the budget: {spent}");
    environment.run(&["up", "hello.kdl"]).ok();
    assert!(environment.domains("hello").iter().all(|(_, state)| state == "running"));
    environment.run(&["down", "hello"]).ok();
    environment.audited_balance();
}

#[test]
fn up_after_the_period_has_ended_begins_a_new_one() {
    let mut environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    environment.pass(2 * HOUR);
    insta::assert_snapshot!("plan_after_the_period", environment.run(&["plan", "hello.kdl"]).ok());
    environment.run(&["up", "hello.kdl"]).ok();
    assert!(environment.run(&["up", "hello.kdl"]).ok().stdout.contains("nothing to do"));
    environment.run(&["down", "hello"]).ok();
    assert!(environment.audited_balance() < 1_000_000_000);
}

#[test]
fn a_clock_that_goes_back_costs_nothing() {
    let mut environment = Environment::new();
    environment.pass(DAY);
    environment.run(&["up", "hello.kdl"]).ok();
    let mut earlier = Environment::new();
    std::mem::swap(&mut environment, &mut earlier);
    // The same home, a day earlier.
    let mut command = earlier.command(&["down", "hello"]);
    command.env("TYCOON_CLOCK", "1767225600");
    earlier.ran(&["down", "hello"], command).ok();
    assert_eq!(earlier.audited_balance(), 1_000_000_000);
}
