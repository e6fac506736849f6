//! How outcomes of two dice are counted and set beside all outcomes, in steps that a very small model can follow: what can be
//! cancelled is cancelled before anything is multiplied, so that no number grows large.

use super::Event;
use crate::tasks::arithmetic::reduction;
use crate::tasks::fraction::Fraction;
use crate::tasks::words::{capitalised, counted, joined};

/// The steps from an event to its probability.
pub(super) fn solution(sides: (i64, i64), event: Event) -> (String, Fraction) {
    let (first, second) = sides;
    let named = |event: String| format!("{event}, sides {first} and {second}:");
    let count = match event {
        Event::BothAtLeast(number) => {
            let count_of = |side| {
                let count = side - number + 1;
                (format!("{number} to {side} are {side} - {} = {count}", number - 1), count)
            };
            return multiplied(sides, named(format!("Both at least {number}")), count_of);
        }
        Event::BothAtMost(number) => {
            let count_of = |_| (format!("1 to {number} are {number}"), number);
            return multiplied(sides, named(format!("Both at most {number}")), count_of);
        }
        Event::SumIs(sum) => count_sum(sides, sum, named(format!("Sum {sum}"))),
        Event::SumAtLeast(sum) => count_sums(sides, sum..=first + second, |_| true),
        Event::SumAtMost(sum) => count_sums(sides, 2..=sum, |_| true),
        Event::SumIsPrime => count_sums(sides, 2..=first + second, is_prime),
        Event::SumIsEven | Event::SumIsOdd => count_parities(sides, event == Event::SumIsEven),
        Event::SameNumber => {
            let count = first.min(second);
            (format!("{} 1 to {count}.", named("Both the same".to_string())), count)
        }
        Event::DifferenceIs(difference) => count_differences(sides, difference),
        Event::AnyShows(number) => {
            let (both, count) = (first + second, first + second - 1);
            let counting = format!("{first} + {second} - 1 = {both} - 1 = {count}.");
            let name = named(format!("At least one {number}"));
            (format!("{name} first in {second}, second in {first}, both in 1: {counting}"), count)
        }
    };
    divided(sides, count)
}

/// A number of outcomes as a share of all: the count is cancelled against the sides of one die, then of the other.
fn divided((first, second): (i64, i64), (counting, count): (String, i64)) -> (String, Fraction) {
    let (over_first, (top, left)) = reduction(count, first);
    let (over_second, (top, right)) = reduction(top, second);
    let bottom = left * right;
    let steps = format!(
        "{counting} That is {count} of {first} × {second}. {over_first} {over_second} {left} × {right} = {bottom}, so {top}/{bottom}."
    );
    (steps, Fraction::new(top, bottom))
}

/// Each die by itself: what both do is the product of two fractions.
fn multiplied(
    (first, second): (i64, i64),
    name: String,
    count_of: impl Fn(i64) -> (String, i64),
) -> (String, Fraction) {
    let one = |side: i64| {
        let (counting, count) = count_of(side);
        let (sentence, reduced) = reduction(count, side);
        (format!("{counting} of {side}: {sentence}"), reduced)
    };
    let ((steps, left), (more_steps, right)) = (one(first), one(second));
    let (top, bottom) = (left.0 * right.0, left.1 * right.1);
    let product = format!("{}/{} × {}/{} = {top}/{bottom}.", left.0, left.1, right.0, right.1);
    (format!("{name} {steps} {more_steps} {product} {}", reduction(top, bottom).0), Fraction::new(top, bottom))
}

/// The pairs, from the lowest number of the first die on that the second can still make up for: what the first pair is made of is
/// worked out, for a list that begins wrongly is wrong altogether.
fn count_sum((first, second): (i64, i64), sum: i64, name: String) -> (String, i64) {
    let (lowest, highest) = (1.max(sum - second), first.min(sum - 1));
    let from = match lowest {
        1 => format!("{sum} - 1 = {}", sum - 1),
        _ => format!("{sum} - {second} = {lowest}"),
    };
    let pairs = joined((lowest..=highest).map(|number| format!("{number}+{}", sum - number)));
    (format!("{name} {from}: {pairs}."), highest - lowest + 1)
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

/// In how many ways two dice give a sum.
pub(super) fn ways((first, second): (i64, i64), sum: i64) -> i64 {
    (first.min(sum - 1) - 1.max(sum - second) + 1).max(0)
}

/// In how many ways the numbers differ by so much with the first die lower, and with the first die higher.
pub(super) fn differing((first, second): (i64, i64), difference: i64) -> (i64, i64) {
    (first.min(second - difference).max(0), second.min(first - difference).max(0))
}

fn is_prime(number: i64) -> bool {
    number > 1 && (2..number).all(|divisor| number % divisor != 0)
}
