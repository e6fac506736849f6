//! `report.html`: one file that needs nothing else, no network and no script, to be read on a phone as well. This file has the page's
//! frame and the order of its parts; each part has a file of its own, and all text passes through `html`.

mod answers;
mod axis;
mod chart;
mod footer;
mod forest_plot;
mod formulas;
mod html;
mod markdown;
mod mathml;
mod plot;
mod problem_card;
mod reasoning_lengths;
mod samples;
mod scores;
mod training;
mod verdict;

use crate::humanize::grouped;
use aludel_distill::evaluate::compare::{Change, Comparison, Evaluated};
use aludel_distill::provenance::Provenance;
use html::{Html, classed, element, join, literal, text};
pub(crate) use training::Run;

/// The content of a report.
pub(crate) struct Report<'a> {
    /// The evaluations, the baseline first.
    pub(crate) evaluated: &'a [Evaluated],
    /// Each of the others against it.
    pub(crate) comparisons: &'a [Comparison],
    /// Runs of training.
    pub(crate) runs: &'a [Run],
    /// What made this report.
    pub(crate) made_by: &'a Provenance,
}

/// Nothing may be loaded, sent or run; only the page's own style applies.
const HEAD: &str = concat!(
    "<meta charset=\"utf-8\">\n",
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; ",
    "base-uri 'none'; form-action 'none'\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<meta name=\"color-scheme\" content=\"light dark\">\n",
    "<meta name=\"referrer\" content=\"no-referrer\">\n",
    "<style>\n",
    include_str!("style.css"),
    "</style>\n"
);

/// The whole file.
pub(crate) fn page(report: &Report<'_>) -> String {
    let title = report.comparisons.first().map_or_else(String::new, |comparison| comparison.verdict.sentence.clone());
    let head = join([literal(HEAD), element("title", &[], text(&title))]);
    let parts = [
        verdict::part(report),
        forest_plot::part(report),
        scores::part(report),
        training::part(report.runs),
        samples::part(report.runs),
        reasoning_lengths::part(report.evaluated),
        answers::part(report),
        footer::part(report),
    ];
    let body = element("main", &[], parts.into_iter().collect());
    let html = element("html", &[("lang", "en")], join([element("head", &[], head), element("body", &[], body)]));
    format!("<!doctype html>\n{}\n", html.into_string())
}

/// A part of the page, with a heading and what it means in a sentence or two.
fn section(heading: &str, lead: &str, content: Html) -> Html {
    laid_out("part", heading, lead, content)
}

/// A part that takes the whole width.
fn wide_section(heading: &str, lead: &str, content: Html) -> Html {
    laid_out("part whole", heading, lead, content)
}

fn laid_out(class: &'static str, heading: &str, lead: &str, content: Html) -> Html {
    let lead = if lead.is_empty() { Html::default() } else { classed("p", "lead", text(lead)) };
    let head = classed("div", "head", join([element("h2", &[], text(heading)), lead]));
    classed("section", class, join([head, classed("div", "content", content)]))
}

/// Which colour a model has everywhere in the page: the baseline the first.
fn colour(index: usize) -> &'static str {
    ["m0", "m1", "m2", "m3", "m4"][index.min(4)]
}

/// Which colour a change has everywhere in the page.
fn change_class(change: Change) -> &'static str {
    match change {
        Change::Gain => "gain",
        Change::Loss => "loss",
        Change::NotMeasurable => "level",
    }
}

/// A share in readable form.
fn percent(share: f64) -> String {
    match 100.0 * share {
        share if share > 0.0 && share < 1.0 => format!("{share:.1}%"),
        share => format!("{share:.0}%"),
    }
}

/// At most this number of characters, and how many more there are.
fn shortened(words: &str, length: usize) -> String {
    match words.char_indices().nth(length) {
        None => words.to_owned(),
        Some((end, _)) => {
            let more = words[end..].chars().count();
            format!("{} … ({} more characters)", &words[..end], grouped(more as u64))
        }
    }
}
