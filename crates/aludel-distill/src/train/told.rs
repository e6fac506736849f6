//! What a run tells: while it goes, when it starts and how it ended. How that is shown is the caller's matter.

use std::path::{Path, PathBuf};

use aludel_traces::cache::{BuildProgress, Outcomes};
use serde::Serialize;

use crate::metrics::{EvalRecord, StepRecord, TrainerState};

/// How the run ended, in the run folder.
pub const SUMMARY_FILE_NAME: &str = "summary.json";

/// What a run tells while it goes.
pub enum Event<'a> {
    /// Data is being tokenised.
    Tokenising(BuildProgress),
    /// The rows of new tokens are being made likely in their places.
    PlacingTokens {
        /// Rows looked at.
        done: usize,
        /// Rows to look at.
        total: usize,
    },
    /// Everything is loaded.
    Started(&'a Started),
    /// A step was taken; the loss is logged here too when `logged`.
    Step {
        /// What was recorded.
        record: &'a StepRecord,
        /// Steps of the run.
        total_steps: u64,
        /// Mean loss since the last log line, where one is due.
        logged: Option<f64>,
    },
    /// An evaluation goes on.
    Evaluating {
        /// Rows done.
        done: usize,
        /// Rows in all.
        total: usize,
    },
    /// An evaluation has ended.
    Evaluated(&'a EvalRecord),
    /// A checkpoint was written.
    Saved(&'a Path),
}

/// What a run starts with.
#[derive(Debug, Clone, Serialize)]
pub struct Started {
    /// Rows that are trained on.
    pub train_rows: usize,
    /// Rows held back.
    pub eval_rows: usize,
    /// What became of the data.
    pub outcomes: Outcomes,
    /// The longest row that is taken, in tokens.
    pub max_length: usize,
    /// Which rows to train on were left out for their length, in words.
    pub left_out: Option<String>,
    /// Rows of `data.eval_files` that were left out for their length.
    pub eval_rows_too_long: usize,
    /// Rows of `data.eval_files` whose prompt is trained on.
    pub eval_rows_known: usize,
    /// Trained parameters.
    pub trained_parameters: usize,
    /// Steps of the run.
    pub total_steps: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Steps that were done before.
    pub resumed_at: u64,
    /// Lines of `metrics.jsonl` that were taken out: of steps behind the checkpoint, which are done again, or of nobody's.
    pub records_left_out: u64,
    /// Bytes on the device.
    pub device_bytes: usize,
    /// Bytes that the process will take at its peak, as far as that can be planned; none where the system does not tell what it takes.
    pub process_bytes: Option<u64>,
    /// That the steps and rates of the run move the adapter little, in words.
    pub moves_little: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Whether all steps are done; otherwise the run was stopped and can be resumed.
    pub finished: bool,
    /// Steps done.
    pub steps: u64,
    /// Steps of the run.
    pub total_steps: u64,
    /// Mean loss of the steps since the last log line before the end.
    pub final_train_loss: Option<f64>,
    /// The last evaluation's loss; with `load_best_model_at_end` the best one's.
    pub eval_loss: Option<f64>,
    /// Tokens trained on, over all sessions of the run.
    pub tokens: u64,
    /// Tokens a second in this session's steps.
    pub tokens_per_second: f64,
    /// The adapter folder; none while the run is unfinished.
    pub adapter: Option<PathBuf>,
}

impl Summary {
    /// A run that was stopped while its data was being tokenised.
    pub(super) fn before_the_first_step(state: &TrainerState) -> Summary {
        Summary {
            finished: false,
            steps: state.global_step,
            total_steps: state.max_steps,
            final_train_loss: None,
            eval_loss: state.last_evaluation(),
            tokens: state.num_input_tokens_seen,
            tokens_per_second: 0.0,
            adapter: None,
        }
    }
}
