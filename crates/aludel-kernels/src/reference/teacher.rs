//! What is kept of a teacher's distribution, with all tokens sorted, or their probabilities added up one by one.

use super::Values;
use super::divergence::log_softmax;
use crate::device::{Context, Mat};
use crate::loss::divergence::{Draws, Samples, Softmax, TopK};

pub(crate) fn top_k_of(ctx: &mut Context, logits: Mat, softmax: Softmax, top_k: TopK) {
    let logits = Values::of(ctx, logits);
    let (mut ids, mut log_probs) = (Vec::new(), Vec::new());
    for row in 0..logits.rows() {
        let all = log_softmax(logits.row(row), softmax);
        let mut order: Vec<usize> = (0..softmax.vocab).collect();
        // the sum makes one zero of both
        let logit = |id: usize| logits.row(row)[id] + 0.0;
        order.sort_by(|a, b| logit(*b).total_cmp(&logit(*a)).then(a.cmp(b)));
        for id in order.into_iter().take(top_k.log_probs.cols()) {
            ids.push(if all[id].is_nan() { 0 } else { id as u32 });
            log_probs.push(all[id] as f32);
        }
    }
    ctx.write_list(top_k.ids, ids.into_iter());
    ctx.write(top_k.log_probs, &log_probs);
}

pub(crate) fn sample_of(ctx: &mut Context, logits: Mat, softmax: Softmax, draws: Draws, samples: Samples) {
    let logits = Values::of(ctx, logits);
    let n = samples.weights.cols();
    let (examples, positions) = (ctx.entries(draws.examples), ctx.entries(draws.positions));
    let (mut ids, mut weights) = (Vec::new(), Vec::new());
    for row in 0..logits.rows() {
        let log_p = log_softmax(logits.row(row), softmax);
        let proposal = Softmax { temperature: softmax.temperature / draws.proposal, ..softmax };
        let log_proposal = log_softmax(logits.row(row), proposal);
        let is_sound = log_p.iter().all(|log_p| !log_p.is_nan());
        for draw in 0..n {
            let uniform = Draws::uniform(draws.key, examples[row], positions[row], draw);
            let mut left = (draw as f64 + uniform) / n as f64;
            let drawn = log_proposal.iter().position(|log_proposal| {
                left -= log_proposal.exp();
                left < 0.0
            });
            // rounding may leave a last crumb
            let last = || log_proposal.iter().rposition(|log_proposal| log_proposal.exp() > 0.0);
            let id = drawn.or_else(last).unwrap_or(0);
            let weight = (log_p[id] - log_proposal[id]).exp() / n as f64;
            ids.push(if is_sound { id as u32 } else { 0 });
            weights.push(if is_sound { weight as f32 } else { f32::NAN });
        }
    }
    ctx.write_list(samples.ids, ids.into_iter());
    ctx.write(samples.weights, &weights);
}
