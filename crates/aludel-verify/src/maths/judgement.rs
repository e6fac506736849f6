//! The verdict on an answer, by value and by what is asked for beside it: evaluated, in lowest terms, in a unit, in an order. The first
//! of these that is not met is said in words. Each of them has a file of its own.

use super::answer_format::AnswerFormat;
use super::comparison::percentage;
use super::lowest_terms::{self, Form};
use super::order::Order;
use super::reading::answer;
use super::reading::extract::{extract, extract_marked};
use super::{evaluated, restated, verdict};
use crate::Verdict;

/// A verdict, and why an answer of the right value is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// A clause: "it was to be in lowest terms".
    pub(crate) unmet: Option<String>,
}

impl Judgement {
    fn by_value(verdict: Verdict) -> Judgement {
        Judgement { verdict, unmet: None }
    }

    fn unmet(verdict: Verdict, clause: impl Into<String>) -> Judgement {
        Judgement { verdict, unmet: Some(clause.into()) }
    }
}

/// Whether the final answer in a text is the reference answer, in the form that the verifier and the question ask for.
pub(crate) fn judge(answer_text: &str, gold: &str, demand: &AnswerFormat, question: Option<&str>) -> Judgement {
    let gold = extract_marked(gold).unwrap_or(gold);
    let by_value = verdict(answer_text, gold);
    let Some(answer) = extract(answer_text) else { return Judgement::by_value(by_value) };
    let by_value = match by_value {
        Verdict::Undecided if is_percentage(answer, gold, demand, question) => Verdict::Right,
        verdict => verdict,
    };
    // A failure of the number library leaves the result undecided.
    let form = || match by_value {
        Verdict::Right => flaw(answer, gold, demand, question),
        Verdict::Undecided => disorder(answer, gold, question),
        Verdict::Wrong | Verdict::NoAnswer => None,
    };
    match aludel_text::catch_panic::catch_panic(form) {
        Ok(found) => found.unwrap_or(Judgement::by_value(by_value)),
        Err(_) => Judgement::by_value(Verdict::Undecided),
    }
}

/// Whether two answers are one percentage, of which one lacks its sign. A demand may say what the numbers are, else the question may.
fn is_percentage(answer: &str, gold: &str, demand: &AnswerFormat, question: Option<&str>) -> bool {
    let is_known = match (&demand.unit, demand.lowest_terms) {
        (Some(_), _) => true,
        (None, true) => false,
        (None, false) => question.is_some_and(percentage::is_asked_for),
    };
    is_known && percentage::is_same(answer, gold)
}

/// What is wrong with an answer of the right value.
fn flaw(answer: &str, gold: &str, demand: &AnswerFormat, question: Option<&str>) -> Option<Judgement> {
    if question.is_some_and(|question| restated::is_restated(answer, gold, question)) {
        return Some(Judgement::unmet(Verdict::Wrong, "it only restates the question"));
    }
    let words = || format!("it was to be {}", demand.words());
    match demand.is_met(answer) {
        Some(true) => {}
        Some(false) => return Some(Judgement::unmet(Verdict::Wrong, words())),
        None => return Some(Judgement::unmet(Verdict::Undecided, words())),
    }
    let is_reducible = |text: &str| Form::of(text) == Some(Form::Reducible);
    if is_reducible(answer) && !is_reducible(gold) && question.is_some_and(lowest_terms::are_asked_for) {
        return Some(Judgement::unmet(Verdict::Wrong, "it was to be in lowest terms"));
    }
    lacks_evaluation(answer, gold).then(|| Judgement::unmet(Verdict::Undecided, "it was to be evaluated"))
}

/// Whether an answer of the right value is a calculation, and the reference answer its result. Whether the question would accept
/// that is not known: it may ask for a number or for a way to it.
pub(crate) fn lacks_evaluation(answer: &str, gold: &str) -> bool {
    evaluated::is_unevaluated(&answer::read(answer), &answer::read(gold))
}

/// The right values in another order than the question asks for.
fn disorder(answer: &str, gold: &str, question: Option<&str>) -> Option<Judgement> {
    let order = Order::asked_for(question?)?;
    order.is_broken(answer, gold).then(|| Judgement::unmet(Verdict::Wrong, format!("it was to be {}", order.words())))
}
