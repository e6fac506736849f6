//! The answer format that a verifier asks for, beside the value: a fraction in lowest terms, a unit. `compare` ignores it: 18/15 equals
//! 6/5, and 2 m equals 200 cm. What the question itself asks for is in `lowest_terms` and `order`.

use super::lowest_terms::Form;
use super::reading::answer::{self, Answer};
use super::values::unit::{self, Unit, Units};

/// Requirements on the form of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerFormat {
    /// An integer, or a fraction that cannot be reduced, also as a mixed number, but not a decimal.
    pub lowest_terms: bool,
    /// The unit of the answer, if it names one; `%` for a percentage, `1` for a number without a unit.
    pub unit: Option<String>,
}

/// Whether a word is a unit that is known by name, rather than any noun.
pub(crate) fn is_unit(word: &str) -> bool {
    unit::is_unit(word)
}

impl AnswerFormat {
    /// Whether an answer with the right value has the required form; `None` if that is unclear.
    pub(super) fn is_met(&self, answer: &str) -> Option<bool> {
        let fraction = if self.lowest_terms { is_in_lowest_terms(answer) } else { Some(true) };
        let unit = self.unit.as_deref().map_or(Some(true), |wanted| is_in_unit(&answer::read(answer), wanted));
        match (fraction, unit) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }

    /// The requirements, in words.
    pub(super) fn words(&self) -> String {
        let fraction = self.lowest_terms.then(|| "in lowest terms".to_string());
        let unit = self.unit.as_deref().map(|unit| match unit {
            "1" => "as a number, not a percentage".to_string(),
            "%" => "as a percentage".to_string(),
            unit => format!("in the unit {unit}"),
        });
        fraction.into_iter().chain(unit).collect::<Vec<_>>().join(" and ")
    }
}

fn is_in_lowest_terms(answer: &str) -> Option<bool> {
    Form::of(answer).map(|form| form == Form::LowestTerms)
}

fn is_in_unit(answer: &Answer, wanted: &str) -> Option<bool> {
    match answer {
        // Hours and minutes are not required by the name of one unit, nor excluded by it.
        Answer::Quantity(quantity) if quantity.compound => None,
        Answer::Quantity(quantity) => match (wanted, quantity.percent, &quantity.unit) {
            ("%", _, None) | (_, false, None) => Some(true),
            ("%", _, Some(_)) | (_, true, _) => Some(false),
            ("1", false, Some(_)) => Some(true),
            (wanted, false, Some(unit)) => match Unit::compare(Some(unit), Unit::from_words([wanted]).as_ref()) {
                Units::Agree => Some(true),
                Units::Differ => Some(false),
                Units::Unclear => None,
            },
        },
        Answer::Relation { sides, signs } if signs.iter().all(|sign| matches!(sign, '=' | '≈')) => {
            is_in_unit(sides.last()?, wanted)
        }
        Answer::Set(items) | Answer::List(items) if items.len() == 1 => is_in_unit(&items[0], wanted),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_in_lowest_terms() {
        for (answer, met) in [
            ("6/5", Some(true)),
            (r"\frac{6}{5}", Some(true)),
            (r"\dfrac65", Some(true)),
            (r"$-\frac{6}{5}$", Some(true)),
            (r"\frac{-6}{5}", Some(true)),
            ("(6/5)", Some(true)),
            ("1 1/5", Some(true)),
            (r"1\frac{1}{5}", Some(true)),
            ("18/15 = 6/5", Some(true)),
            ("x = 6/5", Some(true)),
            ("7", Some(true)),
            ("-3", Some(true)),
            ("1,200", Some(true)),
            ("18/15", Some(false)),
            (r"\frac{18}{15}", Some(false)),
            ("1 3/15", Some(false)),
            ("1 6/5", Some(false)),
            ("6/5 = 18/15", Some(false)),
            ("14/2", Some(false)),
            ("1.2", Some(false)),
            ("7.0", Some(false)),
            ("1.2/1", Some(false)),
            ("120%", None),
            ("6/5 + 0", None),
            ("six fifths", None),
        ] {
            let demand = AnswerFormat { lowest_terms: true, unit: None };
            assert_eq!(demand.is_met(answer), met, "{answer}");
        }
    }

    #[test]
    fn units_that_were_asked_for() {
        for (answer, wanted, met) in [
            ("125", "minute", Some(true)),
            ("125 minutes", "minute", Some(true)),
            (r"125\text{ min}", "minute", Some(true)),
            ("2 h = 120 min", "minute", Some(true)),
            ("120 min = 2 h", "minute", Some(false)),
            ("125 seconds", "minute", Some(false)),
            ("2 m", "centimetre", Some(false)),
            ("200 cm", "centimetre", Some(true)),
            ("20%", "minute", Some(false)),
            ("125 minutes total", "minute", None),
            ("20%", "%", Some(true)),
            ("20", "%", Some(true)),
            ("20 minutes", "%", Some(false)),
            ("20%", "1", Some(false)),
            ("20 children", "1", Some(true)),
            ("20", "1", Some(true)),
            ("Monday", "minute", None),
        ] {
            let demand = AnswerFormat { lowest_terms: false, unit: Some(wanted.to_string()) };
            assert_eq!(demand.is_met(answer), met, "{answer} in {wanted}");
        }
    }
}
