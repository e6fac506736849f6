//! What the families have in common: each lists its problems once, without wording, and writes one of them out when it is
//! asked for.

use super::random::Choices;
use super::{Difficulty, Family, Problem};

/// A problem without its wording.
pub(super) trait Puzzle: Send + Sync {
    /// Names the problem within its family. Two puzzles of one name are the same problem.
    fn id(&self) -> String;

    /// How hard its solution is.
    fn difficulty(&self) -> Difficulty;

    /// Question, solution and answer in one of their wordings.
    fn write(&self, choices: &mut Choices) -> Worked;

    /// How many times, in different wordings, it comes up in one pass over the family.
    fn repeats(&self) -> u64 {
        1
    }
}

/// A problem that was written out.
pub(super) struct Worked {
    pub(super) question: String,
    /// The solution, step by step.
    pub(super) steps: String,
    /// The final answer alone.
    pub(super) answer: String,
    /// What is said at the end, with the answer at `{answer}`.
    pub(super) response: String,
}

impl Worked {
    /// With a closing sentence that fits every question.
    pub(super) fn new(question: String, steps: String, answer: impl ToString) -> Worked {
        Worked { question, steps, answer: answer.to_string(), response: "The answer is {answer}.".to_string() }
    }
}

/// A family that is a list of puzzles.
pub(super) struct Listed<P> {
    name: &'static str,
    about: &'static str,
    puzzles: Vec<P>,
}

impl<P: Puzzle + 'static> Listed<P> {
    pub(super) fn boxed(name: &'static str, about: &'static str, puzzles: Vec<P>) -> Box<dyn Family> {
        Box::new(Listed { name, about, puzzles })
    }
}

impl<P: Puzzle> Family for Listed<P> {
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
    let Worked { question, steps, answer, response } = puzzle.write(&mut Choices::new(wording));
    let response = response.replace("{answer}", &format!("\\boxed{{{answer}}}"));
    let id = format!("{family}/{}", puzzle.id());
    Problem { family, id, difficulty: puzzle.difficulty(), question, reasoning: steps, answer, response }
}
