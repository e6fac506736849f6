//! One test program: templates, rows and masks, tokenizers, and the real student.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "helpers of tests may fail and speak as tests do"
)]

mod apart;
mod common;
mod encode;
mod hostile_tokenizers;
mod lost;
mod parts;
mod real;
mod steps;
mod templates;
mod tokenizers;
mod tools;
