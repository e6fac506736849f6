//! Whether an answer only repeats the expression that the question gives: "Evaluate 5 + 5" and 5 + 5, "Write 0.75 as a fraction" and
//! 0.75. Only asked of answers with the value of the reference answer.

use std::sync::LazyLock;

use regex::Regex;

use super::evaluated;
use super::reading::answer::{self, Answer};
use super::reading::quantity::Quantity;

/// An expression that a question gives.
struct Given<'a> {
    text: &'a str,
    task: Task,
}

/// What is to be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// To compute or simplify it.
    Compute,
    /// To write it in another form, so that a number may not stay as it is, either.
    Convert,
    /// It stands by itself, or behind a colon.
    Unknown,
}

/// Whether an answer is the expression that the question gives, and the reference answer is another one of the same value.
pub(super) fn is_restated(answer: &str, gold: &str, question: &str) -> bool {
    let read = answer::read(answer);
    if !matches!(read, Answer::Quantity(_) | Answer::Relation { .. }) || is_respelled(answer, gold) {
        return false;
    }
    let is_number = evaluated::is_number(&read);
    let is_bare = matches!(read, Answer::Quantity(Quantity { unit: None, percent: false, .. }));
    let is_one_literal = is_number && is_bare && !answer.contains('/') && !answer.contains("frac");
    // Where the reference answer is a calculation, as of a factorisation, the number that the question gives is no answer.
    let wants_expression = evaluated::is_calculation(&answer::read(gold));
    let mut given = given(question);
    // Of several expressions that stand by themselves, one may be what is asked for: "Which is larger?" and a line for each.
    let stands =
        |given: &Given<'_>| given.task == Task::Unknown && evaluated::is_calculation(&answer::read(given.text));
    if given.iter().filter(|given| stands(given)).count() > 1 {
        given.retain(|given| given.task != Task::Unknown);
    }
    given.into_iter().any(|given| {
        let may_be_repeated = match given.task {
            Task::Convert => false,
            Task::Compute => is_one_literal && !wants_expression,
            Task::Unknown => is_number,
        };
        !may_be_repeated && answer::read(given.text) == read
    })
}

/// Whether two answers are written in the same way, but for the order of their parts.
fn is_respelled(answer: &str, gold: &str) -> bool {
    let signs = |text: &str| {
        let text = text.replace("\\left", "").replace("\\right", "").replace("\\dfrac", "\\frac");
        let mut signs: Vec<char> = text.chars().filter(|sign| !sign.is_whitespace() && *sign != '$').collect();
        signs.sort_unstable();
        signs
    };
    signs(answer) == signs(gold) || answer::read(answer) == answer::read(gold)
}

/// The expressions that a question gives: behind a verb such as "evaluate", behind a colon, or on a line of their own.
fn given(question: &str) -> Vec<Given<'_>> {
    static LEADS: LazyLock<[(Task, Regex); 3]> = LazyLock::new(|| {
        const OBJECT: &str = concat!(
            r"(?:\s+(?:the|this|following|exact|numerical|values?|of|expressions?|equations?|inequality|fractions?|decimal|percentage|",
            r"number|product|sum|difference|quotient|power|polynomial|result|answer|prime|factori[sz]ation|completely|fully|arithmetic|",
            r"calculation|problem|multiplication|addition|subtraction|division|for\s+\$?[A-Za-z]\$?))*\s*[:,]?[\s*]*"
        );
        [
            (
                Task::Compute,
                pattern(&format!(
                    r"(?i)\b(?:evaluate|calculate|compute|simplify|reduce|expand|find|determine|solve|what(?:\s+is|['’]s)|how\s+much\s+is|work\s+out){OBJECT}"
                )),
            ),
            (
                Task::Convert,
                pattern(&format!(
                    r"(?i)\b(?:convert|express|write|rewrite|change|turn|represent|factor(?:i[sz]e)?|rationali[sz]e){OBJECT}"
                )),
            ),
            (Task::Unknown, pattern(r"(?m)^[\s*]*|:\s+")),
        ]
    });
    LEADS
        .iter()
        .flat_map(|(task, lead)| {
            let texts = lead.find_iter(question).filter_map(|lead| expression_at(&question[lead.end()..]));
            texts.map(|text| Given { text, task: *task })
        })
        .collect()
}

/// The expression at the beginning of a text, if a sentence or a clause ends behind it.
fn expression_at(text: &str) -> Option<&str> {
    // "As a fraction", "to lowest terms", "if x = 2": what may follow an expression without being a part of it.
    static END: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)[?;\n]|[.,:](?:\s|$)|\s(?:as|in|to|into|by|using|with|without|for|if|when|where|given|and|completely|fully)\b|$",
        )
    });
    let found = match DELIMITERS.iter().find_map(|(open, close)| Some((text.strip_prefix(open)?, *close))) {
        Some((rest, close)) => {
            let (inner, after) = rest.split_once(close)?;
            let is_end =
                after.trim().is_empty() || END.find(after).is_some_and(|end| after[..end.start()].trim().is_empty());
            is_end.then_some(inner)?
        }
        None => &text[..END.find(text)?.start()],
    };
    // "5 + 5 = ?"
    let found = found.trim().trim_end_matches(|sign: char| sign.is_whitespace() || "=?_.".contains(sign));
    (!found.is_empty()).then_some(found)
}

const DELIMITERS: [(&str, &str); 4] = [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")];

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(restated: bool, cases: &[(&str, &str, &str)]) {
        for (question, answer, gold) in cases {
            assert_eq!(is_restated(answer, gold, question), restated, "{question} {answer} for {gold}");
        }
    }

    #[test]
    fn the_expression_of_the_question_is_no_answer() {
        check(
            true,
            &[
                (r"Evaluate $\dbinom{5}{3}$.", r"\dbinom{5}{3}", "10"),
                (r"Evaluate $\dbinom{5}{3}$.", r"\binom53", "10"),
                ("What is 5+5?", "5+5", "10"),
                ("What is 5 + 5?", "5+5", "10"),
                ("5 + 5 = ?", "5 + 5", "10"),
                ("5+5", "5+5", "10"),
                ("Think first.\n5+5", "5+5", "10"),
                ("How much is 2 × 3 × 4", r"2 \times 3 \times 4", "24"),
                ("State the final answer to the following arithmetic problem: 8995 - 5221 =", "8995 - 5221", "3774"),
                ("Solve the following multiplication: 12 * 13. Give only the result.", "12 * 13", "156"),
                (r"Compute \[2^{10}.\]", "2^{10}", "1024"),
                (r"Calculate: $(243)^{\frac35}$", r"243^{3/5}", "27"),
                (r"Find $\tan \frac{9 \pi}{4}.$", r"\tan \frac{9\pi}{4}", "1"),
                ("What is the value of $10!$?", "10!", "3628800"),
                ("Reduce 18/15 to lowest terms.", r"\frac{18}{15}", "6/5"),
                (r"Simplify $\frac{18}{15}$", "18/15", r"\frac65"),
                (r"Simplify the expression $\sqrt{8}$.", r"\sqrt8", r"2\sqrt2"),
                ("Expand $(x+1)^2$.", "(x+1)^2", "x^2+2x+1"),
                ("Factor $x^2-1$ completely.", "x^2-1", "(x-1)(x+1)"),
                ("Solve $2x = 4$.", "2x=4", "x=2"),
                ("Solve for $x$: $2x < 6$.", "2x<6", "x<3"),
                ("Write 0.75 as a fraction.", "0.75", "3/4"),
                ("What is 3/4 as a decimal?", "3/4", "0.75"),
                ("Convert 25% to a decimal.", "25%", "0.25"),
                ("Convert 200 cm to metres.", "200 cm", "2 m"),
                ("What is 200 cm in metres?", "200 cm", "2 m"),
                ("Express $3/4$ as a fraction with denominator 8.", "3/4", "6/8"),
                ("Write $y = 2x + 1$ in standard form.", "y = 2x + 1", "2x - y = -1"),
                ("Find the prime factorization of 280. Use ×.", "280", "2 × 2 × 2 × 5 × 7"),
                ("Calculate 237 using all of these numbers: 95, 98, 92, 28, 20.", "237", "95 - 20 - 28 + 98 + 92"),
            ],
        );
    }

    #[test]
    fn an_answer_that_also_stands_in_the_question_is_one() {
        check(
            false,
            &[
                (r"Evaluate $\dbinom{5}{3}$.", "10", "10"),
                (r"Evaluate $\dbinom{5}{3}$.", r"\dbinom{5}{3} = 10", "10"),
                (r"Evaluate $\dbinom{5}{3}$.", r"\dbinom{5}{2}", "10"),
                ("A coin shows heads with probability 1/2. How likely are tails?", "1/2", "0.5"),
                ("The probability of heads is: 1/2. How likely are tails?", "1/2", "0.5"),
                ("What is 50% of 1?", "1/2", "0.5"),
                ("What is 5+5+0?", "5+5", "10"),
                ("What is $5+5$ plus 0?", "5+5", "10"),
                ("Simplify $x + 1$.", "x+1", "1 + x"),
                (r"Simplify $\frac{6}{5}$.", r"\frac65", "6/5"),
                ("Is 7 prime? What is 7 rounded?", "7", "7.0"),
                ("What is 12, rounded to one digit?", "12", "12.0"),
                ("Which is larger, 2^{10} or 1000?", "2^{10}", "1024"),
                ("Which of these is largest?\n2^3\n3^2", r"3^2", "9"),
                ("Choose the larger one.\nA: 2^3\nB: 3^2", r"3^2", "9"),
                ("Reflect the point: (3,3).", "(3,3)", "3, 3"),
                ("Find $x + y$ if $x = 2$ and $y = 3$.", "5", "5"),
                ("Which day is it?", "Monday", "monday"),
                ("", "5+5", "10"),
            ],
        );
    }
}
