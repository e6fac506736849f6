//! Batches, objectives, the one training loop, checkpoints, evaluation and export. Numbers are left to the kernels,
//! layers to the model, reading of files to the lower floors; nothing here prints or reads the environment.
#![forbid(unsafe_code)]

pub mod base;
pub mod batch;
pub mod bench;
pub mod checkpoint;
pub mod error;
pub mod evaluate;
pub mod export;
mod initial;
pub mod known;
pub mod learner;
pub mod lengths;
mod loaded;
pub mod longest;
pub mod memory;
pub mod metrics;
pub mod new_rows;
pub mod objective;
pub mod prepare;
mod proof;
pub mod provenance;
pub mod rows;
mod samples;
pub mod schedule;
pub mod settings;
pub mod talk;
mod tensorboard;
pub mod train;

pub use error::{Error, Result};
