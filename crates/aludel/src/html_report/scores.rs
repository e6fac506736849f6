//! Each task's scores with their confidence intervals, one line for each model; the numbers of problems won and lost; and further
//! statistics: votes, truncated and looping answers, lengths, speed.

use super::chart;
use super::html::{Html, classed, element, join, literal, text};
use super::{Report, change_class, colour, grouped, percent, section, wide_section};
use aludel_distill::evaluate::compare::{Comparison, Evaluated, TaskComparison, points};
use aludel_distill::evaluate::results::TaskResult;

/// The scores of all tasks of the baseline, then those that only others have.
pub(super) fn part(report: &Report<'_>) -> Html {
    let mut names: Vec<&str> = Vec::new();
    for task in report.evaluated.iter().flat_map(|evaluated| &evaluated.results.tasks) {
        if !names.contains(&task.name.as_str()) {
            names.push(&task.name);
        }
    }
    let tasks = names.iter().map(|name| task(report, name));
    let lead = "Share of right answers. The dot is the score, the bar its 95% interval. The band below counts problems: won, lost, right \
                both times, wrong both times.";
    let scores = section("Scores", lead, classed("div", "tasks", tasks.collect()));
    join([scores, wide_section("Beside the score", "", table(report, &names))])
}

fn result<'a>(evaluated: &'a Evaluated, name: &str) -> Option<&'a TaskResult> {
    evaluated.results.tasks.iter().find(|task| task.name == name)
}

fn task(report: &Report<'_>, name: &str) -> Html {
    let lanes = report.evaluated.iter().enumerate().filter_map(|(index, evaluated)| {
        let task = result(evaluated, name)?;
        let [low, high] = task.ci95.map(|share| format!("{:.0}", 100.0 * share));
        let value = format!("{} [{low}, {high}]", percent(task.pass_at_1));
        let said = format!("{}: {value}", evaluated.label);
        let parts = join([
            classed("span", "who", text(&evaluated.label)),
            classed("span", "value", text(&value)),
            chart::score(task.pass_at_1, task.ci95, colour(index), &said),
        ]);
        Some(classed("div", "lane", parts))
    });
    let problems = report.evaluated.iter().find_map(|evaluated| result(evaluated, name)).map_or(0, |task| task.n);
    let heading = join([text(name), classed("small", "n", text(&format!("{} problems", grouped(problems as u64))))]);
    let compared = report.comparisons.iter().filter_map(|comparison| {
        let task = comparison.tasks.iter().find(|task| task.name == name)?;
        Some(compared(comparison, task, report.comparisons.len() > 1))
    });
    let parts = join([element("h3", &[], heading), lanes.collect(), chart::score_axis(), compared.collect()]);
    classed("div", "task", parts)
}

fn compared(comparison: &Comparison, task: &TaskComparison, names_model: bool) -> Html {
    let class = change_class(task.change);
    let model = if names_model { format!("{}: ", comparison.model) } else { String::new() };
    let counts = [
        ("won", "won", task.won.len()),
        ("lost", "lost", task.lost.len()),
        ("right", "right as before", task.as_before),
        ("wrong", "both wrong", task.both_wrong.len()),
    ];
    let words: Vec<String> = counts.iter().map(|(_, words, count)| format!("{count} {words}")).collect();
    let legend = counts.iter().zip(&words).map(|((class, ..), words)| {
        let swatch = element("i", &[("class", class)], Html::default());
        element("li", &[], join([swatch, text(words)]))
    });
    let bars: Vec<(&'static str, usize)> = counts.iter().map(|&(class, _, count)| (class, count)).collect();
    join([
        classed("p", class, text(&format!("{model}{}", points(&task.difference, task.p_holm)))),
        chart::parts(&bars, &words.join(", ")),
        classed("ul", "legend", legend.collect()),
    ])
}

/// Heads of the table behind task and model.
const HEADS: [&str; 9] =
    ["pass@1", "maj@k", "pass@k", "cut", "looping", "no answer", "undecided", "thinking", "tokens/s"];

fn table(report: &Report<'_>, names: &[&str]) -> Html {
    let column = |head: &str| element("th", &[("scope", "col")], text(head));
    let head = element("tr", &[], ["task", "model"].iter().chain(&HEADS).map(|head| column(head)).collect());
    let bodies = names.iter().map(|name| {
        let models: Vec<(usize, &Evaluated, &TaskResult)> = report
            .evaluated
            .iter()
            .enumerate()
            .filter_map(|(index, evaluated)| Some((index, evaluated, result(evaluated, name)?)))
            .collect();
        let count = models.len().to_string();
        let rows = models.iter().enumerate().map(|(row, &(index, evaluated, task))| {
            let model = join([element("i", &[("class", colour(index))], Html::default()), text(&evaluated.label)]);
            let task_name = match row {
                0 => element("th", &[("scope", "rowgroup"), ("rowspan", &count)], text(name)),
                _ => Html::default(),
            };
            let cells = cells(task).into_iter().map(|cell| element("td", &[], text(&cell)));
            join([task_name, element("th", &[("scope", "row")], model), cells.collect()])
        });
        element("tbody", &[], rows.map(|row| element("tr", &[], row)).collect())
    });
    let content = join([element("thead", &[], head), bodies.collect()]);
    let note = literal(
        "<p class=\"note\">Thinking: tokens of reasoning, mean (median · 90th percentile). Cut: stopped at the most tokens. \
         Undecided: could not be compared with the right answer, and counts as not right.</p>",
    );
    let scrolled =
        [("class", "wide"), ("tabindex", "0"), ("role", "region"), ("aria-label", "Beside the score, as a table")];
    join([element("div", &scrolled, element("table", &[], content)), note])
}

/// The cells for the columns of [`HEADS`].
fn cells(task: &TaskResult) -> [String; 9] {
    let percentiles = task.thinking_tokens_percentiles;
    let is_counted = task.mean_completion_tokens > 0.0 || task.mean_thinking_tokens > 0.0;
    let thinking = format!("{:.0} ({} · {})", task.mean_thinking_tokens, percentiles.p50, percentiles.p90);
    [
        percent(task.pass_at_1),
        percent(task.maj_at_k),
        percent(task.pass_at_k),
        percent(task.truncated),
        percent(task.looping),
        percent(task.no_answer),
        percent(task.undecided),
        if is_counted { thinking } else { "–".to_owned() },
        task.tokens_per_second.map_or_else(|| "–".to_owned(), |speed| format!("{speed:.0}")),
    ]
}
