//! Choosing the next token: repetition penalty, temperature, top-k, top-p and min-p, in transformers' order. Each of them leaves out
//! what lies below a threshold, so nothing is sorted: the threshold is found by selection, and candidates stay in the order of their
//! ids. A draw depends on seed, sample and position only, so it is the same whatever else is in the batch.

use aludel_kernels::rng;

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

/// Chooses tokens; its buffers, of the vocabulary's size, are used again for each.
#[derive(Default)]
pub(super) struct Sampler {
    penalty: Penalty,
    draw: Draw,
}

impl Sampler {
    /// The token after `tokens`, in sample number `sample`. A logit of −∞ is a token that cannot come. `None` if a logit is NaN or
    /// +∞, or if no token can come.
    pub(super) fn choose(&mut self, how: &Sampling, logits: &[f32], tokens: &[u32], sample: u32) -> Option<u32> {
        let mut token = likeliest(logits)?;
        let mut scores = logits;
        if how.repetition_penalty != 1.0 {
            scores = self.penalty.apply(how.repetition_penalty, logits, tokens);
            token = likeliest(scores)?;
        }
        if how.temperature > 0.0 {
            token = self.draw.run(how, scores, scores[token], uniform(how.seed, sample, tokens.len()));
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

/// The penalty on tokens that occurred (Keskar et al., 2019).
#[derive(Default)]
struct Penalty {
    scores: Vec<f32>,
    /// For each id, the call that last met it.
    met: Vec<u64>,
    calls: u64,
}

impl Penalty {
    fn apply(&mut self, penalty: f64, logits: &[f32], tokens: &[u32]) -> &[f32] {
        self.scores.clear();
        self.scores.extend_from_slice(logits);
        self.met.resize(logits.len(), 0);
        self.calls += 1;
        for &id in tokens {
            let Some((score, met)) = self.scores.get_mut(id as usize).zip(self.met.get_mut(id as usize)) else {
                continue;
            };
            if *met != self.calls && score.is_finite() {
                let exact = f64::from(*score);
                let exact = if exact > 0.0 { exact / penalty } else { exact * penalty };
                *score = (exact as f32).clamp(f32::MIN, f32::MAX);
            }
            *met = self.calls;
        }
        &self.scores
    }
}

/// A token that may be drawn, and its probability relative to the likeliest one's.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    weight: f32,
}

/// Tokens e^40 times less likely than the likeliest never come: all of them together do so once in 10¹² draws, and their weights cost
/// most of a draw's time.
const NEVER: f64 = 40.0;

/// A draw from what the thresholds leave.
#[derive(Default)]
struct Draw {
    candidates: Vec<Candidate>,
    selected: Vec<f32>,
}

impl Draw {
    fn run(&mut self, how: &Sampling, scores: &[f32], highest: f32, uniform: f64) -> usize {
        let lowest = self.top_k_threshold(how.top_k, scores).max(highest - (NEVER * how.temperature) as f32);
        self.candidates.clear();
        self.candidates.reserve(scores.len());
        self.selected.clear();
        self.selected.reserve(scores.len());
        for (id, &score) in scores.iter().enumerate() {
            if score >= lowest {
                let exponent = f64::from(score - highest) / how.temperature;
                self.candidates.push(Candidate { id: id as u32, weight: (exponent as f32).exp() });
            }
        }
        self.keep_top_p(how.top_p);
        self.candidates.retain(|candidate| f64::from(candidate.weight) >= how.min_p && candidate.weight > 0.0);
        let mut left = uniform * mass(&self.candidates);
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
                    threshold = kth_highest(best, top_k);
                    best.truncate(top_k);
                }
            }
        }
        kth_highest(best, top_k)
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
        self.selected.extend(self.candidates.iter().map(|candidate| candidate.weight));
        let (kept, lightest) = heaviest(&mut self.selected, target);
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
    use aludel_kernels::check::random;

    fn choose(how: &Sampling, logits: &[f32], tokens: &[u32]) -> Option<u32> {
        Sampler::default().choose(how, logits, tokens, 0)
    }

    #[test]
    fn draws_follow_the_truncated_distribution() {
        let logits = [0.125, 0.5f32, 0.125, 0.25].map(f32::ln);
        let mut sampler = Sampler::default();
        let mut check = |how: Sampling, expected: [f64; 4]| {
            let mut shares = [0.0; 4];
            for (seed, sample) in (0..1000).flat_map(|seed| (0..4).map(move |sample| (seed, sample))) {
                let how = Sampling { seed, temperature: 1.0, ..how.clone() };
                shares[sampler.choose(&how, &logits, &[], sample).unwrap() as usize] += 1.0 / 4000.0;
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
            let mut draw = Draw::default();
            draw.run(&Sampling { temperature, top_k, top_p, ..Sampling::default() }, logits, highest, 0.5);
            let got: Vec<u32> = draw.candidates.iter().map(|candidate| candidate.id).collect();
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
