//! What the program says of itself.

use crate::environment::Environment;

#[test]
fn help_shows_the_commands_and_how_to_begin() {
    let environment = Environment::new();
    insta::assert_snapshot!("help", environment.run(&["--help"]).ok());
    insta::assert_snapshot!("help_up", environment.run(&["up", "--help"]).ok());
}

#[test]
fn wrong_usage_ends_with_2() {
    let environment = Environment::new();
    insta::assert_snapshot!("no_such_command", environment.run(&["upp"]).ends_with(2));
    environment.run(&["up"]).ends_with(2);
    environment.run(&["up", "hello.kdl", "-p", "novalue"]).ends_with(2);
}

#[test]
fn completion_scripts_are_printed() {
    let environment = Environment::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(environment.run(&["completions", shell]).ok().stdout.contains("tycoon"));
    }
}
