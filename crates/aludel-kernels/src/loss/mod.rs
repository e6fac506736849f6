//! Losses with their gradients: of a chunk of logits against tokens or a teacher, and of hidden states against a teacher's. No loss is averaged: the optimiser divides once, by the supervised tokens of the whole optimiser step.

mod cross_entropy;
pub mod divergence;
pub mod hidden;

pub use cross_entropy::cross_entropy;
