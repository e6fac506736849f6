//! Property tests: an answer in which one thing was changed is never the answer. Answers are made from parts, so that a
//! change is known to change the value.

use proptest::prelude::*;

use crate::maths::{Equality, equal};

/// A number in one of its spellings.
fn spelled(value: i64, form: u8) -> String {
    match form % 6 {
        0 => value.to_string(),
        1 => format!("{value}.0"),
        2 => format!(r"\frac{{{}}}{{3}}", 3 * value),
        3 => format!("{}/2", 2 * value),
        4 => format!(r"\left({value}\right)"),
        _ => format!("{}+{}", value - 7, 7),
    }
}

/// A union of intervals between whole numbers, two apart at least: (−9, −6] ∪ [2, 3).
#[derive(Clone, Debug)]
struct Spans(Vec<(i64, bool, i64, bool)>);

impl Spans {
    fn written(&self, forms: &[u8]) -> String {
        let mut forms = forms.iter().copied().cycle();
        let mut form = || forms.next().unwrap_or(0);
        let spans = self.0.iter().map(|&(low, from, high, to)| {
            let (open, close) = (if from { "[" } else { "(" }, if to { "]" } else { ")" });
            format!("{open}{}, {}{close}", spelled(low, form()), spelled(high, form()))
        });
        spans.collect::<Vec<_>>().join(r" \cup ")
    }

    /// The same as conditions on x.
    fn as_conditions(&self) -> String {
        let sign = |closed| if closed { r"\le" } else { "<" };
        let spans = self.0.iter().map(|&(low, from, high, to)| format!("{low} {} x {} {high}", sign(from), sign(to)));
        spans.collect::<Vec<_>>().join(r" \text{ or } ")
    }

    /// The same in more pieces: each is cut at a place within it.
    fn in_pieces(&self) -> String {
        let pieces = self.0.iter().flat_map(|&(low, from, high, to)| {
            let (open, close) = (if from { "[" } else { "(" }, if to { "]" } else { ")" });
            let middle = format!(r"\frac{{{}}}{{2}}", low + high);
            [format!("{open}{low},{middle}]"), format!("({middle},{high}{close}")]
        });
        pieces.collect::<Vec<_>>().join(r"\cup")
    }
}

fn spans() -> impl Strategy<Value = Spans> {
    let piece = (1i64..5, any::<bool>(), 1i64..5, any::<bool>());
    proptest::collection::vec(piece, 1..4).prop_map(|pieces| {
        let mut at = -9;
        Spans(
            pieces
                .into_iter()
                .map(|(gap, from, length, to)| {
                    let low = at + gap + 1;
                    at = low + length;
                    (low, from, at, to)
                })
                .collect(),
        )
    })
}

proptest! {
    #[test]
    fn another_number_is_not_equal(value in -5000i64..5000, other in -5000i64..5000, forms in any::<[u8; 2]>()) {
        let wanted = if value == other { Equality::Equal } else { Equality::Different };
        prop_assert_eq!(equal(&spelled(value, forms[0]), &spelled(other, forms[1])), wanted);
    }

    #[test]
    fn a_changed_digit_is_not_equal(digits in "[1-9][0-9]{0,40}", place in any::<prop::sample::Index>(), by in 1u8..10) {
        let mut changed = digits.clone().into_bytes();
        let at = place.index(changed.len());
        changed[at] = b'0' + (changed[at] - b'0' + by) % 10;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(equal(&digits, &changed), Equality::Different);
        for form in ["{}0.5", "0.{}", r"\sqrt{2}+{}", r"\{{}, -1\}", "x = {}", r"{} \text{ cm}", r"{}\%", r"\$${}"] {
            let (left, right) = (form.replace("{}", &digits), form.replace("{}", &changed));
            if form != "0.{}" || digits.len() < 6 {
                prop_assert_ne!(equal(&left, &right), Equality::Equal, "{} and {}", left, right);
            }
        }
    }

    #[test]
    fn another_time_is_not_equal(hour in 1u32..24, minute in 0u32..60, other_hour in 1u32..24, other in 0u32..60) {
        let (left, right) = (format!("{hour}:{minute:02}"), format!("{other_hour}:{other:02}"));
        let same = (hour, minute) == (other_hour, other);
        prop_assert_eq!(equal(&left, &right) == Equality::Equal, same, "{} and {}", left, right);
        let half = |hour: u32, minute| format!("{}:{minute:02} {}", (hour + 11) % 12 + 1, if hour < 12 { "AM" } else { "PM" });
        let wanted = if same { Equality::Equal } else { Equality::Different };
        prop_assert_eq!(equal(&half(hour, minute), &half(other_hour, other)), wanted);
    }

    #[test]
    fn a_set_is_itself_in_any_spelling(spans in spans(), forms in any::<[u8; 6]>()) {
        let plain = spans.written(&[0]);
        let mut reversed = spans.clone();
        reversed.0.reverse();
        for same in [spans.written(&forms), reversed.written(&[0]), spans.as_conditions(), spans.in_pieces()] {
            prop_assert_eq!(equal(&plain, &same), Equality::Equal, "{} and {}", plain, same);
        }
    }

    #[test]
    fn a_set_with_another_end_is_not_equal(spans in spans(), which in any::<prop::sample::Index>(), change in 0u8..5) {
        let mut changed = spans.clone();
        let span = &mut changed.0[which.index(spans.0.len())];
        match change {
            0 => span.0 -= 1,
            1 => span.1 = !span.1,
            2 => span.3 = !span.3,
            3 => span.2 = span.0 + 17,
            _ => *span = (span.0 + 50, span.1, span.2 + 50, span.3),
        }
        for (left, right) in [
            (spans.written(&[0]), changed.written(&[0])),
            (spans.as_conditions(), changed.written(&[0])),
            (spans.in_pieces(), changed.as_conditions()),
        ] {
            prop_assert_ne!(equal(&left, &right), Equality::Equal, "{} and {}", left, right);
        }
    }

    #[test]
    fn set_operations_are_those_of_membership(
        left in proptest::collection::btree_set(-6i64..6, 1..6),
        right in proptest::collection::btree_set(-6i64..6, 1..6),
        wrong in -6i64..6,
    ) {
        let written = |items: &mut dyn Iterator<Item = i64>| {
            format!(r"\{{{}\}}", items.map(|item| item.to_string()).collect::<Vec<_>>().join(","))
        };
        let (one, other) = (written(&mut left.iter().copied()), written(&mut right.iter().copied()));
        for (operator, result) in [
            ("cup", left.union(&right).copied().collect::<std::collections::BTreeSet<_>>()),
            ("cap", left.intersection(&right).copied().collect()),
            ("setminus", left.difference(&right).copied().collect()),
        ] {
            let joined = format!(r"{one} \{operator} {other}");
            prop_assert_eq!(equal(&joined, &written(&mut result.iter().copied())), Equality::Equal, "{}", joined);
            let mut changed = result.clone();
            if !changed.remove(&wrong) {
                changed.insert(wrong);
            }
            let changed = written(&mut changed.into_iter());
            prop_assert_ne!(equal(&joined, &changed), Equality::Equal, "{} and {}", joined, changed);
        }
    }

    #[test]
    fn another_operator_is_not_equal(a in 2i64..30, b in 2i64..30, signs in any::<[prop::sample::Index; 2]>()) {
        let signs = signs.map(|sign| ["+", "-", r"\cdot ", "/", "^"][sign.index(5)]);
        // 2 + 2, 2 · 2 and 2^2, or 4^2 and 2^4 with other numbers: by value, in floats.
        let value = |sign: &str| match sign {
            "+" => (a + b) as f64,
            "-" => (a - b) as f64,
            "/" => a as f64 / b as f64,
            "^" => (a as f64).powf(b as f64),
            _ => (a * b) as f64,
        };
        let [left, right] = signs.map(|sign| format!("{a}{sign}{{{b}}}"));
        let same = value(signs[0]) == value(signs[1]);
        prop_assert_eq!(equal(&left, &right) == Equality::Equal, same, "{} and {}", left, right);
    }

    #[test]
    fn another_coefficient_is_not_equal(coefficients in any::<[i8; 4]>(), which in 0usize..4, by in 1i8..9) {
        let written = |coefficients: [i8; 4]| {
            let [a, b, c, d] = coefficients.map(i64::from);
            (format!("{a}x^3{b:+}x^2y{c:+}y{d:+}"), format!(r"x^2({a}x{b:+}y){c:+}y{d:+}"))
        };
        let mut changed = coefficients;
        changed[which] = changed[which].wrapping_add(by);
        let ((expanded, factored), (other, other_factored)) = (written(coefficients), written(changed));
        prop_assert_eq!(equal(&expanded, &factored), Equality::Equal);
        prop_assert_ne!(equal(&expanded, &other), Equality::Equal);
        prop_assert_ne!(equal(&factored, &other_factored), Equality::Equal);
    }
}
