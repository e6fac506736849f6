//! How the numbers of a report are counted, from what the first pass found and how the rows were split.

use std::collections::{HashMap, HashSet};

use super::first_pass::FirstPassResult;
use super::report::{FilterCount, ReasonCount, Report, SourceCount, VerdictCounts};
use super::{Options, Reason, Verify};
use aludel_data::dataset::alike;
use aludel_data::split::Split;
use aludel_verify::Verdict;

impl Report {
    pub(super) fn new(options: &Options, judgement: &FirstPassResult, split: &Split) -> Report {
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
            with_tools: kept.clone().filter(|row| row.has_tools).count() as u64,
            untrue_claims: kept.clone().filter(|row| row.is_claim_untrue).count() as u64,
            kept: kept.count() as u64,
            prompts: prompts.len() as u64,
            train: split.train_rows(),
            eval: split.test_rows(),
            filters: filter_counts(options, judgement),
            reasons: reason_counts(judgement),
            verdicts: verdict_counts(options, judgement),
            sources: sources.collect(),
            tokenised: judgement.tokenised,
            weighted: judgement.weighted.clone(),
            columns_not_used: judgement.columns_not_used.clone(),
            columns_used_in_part: judgement.columns_used.in_part.clone(),
        }
    }
}

fn filter_counts(options: &Options, judgement: &FirstPassResult) -> Vec<FilterCount> {
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

/// Maximum number of reasons in the report.
const REASONS: usize = 5;

fn reason_counts(judgement: &FirstPassResult) -> Vec<ReasonCount> {
    let mut places: HashMap<(Reason, String), usize> = HashMap::new();
    let mut counts: Vec<ReasonCount> = Vec::new();
    for dropped in judgement.rows.iter().filter_map(|row| row.dropped.as_deref()) {
        let (reason, detail) = (dropped.reason, &dropped.detail);
        match places.get(&(reason, alike(detail))) {
            Some(&place) => {
                let count = &mut counts[place];
                count.rows += 1;
                count.is_same &= count.detail == *detail;
            }
            None => {
                places.insert((reason, alike(detail)), counts.len());
                counts.push(ReasonCount { reason, detail: detail.clone(), is_same: true, rows: 1 });
            }
        }
    }
    // Of equally frequent ones the first comes first.
    counts.sort_by_key(|count| std::cmp::Reverse(count.rows));
    counts.truncate(REASONS);
    counts
}

fn is_on(options: &Options, reason: Reason) -> bool {
    match reason {
        Reason::Unreadable | Reason::SetAside | Reason::BadLabel | Reason::ZeroWeight => false,
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

fn verdict_counts(options: &Options, judgement: &FirstPassResult) -> VerdictCounts {
    let mut counts = VerdictCounts::default();
    if options.verify == Verify::Off {
        return counts;
    }
    let came_to_it = |row: &&super::JudgedRow| row.dropped.as_ref().is_none_or(|by| by.reason >= Reason::Wrong);
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
