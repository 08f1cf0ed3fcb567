//! Every code: its example has it, its cure has not, its message is as recorded, and `docs/errors.md` explains it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "reads docs/errors.md and the source")]

use std::path::Path;

use tycoon_lang::codes::{self, Code};
use tycoon_lang::pool::hosts::{named_hosts, unknown_hosts};
use tycoon_lang::{Diagnostic, MemoryLoader, Options, Sources, check, load, run_tests};

/// What the example of a code needs besides its text.
fn options(code: &str, wrong: bool) -> Options {
    let mut options = Options::default();
    match code {
        "E0103" if wrong => options.max_file_bytes = 100,
        "E0104" if wrong => options.max_depth = 4,
        "E0111" if wrong => options.max_imports = 0,
        "E0506" if wrong => options.params = vec![("worker".into(), "3".into())],
        "E0506" => options.params = vec![("workers".into(), "3".into())],
        "E0507" => options.params_files = vec!["params.kdl".into()],
        "W0003" if wrong => options.environment = vec![("TYCOON_PARAM_WORKER".into(), "3".into())],
        "W0003" => options.environment = vec![("TYCOON_PARAM_WORKERS".into(), "3".into())],
        "E0602" => options.max_steps = 10_000,
        "E0603" if wrong => options.max_chain = 4,
        _ => {}
    }
    options
}

fn diagnostics(code: &Code, text: &str, wrong: bool) -> (Sources, Vec<Diagnostic>) {
    let bytes = if wrong && code.code == "E0102" {
        text.replace('\u{fffd}', "\u{1}").bytes().map(|b| if b == 1 { 0xe9 } else { b }).collect()
    } else {
        // The picture of a control character stands for the character itself.
        text.replace('\u{2401}', "\u{1}").into_bytes()
    };
    let mut loader = MemoryLoader::new().with("pool.kdl", bytes);
    if !code.library.is_empty() {
        loader.insert("lib.kdl", code.library);
    }
    if code.code == "E0507" {
        loader.insert("params.kdl", if wrong { "web.0.memory \"2GiB\"\n" } else { "memory \"2GiB\"\n" });
    }
    let options = options(code.code, wrong);
    if matches!(code.code, "E0502" | "E0505") {
        let report = run_tests("pool.kdl", &loader, &options).unwrap().remove(0);
        return (report.sources, report.failures);
    }
    if code.code == "W0004" {
        let loaded = load("pool.kdl", &loader, &options).unwrap();
        let hosts = ["sim1".to_owned(), "sim2".to_owned()];
        let found = unknown_hosts(&named_hosts(&loaded.tree), "embedded", &hosts);
        return (loaded.sources, found);
    }
    let loaded = match load("pool.kdl", &loader, &options) {
        Ok(loaded) => Ok((loaded.sources, loaded.warnings)),
        Err(failure) => Err((failure.sources, failure.diagnostics)),
    };
    match loaded {
        Ok(result) | Err(result) => result,
    }
}

fn shown(sources: &Sources, diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.to_text(sources)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_of_every_code_has_it_and_nothing_else() {
    let mut others = String::new();
    // E0604 stands for defects of the resolver; no text is known that has it.
    for code in codes::all().filter(|code| code.code != "E0604") {
        let (sources, found) = diagnostics(code, code.example, true);
        let text = shown(&sources, &found);
        let codes: Vec<&str> = found.iter().map(|diagnostic| diagnostic.code).collect();
        if codes != [code.code] {
            others.push_str(&format!("\nthe example of {} gives:\n{text}", code.code));
            continue;
        }
        insta::with_settings!({ snapshot_path => "snapshots/codes", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(code.code, text);
        });
    }
    assert!(others.is_empty(), "{others}");
}

#[test]
fn the_cure_of_every_code_is_sound() {
    let mut unsound = String::new();
    for code in codes::all() {
        let (sources, found) = diagnostics(code, code.cure, false);
        if !found.is_empty() {
            unsound.push_str(&format!("\nthe cure of {} is not sound:\n{}", code.code, shown(&sources, &found)));
        }
    }
    assert!(unsound.is_empty(), "{unsound}");
}

#[test]
fn every_diagnostic_says_what_to_do() {
    for code in codes::all() {
        let (sources, found) = diagnostics(code, code.example, true);
        for diagnostic in &found {
            assert!(diagnostic.help.is_some(), "{} gives no help:\n{}", code.code, diagnostic.to_text(&sources));
        }
    }
}

#[test]
fn suggestions_apply_to_the_text_and_lead_somewhere_else() {
    for code in codes::all() {
        let (sources, found) = diagnostics(code, code.example, true);
        for edit in found.iter().filter_map(|diagnostic| diagnostic.suggestion.as_ref()) {
            let source = sources.get(edit.span.file);
            let text =
                format!("{}{}{}", &source.text[..edit.span.start], edit.replacement, &source.text[edit.span.end..]);
            assert_ne!(text, *source.text, "the suggestion of {} changes nothing", code.code);
        }
    }
}

#[test]
fn codes_are_in_order_and_complete() {
    let list: Vec<&str> = codes::all().map(|code| code.code).collect();
    let mut sorted = list.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(list, sorted);
    // Every code that the source mentions is in the list, and the other way round.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut mentioned = std::collections::BTreeSet::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("codes") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                for (at, _) in text.match_indices("\"E0").chain(text.match_indices("\"W0")) {
                    if let Some(code) = text.get(at + 1..at + 6).filter(|_| text.as_bytes().get(at + 6) == Some(&b'"'))
                    {
                        mentioned.insert(code.to_owned());
                    }
                }
            }
        }
    }
    assert_eq!(list, mentioned.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn the_manual_has_every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let wanted = codes::to_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/errors.md is out of date; run `UPDATE_DOCS=1 cargo test -p tycoon-lang --test codes`"
    );
}

#[test]
fn a_library_needs_no_pool() {
    let loader = MemoryLoader::new().with("lib.kdl", "template Web extends=domain { memory \"64MiB\"; }\n");
    assert!(check("lib.kdl", &loader, &Options::default()).is_ok());
}
