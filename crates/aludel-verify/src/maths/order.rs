//! The order that a question asks for its values in, in plain words. Lists in another order than the right answer's are undecided as long as
//! nothing is known of the question; here is what it says.

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::Regex;

use super::answer::{self, Answer};
use super::compare;
use super::exact::Budget;
use super::quantity::Quantity;
use super::token::Bracket;
use super::{Equality, scalar};

/// An order by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

impl Order {
    /// What is asked for, in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Order::Ascending => "in ascending order",
            Order::Descending => "in descending order",
        }
    }

    /// The order that a question asks for: by its last sentence that tells somebody to do something, and not by one that describes what is
    /// given, takes an order back, or is followed by what is really asked. Where it names both orders, nobody knows.
    pub(super) fn asked_for(question: &str) -> Option<Order> {
        let sentences: Vec<&str> = sentences(question).filter(|sentence| !sentence.trim().is_empty()).collect();
        let last = sentences.iter().rposition(|sentence| !orders_of(sentence).is_empty())?;
        if sentences[last + 1..].iter().any(|sentence| ASKS.is_match(sentence)) {
            return None;
        }
        let mut found = sentences.into_iter().flat_map(orders_of);
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    /// Whether an answer has the values of the right one, which stand in this order, in another.
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

/// What goes on asking behind an order: that was a step on the way.
static ASKS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^\W*(?:what|which|who|where|when|how|find|compute|calculate|determine|evaluate|give|list|write|report|state|for|no|then|now|next|subtract|add|multiply)\b",
    )
});

/// Sentences; a point within a number ends none.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    static END: LazyLock<Regex> = LazyLock::new(|| pattern(r"[.?!;:](?:\s|$)|\n"));
    END.split(text)
}

fn orders_of(sentence: &str) -> Vec<Order> {
    // Small ones come first, or large ones.
    const SMALL: &str = "smallest|small|least|lowest|shortest|lightest";
    const LARGE: &str = "largest|large|greatest|biggest|highest|longest|heaviest|most";
    static ASCENDING: LazyLock<Regex> = LazyLock::new(|| {
        pattern(&format!(
            r"(?i)\b(?:ascending|increasing|non-?decreasing)\s+(?:numerical\s+)?order\b|\b(?:{SMALL})\s+to\s+(?:the\s+)?(?:{LARGE})\b"
        ))
    });
    static DESCENDING: LazyLock<Regex> = LazyLock::new(|| {
        pattern(&format!(
            r"(?i)\b(?:descending|decreasing|non-?increasing)\s+(?:numerical\s+)?order\b|\b(?:{LARGE})\s+to\s+(?:the\s+)?(?:{SMALL})\b"
        ))
    });
    static GIVEN: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)^\W*(?:if|suppose|let|given|when|assume|consider|since|because)\b|\b(?:is|are|was|were|which|that)\s+(?:in|from|listed|arranged|written|given|sorted|ordered)\b",
        )
    });
    static TELLS: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)\b(?:list|order|sort|arrange|rank|write|give|enter|express|state|report|put|provide|present|answers?|separated)\b",
        )
    });
    let found = |order: &'static LazyLock<Regex>| {
        order.find_iter(sentence).any(|found| {
            let (before, after) = (&sentence[..found.start()], &sentence[found.end()..]);
            // "in increasing order of their age" is no order of the values.
            let after = after.trim_start();
            let is_by_another = ["of ", "by "].iter().any(|word| after.starts_with(word));
            !is_by_another && (TELLS.is_match(before) || TELLS.is_match(after))
        })
    };
    // "Not necessarily in ascending order", and "Write it in descending order, subtract the reverse, and list its digits".
    static TAKEN_BACK: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)\b(?:not|never|no|any|without|needn|don|doesn|regardless|whether|first|function|program|rather\s+than|should\s+you)\b|,\s*(?:and\s+|then\s+)*(?:subtract|add|multiply|divide|find|compute|calculate|count|sum|what|which|how)\b",
        )
    });
    if GIVEN.is_match(sentence) || TAKEN_BACK.is_match(sentence) {
        return Vec::new();
    }
    let orders = [(Order::Ascending, found(&ASCENDING)), (Order::Descending, found(&DESCENDING))];
    orders.into_iter().filter(|(_, is_found)| *is_found).map(|(order, _)| order).collect()
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
