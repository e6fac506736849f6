//! From traces to a training set: each row passes pure filters, the first that it fails drops it with a reason, and the remaining rows are
//! split into train and evaluation. Rows are read twice, once to judge them (`first_pass`) and once to write them (`second_pass`), so that
//! memory holds a few numbers per row and never its text. There is one file for each filter; its finding is in the row's `detail`.

mod completeness;
mod contamination;
mod counts;
mod duplicates;
mod error;
mod first_pass;
mod language;
mod length;
mod mixture;
mod near_duplicates;
mod rejection_sampling;
mod repetition;
mod report;
mod right_answer;
mod row_options;
mod second_pass;
pub mod settings;
#[cfg(test)]
mod tests;
mod verdicts;
mod word_hashes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use error::Error;
pub use language::Languages;
pub use length::{CountTokens, TokenBounds};
pub use repetition::loop_flaw;
pub use report::{FilterCount, ReasonCount, Report, SourceCount, VerdictCounts};
pub use right_answer::right_answer;
pub use second_pass::{PROMPTS, REPORT, is_written_here};

use aludel_data::dataset::PromptKey;
use aludel_data::split::{Split, TestSize};
use aludel_data::trace::TraceSource;
use aludel_verify::{Verdict, Verifier};

/// Which filters are on, and their settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Drop what was cut off, has no answer, or spells a control token; and what a label or a weight of 0 excludes from training.
    pub complete: bool,
    /// Drop loops and other degenerate text.
    pub loops: bool,
    /// Drop what is in another language than these.
    pub languages: Languages,
    /// Drop what is shorter or longer, in the student's tokens.
    pub tokens: TokenBounds,
    /// Files whose prompts must not be trained on.
    pub evaluations: Vec<PathBuf>,
    /// Words in an n-gram by which prompts are compared with those.
    pub evaluation_ngram: usize,
    /// The share of an evaluation prompt's n-grams from which on a prompt that holds them is dropped.
    pub evaluation_overlap: f64,
    /// How answers are handled whose right answer is known.
    pub verify: Verify,
    /// How they are compared.
    pub verifier: Verifier,
    /// Columns that may hold the right answer, in any spelling; the first that a row has counts.
    pub gold: Vec<String>,
    /// Drop rows without a right answer to compare theirs with.
    pub require_verified: bool,
    /// Which of the right answers to a prompt are kept.
    pub keep: Keep,
    /// Drop rows that say the same as an earlier one, word for word.
    pub duplicates: bool,
    /// Drop rows at least as similar to an earlier one as this, from 0 (not at all) to 1; `None` does not look.
    pub near_duplicates: Option<f64>,
    /// Words in an n-gram by which rows are compared with each other.
    pub near_ngram: usize,
    /// The most rows of one prompt.
    pub max_per_prompt: Option<u64>,
    /// Weights of the sources; empty keeps all rows of each.
    pub mixture: BTreeMap<String, f64>,
    /// The column that names a row's source; its file's name where there is none.
    pub source_column: Option<String>,
    /// How much is held back for evaluation.
    pub test_size: TestSize,
    /// Decides the split and every choice between rows.
    pub seed: u64,
    /// Write Parquet files beside the JSONL ones.
    pub parquet: bool,
    /// Threads; 0 takes one for each core.
    pub threads: usize,
}

/// How answers are handled whose right answer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Only right ones are kept; rows whose right answer is not known, too.
    Filter,
    /// They are labelled and nothing more.
    Label,
    /// They are not looked at.
    Off,
}

/// Which of the right answers to a prompt are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    All,
    /// The shortest, reasoning included.
    Shortest,
    /// This number of them, chosen at random.
    Count(u64),
}

/// Why a row is dropped: the filter that it failed. In the order in which filters are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It cannot be read as a row.
    Unreadable,
    /// It is marked as not to be used.
    SetAside,
    /// A label marks its answer as a bad one (KTO).
    BadLabel,
    /// Its weight in training is 0.
    ZeroWeight,
    /// It was cut off, has no answer, or spells a control token.
    Incomplete,
    /// It loops, or is no text.
    Degenerate,
    /// It is in another language.
    Language,
    /// It is too short or too long.
    Length,
    /// It asks what an evaluation asks.
    Contaminated,
    /// Its answer is wrong, or there is none in it.
    Wrong,
    /// Whether its answer is right could not be decided.
    Undecided,
    /// No right answer is known to compare its own with.
    Unverified,
    /// It says the same as an earlier row.
    Duplicate,
    /// It says nearly the same as an earlier row.
    NearDuplicate,
    /// Other right answers to its prompt were chosen.
    NotChosen,
    /// Its prompt has enough rows.
    PromptCap,
    /// Its source has its share.
    Mixture,
}

impl Reason {
    /// All of them, in order.
    pub const ALL: [Reason; 17] = [
        Reason::Unreadable,
        Reason::SetAside,
        Reason::BadLabel,
        Reason::ZeroWeight,
        Reason::Incomplete,
        Reason::Degenerate,
        Reason::Language,
        Reason::Length,
        Reason::Contaminated,
        Reason::Wrong,
        Reason::Undecided,
        Reason::Unverified,
        Reason::Duplicate,
        Reason::NearDuplicate,
        Reason::NotChosen,
        Reason::PromptCap,
        Reason::Mixture,
    ];

    /// As it is written in `dropped.jsonl` and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Unreadable => "unreadable",
            Reason::SetAside => "set_aside",
            Reason::BadLabel => "bad_label",
            Reason::ZeroWeight => "zero_weight",
            Reason::Incomplete => "incomplete",
            Reason::Degenerate => "degenerate",
            Reason::Language => "language",
            Reason::Length => "length",
            Reason::Contaminated => "contaminated",
            Reason::Wrong => "wrong",
            Reason::Undecided => "undecided",
            Reason::Unverified => "unverified",
            Reason::Duplicate => "duplicate",
            Reason::NearDuplicate => "near_duplicate",
            Reason::NotChosen => "not_chosen",
            Reason::PromptCap => "prompt_cap",
            Reason::Mixture => "mixture",
        }
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How far curation has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Whether rows are being written, and no longer judged.
    pub writing: bool,
    /// Rows that are judged, or written, so far.
    pub rows: u64,
    /// Rows altogether, once they are known.
    pub rows_total: Option<u64>,
    /// The share of the rows that this is, where it is known.
    pub share: Option<f64>,
}

/// Judges all traces and writes `train.jsonl`, `eval.jsonl`, `dropped.jsonl` and `report.json` into `folder`, which appears
/// whole or not at all; an older one in its place is replaced. `progress` is called from several threads. `about` stands in the report as it is given: settings, say.
///
/// # Errors
/// What reading brings; settings that do not fit the rows; [`Error::NotSplit`] for rows too few to hold some back; a folder that cannot be
/// written.
pub fn curate(
    source: &dyn TraceSource,
    options: &Options,
    tokens: Option<&dyn CountTokens>,
    folder: &Path,
    about: &serde_json::Value,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, Error> {
    let threads = options.threads;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| aludel_data::Error::Threads { threads, reason: error.to_string() })?;
    let mut judged = first_pass::judge(source, options, tokens, &pool, progress)?;
    rejection_sampling::of_right_answers(&mut judged.rows, options.keep, options.seed);
    if let Some(most) = options.max_per_prompt {
        rejection_sampling::of_prompts(&mut judged.rows, most, options.seed);
    }
    mixture::apply(&mut judged.rows, &judged.sources, &options.mixture, options.seed)?;
    let kept = judged.rows.iter().filter(|row| row.is_kept()).map(|row| row.prompt);
    let split = Split::by_prompt(kept, options.test_size, options.seed).map_err(|error| match error {
        aludel_data::Error::TestSize { reason, .. } => {
            let report = Box::new(Report::new(options, &judged, &Split::default()));
            Error::NotSplit { reason, report }
        }
        other => other.into(),
    })?;
    let report = Report::new(options, &judged, &split);
    second_pass::write(source, &judged, &split, options.parquet, folder, &report, about, &pool, progress)?;
    Ok(report)
}

/// What is remembered of a row.
#[derive(Clone, Debug)]
struct JudgedRow {
    /// Of all that it says.
    hash: u128,
    prompt: PromptKey,
    verdict: Option<Verdict>,
    /// Bytes of reasoning and answers.
    learnt_bytes: u32,
    /// Its place in the list of sources.
    source: u32,
    hides_reasoning: bool,
    ended_by_mark: bool,
    /// Whether it has tools, or calls of them.
    has_tools: bool,
    /// The data calls its answer wrong, and it is right.
    is_claim_untrue: bool,
    dropped: Option<Box<DroppedRow>>,
}

#[derive(Clone, Debug, PartialEq)]
struct DroppedRow {
    reason: Reason,
    detail: String,
}

impl JudgedRow {
    fn is_kept(&self) -> bool {
        self.dropped.is_none()
    }
}

fn drop_row(row: &mut JudgedRow, reason: Reason, detail: String) {
    row.dropped = Some(Box::new(DroppedRow { reason, detail }));
}

/// The place of a row in the order that belongs to a seed.
fn shuffled(hash: u128, seed: u64) -> u64 {
    word_hashes::mixed((hash >> 64) as u64 ^ word_hashes::mixed(hash as u64 ^ seed))
}
