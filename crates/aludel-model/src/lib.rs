//! The one decoder, its adapters and its generation engine.
//!
//! Families are variants of [`config::Config`], precision and adapters are variants of a linear: there is no second
//! decoder. This crate knows layers and tensor names; it knows no tile sizes, no files beyond those of a model, and
//! nothing of data or training schedules.
#![forbid(unsafe_code)]
#![warn(clippy::missing_panics_doc)] // a caller must know what it has to see to

pub mod adapter;
pub mod config;
pub mod decoder;
pub mod error;
mod files;
pub mod generate;
pub mod hub_name;
mod inventory;
pub mod layout;
pub mod module;
pub mod student;
pub mod weights;

pub use error::{Error, Result};
