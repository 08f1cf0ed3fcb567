//! Several processes at once.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Command;

use crate::environment::{Environment, Ran};

#[test]
fn two_ups_of_the_same_pool_at_once_bring_it_up_once() {
    let environment = Environment::new();
    let arguments = ["up", "hello.kdl"];
    let both = [environment.start(&arguments), environment.start(&arguments)];
    let outcomes = both.map(|child| {
        let output = child.wait_with_output().expect("the program ends");
        Ran::of(&environment, &arguments, &output).ok()
    });
    let idle = outcomes.iter().filter(|ran| ran.stdout.contains("nothing to do")).count();
    assert_eq!(idle, 1, "{}{}", outcomes[0], outcomes[1]);
    assert_eq!(environment.domains("hello").len(), 3);
    environment.audited_balance();
}

#[test]
fn who_has_to_wait_too_long_is_told_for_whom() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    let path = environment.site().join("lock");
    std::fs::write(&path, "process 4711 (tycoon watch hello)\n").expect("the lock file can be written");
    let file = File::open(&path).expect("the lock file can be opened");
    file.lock().expect("the lock is free");
    let ran = environment.run(&["down", "hello"]).ends_with(6);
    drop(file);
    insta::assert_snapshot!(ran);
    assert_eq!(environment.domains("hello").len(), 3, "nothing was done");
}

#[test]
fn who_waits_is_told_for_whom_and_may_go() {
    let environment = Environment::new();
    environment.run(&["status"]).ok();
    let file = File::open(environment.site().join("lock")).expect("the lock file can be opened");
    file.lock().expect("the lock is free");
    let arguments = ["status"];
    let mut child = environment.start(&arguments);
    let mut told = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("its messages"));
    stderr.read_line(&mut told).expect("its messages can be read");
    assert!(told.starts_with("note: waiting for the site `embedded`, which is in use by process"), "{told}");
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(interrupted.success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("its messages can be read");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{rest}");
    assert!(rest.contains("interrupted while the site `embedded` was in use"), "{rest}");
}
