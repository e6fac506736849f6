//! Results as a table in the terminal.

use crate::console::{Console, harmless};
use aludel_distill::evaluate::results::{Results, SAMPLES_FILE_NAME};
use anstyle::Style;
use std::path::Path;

/// A line for each task, and what its answers took.
pub(super) fn show(console: &mut Console, results: &Results, folder: &Path) -> anyhow::Result<()> {
    let head = format!(
        "{:<24}{:>6}{:>4}{:>9}{:>16}{:>9}{:>9}{:>8}{:>8}{:>10}",
        "task", "n", "k", "pass@1", "95% interval", "maj@k", "pass@k", "cut", "loops", "no answer"
    );
    let head = console.styled(Style::new().bold(), &head);
    console.line(head)?;
    for task in &results.tasks {
        let percent = |share: f64| format!("{:.1}%", 100.0 * share);
        let interval = format!("[{:.1}, {:.1}]", 100.0 * task.ci95[0], 100.0 * task.ci95[1]);
        console.line(format_args!(
            "{:<24}{:>6}{:>4}{:>9}{interval:>16}{:>9}{:>9}{:>8}{:>8}{:>10}",
            harmless(&task.name),
            task.n,
            task.k,
            percent(task.pass_at_1),
            percent(task.maj_at_k),
            percent(task.pass_at_k),
            percent(task.truncated),
            percent(task.looping),
            percent(task.no_answer)
        ))?;
        if task.undecided > 0.0 {
            let answers = task.n as f64 * f64::from(task.k);
            let (count, share) = ((task.undecided * answers).round(), percent(task.undecided));
            tracing::warn!(
                "{}: {count} answers ({share}) could not be compared with the right one and count as not right",
                harmless(&task.name)
            );
        }
    }
    for task in &results.tasks {
        if task.failed > 0.0 {
            let share = 100.0 * task.failed;
            tracing::warn!(
                "{}: {share:.1}% of the answers failed and count as wrong; \"failure\" in {} says why",
                harmless(&task.name),
                folder.join(SAMPLES_FILE_NAME).display()
            );
        }
        if task.mean_completion_tokens == 0.0 {
            console.line(format_args!("{}: the server does not count tokens", harmless(&task.name)))?;
            continue;
        }
        let thinking = &task.thinking_tokens_percentiles;
        let speed = task.tokens_per_second.map_or_else(String::new, |rate| format!(", {rate:.0} tokens/s"));
        console.line(format_args!(
            "{}: thinking {:.0} tokens on average (half up to {}, 90% up to {}), {:.0} in all{speed}",
            harmless(&task.name),
            task.mean_thinking_tokens,
            thinking.p50,
            thinking.p90,
            task.mean_completion_tokens
        ))?;
    }
    Ok(console.line(format_args!("results: {}", folder.display()))?)
}
