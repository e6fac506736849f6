//! Tests of kinds of answers that may be meant in several ways: clock times, sets, roundings, units, bases, names. Pairs
//! that differ have to be told apart, and what cannot be known is undecided.

use super::check;
use crate::maths::Equality::{Different, Equal, Undecided};
use crate::maths::{equal, is_within, verdict};

#[test]
fn times_are_no_ratios() {
    check(
        Different,
        &[
            ("12:00", "1:00"),
            ("3:00", "5:00"),
            ("2:04", "1:02"),
            ("4:06", "2:03"),
            ("1:30:00", "2:60:00"),
            ("2:20:00", "1:10:00"),
            ("12:00 AM", "12:00 PM"),
            ("3:15 PM", r"3:15 \text{ a.m.}"),
            ("3:15 pm", "3:16"),
            ("10:05", "10:50"),
            ("1:30 hours", "1:30 minutes"),
            ("6:30", "7"),
            ("noon", "midnight"),
        ],
    );
    check(
        Equal,
        &[
            ("3:05", "03:05"),
            ("15:15", "3:15 PM"),
            ("3 PM", r"3{:}00\text{ p.m.}"),
            ("12:00 noon", "12:00 PM"),
            ("0:30", "12:30 AM"),
            ("1:2", "2:4"),
            ("3:4:5", "6:8:10"),
            ("16:9", "32:18"),
        ],
    );
    check(
        Undecided,
        &[
            ("3:15", "6:30"),
            ("1:20", "2:40"),
            ("2:3", "10:15"),
            ("3:05", "3:5"),
            ("12:00", "12:00 PM"),
            ("3:15 pm", "3:15"),
            ("1:30", "1:30:00"),
            ("6:30", "6.5"),
            ("2:00", "2"),
            ("24:00", "0:00"),
            ("0:1", "0:5"),
        ],
    );
}

#[test]
fn sets_of_numbers_are_the_same_however_they_are_put_together() {
    check(
        Equal,
        &[
            (r"\{1,3\} \cup \{2,4\}", r"\{1,2,3,4\}"),
            (r"(1,3)\cup[3,5)", "(1,5)"),
            (r"(-\infty,\infty)", r"\mathbb{R}"),
            (r"x \in \mathbb{R}", r"(-\infty,\infty)"),
            (r"\text{all real numbers}", "ℝ"),
            (r"\{1,2\} \cap \{2,3\}", r"\{2\}"),
            (r"(1,5) \cap (3,7)", "(3,5)"),
            (r"(1,3)\cap[3,5)", r"\emptyset"),
            (r"\{1,2,3\} \setminus \{2\}", r"\{1,3\}"),
            (r"[1,3]\setminus[2,3]", "[1,2)"),
            (r"\mathbb{R} \setminus \{2\}", r"(-\infty,2)\cup(2,\infty)"),
            (r"\mathbb{R} - \{2\}", r"x \ne 2"),
            (r"x \ne 2, 3", r"\mathbb{R} \backslash \{2,3\}"),
            (r"x \ne 2 \text{ and } x \ne 3", r"(-\infty,2)\cup(2,3)\cup(3,\infty)"),
            (r"x \notin \{2\}", r"x \neq 2"),
            (r"\{x \mid x > 3\}", r"(3,\infty)"),
            (r"\{x \in \mathbb{R} : x > 3\}", "x>3"),
            (r"x \in (1,2)\cup(3,4)", r"1<x<2 \text{ or } 3<x<4"),
            (r"x>1 \text{ and } x<3", "(1,3)"),
            ("x>1, x<3", "(1,3)"),
            ("x<1, x>3", r"(-\infty,1)\cup(3,\infty)"),
            ("x>1, y<3", "y<3, x>1"),
            (r"\{1,1,2\}", r"\{1,2\}"),
            ("[2,2]", r"\{2\}"),
            (r"(\sqrt2, \pi) \cup [\pi, 4)", r"(\sqrt2,4)"),
            (r"A \cup B", r"B \cup A"),
            (r"\text{no solution}", r"\varnothing"),
            (r"\{i,2,1\}", r"\{1,2,i\}"),
            (r"\pm 1, 2", "-1,1,2"),
            (r"[1,\infty]", r"[1,\infty)"),
        ],
    );
    check(
        Different,
        &[
            (r"(1,2)\cup(2,3)", "(1,3)"),
            (r"(1,3)\cup(2,5]", "(1,5)"),
            ("x>3", r"[3,\infty)"),
            (r"x \le 3", r"y \le 3"),
            (r"\mathbb{R}", r"(0,\infty)"),
            (r"\mathbb{Z}", r"\mathbb{R}"),
            (r"\mathbb{R}^2", r"\mathbb{R}"),
            (r"\{1,2\}", "(1,2)"),
            (r"\{1,3\}", r"\{1,3\} \cup \{2\}"),
            (r"\mathbb{R} \setminus \{2\}", r"\mathbb{R} \setminus \{-2\}"),
        ],
    );
    check(
        Undecided,
        &[
            ("x>1, x>3", r"(3,\infty)"),
            (r"\{x | x^2 < 4\}", "(-2,2)"),
            (r"A \cup B", r"A \cap B"),
            (r"(1,2)\cup(3,4)\cap(0,9)", "(1,2)"),
            (r"\text{all real numbers except } 2", r"x \ne 2"),
            ("]1,2[", "(1,2)"),
            ("[1,2,3]", "1,2,3"),
            ("1,1,2", r"\{1,2\}"),
            (r"\{1, \int x\}", r"\{1,2\}"),
            (r"\pm 1 \pm \sqrt2", r"\pm(1+\sqrt2)"),
        ],
    );
}

#[test]
fn rounded_values_are_as_written() {
    check(
        Equal,
        &[
            (r"\approx 3.14", "3.14"),
            (r"\sim 3.14", "≈ 3.14"),
            ("about 3.14", "3.14"),
            (r"x \approx 3.14", "3.14"),
            (r"\sqrt{10} \approx 3.16", "3.16"),
            (r"\sqrt{10} \approx 3.16", r"\sqrt{10}"),
            ("3+4=7", "7"),
        ],
    );
    check(Different, &[(r"\approx 3.14", "3.15"), ("100000000000000000000", "100000000000000000007")]);
    check(
        Undecided,
        &[(r"\approx 3.14", r"\pi"), (r"\sqrt{10} \approx 3.99", "3.99"), ("3+4=8", "8"), ("about 5", "5.3")],
    );
}

#[test]
fn what_is_too_small_to_be_seen_is_not_taken_for_nothing() {
    for left in [r"\sqrt2+10^{-200}", r"\sqrt2+10^{-130}", r"\sqrt2\cdot(1+10^{-300})"] {
        assert_ne!(equal(left, r"\sqrt2"), Equal, "{left}");
    }
    check(Different, &[(r"\sin 1+10^{-90}", r"\sin 1")]);
    check(Equal, &[(r"\cos\frac{\pi}{2}+1", "1"), (r"(\sqrt2)^2+5", "7")]);
    for names in ["x", "xy", "xyz", "abc", "E", "k"] {
        check(Different, &[(&format!("|{names}|"), names)]);
    }
}

#[test]
fn units_bases_separators_and_names() {
    check(
        Equal,
        &[
            ("1 m", "100 cm"),
            (r"\$5", r"500 \text{ cents}"),
            ("2 hours", "120 minutes"),
            ("1.234.567", "1234567"),
            ("x=2, y=1", "(2,1)"),
            (r"\pi r^2\frac13", r"\frac{\pi r^2}{3}"),
            (r"x_1\frac12", r"\frac{x_1}{2}"),
            (r"2^3\frac12", "4"),
        ],
    );
    check(
        Different,
        &[
            ("1 m", "101 cm"),
            ("12 cm", "12 m"),
            ("101_2", "101_3"),
            ("101_2", "6"),
            ("x=1, y=2", "3,4"),
            (r"\text{London}", r"\text{Paris}"),
            ("1,234", "1235"),
        ],
    );
    check(
        Undecided,
        &[
            (r"180^\circ", r"\pi"),
            ("101_2", "5"),
            ("3,14", "3.14"),
            ("1.234", "1234"),
            ("1.234,56", "1234.56"),
            ("x=1, y=2", "2,1"),
            ("y=1, x=2", "(2,1)"),
            ("x=1, y=2", r"\{1,2\}"),
            ("5 halves", "5"),
            (r"\text{A and B}", r"\text{B, A}"),
            ("Route 66", "Route 67"),
        ],
    );
}

#[test]
fn a_hedge_is_no_answer() {
    use crate::Verdict;
    for text in [
        "The answer is not $5$.",
        "The answer is $5$ or $6$.",
        "The answer is either $5$ or $6$.",
        "The answer is less than $5$.",
        "I am sure that it is not 5.",
        "It isn't 5.",
        r"\boxed{5 \text{ or } 6}",
        "We meet at 6:05.",
    ] {
        assert_ne!(verdict(text, "5"), Verdict::Right, "{text}");
    }
    assert_eq!(verdict("We leave at 6:05 p.m.", "6:05 PM"), Verdict::Right);
    assert_eq!(verdict("The answer to 2+2 is $4$, of course.", "4"), Verdict::Right);
}

/// No arithmetic: dates, ranges, scores, telephone numbers.
#[test]
fn dates_and_ranges_are_not_computed() {
    check(
        Undecided,
        &[
            ("2024-01-02", "2024-02-01"),
            ("2024-01-02", "2021"),
            ("2/4/2024", "1/2/2024"),
            ("3-4", "4-5"),
            ("3-4", "-1"),
            ("10-12", "8-10"),
            ("10-12 years", "8-10 years"),
            (r"10-12 \text{ years}", r"8-10 \text{ years}"),
            ("$3-4$", "$4-5$"),
            ("1.5-2.5", "2-3"),
            ("555-1234", "-679"),
            ("555-123-4567", "555-124-4566"),
            ("3-4, 7", "-1, 7"),
            ("(3-4)", "-1"),
            ("(2024-01-02)", "(2024-02-01)"),
            ("x = 3-4", "x = 4-5"),
            (r"\{3-4\}", r"\{4-5\}"),
        ],
    );
    check(
        Equal,
        &[
            ("2024-01-02", "2024-01-02"),
            ("2024-01-02", "2024-1-2"),
            ("02/04/2024", "2/4/2024"),
            ("3-4", "$3-4$"),
            ("5 - 3", "2"),
            (r"3-4\sqrt2", r"-4\sqrt2+3"),
            ("3-4x", "-4x+3"),
            ("(3-4)x", "-x"),
            ("10-3=7", "7"),
            ("(3-4)(5)", "-5"),
            ("6/4", "3/2"),
            ("-3-4i", "-4i-3"),
        ],
    );
    check(Different, &[("2024-01-02", "2024-01-03"), ("3-4", "3-5")]);
    assert_eq!(is_within("3-4", "-1", 0.0, 0.0), None);
    assert_eq!(is_within("2024-01-02", "2021", 0.0, 0.0), None);
}

#[test]
fn logic_is_no_list() {
    check(
        Undecided,
        &[
            (r"p\lor q", r"p\land q"),
            (r"p\wedge q", r"p\vee q"),
            (r"p\lor q", "p, q"),
            (r"x=1 \lor y=2", r"x=1 \land y=2"),
        ],
    );
    check(
        Equal,
        &[
            (r"p\lor q", r"p \lor q"),
            (r"x=1 \lor x=2", "x=1, x=2"),
            (r"x<1 \lor x>3", r"(-\infty,1)\cup(3,\infty)"),
            (r"x>1 \land x<3", "(1,3)"),
        ],
    );
}

#[test]
fn functions_matrices_and_differentials_are_no_products() {
    check(
        Undecided,
        &[
            ("f(g(x))", "g(f(x))"),
            ("f(x)", "fx"),
            ("f(2)", "2f"),
            ("f^{-1}(x)", r"\frac{x}{f}"),
            ("f(g(x)) = x", "g(f(x)) = x"),
            (r"T(n-1)+1", "Tn-T+1"),
            ("y(x)", "xy"),
            ("AB^{-1}", "B^{-1}A"),
            ("A^TB", "BA^T"),
            ("A^{T}A", "AA^{T}"),
            ("(AB)^{-1}", "A^{-1}B^{-1}"),
            ("PDP^{-1}", "D"),
            (r"\frac{dy}{dx}", r"\frac{y}{x}"),
            ("dy/dx", "y/x"),
            ("dy/dx", r"\frac{dy}{dx}"),
            (r"\frac{d}{dx}x^2", "x"),
        ],
    );
    check(
        Equal,
        &[
            ("f(g(x))", "f(g(x))"),
            (r"f\left(x\right)", "f(x)"),
            ("f(x) = 2x + 1", "2x+1"),
            ("f(x) = 2x + 1", "f(x) = 1 + 2x"),
            ("P(A) = 1/2", "0.5"),
            ("n(n+1)", "n^2+n"),
            ("a(b+c)", "ab+ac"),
            ("x^{-1}y", r"\frac{y}{x}"),
            ("AB^{-1}", "A B^{-1}"),
            (r"\frac{dy}{dx}", r"\dfrac{dy}{dx}"),
            ("a+(n-1)d", "nd-d+a"),
            ("xy^{-1}", r"\frac{x}{y}"),
        ],
    );
}

#[test]
fn spaces_prefixes_and_double_factorials_change_values() {
    check(
        Undecided,
        &[
            ("1 2 3", "123"),
            ("4 5", "45"),
            ("12 34", "1234"),
            ("$4$ $5$", "45"),
            ("5 mg", "5 Mg"),
            (r"5 \text{ mW}", r"5 \text{ MW}"),
            ("3!!", "720"),
            ("3!!", "3"),
        ],
    );
    check(
        Equal,
        &[
            ("1 000", "1000"),
            ("12 345 678", "12345678"),
            ("4 5", "4  5"),
            ("5 MG", "5 mg"),
            ("5 Mg", "5 Mg"),
            ("3!!", "3!!"),
            ("(3!)!", "720"),
        ],
    );
}
