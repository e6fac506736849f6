//! The target `sse` of `aludel-fuzz` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| aludel_fuzz::fuzz("sse", bytes));
