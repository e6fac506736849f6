//! Device buffers, and the forward and backward of every op that the engine needs.
//!
//! There is no autograd: an op's `forward` and `backward` are in one file. This crate deals with matrices, rows and
//! tokens; it has no layers and no model. `unsafe` is allowed here, block by block, each with its reason: ops read and
//! write raw device memory so that threads can work on disjoint rows of one buffer.
#![allow(unsafe_code)] // the one crate that may: see the invariants in ARCHITECTURE.md
#![warn(clippy::missing_panics_doc)] // ops assert what their callers must see to

mod pool;
#[cfg(test)]
mod pool_tests;
mod simd;
mod sync;

pub mod attention;
pub mod check;
pub mod device;
pub mod dora;
pub mod embedding;
mod floats;
mod gemm;
pub mod head;
pub mod linear;
pub mod loss;
mod operands;
pub mod optim;
pub mod peak;
pub mod profile;
pub mod projection;
pub mod quant;
mod reference;
pub mod rng;
pub mod rowwise;
pub mod sampling;

pub use device::{Context, Device, Indices, List, Mat, Region};
pub use simd::Isa;
