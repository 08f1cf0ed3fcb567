//! The tutorial and the guide from SmartFrog: every description in them resolves, and says what the text says.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "reads the manual")]

mod support;

use std::path::Path;

use support::load_files;
use tycoon_lang::{MemoryLoader, Options, check, load, run_tests};

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

/// The blocks of KDL of a document, in order.
fn blocks(text: &str) -> Vec<&str> {
    text.split("```kdl\n").skip(1).map(|rest| &rest[..rest.find("```").unwrap()]).collect()
}

#[test]
fn every_file_of_the_tutorial_resolves_and_its_tests_pass() {
    let text = document("tutorial.md");
    let mut loader = MemoryLoader::new();
    let mut tests = 0;
    for block in blocks(&text) {
        let name = block.lines().next().and_then(|line| line.strip_prefix("// ")).expect("the name of a file");
        loader.insert(name, block);
        let sound = if block.contains("\npool ") {
            load(name, &loader, &Options::default()).map(|_| ())
        } else {
            check(name, &loader, &Options::default()).map(|_| ())
        };
        if let Err(failure) = sound {
            panic!("{block}\n{}", failure.to_text());
        }
        let formatted = tycoon_lang::syntax::format::format(name, block, &Options::default()).unwrap();
        assert_eq!(block, formatted, "as `tycoon fmt` writes it");
        for report in run_tests(name, &loader, &Options::default()).unwrap() {
            assert!(report.passed(), "{}", report.name);
            tests += 1;
        }
    }
    assert_eq!(tests, 2);
}

#[test]
fn every_description_of_the_guide_from_smartfrog_resolves() {
    let text = document("from-smartfrog.md");
    assert!(blocks(&text).len() >= 3);
    for block in blocks(&text) {
        match load_files(block, &[], &Options::default()) {
            Ok(resolved) => assert!(!resolved.domains().is_empty()),
            Err(failure) => panic!("{block}\n{}", failure.to_text()),
        }
    }
}
