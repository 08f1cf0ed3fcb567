//! The tutorial, done: its files are written and its commands run, in the order in which they stand.

use std::path::Path;

use crate::environment::Environment;

#[test]
fn every_command_of_the_tutorial_works() {
    let environment = Environment::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["site.kdl", "cluster.kdl", "lib/cluster.kdl"] {
        let text = std::fs::read_to_string(root.join("examples").join(file)).expect("the example can be read");
        environment.write(&format!("examples/{file}"), &text);
    }
    let text = std::fs::read_to_string(root.join("docs/tutorial.md")).expect("the tutorial can be read");
    let mut commands = 0;
    for block in text.split("\n```").skip(1).step_by(2) {
        let (language, block) = block.split_once('\n').expect("a block has lines");
        match language {
            "kdl" => {
                let name = block.lines().next().and_then(|line| line.strip_prefix("// ")).expect("the name of a file");
                environment.write(name, &format!("{block}\n"));
            }
            "sh" => {
                for line in block.lines() {
                    let arguments: Vec<&str> = line.split(' ').collect();
                    assert_eq!(arguments[0], "tycoon", "{line}");
                    environment.run(&arguments[1..]).ok();
                    commands += 1;
                }
            }
            other => panic!("a block of `{other}`"),
        }
    }
    assert!(commands >= 15, "{commands} commands");
    assert_eq!(environment.audited_balance(), 1_000_000_000, "everything was undone");
}
