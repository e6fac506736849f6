//! The problems that are shown: all that were won, all that were lost, and those that both models get wrong or right, in folded pages. The
//! size of a report is bounded: if necessary, texts are shortened first, then problems are left out, unchanged ones before others, and the
//! page states it.

use super::html::{Html, classed, element, join, text};
use super::problem_card::{Detail, card};
use super::{Report, grouped, section};
use aludel_distill::evaluate::compare::{Comparison, Evaluated, TaskComparison};
use aludel_distill::evaluate::results::{SAMPLES_FILE_NAME, Sample};
use std::collections::BTreeMap;

/// Problems of each kind that stand open to view; the others are folded.
const SHOWN: usize = 6;
/// Problems of one folded page.
const PAGE: usize = 50;
/// Bytes that all problems of a report may take.
const MOST_BYTES: usize = 2_200_000;

/// From complete texts to the shortest that are useful. The first is for the problems in view.
const DETAILS: [Detail; 4] = [
    Detail { question: 1_500, answer: 3_000, reasoning: 6_000 },
    Detail { question: 1_000, answer: 1_200, reasoning: 1_200 },
    Detail { question: 500, answer: 500, reasoning: 0 },
    Detail { question: 200, answer: 150, reasoning: 0 },
];

/// The first sample of each problem of one evaluation.
type Samples<'a> = BTreeMap<Key<'a>, &'a Sample>;

/// The ids of a task's problems of one kind.
type Ids = fn(&TaskComparison) -> &Vec<String>;

/// A problem's task and id.
type Key<'a> = (&'a str, &'a str);

/// Problems of every comparison.
pub(super) fn part(report: &Report<'_>) -> Html {
    let Some((baseline, others)) = report.evaluated.split_first() else { return Html::default() };
    let before = first_samples(baseline);
    let budget = MOST_BYTES / report.comparisons.len().max(1);
    let parts = report.comparisons.iter().zip(others).map(|(comparison, other)| {
        let after = first_samples(other);
        let name = match report.comparisons.len() {
            1 => Html::default(),
            _ => classed("p", "lead", text(&format!("{} against {}", comparison.model, comparison.baseline))),
        };
        let pair = Pair { before: &before, after: &after, comparison, folders: [baseline, other] };
        join([name, pair.kinds(budget)])
    });
    let lead = "Each opens to both answers; reasoning is folded. Where there are several samples, the first is shown. Formulas that cannot \
                be set stand as they were written.";
    section("Problems", lead, parts.collect())
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

/// A problem's card, and its task.
struct Card<'a> {
    task: &'a str,
    html: Html,
}

/// Two evaluations and their comparison.
struct Pair<'a> {
    before: &'a Samples<'a>,
    after: &'a Samples<'a>,
    comparison: &'a Comparison,
    folders: [&'a Evaluated; 2],
}

impl<'a> Pair<'a> {
    fn kinds(&self, budget: usize) -> Html {
        let kinds: [(&str, &'static str, Ids); 4] = [
            ("Won", "gain", |task| &task.won),
            ("Lost", "loss", |task| &task.lost),
            ("Both wrong", "level", |task| &task.both_wrong),
            ("Both right", "level", |task| &task.both_right),
        ];
        let keys = kinds.map(|(_, _, of)| self.keys(of));
        // What is the same in both says least: none of it stands open to view where both are right.
        let shown = |index: usize| if index == 3 { 0 } else { SHOWN };
        let in_view: Vec<Vec<Card<'a>>> = keys
            .iter()
            .enumerate()
            .map(|(index, keys)| self.cards(keys.iter().take(shown(index)), DETAILS[0]))
            .collect();
        let left = budget.saturating_sub(in_view.iter().map(|cards| size(cards)).sum());
        let [won, lost, wrong, right] = [0, 1, 2, 3].map(|index| keys[index].get(shown(index)..).unwrap_or_default());
        let changed = self.fitting([won, lost], left);
        let same = self.fitting([wrong, right], left.saturating_sub(changed.iter().map(|cards| size(cards)).sum()));
        let folded = changed.into_iter().chain(same);
        let parts = kinds.iter().zip(&keys).zip(in_view).zip(folded).enumerate();
        let parts = parts.map(|(index, (((&(heading, class, _), keys), in_view), folded))| {
            let pages = self.pages(keys.len().saturating_sub(shown(index)), folded, !in_view.is_empty());
            kind(heading, class, keys.len(), in_view, pages)
        });
        parts.collect()
    }

    /// Problems of one kind, the tasks in turn.
    fn keys(&self, of: Ids) -> Vec<Key<'a>> {
        let comparison: &'a Comparison = self.comparison;
        let lists = comparison.tasks.iter().map(|task| of(task).iter().map(|id| (&*task.name, &**id)).collect());
        in_turn(lists.collect())
    }

    fn cards<'k>(&self, keys: impl Iterator<Item = &'k Key<'a>>, detail: Detail) -> Vec<Card<'a>>
    where
        'a: 'k,
    {
        let one = |key: &Key<'a>| {
            let html = card(self.before.get(key)?, self.after.get(key)?, self.comparison, detail);
            Some(Card { task: key.0, html })
        };
        keys.filter_map(one).collect()
    }

    /// The cards of both lists in as much detail as fits, or as many of them in the least detail.
    fn fitting(&self, lists: [&[Key<'a>]; 2], budget: usize) -> [Vec<Card<'a>>; 2] {
        for detail in &DETAILS[1..] {
            let cards = lists.map(|keys| self.cards(keys.iter(), *detail));
            if cards.iter().map(|cards| size(cards)).sum::<usize>() <= budget {
                return cards;
            }
        }
        let least = DETAILS[DETAILS.len() - 1];
        let mut left = budget;
        // What is gained and what is lost get their shares.
        let all: usize = lists.iter().map(|keys| keys.len()).sum();
        lists.map(|keys| {
            let mut share = (budget * keys.len() / all.max(1)).min(left);
            let cards: Vec<Card<'a>> = self
                .cards(keys.iter(), least)
                .into_iter()
                .take_while(|card| {
                    let fits = card.html.len() <= share;
                    share = share.saturating_sub(card.html.len());
                    fits
                })
                .collect();
            left = left.saturating_sub(size(&cards));
            cards
        })
    }

    /// What is not in view, in folded pages task by task, and what was left out; `has_more` says that others stand in view.
    fn pages(&self, wanted: usize, cards: Vec<Card<'a>>, has_more: bool) -> Html {
        let there = cards.len();
        let mut tasks: Vec<(&str, Vec<Html>)> = Vec::new();
        for Card { task, html } in cards {
            match tasks.iter_mut().find(|(name, _)| *name == task) {
                Some((_, cards)) => cards.push(html),
                None => tasks.push((task, vec![html])),
            }
        }
        let pages = tasks.into_iter().flat_map(|(task, cards)| {
            let count = cards.len();
            let mut cards = cards.into_iter();
            (0..count).step_by(PAGE).map(move |first| {
                let page: Html = cards.by_ref().take(PAGE).collect();
                let last = (first + PAGE).min(count);
                let more = if has_more { " more" } else { "" };
                let said = match count {
                    0..=PAGE => format!("{task}: {count}{more}"),
                    _ => format!("{task}: {} to {last} of {}{more}", first + 1, grouped(count as u64)),
                };
                classed("details", "page", join([element("summary", &[], text(&said)), page]))
            })
        });
        let pages: Html = pages.collect();
        let left_out = match wanted.saturating_sub(there) {
            0 => Html::default(),
            missing => {
                let names = self.folders.map(|one| {
                    one.folder.file_name().map_or_else(|| one.label.clone(), |name| name.to_string_lossy().into_owned())
                });
                let said = format!(
                    "{} more do not fit into this page. comparison.json names them; their answers stand in {SAMPLES_FILE_NAME} of {} and {}.",
                    grouped(missing as u64),
                    names[0],
                    names[1]
                );
                classed("p", "note", text(&said))
            }
        };
        join([pages, left_out])
    }
}

fn kind(heading: &str, class: &'static str, count: usize, in_view: Vec<Card<'_>>, folded: Html) -> Html {
    if count == 0 {
        return Html::default();
    }
    let count = classed("small", "n", text(&grouped(count as u64)));
    let in_view: Html = in_view.into_iter().map(|card| card.html).collect();
    join([element("h3", &[("class", class)], join([text(heading), count])), in_view, folded])
}

fn size(cards: &[Card<'_>]) -> usize {
    cards.iter().map(|card| card.html.len()).sum()
}

/// The first of each list, then the second of each, and so on.
fn in_turn<T: Copy>(lists: Vec<Vec<T>>) -> Vec<T> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|index| lists.iter().filter_map(move |list| list.get(index).copied())).collect()
}
