//! Losses, and in place their gradients: of a chunk of logits against tokens or a teacher. Each file has one; what several share is
//! here. No loss is averaged: the optimiser divides once, by the supervised tokens of the whole optimiser step.

mod cross_entropy;
pub mod divergence;

pub use cross_entropy::cross_entropy;
