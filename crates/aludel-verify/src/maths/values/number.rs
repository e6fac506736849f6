//! Numbers as they are written: thousands separators, decimals, repeating decimals and powers of ten, read exactly.

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

/// Powers of ten beyond this are refused: no answer contains them, and they would cost memory.
const MAX_EXPONENT: i64 = 2000;

/// A number, and how it was written.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::maths) struct Number {
    /// The exact value.
    pub(in crate::maths) value: RBig,
    /// Digits after the decimal point; 0 for integers, and for repeating decimals, which are exact.
    pub(in crate::maths) decimals: usize,
    /// Digits without leading zeros.
    pub(in crate::maths) significant: usize,
    /// Digits before the point, as written.
    pub(in crate::maths) digits: usize,
    /// Whether it was written with a leading zero, like minutes: `05`, `00`.
    pub(in crate::maths) leading_zero: bool,
}

impl Number {
    pub(in crate::maths) fn integer(value: i64) -> Number {
        Number::exact(RBig::from(value))
    }

    pub(in crate::maths) fn half() -> Number {
        Number::exact(RBig::from_parts(1.into(), 2u8.into()))
    }

    /// A value without information on how it was written.
    pub(in crate::maths) fn exact(value: RBig) -> Number {
        Number { value, decimals: 0, significant: 1, digits: 1, leading_zero: false }
    }

    /// Whether it is a decimal with enough digits that it can only be the rounding of an exact value.
    pub(in crate::maths) fn is_rounded(&self) -> bool {
        self.decimals >= 6 && self.significant >= 6
    }

    /// Whether it is a decimal with enough digits that agreeing with a rounded exact value is hardly chance.
    pub(in crate::maths) fn may_be_rounded(&self) -> bool {
        self.decimals >= 1 && self.significant >= 3
    }
}

/// `0x1F`, `0b101`, `0o17` or `1F_{16}` as its digits with their base, such as `#1F_16`, which no symbol is called, and how many characters it took.
pub(in crate::maths) fn with_base(characters: &[char]) -> Option<(String, usize)> {
    let run = |from: usize, base: u32| characters[from..].iter().take_while(|next| next.is_digit(base)).count();
    let text = |from: usize, length: usize| characters[from..from + length].iter().collect::<String>().to_uppercase();
    let prefixed = match characters {
        ['0', 'x' | 'X', ..] => Some(16),
        ['0', 'b' | 'B', ..] => Some(2),
        ['0', 'o' | 'O', ..] => Some(8),
        _ => None,
    };
    if let Some(base) = prefixed {
        let length = run(2, base);
        let goes_on =
            characters.get(2 + length).is_some_and(|next| next.is_alphanumeric() || matches!(next, '.' | '^'));
        return (length > 0 && !goes_on).then(|| (format!("#{}_{base}", text(2, length)), 2 + length));
    }
    let length = run(0, 16);
    // Digits alone are read with any other index; letters alone may be symbols with one.
    let is_any = |wanted: fn(&char) -> bool| characters[..length].iter().any(wanted);
    let spelled = length > 1 && characters[..length].iter().all(char::is_ascii_uppercase);
    if !is_any(char::is_ascii_alphabetic) || !(is_any(char::is_ascii_digit) || spelled) {
        return None;
    }
    let index: String = characters[length..].iter().take(6).collect();
    let (base, taken) = match index.strip_prefix("_{").and_then(|rest| rest.split_once('}')) {
        Some((base, _)) => (base.to_string(), 3 + base.len()),
        None => (index.strip_prefix('_')?.chars().take_while(char::is_ascii_digit).collect::<String>(), 0),
    };
    let taken = if taken == 0 { 1 + base.len() } else { taken };
    let base: u32 = base.trim().parse().ok().filter(|base| (11..=16).contains(base))?;
    let fits = characters[..length].iter().all(|digit| digit.is_digit(base));
    fits.then(|| (format!("#{}_{base}", text(0, length)), length + taken))
}

/// Reads the number at the start of `characters` and tells how many characters it took. With `in_list`, a bare comma
/// always separates.
pub(in crate::maths) fn read(characters: &[char], in_list: bool) -> Option<(Number, usize)> {
    let mut at = 0;
    let mut digits = integer_part(characters, in_list, &mut at);
    let (whole, leading_zero) = (digits.len(), digits.len() > 1 && digits.starts_with('0'));
    if characters[at..].starts_with(&['.']) && is_grouped_by_points(&characters[at..]) && whole <= 3 && !leading_zero {
        // 1.234.567: a second point leaves no other reading.
        while characters.get(at) == Some(&'.') {
            at += 1;
            take_digits(characters, &mut at, &mut digits);
        }
        let value = RBig::from(IBig::from(UBig::from_str_radix(&digits, 10).ok()?));
        let significant = digits.len();
        return Some((Number { value, decimals: 0, significant, digits: significant, leading_zero }, at));
    }
    let mut decimals = 0;
    let point = match characters.get(at) {
        Some('.') => 1,
        // `3{,}14`: three digits would have been a group of thousands.
        Some('{') if characters[at..].starts_with(&['{', ',', '}']) => 3,
        _ => 0,
    };
    let after_point = characters.get(at + point).copied();
    let mut repeating = None;
    if point > 0 && after_point.is_some_and(|next| next.is_ascii_digit()) {
        at += point;
        let start = at;
        take_digits(characters, &mut at, &mut digits);
        decimals = at - start;
        repeating = repeating_part(characters, &mut at);
    } else if point == 1 && after_point == Some('\\') {
        let mut next = at + 1;
        repeating = repeating_part(characters, &mut next);
        at = if repeating.is_some() { next } else { at };
    }
    if characters[at..].starts_with(&['.', '.']) || characters[at..].starts_with(&['…']) {
        return None; // An unfinished decimal has no known value.
    }
    let significant = digits.trim_start_matches('0').len();
    let mantissa = UBig::from_str_radix(&digits, 10).ok()?;
    let mut value = RBig::from_parts(IBig::from(mantissa), ten_to(decimals));
    if let Some(period) = repeating {
        // 0.1(6) = 1/10 + 6/(9·10)
        let nines = ten_to(period.len()) - UBig::ONE;
        let period = IBig::from(UBig::from_str_radix(&period, 10).ok()?);
        value += RBig::from_parts(period, nines * ten_to(decimals));
        decimals = 0;
    }
    if let Some((exponent, length)) = power_of_ten(&characters[at..])? {
        at += length;
        let scale = ten_to(exponent.unsigned_abs() as usize);
        value = if exponent < 0 { value / scale } else { value * scale };
        decimals = 0;
    }
    Some((Number { value, decimals, significant, digits: whole, leading_zero }, at))
}

/// Whether two groups of three digits or more follow, each behind a point, and then nothing that goes on.
fn is_grouped_by_points(characters: &[char]) -> bool {
    let mut rest = characters;
    let mut groups = 0;
    while rest.first() == Some(&'.') && rest.len() > 3 && rest[1..4].iter().all(char::is_ascii_digit) {
        rest = &rest[4..];
        groups += 1;
    }
    let goes_on = |next: &char| next.is_ascii_digit() || *next == ',';
    groups >= 2
        && !rest.first().is_some_and(goes_on)
        && !(rest.first() == Some(&'.') && rest.get(1).is_some_and(goes_on))
}

fn ten_to(exponent: usize) -> UBig {
    UBig::from(10u8).pow(exponent)
}

fn take_digits(characters: &[char], at: &mut usize, digits: &mut String) {
    while let Some(digit) = characters.get(*at).filter(|next| next.is_ascii_digit()) {
        digits.push(*digit);
        *at += 1;
    }
}

/// The digits before the point, over thousands separators of every kind.
fn integer_part(characters: &[char], in_list: bool, at: &mut usize) -> String {
    let mut digits = String::new();
    take_digits(characters, at, &mut digits);
    if digits.is_empty() || digits.len() > 3 {
        return digits;
    }
    let (first, after_first) = (digits.clone(), *at);
    while let Some((separator, is_comma)) = separator(&characters[*at..]) {
        let group = *at + separator;
        let length = characters[group..].iter().take_while(|next| next.is_ascii_digit()).count();
        if is_comma && (in_list || length != 3 || first.starts_with('0')) {
            // A list such as 1,234,5 is read as a list throughout.
            if length > 0 {
                *at = after_first;
                return first;
            }
            break;
        }
        if length != 3 {
            break;
        }
        *at = group;
        take_digits(characters, at, &mut digits);
    }
    digits
}

/// The length of a thousands separator, and whether it is a bare comma, which may also separate a list.
fn separator(characters: &[char]) -> Option<(usize, bool)> {
    const SEPARATORS: [(&str, bool); 9] = [
        (",\\!", false),
        ("{,}\\!", false),
        ("{,}", false),
        ("\\,", false),
        ("\\ ", false),
        ("\u{a0}", false),
        ("\u{202f}", false),
        (" ", false),
        (",", true),
    ];
    SEPARATORS.into_iter().find_map(|(separator, is_comma)| {
        let length = separator.chars().count();
        let found = characters.len() > length
            && separator.chars().eq(characters[..length].iter().copied())
            && characters[length].is_ascii_digit();
        found.then_some((length, is_comma))
    })
}

/// The period of a repeating decimal: `\overline{3}`, `\bar{3}` or `\dot{3}`.
fn repeating_part(characters: &[char], at: &mut usize) -> Option<String> {
    let rest: String = characters[*at..].iter().take(40).collect();
    for command in ["\\overline{", "\\bar{", "\\dot{"] {
        if let Some(inner) = rest.strip_prefix(command) {
            let (period, _) = inner.split_once('}')?;
            if period.is_empty() || !period.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            *at += command.len() + period.len() + 1;
            return Some(period.to_string());
        }
    }
    None
}

/// `e5` or `E-3` right behind the digits. The outer `None` means a power that is too large to be read.
fn power_of_ten(characters: &[char]) -> Option<Option<(i64, usize)>> {
    if !matches!(characters.first(), Some('e' | 'E')) {
        return Some(None);
    }
    let signed = matches!(characters.get(1), Some('+' | '-'));
    let start = 1 + usize::from(signed);
    let digits: String =
        characters[start.min(characters.len())..].iter().take_while(|next| next.is_ascii_digit()).collect();
    if digits.is_empty() {
        return Some(None);
    }
    let size: i64 = digits.parse().ok().filter(|size| *size <= MAX_EXPONENT)?;
    let exponent = if characters.get(1) == Some(&'-') { -size } else { size };
    Some(Some((exponent, start + digits.len())))
}
