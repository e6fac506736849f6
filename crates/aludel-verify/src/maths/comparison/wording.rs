//! Answers in words. Two texts are the same if they match in a fixed phrase, different if they have nothing in common, and
//! otherwise undecided.

use crate::maths::Equality;
use crate::maths::reading::quantity::Quantity;
use crate::maths::reading::spelled;
use crate::maths::values::exact;
use crate::maths::values::expression::Expression;
use crate::maths::values::unit;

/// The meaning of a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// There is no such value.
    Undefined,
    /// There is no solution.
    Unsolvable,
    /// None of them, nobody: also 0.
    Nothing,
    /// More than any number.
    Endless,
    Yes,
    No,
}

/// Words that may precede a phrase.
const FILLERS: [&str; 28] = [
    "the",
    "a",
    "an",
    "it",
    "this",
    "that",
    "there",
    "is",
    "are",
    "has",
    "have",
    "limit",
    "answer",
    "value",
    "slope",
    "equation",
    "system",
    "function",
    "expression",
    "integral",
    "inverse",
    "derivative",
    "problem",
    "inequality",
    "so",
    "therefore",
    "thus",
    "hence",
];

/// A text with one of these says more than the same text without it.
const TURNS: [&str; 14] =
    ["not", "no", "never", "neither", "nor", "except", "without", "or", "and", "but", "non", "cannot", "t", "un"];

fn said(text: &str) -> Option<Said> {
    let mut words: Vec<&str> = text.split(' ').collect();
    while words.len() > 1 && FILLERS.contains(&words[0]) {
        words.remove(0);
    }
    Some(match words.join(" ").as_str() {
        "dne" | "undefined" | "not defined" | "does not exist" | "do not exist" | "doesn t exist" | "not exist"
        | "nonexistent" | "non existent" | "no limit" | "no limit exists" | "no value" | "no such value" => {
            Said::Undefined
        }
        "no solution" | "no solutions" | "no real solution" | "no real solutions" | "no solution exists"
        | "no solutions exist" | "unsolvable" | "empty set" | "no answer" => Said::Unsolvable,
        "none" | "nothing" | "nobody" | "no one" | "nowhere" | "never" | "nil" | "nought" | "n a" => Said::Nothing,
        "infinite"
        | "infinitely many"
        | "infinitely many solutions"
        | "infinite solutions"
        | "unbounded"
        | "diverges"
        | "divergent" => Said::Endless,
        "yes" | "true" | "correct" => Said::Yes,
        "no" | "false" | "incorrect" => Said::No,
        _ => return None,
    })
}

/// Two texts in lower case, their words with one space between.
pub(in crate::maths) fn equal(left: &str, right: &str) -> Equality {
    if left == right {
        return Equality::Equal;
    }
    match (said(left), said(right)) {
        (Some(Said::Undefined), Some(Said::Undefined)) | (Some(Said::Unsolvable), Some(Said::Unsolvable)) => {
            return Equality::Equal;
        }
        (Some(Said::Yes), Some(Said::No)) | (Some(Said::No), Some(Said::Yes)) => return Equality::Different,
        (Some(left), Some(right)) if left == right => return Equality::Undecided,
        (Some(left), Some(right)) => {
            let is_truth = |said| matches!(said, Said::Yes | Said::No);
            return if is_truth(left) || is_truth(right) { Equality::Different } else { Equality::Undecided };
        }
        _ => {}
    }
    let words = |text: &str| {
        let mut words: Vec<String> =
            text.split(' ').filter(|word| !matches!(*word, "the" | "a" | "an")).map(str::to_string).collect();
        words.sort();
        words
    };
    let (first, second) = (words(left), words(right));
    let without_and = |words: &[String]| words.iter().filter(|word| *word != "and").cloned().collect::<Vec<_>>();
    let is_reordered = without_and(&first) == without_and(&second);
    let is_within = |few: &[String], many: &[String]| {
        let mut left: Vec<&String> = many.iter().collect();
        let taken = few.iter().all(|word| {
            let at = left.iter().position(|other| *other == word);
            at.map(|at| left.remove(at)).is_some()
        });
        taken && !few.is_empty() && !left.iter().any(|word| TURNS.contains(&word.as_str()))
    };
    let is_short_for = |short: &str, long: &str| short.chars().count() >= 3 && long.starts_with(short);
    // "converges" and "convergent".
    let stem = left.chars().zip(right.chars()).take_while(|(one, other)| one == other).count();
    let is_stem = stem >= 5 && 5 * stem >= 3 * left.chars().count().max(right.chars().count());
    let stands_for = |letters: &str, words: &[&str]| {
        let initials: String = words.iter().filter_map(|word| word.chars().next()).collect();
        words.len() > 1
            && !letters.contains(' ')
            && letters.len() <= initials.len() + 1
            && letters.starts_with(&initials)
    };
    let is_abbreviated = stands_for(left, &right.split(' ').collect::<Vec<_>>())
        || stands_for(right, &left.split(' ').collect::<Vec<_>>());
    let is_one_word = first.len() == 1 && second.len() == 1;
    let perhaps = is_reordered
        || is_within(&first, &second)
        || is_within(&second, &first)
        || is_one_word && (is_stem || is_short_for(left, right) || is_short_for(right, left))
        || is_abbreviated
        || unit::is_same(left, right)
        || left.replace(' ', "") == right.replace(' ', "");
    if perhaps { Equality::Undecided } else { Equality::Different }
}

/// Words against a number or an expression.
pub(in crate::maths) fn against(text: &str, quantity: &Quantity) -> Equality {
    let decided = |same: bool| if same { Equality::Equal } else { Equality::Different };
    let is_infinite = quantity.expression.contains(&Expression::Infinity);
    let value = exact::value(&quantity.expression, &[], &exact::Budget::new());
    match (said(text), &quantity.expression) {
        (Some(Said::Undefined | Said::Unsolvable | Said::Endless | Said::Nothing), _) if is_infinite => {
            Equality::Undecided
        }
        (Some(Said::Endless), Expression::Symbol(name)) if name == "mathbb R" => Equality::Undecided,
        (Some(Said::Undefined), _) if value == Err(exact::NoValue::Undefined) && is_constant(&quantity.expression) => {
            Equality::Undecided
        }
        (Some(Said::Nothing), _) if value.is_ok_and(|value| value.is_zero()) => Equality::Undecided,
        (_, Expression::Symbol(name)) if name.to_lowercase() == text => Equality::Equal,
        // "all integers", and what an option says.
        (_, Expression::Symbol(name)) if name.starts_with("mathbb") || is_option(name) => Equality::Undecided,
        _ if is_open(text) && said(text).is_none() => Equality::Undecided,
        (_, Expression::Euler) => decided(text == "e"),
        (_, Expression::Imaginary) => decided(text == "i"),
        _ => Equality::Different,
    }
}

fn is_constant(expression: &Expression) -> bool {
    let mut names = Vec::new();
    expression.symbols(&mut names);
    names.is_empty()
}

/// Whether a text may stand for something that is neither text nor one number: the empty set, a time, an option's value.
pub(in crate::maths) fn is_open(text: &str) -> bool {
    matches!(said(text), Some(Said::Undefined | Said::Unsolvable | Said::Nothing | Said::Endless))
        || spelled::names_a_number(text)
        || names_an_option(text)
        || is_one_unit(text)
}

/// "an hour".
fn is_one_unit(text: &str) -> bool {
    // Outside of \text{}, "an" is read as two letters.
    let unit = ["a n ", "an ", "a "].iter().find_map(|article| text.strip_prefix(article));
    unit.is_some_and(unit::is_known)
}

/// Whether a symbol may be the letter of an option, so that a value or words beside it may be what the option says.
pub(super) fn is_option(name: &str) -> bool {
    matches!(name, "A" | "B" | "C" | "D" | "E")
}

/// "option c": the option's value is unknown here.
fn names_an_option(text: &str) -> bool {
    let rest = text.strip_prefix("option ").or_else(|| text.strip_prefix("choice "));
    rest.is_some_and(|rest| rest.chars().count() == 1)
}

#[cfg(test)]
mod tests {
    use crate::maths::Equality::{Different, Equal, Undecided};
    use crate::maths::tests::check;

    #[test]
    fn what_does_not_exist() {
        check(
            Equal,
            &[
                ("DNE", "undefined"),
                (r"\text{DNE}", r"\text{does not exist}"),
                ("The limit does not exist.", "DNE"),
                ("It is undefined", r"\text{not defined}"),
                ("no solution", "There is no solution."),
                ("no solutions", r"\emptyset"),
            ],
        );
        check(
            Undecided,
            &[
                ("DNE", "no solution"),
                ("undefined", r"\infty"),
                ("DNE", r"\emptyset"),
                ("none", "0"),
                ("none", "no solution"),
                ("undefined", r"\frac{1}{0}"),
                ("infinitely many", r"\infty"),
                ("infinitely many solutions", r"\mathbb{R}"),
            ],
        );
        check(
            Different,
            &[
                ("DNE", "5"),
                ("undefined", "0"),
                ("no solution", "2"),
                ("none", "3"),
                ("no solution", r"\{2\}"),
                ("DNE", "x"),
            ],
        );
    }

    #[test]
    fn texts_with_words_in_common_may_mean_the_same() {
        check(
            Undecided,
            &[
                ("yes", "true"),
                ("Monday", "Mon"),
                ("the dog", "dog"),
                ("Paris, France", "Paris"),
                ("coprime", "co-prime"),
                ("triangles", "triangle"),
                ("converges", "convergent"),
                ("USA", "United States"),
                ("cm", "centimeters"),
                (r"\text{isosceles triangle}", r"\text{isosceles}"),
            ],
        );
        check(
            Different,
            &[
                ("yes", "no"),
                ("true", "false"),
                ("odd", "not odd"),
                ("Monday", "Tuesday"),
                (r"\text{A or B}", r"\text{A and B}"),
                ("cat", "dog"),
                ("London", "5"),
            ],
        );
        check(Equal, &[("Yes.", "yes"), ("The dog", "the dog")]);
        check(
            Undecided,
            &[("an hour", "60 minutes"), ("a dollar", r"\$1"), ("all integers", r"\mathbb{Z}"), ("5 pounds", "£5")],
        );
    }
}
