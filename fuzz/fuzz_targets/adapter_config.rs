//! The target `adapter_config` of `aludel-fuzz` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| aludel_fuzz::fuzz("adapter_config", bytes));
