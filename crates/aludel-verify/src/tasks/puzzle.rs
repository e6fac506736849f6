//! What all families share: each enumerates its problems without their wording, and words one of them on request.

use super::random::Choices;
use super::{Difficulty, Family, Problem};
use crate::{Verifier, maths};

/// A problem without its wording.
pub(super) trait Puzzle: Send + Sync {
    /// The problem's name within its family. Two puzzles with the same name are the same problem.
    fn id(&self) -> String;

    /// How hard its solution is.
    fn difficulty(&self) -> Difficulty;

    /// Question, solution and answer in one of their wordings.
    fn write(&self, choices: &mut Choices) -> WorkedProblem;

    /// The number of different wordings in which it occurs in one pass over the family.
    fn repeats(&self) -> u64 {
        1
    }
}

/// A problem with its wording.
pub(super) struct WorkedProblem {
    pub(super) question: String,
    /// The solution, step by step.
    pub(super) steps: String,
    /// The final answer alone.
    pub(super) answer: String,
    /// The final sentence, with the answer at `{answer}`.
    pub(super) response: String,
    /// Whether the question asks for a fraction in lowest terms.
    pub(super) lowest_terms: bool,
    /// The unit that the question asks for; see [`Verifier::Maths`].
    pub(super) unit: Option<&'static str>,
}

impl WorkedProblem {
    /// With a final sentence that fits every question.
    pub(super) fn new(question: String, steps: String, answer: impl ToString) -> WorkedProblem {
        let (answer, response) = (answer.to_string(), "The answer is {answer}.".to_string());
        WorkedProblem { question, steps, answer, response, lowest_terms: false, unit: None }
    }

    /// The unit that the question asks for, where that does not follow from "how many".
    pub(super) fn in_unit(self, unit: &'static str) -> WorkedProblem {
        WorkedProblem { unit: Some(unit), ..self }
    }
}

/// A family that is a list of puzzles.
pub(super) struct PuzzleFamily<P> {
    name: &'static str,
    about: &'static str,
    puzzles: Vec<P>,
}

impl<P: Puzzle + 'static> PuzzleFamily<P> {
    pub(super) fn boxed(name: &'static str, about: &'static str, puzzles: Vec<P>) -> Box<dyn Family> {
        Box::new(PuzzleFamily { name, about, puzzles })
    }
}

impl<P: Puzzle> Family for PuzzleFamily<P> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn distinct(&self) -> usize {
        self.puzzles.len()
    }

    fn id(&self, index: usize) -> String {
        format!("{}/{}", self.name, self.puzzles[index].id())
    }

    fn difficulty(&self, index: usize) -> Difficulty {
        self.puzzles[index].difficulty()
    }

    fn problem(&self, index: usize, wording: u64) -> Problem {
        written(self.name, &self.puzzles[index], wording)
    }

    fn repeats(&self, index: usize) -> u64 {
        self.puzzles[index].repeats()
    }
}

/// A puzzle as a problem of a family.
pub(super) fn written(family: &'static str, puzzle: &dyn Puzzle, wording: u64) -> Problem {
    let WorkedProblem { question, steps, answer, response, lowest_terms, unit } =
        puzzle.write(&mut Choices::new(wording));
    let unit = unit.map(str::to_string).or_else(|| counted_unit(&question));
    let verifier = Verifier::Maths { lowest_terms, unit };
    let response = response.replace("{answer}", &format!("\\boxed{{{answer}}}"));
    let id = format!("{family}/{}", puzzle.id());
    Problem { family, id, difficulty: puzzle.difficulty(), question, reasoning: steps, answer, response, verifier }
}

/// The unit after "how many", if it is one, or that of "how far" and "how much", which the answer must have. Other nouns are not
/// units: eggs may be called pieces.
fn counted_unit(question: &str) -> Option<String> {
    for (asked, named, unit) in [("How far ", "kilometres", "kilometre"), ("How much ", "dollars", "dollar")] {
        if question.contains(asked) && question.contains(named) {
            return Some(unit.to_string());
        }
    }
    let (_, rest) = question.rsplit_once("ow many ")?;
    let word: String = rest.chars().take_while(|letter| letter.is_alphabetic()).collect();
    maths::is_unit(&word).then_some(word)
}
