//! The learning rate of each step, as transformers' schedulers define it: step numbers from 0, a linear warm-up, then the chosen shape. It
//! is stateless, so a resumed run gets the same values. A warning for rates that can hardly change the weights is here, too.

use crate::error::{Error, Result};
use crate::settings::{Recipe, Schedule, TrainSettings};

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

/// Refuses a run in which the learning rate is 0 at every step.
///
/// # Errors
/// There are steps, and all of them have the rate 0.
pub fn check_rates(recipe: &Recipe, total: u64) -> Result<()> {
    let settings = &recipe.train;
    if total == 0 || (0..total).any(|step| learning_rate(settings, step, total) as f32 != 0.0) {
        return Ok(());
    }
    let warmup = warmup_steps(settings, total).min(total);
    Err(Error::NoLearningRate { learning_rate: settings.learning_rate, steps: total, warmup })
}

/// Below this, an adapter changes what a linear gives by so small a share of its input that the loss hardly moves. The seed's recipe took
/// it down by 0.2% with 0.0006, and by 1.7% with 0.003 (`bench/results/defaults-2026-11-27.md`).
const LITTLE: f64 = 0.003;

/// That a run of `total` steps cannot move its adapter far, in words; `None` where it can.
///
/// AdamW moves a number by about the learning rate in a step, so by their sum S in a run, even if every step goes the same way. B starts
/// at 0 and then has entries of S at most. A·x has entries of root mean square 1/√3 for an x of 1, A being uniform within ±1/√d_in. So
/// s·B·A·x, the sum of r such products, is at most some s·r·S/√3.
pub fn moves_little(recipe: &Recipe, total: u64) -> Option<String> {
    let sum: f64 = (0..total).map(|step| learning_rate(&recipe.train, step, total)).sum();
    let change = recipe.lora.scale() * recipe.lora.r as f64 * sum / 3f64.sqrt();
    let more_steps = match recipe.train.max_steps {
        Some(_) => "train.max_steps",
        None => "train.num_train_epochs, or lower train.gradient_accumulation_steps for more steps",
    };
    (change < LITTLE).then(|| {
        format!(
            "this run can change little: the learning rates of its {total} steps, {:e} at most, add up to {sum:.1e}, and AdamW moves no \
             number of the adapter much further; that changes a layer's output by {:.2}% of its input at most. Raise \
             train.learning_rate or {more_steps}",
            recipe.train.learning_rate,
            100.0 * change
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_cannot_move_far_is_told() {
        let told = |set: &str, steps| moves_little(&Recipe::from_toml(set).unwrap().recipe, steps);
        let seed = "[lora]\nr = 8\nalpha = 16\n[train]\nlearning_rate = 2e-5";
        let said = told(seed, 24).unwrap();
        assert!(said.contains("24 steps, 2e-5 at most, add up to 2.4e-4") && said.contains("0.22%"), "{said}");
        assert!(said.ends_with("for more steps"), "{said}");
        let bounded = format!("{seed}\nmax_steps = 24");
        assert!(told(&bounded, 24).is_some_and(|said| said.ends_with("train.learning_rate or train.max_steps")));
        assert_eq!((told(seed, 240), told("", 24), told("", 3)), (None, None, None));
        let same = "[lora]\nr = 16\nalpha = 4\nuse_rslora = true\n[train]\nlearning_rate = 2e-5";
        assert!(told(same, 24).is_some_and(|said| said.contains("0.22%")), "{:?}", told(same, 24));
    }

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
