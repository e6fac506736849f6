//! What curation did, in numbers: for each filter how many rows came to it and how many it dropped, verdicts, sources, and
//! what is left.

use std::collections::HashSet;

use serde::Serialize;

use super::first_pass::Judgement;
use super::{Options, Reason, Verify};
use aludel_data::split::Split;
use aludel_verify::Verdict;

/// The numbers of a curation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Rows that were read.
    pub rows: u64,
    /// Rows that are kept.
    pub kept: u64,
    /// Rows among them whose model reasoned, as they say, and that hold none of its reasoning.
    pub without_reasoning: u64,
    /// Rows among them without the marks at the ends of their answers.
    pub end_marks_removed: u64,
    /// Rows among them that the data calls wrong, and whose answers are right by their gold.
    pub untrue_claims: u64,
    /// Different prompts among them.
    pub prompts: u64,
    /// Rows in `train.jsonl`.
    pub train: u64,
    /// Rows in `eval.jsonl`.
    pub eval: u64,
    /// The filters that were on, in the order in which they were asked, and those of them that drop what cannot be written.
    pub filters: Vec<FilterCount>,
    /// Verdicts on the answers that came to the verifier.
    pub verdicts: VerdictCounts,
    /// Where the rows come from.
    pub sources: Vec<SourceCount>,
    /// Rows that had to be tokenised to know their length.
    pub tokenised: u64,
    /// Columns that hold something and that nobody reads; they are carried along.
    pub columns_not_used: Vec<String>,
}

/// What a filter did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilterCount {
    /// The reason that it gives.
    pub reason: Reason,
    /// Rows that came to it.
    pub seen: u64,
    /// Rows that it dropped.
    pub dropped: u64,
}

/// Verdicts on the answers that came to the verifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerdictCounts {
    /// Right ones.
    pub right: u64,
    /// Wrong ones.
    pub wrong: u64,
    /// Texts without an answer.
    pub no_answer: u64,
    /// Those that could not be compared.
    pub undecided: u64,
    /// Rows without a right answer to compare with.
    pub not_known: u64,
}

/// A source's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceCount {
    /// Its name.
    pub source: String,
    /// Rows that were read.
    pub rows: u64,
    /// Rows that are kept.
    pub kept: u64,
}

impl Report {
    pub(super) fn new(options: &Options, judgement: &Judgement, split: &Split) -> Report {
        let rows = &judgement.rows;
        let kept = rows.iter().filter(|row| row.is_kept());
        let prompts: HashSet<_> = kept.clone().map(|row| row.prompt).collect();
        let sources = judgement.sources.iter().enumerate().map(|(number, name)| {
            let own = rows.iter().filter(|row| row.source as usize == number);
            let kept = own.clone().filter(|row| row.is_kept()).count() as u64;
            SourceCount { source: name.clone(), rows: own.count() as u64, kept }
        });
        Report {
            rows: rows.len() as u64,
            without_reasoning: kept.clone().filter(|row| row.hides_reasoning).count() as u64,
            end_marks_removed: kept.clone().filter(|row| row.ended_by_mark).count() as u64,
            untrue_claims: kept.clone().filter(|row| row.is_claim_untrue).count() as u64,
            kept: kept.count() as u64,
            prompts: prompts.len() as u64,
            train: split.train_rows(),
            eval: split.test_rows(),
            filters: filter_counts(options, judgement),
            verdicts: verdict_counts(options, judgement),
            sources: sources.collect(),
            tokenised: judgement.tokenised,
            columns_not_used: judgement.columns_not_used.clone(),
        }
    }
}

fn filter_counts(options: &Options, judgement: &Judgement) -> Vec<FilterCount> {
    let dropped_by = |reason| {
        judgement.rows.iter().filter(|row| row.dropped.as_ref().is_some_and(|by| by.reason == reason)).count() as u64
    };
    let mut left = judgement.rows.len() as u64;
    let mut counts = Vec::new();
    for reason in Reason::ALL {
        let dropped = dropped_by(reason);
        if is_on(options, reason) || dropped > 0 {
            counts.push(FilterCount { reason, seen: left, dropped });
        }
        left -= dropped;
    }
    counts
}

fn is_on(options: &Options, reason: Reason) -> bool {
    match reason {
        Reason::Unreadable | Reason::SetAside => false,
        Reason::Incomplete => options.complete,
        Reason::Degenerate => options.loops,
        Reason::Language => !options.languages.is_any(),
        Reason::Length => !options.tokens.is_any(),
        Reason::Contaminated => !options.evaluations.is_empty(),
        Reason::Wrong | Reason::Undecided => options.verify == Verify::Filter,
        Reason::Unverified => options.verify == Verify::Filter && options.require_verified,
        Reason::Duplicate => options.duplicates,
        Reason::NearDuplicate => options.near_duplicates.is_some(),
        Reason::NotChosen => options.keep != super::Keep::All,
        Reason::PromptCap => options.max_per_prompt.is_some(),
        Reason::Mixture => !options.mixture.is_empty(),
    }
}

fn verdict_counts(options: &Options, judgement: &Judgement) -> VerdictCounts {
    let mut counts = VerdictCounts::default();
    if options.verify == Verify::Off {
        return counts;
    }
    let came_to_it = |row: &&super::Judged| row.dropped.as_ref().is_none_or(|by| by.reason >= Reason::Wrong);
    for row in judgement.rows.iter().filter(came_to_it) {
        let count = match row.verdict {
            Some(Verdict::Right) => &mut counts.right,
            Some(Verdict::Wrong) => &mut counts.wrong,
            Some(Verdict::NoAnswer) => &mut counts.no_answer,
            Some(Verdict::Undecided) => &mut counts.undecided,
            None => &mut counts.not_known,
        };
        *count += 1;
    }
    counts
}
