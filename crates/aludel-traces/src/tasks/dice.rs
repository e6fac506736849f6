//! Two dice with three to twelve sides, and the probability of what they show. Solutions count the outcomes and reduce
//! the fraction. The question that shows before and after in the demo, a sum of 7 with two ordinary dice, is no problem
//! of this family, in no wording.

use super::arithmetic::reduction;
use super::fraction::Fraction;
use super::puzzle::{Puzzle, Worked, written};
use super::random::Choices;
use super::words::{article, capitalised, counted};
use super::{Difficulty, Problem};

/// A problem without its wording; `sides.0 <= sides.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) sides: (i64, i64),
    pub(super) event: Event,
}

/// What the dice are to show. No event prefers one die over the other, so their order is a matter of wording.
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

/// In how many ways two dice give a sum.
fn ways((first, second): (i64, i64), sum: i64) -> i64 {
    (first.min(sum - 1) - 1.max(sum - second) + 1).max(0)
}

/// In how many ways the numbers differ by so much with the first die lower, and with the first die higher.
fn differing((first, second): (i64, i64), difference: i64) -> (i64, i64) {
    (first.min(second - difference).max(0), second.min(first - difference).max(0))
}

fn is_prime(number: i64) -> bool {
    number > 1 && (2..number).all(|divisor| number % divisor != 0)
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

    fn write(&self, choices: &mut Choices) -> Worked {
        let frame = *choices.pick(&FRAMES);
        let sides = match choices.pick(&[false, true]) {
            true => (self.sides.1, self.sides.0),
            false => self.sides,
        };
        let question = frame.fill(&dice_named(sides, frame, choices), self.event, choices);
        let (counting, favorable) = count_outcomes(sides, self.event);
        let outcomes = sides.0 * sides.1;
        let answer = Fraction::new(favorable, outcomes);
        let steps = format!(
            "{} {counting} The probability is {favorable}/{outcomes}. {}",
            outcomes_step(sides, choices),
            reduction(favorable, outcomes)
        );
        Worked { response: "The probability is {answer}.".to_string(), ..Worked::new(question, steps, answer) }
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
        let (frame, event) = match self {
            Frame::Doing(frame) => (frame, event.doing(choices)),
            Frame::Being(frame) => (frame, event.being(choices)),
        };
        let dice = match frame.starts_with("DICE") {
            true => capitalised(dice),
            false => dice.to_string(),
        };
        frame.replace("DICE", &dice).replace("EVENT", &event)
    }
}

fn dice_named((first, second): (i64, i64), frame: Frame, choices: &mut Choices) -> String {
    match (first, second) {
        (6, 6) => {
            let names =
                ["two dice", "two six-sided dice", "two dice", "two fair dice", "two 6-sided dice", "a pair of dice"];
            // "A pair of dice are rolled" is no English, and only the other frames speak of dice that are rolled.
            let fitting = if matches!(frame, Frame::Doing(_)) { &names[..] } else { &names[..5] };
            choices.pick(fitting).to_string()
        }
        _ if first == second => {
            choices.pick(&[format!("two {first}-sided dice"), format!("two fair {first}-sided dice")]).clone()
        }
        _ => format!("{} {first}-sided die and {} {second}-sided die", article(first), article(second)),
    }
}

impl Event {
    /// As the object of "the probability of".
    fn doing(self, choices: &mut Choices) -> String {
        match self {
            Event::SumIs(sum) => choices
                .pick(&[
                    format!("rolling {} {sum}", article(sum)),
                    format!("rolling a sum of {sum}"),
                    format!("rolling {} {sum}", article(sum)),
                    format!("getting a total of {sum}"),
                    format!("getting a sum of {sum}"),
                ])
                .clone(),
            Event::SumAtLeast(sum) => choices
                .pick(&[format!("rolling a sum of at least {sum}"), format!("getting a total of {sum} or more")])
                .clone(),
            Event::SumAtMost(sum) => choices
                .pick(&[format!("rolling a sum of at most {sum}"), format!("getting a total of {sum} or less")])
                .clone(),
            Event::SumIsEven => choices.pick(&["rolling an even sum", "getting an even total"]).to_string(),
            Event::SumIsOdd => choices.pick(&["rolling an odd sum", "getting an odd total"]).to_string(),
            Event::SumIsPrime => choices.pick(&["rolling a prime sum", "getting a prime total"]).to_string(),
            Event::SameNumber => choices.pick(&["rolling doubles", "getting the same number twice"]).to_string(),
            Event::DifferenceIs(difference) => choices
                .pick(&[
                    format!("rolling a difference of {difference}"),
                    format!("getting two numbers that differ by {difference}"),
                ])
                .clone(),
            Event::AnyShows(number) => choices
                .pick(&[format!("rolling at least one {number}"), format!("getting at least one {number}")])
                .clone(),
            Event::BothAtLeast(number) => choices
                .pick(&[format!("rolling {number} or more on both"), format!("getting at least {number} on each die")])
                .clone(),
            Event::BothAtMost(number) => choices
                .pick(&[format!("rolling {number} or less on both"), format!("getting at most {number} on each die")])
                .clone(),
        }
    }

    /// After "the probability that".
    fn being(self, choices: &mut Choices) -> String {
        match self {
            Event::SumIs(sum) => choices
                .pick(&[
                    format!("the sum is {sum}"),
                    format!("the numbers add up to {sum}"),
                    format!("the total is {sum}"),
                ])
                .clone(),
            Event::SumAtLeast(sum) => {
                choices.pick(&[format!("the sum is at least {sum}"), format!("the total is {sum} or more")]).clone()
            }
            Event::SumAtMost(sum) => {
                choices.pick(&[format!("the sum is at most {sum}"), format!("the total is {sum} or less")]).clone()
            }
            Event::SumIsEven => choices.pick(&["the sum is even", "the total is an even number"]).to_string(),
            Event::SumIsOdd => choices.pick(&["the sum is odd", "the total is an odd number"]).to_string(),
            Event::SumIsPrime => choices.pick(&["the sum is prime", "the total is a prime number"]).to_string(),
            Event::SameNumber => choices.pick(&["both show the same number", "the two numbers are equal"]).to_string(),
            Event::DifferenceIs(difference) => choices
                .pick(&[
                    format!("the numbers differ by {difference}"),
                    format!("the difference of the numbers is {difference}"),
                ])
                .clone(),
            Event::AnyShows(number) => choices
                .pick(&[format!("at least one shows {number}"), format!("{number} comes up at least once")])
                .clone(),
            Event::BothAtLeast(number) => {
                choices.pick(&[format!("both show {number} or more"), format!("each shows at least {number}")]).clone()
            }
            Event::BothAtMost(number) => {
                choices.pick(&[format!("both show {number} or less"), format!("each shows at most {number}")]).clone()
            }
        }
    }
}

/// The first step: how many outcomes there are.
fn outcomes_step((first, second): (i64, i64), choices: &mut Choices) -> String {
    let product = format!("{first} × {second} = {}", first * second);
    match first == second {
        true => choices
            .pick(&[
                format!("Each die has {first} sides, so there are {product} outcomes."),
                format!("Two dice with {first} sides each give {product} outcomes."),
            ])
            .clone(),
        false => choices
            .pick(&[
                format!("The dice have {first} and {second} sides, so there are {product} outcomes."),
                format!("Dice with {first} and {second} sides give {product} outcomes."),
            ])
            .clone(),
    }
}

/// The steps that count the outcomes asked for, and their number.
fn count_outcomes(sides: (i64, i64), event: Event) -> (String, i64) {
    let (first, second) = sides;
    match event {
        Event::SumIs(sum) => {
            let numbers = 1.max(sum - second)..=first.min(sum - 1);
            let pairs: Vec<String> = numbers.map(|number| format!("{number}+{}", sum - number)).collect();
            let count = pairs.len() as i64;
            (format!("Pairs with sum {sum}: {}. That is {}.", pairs.join(", "), counted(count, "pair")), count)
        }
        Event::SumAtLeast(sum) => count_sums(sides, sum..=first + second, |_| true),
        Event::SumAtMost(sum) => count_sums(sides, 2..=sum, |_| true),
        Event::SumIsPrime => count_sums(sides, 2..=first + second, is_prime),
        Event::SumIsEven | Event::SumIsOdd => count_parities(sides, event == Event::SumIsEven),
        Event::SameNumber => {
            let count = first.min(second);
            let pairs: Vec<String> = (1..=count).map(|number| format!("{number} and {number}")).collect();
            (format!("Equal pairs: {}. That is {}.", pairs.join(", "), counted(count, "pair")), count)
        }
        Event::DifferenceIs(difference) => count_differences(sides, difference),
        Event::AnyShows(number) => (
            format!(
                "The first die shows {number} in {second} of them and the second in {first}. Both show {number} in 1, which was counted twice. {second} + {first} - 1 = {}.",
                first + second - 1
            ),
            first + second - 1,
        ),
        Event::BothAtLeast(number) => count_both(sides, |side| (format!("{number} to {side}"), side - number + 1)),
        Event::BothAtMost(number) => count_both(sides, |_| (format!("1 to {number}"), number)),
    }
}

fn count_sums(sides: (i64, i64), sums: impl Iterator<Item = i64>, counts: fn(i64) -> bool) -> (String, i64) {
    let ways_of: Vec<(i64, i64)> = sums.filter(|&sum| counts(sum)).map(|sum| (sum, ways(sides, sum))).collect();
    let listed: Vec<String> =
        ways_of.iter().map(|(sum, ways)| format!("sum {sum} has {}", counted(*ways, "way"))).collect();
    let added: Vec<String> = ways_of.iter().map(|(_, ways)| ways.to_string()).collect();
    let total = ways_of.iter().map(|(_, ways)| ways).sum();
    (format!("{}. {} = {total}.", capitalised(&listed.join(", ")), added.join(" + ")), total)
}

fn count_parities((first, second): (i64, i64), even_sum: bool) -> (String, i64) {
    let (even, odd) = ((first / 2, second / 2), (first - first / 2, second - second / 2));
    let numbers = format!(
        "The first die has {} even and {} odd numbers, the second {} even and {} odd.",
        even.0, odd.0, even.1, odd.1
    );
    let (names, products) = match even_sum {
        true => (("Even + even", "odd + odd"), ((even.0, even.1), (odd.0, odd.1))),
        false => (("Even + odd", "odd + even"), ((even.0, odd.1), (odd.0, even.1))),
    };
    let (left, right) = (products.0.0 * products.0.1, products.1.0 * products.1.1);
    let steps = format!(
        "{numbers} {}: {} × {} = {left}, {}: {} × {} = {right}. {left} + {right} = {}.",
        names.0,
        products.0.0,
        products.0.1,
        names.1,
        products.1.0,
        products.1.1,
        left + right
    );
    (steps, left + right)
}

fn count_differences(sides: (i64, i64), difference: i64) -> (String, i64) {
    let (lower, higher) = differing(sides, difference);
    let pairs = |count: i64, order: fn(i64, i64) -> (i64, i64)| -> String {
        let listed: Vec<String> = (1..=count)
            .map(|number| order(number, number + difference))
            .map(|(first, second)| format!("{first} and {second}"))
            .collect();
        if listed.is_empty() { "none".to_string() } else { listed.join(", ") }
    };
    let steps = format!(
        "First die lower: {}. First die higher: {}. {lower} + {higher} = {}.",
        pairs(lower, |low, high| (low, high)),
        pairs(higher, |low, high| (high, low)),
        lower + higher
    );
    (steps, lower + higher)
}

fn count_both((first, second): (i64, i64), numbers_of: impl Fn(i64) -> (String, i64)) -> (String, i64) {
    let ((first_range, first_count), (second_range, second_count)) = (numbers_of(first), numbers_of(second));
    let count = first_count * second_count;
    let steps = format!(
        "The first die can show {first_range}, which is {}. The second can show {second_range}, which is {}. {first_count} × {second_count} = {count}.",
        counted(first_count, "number"),
        counted(second_count, "number")
    );
    (steps, count)
}
