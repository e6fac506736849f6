//! What is kept of a teacher's distribution: its likeliest tokens, or draws from it. Both are functions of the logits and of
//! counters alone, so that a cache that is written again is the same.

use super::{Samples, Softmax, TopK, check_entries, check_softmax};
use crate::device::{Context, Device, Indices, Mat, assert_apart};
use crate::{reference, rng};

/// How tokens are drawn from a teacher: of softmax(t·y / T), where softmax(y / T) is what the samples stand for. The draws of a row
/// are stratified: of N equal shares of the probability each has one draw, which leaves the estimate unbiased and makes it vary less.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    /// t, above 0: 1 draws tokens as often as the teacher would, less draws rare ones more often.
    pub proposal: f32,
    /// Mix of the seed and of what else makes draws differ.
    pub key: u64,
    /// Example number of each row.
    pub examples: Indices,
    /// Position of each row in its example.
    pub positions: Indices,
}

impl Draws {
    /// Uniform in [0, 1) with 53 bits, for draw `number` of the row of this position of this example.
    pub(crate) fn uniform(key: u64, example: u32, position: u32, number: usize) -> f64 {
        let row = rng::mix(rng::mix(key, u64::from(example)), u64::from(position));
        (rng::mix(row, number as u64) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Writes the k likeliest tokens of each row of logits [rows, ≥ vocab], the likeliest first and of equals the lowest id; k is the
/// number of columns of `log_probs`. A row with a NaN or +∞ has ids of 0 and NaN
/// log-probabilities.
///
/// # Panics
/// If the shapes do not fit, if k exceeds the vocabulary, or if what is written shares elements with what is read.
pub fn top_k_of(ctx: &mut Context, logits: Mat, softmax: Softmax, top_k: TopK) {
    check_softmax(logits, softmax);
    check_entries(logits.rows(), top_k.ids, top_k.log_probs);
    let k = top_k.log_probs.cols();
    assert!(k <= softmax.vocab, "{k} of {} tokens", softmax.vocab);
    if ctx.planning() {
        return;
    }
    assert_apart(&[top_k.ids.place(), top_k.log_probs.place()], &[logits.place()]);
    match ctx.device() {
        Device::Cpu | Device::Reference => reference::teacher::top_k_of(ctx, logits, softmax, top_k),
    }
}

/// Draws N tokens from each row of logits [rows, ≥ vocab], with their importance weights p / (N·π), π being the probability with
/// which a token is drawn; N is the number of columns of `samples.weights`. A row with a NaN or +∞ has ids of 0 and NaN
/// weights.
///
/// # Panics
/// If the shapes do not fit, if the proposal is not above 0, or if what is written shares elements with what is read.
pub fn sample_of(ctx: &mut Context, logits: Mat, softmax: Softmax, draws: Draws, samples: Samples) {
    check_softmax(logits, softmax);
    check_entries(logits.rows(), samples.ids, samples.weights);
    assert_eq!((logits.rows(), logits.rows()), (draws.examples.len(), draws.positions.len()));
    assert!(draws.proposal > 0.0 && draws.proposal.is_finite(), "a proposal of {}", draws.proposal);
    if ctx.planning() {
        return;
    }
    let read = [logits.place(), draws.examples.place(), draws.positions.place()];
    assert_apart(&[samples.ids.place(), samples.weights.place()], &read);
    match ctx.device() {
        Device::Cpu | Device::Reference => reference::teacher::sample_of(ctx, logits, softmax, draws, samples),
    }
}
