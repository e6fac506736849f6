//! Whether two answers that have been read are the same, each read in its usual way: `compare` by their shape, the others for one shape
//! each. Other ways to read an answer are for `ambiguity`.

pub(super) mod compare;
mod reals;
pub(super) mod relation;
pub(super) mod scalar;
mod wording;
