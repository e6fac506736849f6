//! Rotary frequencies: how they are changed for long texts, and how such a change is recognised in the divisors that a GGUF file
//! holds. Reading keys is left to `hf` and `gguf`.

use std::f64::consts::TAU;

use serde_json::{Value, json};

/// How far a frequency may be from its formula, relative to it. Converters compute divisors in f32 and in the steep part of the
/// ramp a rounding error of a frequency comes out up to `factor` times larger.
const TOLERANCE: f64 = 1e-5;

/// How rotary frequencies are changed.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by a factor, short ones kept, a ramp between.
    Llama3 {
        /// The factor.
        factor: f64,
        /// Where the ramp ends towards long wavelengths.
        low_freq_factor: f64,
        /// Where the ramp ends towards short wavelengths.
        high_freq_factor: f64,
        /// Positions of the original training.
        original_max_position_embeddings: f64,
    },
    /// LongRoPE (Ding et al., 2024): each divided by a number of its own, one set of numbers for texts up to the positions of the
    /// original training and another for longer ones.
    LongRope {
        /// For texts up to the original positions, one for each pair of channels.
        short_factor: Vec<f64>,
        /// For longer ones.
        long_factor: Vec<f64>,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
        /// Positions of the original training.
        original_max_position_embeddings: usize,
        /// Positions of the model, up to which the second set is used.
        max_position_embeddings: usize,
    },
    /// Each divided by a number of its own. Only a GGUF file can say this.
    Divided {
        /// One for each pair of channels.
        divisors: Vec<f64>,
    },
}

/// The frequencies before any change, one per pair of channels of a head: `θ^(−2i/D)`.
pub(super) fn frequencies(theta: f64, head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64)).collect()
}

impl RopeScaling {
    /// The scaling that divides these frequencies by these numbers: a named one where there is one, since only those can be
    /// written to a `config.json`.
    pub(super) fn from_divisors(frequencies: &[f64], divisors: Vec<f64>) -> RopeScaling {
        let first = divisors.first().copied().unwrap_or(1.0);
        if divisors.iter().all(|&divisor| divisor == first) {
            return if first == 1.0 { RopeScaling::None } else { RopeScaling::Linear { factor: first } };
        }
        let has_these_divisors = |scaling: &RopeScaling| {
            let scaled = scaling.scaled(frequencies);
            let wanted = frequencies.iter().zip(&divisors).map(|(frequency, divisor)| frequency / divisor);
            scaled.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() <= TOLERANCE * wanted)
        };
        let found = llama3(frequencies, &divisors).filter(has_these_divisors);
        found.unwrap_or(RopeScaling::Divided { divisors })
    }

    /// How plain frequencies are scaled; LongRoPE's for texts up to the original positions.
    pub(super) fn scaled(&self, frequencies: &[f64]) -> Vec<f64> {
        let each = |change: &dyn Fn(f64) -> f64| frequencies.iter().map(|&frequency| change(frequency)).collect();
        match self {
            RopeScaling::None => frequencies.to_vec(),
            RopeScaling::Linear { factor } => each(&|frequency| frequency / factor),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                each(&|frequency| {
                    let turns = original_max_position_embeddings * frequency / TAU;
                    let smooth = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                })
            }
            RopeScaling::Divided { divisors } | RopeScaling::LongRope { short_factor: divisors, .. } => {
                frequencies.iter().zip(divisors).map(|(f, divisor)| f / divisor).collect()
            }
        }
    }

    /// What a `config.json` says of it, or nothing where it cannot say it.
    pub(super) fn to_hf(&self, theta: f64) -> Option<Value> {
        let mut rope = json!({ "rope_theta": theta, "rope_type": "default" });
        match self {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => {
                rope["rope_type"] = json!("linear");
                rope["factor"] = json!(factor);
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                rope["rope_type"] = json!("llama3");
                rope["factor"] = json!(factor);
                rope["low_freq_factor"] = json!(low_freq_factor);
                rope["high_freq_factor"] = json!(high_freq_factor);
                rope["original_max_position_embeddings"] = json!(*original_max_position_embeddings as u64);
            }
            RopeScaling::LongRope {
                short_factor,
                long_factor,
                attention_factor,
                original_max_position_embeddings: original,
                max_position_embeddings: positions,
            } => {
                rope["rope_type"] = json!("longrope");
                rope["short_factor"] = json!(short_factor);
                rope["long_factor"] = json!(long_factor);
                rope["original_max_position_embeddings"] = json!(original);
                if *attention_factor != RopeScaling::longrope_attention_factor(*positions, *original) {
                    rope["attention_factor"] = json!(attention_factor);
                }
            }
            RopeScaling::Divided { .. } => return None,
        }
        Some(rope)
    }

    /// What cosines and sines are multiplied by.
    pub(crate) fn attention_factor(&self) -> f64 {
        match self {
            RopeScaling::LongRope { attention_factor, .. } => *attention_factor,
            _ => 1.0,
        }
    }

    /// The positions of the original training, and how plain frequencies are scaled for texts beyond them, where that differs.
    pub(super) fn scaled_beyond(&self, frequencies: &[f64]) -> Option<(usize, Vec<f64>)> {
        match self {
            RopeScaling::LongRope { long_factor, original_max_position_embeddings, .. } => {
                let scaled = frequencies.iter().zip(long_factor).map(|(f, divisor)| f / divisor);
                Some((*original_max_position_embeddings, scaled.collect()))
            }
            _ => None,
        }
    }

    /// LongRoPE's factor for cosines and sines, where nothing else is said.
    pub(super) fn longrope_attention_factor(positions: usize, original: usize) -> f64 {
        RopeScaling::longrope_attention_factor_of(positions as f64 / original as f64, original)
    }

    /// The same for positions that are a multiple of the original ones.
    pub(super) fn longrope_attention_factor_of(factor: f64, original: usize) -> f64 {
        if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original as f64).ln()).sqrt() }
    }
}

/// The parameters of Llama 3's formula that would give these divisors, if any do; whether they do is for the caller to check.
///
/// On the ramp, 1/divisor is a straight line in the frequency: 1/factor at `low` turns within the original positions, 1 at `high`
/// turns. A line has two parameters and the formula three, so `low` is taken to be 1, as in every released model.
fn llama3(frequencies: &[f64], divisors: &[f64]) -> Option<RopeScaling> {
    let factor = divisors.iter().copied().fold(1.0, f64::max);
    let points = || frequencies.iter().copied().zip(divisors.iter().copied());
    let is_full = |divisor: f64| divisor >= factor * (1.0 - TOLERANCE);
    let is_kept = |divisor: f64| divisor <= 1.0 + TOLERANCE;
    let smooth = |divisor: f64| (1.0 / divisor - 1.0 / factor) / (1.0 - 1.0 / factor);
    let ramp: Vec<(f64, f64)> =
        points().filter(|&(_, d)| !is_full(d) && !is_kept(d)).map(|(frequency, d)| (frequency, smooth(d))).collect();
    let (high, positions) = match ramp.as_slice() {
        [] => {
            // a step: the ramp fits between the last frequency that is kept and the first that is divided
            let kept =
                points().filter(|&(_, d)| is_kept(d)).map(|(frequency, _)| frequency).fold(f64::INFINITY, f64::min);
            let divided = points().filter(|&(_, d)| is_full(d)).map(|(frequency, _)| frequency).fold(0.0, f64::max);
            let positions = (TAU / divided).floor();
            ((positions * kept / TAU).min(4.0), positions)
        }
        [(frequency, smooth)] => (4.0, TAU * (1.0 + 3.0 * smooth) / frequency),
        [(high_frequency, high_smooth), .., (low_frequency, low_smooth)] => {
            let slope = (high_smooth - low_smooth) / (high_frequency - low_frequency);
            let width = 1.0 / (slope * high_frequency - high_smooth);
            (1.0 + width, TAU * slope * width)
        }
    };
    // the numbers that people choose are whole
    let high = if (high - high.round()).abs() <= 1e-3 { high.round() } else { high };
    let positions = positions.round();
    let is_sound = high.is_finite() && high > 1.0 && (1.0..=1e15).contains(&positions);
    is_sound.then_some(RopeScaling::Llama3 {
        factor,
        low_freq_factor: 1.0,
        high_freq_factor: high,
        original_max_position_embeddings: positions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaling(factor: f64, low: f64, high: f64, positions: f64) -> RopeScaling {
        RopeScaling::Llama3 {
            factor,
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings: positions,
        }
    }

    /// Divisors as a converter stores them: the formula of Llama 3's own code, in its three cases, on frequencies in f32.
    fn converted(theta: f64, head_dim: usize, (factor, low, high, positions): (f64, f64, f64, f64)) -> Vec<f64> {
        let one = |i: usize| {
            let frequency = 1.0 / f64::from((theta as f32).powf(2.0 * i as f32 / head_dim as f32));
            let wavelength = TAU / frequency;
            let divisor = if wavelength < positions / high {
                1.0
            } else if wavelength > positions / low {
                factor
            } else {
                let smooth = (positions / wavelength - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            };
            f64::from(divisor as f32)
        };
        (0..head_dim / 2).map(one).collect()
    }

    #[test]
    fn released_scalings_are_found_in_their_divisors() {
        let check = |theta: f64, head_dim: usize, parameters: (f64, f64, f64, f64)| {
            let plain = frequencies(theta, head_dim);
            let found = RopeScaling::from_divisors(&plain, converted(theta, head_dim, parameters));
            let (factor, low, high, positions) = parameters;
            assert_eq!(found, scaling(factor, low, high, positions), "{theta} {head_dim}");
        };
        check(500_000.0, 128, (8.0, 1.0, 4.0, 8192.0)); // 3.1
        check(500_000.0, 64, (32.0, 1.0, 4.0, 8192.0)); // 3.2, 1B
        check(500_000.0, 128, (32.0, 1.0, 4.0, 8192.0)); // 3.2, 3B
        check(10_000.0, 32, (8.0, 1.0, 4.0, 64.0));
        check(250_000.0, 96, (16.0, 1.0, 6.0, 4096.0));
    }

    #[test]
    fn other_parameters_are_found_as_ones_with_the_same_frequencies() {
        for (theta, head_dim, parameters) in [
            (500_000.0, 128, (8.0, 2.0, 8.0, 16_384.0)),
            (10_000.0, 8, (8.0, 1.0, 4.0, 64.0)),
            (1_000_000.0, 4, (4.0, 1.0, 2.0, 512.0)),
            (10_000.0, 64, (4.0, 1.0, 1.01, 500.0)),
        ] {
            let plain = frequencies(theta, head_dim);
            let divisors = converted(theta, head_dim, parameters);
            let found = RopeScaling::from_divisors(&plain, divisors.clone());
            assert!(matches!(found, RopeScaling::Llama3 { .. }), "{theta} {head_dim}: {found:?}");
            for ((got, plain), divisor) in found.scaled(&plain).iter().zip(&plain).zip(&divisors) {
                assert!(
                    (got * divisor / plain - 1.0).abs() <= TOLERANCE,
                    "{theta} {head_dim}: {got} {plain} {divisor}"
                );
            }
        }
    }

    #[test]
    fn divisors_that_are_no_llama_3_are_kept_as_they_are() {
        let plain = frequencies(10_000.0, 16);
        assert_eq!(RopeScaling::from_divisors(&plain, vec![1.0; 8]), RopeScaling::None);
        assert_eq!(RopeScaling::from_divisors(&plain, vec![2.5; 8]), RopeScaling::Linear { factor: 2.5 });
        let mut changed = converted(10_000.0, 16, (8.0, 1.0, 4.0, 64.0));
        changed[2] *= 1.0 + 1e-3;
        for divisors in [changed, (1..9).map(f64::from).collect(), vec![8.0, 8.0, 8.0, 8.0, 1.0, 1.0, 1.0, 1.0]] {
            let found = RopeScaling::from_divisors(&plain, divisors.clone());
            let quotients: Vec<f64> = plain.iter().zip(&divisors).map(|(f, d)| f / d).collect();
            assert_eq!(found.scaled(&plain), quotients);
            assert_eq!(found.to_hf(10_000.0), None);
            assert_eq!(found, RopeScaling::Divided { divisors });
        }
    }
}
