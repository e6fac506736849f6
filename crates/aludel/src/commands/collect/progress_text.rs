//! Failures, throughput, cost and remaining time of a collection as text, for the progress bar and the live table.

use crate::humanize::{cost, duration};
use aludel_teacher::collect::Progress;

/// Failures, pace and cost.
pub(super) fn facts(progress: &Progress) -> Vec<String> {
    let failed = (progress.failed > 0).then(|| format!("{} not answered", progress.failed));
    let pace = Some(format!("{:.0} tokens/s", progress.tokens_per_second));
    let cost = progress.cost.is_some().then(|| cost(progress.cost));
    [failed, pace, cost].into_iter().flatten().collect()
}

/// Failures, pace, cost and time left, on one line.
pub(super) fn pace(progress: &Progress) -> String {
    let mut line = facts(progress).join(", ");
    if let Some(left) = progress.seconds_left {
        line.push_str(&format!(", {} left", duration(left)));
    }
    line
}
