//! Collecting traces from teachers: `client` makes one request over HTTP, `collect` makes many, `store` keeps the answers, and
//! `settings` is the section of a recipe for all of it. What the traces are used for is decided by the crates above. Nothing here
//! prints or reads the environment.

pub mod client;
pub mod collect;
mod error;
pub mod settings;
pub mod store;

pub use error::Error;
