//! One test program: templates, rows and masks, tokenizers, and the real student.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "helpers of tests may fail and speak as tests do"
)]

mod common;
mod components;
mod encode;
mod hostile_tokenizers;
mod real_models;
mod roundtrip;
mod steps;
mod subprocess;
mod templates;
mod tokenizers;
mod tools;
