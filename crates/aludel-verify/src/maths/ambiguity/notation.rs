//! Ambiguous notations, recognised in the text of two answers: orders, letters that are not a product, case of letters, units
//! without conversion, signs of number theory. A result computed for them becomes undecided.

use std::sync::LazyLock;

use regex::Regex;

use super::readings;
use crate::maths::Equality;
use crate::maths::comparison::compare;
use crate::maths::reading::answer::{self, Answer};
use crate::maths::reading::token::Bracket;
use crate::maths::values::exact::Budget;
use crate::maths::values::unit;

/// Longer texts are not searched: none of these notations is that long.
const LONGEST: usize = 400;

macro_rules! found {
    ($pattern:expr, $text:expr) => {{
        static PATTERN: LazyLock<Regex> = LazyLock::new(|| pattern($pattern));
        PATTERN.is_match($text)
    }};
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

/// The computed result for two texts that are not the same, unless their notation is ambiguous.
pub(in crate::maths) fn weighed(left: &str, right: &str, computed: Equality) -> Equality {
    if left.len() > LONGEST || right.len() > LONGEST {
        return computed;
    }
    let (one, other) = (readings::bare(left), readings::bare(right));
    let either = |is_open: fn(&str) -> bool| is_open(one) || is_open(other);
    let both_ways = |is_open: fn(&str, &str) -> bool| is_open(one, other) || is_open(other, one);
    let is_open = match computed {
        Equality::Undecided => false,
        _ if either(has_cycles) || are_cycles(one, other) => true,
        Equality::Equal => {
            in_another_order(one, other)
                || either(multiplies_vectors)
                || letters_in_another_order(one, other)
                || differs_in_case(one, other)
                || has_dimensions(one, other)
                || zeros(one) != zeros(other)
        }
        Equality::Different => {
            both_ways(may_stand_for) || either(is_function_of_a_number) || units_of_one_kind(one, other)
        }
    };
    if is_open { Equality::Undecided } else { computed }
}

/// The digits of `1_000` together, as programs read it.
pub(in crate::maths) fn without_digit_separators(text: &str) -> Option<String> {
    found!(r"^[-+]?\d{1,3}(?:_\d{3})+(?:\.\d+)?$", readings::bare(text)).then(|| text.replace('_', ""))
}

/// `(12)(13)`: cycles of a permutation, or a product of numbers. Digits of a cycle are all different, and none is 0.
fn has_cycles(text: &str) -> bool {
    let spaced = text.replace(r"\,", " ");
    found!(r"\(\s*[1-9](?:\s*[1-9])+\s*\)\s*\(\s*[1-9](?:\s*[1-9])+\s*\)", &spaced)
        && spaced.split(['(', ')']).all(|group| {
            let digits: Vec<char> = group.chars().filter(char::is_ascii_digit).collect();
            digits.iter().enumerate().all(|(at, digit)| !digits[..at].contains(digit))
        })
}

/// `(123)` and `(231)` are one cycle.
fn are_cycles(one: &str, other: &str) -> bool {
    let digits = |text: &str| {
        let inner = text.strip_prefix('(')?.strip_suffix(')')?;
        let digits: String = inner.chars().filter(|next| !next.is_whitespace()).collect();
        (digits.len() > 2 && digits.chars().all(|next| next.is_ascii_digit())).then(|| digits.repeat(2))
    };
    match (digits(one), digits(other)) {
        (Some(one), Some(other)) => one.len() == other.len() && one.contains(&other[..other.len() / 2]),
        _ => false,
    }
}

/// Whether two bare lists have the same items in another order. A question may ask for an order. "or", ± and equations give solutions,
/// which have none.
fn in_another_order(one: &str, other: &str) -> bool {
    let says_solutions =
        |text: &str| found!(r"\bor\b|\\lor|\\vee|∨|\\pm|±|\\mp|[=<>≤≥≠∈]|\\(?:le|ge|in|ne|lt|gt)", text);
    if says_solutions(one) || says_solutions(other) {
        return false;
    }
    let (Answer::List(items), Answer::List(others)) = (answer::read(one), answer::read(other)) else { return false };
    let in_order = |items| Answer::Sequence { open: Bracket::Round, close: Bracket::Round, items };
    items.len() > 1 && compare::equal(&in_order(items), &in_order(others), &Budget::new()) != Equality::Equal
}

/// Two letters in bold type within one term: vectors have two products, and matrices have an order.
fn multiplies_vectors(text: &str) -> bool {
    static BOLD: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"\\(?:mathbf|boldsymbol|bm|pmb|bf|mathbfit)\s*(?:\{([^{}]*)\}|([A-Za-z]))"));
    let names = |found: regex::Captures<'_>| {
        let inner = found.get(1).or(found.get(2)).map_or("", |inner| inner.as_str());
        let commands = inner.matches('\\').count();
        if commands > 0 { commands } else { inner.chars().filter(char::is_ascii_alphabetic).count() }
    };
    text.split(['+', '=', ',']).any(|term| BOLD.captures_iter(term).map(names).sum::<usize>() > 1)
}

/// The same letters in another order, if they may be moves, outcomes, genes or a word: three letters or more, digits after letters,
/// or primes, and no other sign. `xy` and `yx`, and `2xyz` and `2zyx`, are products.
fn letters_in_another_order(one: &str, other: &str) -> bool {
    let letters = |text: &str| -> Option<Vec<char>> {
        let is_plain = text.chars().all(|next| next.is_ascii_alphanumeric() || next == '\'' || next.is_whitespace());
        is_plain.then(|| text.chars().filter(|next| !next.is_whitespace()).collect())
    };
    let (Some(mut one), Some(mut other)) = (letters(one), letters(other)) else { return false };
    let count = one.iter().filter(|next| next.is_ascii_alphabetic()).count();
    let has_digits = one.iter().any(char::is_ascii_digit);
    let is_sequence = one.windows(2).any(|two| two[0].is_ascii_alphabetic() && !two[1].is_ascii_alphabetic());
    if one == other || !(is_sequence || count > 2 && !has_digits) {
        return false;
    }
    one.sort_unstable();
    other.sort_unstable();
    one == other
}

/// Whether two texts differ in nothing but the case of letters, and it may matter: symbols of units and elements, genes.
fn differs_in_case(one: &str, other: &str) -> bool {
    if !one.eq_ignore_ascii_case(other) {
        return false;
    }
    let words = |text: &str| -> Vec<String> {
        static WORDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"0[xX][0-9A-Fa-f]+|\\?[A-Za-z]+"));
        WORDS.find_iter(text).map(|word| word.as_str().to_string()).collect()
    };
    let (words, others) = (words(one), words(other));
    words.len() == others.len()
        && words.iter().zip(&others).any(|(word, other)| word != other && case_matters(word, other))
}

fn case_matters(word: &str, other: &str) -> bool {
    const WORDS: [&str; 8] = ["yes", "no", "am", "pm", "dne", "true", "false", "none"];
    if word.len() < 2 || word.starts_with(['0', '\\']) || WORDS.contains(&word.to_lowercase().as_str()) {
        return false;
    }
    let is_lower = |word: &str| word.bytes().all(|letter| letter.is_ascii_lowercase());
    let is_upper = |word: &str| word.bytes().all(|letter| letter.is_ascii_uppercase());
    let is_capitalised =
        |word: &str| word.starts_with(|first: char| first.is_ascii_uppercase()) && is_lower(&word[1..]);
    let letters: Vec<char> = word.to_lowercase().chars().collect();
    // AaBb: each gene twice.
    let are_genes = letters.len().is_multiple_of(2) && letters.chunks(2).all(|pair| pair[0] == pair[1]);
    let is_word = |word: &str| is_lower(word) || is_upper(word) || is_capitalised(word);
    let is_short = word.len() < 4 && !is_lower(word) && !is_lower(other);
    are_genes || is_short || !is_word(word) || !is_word(other)
}

/// `2 × 3` and `3 × 2`, both not computed or with what they are the size of.
fn has_dimensions(one: &str, other: &str) -> bool {
    static SIZE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"^([1-9]\d*)\s*(?:\\times|×|x|X|\\text\{\s*(?:x|by)\s*\}|by)\s*(\d+)((?:\s|\\text\{|\\,|~|-)*[A-Za-z][A-Za-z ]*\}?)?$",
        )
    });
    let size = |text: &str| {
        SIZE.captures(text).map(|found| (found[1].to_string(), found[2].to_string(), found.get(3).is_some()))
    };
    match (size(one), size(other)) {
        (Some((rows, columns, _)), Some((other_rows, other_columns, _))) => {
            (rows, columns) != (other_rows, other_columns)
        }
        (Some((.., is_of_something)), None) | (None, Some((.., is_of_something))) => is_of_something,
        (None, None) => false,
    }
}

/// The number of leading zeros of digits alone, such as 0123, which may be a code.
fn zeros(text: &str) -> usize {
    if text.len() < 2 || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return 0;
    }
    // Of 00, the last is the number.
    text[..text.len() - 1].bytes().take_while(|digit| *digit == b'0').count()
}

/// Whether one may be expressed by the other, in a way that is not computed.
fn may_stand_for(one: &str, other: &str) -> bool {
    let (lower, other_lower) = (one.to_lowercase(), other.to_lowercase());
    let is_short_for = |letter: &str, word: &str| lower == letter && other_lower == word;
    let options = |text: &str| text.chars().filter(|next| !", ;{}\\".contains(*next)).collect::<String>();
    let are_options = |text: &str| text.len() > 1 && text.bytes().all(|letter| letter.is_ascii_uppercase());
    is_short_for("t", "true")
        || is_short_for("f", "false")
        || is_short_for("y", "yes")
        || is_short_for("n", "no")
        // ABC for the options A, B and C.
        || are_options(one) && other != one && options(&other.replace("and", "").replace(r"\text", "")) == one
        || found!(r"(?i)below zero|below 0|o['’]clock|\bph\b", one) && other.contains(|next: char| next.is_ascii_digit())
        // A matrix that has a name.
        || one.contains("matrix}") && found!(r"^(?:\\mathbf\{|\\mathbb\{)?[IEO0](?:\}?_\{?[n\d]\}?)?\}?$|(?i:identity|zero matrix)", other)
        // f⁽²⁾ and f″.
        || one.contains('\'') && found!(r"\^\{?\s*\(", other)
}

/// `\phi(10)`, `d(12)`: a function of number theory, not a product. π(2)² is more likely the area of a circle.
fn is_function_of_a_number(text: &str) -> bool {
    const CALL: &str = concat!(
        r"(?:\\?(?:var)?(?:zeta|phi|sigma|tau|mu|omega|lambda|Gamma|Phi|psi)|[ζφϕστμωλΓ]|(?:^|[^\\A-Za-z])[dfghp])",
        r"(?:_\{?\d\}?)?\s*(?:\\left)?\(\s*\d+\s*(?:\\right)?\)"
    );
    found!(CALL, text) || found!(r"^(?:\\pi|π|pi)\s*(?:\\left)?\(\s*\d+\s*(?:\\right)?\)$", text)
}

/// Units of one kind that are not converted here.
const KINDS: [&[&str]; 9] = [
    &["cc", "ccm", "cm^3", "cm³", "ml", "milliliter", "milliliters", "l", "liter", "liters", "dm^3", "m^3", "dl", "cl"],
    &["j", "joule", "joules", "nm", "ws", "kwh", "wh", "cal", "kcal", "ev", "kj", "mj", "newtonmeters", "newtonmeter"],
    &[
        "b",
        "byte",
        "bytes",
        "bit",
        "bits",
        "kb",
        "mb",
        "gb",
        "tb",
        "kib",
        "mib",
        "gib",
        "tib",
        "megabytes",
        "gigabytes",
        "kilobytes",
    ],
    &["t", "ton", "tons", "tonne", "tonnes", "metrictons", "kg", "g", "lb", "pounds", "kilograms", "mg", "grams"],
    &["pa", "kpa", "mpa", "n/m^2", "bar", "mbar", "atm", "psi", "mmhg", "torr", "pascal", "pascals"],
    &["w", "kw", "mw", "j/s", "hp", "watt", "watts", "kilowatts"],
    &["hz", "khz", "mhz", "ghz", "1/s", "s^-1", "rpm", "hertz"],
    &["n", "kn", "newton", "newtons", "kgm/s^2", "dyn", "dyne"],
    &["c", "°c", "k", "kelvin", "f", "°f"],
];

fn units_of_one_kind(one: &str, other: &str) -> bool {
    let unit = |text: &str| {
        static QUANTITY: LazyLock<Regex> = LazyLock::new(|| pattern(r"^-?[\d.,]*\d(.+)$"));
        let bare = ["\\text", "\\mathrm", "\\cdot", "\\,", "{", "}", " ", "·", "⋅", "*", "~"]
            .iter()
            .fold(text.to_string(), |text, layout| text.replace(layout, ""));
        Some(QUANTITY.captures(&bare)?[1].replace("^\\circ", "°").to_lowercase())
    };
    let (Some(name), Some(other_name)) = (unit(one), unit(other)) else { return false };
    let has_size = |text: &str| match answer::read(text) {
        Answer::Quantity(quantity) => quantity.unit.is_some_and(|unit| unit::size(&unit).is_some()),
        _ => false,
    };
    name != other_name
        && KINDS.iter().any(|kind| kind.contains(&name.as_str()) && kind.contains(&other_name.as_str()))
        && ![(one, &name), (other, &other_name)]
            .iter()
            .all(|(text, name)| has_size(text) || has_size(&format!("1 {name}")))
}

#[cfg(test)]
mod tests {
    use super::Equality::{Different, Equal, Undecided};
    use crate::maths::tests::check;

    #[test]
    fn orders_that_may_be_asked_for() {
        check(
            Undecided,
            &[
                ("1,2", "2,1"),
                (r"1 \text{ and } 8", "8, 1"),
                ("1,2,3,...", "1,2,3"),
                ("R U R'", "R' U R"),
                ("e4 e5 Nf3", "e5 e4 Nf3"),
                ("a2a4", "a4a2"),
                ("abc", "cba"),
                ("aab", "aba"),
                ("h t h", "h h t"),
                ("(12)(13)", "(13)(12)"),
                ("(12)(13)", "156"),
                ("(123)", "(231)"),
                (r"\mathbf{a}\mathbf{b}", r"\mathbf{b}\mathbf{a}"),
                (r"\boldsymbol{a}\times\boldsymbol{b}", r"\boldsymbol{a}\cdot\boldsymbol{b}"),
                (r"2 \times 3", r"3 \times 2"),
                (r"2 \times 3 \text{ matrix}", r"3 \times 2 \text{ matrix}"),
            ],
        );
        check(
            Equal,
            &[
                ("1,2", "1, 2"),
                (r"\{1,2\}", r"\{2,1\}"),
                (r"\{1,2\}", "2,1"),
                ("x=1 or x=2", "x=2 or x=1"),
                ("x=1, x=2", "x=2, x=1"),
                (r"\pm 1, 2", "-1,1,2"),
                ("xy", "yx"),
                ("2ab", "2ba"),
                ("(3)(5)", "15"),
                (r"\mathbf{v}", "v"),
                (r"2 \times 3", "6"),
            ],
        );
        check(Different, &[("1,2", "1,3"), ("abx", "aby")]);
    }

    #[test]
    fn cases_and_zeros_that_may_matter() {
        check(
            Undecided,
            &[
                ("AaBb", "aabb"),
                ("CO", "Co"),
                ("MPa", "mPa"),
                ("5 Mbps", "5 MBps"),
                ("010", "10"),
                ("00", "0"),
                ("0123", "123"),
            ],
        );
        check(Equal, &[("Monday", "monday"), ("YES", "yes"), ("0.5", ".5"), ("0xff", "0xFF"), ("5 MG", "5 mg")]);
    }

    #[test]
    fn values_that_hang_on_where_they_are_taken() {
        check(
            Undecided,
            &[
                (r"\ln|x|", r"\ln x"),
                (r"\ln x^2", r"2\ln x"),
                (r"\sqrt{x}\sqrt{x}", "x"),
                (r"\sqrt{x-1}\sqrt{x+1}", r"\sqrt{x^2-1}"),
                ("(-1)^{2n}", "1"),
                (r"\cos(2n\pi)", "1"),
            ],
        );
        check(Equal, &[(r"\frac{n!}{(n-2)!}", "n(n-1)"), (r"\frac{x^2-1}{x-1}", "x+1")]);
        check(Different, &[("(-1)^{n}", "1"), ("|n|", "n"), ("n", "2n")]);
    }

    #[test]
    fn what_may_be_said_in_another_way_is_not_different() {
        check(
            Undecided,
            &[
                ("1/2x", r"\frac{1}{2x}"),
                ("a/bc", r"\frac{a}{bc}"),
                (r"\sin x/2", r"\frac{\sin x}{2}"),
                ("6/2(1+2)", "1"),
                (r"\phi(10)", "4"),
                (r"\zeta(2)", r"\frac{\pi^2}{6}"),
                (r"\varphi(10)", "4"),
                (r"\tau(12)", "6"),
                (r"\mu(6)", "1"),
                (r"\sigma(6)", "12"),
                (r"\pi(10)", "4"),
                ("d(12)", "6"),
                ("1,00,000", "100000"),
                ("5 cc", "5 mL"),
                ("1 J", "1 N m"),
                ("1 GB", "1000 MB"),
                ("5 t", "5000 kg"),
                ("5 below zero", "-5"),
                ("3 o'clock", "3"),
                ("pH 7", "7"),
                ("T", "True"),
                ("ABC", "A, B, C"),
                (r"\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}", "I"),
                ("f^{(2)}(x)", "f''(x)"),
                (r"\phi", r"\varphi"),
            ],
        );
        check(Equal, &[("1_000", "1000"), (r"\pi(2)^2", r"4\pi"), ("1_000_000", "1,000,000")]);
        check(Different, &[("1,00,000", "10000"), ("5 cc", "five cats"), ("1_000", "1001"), ("5 kg", "6 kg")]);
    }
}
