//! Any bytes as a request to a bank: it is answered, and moves nothing.
#![no_main]

#[path = "../money.rs"]
#[allow(dead_code)]
mod money;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| { money::request(bytes); });
