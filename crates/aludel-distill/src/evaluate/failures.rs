//! The problems that a student fails, for the next round: as prompts for a teacher, or as a selection of existing traces. The caller writes
//! and curates them.

use std::collections::HashSet;

use aludel_data::dataset::Content;
use aludel_data::trace::{Trace, TraceSource};
use aludel_text::message::Role;
use serde::Serialize;

use super::compare::Evaluated;

/// A problem that fewer than half of its samples solve, as a prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedProblem {
    /// The problem's id in its task.
    pub id: String,
    /// What to ask.
    pub prompt: String,
    /// The right answer.
    pub answer: String,
    /// The task.
    pub task: String,
    /// The share of samples that were right.
    pub solved: f64,
}

/// The problems of an evaluation that its model fails, in order of tasks and ids.
pub fn failed(evaluated: &Evaluated) -> Vec<FailedProblem> {
    let mut found = Vec::new();
    for task in &evaluated.results.tasks {
        let mut shares = evaluated.shares(&task.name);
        shares.retain(|_, share| *share < 0.5);
        let mut of_task: Vec<FailedProblem> = Vec::with_capacity(shares.len());
        for sample in evaluated.samples.iter().filter(|sample| sample.task == task.name) {
            // Each problem once: what was found is taken out.
            if let Some((_, solved)) = shares.remove_entry(sample.problem.as_str()) {
                of_task.push(FailedProblem {
                    id: sample.problem.clone(),
                    prompt: sample.question.clone(),
                    answer: sample.gold.clone(),
                    task: task.name.clone(),
                    solved,
                });
            }
        }
        of_task.sort_by(|one, other| one.id.cmp(&other.id));
        found.extend(of_task);
    }
    found
}

/// Traces of another source, those alone that answer a failed problem.
pub struct FailedProblemTraces<S> {
    source: S,
    questions: HashSet<String>,
}

impl<S: TraceSource> FailedProblemTraces<S> {
    /// Chooses by what is asked, word for word; spaces at both ends do not count.
    pub fn new(source: S, failed: &[FailedProblem]) -> FailedProblemTraces<S> {
        let questions = failed.iter().map(|failed| failed.prompt.trim().to_owned()).collect();
        FailedProblemTraces { source, questions }
    }

    fn is_chosen(&self, trace: &Trace) -> bool {
        let Ok(Content::Messages(messages)) = &trace.content else { return false };
        let before = messages.iter().take_while(|message| message.role != Role::Assistant);
        let question = before.filter(|message| message.role == Role::User).last();
        question.is_some_and(|question| self.questions.contains(question.content.trim()))
    }
}

impl<S: TraceSource> TraceSource for FailedProblemTraces<S> {
    fn traces(
        &self,
    ) -> Result<Box<dyn Iterator<Item = Result<Trace, aludel_data::Error>> + Send + '_>, aludel_data::Error> {
        let is_kept = |trace: &Result<Trace, _>| trace.as_ref().map_or(true, |trace| self.is_chosen(trace));
        Ok(Box::new(self.source.traces()?.filter(is_kept)))
    }

    fn bytes_read(&self) -> Option<(u64, u64)> {
        self.source.bytes_read()
    }
}
