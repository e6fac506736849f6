//! The learning rate of each step, as transformers' schedulers define it: step numbers from 0, a linear warm-up, then the
//! chosen shape. Stateless: a resumed run asks for the same numbers.

use crate::settings::{Schedule, TrainSettings};

/// Steps of warm-up in a run of `total` steps: `warmup_steps`, or `warmup_ratio` of all, rounded up.
pub fn warmup_steps(settings: &TrainSettings, total: u64) -> u64 {
    if settings.warmup_steps > 0 { settings.warmup_steps } else { (total as f64 * settings.warmup_ratio).ceil() as u64 }
}

/// The learning rate of step `step` (from 0) of `total`.
pub fn learning_rate(settings: &TrainSettings, step: u64, total: u64) -> f64 {
    let warmup = warmup_steps(settings, total);
    let schedule = settings.lr_scheduler_type;
    let factor = if schedule == Schedule::Constant {
        1.0
    } else if step < warmup {
        step as f64 / warmup as f64
    } else {
        let progress = (step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
        match schedule {
            Schedule::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0),
            Schedule::Linear => (1.0 - progress).max(0.0),
            Schedule::Constant | Schedule::ConstantWithWarmup => 1.0,
        }
    };
    settings.learning_rate * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from transformers' `get_scheduler` with 10 steps, 2 of warm-up, base rate 1.
    #[test]
    fn rates_are_those_of_transformers() {
        let check = |schedule, expected: [f64; 5]| {
            let settings = TrainSettings {
                learning_rate: 1.0,
                warmup_ratio: 0.2,
                lr_scheduler_type: schedule,
                ..TrainSettings::default()
            };
            let got = [0, 1, 2, 6, 9].map(|step| learning_rate(&settings, step, 10));
            let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off <= 1e-7, "{schedule:?}: {got:?}");
        };
        check(Schedule::Cosine, [0.0, 0.5, 1.0, 0.5, 0.038_060_23]);
        check(Schedule::Linear, [0.0, 0.5, 1.0, 0.5, 0.125]);
        check(Schedule::Constant, [1.0; 5]);
        check(Schedule::ConstantWithWarmup, [0.0, 0.5, 1.0, 1.0, 1.0]);
    }
}
