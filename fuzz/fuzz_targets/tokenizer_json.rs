//! The target `tokenizer_json` of `aludel-fuzz` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| aludel_fuzz::fuzz("tokenizer_json", bytes));
