//! The fuzz targets of `fuzz/` over the kept corpus and over changes of it: a few seconds, the same in every run.
//! `cargo +nightly fuzz run description` goes on for as long as one likes.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "reads the corpus")]

#[path = "../../fuzz/language.rs"]
mod language;

use std::path::Path;

/// A sequence of numbers that looks random and is always the same (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// Pieces that change what a text means, more than single bytes do.
const PIECES: [&str; 28] = [
    "{",
    "}",
    "\"",
    "($)",
    "(f)",
    "(replace)",
    "(final)",
    "#",
    "/*",
    "*/",
    "/-",
    "\\",
    "\n",
    ";",
    "=",
    ".",
    "..",
    "0",
    "-1",
    "99999999999999999999",
    "extends",
    "count=3",
    "each=",
    "if=#false",
    "\u{0}",
    "é",
    "${",
    "\u{feff}",
];

fn corpus() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in ["fuzz/corpus/description", "examples", "examples/lib", "lang/std"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("the corpus can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                files.push((path.display().to_string(), std::fs::read(&path).expect("the file can be read")));
            }
        }
    }
    files.extend(tycoon_lang::codes::all().map(|code| (code.code.to_owned(), code.example.as_bytes().to_vec())));
    files.sort();
    files
}

/// The text with a few changes: pieces put in, stretches taken out, doubled or exchanged, bytes overwritten.
fn changed(text: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(40)).min(bytes.len());
        match numbers.below(6) {
            0 => drop(bytes.splice(at..at, PIECES[numbers.below(PIECES.len())].bytes())),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let stretch = bytes[at..end].to_vec();
                bytes.splice(at..at, stretch);
            }
            3 => {
                let from = numbers.below(other.len() + 1);
                let to = (from + numbers.below(60)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            4 => bytes.splice(at..end, PIECES[numbers.below(PIECES.len())].bytes()).for_each(drop),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = numbers.below(256) as u8;
                }
            }
        }
    }
    bytes
}

/// Gives every file of the corpus, and some changes of each, to a target. What is tried of a file depends on that file
/// and on the kept corpus only, so that a change of one file does not change what is tried of the others.
fn run(target: fn(&[u8]), seed: u64, changes: u32) {
    let corpus = corpus();
    assert!(corpus.len() > 40, "the corpus is there");
    let kept: Vec<&Vec<u8>> = corpus.iter().filter(|(name, _)| name.contains("fuzz")).map(|(_, text)| text).collect();
    for (name, text) in &corpus {
        let name = name.rsplit('/').next().unwrap_or(name);
        let mut numbers = Numbers(name.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31) + u64::from(byte)) | 1);
        for change in 0..=changes {
            let other = kept[numbers.below(kept.len())];
            let bytes = if change == 0 { text.clone() } else { changed(text, other, &mut numbers) };
            let outcome = std::panic::catch_unwind(|| target(&bytes));
            assert!(outcome.is_ok(), "change {change} of {name}:\n{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn any_description_has_an_answer() {
    run(language::description, 0x5eed_0061, 2);
}

#[test]
fn formatting_loses_nothing() {
    run(language::format, 0x5eed_0062, 10);
}
