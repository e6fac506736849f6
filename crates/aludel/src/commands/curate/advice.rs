//! Advice if a curation dropped many rows or all of them: which filter it was, and how to change its settings.

use crate::humanize::grouped;
use crate::report::ErrorWithHelp;
use crate::shell_path::shell_quoted;
use aludel_curate::{FilterCount, Reason, Report};
use aludel_files::counted;
use aludel_teacher::store::is_sqlite;
use std::path::{Path, PathBuf};

/// The share of the rows from which on their loss is worth a warning.
const MUCH: f64 = 0.2;

/// What changes what a filter drops, as the second half of a sentence.
fn way_out(reason: Reason) -> &'static str {
    match reason {
        Reason::Unreadable => "fix these rows, or name their columns with data.columns",
        Reason::SetAside => "give the column another name if it does not say whether the row is used",
        Reason::BadLabel => {
            "`--set curate.complete=false` keeps them here, and training refuses them; give the column another name if it marks no bad \
             answers"
        }
        Reason::ZeroWeight => {
            "`--set curate.complete=false` keeps them here, and training refuses them; give the column another name if it is no loss weight"
        }
        Reason::Incomplete => {
            "`--set curate.complete=false` keeps them, and training takes those that were cut off with `--set data.allow_cut_reasoning=true`"
        }
        Reason::Degenerate => "`--set curate.loops=false` keeps them",
        Reason::Language => "`--set curate.languages=[]` keeps them",
        Reason::Length => "raise curate.max_length (`--max-length`), or lower curate.min_length",
        Reason::Contaminated => {
            "raise curate.decontaminate_overlap, or leave out curate.decontaminate (`--decontaminate`)"
        }
        Reason::Wrong | Reason::Undecided => {
            "`--set curate.verify=label` keeps them; curate.verifier says how answers are compared, curate.gold with which column"
        }
        Reason::Unverified => {
            "`--set curate.require_verified=false` keeps them; curate.gold names the columns of right answers"
        }
        Reason::Duplicate => "`--set curate.duplicates=false` keeps them",
        Reason::NearDuplicate => {
            "`--set curate.near_duplicates=false` keeps them, and a higher curate.near_duplicate_threshold some of them"
        }
        Reason::NotChosen => "`--keep all` (curate.keep) keeps them",
        Reason::PromptCap => "raise curate.max_per_prompt (`--max-per-prompt`)",
        Reason::Mixture => "change the weights of curate.mixture",
    }
}

/// Warns if many rows were dropped by filters that were not requested.
pub(super) fn warn_of_losses(report: &Report, folder: &Path) {
    if let Some(told) = losses(report, folder) {
        tracing::warn!("{told}");
    }
}

/// The warning, where one is due. What was chosen among good rows is no loss.
fn losses(report: &Report, folder: &Path) -> Option<String> {
    let is_choice =
        |filter: &FilterCount| matches!(filter.reason, Reason::NotChosen | Reason::PromptCap | Reason::Mixture);
    let lost = || report.filters.iter().filter(|filter| !is_choice(filter));
    let dropped: u64 = lost().map(|filter| filter.dropped).sum();
    let share = dropped as f64 / report.rows.max(1) as f64;
    let most = lost().max_by_key(|filter| filter.dropped).filter(|_| share > MUCH)?;
    Some(format!(
        "{} of {} ({:.0}%) were dropped, most of them as {} ({}): {}; {} says of each why",
        grouped(dropped),
        counted(report.rows, "row", "rows"),
        100.0 * share,
        most.reason.name(),
        grouped(most.dropped),
        way_out(most.reason),
        shell_quoted(&folder.join("dropped.jsonl")),
    ))
}

/// The error for a curation of which nothing is left.
pub(super) fn nothing_left(report: &Report, folder: &Path, inputs: &[PathBuf]) -> anyhow::Error {
    let most = report.strictest();
    let why = most.map_or_else(String::new, |filter| format!(", most of them as {}", filter.reason.name()));
    let store = inputs.iter().find(|path| is_sqlite(path).unwrap_or(false));
    let dropped = shell_quoted(&folder.join("dropped.jsonl"));
    let help = match (most, store) {
        // No filter is too strict: the answers themselves are not there.
        (Some(filter), Some(store)) if filter.reason == Reason::Incomplete && filter.dropped == report.rows => format!(
            "none of these answers is whole: `aludel trace status --store {}` tells which were cut or failed, and {dropped} why; the same \
             `aludel trace` asks for what is missing, and one with a larger trace.max_tokens for longer answers",
            shell_quoted(store),
        ),
        (Some(filter), _) => format!("{}; {dropped} says of each row why", way_out(filter.reason)),
        (None, _) => "give other traces".to_owned(),
    };
    ErrorWithHelp { message: format!("no row is left: all {} were dropped{why}", report.rows), help }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aludel_curate::VerdictCounts;
    use aludel_distill::settings::setting_names;
    use std::collections::BTreeMap;

    fn report(filters: &[(Reason, u64)]) -> Report {
        let dropped: u64 = filters.iter().map(|(_, dropped)| dropped).sum();
        let mut seen = 1000;
        let filters = filters.iter().map(|&(reason, dropped)| {
            seen -= dropped;
            FilterCount { reason, seen: seen + dropped, dropped }
        });
        Report {
            rows: 1000,
            kept: 1000 - dropped,
            without_reasoning: 0,
            end_marks_removed: 0,
            with_tools: 0,
            untrue_claims: 0,
            prompts: 1000,
            train: 0,
            eval: 0,
            filters: filters.collect(),
            reasons: Vec::new(),
            verdicts: VerdictCounts::default(),
            sources: Vec::new(),
            tokenised: 0,
            weighted: BTreeMap::new(),
            columns_not_used: Vec::new(),
            columns_used_in_part: Vec::new(),
        }
    }

    #[test]
    fn each_filter_has_its_own_way_out_whose_settings_there_are() {
        let known = |setting: &str| {
            let (section, name) = setting.split_once('.').unwrap();
            setting_names(section).iter().any(|own| own == name)
        };
        for reason in Reason::ALL {
            let told = way_out(reason);
            let words = told.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c)));
            let settings: Vec<&str> =
                words.filter(|word| ["curate.", "data."].iter().any(|section| word.starts_with(section))).collect();
            assert!(settings.iter().all(|setting| known(setting)), "{told}");
            assert!(!settings.is_empty() || reason == Reason::SetAside, "{told}");
        }
    }

    #[test]
    fn a_loss_of_more_than_a_fifth_is_warned_of() {
        let told = |filters: &[(Reason, u64)]| losses(&report(filters), Path::new("/my out"));
        assert_eq!(told(&[(Reason::Incomplete, 100), (Reason::Wrong, 100)]), None);
        assert_eq!(told(&[(Reason::NotChosen, 700), (Reason::Wrong, 200)]), None, "what was chosen is no loss");
        let wanted = "301 of 1,000 rows (30%) were dropped, most of them as near_duplicate (201): `--set curate.near_duplicates=false` \
                      keeps them, and a higher curate.near_duplicate_threshold some of them; '/my out/dropped.jsonl' says of each why";
        assert_eq!(told(&[(Reason::Wrong, 100), (Reason::NearDuplicate, 201)]).as_deref(), Some(wanted));
    }

    #[test]
    fn where_nothing_is_left_the_setting_of_the_filter_is_named() {
        let error = nothing_left(&report(&[(Reason::Wrong, 999), (Reason::Incomplete, 1)]), Path::new("/out"), &[]);
        let ErrorWithHelp { message, help } = error.downcast_ref().unwrap();
        assert_eq!(message, "no row is left: all 1000 were dropped, most of them as wrong");
        assert!(
            help.starts_with("`--set curate.verify=label` keeps them") && help.contains("/out/dropped.jsonl"),
            "{help}"
        );
    }
}
