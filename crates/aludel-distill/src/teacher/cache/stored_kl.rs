//! What storing a teacher's distribution loses, measured on some tokens of each shard.

use aludel_kernels::loss::divergence::{self, Divergence, DivergenceArgs, Softmax};
use aludel_kernels::{Context, Mat, Region};

use super::record::RecordLayout;

/// Tokens of a shard on which it is measured.
pub(super) const MEASURED_TOKENS: usize = 64;

/// What storing lost, so far.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) kl: f64,
    pub(super) tokens: usize,
}

/// Adds KL between the teacher's distribution and what the first `tokens` records tell of it: of the likeliest tokens KL(p ‖ stored) with
/// what they leave spread over all others evenly; of draws alone KL(stored ‖ p).
pub(super) fn measure(
    ctx: &mut Context,
    logits: Mat,
    softmax: Softmax,
    layout: &RecordLayout,
    records: &[u8],
    tokens: usize,
    stored: &mut Stored,
) {
    let mark = ctx.mark();
    let vocab = layout.vocab;
    let told = ctx.scratch(tokens, vocab);
    let given = ctx.scratch(tokens, vocab);
    let losses = ctx.alloc(Region::Io, 1, tokens);
    let weights = ctx.upload(Region::Io, 1, tokens, &vec![1.0; tokens]);
    if !ctx.planning() {
        let temperature = softmax.temperature;
        let mut values = Vec::with_capacity(tokens * vocab);
        for record in records.chunks_exact(layout.bytes()).take(tokens) {
            let row = distribution(layout, record);
            // softmax(x / T) of these is the distribution
            values.extend(row.into_iter().map(|probability| probability.ln() as f32 * temperature));
        }
        ctx.write(told, &values);
        ctx.copy(logits.row_range(0, tokens).col_range(0, vocab), given);
    }
    let args = DivergenceArgs { divergence: Divergence::ForwardKl, softmax };
    let (student, teacher) = if layout.top_k > 0 { (told, given) } else { (given, told) };
    divergence::dense(ctx, student, teacher, weights, args, losses, false);
    let factor = f64::from(softmax.temperature).powi(2);
    stored.kl += ctx.download(losses).iter().map(|&loss| f64::from(loss) / factor).sum::<f64>();
    stored.tokens += tokens;
    ctx.release(mark);
}

/// The probability of each token, as a record tells it.
fn distribution(layout: &RecordLayout, record: &[u8]) -> Vec<f64> {
    let (mut ids, mut log_probs) = (Vec::new(), Vec::new());
    if layout.top_k == 0 {
        let _ = layout.read_samples(record, &mut ids);
        let mut probabilities = vec![0.0; layout.vocab];
        ids.iter().for_each(|&id| probabilities[id as usize] += 1.0 / layout.samples as f64);
        return probabilities;
    }
    let _ = layout.read_top_k(record, &mut ids, &mut log_probs);
    let listed: Vec<f64> = log_probs.iter().map(|&log_prob| f64::from(log_prob).exp()).collect();
    let others = layout.vocab - listed.iter().filter(|&&probability| probability > 0.0).count();
    let rest = (1.0 - listed.iter().sum::<f64>()).max(f64::MIN_POSITIVE) / others.max(1) as f64;
    let mut probabilities = vec![rest; layout.vocab];
    for (&id, probability) in ids.iter().zip(listed).filter(|(_, probability)| *probability > 0.0) {
        probabilities[id as usize] = probability;
    }
    probabilities
}
