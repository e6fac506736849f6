//! Other readings of an answer than the usual one: commas for decimal points, k for thousand, x1 for x₁, a unit's letter without a
//! space, another name for a constant. If two answers differ in the usual reading and agree in another one, the result is
//! undecided.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::maths::reading::lexer;
use crate::maths::values::unit;

/// Maximum number of readings of one answer, so that the work is bounded.
const MOST: usize = 21;
/// Longer answers have one reading.
const LONGEST: usize = 200;

/// Other texts that `text` may stand for, when it is compared with `beside`.
pub(in crate::maths) fn others(text: &str, beside: &str) -> Vec<String> {
    if text.len() > LONGEST {
        return Vec::new();
    }
    let bare = bare(text);
    if bare.eq_ignore_ascii_case("n/a") {
        return ["none", "undefined", "no solution"].map(str::to_string).to_vec();
    }
    let (plain, plain_beside) = (without_range(text), without_range(beside));
    let found = [
        magnitude(bare),
        with_unit(bare),
        ordinal(bare),
        roman(bare),
        hexadecimal(bare),
        index(text, r"${1}${2}_{${3}}"),
        index(text, r"${1}${2}^{${3}}"),
        renamed(plain, plain_beside),
        Some(plain.to_string()),
        natural_logarithm(text),
        vector(bare),
        combinations(bare),
        unlabelled(bare),
        time(bare),
        set(bare),
        capitalised(text),
        slanted(text, r"/(${1})"),
        argument(text, r"(\${1} ${2})/${3}"),
        argument(text, r"\${1} (${2}/${3})"),
        grouped_by_two(bare),
        variant(text),
    ];
    found.into_iter().flatten().filter(|other| other != text).take(MOST).collect()
}

/// Whether two answers are the same capitals in another order: an angle or a triangle may be named by its corners in several ways.
pub(in crate::maths) fn names_the_same_points(left: &str, right: &str) -> bool {
    let points = |text: &str| {
        let mut letters: Vec<char> = bare(text).chars().collect();
        let are_points = (3..=6).contains(&letters.len()) && letters.iter().all(char::is_ascii_uppercase);
        letters.sort_unstable();
        are_points.then_some(letters)
    };
    points(left).is_some_and(|left| points(right) == Some(left))
}

/// The letter of `Choice C`, `option (c)`, `(C)`, `C)` or `C`, and whether the text says that it names an option.
fn option_letter(text: &str) -> Option<(char, bool)> {
    static OPTION: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"^(?i:(option|choice|answer)\s*:?\s+)?[(\[]?\s*(?:\\text(?:bf)?\{)?\s*\(?([A-Za-z])\)?\}?\s*[)\].:]*$")
    });
    let found = OPTION.captures(bare(text))?;
    Some((found[2].chars().next()?, found.get(1).is_some()))
}

/// Whether two answers are the same letter, in brackets or not, or name the same option where at least one says that it names one.
pub(in crate::maths) fn same_option(left: &str, right: &str) -> Option<bool> {
    let ((left, is_named), (right, is_other_named)) = (option_letter(left)?, option_letter(right)?);
    match left == right {
        true => Some(true),
        false => (is_named || is_other_named).then(|| left.eq_ignore_ascii_case(&right)),
    }
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

/// Without the dollar signs of mathematics, one `\text{}` and a full stop around it.
pub(in crate::maths) fn bare(text: &str) -> &str {
    let mut text = text.trim();
    if text.matches('$').count() == 2 {
        text = text.strip_prefix('$').and_then(|text| text.strip_suffix('$')).unwrap_or(text).trim();
    }
    for command in ["\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{", "\\boxed{"] {
        if let Some(inner) = text.strip_prefix(command).and_then(|rest| rest.strip_suffix('}'))
            && !inner.contains(['{', '}'])
        {
            text = inner.trim();
        }
    }
    text.strip_suffix('.').unwrap_or(text).trim()
}

/// The text with points for commas and commas for points, if it holds one number and that has either.
pub(in crate::maths) fn swapped(text: &str) -> Vec<String> {
    swap(text).into_iter().collect()
}

fn swap(text: &str) -> Option<String> {
    let is_part = |character: char| character.is_ascii_digit() || matches!(character, '.' | ',');
    let start = text.find(|character: char| character.is_ascii_digit())?;
    let length = text[start..].find(|character| !is_part(character)).unwrap_or(text.len() - start);
    let number = text[start..start + length].trim_end_matches(['.', ',']);
    let rest = &text[start + number.len()..];
    if number.len() > 60 || !number.contains(['.', ',']) || rest.contains(|next: char| next.is_ascii_digit()) {
        return None;
    }
    let other = |character| match character {
        '.' => ',',
        ',' => '.',
        other => other,
    };
    Some(format!("{}{}{rest}", &text[..start], number.chars().map(other).collect::<String>()))
}

/// `5k`, `$2.5M`, `3 bn people`.
fn magnitude(text: &str) -> Option<String> {
    static MAGNITUDE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"^(-?(?:\\?\$|€|£)?-?[\d,]*\.?\d+)\s*(?:\\text\{\s*)?(k|K|m|M|b|B|t|T|mil|mio|mn|mm|MM|bn|tn|lakh|crore|lakhs|crores)\}?(?:\s+(.*))?$",
        )
    });
    let found = MAGNITUDE.captures(text)?;
    let power = match found[2].to_lowercase().as_str() {
        "k" => 3,
        "m" | "mil" | "mio" | "mn" | "mm" => 6,
        "b" | "bn" => 9,
        "t" | "tn" => 12,
        "lakh" | "lakhs" => 5,
        _ => 7,
    };
    let unit = found.get(3).map_or("", |unit| unit.as_str());
    Some(format!("{}e{power} {unit}", &found[1]))
}

/// `10 m/s` with its unit in `\text{}`: the number, a space, and symbols of units that are all known.
pub(in crate::maths) fn unit_set_apart(text: &str) -> Option<String> {
    static QUANTITY: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"^\s*([-−+]?[\d,]*\.?\d+(?:\s*(?:\\times|\\cdot|×|·|x)\s*10\s*\^\s*(?:[-−]?\d|\{\s*[-−]?\d+\s*\}))?)",
            r"(?:\s|~|\\[,;: ])+",
            r"([A-Za-zµΩ]+(?:\^(?:-?\d|\{-?\d+\}))?(?:\s*[/·]\s*[A-Za-zµΩ]+(?:\^(?:-?\d|\{-?\d+\}))?)*)\s*\.?\s*$"
        ))
    });
    static SYMBOL: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-zµΩ]+"));
    if text.len() > LONGEST {
        return None;
    }
    let found = QUANTITY.captures(text)?;
    let is_unit = |symbol: &str| unit::is_letter_unit(symbol) || unit::is_known(symbol);
    let are_units = SYMBOL.find_iter(&found[2]).all(|symbol| is_unit(symbol.as_str()));
    are_units.then(|| format!("{} \\text{{ {} }}", &found[1], found[2].replace(['{', '}'], "")))
}

/// `5m`, `5\Omega`, `9.8m/s^2`: letters behind a number that are units' symbols.
fn with_unit(text: &str) -> Option<String> {
    static UNIT: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"^(-?[\d,]*\.?\d+)\s*(?:\\[,;: ~]|~)*\s*((?:\\Omega|[A-Za-zΩ\u{2126}])+)((?:[/^{}\d ]|[a-zA-Z])*)$")
    });
    let found = UNIT.captures(text)?;
    let symbol = found[2].replace("\\Omega", "Ω");
    let name = match symbol.as_str() {
        "A" => "ampere",
        "T" => "tesla",
        "C" => "coulomb",
        "Pa" => "pascal",
        "Ω" | "\u{2126}" => "ohm",
        "c" => "cent",
        known if unit::is_letter_unit(known) || unit::is_known(known) => known,
        _ => return None,
    };
    Some(format!("{} \\text{{ {name}{} }}", &found[1], found[3].replace(['{', '}'], "")))
}

/// `3rd`, `4^{\text{th}}`, "third".
fn ordinal(text: &str) -> Option<String> {
    const ORDINALS: [&str; 12] = [
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
        "twelfth",
    ];
    static ORDINAL: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"^(?i:the\s+)?(\d+)\s*(?:\^?\s*\{?\s*(?:\\(?:text|mathrm)\{)?\s*)(?:st|nd|rd|th)[}\s]*$")
    });
    if let Some(found) = ORDINAL.captures(text) {
        return Some(found[1].to_string());
    }
    let lower = text.to_lowercase();
    let word = lower.strip_prefix("the ").unwrap_or(&lower);
    ORDINALS.iter().position(|ordinal| *ordinal == word).map(|at| (at + 1).to_string())
}

/// Roman numerals of two letters or more.
fn roman(text: &str) -> Option<String> {
    static ROMAN: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})$"));
    if text.len() < 2 || !ROMAN.is_match(text) {
        return None;
    }
    let value = |letter: char| match letter {
        'I' => 1i32,
        'V' => 5,
        'X' => 10,
        'L' => 50,
        'C' => 100,
        'D' => 500,
        _ => 1000,
    };
    let values: Vec<i32> = text.chars().map(value).collect();
    let next = |at: usize| values.get(at + 1).copied().unwrap_or(0);
    let sum: i32 = values.iter().enumerate().map(|(at, value)| if *value < next(at) { -value } else { *value }).sum();
    Some(sum.to_string())
}

/// `1F`, whose base is given only in the other answer.
fn hexadecimal(text: &str) -> Option<String> {
    let is_hex = text.len() > 1 && text.chars().all(|digit| digit.is_ascii_hexdigit());
    (is_hex && text.contains(|digit: char| digit.is_ascii_alphabetic())).then(|| format!("0x{text}"))
}

/// `x1` with its digit as an index, or as a power.
fn index(text: &str, replaced: &str) -> Option<String> {
    static INDEX: LazyLock<Regex> = LazyLock::new(|| pattern(r"(^|[^A-Za-z\\_^0])([A-Za-z])(\d+)"));
    match INDEX.replace_all(text, replaced) {
        std::borrow::Cow::Owned(other) => Some(other),
        std::borrow::Cow::Borrowed(_) => None,
    }
}

/// The text with letters that `beside` lacks under the names that they may have there: in the other case, j for i, or another
/// letter for a constant or an integer, as in 2kπ and 2nπ.
fn renamed(text: &str, beside: &str) -> Option<String> {
    let (own, others) = (symbols(text), symbols(beside));
    let free: Vec<char> = others.iter().copied().filter(|letter| !own.contains(letter)).collect();
    let is_sum = text.contains(['π', '+']) || text.contains("\\pi");
    let is_parameter = |letter: &char| "nktcCK".contains(*letter) || is_sum && "mls".contains(*letter);
    let mut parameters = free.iter().copied().filter(is_parameter);
    let mut names: Vec<(char, char)> = Vec::new();
    for letter in own.iter().copied().filter(|letter| !others.contains(letter)) {
        let in_other_case =
            if letter.is_uppercase() { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() };
        let imaginary = match letter {
            'i' => 'j',
            'j' => 'i',
            other => other,
        };
        let taken = |wanted: char, names: &[(char, char)]| {
            free.contains(&wanted) && !names.iter().any(|(_, name)| *name == wanted)
        };
        if taken(in_other_case, &names) {
            names.push((letter, in_other_case));
        } else if imaginary != letter && taken(imaginary, &names) {
            names.push((letter, imaginary));
        } else if is_parameter(&letter)
            && let Some(name) = parameters.find(|name| taken(*name, &names))
        {
            names.push((letter, name));
        }
    }
    let rename = |letter: char| names.iter().find(|(own, _)| *own == letter).map_or(letter, |(_, name)| *name);
    let replace = |run: &Captures<'_>| match is_symbols(&run[0]) {
        true => run[0].chars().map(rename).collect::<String>(),
        false => run[0].to_string(),
    };
    (!names.is_empty()).then(|| runs().replace_all(text, replace).into_owned())
}

/// Without the range of a letter behind it: `\pi + 2k\pi, k \in \mathbb{Z}`.
fn without_range(text: &str) -> &str {
    static RANGE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"(?:[,;(\s]|\\[,;: ]|\\q?quad|\\text\{[^}]*\}|\b(?:where|for|with|any|all)\b)+\$?\s*[a-zA-Z]\s*",
            r"(?:(?:\\in|∈|in)\s*(?:\\mathbb\s*\{?[ZNRQ]\}?|[ZNRQℤℕℝ])|is an(?:y)? integer|(?:an )?integer)[^,;]*$"
        ))
    });
    match RANGE.find(text) {
        Some(found) if found.start() > 0 => text[..found.start()].trim_end(),
        _ => text,
    }
}

/// Where log has no base, it may be the natural one.
fn natural_logarithm(text: &str) -> Option<String> {
    static LOGARITHM: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\?\blog\b(\s*[^_\s])"));
    LOGARITHM.is_match(text).then(|| LOGARITHM.replace_all(text, r"\ln${1}").into_owned())
}

/// `2\mathbf{i} - 3\mathbf{j}` as (2, −3).
fn vector(text: &str) -> Option<String> {
    static VECTOR: LazyLock<Regex> = LazyLock::new(|| pattern(r"^([^ijk]*)i\s*([+-][^ijk]*)j\s*(?:([+-][^ijk]*)k)?$"));
    let plain =
        ["\\mathbf", "\\boldsymbol", "{", "}"].iter().fold(text.to_string(), |text, part| text.replace(part, ""));
    if !text.contains("\\mathbf") && !text.contains("\\boldsymbol") && !text.contains('j') || text.contains("\\frac") {
        return None;
    }
    let found = VECTOR.captures(&plain)?;
    let parts = found.iter().skip(1).flatten().map(|part| match part.as_str().replace(' ', "").as_str() {
        "" | "+" => "1".to_string(),
        "-" => "-1".to_string(),
        other => other.trim_start_matches('+').to_string(),
    });
    Some(format!("({})", parts.collect::<Vec<_>>().join(",")))
}

/// `5C2`, `{}^5C_2`.
fn combinations(text: &str) -> Option<String> {
    static COMBINATIONS: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^(?:\{\})?[_^]?\{?(\d+)\}?\s*C\s*_?\{?(\d+)\}?$"));
    COMBINATIONS.captures(text).map(|found| format!("\\binom{{{}}}{{{}}}", &found[1], &found[2]))
}

/// `(a) 2 (b) 3` as a list.
fn unlabelled(text: &str) -> Option<String> {
    static LABEL: LazyLock<Regex> = LazyLock::new(|| pattern(r"[,;]?\s*\((?:[a-e]|i{1,3}|iv|v)\)\s*"));
    let begins = LABEL.find(text).is_some_and(|label| label.start() == 0);
    let is_list = begins && LABEL.find_iter(text).count() > 1;
    is_list.then(|| LABEL.replace_all(text, ", ").trim_start_matches(", ").to_string())
}

/// `3.30 pm`, `15h30` with a colon.
fn time(text: &str) -> Option<String> {
    static TIME: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d{1,2})\s?[.hH]\s?([0-5]\d)\s*((?i:[ap]\.?m\.?)?)$"));
    TIME.captures(text).map(|found| format!("{}:{} {}", &found[1], &found[2], &found[3]))
}

/// `Ø` for the empty set, `R` for the real numbers.
fn set(text: &str) -> Option<String> {
    match text {
        "Ø" | "ø" | "⌀" | "\\phi" | "\\Phi" | "φ" => Some("\\emptyset".to_string()),
        "Z" | "N" | "R" | "Q" | "C" => Some(format!("\\mathbb{{{text}}}")),
        _ => None,
    }
}

/// `1/2x` with all of it below the line.
fn slanted(text: &str, replaced: &str) -> Option<String> {
    static SLANTED: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"/\s*((?:\d+\s*(?:[A-Za-z]|\\pi|π|\([^()]*\))|[A-Za-z]\s*(?:[A-Za-z]|\([^()]*\)))(?:\^\{?\d\}?|[A-Za-z])*)",
        )
    });
    SLANTED.is_match(text).then(|| SLANTED.replace_all(text, replaced).into_owned())
}

/// `\sin x/2` as a half of the sine, and as the sine of a half.
fn argument(text: &str, replaced: &str) -> Option<String> {
    static ARGUMENT: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"\\?\b(sin|cos|tan|cot|sec|csc|ln|log|exp)\s+(\d*[A-Za-z]|\d+|\\[a-z]+)\s*/\s*(\d+|[A-Za-z])")
    });
    ARGUMENT.is_match(text).then(|| ARGUMENT.replace_all(text, replaced).into_owned())
}

/// `1,00,000`, grouped as in India.
fn grouped_by_two(text: &str) -> Option<String> {
    static GROUPED: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^\D{0,3}\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?(?:\D.*)?$"));
    GROUPED.is_match(text).then(|| text.replace(',', ""))
}

/// Another form of a Greek letter: `\varphi` for `\phi`.
fn variant(text: &str) -> Option<String> {
    const GREEK: [&str; 6] = ["phi", "epsilon", "theta", "rho", "sigma", "pi"];
    let plain = GREEK
        .iter()
        .fold(text.replace('ϕ', "φ"), |text, name| text.replace(&format!("\\var{name}"), &format!("\\{name}")));
    (plain != text).then_some(plain)
}

/// `Pi` and `Sqrt(2)`, as some programs write.
fn capitalised(text: &str) -> Option<String> {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"\b(?:Pi|PI|Sqrt|SQRT|Sin|SIN|Cos|COS|Tan|TAN|Log|LOG|Ln|LN|Exp|EXP)\b"));
    let lower = |name: &Captures<'_>| name[0].to_lowercase();
    NAME.is_match(text).then(|| NAME.replace_all(text, lower).into_owned())
}

/// Letters that stand as symbols, each once and in order.
fn symbols(text: &str) -> Vec<char> {
    let mut found = Vec::new();
    for run in runs().find_iter(text).map(|run| run.as_str()).filter(|run| is_symbols(run)) {
        for letter in run.chars() {
            if !found.contains(&letter) {
                found.push(letter);
            }
        }
    }
    found
}

/// Commands and runs of letters.
fn runs() -> &'static Regex {
    static RUNS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\?[A-Za-z]+"));
    &RUNS
}

fn is_symbols(run: &str) -> bool {
    !run.starts_with('\\') && lexer::is_product(run)
}
