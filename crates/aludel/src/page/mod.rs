//! `report.html`: one file that needs nothing else, no network and no script, to be read on a phone as well. This file has the page's
//! frame and the order of its parts; each part has a file of its own, and all text passes through `html`.

mod answers;
mod chart;
mod html;
mod lengths;
mod samples;
mod scores;
mod training;
mod verdict;

use aludel_distill::evaluate::compare::{Comparison, Evaluated};
use html::{Html, classed, element, join, literal, text};
pub(crate) use training::Run;

/// All that a report tells of.
pub(crate) struct Report<'a> {
    /// The evaluations, the baseline first.
    pub(crate) evaluated: &'a [Evaluated],
    /// Each of the others against it.
    pub(crate) comparisons: &'a [Comparison],
    /// Runs of training.
    pub(crate) runs: &'a [Run],
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
        scores::part(report),
        answers::part(report),
        lengths::part(report.evaluated),
        training::part(report.runs),
        samples::part(report.runs),
        verdict::colophon(report),
    ];
    let body = element("main", &[], parts.into_iter().collect());
    let html = element("html", &[("lang", "en")], join([element("head", &[], head), element("body", &[], body)]));
    format!("<!doctype html>\n{}\n", html.into_string())
}

/// A part of the page, with a heading and what it means in a sentence or two.
fn section(heading: &str, lead: &str, content: Html) -> Html {
    let lead = if lead.is_empty() { Html::default() } else { classed("p", "lead", text(lead)) };
    element("section", &[], join([element("h2", &[], text(heading)), lead, content]))
}

/// Which colour a model has everywhere in the page: the baseline the first.
fn colour(index: usize) -> &'static str {
    ["m0", "m1", "m2", "m3", "m4"][index.min(4)]
}

/// A share as people read it.
fn percent(share: f64) -> String {
    match 100.0 * share {
        share if share > 0.0 && share < 1.0 => format!("{share:.1}%"),
        share => format!("{share:.0}%"),
    }
}

/// A number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
