//! The target `chat_template` of `aludel-fuzz` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| aludel_fuzz::fuzz("chat_template", bytes));
