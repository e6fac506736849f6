//! The first section of the page: the verdict on each model, the tasks by their change, and settings that differ between the evaluations.

use super::forest_plot::mark;
use super::html::{Html, classed, element, join, text};
use super::{Report, change_class, grouped, percent};
use aludel_distill::evaluate::compare::{Change, Comparison, TaskComparison, p_value, points, scores};

/// The head of the page.
pub(super) fn part(report: &Report<'_>) -> Html {
    let kicker = classed("p", "kicker", text("Aludel · is the student better?"));
    let baseline = report.comparisons.first().map_or("", |comparison| comparison.baseline.as_str());
    let title = match report.comparisons.len() {
        1 => Html::default(),
        several => element("h1", &[], text(&format!("{several} models against {baseline}"))),
    };
    let verdicts = report.comparisons.iter().map(|comparison| verdict(comparison, report.comparisons.len() > 1));
    element("header", &[], join([kicker, title, verdicts.collect()]))
}

fn verdict(comparison: &Comparison, is_one_of_several: bool) -> Html {
    let verdict = &comparison.verdict;
    let class = change_class(verdict.change);
    let word = match verdict.change {
        Change::Gain => "A gain",
        Change::Loss => "A loss",
        Change::NotMeasurable => "No measurable gain",
    };
    let heading = if is_one_of_several { "h2" } else { "h1" };
    let badge = format!("{} {word}", mark(verdict.change));
    // The badge and the heading have said what it begins with.
    let said = ["no measurable gain: ", "it got worse: "];
    let rest = said.iter().find_map(|said| verdict.sentence.strip_prefix(said)).unwrap_or(&verdict.sentence);
    let against = join([text("against "), element("b", &[], text(&comparison.baseline)), text(": "), text(rest)]);
    let parts = join([
        element("p", &[("class", &format!("badge {class}"))], text(&badge)),
        element(heading, &[("class", "sentence")], text(&sentence(comparison))),
        classed("p", "lead", against),
        figures(comparison),
        tasks(comparison, if is_one_of_several { "h3" } else { "h2" }),
        differs(comparison, if is_one_of_several { "h3" } else { "h2" }),
    ]);
    classed("div", "verdict", parts)
}

/// The verdict in a few words.
fn sentence(comparison: &Comparison) -> String {
    let size = 100.0 * comparison.pooled.difference.abs();
    let decimals = usize::from(size < 10.0);
    match comparison.verdict.change {
        Change::Gain => format!("{} is {size:.decimals$} points better", comparison.model),
        Change::Loss => format!("{} is {size:.decimals$} points worse", comparison.model),
        Change::NotMeasurable => format!("{} is not measurably better", comparison.model),
    }
}

/// The figures of all problems together.
fn figures(comparison: &Comparison) -> Html {
    let pooled = &comparison.pooled;
    let decimals = usize::from((pooled.difference * 100.0).abs() < 10.0);
    let signed = |share: f64| format!("{:+.decimals$}", 100.0 * share).replace('-', "−");
    let [low, high] = pooled.ci95.map(signed);
    let count = |of: fn(&TaskComparison) -> usize| grouped(comparison.tasks.iter().map(of).sum::<usize>() as u64);
    let tasks = match comparison.tasks.len() {
        1 => "in one task".to_owned(),
        several => format!("in {several} tasks"),
    };
    let facts = [
        ("Right answers", format!("{} → {}", percent(pooled.before), percent(pooled.after)), String::new()),
        ("Points", signed(pooled.difference), format!("[{low}, {high}], {}", p_value(pooled.p))),
        ("Won", count(|task| task.won.len()), "problems".to_owned()),
        ("Lost", count(|task| task.lost.len()), "problems".to_owned()),
        ("Asked", grouped(pooled.n as u64), format!("problems {tasks}")),
    ];
    let cells = facts.iter().map(|(name, value, note)| {
        let value = join([element("b", &[], text(value)), classed("small", "n", text(note))]);
        element("div", &[], join([element("dt", &[], text(name)), element("dd", &[], value)]))
    });
    classed("dl", "figures", cells.collect())
}

/// Every task, by its change.
fn tasks(comparison: &Comparison, heading: &'static str) -> Html {
    let groups = [("Gained", Change::Gain), ("Forgotten", Change::Loss), ("Unclear", Change::NotMeasurable)];
    let lists = groups.into_iter().map(|(name, change)| {
        let tasks: Vec<&TaskComparison> = comparison.tasks.iter().filter(|task| task.change == change).collect();
        if tasks.is_empty() {
            return Html::default();
        }
        let count = classed("small", "n", text(&tasks.len().to_string()));
        let class = format!("group-head {}", change_class(change));
        let head = element(heading, &[("class", &class)], join([text(name), count]));
        let items = tasks.iter().map(|task| {
            let clause = scores(&task.name, &task.difference);
            // The name is bold and before the numbers, as on the terminal.
            let figures = clause.strip_prefix(&format!("{}: ", task.name)).unwrap_or(&clause);
            let points = points(&task.difference, task.p_holm);
            let figures = join([figures, &points].map(|words| element("span", &[], text(words))));
            element("li", &[], join([element("b", &[], text(&task.name)), classed("span", "figure", figures)]))
        });
        classed("div", "group", join([head, element("ul", &[], items.collect())]))
    });
    classed("div", "groups", lists.collect())
}

fn differs(comparison: &Comparison, heading: &'static str) -> Html {
    if comparison.differs.is_empty() {
        return Html::default();
    }
    let items = comparison.differs.iter().map(|line| element("li", &[], text(line))).collect();
    let head = element(heading, &[("class", "group-head level")], text("Not the same in both"));
    classed("div", "differs", join([head, element("ul", &[], items)]))
}
