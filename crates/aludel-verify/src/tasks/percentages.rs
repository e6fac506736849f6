//! Percentages of round numbers. Solutions go by way of 10% or 1%, so that each step is a small product.

use super::Difficulty;
use super::arithmetic::{product, quotient};
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;

/// Which of percentage, whole and part the question asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The part itself.
    Part,
    /// The price after it rose.
    Raised,
    /// The price after it fell.
    Reduced,
    /// Which percentage the part is.
    Share,
}

/// `percent`% of `whole`, which is a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percentage {
    pub(super) kind: Kind,
    pub(super) percent: i64,
    pub(super) whole: i64,
}

pub(super) fn puzzles() -> Vec<Percentage> {
    let mut puzzles = Vec::new();
    for kind in [Kind::Part, Kind::Raised, Kind::Reduced] {
        for whole in (10..=500).step_by(10) {
            puzzles.extend((10..100).step_by(10).map(|percent| Percentage { kind, percent, whole }));
        }
        for whole in (20..=400).step_by(20) {
            puzzles.extend((5..100).step_by(10).map(|percent| Percentage { kind, percent, whole }));
        }
        for whole in (100..=900).step_by(100) {
            let odd = (1..100).filter(|percent| percent % 5 != 0);
            puzzles.extend(odd.map(|percent| Percentage { kind, percent, whole }));
        }
    }
    for whole in (10..=100).step_by(10) {
        let shares = (10..100).step_by(10);
        puzzles.extend(shares.map(|percent| Percentage { kind: Kind::Share, percent, whole }));
    }
    puzzles
}

impl Percentage {
    fn part(self) -> i64 {
        self.percent * self.whole / 100
    }

    fn answer(self) -> i64 {
        match self.kind {
            Kind::Part => self.part(),
            Kind::Raised => self.whole + self.part(),
            Kind::Reduced => self.whole - self.part(),
            Kind::Share => self.percent,
        }
    }

    /// The part, worked out.
    fn steps_to_part(self) -> String {
        let Percentage { percent, whole, .. } = self;
        let (tenth, hundredth) = (whole / 10, whole / 100);
        if percent % 10 == 0 {
            let first = format!("10% of {whole} is {tenth}.");
            return match percent / 10 {
                1 => first,
                tens => format!("{first} {percent}% is {tens} times that: {}.", product(tens, tenth)),
            };
        }
        if percent % 5 == 0 {
            let first = format!("10% of {whole} is {tenth}. 5% is half of that, {}.", tenth / 2);
            return match percent / 10 {
                0 => first,
                1 => format!("{first} 15%: {tenth} + {} = {}.", tenth / 2, self.part()),
                tens => {
                    let tens_part = tens * tenth;
                    let both = format!("{tens_part} + {} = {}", tenth / 2, self.part());
                    format!("{first} {}%: {}. {percent}%: {both}.", tens * 10, product(tens, tenth))
                }
            };
        }
        let first = format!("1% of {whole} is {hundredth}.");
        match percent {
            1 => first,
            _ => format!("{first} {percent}% is {percent} times that: {}.", product(percent, hundredth)),
        }
    }
}

impl Puzzle for Percentage {
    fn id(&self) -> String {
        let kind = match self.kind {
            Kind::Part => "part",
            Kind::Raised => "raised",
            Kind::Reduced => "reduced",
            Kind::Share => "share",
        };
        format!("{kind}/{}-of-{}", self.percent, self.whole)
    }

    fn difficulty(&self) -> Difficulty {
        match (self.percent % 10, self.percent % 5) {
            (0, _) => Difficulty::Easy,
            (_, 0) => Difficulty::Medium,
            _ => Difficulty::Hard,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        let Percentage { kind, percent, whole } = *self;
        let (part, answer) = (self.part(), self.answer());
        let question = choices.say(questions(kind), &[("percent", &percent), ("whole", &whole), ("part", &part)]);
        let steps = match kind {
            Kind::Part => self.steps_to_part(),
            Kind::Raised => format!("{} More: {whole} + {part} = {answer}.", self.steps_to_part()),
            Kind::Reduced => format!("{} Less: {whole} - {part} = {answer}.", self.steps_to_part()),
            Kind::Share => {
                let tenth = whole / 10;
                format!(
                    "10% of {whole} is {tenth}. {}, so it is {} times 10%, which is {percent}%.",
                    quotient(part, tenth),
                    percent / 10
                )
            }
        };
        // A part is no share: 20% of 50 is 10, and not 10%.
        WorkedProblem::new(question, steps, answer).in_unit(if kind == Kind::Share { "%" } else { "1" })
    }
}

fn questions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Part => &[
            "What is {percent}% of {whole}?",
            "Calculate {percent}% of {whole}.",
            "How much is {percent}% of {whole}?",
            "A school has {whole} children, and {percent}% of them walk to school. How many walk?",
            "Find {percent} percent of {whole}.",
            "{percent}% of the {whole} seats are taken. How many seats are taken?",
        ],
        Kind::Raised => &[
            "A coat costs {whole} dollars. The price goes up by {percent}%. What is the new price?",
            "Increase {whole} by {percent}%.",
            "A town had {whole} trees, and now has {percent}% more. How many trees are there now?",
            "What is {whole} plus {percent}% of it?",
        ],
        Kind::Reduced => &[
            "A coat costs {whole} dollars. It is sold at {percent}% off. What is the new price?",
            "Decrease {whole} by {percent}%.",
            "What do you pay for a lamp of {whole} dollars at a discount of {percent}%?",
            "What is {whole} minus {percent}% of it?",
        ],
        Kind::Share => &[
            "What percentage of {whole} is {part}?",
            "{part} is what percent of {whole}?",
            "{part} of {whole} seats are taken. What percentage is that?",
        ],
    }
}

#[test]
fn answers_equal_hundredths_added_one_by_one() {
    for puzzle in puzzles() {
        let part: i64 = (0..puzzle.percent).map(|_| puzzle.whole).sum::<i64>();
        assert_eq!(part % 100, 0, "{puzzle:?}");
        let wanted = match puzzle.kind {
            Kind::Part => part / 100,
            Kind::Raised => puzzle.whole + part / 100,
            Kind::Reduced => puzzle.whole - part / 100,
            Kind::Share => 100 * (part / 100) / puzzle.whole,
        };
        assert_eq!(puzzle.write(&mut Choices::new(1)).answer, wanted.to_string(), "{puzzle:?}");
    }
}
