//! Lengths of the models' reasoning: a histogram for each model, over one axis.

use super::chart;
use super::html::{Html, classed, join, text};
use super::{colour, percent, section};
use aludel_distill::evaluate::compare::Evaluated;
use aludel_distill::evaluate::results::Sample;

const BARS: usize = 30;

/// The histograms: of reasoning, or of whole answers where no model marks its reasoning.
pub(super) fn part(evaluated: &[Evaluated]) -> Html {
    let any_reasoning = evaluated.iter().flat_map(|one| &one.samples).any(|sample| sample.thinking_tokens > 0);
    let (heading, length_of): (_, fn(&Sample) -> u64) = match any_reasoning {
        true => ("Length of the reasoning", |sample| sample.thinking_tokens),
        false => ("Length of the answers", |sample| sample.completion_tokens),
    };
    let lengths: Vec<Vec<u64>> = evaluated.iter().map(|one| one.samples.iter().map(length_of).collect()).collect();
    let longest = lengths.iter().flatten().copied().max().unwrap_or(0);
    if longest == 0 {
        return Html::default();
    }
    let width = (longest + 1).div_ceil(BARS as u64);
    let counts: Vec<[usize; BARS]> = lengths
        .iter()
        .map(|lengths| {
            let mut counts = [0; BARS];
            lengths.iter().for_each(|length| counts[(length / width) as usize] += 1);
            counts
        })
        .collect();
    let most = counts.iter().flatten().copied().max().unwrap_or(0);
    let drawn = evaluated.iter().zip(&lengths).zip(&counts).enumerate().map(|(index, ((one, lengths), counts))| {
        let mean = lengths.iter().sum::<u64>() as f64 / lengths.len().max(1) as f64;
        let cut = one.samples.iter().filter(|sample| sample.truncated).count() as f64 / one.samples.len().max(1) as f64;
        let said = format!("{}: {mean:.0} tokens in the mean, {} cut", one.label, percent(cut));
        let end = (width * BARS as u64) as f64;
        let histogram = chart::histogram(counts, most, end, colour(index), &said);
        classed("div", "small-multiple", join([classed("p", "who", text(&said)), histogram]))
    });
    let lead = "How many samples are how long, in tokens. All models share both axes.";
    section(heading, lead, classed("div", "multiples", drawn.collect()))
}
