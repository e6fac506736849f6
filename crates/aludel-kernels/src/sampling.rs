//! Choosing the next token: repetition penalty, temperature, top-k, top-p and min-p, in transformers' order. Each of them leaves out
//! what lies below a threshold, so nothing is sorted: the threshold is found by selection, and candidates stay in the order of their
//! ids. A draw depends on seed, sample and position only, so it is the same whatever else is in the batch.

use std::ops::{Deref, Range};

use bytemuck::{Pod, Zeroable};

use crate::device::{Context, Device, Indices, List, Mat, assert_apart};
use crate::reference;
use crate::rng;

/// How tokens are chosen. Temperature 0 takes the likeliest (the lowest id of equals).
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it.
    pub temperature: f64,
    /// Keep this many likeliest tokens, and those as likely as the last of them; 0 keeps all.
    pub top_k: usize,
    /// Keep the likeliest tokens that reach this probability; 1 keeps all.
    pub top_p: f64,
    /// Leave out tokens less likely than this share of the likeliest.
    pub min_p: f64,
    /// Above 1, tokens that occurred become less likely.
    pub repetition_penalty: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Sampling {
        Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 }
    }
}

/// How the token of one row is chosen, as a device reads it.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Choice {
    pub(crate) temperature: f64,
    pub(crate) top_p: f64,
    pub(crate) min_p: f64,
    pub(crate) repetition_penalty: f64,
    /// The draw, in [0, 1).
    pub(crate) uniform: f64,
    pub(crate) top_k: u32,
    /// The tokens that occurred, in a list of all of them.
    first_seen: u32,
    end_seen: u32,
    _padding: u32,
}

impl Choice {
    /// The token at `position` of sample number `sample`. `seen` is where the tokens before it are in the list that
    /// [`choose`] is given; it may be empty where nothing is penalised.
    pub fn new(how: &Sampling, sample: u32, position: usize, seen: Range<usize>) -> Choice {
        Choice {
            temperature: how.temperature,
            top_p: how.top_p,
            min_p: how.min_p,
            repetition_penalty: how.repetition_penalty,
            uniform: uniform(how.seed, sample, position),
            top_k: how.top_k.min(u32::MAX as usize) as u32,
            first_seen: seen.start as u32,
            end_seen: seen.end as u32,
            _padding: 0,
        }
    }

    pub(crate) fn seen(&self) -> Range<usize> {
        self.first_seen as usize..self.end_seen as usize
    }
}

/// The tokens chosen from rows of logits.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    /// One token for each row; 0 where none can be chosen.
    pub tokens: Indices,
    /// Whether one can be chosen, as 0 or 1: not if a logit is NaN or +∞, or if no token can come. A logit of −∞ is a token that
    /// cannot come.
    pub is_sound: Indices,
}

/// Chooses a token from each row of logits, [rows, V].
///
/// # Panics
/// If there is not one choice and one place in `chosen` for each row, or if what is written shares elements with what is read.
pub fn choose(ctx: &mut Context, logits: Mat, choices: List<Choice>, seen: Indices, chosen: Chosen) {
    let rows = logits.rows();
    assert_eq!([choices.len(), chosen.tokens.len(), chosen.is_sound.len()], [rows; 3]);
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::sampling::choose(ctx, logits, choices, seen, chosen),
    }
    let mark = ctx.mark();
    let workers = rows.min(ctx.threads());
    let scratch = ctx.scratch_packed(workers, Sampler::WORDS_PER_TOKEN * logits.cols());
    if !ctx.planning() {
        let written = [chosen.tokens.place(), chosen.is_sound.place(), scratch.place()];
        assert_apart(&written, &[logits.place(), choices.place(), seen.place()]);
        let (lv, sv, choices, seen) = (ctx.view(logits), ctx.view(scratch), ctx.entries(choices), ctx.entries(seen));
        let [tv, fv] = [chosen.tokens, chosen.is_sound].map(|list| ctx.view(list.as_row()));
        ctx.parallel(workers, |worker| {
            // SAFETY: each task has its own row of scratch.
            let mut sampler = Sampler::new(unsafe { sv.row_mut(worker) });
            for row in (worker..rows).step_by(workers) {
                // SAFETY: logits are only read; each task writes the entries of its own rows.
                unsafe {
                    let choice = &choices[row];
                    let token = sampler.choose(choice, lv.row(row), &seen[choice.seen()]);
                    tv.part_mut(0, row, 1)[0] = token.unwrap_or(0);
                    fv.part_mut(0, row, 1)[0] = u32::from(token.is_some());
                }
            }
        });
    }
    ctx.release(mark);
}

/// A list with room for a fixed number of items.
struct Stack<'a, T> {
    items: &'a mut [T],
    len: usize,
}

impl<T: Copy> Stack<'_, T> {
    fn clear(&mut self) {
        self.len = 0;
    }

    fn push(&mut self, item: T) {
        self.items[self.len] = item;
        self.len += 1;
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    fn retain(&mut self, mut is_kept: impl FnMut(&T) -> bool) {
        let mut kept = 0;
        for i in 0..self.len {
            if is_kept(&self.items[i]) {
                self.items[kept] = self.items[i];
                kept += 1;
            }
        }
        self.len = kept;
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.items[..self.len]
    }
}

impl<T> Deref for Stack<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..self.len]
    }
}

/// Chooses tokens; its buffers, of the vocabulary's size, are used again for each.
struct Sampler<'a> {
    scores: &'a mut [f32],
    draw: Draw<'a>,
}

impl<'a> Sampler<'a> {
    /// A score, a candidate of two, and a selected weight.
    const WORDS_PER_TOKEN: usize = 4;

    fn new(words: &'a mut [u32]) -> Sampler<'a> {
        let vocab_size = words.len() / Sampler::WORDS_PER_TOKEN;
        let (scores, rest) = words.split_at_mut(vocab_size);
        let (candidates, selected) = rest.split_at_mut(2 * vocab_size);
        Sampler {
            scores: bytemuck::cast_slice_mut(scores),
            draw: Draw {
                candidates: Stack { items: bytemuck::cast_slice_mut(candidates), len: 0 },
                selected: Stack { items: bytemuck::cast_slice_mut(selected), len: 0 },
            },
        }
    }

    /// The next token, if one can be chosen; `seen` are those before it.
    fn choose(&mut self, how: &Choice, logits: &[f32], seen: &[u32]) -> Option<u32> {
        let mut token = likeliest(logits)?;
        let mut scores = logits;
        if how.repetition_penalty != 1.0 {
            penalise(how.repetition_penalty, logits, seen, self.scores);
            scores = self.scores;
            token = likeliest(scores)?;
        }
        if how.temperature > 0.0 {
            token = self.draw.run(how, scores, scores[token]);
        }
        Some(token as u32)
    }
}

/// The lowest id of the highest score; none if a score is NaN or +∞, or if all are −∞.
fn likeliest(scores: &[f32]) -> Option<usize> {
    let (mut best, mut sound) = (0, true);
    for (id, &score) in scores.iter().enumerate() {
        sound &= score < f32::INFINITY;
        if score > scores[best] {
            best = id;
        }
    }
    (sound && *scores.get(best)? > f32::NEG_INFINITY).then_some(best)
}

/// In [0, 1), with 53 bits.
fn uniform(seed: u64, sample: u32, position: usize) -> f64 {
    const SITE: u64 = 0x7361_6d70;
    let bits = rng::mix(rng::mix(rng::mix(seed, SITE), u64::from(sample)), position as u64);
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// The penalty on tokens that occurred (Keskar et al., 2019); each counts once. Ids beyond the vocabulary have no score.
fn penalise(penalty: f64, logits: &[f32], seen: &[u32], scores: &mut [f32]) {
    scores.copy_from_slice(logits);
    for &id in seen {
        let Some((score, &logit)) = scores.get_mut(id as usize).zip(logits.get(id as usize)) else { continue };
        if logit.is_finite() {
            *score = penalised(penalty, logit);
        }
    }
}

/// The score of a token that occurred.
pub(crate) fn penalised(penalty: f64, logit: f32) -> f32 {
    let exact = f64::from(logit);
    let exact = if exact > 0.0 { exact / penalty } else { exact * penalty };
    (exact as f32).clamp(f32::MIN, f32::MAX)
}

/// A token that may be drawn, and its probability relative to the likeliest one's.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Candidate {
    id: u32,
    weight: f32,
}

/// Tokens e^40 times less likely than the likeliest never come: all of them together do so once in 10¹² draws, and their weights cost
/// most of a draw's time.
pub(crate) const NEVER: f64 = 40.0;

/// A draw from what the thresholds leave.
struct Draw<'a> {
    candidates: Stack<'a, Candidate>,
    selected: Stack<'a, f32>,
}

impl Draw<'_> {
    fn run(&mut self, how: &Choice, scores: &[f32], highest: f32) -> usize {
        let lowest = self.top_k_threshold(how.top_k as usize, scores).max(highest - (NEVER * how.temperature) as f32);
        self.candidates.clear();
        for (id, &score) in scores.iter().enumerate() {
            if score >= lowest {
                let exponent = f64::from(score - highest) / how.temperature;
                self.candidates.push(Candidate { id: id as u32, weight: (exponent as f32).exp() });
            }
        }
        self.keep_top_p(how.top_p);
        self.candidates.retain(|candidate| f64::from(candidate.weight) >= how.min_p && candidate.weight > 0.0);
        let mut left = how.uniform * mass(&self.candidates);
        let drawn = self.candidates.iter().find(|candidate| {
            left -= f64::from(candidate.weight);
            left < 0.0
        });
        // rounding may leave a last crumb
        drawn.or(self.candidates.last()).map_or(0, |candidate| candidate.id as usize)
    }

    /// The `top_k`-th highest score; −∞ where all are kept.
    fn top_k_threshold(&mut self, top_k: usize, scores: &[f32]) -> f32 {
        if top_k == 0 || top_k >= scores.len() {
            return f32::NEG_INFINITY;
        }
        let best = &mut self.selected;
        best.clear();
        let mut threshold = f32::NEG_INFINITY;
        for &score in scores {
            if best.len() < top_k || score > threshold {
                best.push(score);
                if best.len() >= 2 * top_k.max(64) {
                    threshold = kth_highest(best.as_mut_slice(), top_k);
                    best.truncate(top_k);
                }
            }
        }
        kth_highest(best.as_mut_slice(), top_k)
    }

    /// Leaves the fewest candidates that reach the share `top_p` of all their weight: the likeliest, and of equals the lowest ids.
    fn keep_top_p(&mut self, top_p: f64) {
        if top_p >= 1.0 {
            return;
        }
        let target = top_p * mass(&self.candidates);
        // All that are lighter than this weigh together less than what top-p leaves out: usually nearly the whole vocabulary.
        let negligible = (mass(&self.candidates) - target) / self.candidates.len() as f64;
        self.candidates.retain(|candidate| f64::from(candidate.weight) >= negligible.min(1.0));
        self.selected.clear();
        self.candidates.iter().for_each(|candidate| self.selected.push(candidate.weight));
        let (kept, lightest) = heaviest(self.selected.as_mut_slice(), target);
        let heavier = self.candidates.iter().filter(|candidate| candidate.weight > lightest).count();
        let mut equals = kept - heavier;
        self.candidates.retain(|candidate| {
            let is_kept = candidate.weight > lightest || (candidate.weight == lightest && equals > 0);
            equals -= usize::from(is_kept && candidate.weight == lightest);
            is_kept
        });
    }
}

fn mass(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| f64::from(candidate.weight)).sum()
}

/// The `k`-th highest value; the `k` highest come first in `values`.
fn kth_highest(values: &mut [f32], k: usize) -> f32 {
    *values.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

/// How many of the heaviest weights reach `target` together, and the lightest of them: quickselect by weight, which halves what is
/// looked at each time.
fn heaviest(mut weights: &mut [f32], target: f64) -> (usize, f32) {
    let (mut kept, mut reached) = (0, 0.0);
    while weights.len() > 1 {
        let half = weights.len() / 2;
        kth_highest(weights, half);
        let (heavy, light) = std::mem::take(&mut weights).split_at_mut(half);
        let weight: f64 = heavy.iter().map(|&weight| f64::from(weight)).sum();
        if reached + weight >= target {
            weights = heavy;
        } else {
            kept += half;
            reached += weight;
            weights = light;
        }
    }
    (kept + weights.len(), weights.first().copied().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::random;

    /// A choice after some tokens, of which all are in the list.
    fn choose(how: &Sampling, logits: &[f32], tokens: &[u32]) -> Option<u32> {
        let choice = Choice::new(how, 0, tokens.len(), 0..tokens.len());
        let [fast, plain] = [Context::cpu(2), Context::reference()].map(|mut ctx| {
            let logits = ctx.upload_persistent(1, logits.len(), logits);
            let work = |ctx: &mut Context| {
                ctx.reset();
                let (choices, seen) = (ctx.upload_list([choice].into_iter()), ctx.upload_indices(tokens));
                let chosen = Chosen { tokens: ctx.alloc_list(1), is_sound: ctx.alloc_list(1) };
                super::choose(ctx, logits, choices, seen, chosen);
                chosen
            };
            ctx.plan(work);
            let chosen = work(&mut ctx);
            (ctx.entries(chosen.is_sound)[0] == 1).then(|| ctx.entries(chosen.tokens)[0])
        });
        assert_eq!(fast, plain, "{how:?}");
        fast
    }

    /// The buffers of a sampler.
    fn words(vocab_size: usize) -> Vec<u32> {
        vec![0; Sampler::WORDS_PER_TOKEN * vocab_size]
    }

    #[test]
    fn draws_follow_the_truncated_distribution() {
        let logits = [0.125, 0.5f32, 0.125, 0.25].map(f32::ln);
        let mut words = words(logits.len());
        let mut sampler = Sampler::new(&mut words);
        let mut check = |how: Sampling, expected: [f64; 4]| {
            let mut shares = [0.0; 4];
            for (seed, sample) in (0..1000).flat_map(|seed| (0..4).map(move |sample| (seed, sample))) {
                let how = Sampling { seed, temperature: 1.0, ..how.clone() };
                shares[sampler.choose(&Choice::new(&how, sample, 0, 0..0), &logits, &[]).unwrap() as usize] +=
                    1.0 / 4000.0;
            }
            let off = shares.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off <= 0.03, "{how:?}: {shares:?}");
        };
        let plain = Sampling::default();
        check(plain.clone(), [0.125, 0.5, 0.125, 0.25]);
        for how in [
            Sampling { top_k: 2, ..plain.clone() },
            Sampling { top_p: 0.6, ..plain.clone() },
            Sampling { min_p: 0.3, ..plain.clone() },
            // top-p takes its share of what top-k left: 0.6 of 0.75 needs no second token, 0.7 does
            Sampling { top_k: 2, top_p: 0.7, ..plain.clone() },
        ] {
            check(how, [0.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]);
        }
        check(Sampling { top_k: 2, top_p: 0.6, ..plain.clone() }, [0.0, 1.0, 0.0, 0.0]);
        // of the two equals, top-p needs one, the lower id; top-k keeps both
        check(Sampling { top_p: 0.8, ..plain.clone() }, [1.0 / 7.0, 4.0 / 7.0, 0.0, 2.0 / 7.0]);
        check(Sampling { top_k: 3, ..plain }, [0.125, 0.5, 0.125, 0.25]);
    }

    /// Selection against a full sort, as transformers has it.
    #[test]
    fn thresholds_keep_what_sorting_would_keep() {
        let check = |logits: &[f32], top_k: usize, top_p: f64, temperature: f64| {
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut words = words(logits.len());
            let mut sampler = Sampler::new(&mut words);
            let how = Sampling { temperature, top_k, top_p, ..Sampling::default() };
            sampler.draw.run(&Choice::new(&how, 0, 0, 0..0), logits, highest);
            let got: Vec<u32> = sampler.draw.candidates.iter().map(|candidate| candidate.id).collect();
            let weight = |id: u32| f64::from(((f64::from(logits[id as usize] - highest) / temperature) as f32).exp());
            let mut order: Vec<u32> = (0..logits.len() as u32).collect();
            order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
            if top_k > 0 && top_k < order.len() {
                let lowest = logits[order[top_k - 1] as usize];
                order.retain(|&id| logits[id as usize] >= lowest);
            }
            let target = top_p * order.iter().map(|&id| weight(id)).sum::<f64>();
            let never = highest - (NEVER * temperature) as f32;
            let mut before = 0.0;
            order.retain(|&id| {
                let is_kept = (top_p >= 1.0 || before < target) && logits[id as usize] >= never;
                before += weight(id);
                is_kept
            });
            order.sort_unstable();
            let what = format!("{} logits, top_k {top_k}, top_p {top_p}, temperature {temperature}", logits.len());
            assert!(got == order, "{what}: {} kept, {} by sorting", got.len(), order.len());
        };
        let smooth: Vec<f32> = random(3, 5000).iter().map(|x| x * 4.0).collect();
        let coarse: Vec<f32> = smooth.iter().map(|x| x.round()).collect();
        let rising: Vec<f32> = (0..5000).map(|i| i as f32 * 1e-3).collect();
        let masked: Vec<f32> = smooth.iter().map(|&x| if x < 3.0 { f32::NEG_INFINITY } else { x }).collect();
        for logits in [&smooth, &coarse, &rising, &masked, &vec![1.5; 300]] {
            for (top_k, top_p) in [(0, 1.0), (0, 0.95), (0, 0.3), (0, 1e-9), (1, 1.0), (50, 0.9), (700, 0.999)] {
                for temperature in [0.6, 1.0, 50.0] {
                    check(logits, top_k, top_p, temperature);
                }
            }
        }
    }

    #[test]
    fn greedy_takes_the_lowest_of_equals_and_the_penalty_counts_a_token_once() {
        let greedy = Sampling::default();
        assert_eq!(choose(&greedy, &[1.0, 3.0, 3.0], &[]), Some(1));
        let penalised = Sampling { repetition_penalty: 2.0, ..greedy };
        assert_eq!(choose(&penalised, &[2.0, 3.0, -1.0], &[1]), Some(0));
        assert_eq!(choose(&penalised, &[1.0, 3.0, -1.0], &[1, 1, 1]), Some(1), "3 / 2 and no less");
        assert_eq!(choose(&penalised, &[-1.5, -1.0, f32::NEG_INFINITY], &[1, 2, 1, 9]), Some(0));
    }

    #[test]
    fn logits_that_are_no_logits_are_refused_and_masked_tokens_never_come() {
        const MASKED: f32 = f32::NEG_INFINITY;
        for temperature in [0.0, 1.0] {
            let how = Sampling { temperature, ..Sampling::default() };
            for logits in [[1.0, f32::NAN], [f32::NAN, 1.0], [f32::INFINITY, 1.0], [MASKED, MASKED]] {
                assert_eq!(choose(&how, &logits, &[]), None, "{logits:?}");
            }
            for seed in 0..50 {
                let how = Sampling { seed, ..how.clone() };
                assert_eq!(choose(&how, &[MASKED, 0.0, MASKED], &[]), Some(1));
            }
        }
    }
}
