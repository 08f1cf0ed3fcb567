//! The program is killed after every record of its journal and at every write of the bank; the next command ends in
//! the right state, with no credit lost and no domain left over.

use crate::environment::Environment;

/// More writes than any of these commands makes.
const MOST_WRITES: u64 = 400;
const OPENING_BALANCE: i64 = 1_000_000_000;

const THREE_RUNNING: [(&str, &str); 3] = [("web.0", "running"), ("web.1", "running"), ("web.2", "running")];

#[track_caller]
fn assert_up(environment: &Environment, when: &str) {
    let domains = environment.domains("hello");
    let found: Vec<(&str, &str)> = domains.iter().map(|(path, state)| (path.as_str(), state.as_str())).collect();
    assert_eq!(found, THREE_RUNNING, "{when}");
    let paid = OPENING_BALANCE - environment.audited_balance();
    assert!(paid > 0 && paid <= 10_000_000, "{paid} micro-credits were paid of a budget of 10 credits {when}");
    let again = environment.run(&["up", "hello.kdl"]).ok();
    assert!(again.stdout.contains("nothing to do"), "{when}\n{again}");
}

#[track_caller]
fn assert_down(environment: &Environment, when: &str) {
    assert!(environment.domains("hello").is_empty(), "domains are left {when}");
    assert_eq!(environment.audited_balance(), OPENING_BALANCE, "credits are lost {when}");
}

/// Kills `command` at its first, second, … write of `what` in homes made by `prepare`, and calls `check` on each.
fn at_every_write(what: &str, command: &[&str], prepare: impl Fn(&Environment), check: impl Fn(&Environment, &str)) {
    for count in 1..=MOST_WRITES {
        let environment = Environment::new();
        prepare(&environment);
        let ran = environment.run_and_crash(command, what, count);
        if ran.code == Some(0) {
            assert!(count > 3, "the program was never ended: are the crash points still there?\n{ran}");
            return;
        }
        assert_eq!(ran.code, None, "ended otherwise than by the crash point:\n{ran}");
        check(&environment, &format!("after a crash at write {count} of {what} in {command:?}"));
    }
    panic!("more than {MOST_WRITES} writes of {what}");
}

fn nothing(_: &Environment) {}

fn up(environment: &Environment) {
    environment.run(&["up", "hello.kdl"]).ok();
}

#[test]
fn up_goes_on_after_a_crash_at_any_record_of_the_journal() {
    at_every_write("journal", &["up", "hello.kdl"], nothing, |environment, when| {
        environment.run(&["up", "hello.kdl"]).ok();
        assert_up(environment, when);
        environment.run(&["down", "hello"]).ok();
        assert_down(environment, when);
    });
}

#[test]
fn down_undoes_an_up_that_crashed_at_any_record_of_the_journal() {
    at_every_write("journal", &["up", "hello.kdl"], nothing, |environment, when| {
        environment.run(&["down", "hello"]).ok();
        assert_down(environment, when);
    });
}

#[test]
fn down_goes_on_after_a_crash_at_any_record_of_the_journal() {
    at_every_write("journal", &["down", "hello"], up, |environment, when| {
        environment.run(&["down", "hello"]).ok();
        assert_down(environment, when);
    });
}

#[test]
fn up_undoes_a_down_that_crashed_at_any_record_of_the_journal() {
    at_every_write("journal", &["down", "hello"], up, |environment, when| {
        environment.run(&["up", "hello.kdl"]).ok();
        assert_up(environment, when);
    });
}

#[test]
fn up_goes_on_after_a_crash_at_any_write_of_the_bank() {
    at_every_write("bank", &["up", "hello.kdl"], nothing, |environment, when| {
        environment.run(&["up", "hello.kdl"]).ok();
        assert_up(environment, when);
        environment.run(&["down", "hello"]).ok();
        assert_down(environment, when);
    });
}

#[test]
fn down_goes_on_after_a_crash_at_any_write_of_the_bank() {
    at_every_write("bank", &["down", "hello"], up, |environment, when| {
        environment.run(&["down", "hello"]).ok();
        assert_down(environment, when);
    });
}

#[test]
fn an_interrupt_finishes_what_has_begun_and_the_next_up_goes_on() {
    for count in [1, 5, 12, 20] {
        let environment = Environment::new();
        let arguments = ["up", "hello.kdl"];
        let mut command = environment.command(&arguments);
        command.env("TYCOON_INTERRUPT_AFTER", format!("journal:{count}"));
        let ran = environment.ran(&arguments, command).ends_with(130);
        assert!(ran.stderr.contains("finishing what has begun"), "{ran}");
        environment.audited_balance();
        environment.run(&["up", "hello.kdl"]).ok();
        assert_up(&environment, &format!("after an interrupt at record {count}"));
    }
}
