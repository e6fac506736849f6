//! Tests of `readings`, of `doubt` about orders and joining words, and of the rule for decimals: what agrees in another reading than the
//! usual one is undecided, and what agrees in none is different.

use super::check;
use crate::maths::Equality::{Different, Equal, Undecided};

#[test]
fn letters_for_powers_of_ten() {
    check(
        Undecided,
        &[
            ("5k", "5000"),
            ("2.5M", "2,500,000"),
            (r"\$5k", "5000"),
            ("$3B", "3 billion"),
            ("1.5 mn", "1500000"),
            ("5 lakh", "500000"),
        ],
    );
    check(Different, &[("5k", "6000"), ("2.5M", "2500"), ("5k", "5")]);
}

#[test]
fn numbers_in_other_bases() {
    check(Equal, &[("0x1F", "0x1f"), ("0x1F", "1F_{16}"), ("0b101", "101_2"), ("0o17", "17_8"), ("FF_{16}", "0xFF")]);
    check(Undecided, &[("0x1F", "31"), ("0b101", "5"), ("1F", "0x1F"), ("1F_{16}", "31")]);
    check(Different, &[("0x1F", "0"), ("0x1F", "30"), ("0b101", "0b110"), ("0b101", "101")]);
    check(Equal, &[("a_{12}", "a_{12}"), ("3 x 10^5", "300000")]);
    check(Different, &[("a_{12}", "A_{13}"), ("a_{12}", "b_{12}")]);
}

#[test]
fn symbols_of_units_that_are_not_set_apart() {
    check(
        Undecided,
        &[
            (r"5\Omega", r"5 \text{ ohms}"),
            ("5Ω", "5 ohms"),
            ("5m", "5 meters"),
            ("10m/s", r"10 \text{ m/s}"),
            ("5A", "5 amperes"),
            ("5m", "5"),
        ],
    );
    // A space sets them apart as words and \text{} do.
    check(
        Equal,
        &[
            ("10 m/s", r"10 \text{ m/s}"),
            ("10 m/s", "10 meters per second"),
            ("36 km/h", "10 m/s"),
            (r"3 \times 10^8 m/s", r"300000 \text{ km/s}"),
            ("9.8 m/s^2", r"9.8 \text{ m/s}^2"),
            (r"5\ kg", r"5 \text{ kg}"),
            ("10 m/s", r"\frac{10m}{s}"),
            ("0.5 m s^{-1}", "0.5 m/s"),
            ("2 mg", "2mg"),
            ("10m/s", "10 m/s"),
        ],
    );
    check(Different, &[("10 m/s", r"10 \text{ km/h}"), ("10 m/s", "11 m/s"), ("10 m/s", "10 s")]);
    check(Different, &[("5m", "6 meters"), ("5x", "5"), ("5 m", "5 s"), (r"5\Omega", "5 volts")]);
    check(Equal, &[("5Ω", r"5\Omega"), ("2πr", r"2\pi r"), ("θ", r"\theta"), ("αβ", r"\beta\alpha")]);
}

#[test]
fn indices_and_ordinals_in_plain_text() {
    check(
        Undecided,
        &[
            ("x1", "x_1"),
            ("x1", "x"),
            ("x2", "2x"),
            ("x2+1", "x^2+1"),
            ("3rd", "third"),
            ("4th", "4"),
            ("third", "3"),
            (r"4^{\text{th}}", "4"),
            ("IV", "4"),
        ],
    );
    check(Different, &[("x1", "x_2"), ("3rd", "4"), ("IV", "6")]);
    check(Equal, &[("x1", "x1"), ("2x1+3", "3+2x1"), (r"\frac x2", r"\frac{x}{2}"), ("n2^n", r"2^n n")]);
}

#[test]
fn letters_under_other_names() {
    check(
        Undecided,
        &[
            ("A", "a"),
            ("2X+1", "2x+1"),
            ("3+4j", "3+4i"),
            (r"2k\pi", r"2n\pi"),
            (r"\frac{\pi}{4}+m\pi", r"\frac{\pi}{4}+n\pi"),
            ("x+C", "x+K"),
            (r"\pi+2k\pi, k\in\mathbb{Z}", r"\pi+2n\pi"),
            (r"\pi+2k\pi, k\in\mathbb{Z}", r"\pi+2k\pi"),
            (r"\log x", r"\ln x"),
            ("2i+3j", "(2,3)"),
            (r"2\mathbf{i}-\mathbf{j}", r"\langle 2,-1 \rangle"),
            ("5C2", "10"),
            ("f(x)=2x+1", "y=2x+1"),
            ("H2O", "H_2O"),
            (r"\frac{x1+x2}{2}", r"\frac{x_1+x_2}{2}"),
            ("(a) 2 (b) 3", "2, 3"),
            ("3.30 pm", "3:30 PM"),
            ("15h30", "15:30"),
            ("Ø", r"\emptyset"),
            ("R", r"\mathbb{R}"),
            ("Pi/2", r"\frac{\pi}{2}"),
            ("Sqrt(2)", r"\sqrt2"),
            ("x^2+C", "x^2+1+C"),
            (r"\ln|x|+C", r"\ln|2x|+K"),
            (r"\sin^2 x + C", r"-\cos^2 x + C"),
        ],
    );
    check(
        Different,
        &[
            ("x", "y"),
            ("|E|", "E"),
            ("A", "b"),
            (r"\sin x + C", r"\cos x + C"),
            ("x^2+C", "x^3+K"),
            ("x^2+C", "x^2"),
            (r"2k\pi", r"3n\pi"),
        ],
    );
    check(Equal, &[("x^2+C", "C+x^2")]);
}

#[test]
fn options_that_say_so() {
    check(
        Equal,
        &[
            ("C", "Choice C"),
            ("C", "option C"),
            ("C", "(C)"),
            ("(C)", r"\text{(C)}"),
            ("C", r"\textbf{(C)}"),
            ("Option c", "C"),
            ("C", "Answer: C"),
            ("C", "C)"),
        ],
    );
    check(Different, &[("C", "Choice D"), ("option A", "option B"), ("(A)", "(B)")]);
    check(Undecided, &[("option C", "12"), ("ABC", "CBA"), ("B", "12"), ("B", "Paris"), ("(B)", r"\frac12")]);
    check(Different, &[("B", "C"), ("F", "12"), ("B", "2x"), ("b", "12")]);
}

#[test]
fn the_order_of_capitals_and_of_joining_words_matters() {
    check(
        Undecided,
        &[
            ("AB", "BA"),
            ("AB+BA", "2AB"),
            ("AB-BA", "0"),
            ("x=1 and y=2", "x=1 or y=2"),
            (r"x=1 \text{ or } y=2", "(1,2)"),
            ("x=1, y=2", "x=1 or y=2"),
            ("p and q", "p or q"),
        ],
    );
    check(
        Equal,
        &[
            ("AB", "A B"),
            ("A(B+C)", "AB+AC"),
            ("PV=nRT", "nRT=PV"),
            (r"\frac{GM}{r^2}", r"GM/r^2"),
            ("x=1 and x=2", "x=1 or x=2"),
            ("x=1, y=2", "x=1 and y=2"),
            ("3 and 5", "3 or 5"),
            (r"\frac{V}{R}", r"\frac{1}{R}V"),
        ],
    );
}

#[test]
fn decimals_of_exact_values() {
    check(
        Equal,
        &[
            (r"\sqrt2", "1.414213562"),
            (r"\sqrt2", "1.414214"),
            (r"\frac13", "0.333333"),
            (r"10000\sqrt5", "22360.679775"),
        ],
    );
    check(
        Undecided,
        &[
            (r"\sqrt2", "1.41421"),
            (r"\sqrt2", "1.41"),
            (r"\pi", "3.14"),
            (r"\frac13", r"33.3\%"),
            (r"\frac{50}{3}", "16.67"),
            ("1 mile", "1.61 km"),
        ],
    );
    check(
        Different,
        &[
            (r"\sqrt2", "1.4"),
            (r"\sqrt2", "1.414213563"),
            (r"\sqrt2", "1.414213"),
            (r"\sqrt2", "1.42"),
            ("3.14", "3.142"),
            (r"\frac13", "0.33"),
            (r"\sqrt2", "1"),
        ],
    );
}
