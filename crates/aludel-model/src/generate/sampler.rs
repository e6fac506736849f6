//! Choosing the next token: repetition penalty, temperature, top-k, top-p and min-p, in transformers' order. A draw depends on the
//! seed and the position only, so it is the same whatever else is in the batch.

use aludel_kernels::rng;

use crate::error::{Error, Result};

/// How tokens are chosen. Temperature 0 takes the likeliest (the lowest id of equals).
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it.
    pub temperature: f64,
    /// Keep this many likeliest tokens; 0 keeps all.
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

impl Sampling {
    /// The next token after `tokens`, and its log-probability under the unchanged logits.
    ///
    /// # Errors
    /// [`Error::Logits`] if a logit is not a number.
    pub fn choose(&self, logits: &[f32], tokens: &[u32]) -> Result<(u32, f64)> {
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(Error::Logits { position: tokens.len() });
        }
        let mut scores: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = highest + scores.iter().map(|score| (score - highest).exp()).sum::<f64>().ln();
        if self.repetition_penalty != 1.0 {
            let mut seen = tokens.to_vec();
            seen.sort_unstable();
            seen.dedup();
            for id in seen {
                if let Some(score) = scores.get_mut(id as usize) {
                    *score =
                        if *score > 0.0 { *score / self.repetition_penalty } else { *score * self.repetition_penalty };
                }
            }
        }
        let token = if self.temperature <= 0.0 { likeliest(&scores) } else { self.draw(&scores, tokens.len()) };
        Ok((token as u32, f64::from(logits[token]) - log_sum))
    }

    fn draw(&self, scores: &[f64], position: usize) -> usize {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        let by_score = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        if self.top_k > 0 && self.top_k < order.len() {
            order.select_nth_unstable_by(self.top_k - 1, by_score);
            order.truncate(self.top_k);
        }
        order.sort_unstable_by(by_score);
        let top = scores[order[0]];
        let mut weights: Vec<f64> = order.iter().map(|&id| ((scores[id] - top) / self.temperature).exp()).collect();
        if self.top_p < 1.0 {
            let total: f64 = weights.iter().sum();
            let mut reached = 0.0;
            let kept = weights.iter().position(|weight| {
                reached += weight / total;
                reached >= self.top_p
            });
            weights.truncate(kept.map_or(weights.len(), |last| last + 1));
        }
        // the likeliest has weight 1
        weights.retain(|&weight| weight >= self.min_p);
        let total: f64 = weights.iter().sum();
        let bits = rng::mix(rng::mix(self.seed, 0x7361_6d70), position as u64) >> 11;
        let mut left = bits as f64 / (1u64 << 53) as f64 * total;
        for (weight, &id) in weights.iter().zip(&order) {
            left -= weight;
            if left < 0.0 {
                return id;
            }
        }
        order[weights.len().saturating_sub(1)]
    }
}

fn likeliest(scores: &[f64]) -> usize {
    let mut best = 0;
    for (id, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = id;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares of 4,000 draws from the probabilities 1/2, 1/4, 1/8, 1/8.
    fn shares(sampling: &Sampling, history: &[u32]) -> [f64; 4] {
        let logits = [0.5f32, 0.25, 0.125, 0.125].map(f32::ln);
        let mut counts = [0.0; 4];
        for seed in 0..4000 {
            let sampling = Sampling { seed, temperature: 1.0, ..sampling.clone() };
            counts[sampling.choose(&logits, history).unwrap().0 as usize] += 1.0 / 4000.0;
        }
        counts
    }

    #[test]
    fn draws_follow_the_truncated_distribution() {
        let check = |sampling: Sampling, expected: [f64; 4]| {
            let got = shares(&sampling, &[]);
            let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off <= 0.03, "{sampling:?}: {got:?}");
        };
        let plain = Sampling::default();
        check(plain.clone(), [0.5, 0.25, 0.125, 0.125]);
        check(Sampling { top_k: 2, ..plain.clone() }, [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
        check(Sampling { top_p: 0.6, ..plain.clone() }, [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
        check(Sampling { min_p: 0.3, ..plain }, [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
    }

    #[test]
    fn greedy_penalty_and_nan() {
        let greedy = Sampling::default();
        assert_eq!(greedy.choose(&[1.0, 3.0, 3.0], &[]).unwrap().0, 1);
        let penalised = Sampling { repetition_penalty: 2.0, ..greedy.clone() };
        assert_eq!(penalised.choose(&[2.0, 3.0, -1.0], &[1]).unwrap().0, 0);
        assert!(greedy.choose(&[1.0, f32::NAN], &[]).is_err());
    }
}
