//! The commands of the README print what the README says. `UPDATE_README=1` writes what they print into it.

use std::path::Path;

use crate::environment::Environment;

const FENCE: &str = "```console\n";

#[test]
fn the_readme_shows_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("the README can be read");
    let environment = Environment::new();
    for example in ["hello.kdl", "hello-four.kdl"] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
        let text = std::fs::read_to_string(source).expect("the example can be read");
        environment.write(&format!("examples/{example}"), &text);
    }
    let mut written = String::new();
    let mut rest = readme.as_str();
    let mut commands = 0;
    while let Some((before, block)) = rest.split_once(FENCE) {
        let (block, after) = block.split_once("```").expect("a block ends");
        let command = block.lines().next().and_then(|line| line.strip_prefix("$ tycoon ")).expect("a command");
        let arguments: Vec<&str> = command.split(' ').collect();
        let ran = environment.run(&arguments).ok();
        written.push_str(&format!("{before}{FENCE}$ tycoon {command}\n{}```", ran.stdout));
        rest = after;
        commands += 1;
    }
    written.push_str(rest);
    assert!(commands > 3, "the README shows the program");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, &written).expect("the README can be written");
    } else {
        assert_eq!(written, readme, "run the tests with UPDATE_README=1 and look at what has changed");
    }
}
