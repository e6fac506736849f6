//! Asking teachers: `client` asks one question over HTTP, `collect` asks many, and `store` keeps what they answer. What the traces are
//! used for is decided by the crates above. Nothing here prints or reads the environment.

pub mod client;
pub mod collect;
mod error;
pub mod store;

pub use error::Error;
