//! One problem with both models' answers side by side, folded. `answers` selects the problems and the amount of detail.

use super::formulas::{set_answer, set_beginning};
use super::html::{Html, classed, element, join, text};
use super::markdown::set_shortened;
use super::{grouped, shortened};
use aludel_distill::evaluate::compare::Comparison;
use aludel_distill::evaluate::results::Sample;

/// Characters of the question in the folded card.
const SUMMARY: usize = 160;

/// Characters that are shown of a question, an answer and a model's reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Detail {
    pub(super) question: usize,
    pub(super) answer: usize,
    pub(super) reasoning: usize,
}

/// The problem with what was answered before and after.
pub(super) fn card(before: &Sample, after: &Sample, comparison: &Comparison, detail: Detail) -> Html {
    let head = join([
        classed("span", "tag", text(&before.task)),
        classed("span", "question", set_beginning(&before.question, SUMMARY)),
    ]);
    let gold = join([text("Right answer: "), element("b", &[], set_answer(&shortened(&before.gold, 200)))]);
    let answers = join([answer(&comparison.baseline, before, detail), answer(&comparison.model, after, detail)]);
    let content = join([
        foreign(&before.question, detail.question),
        element("p", &[("dir", "auto")], gold),
        classed("div", "pair", answers),
    ]);
    element("details", &[("class", "problem")], join([element("summary", &[("dir", "auto")], head), content]))
}

fn answer(model: &str, sample: &Sample, detail: Detail) -> Html {
    let (class, mark) = match (sample.correct, sample.undecided) {
        (true, _) => ("gain", "✓ right"),
        (false, true) => ("level", "? undecided"),
        (false, false) => ("loss", "✗ wrong"),
    };
    let answered = match &sample.extracted {
        Some(answer) => join([text(" · answered "), set_answer(&shortened(answer, 80))]),
        None => text(" · no answer found"),
    };
    let mut notes = String::new();
    for (is_so, note) in [(sample.truncated, " · cut"), (sample.looping, " · looping")] {
        notes.push_str(if is_so { note } else { "" });
    }
    let reasoning = sample.reasoning.as_ref().filter(|reasoning| !reasoning.trim().is_empty()).map(|reasoning| {
        let tokens = format!("reasoning, {} tokens", grouped(sample.thinking_tokens));
        match detail.reasoning {
            0 => classed("p", "note", text(&format!("{tokens}, left out"))),
            length => {
                let thought = foreign(reasoning, length);
                element("details", &[("class", "thought")], join([element("summary", &[], text(&tokens)), thought]))
            }
        }
    });
    let parts = join([
        classed("p", "model", text(model)),
        element("p", &[("class", class), ("dir", "auto")], join([text(mark), answered, text(&notes)])),
        reasoning.unwrap_or_default(),
        foreign(&sample.content, detail.answer),
    ]);
    classed("div", "answer", parts)
}

fn foreign(words: &str, length: usize) -> Html {
    match words.trim() {
        "" => classed("p", "note", text("(nothing)")),
        words => element("div", &[("class", "foreign"), ("dir", "auto")], set_shortened(words, length)),
    }
}
