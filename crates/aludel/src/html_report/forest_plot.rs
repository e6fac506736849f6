//! A forest plot for each comparison: the difference with its confidence interval, one row for each task and one for all tasks, over one
//! axis in points.

use super::axis::Axis;
use super::chart;
use super::html::{Html, classed, element, join, text};
use super::{Report, change_class, grouped, section};
use aludel_distill::evaluate::compare::{Change, Comparison, p_value};
use aludel_distill::evaluate::paired::Difference;

/// The plots of all comparisons.
pub(super) fn part(report: &Report<'_>) -> Html {
    let several = report.comparisons.len() > 1;
    let plots = report.comparisons.iter().map(|comparison| {
        let heading = match several {
            true => element("h3", &[], text(&format!("{} against {}", comparison.model, comparison.baseline))),
            false => Html::default(),
        };
        join([heading, plot(comparison)])
    });
    let lead = "Points gained or lost on each task. The dot is the difference, the bar its 95% interval: where it crosses the line at 0, \
                chance alone could have made the difference. The diamond is all problems together.";
    section("Differences", lead, plots.collect())
}

fn plot(comparison: &Comparison) -> Html {
    let differences = comparison.tasks.iter().map(|task| &task.difference).chain([&comparison.pooled]);
    let ends = differences.flat_map(|difference| difference.ci95.into_iter().chain([difference.difference]));
    let Some(axis) = Axis::linear(ends.chain([0.0]).map(|end| 100.0 * end), 6) else { return Html::default() };
    let rows = comparison.tasks.iter().map(|task| {
        let p = if comparison.tasks.len() > 1 { "corrected p" } else { "p" };
        row(&axis, &task.name, &task.difference, (p, task.p_holm), task.change, false)
    });
    let pooled =
        row(&axis, "all together", &comparison.pooled, ("p", comparison.pooled.p), comparison.verdict.change, true);
    let pooled = if comparison.tasks.len() > 1 { pooled } else { Html::default() };
    let blank = || classed("span", "who", Html::default());
    let scale = classed("div", "row scale", join([blank(), chart::labels(&axis), blank()]));
    join([
        classed("div", "forest", join([rows.collect(), pooled, scale])),
        classed("p", "note axis-title", text("points")),
    ])
}

fn row(
    axis: &Axis,
    name: &str,
    difference: &Difference,
    (what, p): (&str, f64),
    change: Change,
    is_pooled: bool,
) -> Html {
    let class = change_class(change);
    let decimals = usize::from((difference.difference * 100.0).abs() < 10.0);
    let figure = |share: f64| format!("{:+.decimals$}", 100.0 * share).replace('-', "−");
    let [low, high] = difference.ci95.map(figure);
    let who = join([
        element("b", &[], text(name)),
        classed("small", "n", text(&format!("n = {}", grouped(difference.n as u64)))),
    ]);
    let p = p_value(p);
    let p = p.strip_prefix("p ").unwrap_or(&p).to_owned();
    let value = join([
        element("b", &[("class", class)], text(&format!("{} {}", mark(change), figure(difference.difference)))),
        text(&format!(" [{low}, {high}]")),
        classed("small", "n", text(&format!("{what} {p}"))),
    ]);
    let parts = join([
        classed("span", "who", who),
        chart::difference(
            axis,
            100.0 * difference.difference,
            difference.ci95.map(|share| 100.0 * share),
            is_pooled,
            class,
        ),
        classed("span", "value", value),
    ]);
    classed("div", if is_pooled { "row pooled" } else { "row" }, parts)
}

/// A sign beside the colour, which not everybody sees.
pub(super) fn mark(change: Change) -> &'static str {
    match change {
        Change::Gain => "▲",
        Change::Loss => "▼",
        Change::NotMeasurable => "○",
    }
}
