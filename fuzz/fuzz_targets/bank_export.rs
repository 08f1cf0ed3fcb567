//! Any bytes as an export of a bank: what is wrong has a place.
#![no_main]

#[path = "../money.rs"]
#[allow(dead_code)]
mod money;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| money::export(bytes));
