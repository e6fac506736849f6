//! One test program: templates, rows and masks, tokenizers, and the real student.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests may fail and speak as tests do")]

mod common;
mod encode;
mod real;
mod templates;
mod tokenizers;
