//! The bid grammar against any bytes: `cargo +nightly fuzz run bid`. The ordinary tests run the same checks over seeded
//! texts.
#![no_main]

#[path = "../../market/tests/grammar/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        checks::check_text(text);
    }
});
