//! Any text to the formatter: what it gives says the same, and formatting it again changes nothing.
#![no_main]

#[path = "../language.rs"]
#[allow(dead_code)]
mod language;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| language::format(bytes));
