//! Whether two parsed answers are the same, each in its usual reading: `compare` by their shape, the others for one shape each.
//! Other readings of an answer are in `ambiguity`.

pub(super) mod compare;
pub(super) mod percentage;
mod reals;
pub(super) mod relation;
pub(super) mod scalar;
mod wording;
