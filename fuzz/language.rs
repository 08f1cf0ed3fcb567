//! What must hold for any bytes that are given to the language. The fuzz targets call these functions with whatever
//! libFuzzer thinks of, `lang/tests/fuzz.rs` with the kept corpus and some changes of it in every run of the tests.

use tycoon_lang::syntax::format;
use tycoon_lang::{MemoryLoader, Options, check, editor, load, report};

/// Limits that keep one input below a second.
fn options() -> Options {
    Options { max_file_bytes: 1 << 16, max_instances: 2_000, max_steps: 200_000, max_depth: 64, ..Options::default() }
}

/// Reads, composes and resolves any bytes: there is an answer, every refusal has a reason, and what is said can be
/// shown. What `check` finds sound has at most reasons why no pool is chosen.
///
/// # Panics
/// Where one of these does not hold.
pub fn description(bytes: &[u8]) {
    let loader = MemoryLoader::new().with("pool.kdl", bytes);
    let options = options();
    let checked = check("pool.kdl", &loader, &options);
    if let Err(failure) = &checked {
        assert!(!failure.diagnostics.is_empty(), "refused without a reason");
    }
    match load("pool.kdl", &loader, &options) {
        Ok(loaded) => {
            assert!(checked.is_ok(), "`load` takes what `check` refuses");
            assert_eq!(loaded.tree.kind.as_ref(), "pool");
        }
        Err(failure) => {
            let text = failure.to_text();
            assert!(failure.diagnostics.iter().any(|found| found.code.starts_with('E')), "no error among:\n{text}");
            assert!(!failure.diagnostics.iter().any(|found| found.code == "E0604"), "refused without a reason");
            for diagnostic in &failure.diagnostics {
                let _ = report::report(diagnostic, &failure.sources).to_string();
                let source = diagnostic.primary().map(|span| failure.sources.get(span.file));
                assert!(source.is_some(), "a diagnostic without a place:\n{text}");
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let at = text.len() / 2;
        let proposals = editor::complete("pool.kdl", text, &loader, &options, at);
        assert!(proposals.range.start <= proposals.range.end && proposals.range.end <= text.len());
        let _ = editor::hover("pool.kdl", &loader, &options, at);
        let _ = editor::definition("pool.kdl", &loader, &options, at);
    }
}

/// Formats any text: what is formatted is formatted, has the same words in the same order, and means the same.
///
/// # Panics
/// Where one of these does not hold.
pub fn format(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let options = options();
    let Ok(once) = format::format("pool.kdl", text, &options) else { return };
    let twice = match format::format("pool.kdl", &once, &options) {
        Ok(twice) => twice,
        Err((sources, error)) => panic!("what is formatted is no KDL:\n{once}\n{}", error.to_text(&sources)),
    };
    assert_eq!(once, twice, "formatting twice is not formatting once");
    assert_eq!(letters(text), letters(&once), "something was lost or added");
    let codes = |text: &str| -> Vec<&'static str> {
        let loader = MemoryLoader::new().with("pool.kdl", text);
        match load("pool.kdl", &loader, &options) {
            Ok(_) => Vec::new(),
            Err(failure) => failure.diagnostics.iter().map(|found| found.code).collect(),
        }
    };
    let (before, after) = (codes(text), codes(&once));
    // A file may grow over a limit of its size by being laid out.
    if !after.contains(&"E0103") {
        assert_eq!(before, after, "what is formatted means something else:\n{once}");
    }
}

/// A text without what the formatter may change: spaces, line ends, `;`, and a `\` that continues a line.
fn letters(text: &str) -> String {
    let continues = |rest: &str| {
        let rest = rest.trim_start_matches([' ', '\t', '\u{a0}']);
        rest.is_empty() || rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with(char::is_whitespace)
    };
    let kept = text.char_indices().filter(|(at, letter)| match letter {
        ';' | '\u{feff}' => false,
        '\\' => !continues(&text[at + 1..]),
        letter => !letter.is_whitespace(),
    });
    kept.map(|(_, letter)| letter).collect()
}
