//! `[train]`: duration, learning rate and intervals, under the names of transformers' `TrainingArguments`. The training
//! loop defines steps and schedules.

use aludel_settings::Checker;
use aludel_settings::{OneOrMany, count_or_minus_one, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::PathBuf;

/// How the adapter is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// The run folder: the resolved recipe, metrics, checkpoints and the adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_dir: Option<PathBuf>,
    /// Number of training epochs; fractions such as 0.5 are allowed.
    pub num_train_epochs: f64,
    /// Total number of optimiser steps; overrides `num_train_epochs`. -1 means no limit.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "count_or_minus_one")]
    #[schemars(with = "i64")]
    pub max_steps: Option<u64>,
    /// Rows per micro-batch; with `packing`, sequences of up to `max_length` tokens.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_device_train_batch_size: usize,
    /// Rows per evaluation batch; the result does not depend on it.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_device_eval_batch_size: usize,
    /// Micro-batches per optimiser step.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub gradient_accumulation_steps: usize,
    /// When to evaluate on the held-out rows.
    pub eval_strategy: Interval,
    /// Also evaluate before the first step, to show how far the loss falls; not with `eval_strategy = "no"`.
    pub eval_on_start: bool,
    /// Steps between evaluations with `eval_strategy = "steps"`; `logging_steps` where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub eval_steps: Option<u64>,
    /// When to save a checkpoint; the last step always saves.
    pub save_strategy: Interval,
    /// Steps between checkpoints with `save_strategy = "steps"`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub save_steps: u64,
    /// When to print and log the loss; `metrics.jsonl` holds every step in any case.
    pub logging_strategy: Interval,
    /// Steps between log lines with `logging_strategy = "steps"`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub logging_steps: u64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// The optimiser.
    pub optim: Optimiser,
    /// Maximum gradient norm: larger gradients are scaled down to it. 0 disables clipping.
    pub max_grad_norm: f64,
    /// Fraction of all steps over which the learning rate warms up from 0.
    pub warmup_ratio: f64,
    /// Steps over which the learning rate warms up from 0; above 0 it overrides `warmup_ratio`.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub warmup_steps: u64,
    /// Learning-rate schedule after the warm-up.
    pub lr_scheduler_type: Schedule,
    /// Decoupled weight decay; trained biases have none.
    pub weight_decay: f64,
    /// AdamW's beta1: decay rate of the first moment.
    pub adam_beta1: f64,
    /// AdamW's beta2: decay rate of the second moment.
    pub adam_beta2: f64,
    /// AdamW's epsilon, which is added to the denominator.
    pub adam_epsilon: f64,
    /// Random seed of the split, the order of rows, the initialisation of A and the dropout masks.
    pub seed: u64,
    /// Maximum row length in tokens; `data.long_rows` says what happens to longer rows. "auto" is the length that keeps 99% of the rows,
    /// as far as the student's positions and the memory allow; a run records its value.
    pub max_length: MaxLength,
    /// Pack several rows into sequences of up to `max_length` tokens; a row's loss and gradient are the same either way.
    pub packing: bool,
    /// Checkpoints to keep, the best one among them; all, where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub save_total_limit: Option<usize>,
    /// End with the checkpoint of the lowest evaluation loss instead of the last.
    pub load_best_model_at_end: bool,
    /// Adapter folder to start from, with a new optimiser state; `[lora]` must say what the adapter is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_adapter: Option<PathBuf>,
    /// Recompute each block's activations in the backward pass to save memory; the result is the same.
    pub gradient_checkpointing: bool,
    /// Maximum number of tokens that go through the student at once, unless one row is longer; bounds memory.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tokens_per_pass: usize,
    /// Questions that the student answers, greedily, with the adapter as it is: at the start, at each evaluation and at the end.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub sample_prompts: Vec<String>,
    /// Maximum number of tokens of such an answer.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub sample_max_new_tokens: usize,
    /// Which other tool's files tell of the run, beside `metrics.jsonl`.
    #[serde(deserialize_with = "one_report")]
    #[schemars(with = "OneOrMany<ReportTo>")]
    pub report_to: ReportTo,
    /// The folder of TensorBoard's event file; `runs` in the run folder, where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging_dir: Option<PathBuf>,
}

/// Other tools that are told of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReportTo {
    /// None.
    #[default]
    None,
    /// TensorBoard, by an event file.
    TensorBoard,
}

/// Reads one tool, or a list of one or none, as other tools write it.
fn one_report<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ReportTo, D::Error> {
    match OneOrMany::<ReportTo>::deserialize(deserializer)?.into_vec().as_slice() {
        [] => Ok(ReportTo::None),
        [one] => Ok(*one),
        _ => Err(serde::de::Error::custom("a run is told to one tool; give \"tensorboard\" or \"none\"")),
    }
}

/// The longest row, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MaxLength {
    /// By name.
    Named(NamedLength),
    /// So many tokens.
    Tokens(#[schemars(range(min = 2, max = 100_000_000))] usize),
}

/// The longest row, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NamedLength {
    /// The length that keeps 99 of 100 rows.
    Auto,
}

impl MaxLength {
    /// What the data decides.
    pub const AUTO: MaxLength = MaxLength::Named(NamedLength::Auto);

    /// The number, where one is given.
    pub fn tokens(self) -> Option<usize> {
        match self {
            Self::Named(NamedLength::Auto) => None,
            Self::Tokens(tokens) => Some(tokens),
        }
    }

    /// The number; no limit where none is given yet.
    pub fn limit(self) -> usize {
        self.tokens().unwrap_or(usize::MAX)
    }
}

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// Never.
    No,
    /// At the end of each epoch.
    Epoch,
    /// Every so many optimiser steps.
    Steps,
}

/// The optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Optimiser {
    /// AdamW with f32 state.
    #[default]
    AdamW,
}

/// How the learning rate moves after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Cosine decay to 0.
    #[default]
    Cosine,
    /// Linear decay to 0.
    Linear,
    /// Constant, without warm-up.
    Constant,
    /// Constant after the warm-up.
    ConstantWithWarmup,
}

impl Interval {
    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Epoch => "epoch",
            Self::Steps => "steps",
        }
    }
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            output_dir: None,
            num_train_epochs: 3.0,
            max_steps: None,
            per_device_train_batch_size: 2,
            per_device_eval_batch_size: 2,
            gradient_accumulation_steps: 4,
            eval_strategy: Interval::Epoch,
            eval_on_start: true,
            eval_steps: None,
            save_strategy: Interval::Epoch,
            save_steps: 500,
            logging_strategy: Interval::Steps,
            logging_steps: 10,
            learning_rate: 2e-4,
            optim: Optimiser::AdamW,
            max_grad_norm: 0.3,
            warmup_ratio: 0.03,
            warmup_steps: 0,
            lr_scheduler_type: Schedule::Cosine,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            seed: 42,
            max_length: MaxLength::AUTO,
            packing: false,
            save_total_limit: None,
            load_best_model_at_end: false,
            init_adapter: None,
            gradient_checkpointing: false,
            tokens_per_pass: 1024,
            sample_prompts: Vec::new(),
            sample_max_new_tokens: 128,
            report_to: ReportTo::None,
            logging_dir: None,
        }
    }
}

/// Of rows and tokens that are taken together.
const MOST: u64 = 1_000_000;
/// Of steps: their number is walked through when a run starts, and stays exact as a float.
const MOST_STEPS: u64 = 1_000_000_000;

impl TrainSettings {
    /// Rows, or bins of packed rows, of an optimiser step.
    pub fn rows_per_step(&self) -> usize {
        self.per_device_train_batch_size * self.gradient_accumulation_steps
    }

    /// Steps between evaluations where `eval_strategy` is "steps": `eval_steps`, else `logging_steps`.
    pub fn steps_between_evaluations(&self) -> u64 {
        self.eval_steps.unwrap_or(self.logging_steps)
    }

    pub(super) fn check(&self, check: &mut Checker<'_>) {
        self.check_amounts(check);
        self.check_optimiser(check);
        self.check_best_model(check);
    }

    fn check_amounts(&self, check: &mut Checker<'_>) {
        check.that(
            self.num_train_epochs > 0.0 && self.num_train_epochs <= 1e6,
            "num_train_epochs",
            self.num_train_epochs,
            "a run needs some part of an epoch, and ends some day",
            "a number above 0, up to 1,000,000, for example 3",
        );
        check.that(
            self.max_steps.is_none_or(|steps| (1..=MOST_STEPS).contains(&steps)),
            "max_steps",
            self.max_steps.unwrap_or_default(),
            "a run needs at least one step, and ends some day",
            "a whole number from 1 to 1,000,000,000, or -1 for no limit",
        );
        let (count, steps) = ("a whole number from 1 to 1,000,000", "a whole number from 1 to 1,000,000,000");
        for (key, number, most, range) in [
            ("per_device_train_batch_size", self.per_device_train_batch_size as u64, MOST, count),
            ("per_device_eval_batch_size", self.per_device_eval_batch_size as u64, MOST, count),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps as u64, MOST, count),
            ("eval_steps", self.steps_between_evaluations(), MOST_STEPS, steps),
            ("save_steps", self.save_steps, MOST_STEPS, steps),
            ("logging_steps", self.logging_steps, MOST_STEPS, steps),
            ("tokens_per_pass", self.tokens_per_pass as u64, MOST, count),
            ("sample_max_new_tokens", self.sample_max_new_tokens as u64, MOST, count),
        ] {
            let reason = if number == 0 { "nothing would ever happen" } else { "no run takes that many" };
            check.that((1..=most).contains(&number), key, number, reason, range);
        }
        check.that(
            self.warmup_steps <= MOST_STEPS,
            "warmup_steps",
            self.warmup_steps,
            "no run takes that many",
            "a whole number from 0 to 1,000,000,000",
        );
        check.that(
            self.max_length.tokens().is_none_or(|tokens| (2..=100_000_000).contains(&tokens)),
            "max_length",
            self.max_length.limit(),
            if self.max_length.limit() < 2 {
                "a row needs a token to predict and one to predict it from"
            } else {
                "no student has that many positions"
            },
            "a whole number from 2 to 100,000,000, for example 2048, or \"auto\"",
        );
        check.that(
            self.save_total_limit.is_none_or(|limit| (1..=MOST as usize).contains(&limit)),
            "save_total_limit",
            self.save_total_limit.unwrap_or_default(),
            if self.save_total_limit == Some(0) {
                "keeping no checkpoint would lose the run"
            } else {
                "no disk holds that many"
            },
            "a whole number from 1 to 1,000,000; leave it out to keep all",
        );
        check.that(
            self.sample_prompts.iter().all(|prompt| !prompt.trim().is_empty()),
            "sample_prompts",
            "",
            "an empty question has no answer",
            "questions as a user would ask them, or [] for none",
        );
        check.seed(self.seed);
    }

    fn check_optimiser(&self, check: &mut Checker<'_>) {
        check.that(
            self.learning_rate >= 0.0 && self.learning_rate <= 1.0,
            "learning_rate",
            self.learning_rate,
            "a negative rate increases the loss, and a rate above 1 diverges",
            "a number from 0 to 1, for example 2e-4",
        );
        check.that(
            self.max_grad_norm >= 0.0 && self.max_grad_norm.is_finite(),
            "max_grad_norm",
            self.max_grad_norm,
            "a norm is never negative",
            "a number of 0 (no clipping) or more, for example 0.3",
        );
        check.that(
            (0.0..=1.0).contains(&self.warmup_ratio),
            "warmup_ratio",
            self.warmup_ratio,
            "the warm-up is a share of all steps",
            "a number from 0 to 1, for example 0.03",
        );
        check.that(
            (0.0..=1.0).contains(&self.weight_decay),
            "weight_decay",
            self.weight_decay,
            "decay shrinks weights by a share of the learning rate",
            "a number from 0 to 1, for example 0.01",
        );
        for (key, beta) in [("adam_beta1", self.adam_beta1), ("adam_beta2", self.adam_beta2)] {
            check.that(
                (0.0..1.0).contains(&beta),
                key,
                beta,
                "a mean that decays by 1 or more never forgets",
                "a number from 0 up to, but not including, 1",
            );
        }
        check.that(
            self.adam_epsilon > 0.0 && self.adam_epsilon <= 1.0,
            "adam_epsilon",
            self.adam_epsilon,
            "it guards against division by zero",
            "a small number above 0, for example 1e-8",
        );
    }

    fn check_best_model(&self, check: &mut Checker<'_>) {
        if !self.load_best_model_at_end {
            return;
        }
        check.that(
            self.eval_strategy != Interval::No && self.eval_strategy == self.save_strategy,
            "load_best_model_at_end",
            true,
            &format!(
                "each save needs an evaluation to be ranked by, but eval_strategy = {:?} and save_strategy = {:?}",
                self.eval_strategy.name(),
                self.save_strategy.name()
            ),
            "both strategies as \"epoch\", or both as \"steps\"",
        );
        let interval = self.steps_between_evaluations().max(1);
        check.that(
            self.eval_strategy != Interval::Steps || self.save_steps.is_multiple_of(interval),
            "save_steps",
            self.save_steps,
            &format!("load_best_model_at_end needs an evaluation at each save, and those come every {interval} steps"),
            "a multiple of eval_steps",
        );
    }
}
