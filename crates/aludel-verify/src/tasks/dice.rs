//! Two dice with three to twelve sides, and the probability of what they show. Solutions count the outcomes and reduce
//! the fraction. The question that shows before and after in the demo, a sum of 7 with two ordinary dice, is no problem
//! of this family, in no wording.

mod counting;

use super::puzzle::{Puzzle, WorkedProblem, written};
use super::random::Choices;
use super::words::{article, capitalised};
use super::{Difficulty, Problem};
use counting::{differing, solution, ways};

/// A problem without its wording; `sides.0 <= sides.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) sides: (i64, i64),
    pub(super) event: Event,
}

/// The event that the dice are to show. No event depends on the order of the dice, so their order is part of the wording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    SumIs(i64),
    SumAtLeast(i64),
    SumAtMost(i64),
    SumIsEven,
    SumIsOdd,
    SumIsPrime,
    SameNumber,
    DifferenceIs(i64),
    AnyShows(i64),
    BothAtLeast(i64),
    BothAtMost(i64),
}

const SIDES: std::ops::RangeInclusive<i64> = 3..=12;

/// A solution that lists more pairs than this grows too long for a very small model.
const LISTED_PAIRS: i64 = 8;
/// The same for solutions that list sums.
const LISTED_SUMS: i64 = 5;
/// The same for solutions that list pairs in words.
const LISTED_DIFFERENCES: i64 = 6;

/// The problem that is never trained on.
const SEED: Spec = Spec { sides: (6, 6), event: Event::SumIs(7) };

/// The question that shows what training changed, with its solution.
pub fn seed_problem() -> Problem {
    Problem {
        question: "What's the probability of rolling a 7 with two dice?".to_string(),
        ..written("dice", &SEED, 0)
    }
}

/// All problems.
pub(super) fn puzzles() -> Vec<Spec> {
    let pairs = SIDES.flat_map(|fewer| (fewer..=*SIDES.end()).map(move |more| (fewer, more)));
    let specs = pairs.flat_map(|sides| events(sides).into_iter().map(move |event| Spec { sides, event }));
    specs.filter(|spec| *spec != SEED).collect()
}

/// The events that can be asked of two dice and solved in a few lines.
fn events((fewer, more): (i64, i64)) -> Vec<Event> {
    let sums = 2..=fewer + more;
    let mut events = vec![Event::SumIsEven, Event::SumIsOdd];
    events.extend(sums.clone().filter(|&sum| ways((fewer, more), sum) <= LISTED_PAIRS).map(Event::SumIs));
    let top = sums.clone().filter(|sum| (1..LISTED_SUMS).contains(&(fewer + more - sum)) && *sum > more);
    events.extend(top.map(Event::SumAtLeast));
    let bottom = sums.filter(|sum| (1..LISTED_SUMS).contains(&(sum - 2)) && *sum <= fewer + 1);
    events.extend(bottom.map(Event::SumAtMost));
    if fewer + more <= 12 {
        events.push(Event::SumIsPrime);
    }
    if fewer <= LISTED_PAIRS {
        events.push(Event::SameNumber);
    }
    let differences = (1..more).filter(|&difference| {
        let (lower, higher) = differing((fewer, more), difference);
        lower + higher <= LISTED_DIFFERENCES
    });
    events.extend(differences.map(Event::DifferenceIs));
    events.extend((1..=fewer).map(Event::AnyShows));
    events.extend((2..fewer).map(Event::BothAtLeast));
    events.extend((2..fewer).map(Event::BothAtMost));
    events
}

impl Puzzle for Spec {
    fn id(&self) -> String {
        let event = match self.event {
            Event::SumIs(sum) => format!("sum-is-{sum}"),
            Event::SumAtLeast(sum) => format!("sum-at-least-{sum}"),
            Event::SumAtMost(sum) => format!("sum-at-most-{sum}"),
            Event::SumIsEven => "sum-is-even".to_string(),
            Event::SumIsOdd => "sum-is-odd".to_string(),
            Event::SumIsPrime => "sum-is-prime".to_string(),
            Event::SameNumber => "same-number".to_string(),
            Event::DifferenceIs(difference) => format!("difference-is-{difference}"),
            Event::AnyShows(number) => format!("any-shows-{number}"),
            Event::BothAtLeast(number) => format!("both-at-least-{number}"),
            Event::BothAtMost(number) => format!("both-at-most-{number}"),
        };
        format!("{}x{}/{event}", self.sides.0, self.sides.1)
    }

    fn difficulty(&self) -> Difficulty {
        let small = self.sides.1 <= 8;
        match self.event {
            Event::SumIs(_) | Event::SameNumber => Difficulty::Easy,
            Event::BothAtLeast(_) | Event::BothAtMost(_) | Event::AnyShows(_) if small => Difficulty::Easy,
            Event::SumIsPrime | Event::SumIsEven | Event::SumIsOdd => Difficulty::Hard,
            _ if small => Difficulty::Medium,
            _ => Difficulty::Hard,
        }
    }

    fn repeats(&self) -> u64 {
        // Ordinary dice are what people ask about, and there are few such problems among many.
        match self {
            Spec { sides: (6, 6), event: Event::SumIs(_) } => 12,
            Spec { sides: (6, 6), .. } => 4,
            _ => 1,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        let frame = *choices.pick(&FRAMES);
        let sides = match choices.pick(&[false, true]) {
            true => (self.sides.1, self.sides.0),
            false => self.sides,
        };
        let question = frame.fill(&dice_named(sides, frame, choices), self.event, choices);
        let (steps, answer) = solution(sides, self.event);
        WorkedProblem {
            response: "The probability is {answer}.".to_string(),
            ..WorkedProblem::new(question, steps, answer)
        }
    }
}

/// A sentence with a place for the dice and one for the event.
#[derive(Clone, Copy)]
enum Frame {
    /// The event is something one does: "rolling a 7".
    Doing(&'static str),
    /// The event is something that is so: "the sum is 7".
    Being(&'static str),
}

const FRAMES: [Frame; 13] = [
    Frame::Doing("What's the probability of EVENT with DICE?"),
    Frame::Being("DICE are rolled. What is the probability that EVENT?"),
    Frame::Doing("What is the probability of EVENT with DICE?"),
    Frame::Being("You roll DICE. What is the probability that EVENT?"),
    Frame::Doing("What are the chances of EVENT with DICE?"),
    Frame::Being("If you roll DICE, what's the chance that EVENT?"),
    Frame::Doing("How likely is EVENT with DICE?"),
    Frame::Being("I throw DICE. How likely is it that EVENT?"),
    Frame::Doing("If I roll DICE, what is the probability of EVENT?"),
    Frame::Being("Compute the probability that EVENT when DICE are thrown."),
    Frame::Doing("Find the probability of EVENT when rolling DICE."),
    Frame::Being("When DICE are rolled, what's the probability that EVENT?"),
    Frame::Doing("What is the chance of EVENT when you throw DICE?"),
];

impl Frame {
    fn fill(self, dice: &str, event: Event, choices: &mut Choices) -> String {
        let (doing, being, number) = event.wordings();
        let (frame, wordings) = match self {
            Frame::Doing(frame) => (frame, doing),
            Frame::Being(frame) => (frame, being),
        };
        let dice = match frame.starts_with("DICE") {
            true => capitalised(dice),
            false => dice.to_string(),
        };
        let event = choices.say(wordings, &[("a", &article(number)), ("n", &number)]);
        frame.replace("DICE", &dice).replace("EVENT", &event)
    }
}

fn dice_named((first, second): (i64, i64), frame: Frame, choices: &mut Choices) -> String {
    let names: &[&str] = match (first, second) {
        // "A pair of dice are rolled" is no English, and only the other frames speak of dice that are rolled.
        (6, 6) if matches!(frame, Frame::Doing(_)) => {
            &["two dice", "two six-sided dice", "two dice", "two fair dice", "two 6-sided dice", "a pair of dice"]
        }
        (6, 6) => &["two dice", "two six-sided dice", "two dice", "two fair dice", "two 6-sided dice"],
        _ if first == second => &["two {first}-sided dice", "two fair {first}-sided dice"],
        _ => &["{a} {first}-sided die and {b} {second}-sided die"],
    };
    let (a, b) = (article(first), article(second));
    choices.say(names, &[("a", &a), ("b", &b), ("first", &first), ("second", &second)])
}

type Wordings = &'static [&'static str];

impl Event {
    /// As the object of "the probability of"; after "the probability that"; and the number that both speak of, if one.
    fn wordings(self) -> (Wordings, Wordings, i64) {
        match self {
            Event::SumIs(sum) => (
                &[
                    "rolling {a} {n}",
                    "rolling a sum of {n}",
                    "rolling {a} {n}",
                    "getting a total of {n}",
                    "getting a sum of {n}",
                ],
                &["the sum is {n}", "the numbers add up to {n}", "the total is {n}"],
                sum,
            ),
            Event::SumAtLeast(sum) => (
                &["rolling a sum of at least {n}", "getting a total of {n} or more"],
                &["the sum is at least {n}", "the total is {n} or more"],
                sum,
            ),
            Event::SumAtMost(sum) => (
                &["rolling a sum of at most {n}", "getting a total of {n} or less"],
                &["the sum is at most {n}", "the total is {n} or less"],
                sum,
            ),
            Event::SumIsEven => (
                &["rolling an even sum", "getting an even total"],
                &["the sum is even", "the total is an even number"],
                0,
            ),
            Event::SumIsOdd => {
                (&["rolling an odd sum", "getting an odd total"], &["the sum is odd", "the total is an odd number"], 0)
            }
            Event::SumIsPrime => (
                &["rolling a prime sum", "getting a prime total"],
                &["the sum is prime", "the total is a prime number"],
                0,
            ),
            Event::SameNumber => (
                &["rolling doubles", "getting the same number twice"],
                &["both show the same number", "the two numbers are equal"],
                0,
            ),
            Event::DifferenceIs(difference) => (
                &["rolling a difference of {n}", "getting two numbers that differ by {n}"],
                &["the numbers differ by {n}", "the difference of the numbers is {n}"],
                difference,
            ),
            Event::AnyShows(number) => (
                &["rolling at least one {n}", "getting at least one {n}"],
                &["at least one shows {n}", "{n} comes up at least once"],
                number,
            ),
            Event::BothAtLeast(number) => (
                &["rolling {n} or more on both", "getting at least {n} on each die"],
                &["both show {n} or more", "each shows at least {n}"],
                number,
            ),
            Event::BothAtMost(number) => (
                &["rolling {n} or less on both", "getting at most {n} on each die"],
                &["both show {n} or less", "each shows at most {n}"],
                number,
            ),
        }
    }
}
