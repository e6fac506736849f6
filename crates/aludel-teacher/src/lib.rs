//! Asking teachers: `client` asks one question over HTTP, `collect` asks many, `store` keeps what they answer, and
//! `settings` is the section of a recipe for all of it. What the traces are
//! used for is decided by the crates above. Nothing here prints or reads the environment.

pub mod client;
pub mod collect;
mod error;
pub mod settings;
pub mod store;

pub use error::Error;
