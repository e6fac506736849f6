//! From data files to rows: every common shape and packing read into one record, the split into train and test, and tokenised
//! rows on disk. Templates and tokens belong to `aludel-text`, what is done with rows to the crates above. Nothing here prints or
//! reads the environment.

pub mod column_names;
pub mod dataset;
mod error;
pub mod finish_reason;
pub mod json;
pub mod key_fields;
pub mod message_fields;
pub mod split;
pub mod token_cache;
pub mod trace;
pub mod unknown_fields;

pub use error::Error;
