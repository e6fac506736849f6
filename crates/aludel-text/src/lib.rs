//! Messages, chat templates, tokenizers and reasoning: the one place where text becomes ids and ids become text.
//! Training, evaluation and chat all use [`encode()`]. This crate has no tensors, weight files or datasets, and it
//! never prints, reads the environment or reads the clock.

pub mod bundle;
pub mod catch_panic;
pub mod encode;
pub mod error;
pub mod message;
pub mod name_matching;
pub mod preflight;
mod sidecar_files;
#[cfg(test)]
#[path = "../tests/it/subprocess.rs"]
mod subprocess;
pub mod template;
pub mod thinking;
pub mod tokenizer;
pub mod tools;

pub use bundle::{SpecialTokens, TextBundle, TextFile};
pub use encode::{EncodeOptions, Encoded, LossOn, Part, Purpose, Turn, encode, encode_text, end_of_turn_id, render};
pub use error::Error;
pub use message::{Message, Role};
pub use preflight::{PreflightOptions, preflight};
pub use template::{ChatTemplate, Date};
pub use thinking::{InlineReasoning, Piece, ThinkTags, ThinkingSplitter, inline};
pub use tokenizer::{GgufVocabulary, StreamDecoder, Tokenized, Tokenizer};
pub use tools::{Arguments, Tool, ToolCall};
