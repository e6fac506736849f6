//! Problems that Aludel invents itself, each with an exact answer and a worked solution that a very small model can
//! learn step by step. A family enumerates its problems; which of them serve for training and which for testing hangs
//! on the problem alone, so the two are disjoint for any seed, difficulty and wording.

mod ages;
mod arithmetic;
mod bases;
mod calendar;
mod dice;
mod divisors;
mod equations;
mod fraction;
mod fractions;
mod kinship;
mod percentages;
mod puzzle;
mod random;
mod rates;
mod sequences;
#[cfg(test)]
mod tests;
mod units;
mod words;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use aludel_text::message::Message;

use crate::Verifier;
use aludel_data::dataset::{Content, Provenance, Record};
use puzzle::PuzzleFamily;
use random::Random;

pub use dice::seed_problem;

/// One problem with its solution.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The family that it belongs to.
    pub family: &'static str,
    /// Identifies the problem independently of its wording.
    pub id: String,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// The question, as a user would ask it.
    pub question: String,
    /// The worked solution, step by step.
    pub reasoning: String,
    /// The final answer alone: a whole number, a fraction in lowest terms, or words.
    pub answer: String,
    /// What the student is to say after its reasoning; holds the answer as `\boxed{…}`.
    pub response: String,
    /// How an answer is compared with this one: by value, and as the question asks for it to be written.
    pub verifier: Verifier,
}

/// The two sets that never share a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemSplit {
    /// About nine problems in ten.
    Train,
    /// The rest.
    Test,
}

/// How hard a problem is: how many steps its solution has, and how large the numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Difficulty {
    /// A student of 135 million parameters learns these within minutes.
    #[default]
    Easy,
    /// Longer solutions, larger numbers.
    Medium,
    /// The longest.
    Hard,
}

impl Difficulty {
    /// All, from the easiest on.
    pub const ALL: [Difficulty; 3] = [Difficulty::Easy, Difficulty::Medium, Difficulty::Hard];

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Difficulty::Easy => "easy",
            Difficulty::Medium => "medium",
            Difficulty::Hard => "hard",
        }
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Difficulty {
    type Err = String;

    fn from_str(text: &str) -> Result<Difficulty, String> {
        match text {
            "easy" | "1" => Ok(Difficulty::Easy),
            "medium" | "2" => Ok(Difficulty::Medium),
            "hard" | "3" => Ok(Difficulty::Hard),
            _ => Err("a difficulty is easy, medium or hard (or 1, 2, 3)".to_string()),
        }
    }
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

    /// How hard a problem is.
    ///
    /// # Panics
    /// If `index` is not below [`Family::distinct`].
    fn difficulty(&self, index: usize) -> Difficulty;

    /// A problem in one of its wordings; neighbouring numbers word it differently.
    ///
    /// # Panics
    /// If `index` is not below [`Family::distinct`].
    fn problem(&self, index: usize, wording: u64) -> Problem;

    /// How many times, in different wordings, a problem comes up in one pass over the family's training side.
    fn repeats(&self, _index: usize) -> u64 {
        1
    }

    /// Which set a problem belongs to.
    fn side(&self, index: usize) -> ProblemSplit {
        // A hash of the name: adding a problem never moves another to the other side.
        match blake3::hash(self.id(index).as_bytes()).as_bytes()[0] {
            0..26 => ProblemSplit::Test,
            _ => ProblemSplit::Train,
        }
    }
}

/// All families, each under its name.
pub fn families() -> Vec<Box<dyn Family>> {
    vec![
        PuzzleFamily::boxed("dice", "probabilities with two dice", dice::puzzles()),
        PuzzleFamily::boxed("equations", "linear equations in one unknown", equations::puzzles()),
        PuzzleFamily::boxed("percentages", "parts, rises and discounts in percent", percentages::puzzles()),
        PuzzleFamily::boxed("ages", "ages now, later and together", ages::puzzles()),
        PuzzleFamily::boxed("rates", "so much an hour, a piece, a litre", rates::puzzles()),
        PuzzleFamily::boxed("units", "lengths, weights and times in other units", units::puzzles()),
        PuzzleFamily::boxed("calendar", "weekdays and days between dates", calendar::puzzles()),
        PuzzleFamily::boxed("sequences", "the number that comes next", sequences::puzzles()),
        PuzzleFamily::boxed("divisors", "greatest common divisors, least common multiples", divisors::puzzles()),
        PuzzleFamily::boxed("fractions", "calculations with fractions", fractions::puzzles()),
        PuzzleFamily::boxed("bases", "whole numbers in other bases", bases::puzzles()),
        PuzzleFamily::boxed("kinship", "who is what to whom, and how many siblings", kinship::puzzles()),
    ]
}

/// The family of a name.
pub fn family(name: &str) -> Option<Box<dyn Family>> {
    families().into_iter().find(|family| family.name() == name)
}

/// Invents `count` problems of one side at the default difficulty; see [`generate_at`].
pub fn generate(family: &dyn Family, side: ProblemSplit, count: usize, seed: u64) -> Vec<Problem> {
    generate_at(family, side, Difficulty::default(), count, seed)
}

/// Invents `count` problems of one side. The same seed gives the same problems; more of them than a family has come
/// again in other words.
pub fn generate_at(
    family: &dyn Family,
    side: ProblemSplit,
    difficulty: Difficulty,
    count: usize,
    seed: u64,
) -> Vec<Problem> {
    let mut random = Random::new(seed, family.name());
    let start = random.next();
    let indices = fitting(family, side, difficulty);
    let mut problems = Vec::with_capacity(count);
    // What comes often in training is no more than one problem of a test.
    let repeats = |index: usize| if side == ProblemSplit::Train { family.repeats(index) } else { 1 };
    let mut pass = 0;
    while problems.len() < count && !indices.is_empty() {
        let mut deck: Vec<(usize, u64)> = indices
            .iter()
            .flat_map(|&index| (0..repeats(index)).map(move |copy| (index, pass * repeats(index) + copy)))
            .collect();
        random.shuffle(&mut deck);
        let missing = count - problems.len();
        let problem = |(index, copy)| family.problem(index, wording(start, index, copy));
        problems.extend(deck.into_iter().take(missing).map(problem));
        pass += 1;
    }
    problems
}

/// Invents up to `count` problems of one side, no two of which are the same in other words; fewer where the family has no more.
pub fn generate_distinct(
    family: &dyn Family,
    side: ProblemSplit,
    difficulty: Difficulty,
    count: usize,
    seed: u64,
) -> Vec<Problem> {
    let mut random = Random::new(seed, family.name());
    let start = random.next();
    let mut indices = fitting(family, side, difficulty);
    random.shuffle(&mut indices);
    let problem = |index| family.problem(index, wording(start, index, 0));
    indices.into_iter().take(count).map(problem).collect()
}

/// The problems of one side and difficulty.
fn fitting(family: &dyn Family, side: ProblemSplit, difficulty: Difficulty) -> Vec<usize> {
    let fits = |&index: &usize| family.side(index) == side && family.difficulty(index) == difficulty;
    (0..family.distinct()).filter(fits).collect()
}

/// The wording in which a problem comes for the first, second, … time.
fn wording(start: u64, index: usize, copy: u64) -> u64 {
    start.wrapping_add(index as u64 * 7).wrapping_add(copy)
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
        let mut line = serde_json::json!({
            "id": self.id,
            "difficulty": self.difficulty.name(),
            "prompt": self.question,
            "reasoning": self.reasoning,
            "response": self.response,
            "answer": self.answer,
        });
        if self.verifier != Verifier::maths() {
            line["verifier"] = serde_json::json!(self.verifier);
        }
        line.to_string()
    }
}
