//! How outcomes of two dice are counted, in words that a very small model can follow, and how many there are.

use super::Event;
use crate::tasks::words::{capitalised, counted};

/// The steps that count the outcomes asked for, and their number.
pub(super) fn count_outcomes(sides: (i64, i64), event: Event) -> (String, i64) {
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
