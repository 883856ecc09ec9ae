#![no_main]

#[path = "../checks6.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::client6(data));
