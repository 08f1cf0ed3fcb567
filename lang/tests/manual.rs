//! The manual tells the truth: its descriptions resolve, and its tables are those of the program.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "reads docs/language.md")]

use std::path::Path;

use tycoon_lang::{Function, MemoryLoader, Options, check, run_tests};

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

/// The documents, by name, with the README.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths: Vec<_> = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.push(root.join("README.md"));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// Every block of KDL stands for itself: nothing is left out of it, and nothing is put around it here.
#[test]
fn the_descriptions_of_all_documents_are_sound_and_their_tests_pass() {
    let mut checked = 0;
    for (document, text) in documents() {
        // Half of these are meant to be wrong; tests/codes.rs looks at each.
        if document == "errors.md" {
            continue;
        }
        // Later blocks import earlier ones, which say on their first line in which file they are.
        let mut loader = MemoryLoader::new();
        for block in text.split("```kdl\n").skip(1) {
            let block = &block[..block.find("```").unwrap()];
            let first = block.lines().next().unwrap_or_default();
            let name = first.strip_prefix("// ").filter(|name| name.ends_with(".kdl")).unwrap_or("pool.kdl");
            // The simulator reads these, and tests/cli/simulation.rs has it read them.
            if block.starts_with("scenario ") {
                continue;
            }
            loader.insert(name, block);
            checked += 1;
            if let Err(failure) = check(name, &loader, &Options::default()) {
                panic!("{document}:\n{block}\n{}", failure.to_text());
            }
            for test in run_tests(name, &loader, &Options::default()).unwrap() {
                assert!(test.passed(), "{document}: {}", test.name);
            }
        }
    }
    assert!(checked >= 15, "only {checked} blocks were found");
}
