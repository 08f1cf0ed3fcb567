//! Any bytes as the fields of a signature: what is read is written again as it was.
#![no_main]

#[path = "../money.rs"]
#[allow(dead_code)]
mod money;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| money::signature_fields(bytes));
