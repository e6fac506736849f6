//! Whether an answer is evaluated as far as the reference answer is: 5 + 5 has the value of 10, and is a calculation that is still to be
//! done. Only constants are looked at; whether values are equal is decided in `comparison`.

use std::cmp::Ordering;

use dashu_ratio::RBig;

use super::comparison::scalar;
use super::reading::answer::Answer;
use super::reading::quantity::Quantity;
use super::values::exact::{self, Budget};
use super::values::expression::Expression;

/// Whether an answer with the value of the reference answer contains an operation that is still to be carried out. Never where the
/// reference answer contains one itself, as `2^{10}` does: then the question asks for no number.
pub(super) fn is_unevaluated(answer: &Answer, gold: &Answer) -> bool {
    let budget = Budget::new();
    gold.is_maths()
        && !has_pending(gold, &budget)
        && (has_pending(answer, &budget) || is_no_number_for_number(answer, gold, &budget))
}

/// Whether an answer contains an operation that could be carried out: a sum, product, power, factorial or binomial coefficient of
/// numbers, a root or logarithm that is rational, a quotient that is an integer.
pub(super) fn is_calculation(answer: &Answer) -> bool {
    has_pending(answer, &Budget::new())
}

/// Whether an answer is one number as it is written down: an integer, a decimal, a fraction, a percentage, with or without a unit.
pub(super) fn is_number(answer: &Answer) -> bool {
    matches!(answer, Answer::Quantity(quantity) if is_written_out(&quantity.expression))
}

fn has_pending(answer: &Answer, budget: &Budget) -> bool {
    match answer {
        Answer::Quantity(quantity) => is_constant(quantity) && is_pending(&quantity.expression, budget),
        // 5 + 5 = 10 says what it is.
        Answer::Relation { sides, signs } if is_chain(signs) => {
            let mut constants = sides.iter().filter(|side| is_constant_side(side)).peekable();
            constants.peek().is_some() && constants.all(|side| has_pending(side, budget))
        }
        Answer::List(parts)
        | Answer::Set(parts)
        | Answer::Sequence { items: parts, .. }
        | Answer::Joined { parts, .. }
        | Answer::Ratio(parts)
        | Answer::Relation { sides: parts, .. } => parts.iter().any(|part| has_pending(part, budget)),
        Answer::Matrix(rows) => rows.iter().flatten().any(|cell| has_pending(cell, budget)),
        Answer::Where(inner) => has_pending(inner, budget),
        Answer::Text(_) | Answer::Clock(_) | Answer::Unread => false,
    }
}

/// Whether the reference answer is a number and the answer, of just that value, is not one: `\sin 30^\circ` for 1/2, `(\sqrt3)^2` for 3.
/// An irrational value may be given exactly where the reference answer is its rounding.
fn is_no_number_for_number(answer: &Answer, gold: &Answer, budget: &Budget) -> bool {
    let (answers, golds) = (constants(answer), constants(gold));
    let is_number = |quantity: &&Quantity| is_written_out(&quantity.expression);
    let (Some(answer), Some(gold)) = (answers.last(), golds.iter().find(|gold| is_number(gold))) else { return false };
    !answers.iter().any(is_number)
        && answer.percent == gold.percent
        && answer.unit == gold.unit
        && scalar::order(&answer.expression, &gold.expression, budget) == Some(Ordering::Equal)
}

/// The constants that an answer says to be one value: itself, or the sides of a chain of equations.
fn constants(answer: &Answer) -> Vec<&Quantity> {
    match answer {
        Answer::Quantity(quantity) if is_constant(quantity) => vec![quantity],
        Answer::Relation { sides, signs } if is_chain(signs) => sides.iter().flat_map(constants).collect(),
        _ => Vec::new(),
    }
}

fn is_chain(signs: &[char]) -> bool {
    signs.iter().all(|sign| matches!(sign, '=' | '≈'))
}

fn is_constant_side(side: &Answer) -> bool {
    matches!(side, Answer::Quantity(quantity) if is_constant(quantity))
}

fn is_constant(quantity: &Quantity) -> bool {
    let mut names = Vec::new();
    quantity.expression.symbols(&mut names);
    names.is_empty()
}

/// Whether a constant contains an operation on numbers with a rational result, other than what writes a number down.
fn is_pending(expression: &Expression, budget: &Budget) -> bool {
    if is_written_out(expression) {
        return false;
    }
    if exact::value(expression, &[], budget).is_ok() {
        return true;
    }
    match expression {
        Expression::Sum(terms) => {
            let rational = terms.iter().filter(|term| exact::value(term, &[], budget).is_ok()).count();
            rational > 1 || terms.iter().any(|term| is_pending(term, budget))
        }
        Expression::Product(_) => {
            let factors = Factors::of(expression);
            !factors.are_one_fraction() || factors.others.iter().any(|factor| is_pending(factor, budget))
        }
        Expression::Power(pair) | Expression::Logarithm(pair) | Expression::Binomial(pair) => {
            is_pending_inside(&pair.0, budget) || is_pending_inside(&pair.1, budget)
        }
        Expression::Call(_, inner) | Expression::Root(_, inner) => is_pending_inside(inner, budget),
        _ => false,
    }
}

/// The same within a root, a power or a function, where a power of a number is as usual as its value: `\sqrt[3]{2^2}`, `\ln 2^5`.
fn is_pending_inside(expression: &Expression, budget: &Budget) -> bool {
    match expression {
        Expression::Power(pair) => is_pending(&pair.0, budget) || is_pending(&pair.1, budget),
        // An argument without brackets is read as a product.
        Expression::Product(parts) if parts.len() == 1 => is_pending_inside(&parts[0], budget),
        other => is_pending(other, budget),
    }
}

/// Whether a constant is a number as it is written down: 5, −0.5, 3/4, 1.5 × 10³. A fraction that is an integer, such as 30/3, is not.
fn is_written_out(expression: &Expression) -> bool {
    let factors = Factors::of(expression);
    if !factors.others.is_empty() || !factors.are_one_fraction() {
        return false;
    }
    match (factors.numerators.first(), factors.denominators.first()) {
        (over, Some(under)) => !under.is_zero() && !(over.unwrap_or(&RBig::ONE) / under).is_int(),
        _ => true,
    }
}

/// The factors of a product and of the products in it.
#[derive(Default)]
struct Factors<'a> {
    /// Numbers other than 1 and −1.
    numerators: Vec<RBig>,
    denominators: Vec<RBig>,
    powers_of_ten: usize,
    others: Vec<&'a Expression>,
}

impl<'a> Factors<'a> {
    fn of(expression: &'a Expression) -> Factors<'a> {
        let mut factors = Factors::default();
        factors.add(expression, false);
        factors
    }

    fn add(&mut self, expression: &'a Expression, is_inverted: bool) {
        let is_one = |value: &RBig| value.is_one() || *value == -RBig::ONE;
        match expression {
            Expression::Number(number) if is_one(&number.value) => {}
            Expression::Number(number) if is_inverted => self.denominators.push(number.value.clone()),
            Expression::Number(number) => self.numerators.push(number.value.clone()),
            Expression::Product(parts) => parts.iter().for_each(|part| self.add(part, is_inverted)),
            Expression::Power(pair) => match (&pair.0, &pair.1) {
                (base, exponent) if *exponent == Expression::integer(-1) => self.add(base, !is_inverted),
                (Expression::Number(base), Expression::Number(exponent))
                    if base.value == RBig::from(10u8) && exponent.value.is_int() =>
                {
                    self.powers_of_ten += 1;
                }
                _ => self.others.push(expression),
            },
            _ => self.others.push(expression),
        }
    }

    /// Whether the numbers among them are no more than the two of a fraction, and a power of ten.
    fn are_one_fraction(&self) -> bool {
        self.numerators.len() <= 1 && self.denominators.len() <= 1 && self.powers_of_ten <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::answer;
    use super::*;

    fn check(gold: &str, unevaluated: bool, answers: &[&str]) {
        for text in answers {
            assert_eq!(is_unevaluated(&answer::read(text), &answer::read(gold)), unevaluated, "{text} for {gold}");
        }
    }

    #[test]
    fn calculations_are_no_numbers() {
        check(
            "10",
            true,
            &[
                "5+5",
                "12 - 2",
                "2 × 5",
                r"2 \cdot 5",
                "30/3",
                r"\dbinom{5}{3}",
                r"\binom53",
                r"\frac{5!}{3!\,2!}",
                r"\sqrt{100}",
                r"\sqrt[3]{1000}",
                "x = 5+5",
                "5 + 5 = 2 × 5",
                r"\log_2 1024",
                "|-10|",
                r"\lfloor 10.5 \rfloor",
                r"(\sqrt{10})^2",
                r"\sqrt2 \cdot \sqrt{50}",
                "5+5 cm",
            ],
        );
        check("1024", true, &["2^{10}", "2^10", "4^5"]);
        check("1000000", true, &["1000^2", r"2^6 \cdot 5^6"]);
        check("6", true, &["3!", "1+2+3"]);
        check(r"\frac12", true, &[r"\sin 30^\circ", r"\cos\frac{\pi}{3}", r"\frac14 + \frac14", r"1 - \frac12"]);
        check("0.5", true, &[r"\frac14+\frac14", r"\sin 30^\circ", "0.2 + 0.3"]);
        check("-1", true, &["i^2", "2 - 3"]);
        check("7%", true, &["(3+4)%"]);
        check("2, 3", true, &["1+1, 3", "2, 6/2"]);
        check("1, 2", true, &[r"\frac{3 \pm 1}{2}"]);
        check("(2, 3)", true, &["(1+1, 3)"]);
        check("x < 5", true, &["x < 2+3"]);
        check("x = 5", true, &["x = 2+3", "2+3"]);
    }

    #[test]
    fn numbers_are_evaluated_however_they_are_written() {
        check(
            "10",
            false,
            &[
                "10",
                "10.0",
                "+10",
                "ten",
                "5+5 = 10",
                "10 = 5+5",
                "x = 5+5 = 10",
                "x = 10",
                "10 cm",
                r"\$10",
                r"\boxed{10}",
                "10^1",
                r"1 \times 10^{1}",
                "10/1",
                "1000%",
                "about 10",
            ],
        );
        check("0.5", false, &["1/2", r"\frac12", "50%", r"50\%", ".5", "2/4", "a half", r"5 \times 10^{-1}", "½"]);
        check(r"\frac34", false, &["3/4", "0.75", "75%", "6/8", r"\dfrac{3}{4}", r"-\frac{-3}{4}", "3:4"]);
        check("5000000", false, &["5 million", r"5 \times 10^6", "5,000,000", "5e6"]);
        check("1000000", false, &["10^6", "1e6", "1 million"]);
        check("2.5", false, &[r"2\frac12", "2 1/2", "5/2", r"\frac{5}{2}"]);
        check("90 minutes", false, &["1h30", "1 hour 30 minutes", "90"]);
        check(r"0.\overline{3}", false, &["1/3", r"\frac{1}{3}"]);
        check("3.141593", false, &[r"\pi"]);
        check("0.463648", false, &[r"\arctan\frac12"]);
    }

    #[test]
    fn closed_forms_stay_as_they_are() {
        check(
            r"2\sqrt3",
            false,
            &[r"2\sqrt{3}", r"\sqrt{12}", r"2 \cdot \sqrt3", r"\frac{6}{\sqrt3}", r"\sqrt3 \cdot 2"],
        );
        check(
            r"2\sqrt3",
            true,
            &[r"(1+1)\sqrt3", r"\sqrt4\sqrt3", r"\sqrt{3 \cdot 4}", r"1 \cdot 2 \cdot 1\sqrt{9 - 6}"],
        );
        check(r"3\pi", false, &[r"3\pi", r"\pi \cdot 3", r"\frac{6\pi}{2}", r"\frac{3}{1}\pi"]);
        check(r"36\pi", false, &[r"\frac{72\pi}{2}"]);
        check(r"36\pi", true, &[r"\frac43 \pi 3^3", r"\frac43 \cdot 27\pi", r"6^2\pi", r"4 \cdot 9\pi", r"(30+6)\pi"]);
        check(r"\frac{1+\sqrt5}{2}", false, &[r"\frac{1+\sqrt5}{2}", r"\frac12 + \frac{\sqrt5}{2}"]);
        check(r"1+\sqrt2", false, &[r"\sqrt2 + 1", r"\sqrt{3+2\sqrt2}", r"\frac{1}{\sqrt2-1}", r"1 + 2^{1/2}"]);
        check(r"1+\sqrt2", true, &[r"3 - 2 + \sqrt2", r"\sqrt2 + 3 - 2"]);
        check(r"2^{2/3}", false, &[r"\sqrt[3]{4}", r"\sqrt[3]{2^2}", r"4^{\frac13}"]);
        check(r"3\ln 2", false, &[r"\ln 8", r"\ln 2^3", r"3 \ln 2"]);
        check("3 + 4i", false, &["4i + 3", "3+4i"]);
        check(r"\frac{\pi}{4}", false, &[r"\pi/4", r"0.25\pi"]);
        check("e^2", false, &["e^2", r"\exp(2)"]);
        check(r"6 \times 10^{-7}\pi", false, &[r"6\pi \times 10^{-7}"]);
    }

    /// An expression that is asked for is right in whatever way it is written.
    #[test]
    fn a_calculation_as_the_reference_answer_asks_for_no_number() {
        check("2^{10}", false, &["2^{10}", "4^5", "1024"]);
        check(r"\binom{20}{10}", false, &[r"\frac{20!}{10!10!}", "184756"]);
        check("2 × 2 × 5", false, &["2 × 2 × 5", "5 × 2^2"]);
        check("3-4", false, &["3-4"]);
    }

    #[test]
    fn expressions_with_symbols_and_words_are_left_alone() {
        check("x^2+2x+1", false, &["(x+1)^2", "x^2 + x + x + 1", "x^2 + 2x + 3 - 2"]);
        check("y = 2x + 3", false, &["y = 2x + 1 + 2"]);
        check("Monday", false, &["5+5"]);
        check("10", false, &["5 apples and 5 pears", "Monday", "???"]);
        check(r"\infty", false, &[r"\infty"]);
    }
}
