//! Several processes at once.

use std::fs::File;

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
