//! Everything that becomes training rows: data files of any common shape, problems that Aludel invents itself, the
//! split into train and test, curation, and the cache of tokenised rows; and the places that models come from. Templates and
//! tokens belong to `aludel-text`, what is done with the rows to `aludel-distill`. Nothing here prints or reads the
//! environment.

mod beside;
pub mod cache;
pub mod collect;
pub mod curate;
pub mod dataset;
mod error;
mod json;
mod names;
mod said;
pub mod source;
pub mod split;
pub mod store;
pub mod tasks;
pub mod teacher;
pub mod verify;

pub use error::Error;
