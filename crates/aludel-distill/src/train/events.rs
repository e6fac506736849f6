//! Events of a training run: its start, its progress and its end; and the schedule of evaluations, logs and saves, from which the remaining
//! work is predicted. The caller shows them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use aludel_data::token_cache::{BuildProgress, Outcomes};
use serde::{Deserialize, Serialize};

use crate::checkpoint;
use crate::error::Result;
use crate::metrics::{EvalRecord, SampleRecord, StepRecord, TrainerState};
use crate::provenance::{Provenance, Session, Times};
use crate::rows::Rows;
use crate::settings::{Interval, TrainSettings};

pub use crate::checkpoint::SUMMARY_FILE_NAME;

/// Stages that take time and report no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The student's config and tokenizer are read.
    Opening,
    /// The student's and the data's files are hashed.
    Hashing,
    /// The teacher is compared with the student, and asked about a few rows.
    CheckingTeacher,
    /// Weights are read and packed.
    Loading,
    /// A checkpoint or the adapter is written.
    Saving,
}

/// An event of a run.
pub enum Event<'a> {
    /// Something begins.
    Stage(Stage),
    /// Files are being hashed.
    Hashing {
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The student is being loaded.
    Loading {
        /// Weights read.
        done: u64,
        /// Weights in all.
        total: u64,
    },
    /// Data is being tokenised.
    Tokenising(BuildProgress),
    /// The rows of new tokens are being made likely in their places.
    PlacingTokens {
        /// Rows looked at.
        done: usize,
        /// Rows to look at.
        total: usize,
    },
    /// The run was finished before, and nothing of it is touched.
    Complete(&'a Summary),
    /// Everything is loaded.
    Started(&'a Started),
    /// A pass of a step has ended.
    Pass {
        /// The step, from 1.
        step: u64,
        /// Tokens of the step so far.
        tokens: u64,
        /// Tokens of the step.
        of: u64,
        /// Tokens that its rows have in the data; more or fewer where the student writes answers itself.
        planned: u64,
    },
    /// The student is writing the answers of a step itself.
    Answering {
        /// The step, from 1.
        step: u64,
        /// Tokens so far.
        tokens: u64,
    },
    /// A step was taken; the loss is logged here too when `logged`.
    Step {
        /// What was recorded.
        record: &'a StepRecord,
        /// Steps of the run.
        total_steps: u64,
        /// Mean loss since the last log line, where one is due.
        logged: Option<f64>,
        /// Tokens that its rows have in the data.
        planned: u64,
    },
    /// Progress of an evaluation.
    Evaluating {
        /// Rows done.
        done: usize,
        /// Rows in all.
        total: usize,
        /// Tokens of the rows that are done.
        tokens: u64,
    },
    /// An evaluation has ended.
    Evaluated(&'a EvalRecord),
    /// Sample answers are being written.
    Sampling {
        /// Tokens so far.
        done: usize,
        /// Tokens at most.
        total: usize,
    },
    /// Sample answers were given.
    Sampled(&'a SampleRecord),
    /// A checkpoint was written.
    Saved(&'a Path),
    /// The final adapter's folder is filled, and appears in its place once this was heard: what else is to lie in it is written now.
    AdapterFilled {
        /// Where the folder lies until then.
        folder: &'a Path,
        /// How the run ends.
        summary: &'a Summary,
        /// To be given what went wrong; then no adapter appears.
        failed: &'a mut Option<String>,
    },
}

/// What a run starts with.
#[derive(Debug, Clone, Serialize)]
pub struct Started {
    /// Rows that are trained on.
    pub train_rows: usize,
    /// Rows held back.
    pub eval_rows: usize,
    /// Counts of the data's rows, by outcome.
    pub outcomes: Outcomes,
    /// The longest row that is taken, in tokens.
    pub max_length: usize,
    /// Which rows were left out for their length, in words: of those to train on, and of those of `data.eval_files`.
    pub left_out: Vec<String>,
    /// What names of parts of fused linears mean in `lora.target_modules`, in words.
    pub adapter_notes: Vec<String>,
    /// In what the teacher differs from the student, in words.
    pub pair_notes: Vec<String>,
    /// Rows of `data.eval_files` whose prompt is trained on.
    pub eval_rows_known: usize,
    /// What the adapter's base is called, for other tools.
    pub base: Option<String>,
    /// Trained parameters.
    pub trained_parameters: usize,
    /// Steps of the run.
    pub total_steps: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Steps that were done before.
    pub resumed_at: u64,
    /// Lines of `metrics.jsonl` that were removed: of steps after the checkpoint, which are repeated, or foreign ones.
    pub records_left_out: u64,
    /// Settings that are other than the run's own recipe said until now, in words; the recipe keeps them.
    pub settings_changed: Vec<String>,
    /// Bytes on the device.
    pub device_bytes: usize,
    /// Predicted peak memory of the process in bytes; `None` if the system does not report memory.
    pub process_bytes: Option<u64>,
    /// That the steps and rates of the run move the adapter little, in words.
    pub moves_little: Option<String>,
    /// What this session has to do.
    pub ahead: RemainingWork,
}

impl Started {
    /// The record of the session that has started.
    pub fn session(&self, made_by: Provenance) -> Session {
        Session {
            made_by,
            working_directory: None,
            resumed_at: self.resumed_at,
            train_rows: self.train_rows as u64,
            eval_rows: self.eval_rows as u64,
            outcomes: self.outcomes.clone(),
            trained_parameters: self.trained_parameters as u64,
            times: None,
        }
    }
}

/// What is still to be done when a session of a run starts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RemainingWork {
    /// Tokens to be trained on, as many for each step as an epoch's steps have on average.
    pub tokens: u64,
    /// Evaluations.
    pub evaluations: u64,
    /// Tokens of each.
    pub evaluation_tokens: u64,
    /// What a token that is evaluated costs beside one that is trained on, by the products that both take: a backward is as much as a
    /// forward, since the base has no gradient, and with `gradient_checkpointing` each forward runs twice.
    pub evaluation_cost: f64,
    /// How often `train.sample_prompts` are asked.
    pub samplings: u64,
    /// Checkpoints, and the adapter.
    pub saves: u64,
}

impl RemainingWork {
    pub(super) fn of(due: &StepEvents<'_>, rows: &Rows, state: &TrainerState) -> RemainingWork {
        let tokens = |numbers: &[u32]| numbers.iter().map(|&row| u64::from(rows.lengths()[row as usize])).sum::<u64>();
        let steps = || state.global_step..=due.total_steps;
        let count = |is_due: &dyn Fn(u64) -> bool| steps().filter(|&step| is_due(step)).count() as u64;
        let left = due.total_steps.saturating_sub(state.global_step);
        let settings = due.settings;
        RemainingWork {
            tokens: (tokens(&rows.train) as f64 * left as f64 / due.steps_per_epoch.max(1) as f64) as u64,
            evaluations: match rows.test.is_empty() {
                true => 0,
                false => count(&|step| due.evaluation(step) && state.evaluation_at(step).is_none()),
            },
            evaluation_tokens: tokens(&rows.test),
            evaluation_cost: if settings.gradient_checkpointing { 1.0 / 3.0 } else { 0.5 },
            samplings: match settings.sample_prompts.is_empty() {
                true => 0,
                false => count(&|step| due.samples(step) && !state.is_sampled_at(step)),
            },
            saves: 1 + count(&|step| step > state.global_step && due.save(step)),
        }
    }
}

/// The time and tokens of a session so far; its tokens are those of its steps.
pub(super) struct Stopwatch {
    began: Instant,
    pub(super) tokens: u64,
    pub(super) times: Times,
}

impl Stopwatch {
    pub(super) fn since(began: Instant) -> Stopwatch {
        Stopwatch { began, tokens: 0, times: Times::default() }
    }

    pub(super) fn tokens_per_second(&self) -> f64 {
        if self.times.steps > 0.0 { self.tokens as f64 / self.times.steps } else { 0.0 }
    }

    pub(super) fn times(&self) -> Times {
        Times { total: self.began.elapsed().as_secs_f64(), ..self.times }
    }
}

/// What happens at which step.
#[derive(Clone, Copy)]
pub(super) struct StepEvents<'a> {
    pub(super) settings: &'a TrainSettings,
    pub(super) total_steps: u64,
    pub(super) steps_per_epoch: u64,
}

impl StepEvents<'_> {
    /// Whether something with this strategy happens after a step.
    fn by(&self, strategy: Interval, every: u64, step: u64) -> bool {
        let is_last = step == self.total_steps;
        step > 0
            && match strategy {
                Interval::No => false,
                Interval::Epoch => is_last || step.is_multiple_of(self.steps_per_epoch),
                Interval::Steps => is_last || step.is_multiple_of(every.max(1)),
            }
    }

    pub(super) fn log(&self, step: u64) -> bool {
        step == self.total_steps || self.by(self.settings.logging_strategy, self.settings.logging_steps, step)
    }

    /// Before the first step there is something to compare with, unless nothing is ever evaluated.
    pub(super) fn evaluation(&self, step: u64) -> bool {
        let StepEvents { settings, .. } = self;
        match step {
            0 => settings.eval_on_start && settings.eval_strategy != Interval::No,
            _ => self.by(settings.eval_strategy, settings.steps_between_evaluations(), step),
        }
    }

    /// At the start, so that there is something to compare with; beside each evaluation; at the end.
    pub(super) fn samples(&self, step: u64) -> bool {
        step == 0 || step == self.total_steps || self.evaluation(step)
    }

    /// Whether a step has a checkpoint in any case.
    pub(super) fn save(&self, step: u64) -> bool {
        step == self.total_steps || self.by(self.settings.save_strategy, self.settings.save_steps, step)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Whether all steps are done; otherwise the run was stopped and can be resumed.
    pub finished: bool,
    /// Steps done.
    pub steps: u64,
    /// Steps of the run.
    pub total_steps: u64,
    /// Mean loss of all steps: what transformers calls so.
    pub train_loss: Option<f64>,
    /// Mean loss of the last steps, as many as an epoch has.
    pub final_train_loss: Option<f64>,
    /// The last evaluation's loss; with `load_best_model_at_end` the best one's.
    pub eval_loss: Option<f64>,
    /// The loss on the same rows before the first step, where that was evaluated.
    pub eval_loss_before: Option<f64>,
    /// Tokens trained on, over all sessions of the run.
    pub tokens: u64,
    /// Tokens a second in this session's steps; of a run that was finished before, in those of the session that finished it.
    pub tokens_per_second: f64,
    /// What this session's time went to; of a run that was finished before, that of the session that finished it.
    #[serde(default)]
    pub times: Times,
    /// The adapter folder; none while the run is unfinished.
    pub adapter: Option<PathBuf>,
}

impl Summary {
    /// What the session that finished a run wrote of it; none where it cannot be read, as of versions that wrote less.
    pub(super) fn written(folder: &Path) -> Option<Summary> {
        let bytes = aludel_files::read(folder.join(SUMMARY_FILE_NAME), aludel_files::SMALL).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// A session that was stopped before its first step: the run is where its last checkpoint left it.
    pub(super) fn before_the_first_step(folder: &Path) -> Result<Summary> {
        let state = match checkpoint::list(folder).last() {
            Some(&step) => checkpoint::read(folder, step)?,
            None => TrainerState::default(),
        };
        Ok(Summary {
            finished: false,
            steps: state.global_step,
            total_steps: state.max_steps,
            train_loss: None,
            final_train_loss: None,
            eval_loss: state.last_evaluation(),
            eval_loss_before: state.evaluation_at(0),
            tokens: state.num_input_tokens_seen,
            tokens_per_second: 0.0,
            times: Times::default(),
            adapter: None,
        })
    }
}
