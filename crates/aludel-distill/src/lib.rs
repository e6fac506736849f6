//! Batches, objectives, the one training loop, checkpoints, evaluation and export. Numbers are left to the kernels,
//! layers to the model, reading of files to the lower floors; nothing here prints or reads the environment.

pub mod settings;
