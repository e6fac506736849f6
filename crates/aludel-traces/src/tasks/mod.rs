//! Problems that Aludel invents itself, each with an exact answer and a worked solution that a very small model can
//! learn step by step. A family enumerates its problems; which of them serve for training and which for testing hangs
//! on the problem alone, so the two never meet, whatever the seed.

mod dice;
mod equations;
mod fraction;
mod random;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use aludel_text::message::Message;

use crate::dataset::{Content, Provenance, Record};
use random::Random;

pub use dice::seed_problem;

/// One problem with its solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The family that it belongs to.
    pub family: &'static str,
    /// Names the problem whatever its wording.
    pub id: String,
    /// The question, as a user would ask it.
    pub question: String,
    /// The worked solution, step by step.
    pub reasoning: String,
    /// The final answer alone: a whole number or a fraction in lowest terms.
    pub answer: String,
    /// What the student is to say after its reasoning; holds the answer as `\boxed{…}`.
    pub response: String,
}

/// The two sets that never share a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// About nine problems in ten.
    Train,
    /// The rest.
    Test,
}

/// A kind of problem.
pub trait Family: Send + Sync {
    /// A short name, in one word.
    fn name(&self) -> &'static str;

    /// What its problems are about, in a few words.
    fn about(&self) -> &'static str;

    /// The number of distinct problems.
    fn distinct(&self) -> usize;

    /// The name of a problem, the same for each of its wordings.
    ///
    /// # Panics
    /// If `index` is not below [`Family::distinct`].
    fn id(&self, index: usize) -> String;

    /// A problem in one of its wordings; neighbouring numbers word it differently.
    ///
    /// # Panics
    /// If `index` is not below [`Family::distinct`].
    fn problem(&self, index: usize, wording: u64) -> Problem;

    /// How many times, in different wordings, a problem comes up in one pass over the family.
    fn repeats(&self, _index: usize) -> u64 {
        1
    }

    /// Which set a problem belongs to.
    fn side(&self, index: usize) -> Side {
        // A hash of the name: adding a problem never moves another to the other side.
        match blake3::hash(self.id(index).as_bytes()).as_bytes()[0] {
            0..26 => Side::Test,
            _ => Side::Train,
        }
    }
}

/// All families, each under its name.
pub fn families() -> Vec<Box<dyn Family>> {
    vec![Box::new(dice::Dice::new()), Box::new(equations::Equations::new())]
}

/// The family of a name.
pub fn family(name: &str) -> Option<Box<dyn Family>> {
    families().into_iter().find(|family| family.name() == name)
}

/// Invents `count` problems of one side. The same seed gives the same problems; more of them than a family has come
/// again in other words.
pub fn generate(family: &dyn Family, side: Side, count: usize, seed: u64) -> Vec<Problem> {
    let mut random = Random::new(seed, family.name());
    let start = random.next();
    let indices: Vec<usize> = (0..family.distinct()).filter(|&index| family.side(index) == side).collect();
    let mut problems = Vec::with_capacity(count);
    let mut pass = 0;
    while problems.len() < count && !indices.is_empty() {
        let mut deck: Vec<(usize, u64)> = indices
            .iter()
            .flat_map(|&index| (0..family.repeats(index)).map(move |copy| (index, pass * family.repeats(index) + copy)))
            .collect();
        random.shuffle(&mut deck);
        let missing = count - problems.len();
        problems.extend(deck.into_iter().take(missing).map(|(index, copy)| {
            let wording = start.wrapping_add(index as u64 * 7).wrapping_add(copy);
            family.problem(index, wording)
        }));
        pass += 1;
    }
    problems
}

impl Problem {
    /// The problem as a record, as it would be read from a file of [`Problem::json_line`]s.
    pub fn record(&self, line: u64) -> Record {
        let answer = Message::assistant(self.response.as_str()).with_reasoning(self.reasoning.as_str());
        let content = Content::Messages(vec![Message::user(self.question.as_str()), answer]);
        let file = Arc::from(Path::new(self.family));
        Record::new(content, Provenance { file, file_index: 0, line })
    }

    /// The problem as a line of JSONL, without the line break.
    pub fn json_line(&self) -> String {
        serde_json::json!({
            "id": self.id,
            "prompt": self.question,
            "reasoning": self.reasoning,
            "response": self.response,
            "answer": self.answer,
        })
        .to_string()
    }
}
