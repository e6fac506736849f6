//! From a text to the answer in it: where the final answer is, its tokens, and what they say. A value is only written down here; it is
//! computed in `values`, and no two answers are compared.

pub(super) mod answer;
pub(super) mod clock;
pub(super) mod compound;
mod contextual;
pub(super) mod extract;
pub(super) mod lexer;
mod parser;
pub(super) mod quantity;
pub(super) mod spelled;
pub(super) mod token;
mod words;
