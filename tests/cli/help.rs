//! What the program says of itself, and where to.

use std::fs::OpenOptions;
use std::process::Stdio;

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

/// Data that nobody gets is an error; a reader that has seen enough is none.
#[test]
fn a_full_output_is_an_error_and_a_closed_pipe_is_none() {
    let environment = Environment::new();
    for arguments in [
        &["check", "hello.kdl"][..],
        &["resolve", "hello.kdl"],
        &["explain", "domain"],
        &["plan", "hello.kdl", "--json"],
        &["completions", "bash"],
        &["--help"],
        &["check", "--help"],
        &["--version"],
    ] {
        let mut full = environment.command(arguments);
        full.stdout(OpenOptions::new().write(true).open("/dev/full").expect("the device that is always full"));
        let ran = environment.ran(arguments, full).ends_with(1);
        assert!(ran.stderr.contains("output cannot be written") && ran.stderr.contains("No space left"), "{ran}");

        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut closed = environment.command(arguments);
        closed.stdout(Stdio::from(writer));
        let ran = environment.ran(arguments, closed).ok();
        assert_eq!(ran.stderr, "", "{ran}");
    }
}
