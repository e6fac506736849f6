//! The output of a curation: the table of filters, the most frequent reasons, and other findings about the rows. Advice if many rows were
//! dropped is in `advice`.

use crate::console::{Console, harmless};
use crate::humanize::grouped;
use crate::table::Table;
use aludel_curate::{ReasonCount, Report};
use aludel_data::dataset::{classes_told, columns_not_used, columns_used_in_part};
use aludel_files::{counted, shortened};
use anstyle::Style;
use std::path::Path;

/// Prints the outcome of the rows, and the paths of the kept ones.
pub(super) fn show(console: &mut Console, report: &Report, folder: &Path) -> anyhow::Result<()> {
    show_filters(console, report)?;
    console.paragraph(
        Style::new(),
        format_args!(
            "kept: {} of {} on {}, {} to train on and {} held back, in {}",
            report.kept,
            counted(report.rows, "row", "rows"),
            counted(report.prompts, "prompt", "prompts"),
            report.train,
            report.eval,
            folder.display()
        ),
    )?;
    Ok(())
}

/// The outcome of the rows before the evaluation split.
pub(super) fn show_filters(console: &mut Console, report: &Report) -> anyhow::Result<()> {
    let mut table = Table::new("filter").numbers(["rows", "dropped", "left"]);
    for filter in &report.filters {
        let left = filter.seen - filter.dropped;
        let counts = [filter.seen, filter.dropped, left].map(|rows| rows.to_string());
        table.row([filter.reason.name().to_owned()].into_iter().chain(counts));
    }
    table.print(console)?;
    show_reasons(console, report)?;
    let verdicts = &report.verdicts;
    let judged = verdicts.right + verdicts.wrong + verdicts.no_answer + verdicts.undecided;
    if judged > 0 {
        let share = 100.0 * verdicts.right as f64 / judged as f64;
        let rest = match verdicts.not_known {
            0 => String::new(),
            1 => "; 1 row has no right answer to compare with".to_owned(),
            rows => format!("; {rows} rows have no right answer to compare with"),
        };
        console.paragraph(
            Style::new(),
            format_args!(
                "verified: {} right ({share:.1}%), {} wrong, {} without an answer, {} undecided{rest}",
                verdicts.right, verdicts.wrong, verdicts.no_answer, verdicts.undecided
            ),
        )?;
    }
    if judged == 0 && verdicts.not_known > 0 {
        let rows = verdicts.not_known;
        let told = format_args!(
            "verified: none; {rows} rows have no right answer to compare with, in a column `answer` or `gold`"
        );
        console.paragraph(Style::new(), told)?;
    }
    if report.without_reasoning > 0 {
        let rows = report.without_reasoning;
        console.paragraph(
            Style::new(),
            format_args!(
                "without reasoning: {rows} of the rows kept say that their model reasoned, and hold none of it"
            ),
        )?;
    }
    if report.untrue_claims > 0 {
        let rows = report.untrue_claims;
        let told =
            format_args!("answers that the data calls wrong and that are right by their gold: {rows}; they are kept");
        console.paragraph(Style::new(), told)?;
    }
    if report.with_tools > 0 {
        let told = format_args!(
            "tools: {} have tools or calls of them, which the student's chat template has to render; many do not",
            counted(report.with_tools, "row", "rows")
        );
        console.paragraph(Style::new(), told)?;
    }
    if report.end_marks_removed > 0 {
        let rows = report.end_marks_removed;
        let told = format_args!(
            "end marks: the answers of {} ended with one such as <|im_end|>, which was taken off",
            counted(rows, "row", "rows")
        );
        console.paragraph(Style::new(), told)?;
    }
    if let Some(line) = columns_not_used(&report.columns_not_used) {
        console.paragraph(Style::new(), format_args!("{line} (they are carried along)"))?;
    }
    if let Some(line) = columns_used_in_part(&report.columns_used_in_part) {
        console.paragraph(Style::new(), line)?;
    }
    if let Some(line) = classes_told(&report.columns_not_used, &report.columns_used_in_part) {
        console.paragraph(Style::new(), line)?;
    }
    if !report.weighted.is_empty() {
        let by_column: Vec<String> =
            report.weighted.iter().map(|(column, rows)| format!("{column}: {}", grouped(*rows))).collect();
        let told = format_args!(
            "rows with a loss weight other than 1: {} ({}); rename the column if it is no loss weight",
            grouped(report.weighted.values().sum::<u64>()),
            by_column.join(", ")
        );
        console.paragraph(Style::new(), told)?;
    }
    if report.sources.len() > 1 {
        for source in &report.sources {
            console.paragraph(
                Style::new(),
                format_args!("{}: {} of {}", source.source, source.kept, counted(source.rows, "row", "rows")),
            )?;
        }
    }
    Ok(())
}

/// Where the numbers of reasons end.
const COUNTED_COLUMN: usize = 10;
/// The most letters of a reason.
const LETTERS: usize = 160;

/// Why most rows were dropped, in words.
fn show_reasons(console: &mut Console, report: &Report) -> anyhow::Result<()> {
    if report.reasons.is_empty() {
        return Ok(());
    }
    let told: u64 = report.reasons.iter().map(|reason| reason.rows).sum();
    let most = if told < report.dropped() { "most frequent reasons" } else { "reasons" };
    console.line(format_args!("{most}:"))?;
    for ReasonCount { reason, detail, is_same, rows } in &report.reasons {
        let such = if *is_same { "" } else { ", for example" };
        let detail = shortened(detail, LETTERS).replace(['\n', '\t'], " ");
        let line = format!("{:>8}  {}{such}: {detail}", grouped(*rows), reason.name());
        console.hanging(COUNTED_COLUMN, harmless(&line))?;
    }
    Ok(())
}
