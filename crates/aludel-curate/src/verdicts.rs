//! Verdicts on answers with a known reference answer: its column, other columns that affect the comparison, and the result. `verify`
//! compares answers, and `rejection_sampling` selects among the right ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aludel_files::shortened;

use super::right_answer::right_answer;
use super::row_options::{options, text_of};
use crate::Error;
use aludel_data::column_names::called;
use aludel_data::dataset::{self, Columns, Content, FlawKind, Kind};
use aludel_data::trace::{questions, replies};
use aludel_text::Message;
use aludel_verify::{Checker, Verdict, Verifier};

/// So much of an answer is shown, in letters.
const SHOWN: usize = 80;

/// How the answers of all rows are compared.
pub(super) struct Verdicts<'a> {
    checker: Arc<Checker>,
    gold_columns: &'a [String],
    /// Verifiers that rows name themselves, as they are written; none where the recipe names another than the usual one.
    of_rows: Option<Mutex<HashMap<String, ReadyChecker>>>,
}

/// A verifier made ready, or what is wrong with it.
type ReadyChecker = Result<Arc<Checker>, String>;

/// What is found about a row's last answer.
pub(super) struct CheckedAnswer {
    pub(super) verdict: Verdict,
    /// Why it is not right, if it is not.
    pub(super) detail: String,
}

impl<'a> Verdicts<'a> {
    /// # Errors
    /// A verifier whose settings make no sense.
    pub(super) fn new(verifier: &Verifier, gold_columns: &'a [String]) -> Result<Verdicts<'a>, Error> {
        let of_rows = (*verifier == Verifier::maths()).then(Mutex::default);
        Ok(Verdicts { checker: Arc::new(verifier.checker()?), gold_columns, of_rows })
    }

    /// The verdict on a row's last answer; `None` where no right one is known.
    ///
    /// # Errors
    /// A verifier command that cannot be started.
    pub(super) fn on(&self, content: &Content, columns: &Columns) -> Result<Option<CheckedAnswer>, Error> {
        let found = match right_answer(columns, self.gold_columns, &[], questions(content).last()) {
            Ok(found) => found,
            Err(detail) => return Ok(Some(CheckedAnswer { verdict: Verdict::Undecided, detail })),
        };
        let Some((kind, gold)) = found.and_then(|(_, value)| Some((value.kind(), text_of(value)?))) else {
            return Ok(None);
        };
        // A last turn that calls a tool waits for its result, and answers nothing yet.
        let Some(answer) = replies(content).last().filter(|turn| turn.tool_calls.is_empty()) else { return Ok(None) };
        let checker = match self.checker_of(columns) {
            Ok(checker) => checker,
            Err(detail) => return Ok(Some(CheckedAnswer { verdict: Verdict::Undecided, detail })),
        };
        let question = questions(content).last();
        if let Some(cut) = cut_off(content, columns, answer, &checker) {
            let detail = format!("it was cut off before a final answer ({cut}); the right one is {}", shown(&gold));
            return Ok(Some(CheckedAnswer { verdict: Verdict::NoAnswer, detail }));
        }
        let mut verdict = checker.verdict_among(&answer.content, &gold, question, None)?;
        // Looked for only where they could change something: most rows have none.
        if verdict != Verdict::Right
            && let Some(options) = options(question, columns)
        {
            verdict = checker.verdict_among(&answer.content, &gold, question, Some(&options))?;
        }
        // Several right answers in one column, or one with notes beside it, are no answer that an answer could differ from.
        let is_understood = !matches!(kind, Kind::List | Kind::Object) || checker.compares_structures();
        let verdict = if verdict == Verdict::Wrong && !is_understood { Verdict::Undecided } else { verdict };
        let detail = detail(&checker, verdict, &answer.content, &gold, question);
        Ok(Some(CheckedAnswer { verdict, detail }))
    }

    /// The verifier of a row: the one that it names in a column `verifier`, as rows of an evaluation do.
    fn checker_of(&self, columns: &Columns) -> ReadyChecker {
        let usual = || Ok(Arc::clone(&self.checker));
        let Some(of_rows) = &self.of_rows else { return usual() };
        let Some((_, written)) = called(columns, "verifier") else { return usual() };
        // Text may be anybody's note of who verified the row; an object with a kind is meant for us.
        if written.kind() == Kind::Object && written.get("kind").is_none() {
            return usual();
        }
        let mut known = of_rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(checker) = known.get(written.written()) {
            return checker.clone();
        }
        let read = written.value().map_err(|error| error.to_string()).and_then(Verifier::of_data);
        let checker = match read {
            Ok(verifier) => verifier.checker().map(Arc::new).map_err(|error| error.to_string()),
            Err(_) if written.kind() != Kind::Object => usual(),
            Err(reason) => Err(reason),
        };
        known.insert(written.written().to_string(), checker.clone());
        checker
    }
}

/// Why a row has no final answer although its text may name one: it was cut off before its end, or within its reasoning. Only for rows
/// that `curate.complete` does not leave out.
fn cut_off(content: &Content, columns: &Columns, answer: &Message, checker: &Checker) -> Option<String> {
    let flaw = dataset::flaw(content, columns).filter(|flaw| flaw.kind == FlawKind::Incomplete)?;
    let is_settled = dataset::unclosed(answer).is_none() && checker.is_settled(&answer.content);
    (!is_settled && !answer.content.trim().is_empty()).then_some(flaw.detail)
}

fn shown(text: &str) -> String {
    format!("`{}`", shortened(text.trim(), SHOWN).replace('\n', " "))
}

/// Why an answer is not right: with what was found in it, and what was looked for.
fn detail(checker: &Checker, verdict: Verdict, answer: &str, gold: &str, question: Option<&str>) -> String {
    if verdict == Verdict::Right {
        return String::new();
    }
    let unmet = checker.unmet(answer, gold, question).map_or_else(String::new, |clause| format!("; {clause}"));
    let (found, gold) = (checker.extract(answer).map(|found| shown(&found)), shown(gold));
    match (verdict, found) {
        (Verdict::NoAnswer, _) => format!("no answer is found in it; the right one is {gold}"),
        (Verdict::Undecided, Some(found)) => {
            format!("its answer is {found}, which could not be compared with the right one, {gold}{unmet}")
        }
        (Verdict::Undecided, None) => format!("its answer could not be compared with the right one, {gold}"),
        (_, Some(found)) => format!("its answer is {found}, and the right one is {gold}{unmet}"),
        (_, None) => format!("its answer is not the right one, {gold}"),
    }
}
