//! Units behind a number, brought to one spelling. Two answers with different units are different; one that leaves
//! the unit out is taken to mean the other's.

use dashu_ratio::RBig;

/// Spellings, and what each is brought to.
const KNOWN: [(&str, &[&str]); 49] = [
    ("mm", &["mm", "millimeter", "millimetre"]),
    ("cm", &["cm", "centimeter", "centimetre"]),
    ("m", &["m", "meter", "metre"]),
    ("km", &["km", "kilometer", "kilometre"]),
    ("inch", &["inch", "inche", "in", "inches"]),
    ("foot", &["foot", "feet", "ft"]),
    ("yard", &["yard", "yd"]),
    ("mile", &["mile", "mi"]),
    ("mg", &["mg", "milligram"]),
    ("g", &["g", "gram"]),
    ("kg", &["kg", "kilogram", "kilo"]),
    ("ton", &["ton", "tonne"]),
    ("pound", &["pound", "lb"]),
    ("ounce", &["ounce", "oz"]),
    ("ml", &["ml", "milliliter", "millilitre", "mL"]),
    ("l", &["l", "L", "liter", "litre"]),
    ("gallon", &["gallon", "gal"]),
    ("quart", &["quart", "qt"]),
    ("pint", &["pint"]),
    ("cup", &["cup"]),
    ("ms", &["ms", "millisecond"]),
    ("s", &["s", "sec", "second"]),
    ("minute", &["minute", "min"]),
    ("hour", &["hour", "hr", "h"]),
    ("day", &["day"]),
    ("week", &["week"]),
    ("month", &["month"]),
    ("year", &["year", "yr"]),
    ("degree", &["deg", "degree", "°"]),
    ("radian", &["rad", "radian"]),
    ("dollar", &["dollar", "$", "usd", "USD", "buck"]),
    ("cent", &["cent"]),
    ("euro", &["euro", "€", "eur", "EUR"]),
    ("pound sterling", &["£", "gbp", "GBP"]),
    ("yen", &["yen", "¥"]),
    ("rupee", &["rupee", "₹", "rs", "Rs", "INR"]),
    ("mph", &["mph"]),
    ("kph", &["kph", "kmh"]),
    ("unit", &["unit"]),
    ("hz", &["hz", "Hz", "hertz"]),
    ("n", &["N", "newton"]),
    ("j", &["J", "joule"]),
    ("w", &["W", "watt"]),
    ("v", &["V", "volt"]),
    ("ohm", &["ohm", "Ω", "\u{2126}"]),
    ("ampere", &["ampere", "amp"]),
    ("coulomb", &["coulomb"]),
    ("tesla", &["tesla"]),
    ("pascal", &["pascal"]),
];

/// A unit in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    name: String,
    known: bool,
}

/// What two units, either of which may be missing, say about quantities of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Units {
    /// The same, or left out on a side.
    Agree,
    /// Two different units.
    Differ,
    /// Two nouns that may or may not mean the same.
    Unclear,
}

/// Whether letters spell a unit of two letters or more.
pub(super) fn is_known(word: &str) -> bool {
    word.chars().count() > 1 && canonical(word).is_some()
}

/// Whether two words spell the same unit.
pub(super) fn is_same(left: &str, right: &str) -> bool {
    canonical(left).is_some_and(|name| canonical(right) == Some(name))
}

/// Whether a letter by itself, after a space, is a unit rather than a symbol.
pub(super) fn is_letter_unit(letter: &str) -> bool {
    matches!(letter, "m" | "g" | "s" | "h" | "L" | "l" | "N" | "J" | "W" | "V")
}

fn canonical(word: &str) -> Option<&'static str> {
    let singular = word.strip_suffix('s').filter(|rest| rest.len() > 1).unwrap_or(word);
    let find = |word: &str| KNOWN.iter().find(|(_, spellings)| spellings.contains(&word)).map(|(name, _)| *name);
    find(word)
        .or_else(|| find(singular))
        .or_else(|| find(&word.to_lowercase()))
        .or_else(|| find(&singular.to_lowercase()))
}

/// Whether a word is a unit's symbol behind the M of mega, which must not be taken for the m of milli.
fn is_mega(word: &str) -> bool {
    const SYMBOLS: [&str; 15] = ["g", "m", "l", "L", "s", "N", "J", "W", "V", "Hz", "hz", "Pa", "A", "eV", "Wh"];
    word.strip_prefix('M').is_some_and(|symbol| SYMBOLS.contains(&symbol))
}

impl Unit {
    /// From the words and signs behind a number: `square`, `cubic`, `per`, `/`, `^2` are understood.
    pub(super) fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<Unit> {
        let mut name = String::new();
        let mut known = true;
        let mut power: Option<&str> = None;
        for word in words {
            match word.to_lowercase().as_str() {
                "square" | "sq" => power = Some("^2"),
                "cubic" | "cu" => power = Some("^3"),
                "squared" => name.push_str("^2"),
                "cubed" => name.push_str("^3"),
                "per" | "/" | "a" | "an" | "each" if !name.is_empty() => name.push('/'),
                "of" | "the" | "in" if !name.is_empty() && word != "in" => {}
                _ if word.starts_with('^') => name.push_str(word),
                lower => {
                    let singular = lower.strip_suffix('s').filter(|rest| rest.len() > 2).unwrap_or(lower);
                    if !name.is_empty() && !name.ends_with('/') {
                        name.push(' ');
                    }
                    match canonical(word) {
                        // Mega, not milli.
                        _ if is_mega(word) => {
                            name.push('M');
                            name.push_str(&lower[1..]);
                        }
                        Some(unit) => name.push_str(unit),
                        None => {
                            known = false;
                            name.push_str(singular);
                        }
                    }
                    name.push_str(power.take().unwrap_or(""));
                }
            }
        }
        (!name.is_empty()).then(|| Unit { name: aliased(name), known })
    }

    /// Compares two units.
    pub(super) fn compare(left: Option<&Unit>, right: Option<&Unit>) -> Units {
        match (left, right) {
            (Some(left), Some(right)) if left.name == right.name => Units::Agree,
            (Some(left), Some(right)) if left.name.eq_ignore_ascii_case(&right.name) => Units::Unclear,
            // "square units" and "units" name no unit at all.
            (Some(left), Some(right)) if left.is_generic() || right.is_generic() => Units::Agree,
            // Of mass, or of money.
            (Some(left), Some(right)) if [left, right].iter().all(|unit| unit.name.starts_with("pound")) => {
                Units::Unclear
            }
            (Some(left), Some(right)) if left.known && right.known => Units::Differ,
            (Some(_), Some(_)) => Units::Unclear,
            _ => Units::Agree,
        }
    }

    /// Whether it is the unit of this name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// Whether it measures time.
    pub(super) fn is_time(&self) -> bool {
        matches!(self.name.as_str(), "hour" | "minute" | "s")
    }

    fn is_generic(&self) -> bool {
        matches!(self.name.as_str(), "unit" | "unit^2" | "unit^3")
    }
}

/// What a unit measures, and how large it is beside the others of its kind; `None` for compound units, and for those whose
/// size hangs on the place or the time.
pub(super) fn size(unit: &Unit) -> Option<(&'static str, RBig)> {
    // Areas and volumes, the latter beside litres: a cubic millimetre is a thousandth of a millilitre.
    let side = |power: &str| {
        let name = unit.name.strip_suffix(power)?;
        size(&Unit { name: name.to_string(), known: true }).filter(|(dimension, _)| *dimension == "length")
    };
    if let Some((_, size)) = side("^2") {
        return Some(("area", &size * &size));
    }
    if let Some((_, size)) = side("^3") {
        return Some(("volume", &size * &size * &size / RBig::from(1000u32)));
    }
    let (dimension, over, under) = match unit.name.as_str() {
        "mm" => ("length", 1, 1),
        "cm" => ("length", 10, 1),
        "m" => ("length", 1000, 1),
        "km" => ("length", 1_000_000, 1),
        "inch" => ("length", 254, 10),
        "foot" => ("length", 3048, 10),
        "yard" => ("length", 9144, 10),
        "mile" => ("length", 1_609_344, 1),
        "mg" => ("mass", 1, 1),
        "g" => ("mass", 1000, 1),
        "kg" => ("mass", 1_000_000, 1),
        "pound" => ("mass", 45_359_237, 100),
        "ounce" => ("mass", 45_359_237, 1600),
        "ml" => ("volume", 1, 1),
        "l" => ("volume", 1000, 1),
        "cup" => ("cups", 1, 1),
        "pint" => ("cups", 2, 1),
        "quart" => ("cups", 4, 1),
        "gallon" => ("cups", 16, 1),
        "ms" => ("time", 1, 1),
        "s" => ("time", 1000, 1),
        "minute" => ("time", 60_000, 1),
        "hour" => ("time", 3_600_000, 1),
        "day" => ("time", 86_400_000, 1),
        "week" => ("time", 604_800_000, 1),
        "cent" => ("money", 1, 1),
        "dollar" => ("money", 100, 1),
        "degree" => ("angle", 1, 1),
        _ => return None,
    };
    Some((dimension, RBig::from_parts(i64::into(over), u32::into(under))))
}

/// The sizes of all units that measure this.
pub(super) fn sizes(dimension: &str) -> impl Iterator<Item = RBig> {
    let known = KNOWN.iter().map(|(name, _)| Unit { name: (*name).to_string(), known: true });
    known.filter_map(|unit| size(&unit)).filter(move |(other, _)| *other == dimension).map(|(_, size)| size)
}

fn aliased(name: String) -> String {
    match name.as_str() {
        "mile/hour" => "mph".to_string(),
        "km/hour" => "kph".to_string(),
        _ => name,
    }
}
