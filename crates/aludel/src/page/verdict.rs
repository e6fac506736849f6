//! What the page says first: the verdict on each model, what was gained and forgotten, and what was not the same in both evaluations;
//! and what it says last: when, where and how the models were asked.

use super::html::{Html, classed, element, join, text};
use super::{Report, grouped};
use crate::figures::duration;
use aludel_distill::evaluate::compare::{Change, Comparison, Evaluated, points};
use aludel_distill::evaluate::results::{Sample, TaskResult};
use std::path::Path;

/// The head of the page.
pub(super) fn part(report: &Report<'_>) -> Html {
    let kicker = classed("p", "kicker", text("Aludel · is the student better?"));
    let verdicts = report.comparisons.iter().map(|comparison| verdict(comparison, report.comparisons.len() > 1));
    element("header", &[], join([kicker, verdicts.collect()]))
}

fn verdict(comparison: &Comparison, is_one_of_several: bool) -> Html {
    let verdict = &comparison.verdict;
    let (class, word) = match verdict.change {
        Change::Gain => ("gain", "A gain"),
        Change::Loss => ("loss", "A loss"),
        Change::NotMeasurable => ("level", "No measurable gain"),
    };
    let heading = if is_one_of_several { "h2" } else { "h1" };
    let sentence =
        verdict.sentence.strip_prefix("no measurable gain: ").or(verdict.sentence.strip_prefix("it got worse: "));
    let sentence = sentence.unwrap_or(&verdict.sentence);
    let who = join([
        element("b", &[], text(&comparison.model)),
        text(" against "),
        element("b", &[], text(&comparison.baseline)),
        text(&format!(": {}.", points(&comparison.pooled, comparison.pooled.p))),
    ]);
    let parts = join([
        classed("p", class, text(word)),
        element(heading, &[("class", "sentence")], text(sentence)),
        classed("p", "lead", who),
        listed("Gained", "gain", &verdict.gained, comparison.tasks.len() > 1),
        listed("Forgotten", "loss", &verdict.forgotten, true),
        listed("Not the same in both", "level", &comparison.differs, true),
    ]);
    classed("div", "verdict", parts)
}

fn listed(heading: &str, class: &'static str, lines: &[String], is_wanted: bool) -> Html {
    if lines.is_empty() || !is_wanted {
        return Html::default();
    }
    let items = lines.iter().map(|line| element("li", &[], text(line))).collect();
    join([element("h3", &[("class", class)], text(heading)), element("ul", &[], items)])
}

/// The foot of the page.
pub(super) fn colophon(report: &Report<'_>) -> Html {
    let lead = "Differences are paired: both models answer the same problems. Intervals hold 95%: Wilson's for scores, a normal one for \
                differences, over problems with all of their wordings and samples; p is that of a sign-flip test. A task is called gained or forgotten only if it is after Holm's correction for \
                the number of tasks, and that is the p that stands beside it.";
    let rows = report.evaluated.iter().map(asked);
    let list = classed("div", "cards", rows.collect());
    super::section("How it was measured", lead, list)
}

fn asked(evaluated: &Evaluated) -> Html {
    let results = &evaluated.results;
    let model = &results.model;
    let settings = &results.settings;
    let sampling = match settings.temperature {
        0.0 => "greedy".to_owned(),
        temperature => format!("temperature {temperature}, top-p {}", settings.top_p),
    };
    // Where a file lies is nobody's business but its owner's; its name is enough.
    let name_of = |path: &String| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    let facts = [
        ("model", model.path.as_ref().and_then(name_of).or_else(|| model.served.clone())),
        ("server", model.endpoint.clone()),
        ("adapter", model.adapter.as_ref().and_then(name_of)),
        ("samples", Some(format!("{} of each problem, {sampling}", settings.samples))),
        ("at most", Some(format!("{} new tokens", grouped(settings.max_new_tokens as u64)))),
        ("dtype", settings.dtype.clone()),
        ("tokens", tokens(evaluated)),
        ("time", time(evaluated)),
        ("machine", results.machine.clone()),
        ("date", Some(results.date.clone())),
        ("aludel", Some(results.version.clone())),
    ];
    classed("div", "card", join([element("h3", &[], text(&evaluated.label)), facts_list(&facts)]))
}

/// Tokens of all questions and answers, where they were counted.
fn tokens(evaluated: &Evaluated) -> Option<String> {
    let sum = |of: fn(&Sample) -> u64| evaluated.samples.iter().map(of).sum::<u64>();
    let (asked, answered) = (sum(|sample| sample.prompt_tokens), sum(|sample| sample.completion_tokens));
    (answered > 0).then(|| format!("{} asked, {} answered", grouped(asked), grouped(answered)))
}

/// How long the answers took, at the speed of the last session: a resumed evaluation does not know the others'.
fn time(evaluated: &Evaluated) -> Option<String> {
    let of_task = |task: &TaskResult| {
        let samples = evaluated.samples.iter().filter(|sample| sample.task == task.name);
        let tokens: u64 = samples.map(|sample| sample.completion_tokens).sum();
        Some(tokens as f64 / task.tokens_per_second.filter(|rate| *rate > 0.0)?)
    };
    let seconds: Option<f64> = evaluated.results.tasks.iter().map(of_task).sum();
    Some(format!("{} for the answers", duration(seconds?)))
}

/// Names and values, those that are known.
pub(super) fn facts_list(facts: &[(&str, Option<String>)]) -> Html {
    let known = facts.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let pairs = known.map(|(name, value)| join([element("dt", &[], text(name)), element("dd", &[], text(value))]));
    element("dl", &[], pairs.collect())
}
