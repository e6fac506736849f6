//! What is kept of a teacher's distribution: its likeliest tokens, or draws from it. Both are functions of the logits and of
//! counters alone, so that a cache that is written again is the same.

use bytemuck::{Pod, Zeroable};

use super::row::highest_and_sum;
use super::{Samples, Softmax, TopK, check_entries, check_softmax};
use crate::device::{Context, Device, Indices, Mat, assert_apart};
use crate::simd::{Isa, exp, lane_max, lane_sum, multiversion};
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
    assert!(k > 0 && k <= softmax.vocab, "{k} of {} tokens", softmax.vocab);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference if ctx.planning() => return,
        Device::Reference => return reference::teacher::top_k_of(ctx, logits, softmax, top_k),
    }
    let mark = ctx.mark();
    let words = 2 * Candidate::room(k);
    let scratch = ctx.thread_scratch(words);
    if !ctx.planning() {
        assert_apart(&[top_k.ids.place(), top_k.log_probs.place(), scratch.place()], &[logits.place()]);
        let (lv, sv, isa) = (ctx.view(logits), ctx.view(scratch), ctx.isa());
        let (iv, pv) = (ctx.view(top_k.ids.as_row()), ctx.view(top_k.log_probs));
        ctx.parallel(logits.rows(), |row| {
            // SAFETY: logits are only read; each task writes the entries of its own row, and each thread has its own row of scratch.
            unsafe {
                let candidates = bytemuck::cast_slice_mut(sv.part_mut(Context::thread_index(), 0, words));
                let (ids, log_probs) = (iv.part_mut(0, row * k, k), pv.row_mut(row));
                likeliest(isa, &lv.row(row)[..softmax.vocab], 1.0 / softmax.temperature, candidates, ids, log_probs);
            }
        });
    }
    ctx.release(mark);
}

/// A token that may be among the likeliest.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Candidate {
    logit: f32,
    id: u32,
}

impl Candidate {
    /// How many are gathered before the k likeliest are selected of them.
    fn room(k: usize) -> usize {
        2 * k.max(64)
    }

    /// Moves the k likeliest of some to the front.
    fn select(candidates: &mut [Candidate], k: usize) {
        if candidates.len() > k {
            candidates.select_nth_unstable_by(k - 1, Candidate::before);
        }
    }

    fn before(&self, other: &Candidate) -> std::cmp::Ordering {
        other.logit.total_cmp(&self.logit).then(self.id.cmp(&other.id))
    }
}

fn likeliest(
    isa: Isa,
    logits: &[f32],
    factor: f32,
    candidates: &mut [Candidate],
    ids: &mut [u32],
    log_probs: &mut [f32],
) {
    let (highest, sum) = highest_and_sum(isa, logits, factor);
    if sum.is_nan() {
        ids.fill(0);
        log_probs.fill(f32::NAN);
        return;
    }
    let (log_sum, count) = (sum.ln(), gather(isa, logits, ids.len(), candidates));
    let chosen = &mut candidates[..count];
    Candidate::select(chosen, ids.len());
    let chosen = &mut chosen[..ids.len()];
    chosen.sort_unstable_by(Candidate::before);
    for (candidate, (id, log_prob)) in chosen.iter().zip(ids.iter_mut().zip(log_probs)) {
        *id = candidate.id;
        *log_prob = (f64::from((candidate.logit - highest) * factor) - log_sum) as f32;
    }
}

multiversion! {
    /// Fills the front of `candidates` with tokens among which are the `k` likeliest, and returns how many they are.
    fn gather(logits: &[f32], k: usize, candidates: &mut [Candidate]) -> usize {
        const STRETCH: usize = 64;
        let (mut count, mut threshold) = (0, f32::NEG_INFINITY);
        for (i, stretch) in logits.chunks(STRETCH).enumerate() {
            // most stretches have none that is likely enough
            if count >= k && lane_max(stretch) <= threshold {
                continue;
            }
            for (j, &logit) in stretch.iter().enumerate() {
                // of equals the first come
                if count < k || logit > threshold {
                    // one zero of both
                    candidates[count] = Candidate { logit: logit + 0.0, id: (i * STRETCH + j) as u32 };
                    count += 1;
                    if count == candidates.len() {
                        Candidate::select(candidates, k);
                        (count, threshold) = (k, candidates[k - 1].logit);
                    }
                }
            }
        }
        count
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
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference if ctx.planning() => return,
        Device::Reference => return reference::teacher::sample_of(ctx, logits, softmax, draws, samples),
    }
    let mark = ctx.mark();
    let (n, blocks) = (samples.weights.cols(), softmax.vocab.div_ceil(BLOCK));
    let scratch = ctx.thread_scratch(blocks);
    if !ctx.planning() {
        let read = [logits.place(), draws.examples.place(), draws.positions.place()];
        assert_apart(&[samples.ids.place(), samples.weights.place(), scratch.place()], &read);
        let (lv, sv, isa) = (ctx.view(logits), ctx.view(scratch), ctx.isa());
        let (iv, wv) = (ctx.view(samples.ids.as_row()), ctx.view(samples.weights));
        let (examples, positions) = (ctx.entries(draws.examples), ctx.entries(draws.positions));
        ctx.parallel(logits.rows(), |row| {
            let uniform = |draw| Draws::uniform(draws.key, examples[row], positions[row], draw);
            // SAFETY: logits are only read; each task writes the entries of its own row, and each thread has its own row of scratch.
            unsafe {
                let sums = sv.part_mut(Context::thread_index(), 0, blocks);
                let (ids, weights) = (iv.part_mut(0, row * n, n), wv.row_mut(row));
                let logits = &lv.row(row)[..softmax.vocab];
                draw(isa, logits, 1.0 / softmax.temperature, draws.proposal, uniform, sums, ids, weights);
            }
        });
    }
    ctx.release(mark);
}

/// Columns whose weights are summed before it is known in which of them a draw falls.
const BLOCK: usize = 256;

fn draw(
    isa: Isa,
    logits: &[f32],
    factor: f32,
    proposal: f32,
    uniform: impl Fn(usize) -> f64,
    sums: &mut [f32],
    ids: &mut [u32],
    weights: &mut [f32],
) {
    let highest = highest_of(isa, logits);
    let sum = block_sums(isa, logits, highest, factor, sums);
    let proposed = factor * proposal;
    let proposed_sum = if proposal == 1.0 { sum } else { block_sums(isa, logits, highest, proposed, sums) };
    if sum.is_nan() {
        ids.fill(0);
        weights.fill(f32::NAN);
        return;
    }
    let n = ids.len();
    // rounding may leave a last crumb, which belongs to the last token that can come
    let last = sums.iter().rposition(|sum| *sum > 0.0).unwrap_or(0);
    let (mut block, mut before) = (0, 0.0);
    for (i, (id, weight)) in ids.iter_mut().zip(weights).enumerate() {
        let target = (i as f64 + uniform(i)) / n as f64 * proposed_sum;
        while block < last && target >= before + f64::from(sums[block]) {
            before += f64::from(sums[block]);
            block += 1;
        }
        let start = block * BLOCK;
        let columns = &logits[start..logits.len().min(start + BLOCK)];
        *id = (start + within(isa, columns, highest, proposed, target - before)) as u32;
        let exponent = f64::from(1.0 - proposal) * f64::from(logits[*id as usize] - highest) * f64::from(factor);
        *weight = (exponent.exp() * proposed_sum / (sum * n as f64)) as f32;
    }
}

multiversion! {
    fn highest_of(logits: &[f32]) -> f32 {
        lane_max(logits)
    }
}

multiversion! {
    /// Sums of e^((x − highest)·factor) over each block, and over all.
    fn block_sums(logits: &[f32], highest: f32, factor: f32, sums: &mut [f32]) -> f64 {
        let mut total = 0.0;
        for (block, sum) in logits.chunks(BLOCK).zip(sums) {
            *sum = lane_sum(block, block, |x, _| exp::<FUSED>((x - highest) * factor));
            total += f64::from(*sum);
        }
        total
    }
}

multiversion! {
    /// The first column at which the sum of e^((x − highest)·factor) exceeds `target`, or the last that adds to it.
    fn within(columns: &[f32], highest: f32, factor: f32, target: f64) -> usize {
        let (mut sum, mut last) = (0.0, 0);
        for (i, x) in columns.iter().enumerate() {
            let weight = exp::<FUSED>((x - highest) * factor);
            if weight > 0.0 {
                sum += f64::from(weight);
                last = i;
                if sum > target {
                    break;
                }
            }
        }
        last
    }
}
