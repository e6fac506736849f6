//! Results as tables in the terminal.

use crate::console::{Console, harmless};
use crate::humanize::grouped;
use crate::table::Table;
use aludel_distill::evaluate::overall::Overall;
use aludel_distill::evaluate::results::{Results, SAMPLES_FILE_NAME, TaskResult};
use anstyle::Style;
use std::path::Path;

/// Scores, a row for each task and one for all of them, and lengths and speed of the answers.
pub(super) fn show(
    console: &mut Console,
    results: &Results,
    overall: Option<&Overall>,
    folder: &Path,
) -> anyhow::Result<()> {
    scores(&results.tasks, overall).print(console)?;
    for task in &results.tasks {
        warn(task, folder);
    }
    if let Some(table) = lengths(&results.tasks) {
        console.line("")?;
        console.paragraph(
            Style::new().dimmed(),
            "tokens of an answer: mean of all; mean, median and p90 of its thinking",
        )?;
        table.print(console)?;
    }
    for task in results.tasks.iter().filter(|task| !has_lengths(task)) {
        console.paragraph(Style::new(), format_args!("{}: the server does not count tokens", task.name))?;
    }
    Ok(console.line(format_args!("results: {}", folder.display()))?)
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

fn interval([low, high]: [f64; 2]) -> String {
    format!("[{:.1}, {:.1}]", 100.0 * low, 100.0 * high)
}

/// pass@1 and what else is counted; majority and pass@k where they are not the same as pass@1.
fn scores(tasks: &[TaskResult], overall: Option<&Overall>) -> Table {
    let has_samples = tasks.iter().any(|task| task.k > 1);
    let mut table = Table::new("task").numbers(["n"]);
    if has_samples {
        table = table.numbers(["k"]);
    }
    table = table.numbers(["pass@1", "95% interval"]);
    if has_samples {
        table = table.numbers(["maj@k", "pass@k"]);
    }
    table = table.numbers(["cut", "loops", "no answer"]);
    for task in tasks {
        let mut cells = vec![task.name.clone(), grouped(task.n)];
        cells.extend(has_samples.then(|| task.k.to_string()));
        cells.extend([percent(task.pass_at_1), interval(task.ci95)]);
        if has_samples {
            cells.extend([percent(task.maj_at_k), percent(task.pass_at_k)]);
        }
        cells.extend([task.truncated, task.looping, task.no_answer].map(percent));
        table.row(cells);
    }
    if let Some(overall) = overall.filter(|_| tasks.len() > 1) {
        // Over problems, as pass@1 is; each task has as many samples of each.
        let mean = |of: fn(&TaskResult) -> f64| {
            let sum: f64 = tasks.iter().map(|task| task.n as f64 * of(task)).sum();
            percent(sum / tasks.iter().map(|task| task.n as f64).sum::<f64>().max(1.0))
        };
        let mut cells = vec!["overall".to_owned(), grouped(overall.n)];
        cells.extend(has_samples.then(String::new));
        cells.extend([percent(overall.pass_at_1), interval(overall.ci95)]);
        if has_samples {
            cells.extend([mean(|task| task.maj_at_k), mean(|task| task.pass_at_k)]);
        }
        cells.extend([mean(|task| task.truncated), mean(|task| task.looping), mean(|task| task.no_answer)]);
        table.styled_row(Style::new().bold(), cells);
    }
    table
}

/// Whether its answers' tokens were counted: not every server does.
fn has_lengths(task: &TaskResult) -> bool {
    task.mean_completion_tokens > 0.0
}

/// How long answers are, where that is known of any.
fn lengths(tasks: &[TaskResult]) -> Option<Table> {
    let whole = |value: f64| grouped(value.round() as u64);
    let mut table = Table::new("task").numbers(["mean", "thinking", "its median", "its p90", "tokens/s"]);
    for task in tasks.iter().filter(|task| has_lengths(task)) {
        let thinking = &task.thinking_tokens_percentiles;
        table.row([
            task.name.clone(),
            whole(task.mean_completion_tokens),
            whole(task.mean_thinking_tokens),
            grouped(thinking.p50),
            grouped(thinking.p90),
            task.tokens_per_second.map_or_else(String::new, |rate| format!("{rate:.0}")),
        ]);
    }
    tasks.iter().any(has_lengths).then_some(table)
}

/// Says in the log which scores are lower than the answers were bad.
fn warn(task: &TaskResult, folder: &Path) {
    let name = harmless(&task.name);
    if task.undecided > 0.0 {
        let count = grouped((task.undecided * task.n as f64 * f64::from(task.k)).round() as u64);
        let share = percent(task.undecided);
        tracing::warn!(
            "{name}: {count} answers ({share}) could not be compared with the right one and count as not right"
        );
    }
    if task.failed > 0.0 {
        let share = percent(task.failed);
        let samples = folder.join(SAMPLES_FILE_NAME);
        tracing::warn!(
            "{name}: {share} of the answers failed and count as wrong; \"failure\" in {} says why",
            samples.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(name: &str, n: usize, k: u32, pass_at_1: f64) -> TaskResult {
        let value = json!({"name": name, "n": n, "k": k, "pass_at_1": pass_at_1, "ci95": [0.1, 0.9], "maj_at_k": 0.5,
            "pass_at_k": 0.75, "truncated": 0.25, "looping": 0.0, "no_answer": 1.0, "mean_thinking_tokens": 1330.0,
            "thinking_tokens_percentiles": {"50": 1130, "90": 2040, "99": 2050}, "mean_completion_tokens": 1402.0,
            "tokens_per_second": 1204.0, "fingerprint": ""});
        serde_json::from_value(value).unwrap()
    }

    /// The widest numbers that there are, with a name as benchmarks have it.
    #[test]
    fn scores_of_several_samples_fit_80_columns() {
        let tasks = [task("gpqa-diamond", 198, 16, 1.0), task("math500", 500, 16, 0.5)];
        let overall = Overall { n: 698, pass_at_1: 0.6418, ci95: [0.6, 0.68] };
        let lines = scores(&tasks, Some(&overall)).text(80);
        assert!(lines.lines().all(|line| line.chars().count() <= 80), "{lines}");
        let last = lines.lines().last().unwrap();
        let cells: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(cells, ["overall", "698", "64.2%", "[60.0,", "68.0]", "50.0%", "75.0%", "25.0%", "0.0%", "100.0%"]);
        assert_eq!(lines.lines().filter(|line| line.starts_with("gpqa-diamond")).count(), 1, "{lines}");
        assert!(lengths(&tasks).unwrap().text(80).lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn one_sample_needs_no_majority_and_one_task_no_overall() {
        let overall = Overall { n: 60, pass_at_1: 0.5, ci95: [0.4, 0.6] };
        let lines = scores(&[task("dice", 60, 1, 0.5)], Some(&overall)).text(80);
        assert!(!lines.contains("maj@k") && !lines.contains("overall"), "{lines}");
    }
}
