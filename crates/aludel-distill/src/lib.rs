//! Batches, objectives, the one training loop, checkpoints, evaluation and export. Numbers are left to the kernels,
//! layers to the model, reading of files to the lower floors; nothing here prints or reads the environment.
#![forbid(unsafe_code)]

mod adapter_config;
pub mod auto_max_length;
pub mod base_model;
pub mod batch;
pub mod bench;
pub mod chat;
pub mod checkpoint;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod inference;
mod init_adapter;
pub mod learner;
mod learning_checks;
pub mod local_teacher;
pub mod lr_schedule;
pub mod memory;
pub mod merge;
mod merged_weights;
pub mod metrics;
pub mod objective;
mod own_answers;
pub mod prepare;
pub mod provenance;
pub mod rows;
mod sample_answers;
pub mod settings;
pub mod supervision;
pub mod teacher;
mod tensorboard;
pub mod text_stream;
pub mod token_counter;
pub mod token_init;
pub mod train;
pub mod trained_prompts;
pub mod training_facts;

pub use error::{Error, Result};
