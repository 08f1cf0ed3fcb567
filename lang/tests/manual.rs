//! The manual tells the truth: its descriptions resolve, and its tables are those of the program.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "reads docs/language.md")]

mod support;

use std::path::Path;

use support::load_files;
use tycoon_lang::{Function, Options};

fn manual() -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/language.md");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn the_tables_of_functions_and_kinds_are_complete() {
    let (path, text) = manual();
    let rows: String = Function::ALL
        .iter()
        .filter(|function| function.name() != "fill")
        .map(|function| format!("| `{}` | {} |\n", function.usage(), function.doc()))
        .collect();
    let start = text.find("| function | |\n|---|---|\n").unwrap() + "| function | |\n|---|---|\n".len();
    let end = start + text[start..].find("Evaluation is total").unwrap();
    let wanted = format!("{}{rows}\n{}", &text[..start], &text[end..]);
    let intro = "above.\n\n";
    let kinds = wanted.find("## 15. Kinds").map(|at| at + wanted[at..].find(intro).unwrap() + intro.len()).unwrap();
    let reference: String =
        tycoon_lang::reference::kinds().iter().map(tycoon_lang::reference::Schema::to_markdown).collect();
    let wanted = format!("{}{}\n", &wanted[..kinds], reference.trim_end());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "docs/language.md is out of date; run `UPDATE_DOCS=1 cargo test -p tycoon-lang --test manual`"
    );
}

#[test]
fn the_descriptions_of_the_manual_resolve() {
    let (_, text) = manual();
    let mut blocks = 0;
    for block in text.split("```kdl\n").skip(1) {
        let block = &block[..block.find("```").unwrap()];
        blocks += 1;
        // What a fragment leaves out is around it here.
        let around = "template Tested extends=domain { vcpus 2; }\n";
        let text = match block {
            whole if whole.contains("pool ") => format!("{around}{whole}"),
            tests if tests.contains("test ") => {
                format!(
                    "{tests}\nparam workers type=integer default=2\npool batch {{ domain wn count=($)workers {{ image \"a\"; memory \"1GiB\"; }}\nwn.0.memory \"2GiB\"\nassert \"len(wn) < 9\"; }}"
                )
            }
            parts => format!("{parts}\npool p {{ }}"),
        };
        if let Err(failure) = load_files(&text, &[], &Options::default()) {
            panic!("{text}\n{}", failure.to_text());
        }
    }
    assert!(blocks >= 5);
}
