//! Any bytes as a description: read, composed, resolved, and everything said about them shown.
#![no_main]

#[path = "../language.rs"]
#[allow(dead_code)]
mod language;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| language::description(bytes));
