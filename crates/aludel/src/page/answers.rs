//! Chosen problems with both models' answers side by side: some that were won, some lost, some that both get wrong, taken from all
//! tasks in turn. Their number and the length of every text are bounded, so that a report stays small whatever was evaluated.

use super::html::{Html, classed, element, join, text};
use super::{Report, grouped, section};
use aludel_distill::evaluate::compare::{Comparison, Evaluated, TaskComparison};
use aludel_distill::evaluate::results::Sample;
use std::collections::BTreeMap;

/// Problems of each kind, for each comparison.
const SHOWN: usize = 6;
/// Characters shown of a question, an answer, and a model's reasoning.
const QUESTION_LENGTH: usize = 1_500;
const ANSWER_LENGTH: usize = 3_000;
const REASONING_LENGTH: usize = 6_000;

/// The first sample of each problem of one evaluation.
type Samples<'a> = BTreeMap<Key<'a>, &'a Sample>;

/// Problems of every comparison.
pub(super) fn part(report: &Report<'_>) -> Html {
    let Some((baseline, others)) = report.evaluated.split_first() else { return Html::default() };
    let before = first_samples(baseline);
    let parts = report.comparisons.iter().zip(others).map(|(comparison, other)| {
        let after = first_samples(other);
        let shown = kinds(comparison).map(|(heading, class, problems)| {
            let cards = problems.iter().take(SHOWN).filter_map(|key| {
                let (before, after) = (before.get(key)?, after.get(key)?);
                Some(problem(before, after, comparison))
            });
            let cards: Html = cards.collect();
            if cards == Html::default() {
                return Html::default();
            }
            let count = classed("small", "n", text(&count(problems.len())));
            join([element("h3", &[("class", class)], join([text(heading), count])), cards])
        });
        let name = match report.comparisons.len() {
            1 => Html::default(),
            _ => classed("p", "lead", text(&format!("{} against {}", comparison.model, comparison.baseline))),
        };
        join([name, shown.into_iter().collect()])
    });
    section(
        "Problems",
        "Each opens to both answers; reasoning is folded. Where there are several samples, the first is shown.",
        parts.collect(),
    )
}

fn count(problems: usize) -> String {
    match problems {
        problems if problems > SHOWN => format!("{SHOWN} of {}", grouped(problems as u64)),
        problems => problems.to_string(),
    }
}

fn first_samples(evaluated: &Evaluated) -> Samples<'_> {
    let mut first: Samples<'_> = BTreeMap::new();
    for sample in &evaluated.samples {
        let kept = first.entry((&sample.task, &sample.problem)).or_insert(sample);
        if sample.sample < kept.sample {
            *kept = sample;
        }
    }
    first
}

/// A problem's task and id.
type Key<'a> = (&'a str, &'a str);

/// Heading, class and problems of each kind, the tasks in turn.
fn kinds(comparison: &Comparison) -> [(&'static str, &'static str, Vec<Key<'_>>); 3] {
    let keys = |of: fn(&TaskComparison) -> &Vec<String>| {
        let lists = comparison.tasks.iter().map(|task| of(task).iter().map(|id| (&*task.name, &**id)).collect());
        in_turn(lists.collect())
    };
    [
        ("Won", "gain", keys(|task| &task.won)),
        ("Lost", "loss", keys(|task| &task.lost)),
        ("Both wrong", "level", keys(|task| &task.both_wrong)),
    ]
}

/// The first of each list, then the second of each, and so on.
fn in_turn<T: Copy>(lists: Vec<Vec<T>>) -> Vec<T> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|index| lists.iter().filter_map(move |list| list.get(index).copied())).collect()
}

fn problem(before: &Sample, after: &Sample, comparison: &Comparison) -> Html {
    let head = join([
        classed("span", "tag", text(&before.task)),
        classed("span", "question", text(&shortened(&before.question, 160))),
    ]);
    let gold = join([text("Right answer: "), element("b", &[], text(&shortened(&before.gold, 200)))]);
    let answers = join([answer(&comparison.baseline, before), answer(&comparison.model, after)]);
    let content = join([
        element("p", &[("class", "foreign"), ("dir", "auto")], text(&shortened(&before.question, QUESTION_LENGTH))),
        element("p", &[("dir", "auto")], gold),
        classed("div", "pair", answers),
    ]);
    element("details", &[("class", "problem")], join([element("summary", &[("dir", "auto")], head), content]))
}

fn answer(model: &str, sample: &Sample) -> Html {
    let (class, mark) = match (sample.correct, sample.undecided) {
        (true, _) => ("gain", "✓ right"),
        (false, true) => ("level", "? undecided"),
        (false, false) => ("loss", "✗ wrong"),
    };
    let mut marks = vec![mark.to_owned()];
    match &sample.extracted {
        Some(answer) => marks.push(format!("answered {}", shortened(answer, 80))),
        None => marks.push("no answer found".to_owned()),
    }
    marks.extend(sample.truncated.then(|| "cut".to_owned()));
    marks.extend(sample.looping.then(|| "looping".to_owned()));
    let reasoning = sample.reasoning.as_ref().filter(|reasoning| !reasoning.trim().is_empty()).map(|reasoning| {
        let tokens = format!("reasoning, {} tokens", grouped(sample.thinking_tokens));
        let thought = foreign(&shortened(reasoning, REASONING_LENGTH));
        element("details", &[("class", "thought")], join([element("summary", &[], text(&tokens)), thought]))
    });
    let parts = join([
        element("h4", &[], text(model)),
        element("p", &[("class", class), ("dir", "auto")], text(&marks.join(" · "))),
        reasoning.unwrap_or_default(),
        foreign(&shortened(&sample.content, ANSWER_LENGTH)),
    ]);
    classed("div", "answer", parts)
}

fn foreign(words: &str) -> Html {
    match words.trim() {
        "" => classed("p", "note", text("(nothing)")),
        words => element("div", &[("class", "foreign"), ("dir", "auto")], text(words)),
    }
}

/// At most so many characters, and how many more there are.
fn shortened(words: &str, length: usize) -> String {
    match words.char_indices().nth(length) {
        None => words.to_owned(),
        Some((end, _)) => {
            let more = words[end..].chars().count();
            format!("{} … ({} more characters)", &words[..end], grouped(more as u64))
        }
    }
}
