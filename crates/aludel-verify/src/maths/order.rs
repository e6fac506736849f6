//! The order of values that a question asks for, from its words. Without such words, lists in another order than the reference
//! answer's are undecided.

use std::cmp::Ordering;
use std::sync::{LazyLock, OnceLock};

use regex::Regex;

use super::Equality;
use super::comparison::compare;
use super::comparison::scalar;
use super::reading::answer::{self, Answer};
use super::reading::quantity::Quantity;
use super::reading::token::Bracket;
use super::values::exact::Budget;

/// An order by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

impl Order {
    /// The order, in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Order::Ascending => "in ascending order",
            Order::Descending => "in descending order",
        }
    }

    /// The order that a question asks for in its last sentence, after which only notes on the form of the answer may follow.
    /// Anything said or described before is not an order of the answer; if both orders are named, the result is unclear.
    pub(super) fn asked_for(question: &str) -> Option<Order> {
        static NOTE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(?:separate|separated|comma|commas|boxed)\b"));
        let mut sentences = sentences(question).map(str::trim).filter(|sentence| !sentence.is_empty()).rev();
        let last = sentences.find(|sentence| order_at_end(sentence).is_some() || !NOTE.is_match(sentence))?;
        order_at_end(last)
    }

    /// Whether an answer has the values of the reference answer, which are in this order, in another order.
    pub(super) fn is_broken(self, answer: &str, gold: &str) -> bool {
        let (Answer::List(items), Answer::List(others)) = (answer::read(answer), answer::read(gold)) else {
            return false;
        };
        let budget = Budget::new();
        let tuple =
            |items: &[Answer]| Answer::Sequence { open: Bracket::Round, close: Bracket::Round, items: items.to_vec() };
        self.is_kept(&others, &budget)
            && compare::equal(&Answer::List(items.clone()), &Answer::List(others.clone()), &budget) == Equality::Equal
            && compare::equal(&tuple(&items), &tuple(&others), &budget) == Equality::Different
    }

    /// Whether each value is beyond the one before it. Values in several units are not compared.
    fn is_kept(self, items: &[Answer], budget: &Budget) -> bool {
        let wanted = match self {
            Order::Ascending => Ordering::Less,
            Order::Descending => Ordering::Greater,
        };
        items.windows(2).all(|pair| {
            let [Answer::Quantity(left), Answer::Quantity(right)] = pair else { return false };
            let is_alike = |left: &Quantity, right: &Quantity| {
                left.unit == right.unit && left.percent == right.percent && !left.compound && !right.compound
            };
            is_alike(left, right) && scalar::order(&left.expression, &right.expression, budget) == Some(wanted)
        })
    }
}

/// Sentences; a point within a number does not end one.
fn sentences(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    static END: LazyLock<Regex> = LazyLock::new(|| pattern(r"[.?!;:](?:\s|$)|\n"));
    END.split(text).collect::<Vec<_>>().into_iter()
}

/// The order at the end of a sentence that tells the reader to write something in that order: with a verb at the beginning of the
/// sentence or of a clause, or a word for the answers, and nothing that negates it or describes what is written.
fn order_at_end(sentence: &str) -> Option<Order> {
    // Ascending words, then descending ones.
    const SMALL: &str = "smallest|small|least|lowest|shortest|lightest";
    const LARGE: &str = "largest|large|greatest|biggest|highest|longest|heaviest|most";
    let named = |words: &str, from: &str, to: &str| {
        pattern(&format!(
            r"(?i)\b(?:(?:in\s+)?(?:{words})\s+(?:numerical\s+)?order|(?:from\s+)?(?:{from})\s+to\s+(?:the\s+)?(?:{to}))\b"
        ))
    };
    static ORDERS: OnceLock<[(Order, Regex); 2]> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        [
            (Order::Ascending, named("ascending|increasing|non-?decreasing", SMALL, LARGE)),
            (Order::Descending, named("descending|decreasing|non-?increasing", LARGE, SMALL)),
        ]
    });
    static TELLS: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)(?:^\W*|,\s*|\b(?:and|then|please)\s+)(?:list|order|sort|arrange|rank|write|give|enter|express|state|report|put|provide|present)\b|\b(?:your|the)\s+answers?\b",
        )
    });
    // "The numbers with digits in increasing order", and "not necessarily in ascending order".
    static OTHERWISE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)\b(?:with|whose|having|where|that|which|such|is|are|was|were|if|when|not|never|no|any|without|rather|regardless|whether|function|program)\b|n't\b",
        )
    });
    static REST: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^\W*(?:separated\b.*)?$"));
    let mut found = orders.iter().filter_map(|(order, pattern)| Some((*order, pattern.find(sentence)?)));
    let (order, place) = found.next()?;
    let (before, after) = (&sentence[..place.start()], &sentence[place.end()..]);
    let is_told = TELLS.is_match(before) && !OTHERWISE.is_match(before) && REST.is_match(after);
    (found.next().is_none() && is_told).then_some(order)
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_that_ask_for_an_order() {
        for (question, order) in [
            (
                "Solve x^2 = 5x - 6. Enter the solutions in increasing order, separated by commas.",
                Some(Order::Ascending),
            ),
            ("List the primes below 10 in ascending order.", Some(Order::Ascending)),
            ("Arrange 0.5, 0.25 and 0.3 from smallest to largest.", Some(Order::Ascending)),
            ("What are the roots? Give your answers from least to greatest.", Some(Order::Ascending)),
            ("Your answers should be given in ascending numerical order.", Some(Order::Ascending)),
            ("Sort 3, 1, 2 from largest to the smallest", Some(Order::Descending)),
            ("Write the factors in decreasing order!", Some(Order::Descending)),
            ("List the primes below 10.", None),
            ("The sides of a triangle are in increasing order. List them.", None),
            ("If the roots are listed in ascending order, give the second.", None),
            ("Three numbers, which are in descending order, have the sum 6. Write them.", None),
            ("List the names in increasing order of age.", None),
            ("Sort 3, 1, 2 in ascending order, then write them in descending order.", None),
            ("In what order do they come?", None),
            ("List all roots, not necessarily in ascending order.", None),
            ("Give both roots; you need not list them in increasing order.", None),
            ("The answers do not have to be written in increasing order.", None),
            ("List the roots in ascending order or in any other.", None),
            ("Sort 5, 3, 9, 1 in ascending order. Which positions hold the two middle numbers?", None),
            ("First write the data from smallest to largest. Then give the median and the mode.", None),
            ("List the data from smallest to largest first.", None),
            ("Should you list the roots in ascending order? No. Give them as you like.", None),
            ("List the smaller root's square and the count, rather than in ascending order.", None),
            ("Write a function that returns the list in ascending order. For input [1,2], give the two lines.", None),
            ("Find all solutions and list them in increasing order.", Some(Order::Ascending)),
            ("Enter the roots from least to greatest. Separate them by commas.", Some(Order::Ascending)),
            ("List all numbers of three digits with digits in increasing order.", None),
            ("List the triples whose sides are in increasing order.", None),
            ("Give the numbers of the cards. Ann must put them in ascending order.", None),
            ("Give the points where f lists in increasing order its zeros.", None),
            ("Bubble sort puts a list in ascending order. Which two pairs are swapped first?", None),
            ("Write the digits of 4172 in descending order, subtract the reverse, and list the digits", None),
            ("", None),
        ] {
            assert_eq!(Order::asked_for(question), order, "{question}");
        }
    }

    #[test]
    fn a_list_in_another_order_breaks_the_one_asked_for() {
        let broken = |answer, gold| Order::Ascending.is_broken(answer, gold);
        assert!(broken("3, 2, 1", "1, 2, 3") && broken("1, 3, 2", "1, 2, 3") && broken("2, \\sqrt{2}", "\\sqrt{2}, 2"));
        assert!(Order::Descending.is_broken("1, 2", "2, 1"));
        for (answer, gold) in [
            ("1, 2, 3", "1, 2, 3"),
            ("3, 2, 1", "2, 1, 3"),
            ("3, 2, 1", "3, 2, 1"),
            ("3, 2", "1, 2, 3"),
            ("1, 2", "2, 1"),
            ("b, a", "a, b"),
            ("50 cm, 1 m", "1 m, 50 cm"),
            ("2", "1"),
        ] {
            assert!(!broken(answer, gold), "{answer} for {gold}");
        }
    }
}
