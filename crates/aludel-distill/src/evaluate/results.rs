//! The folder of results: `evaluation.json` describes the evaluation and is written first, `samples.jsonl` gets a line for each sample as
//! it ends, `results.json` is written last. A comparison reads only these files. `score` defines the numbers.

use std::path::Path;

use aludel_formats::atomic;
use aludel_text::Date;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What is evaluated, and how.
pub const PLAN_FILE_NAME: &str = "evaluation.json";
/// One line a sample.
pub const SAMPLES_FILE_NAME: &str = "samples.jsonl";
/// The finish reason of a question that the server did not take.
pub(super) const REFUSED: &str = "refused";
/// The finish reason of an answer that failed before its end.
pub(super) const FAILED: &str = "failed";
/// The scores.
pub const RESULTS_FILE_NAME: &str = "results.json";

/// `results.json`: the scores of one model. Shares are in 0..1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Aludel's version.
    pub version: String,
    /// When it was done, UTC: `2026-11-24T16:30:00Z`.
    pub date: String,
    /// The processor and its threads, where a model was run here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The commit that Aludel was built from, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The command line, a word each; of a resumed evaluation the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Who answered.
    pub model: ModelName,
    /// How it was asked.
    pub settings: Settings,
    /// One for each task, in the order asked for.
    pub tasks: Vec<TaskResult>,
}

/// Who answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelName {
    /// A file or folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The address of a served model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What the server there calls the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
    /// An adapter folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// What tables call it.
    pub name: String,
    /// Changes when the files behind `path` and `adapter` do, or what else a server is asked with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// How it is asked: all that samples depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Samples of each problem, k.
    pub samples: u32,
    /// 0 is greedy.
    pub temperature: f64,
    /// Share of probability that is sampled from.
    pub top_p: f64,
    /// The most tokens of an answer.
    pub max_new_tokens: usize,
    /// Seed of the samples.
    pub seed: u64,
    /// The precision of products, where a model was run here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// The date given to the template of a local model, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_date: Option<Date>,
    /// Variables that the template was given.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub template_variables: serde_json::Map<String, serde_json::Value>,
}

/// The score of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// The task's name, unique in these results.
    pub name: String,
    /// Problems.
    pub n: usize,
    /// Samples of each.
    pub k: u32,
    /// Mean over all samples of being right.
    pub pass_at_1: f64,
    /// Its 95% interval, over problems (`evaluate::interval`).
    pub ci95: [f64; 2],
    /// Share of problems whose most frequent answer is right.
    pub maj_at_k: f64,
    /// Share of problems that k samples solve at least once.
    pub pass_at_k: f64,
    /// Share of samples that were cut.
    pub truncated: f64,
    /// Share of samples that go round in circles.
    pub looping: f64,
    /// Share of samples in which no answer is found.
    pub no_answer: f64,
    /// Share of samples that could not be compared with the right answer; they count as not right.
    #[serde(default)]
    pub undecided: f64,
    /// Share of samples that failed before their end; they count as wrong. Each says why.
    #[serde(default)]
    pub failed: f64,
    /// Tokens of reasoning, mean over the samples whose tokens were counted: not every server counts them.
    pub mean_thinking_tokens: f64,
    /// Their percentiles.
    pub thinking_tokens_percentiles: Percentiles,
    /// Tokens of reasoning and answer, mean over the same samples; 0 where nothing was counted.
    #[serde(default)]
    pub mean_completion_tokens: f64,
    /// Tokens written a second, all sequences together; `null` if nothing was generated since the folder was resumed.
    pub tokens_per_second: Option<f64>,
    /// A hash of problems, prompts and verifier: tasks can be compared only where it is equal.
    pub fingerprint: String,
    /// What makes the scores say less than they seem to, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Nearest-rank percentiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    #[serde(rename = "50")]
    pub p50: u64,
    /// The ninetieth.
    #[serde(rename = "90")]
    pub p90: u64,
    /// The ninety-ninth.
    #[serde(rename = "99")]
    pub p99: u64,
}

/// A line of `samples.jsonl`: one answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The task's name.
    pub task: String,
    /// The problem's id, unique in its task.
    pub problem: String,
    /// Which of its samples, from 0.
    pub sample: u32,
    /// The seed of the problem's draws; the sample's number takes part in them, too.
    pub seed: u64,
    /// What was asked, without what the task says around it.
    pub question: String,
    /// The right answer.
    pub gold: String,
    /// What was thought.
    #[serde(default)]
    pub reasoning: Option<String>,
    /// What was said.
    pub content: String,
    /// The answer that was found in it.
    pub extracted: Option<String>,
    /// Whether it is the right one.
    pub correct: bool,
    /// Whether the verifier could not decide; then it is not correct.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undecided: bool,
    /// Cut at the most tokens, or at the end of the context.
    pub truncated: bool,
    /// Goes round in circles.
    pub looping: bool,
    /// Holds no answer.
    pub no_answer: bool,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the reasoning. A server counts them with the answer's; then they are the reasoning's share of the letters.
    pub thinking_tokens: u64,
    /// Tokens of reasoning and answer; 0 where a server does not count them.
    pub completion_tokens: u64,
    /// `stop` or `length`, what else a server says, `refused` for a question that it did not take, or `failed`.
    pub finish_reason: String,
    /// Why it failed, if it did; then it is not correct.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Sample {
    /// Whether its tokens are known: a server that does not count them leaves an answer of none, a failure one of some.
    pub fn is_counted(&self) -> bool {
        let is_refused = self.finish_reason == REFUSED;
        if self.failure.is_some() {
            return false;
        }
        self.completion_tokens > 0 || (self.content.is_empty() && self.reasoning.is_none() && !is_refused)
    }
}

/// `evaluation.json`: what a folder holds the results of. A folder is resumed only with an equal one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Who answers.
    pub model: ModelName,
    /// How it is asked.
    pub settings: Settings,
    /// The tasks.
    pub tasks: Vec<PlannedTask>,
    /// The context length in tokens, if the backend knows it: advice depends on it, samples do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
}

/// A task of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTask {
    /// Its name.
    pub name: String,
    /// Its problems.
    pub n: usize,
    /// See [`TaskResult::fingerprint`].
    pub fingerprint: String,
}

impl Results {
    /// Reads a folder's scores.
    ///
    /// # Errors
    /// The evaluation is not done, or the file is damaged.
    pub fn read(folder: &Path) -> Result<Results> {
        let path = folder.join(RESULTS_FILE_NAME);
        if !aludel_files::is_there(&path) && aludel_files::is_there(folder.join(PLAN_FILE_NAME)) {
            let reason = "this evaluation was not finished; give the same `aludel eval` command again to finish it";
            return Err(Error::Damaged { path: folder.to_owned(), reason: reason.to_owned() });
        }
        read_json(&path, "results of an evaluation")
    }

    /// Writes them, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        Ok(atomic::write_json(&folder.join(RESULTS_FILE_NAME), self)?)
    }
}

/// The samples of a folder, in the order in which they ended: it depends on the batch. A torn last line is left out.
///
/// # Errors
/// The file is missing or damaged.
pub fn read_samples(folder: &Path) -> Result<Vec<Sample>> {
    let path = folder.join(SAMPLES_FILE_NAME);
    let bytes =
        aludel_files::read(&path, aludel_files::LARGE).map_err(aludel_formats::Error::io(&path, "read the samples"))?;
    parse_samples(&path, &bytes).map(|(samples, _)| samples)
}

/// The whole lines, and how many bytes they are.
pub(super) fn parse_samples(path: &Path, bytes: &[u8]) -> Result<(Vec<Sample>, usize)> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let lines = bytes[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let parsed = lines.enumerate().map(|(index, line)| {
        serde_json::from_slice(line).map_err(|error| Error::Damaged {
            path: path.to_owned(),
            reason: format!("line {} is not a sample ({error}); remove the line, and it is generated again", index + 1),
        })
    });
    Ok((parsed.collect::<Result<_>>()?, whole))
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let bytes =
        aludel_files::read(path, aludel_files::LARGE).map_err(aludel_formats::Error::io(path, "read the results"))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
        path: path.to_owned(),
        reason: format!("it does not hold the {what} ({error}); evaluate again, into another folder"),
    })
}
