//! Days: weekdays some days on or back, days between two dates, the date some days later. Solutions take whole weeks away
//! and then name each day, or go by way of the end of the month. No year is a leap year unless its February is left out.

use super::Difficulty;
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;
use super::words::joined;

/// A problem; weekdays count from 0 (Monday), months from 0 (January), days of a month from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Days {
    /// Which weekday is `days` days after (before, below 0) `weekday`?
    Weekday { weekday: usize, days: i64 },
    /// How many days after the `from`th of a month is the `to`th of the next?
    Between { month: usize, from: i64, to: i64 },
    /// Day `first` of a month is `weekday`: which weekday is day `second`, later in that month?
    Dated { month: usize, first: i64, second: i64, weekday: usize },
}

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

const MONTHS: [(&str, i64); 12] = [
    ("January", 31),
    ("February", 28),
    ("March", 31),
    ("April", 30),
    ("May", 31),
    ("June", 30),
    ("July", 31),
    ("August", 31),
    ("September", 30),
    ("October", 31),
    ("November", 30),
    ("December", 31),
];

const FEBRUARY: usize = 1;

pub(super) fn puzzles() -> Vec<Days> {
    let mut puzzles = Vec::new();
    for weekday in 0..7 {
        puzzles.extend((-20..=40).filter(|&days| days != 0).map(|days| Days::Weekday { weekday, days }));
    }
    for month in (0..12).filter(|&month| month != FEBRUARY) {
        for from in MONTHS[month].1 - 14..MONTHS[month].1 {
            puzzles.extend((1..=20).map(|to| Days::Between { month, from, to }));
        }
        for first in (1..=14).step_by(2) {
            let later = (first + 3..=28).step_by(3);
            puzzles.extend(later.map(|second| {
                let weekday = (month + first as usize + second as usize) % 7;
                Days::Dated { month, first, second, weekday }
            }));
        }
    }
    puzzles
}

/// Complete weeks are left out, and the remaining days are counted one by one.
fn walk(weekday: usize, days: i64) -> (String, usize) {
    let (weeks, rest) = (days.abs() / 7, days.abs() % 7);
    let step: usize = if days > 0 { 1 } else { 6 };
    let walked: Vec<usize> = (1..=rest as usize).map(|count| (weekday + count * step) % 7).collect();
    let taken = match weeks {
        0 => String::new(),
        _ => format!("{} days are whole weeks, {} - {} = {rest}. ", weeks * 7, days.abs(), weeks * 7),
    };
    let order = if days > 0 { "after" } else { "before" };
    let named = match rest {
        0 => format!("No day is left, so it is {} again.", WEEKDAYS[weekday]),
        _ => {
            let listed = walked.iter().zip(1..).map(|(&day, count)| format!("{count} {}", WEEKDAYS[day]));
            format!("The days {order} {}: {}.", WEEKDAYS[weekday], joined(listed))
        }
    };
    (taken + &named, walked.last().copied().unwrap_or(weekday))
}

impl Puzzle for Days {
    fn id(&self) -> String {
        match self {
            Days::Weekday { weekday, days } => format!("weekday/{weekday},{days}"),
            Days::Between { month, from, to } => format!("between/{month},{from},{to}"),
            Days::Dated { month, first, second, weekday } => format!("dated/{month},{first},{second},{weekday}"),
        }
    }

    fn difficulty(&self) -> Difficulty {
        match self {
            Days::Weekday { days: 1..=20, .. } | Days::Between { .. } => Difficulty::Easy,
            Days::Weekday { .. } => Difficulty::Medium,
            Days::Dated { .. } => Difficulty::Hard,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        match *self {
            Days::Weekday { weekday, days } => {
                let (count, today) = (days.abs(), WEEKDAYS[weekday]);
                let sentences: &[&str] = if days > 0 { &AFTER } else { &BEFORE };
                let question = choices.say(sentences, &[("today", &today), ("count", &count)]);
                let (steps, day) = walk(weekday, days);
                WorkedProblem::new(question, steps, WEEKDAYS[day])
            }
            Days::Between { month, from, to } => {
                let ((name, length), (next, _)) = (MONTHS[month], MONTHS[(month + 1) % 12]);
                let question = choices.say(
                    &[
                        "How many days is it from {name} {from} to {next} {to}?",
                        "Today is {name} {from}. In how many days is {next} {to}?",
                        "A trip begins on {name} {from} and ends on {next} {to}. How many days later is that?",
                    ],
                    &[("name", &name), ("from", &from), ("next", &next), ("to", &to)],
                );
                let left = length - from;
                let steps = format!(
                    "{name} has {length} days. To the end of {name}: {length} - {from} = {left}. Then {to} days of {next}: {left} + {to} = {}.",
                    left + to
                );
                WorkedProblem::new(question, steps, left + to)
            }
            Days::Dated { month, first, second, weekday } => {
                let (name, today) = (MONTHS[month].0, WEEKDAYS[weekday]);
                let question = choices.say(
                    &[
                        "{name} {first} is a {today}. What day of the week is {name} {second}?",
                        "If {name} {first} falls on a {today}, on which weekday does {name} {second} fall?",
                    ],
                    &[("name", &name), ("first", &first), ("second", &second), ("today", &today)],
                );
                let (steps, day) = walk(weekday, second - first);
                let steps = format!("{second} - {first} = {} days later. {steps}", second - first);
                WorkedProblem::new(question, steps, WEEKDAYS[day])
            }
        }
    }
}

const AFTER: [&str; 4] = [
    "Today is {today}. What day of the week will it be in {count} days?",
    "Which weekday comes {count} days after a {today}?",
    "If today is {today}, what day is it {count} days from now?",
    "A parcel is sent on {today} and arrives {count} days later. On which weekday?",
];

const BEFORE: [&str; 3] = [
    "Today is {today}. What day of the week was it {count} days ago?",
    "Which weekday comes {count} days before a {today}?",
    "If today is {today}, what day was it {count} days ago?",
];

#[test]
fn answers_equal_walking_day_by_day() {
    let day_after =
        |(month, day): (usize, i64)| if day == MONTHS[month].1 { ((month + 1) % 12, 1) } else { (month, day + 1) };
    for puzzle in puzzles() {
        let walk = |mut weekday: usize, days: i64| {
            for _ in 0..days.abs() {
                weekday = if days > 0 { (weekday + 1) % 7 } else { (weekday + 6) % 7 };
            }
            WEEKDAYS[weekday].to_string()
        };
        let wanted = match puzzle {
            Days::Weekday { weekday, days } => walk(weekday, days),
            Days::Dated { first, second, weekday, .. } => walk(weekday, second - first),
            Days::Between { month, from, to } => {
                let days = std::iter::successors(Some((month, from)), |&date| Some(day_after(date)));
                days.take_while(|&date| date != ((month + 1) % 12, to)).count().to_string()
            }
        };
        assert_eq!(puzzle.write(&mut Choices::new(1)).answer, wanted, "{puzzle:?}");
    }
}
