//! What the student answered to the recipe's sample prompts while it was trained, from the start to the end. The texts are those of the
//! run's record, letter for letter.

use super::html::{Html, classed, element, join, text};
use super::section;
use super::training::Run;
use crate::humanize::grouped;
use aludel_distill::metrics::{SampleAnswer, SampleRecord};

/// The sample answers of all runs that have some.
pub(super) fn part(runs: &[Run]) -> Html {
    let asked: Vec<&Run> = runs.iter().filter(|run| !run.samples.is_empty()).collect();
    if asked.is_empty() {
        return Html::default();
    }
    let lead = "What the student answered while it was trained, greedily, with the adapter as it was after that number of steps.";
    section("Sample answers while training", lead, asked.into_iter().map(run).collect())
}

fn run(run: &Run) -> Html {
    let mut prompts: Vec<&str> = Vec::new();
    for sample in run.samples.iter().flat_map(|record| &record.samples) {
        if !prompts.contains(&sample.prompt.as_str()) {
            prompts.push(&sample.prompt);
        }
    }
    let questions = prompts.into_iter().map(|prompt| question(prompt, &run.samples)).collect();
    join([element("h3", &[], text(&run.name)), questions])
}

/// A question, and the answer at each step, folded.
fn question(prompt: &str, records: &[SampleRecord]) -> Html {
    let answers = records.iter().flat_map(|record| {
        record.samples.iter().filter(|sample| sample.prompt == prompt).map(|sample| answer(record.step, sample))
    });
    let summary = element("summary", &[], text(prompt));
    element("details", &[], join([summary, answers.collect()]))
}

fn answer(step: u64, sample: &SampleAnswer) -> Html {
    let cut = if sample.truncated { ", cut" } else { "" };
    let reasoning = sample.reasoning.as_deref().map_or_else(Html::default, |reasoning| {
        join([classed("p", "who", text("reasoning")), classed("pre", "foreign", text(reasoning))])
    });
    join([
        classed("p", "who", text(&format!("after step {}: {} tokens{cut}", grouped(step), grouped(sample.tokens)))),
        reasoning,
        classed("pre", "foreign", text(&sample.content)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_has_its_answers_in_the_order_of_the_steps() {
        let folder = tempfile::tempdir().unwrap();
        let record = |step: u64, content: &str| {
            serde_json::json!({"step": step, "epoch": 0.0, "sample_seconds": 0.5, "samples": [
                {"prompt": "1+1?", "reasoning": null, "content": content, "tokens": 9, "truncated": true},
                {"prompt": "<b>?", "reasoning": "let me see", "content": "no", "tokens": 4, "truncated": false},
            ]})
        };
        let lines = format!("{}\n{}\n", record(0, "<script>"), record(6, "2"));
        std::fs::write(folder.path().join("metrics.jsonl"), lines).unwrap();
        let runs = [Run::read(folder.path()).unwrap()];
        let page = part(&runs).into_string();
        let places: Vec<usize> = [
            "<summary>1+1?</summary>",
            "after step 0: 9 tokens, cut",
            "&lt;script&gt;",
            "after step 6: 9 tokens, cut",
            ">2</pre>",
            "<summary>&lt;b&gt;?</summary>",
            "after step 0: 4 tokens<",
            "let me see",
        ]
        .iter()
        .map(|text| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}")))
        .collect();
        assert!(places.is_sorted(), "{places:?}");
        std::fs::write(folder.path().join("metrics.jsonl"), "").unwrap();
        assert_eq!(part(&[Run::read(folder.path()).unwrap()]), Html::default());
    }
}
