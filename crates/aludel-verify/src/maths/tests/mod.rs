//! The edges: what the pairs of `tests/maths_pairs.rs` do not cover, answers in prose, and hostile input.

mod kinds;
mod meanings;
mod mutations;

use super::*;
use crate::Verdict;

/// Whether all pairs compare as is expected, in both orders.
pub(super) fn check(expected: Equality, pairs: &[(&str, &str)]) {
    let both = pairs.iter().flat_map(|(left, right)| [(left, right), (right, left)]);
    let found = both.map(|(left, right)| (left, right, equal(left, right)));
    let others: Vec<_> = found.filter(|(.., equality)| *equality != expected).collect();
    assert!(others.is_empty(), "not {expected:?}: {others:#?}");
}

fn check_each(cases: &[(&str, &str, Equality)]) {
    for (left, right, expected) in cases {
        check(*expected, &[(*left, *right)]);
    }
}

#[test]
fn values_are_equal_whatever_they_are_written_like() {
    check_each(&[
        (r"\frac{105}{2}", r"\dfrac{105}{2}.", Equality::Equal),
        (r"\frac{105}{2}", "52.5", Equality::Equal),
        (r"\dfrac{1}{29,\!322,\!216}", r"\dfrac{1}{29322216}", Equality::Equal),
        (
            r"x < -\frac{7}{4} \text{ or } x > -\frac{3}{2}",
            r"(-\infty, -\frac74) \cup (-\frac32, \infty)",
            Equality::Equal,
        ),
        (r"\text{AB}=9, \text{CD}=4", r"\text{CD} = 4 \text{ and } \text{AB} = 9", Equality::Equal),
        (r"\boxed{81} and \boxed{256}", "81, 256", Equality::Equal),
        (r"(\tfrac83, 3]", r"\left( \dfrac{8}{3}, 3 \right]", Equality::Equal),
        ("1204_9", "1204_{9}", Equality::Equal),
        ("1204_9", "1204", Equality::Different),
        ("f(x) = 2x + 1", "2x+1", Equality::Equal),
        ("(x, y) = (1, 2)", "(1, 2)", Equality::Equal),
        ("3 x 10^5", "300000", Equality::Equal),
        ("3e5", "300,000", Equality::Equal),
        ("½", "0.5", Equality::Equal),
        ("2√3", r"2\sqrt3", Equality::Equal),
        ("5²", "25", Equality::Equal),
        (r"\emptyset", r"\{\}", Equality::Equal),
        (r"e^{i\pi}", "-1", Equality::Equal),
        (r"\frac{1+\sqrt5}{2}", r"\sqrt{\frac{3+\sqrt5}{2}}", Equality::Equal),
        (r"|x|", r"\sqrt{x^2}", Equality::Equal),
        ("2:4", "1:2", Equality::Equal),
        ("6:30 pm", "6:30 pm", Equality::Equal),
        ("1:2", r"\frac12", Equality::Equal),
        ("5 million", "5,000,000", Equality::Equal),
        ("3 = x", "3", Equality::Equal),
        ("-$5", r"-5 \text{ dollars}", Equality::Equal),
    ]);
}

#[test]
fn near_misses_are_different() {
    check_each(&[
        // Beyond the digits of a float, and beyond those of 256 bits.
        (r"10^{30}+\sqrt2", r"10^{30}+\sqrt3", Equality::Different),
        (r"10^{20}+\frac13", r"10^{20}+\frac14", Equality::Different),
        (r"\sqrt{x^2}", "x", Equality::Different),
        ("(1,2]", "(1,2)", Equality::Different),
        ("(1,2)", "(2,1)", Equality::Different),
        (r"\{1,2\}", "(1,2)", Equality::Different),
        ("x=5", "y=5", Equality::Different),
        ("2x+z=1", "1", Equality::Different),
        ("100,200", "(100,200)", Equality::Different),
        ("0.0000001", "0.0000002", Equality::Different),
        ("0.33", r"\frac13", Equality::Different),
        ("12 cm", "12 m", Equality::Different),
        ("5 million", "5", Equality::Different),
        ("5 million dollars", "5 thousand dollars", Equality::Different),
        ("1<2", "x<2", Equality::Different),
        (r"\text{cat}", r"\text{act}", Equality::Different),
        ("saw", "was", Equality::Different),
        ("x<3", "x>3", Equality::Different),
        ("2x<6", "-2x<-6", Equality::Different),
        ("1", "i", Equality::Different),
    ]);
}

#[test]
fn decimals_of_six_places_stand_for_what_they_round() {
    check_each(&[
        ("0.333333", r"\frac13", Equality::Equal),
        ("3.141593", r"\pi", Equality::Equal),
        ("3.141592", r"\pi", Equality::Different),
        ("-0.666667", r"-\frac23", Equality::Equal),
        ("0.666666", r"\frac23", Equality::Different),
    ]);
}

#[test]
fn what_is_not_understood_is_undecided_and_never_equal() {
    check_each(&[
        (r"\int_0^1 x\,dx", r"\frac12", Equality::Undecided),
        (r"\sum_{k=1}^n k", r"\sum_{k=1}^{n} k^2", Equality::Undecided),
        (r"\sum_{k=1}^n k", r"\sum_{k=1}^n k", Equality::Equal),
        ("12 students", "12 people", Equality::Undecided),
        ("6:30", "3:15", Equality::Undecided),
        ("3–5", "-2", Equality::Undecided),
        ("5 squared", "5", Equality::Undecided),
        ("5 more than x", "5", Equality::Undecided),
        ("1<2", "5<9", Equality::Undecided),
        ("0.333...", r"\frac13", Equality::Undecided),
        ("", "", Equality::Undecided),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1, 2)", Equality::Undecided),
        ("", "5", Equality::Undecided),
    ]);
}

#[test]
fn hostile_input_ends_without_an_answer() {
    let deep = |open: &str, close: &str, count: usize| format!("{}1{}", open.repeat(count), close.repeat(count));
    let cases = [
        "9^9^9^9".to_string(),
        "9^{9^{9^{9}}}".to_string(),
        "(9^{9999})^{9999}".to_string(),
        "9999999!".to_string(),
        "1000!!!!".to_string(),
        r"\binom{10^{9}}{5 \cdot 10^8}".to_string(),
        "1e999999999999".to_string(),
        r"\sin(10^{400})".to_string(),
        "e^{e^{e^{e^{10}}}}".to_string(),
        r"\log_{1.0000000001} 10^{2000}".to_string(),
        format!("x^{{{}}}", "9".repeat(3000)),
        deep("{", "}", 100_000),
        deep("(", ")", 2_000),
        deep(r"\frac{1}{", "}", 300),
        deep(r"\sqrt{", "}", 500),
        "-".repeat(4_000) + "1",
        "+".repeat(4_000),
        "1+".repeat(2_000) + "1",
        r"\sin\cos".repeat(400) + "1",
        "^".repeat(4_000),
        "2^".repeat(2_000) + "2",
        "{".repeat(4_000),
        "}".repeat(4_000),
        r"\left".repeat(500),
        r"\frac".repeat(500),
        "\u{0}\u{7f}\u{202e}é漢字".repeat(100),
        "5".repeat(10_000_000),
        r"\boxed{".repeat(200_000),
        r"\boxed{1}".repeat(200_000),
        "$".repeat(300_000),
        "answer is ".repeat(100_000),
        format!(r"\sqrt{{{}}}", r"\sin 2 + \sqrt{3} \cdot \ln 5 + ".repeat(120) + "1"),
        format!(r"\{{{}\}}", r"\sqrt 2 + \sin 1,".repeat(200)),
    ];
    for case in &cases {
        let shown: String = case.chars().take(30).collect();
        assert_ne!(verdict(case, "42"), Verdict::Right, "{shown}");
        assert_ne!(equal(case, &format!("{case} + 1")), Equality::Equal, "{shown}");
        assert_ne!(equal(case, "42"), Equality::Equal, "{shown}");
    }
}

/// Points are fractions, so that a power of one has a denominator of many digits, and a root of that degree.
#[test]
fn towers_of_powers_end() {
    let mut cases = Vec::new();
    for base in ["e", "2", "x", "-2", r"\sqrt2", "i", "0.5", r"\pi"] {
        for name in ["x", "n"] {
            for power in [2, 4, 7, 10, 20, 30, 99, 2000] {
                for sign in ["", "-"] {
                    cases.push(format!("{base}^{{{sign}{name}^{{{power}}}}}"));
                }
            }
            cases.push(format!("{base}^{{{base}^{{{name}^{{{base}}}}}}}"));
            cases.push(format!("{base}^{{{name}^{{{name}^{{{name}}}}}}}"));
            cases.push(format!("{base}^{{{name}^{{20}}/7}}"));
        }
    }
    for root in ["3", "65", "9999", "1000000007"] {
        cases.push(format!(r"\sqrt[{root}]{{x}}"));
        cases.push(format!(r"\sqrt[{root}]{{7^{{999}}}}"));
    }
    cases.extend(
        ["(x!)!", "(x^9)!", r"\binom{x^{9}}{x}", r"(\frac{x}{7})^{x^{3}}", "((x^9)^9)^9", r"\ln(x^{x^{x}})"]
            .map(String::from),
    );
    cases.push("(x+1/7)^{99}".repeat(60));
    cases.push("999!+".repeat(200) + "x");
    cases.push(r"(\frac{1}{7}+x)^{900}+".repeat(200) + "1");
    for case in &cases {
        for other in ["0", "x", "1", "2x", r"\sqrt2"] {
            let start = std::time::Instant::now();
            let found = [equal(case, other), equal(other, case)];
            assert!(start.elapsed().as_secs() < 2, "{case} and {other}: {:?}", start.elapsed());
            assert!(!found.contains(&Equality::Equal), "{case} and {other}");
        }
    }
    assert!(cases.len() > 250);
    check_each(&[("2^{x^2}", r"e^{x^2\ln 2}", Equality::Equal), ("e^{x^{4}}", "e^{x^{4}+1}", Equality::Different)]);
}

#[test]
fn the_final_answer_is_found() {
    for (text, expected) in [
        (r"first \boxed{1}, then \boxed{\frac{2}{3}}.", Some(r"\frac{2}{3}")),
        (r"\boxed{1} but \boxed{2", Some("1")),
        (r"a set \boxed{\{1, 2\}}", Some(r"\{1, 2\}")),
        (r"\boxed{1}$ and $\boxed{2}", Some(r"\boxed{1}$ and $\boxed{2}")),
        (r"\boxed{\boxed{3}}", Some(r"\boxed{3}")),
        (r"\boxed 7$", Some("7")),
        ("<ANSWER>3</ANSWER>", Some("3")),
        ("<answer> 3 ", Some("3")),
        ("So 2 + 1.\n<SOLUTION>3</SOLUTION>", Some("3")),
        ("<solution>\nTwo and one.\nThe answer is 3.\n</solution>", Some("3")),
        ("<answer>5</answer>\n<solution>\nTen and seven are 17,\nwhich is 12 too many.\n</solution>", Some("5")),
        ("<solution>\nTen and seven are 17.\n</solution>\n<answer>5</answer>", Some("5")),
        ("<answer>5</answer> <answer>6</answer>", Some("6")),
        ("<answer>5</answer> <solution>6</solution>", Some("6")),
        ("<answer>5</answer> <answer> </answer>", Some("5")),
        ("9 + 9 = <<9+9=18>>18\n#### 1,800", Some("1,800")),
        ("The answer is 4. The answer is **5**.", Some("5")),
        ("The answer to 2+2 is $4$, of course.", Some("4")),
        ("Answer: $3", Some("$3")),
        ("**Answer:**\n\n\\[\n x = 4 \n\\]\n", Some("x = 4")),
        (r"so $x=3$ and hence $y=4$.", Some("y=4")),
        ("It costs $5 and then $6 in all", Some("$6")),
        ("There are 12 of them, or 25%.", Some("25%")),
        ("3/4", Some("3/4")),
        ("(1, 2)", Some("(1, 2)")),
        ("I cannot tell.", None),
        ("", None),
    ] {
        assert_eq!(extract(text), expected, "{text}");
    }
}

#[test]
fn a_verdict_has_three_other_outcomes() {
    assert_eq!(verdict(r"so it is \boxed{18}", "steps\n#### 18"), Verdict::Right);
    assert_eq!(verdict(r"so it is \boxed{19}", "steps\n#### 18"), Verdict::Wrong);
    assert_eq!(verdict("I cannot tell.", "18"), Verdict::NoAnswer);
    assert_eq!(verdict(r"\boxed{\int_0^1 x\,dx}", r"\frac12"), Verdict::Undecided);
}

#[test]
fn tolerances_are_exact() {
    for (left, right, absolute, relative, expected) in [
        ("1,234.5 kg", "1234.5", 0.0, 0.0, Some(true)),
        (r"x = \frac{1}{4}", "0.3", 0.05, 0.0, Some(true)),
        ("0.4", "0.3", 0.1, 0.0, Some(true)),
        ("0.41", "0.3", 0.1, 0.0, Some(false)),
        ("101", "100", 0.0, 0.01, Some(true)),
        ("101.0000000000000000001", "100", 0.0, 0.01, Some(false)),
        ("100000000000000000007", "10^{20}", 0.0, 0.0, Some(false)),
        (r"\pi", "3.14", 0.01, 0.0, Some(true)),
        (r"\pi", "3.14", 0.001, 0.0, Some(false)),
        (r"\sqrt{2}^2", "1", 1.0, 0.0, Some(true)),
        ("x", "1", 1.0, 0.0, None),
        ("(1, 2)", "1", 1.0, 0.0, None),
    ] {
        assert_eq!(is_within(left, right, absolute, relative), expected, "{left} and {right}");
    }
}

proptest::proptest! {
    #[test]
    fn anything_may_be_read(left in r"[-0-9a-z+*/^_{}()\[\]\\$., |=<>%!]{0,60}", right in r"\PC{0,40}") {
        equal(&left, &right);
        verdict(&left, &right);
        verdict(&right, &left);
    }

    #[test]
    fn two_spellings_of_a_fraction_are_equal(over in -10_000i64..10_000, under in 1i64..10_000, factor in 1i64..50) {
        let reduced = format!(r"\frac{{{over}}}{{{under}}}");
        let expanded = format!("{}/{}", over * factor, under * factor);
        proptest::prop_assert_eq!(equal(&reduced, &expanded), Equality::Equal);
        let other = format!("{}/{}", over * factor + 1, under * factor);
        proptest::prop_assert_eq!(equal(&reduced, &other), Equality::Different);
    }
}
