//! Units after a number, in one spelling. Two answers with different units are different; one without a unit is taken to have the
//! other's.

use dashu_int::UBig;
use dashu_ratio::RBig;

/// Spellings, and the one that each is replaced by.
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

/// A unit's name, its spellings, what it measures, and its size as a numerator, a denominator and a power of ten.
type Exact = (&'static str, &'static [&'static str], &'static str, (i64, u32, i32));

/// Further units of the SI and of NIST's Special Publication 811 whose size is exact by definition: their spellings, in this case alone but for
/// words in full, what they measure, and their size beside the others of that kind (joule, watt, pascal, newton, hertz, volt, ampere, ohm,
/// bit, and as [`size`] has it), as a fraction times a power of ten. The electronvolt is exact since 2019; calories are thermochemical ones.
#[rustfmt::skip]
const EXACT: &[Exact] = &[
    ("kj", &["kJ", "kilojoule"], "energy", (1, 1, 3)),
    ("Mj", &["megajoule"], "energy", (1, 1, 6)),
    ("wh", &["Wh"], "energy", (36, 1, 2)),
    ("kwh", &["kWh"], "energy", (36, 1, 5)),
    ("Mwh", &[], "energy", (36, 1, 8)),
    ("ev", &["eV", "electronvolt"], "energy", (1_602_176_634, 1, -28)),
    ("kev", &["keV"], "energy", (1_602_176_634, 1, -25)),
    ("Mev", &[], "energy", (1_602_176_634, 1, -22)),
    ("gev", &["GeV"], "energy", (1_602_176_634, 1, -19)),
    ("calorie", &["cal", "calorie"], "energy", (4184, 1, -3)),
    ("kilocalorie", &["kcal", "kilocalorie"], "energy", (4184, 1, 0)),
    ("erg", &["erg"], "energy", (1, 1, -7)),
    ("milliwatt", &["mW", "milliwatt"], "power", (1, 1, -3)),
    ("kw", &["kW", "kilowatt"], "power", (1, 1, 3)),
    ("Mw", &["megawatt"], "power", (1, 1, 6)),
    ("gw", &["GW", "gigawatt"], "power", (1, 1, 9)),
    ("pascal", &["Pa"], "pressure", (1, 1, 0)),
    ("hpa", &["hPa", "hectopascal"], "pressure", (1, 1, 2)),
    ("kpa", &["kPa", "kilopascal"], "pressure", (1, 1, 3)),
    ("Mpa", &["megapascal"], "pressure", (1, 1, 6)),
    ("bar", &["bar"], "pressure", (1, 1, 5)),
    ("mbar", &["mbar", "millibar"], "pressure", (1, 1, 2)),
    ("atm", &["atm", "atmosphere"], "pressure", (101_325, 1, 0)),
    ("torr", &["torr"], "pressure", (101_325, 760, 0)),
    // A pound of force per square inch: 0.453 592 37 kg · 9.806 65 m/s² / (0.0254 m)².
    ("psi", &["psi"], "pressure", (44_482_216_152_605, 64_516, -5)),
    ("kilonewton", &["kN", "kilonewton"], "force", (1, 1, 3)),
    ("dyne", &["dyn", "dyne"], "force", (1, 1, -5)),
    ("kgf", &["kgf"], "force", (980_665, 1, -5)),
    ("lbf", &["lbf"], "force", (44_482_216_152_605, 1, -13)),
    ("millivolt", &["mV", "millivolt"], "voltage", (1, 1, -3)),
    ("kilovolt", &["kV", "kilovolt"], "voltage", (1, 1, 3)),
    ("milliampere", &["mA", "milliampere", "milliamp"], "current", (1, 1, -3)),
    ("microampere", &["µA", "μA", "microampere", "microamp"], "current", (1, 1, -6)),
    ("kilohm", &["kΩ", "kilohm", "kiloohm"], "resistance", (1, 1, 3)),
    ("khz", &["kHz", "kilohertz"], "frequency", (1, 1, 3)),
    ("Mhz", &["megahertz"], "frequency", (1, 1, 6)),
    ("ghz", &["GHz", "gigahertz"], "frequency", (1, 1, 9)),
    ("picometre", &["picometer", "picometre"], "length", (1, 1, -9)),
    ("angstrom", &["Å", "angstrom"], "length", (1, 1, -7)),
    ("nanometre", &["nm", "nanometer", "nanometre"], "length", (1, 1, -6)),
    ("micrometre", &["µm", "μm", "micrometer", "micrometre", "micron"], "length", (1, 1, -3)),
    ("decimetre", &["dm", "decimeter", "decimetre"], "length", (1, 1, 2)),
    ("furlong", &["furlong"], "length", (201_168, 1, 0)),
    ("hectare", &["ha", "hectare"], "area", (1, 1, 10)),
    ("acre", &["acre"], "area", (40_468_564_224, 1, -1)),
    ("cc", &["cc", "ccm"], "volume", (1, 1, 0)),
    ("centilitre", &["cl", "cL", "centiliter", "centilitre"], "volume", (1, 1, 1)),
    ("decilitre", &["dl", "dL", "deciliter", "decilitre"], "volume", (1, 1, 2)),
    ("microgram", &["µg", "μg", "ug", "mcg", "microgram"], "mass", (1, 1, -3)),
    ("microsecond", &["µs", "μs", "microsecond"], "time", (1, 1, -3)),
    ("nanosecond", &["ns", "nanosecond"], "time", (1, 1, -6)),
    ("knot", &["knot"], "speed", (1852, 3600, 0)),
    ("arcminute", &["arcmin", "arcminute"], "angle", (1, 60, 0)),
    ("arcsecond", &["arcsec", "arcsecond"], "angle", (1, 3600, 0)),
    ("bit", &["bit"], "data", (1, 1, 0)),
    ("byte", &["byte"], "data", (8, 1, 0)),
    ("kibibyte", &["KiB", "kibibyte"], "data", (8 << 10, 1, 0)),
    ("mebibyte", &["MiB", "mebibyte"], "data", (8 << 20, 1, 0)),
    ("gibibyte", &["GiB", "gibibyte"], "data", (8 << 30, 1, 0)),
];

/// What a quotient of two kinds measures, and by what its size has to be multiplied to stand beside the others of the kind: lengths are in
/// millimetres here, times in milliseconds.
const QUOTIENTS: [(&str, &str, &str, i32); 4] = [
    ("length", "time", "speed", 0),
    ("mass", "volume", "density", 0),
    ("energy", "time", "power", 3),
    ("force", "area", "pressure", 6),
];

/// A unit in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::maths) struct Unit {
    name: String,
    known: bool,
}

/// How two units, either of which may be missing, compare for quantities of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::maths) enum Units {
    /// The same, or missing on one side.
    Agree,
    /// Two different units.
    Differ,
    /// Two nouns that may or may not mean the same.
    Unclear,
}

/// Whether letters in a formula spell a unit of two letters or more, and are not a product of symbols. Of the further units, two
/// letters may be one: `nm`, `mV`.
pub(in crate::maths) fn is_known(word: &str) -> bool {
    let letters = word.chars().count();
    letters > 1 && usual(word).is_some() || letters > 2 && further(word).is_some()
}

/// Whether a word is a known unit of two letters or more.
pub(in crate::maths) fn is_unit(word: &str) -> bool {
    word.chars().count() > 1 && canonical(word).is_some()
}

/// Whether two words spell the same unit.
pub(in crate::maths) fn is_same(left: &str, right: &str) -> bool {
    canonical(left).is_some_and(|name| canonical(right) == Some(name))
}

/// Whether a letter by itself, after a space, is a unit rather than a symbol.
pub(in crate::maths) fn is_letter_unit(letter: &str) -> bool {
    matches!(letter, "m" | "g" | "s" | "h" | "L" | "l" | "N" | "J" | "W" | "V")
}

fn canonical(word: &str) -> Option<&'static str> {
    usual(word).or_else(|| further(word))
}

/// Symbols are distinguished by case: a milliwatt and a megawatt, a nanometre and a newton metre.
fn further(word: &str) -> Option<&'static str> {
    const SHORTEST_WORD: usize = 4;
    let find = |word: &str| EXACT.iter().find(|(_, spellings, ..)| spellings.contains(&word)).map(|(name, ..)| *name);
    let singular = word.strip_suffix('s').filter(|rest| rest.chars().count() > 2);
    let found = find(word).or_else(|| find(singular?));
    let is_word = word.len() >= SHORTEST_WORD && word.chars().skip(1).all(|letter| letter.is_ascii_lowercase());
    // A Calorie is a kilocalorie.
    let lower = || word.to_lowercase();
    let is_ambiguous = || word.starts_with("Cal");
    found.or_else(|| {
        let lower = (is_word && !is_ambiguous()).then(lower)?;
        find(&lower).or_else(|| find(lower.strip_suffix('s')?))
    })
}

fn usual(word: &str) -> Option<&'static str> {
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
    pub(in crate::maths) fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<Unit> {
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
    pub(in crate::maths) fn compare(left: Option<&Unit>, right: Option<&Unit>) -> Units {
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
    pub(in crate::maths) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// Whether it measures time.
    pub(in crate::maths) fn is_time(&self) -> bool {
        matches!(self.name.as_str(), "hour" | "minute" | "s")
    }

    fn is_generic(&self) -> bool {
        matches!(self.name.as_str(), "unit" | "unit^2" | "unit^3")
    }
}

/// What a unit measures, and its size relative to the others of its kind; `None` for compound units except known quotients, and for
/// those whose size depends on the place or the time.
pub(in crate::maths) fn size(unit: &Unit) -> Option<(&'static str, RBig)> {
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
        "j" => ("energy", 1, 1),
        "w" => ("power", 1, 1),
        "n" => ("force", 1, 1),
        "v" => ("voltage", 1, 1),
        "ampere" => ("current", 1, 1),
        "ohm" => ("resistance", 1, 1),
        "hz" => ("frequency", 1, 1),
        "mph" => ("speed", 1_609_344, 3_600_000),
        "kph" => ("speed", 1_000_000, 3_600_000),
        name => return further_size(name),
    };
    Some((dimension, RBig::from_parts(i64::into(over), u32::into(under))))
}

fn further_size(name: &str) -> Option<(&'static str, RBig)> {
    if let Some((_, _, dimension, (over, under, tens))) = EXACT.iter().find(|(known, ..)| *known == name) {
        return Some((dimension, power_of_ten(*tens) * RBig::from_parts((*over).into(), (*under).into())));
    }
    let (over, under) = name.split_once('/')?;
    let part = |name: &str| size(&Unit { name: name.to_string(), known: true });
    let ((over, over_size), (under, under_size)) = (part(over)?, part(under)?);
    let (_, _, dimension, tens) = QUOTIENTS.iter().find(|quotient| quotient.0 == over && quotient.1 == under)?;
    Some((dimension, over_size / under_size * power_of_ten(*tens)))
}

fn power_of_ten(exponent: i32) -> RBig {
    let power = RBig::from(UBig::from(10u8).pow(exponent.unsigned_abs() as usize));
    if exponent < 0 { RBig::from(1u8) / power } else { power }
}

/// Other sizes of units with the same name: the International Table's calorie has 4.1868 J, and on food a calorie is a kilocalorie.
pub(in crate::maths) fn other_sizes(unit: &Unit) -> impl Iterator<Item = RBig> {
    let sizes: &[(u32, i32)] = match unit.name.as_str() {
        "calorie" => &[(41_868, -4), (4184, 0), (41_868, -1)],
        "kilocalorie" => &[(41_868, -1)],
        _ => &[],
    };
    sizes.iter().map(|&(digits, tens)| RBig::from(digits) * power_of_ten(tens))
}

/// The sizes of all units that measure this.
pub(in crate::maths) fn sizes(dimension: &str) -> impl Iterator<Item = RBig> {
    let known = KNOWN.iter().map(|(name, _)| Unit { name: (*name).to_string(), known: true });
    known.filter_map(|unit| size(&unit)).filter(move |(other, _)| *other == dimension).map(|(_, size)| size)
}

fn aliased(name: String) -> String {
    match name.as_str() {
        "mile/hour" => "mph".to_string(),
        "km/hour" => "kph".to_string(),
        "w hour" => "wh".to_string(),
        "kw hour" => "kwh".to_string(),
        "Mw hour" => "Mwh".to_string(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maths::Equality::{Different, Equal, Undecided};
    use crate::maths::tests::check;

    #[test]
    fn units_of_an_exact_size_are_converted() {
        check(
            Equal,
            &[
                (r"1 \text{ kWh}", r"3.6 \times 10^6 \text{ J}"),
                ("1 kWh", "3600 kilojoules"),
                (r"2 \text{ kilowatt hours}", r"7.2\text{ MJ}"),
                (r"760 \text{ torr}", r"1 \text{ atm}"),
                (r"1 \text{ atm}", r"101.325 \text{ kPa}"),
                ("2 bar", r"200 \text{ kPa}"),
                ("1 bar", r"0.1 \text{ MPa}"),
                (r"1 \text{ eV}", r"1.602176634 \times 10^{-19} \text{ J}"),
                (r"1 \text{ MeV}", r"1000 \text{ keV}"),
                (r"1 \text{ cal}", r"4.184 \text{ J}"),
                (r"1 \text{ kcal}", r"4184 \text{ J}"),
                (r"1 \text{ kcal}", "1000 calories"),
                (r"36 \text{ km/h}", r"10 \text{ m/s}"),
                ("60 mph", r"88 \text{ ft/s}"),
                ("10 knots", r"18.52 \text{ km/h}"),
                (r"1 \text{ W}", r"1 \text{ J/s}"),
                (r"1 \text{ MPa}", r"1 \text{ N/mm}^2"),
                (r"1 \text{ g/cm}^3", r"1000 \text{ kg/m}^3"),
                ("1 hectare", r"10000 \text{ m}^2"),
                ("1 acre", r"43560 \text{ square feet}"),
                (r"500 \text{ nm}", r"0.5 \text{ µm}"),
                (r"5 \text{ Å}", r"0.5 \text{ nm}"),
                (r"5 \text{ cc}", r"5 \text{ mL}"),
                (r"2.4 \text{ GHz}", r"2400 \text{ MHz}"),
                (r"1 \text{ KiB}", "1024 bytes"),
                ("2 bytes", "16 bits"),
                (r"250 \text{ mA}", r"0.25 \text{ amperes}"),
                ("1 degree", "60 arcminutes"),
                (r"1 \text{ lbf}", r"4.4482216152605 \text{ N}"),
            ],
        );
        check(
            Undecided,
            &[("350 kcal", "350 calories"), ("1 cal", r"4.1868 \text{ J}"), ("36km/h", "10m/s"), ("1kWh", "3.6MJ")],
        );
        check(
            Different,
            &[
                (r"1 \text{ kWh}", r"3.5 \times 10^6 \text{ J}"),
                (r"1 \text{ kWh}", r"1 \text{ kW}"),
                (r"1 \text{ atm}", r"1 \text{ bar}"),
                (r"36 \text{ km/h}", r"36 \text{ m/s}"),
                (r"1 \text{ cal}", r"4.2 \text{ J}"),
                (r"5 \text{ J}", r"7 \text{ N}"),
            ],
        );
    }

    #[test]
    fn what_has_no_size_or_two_is_not_decided() {
        check(
            Undecided,
            &[
                (r"1 \text{ cal}", r"4.1868 \text{ J}"),
                (r"760 \text{ mmHg}", r"1 \text{ atm}"),
                (r"1 \text{ hp}", r"746 \text{ W}"),
                (r"1 \text{ GB}", r"1000 \text{ MB}"),
                (r"1 \text{ N m}", r"1 \text{ J}"),
                (r"1 \text{ Nm}", r"1 \text{ nm}"),
                (r"1 \text{ mW}", r"1 \text{ MW}"),
                ("1 cup", r"240 \text{ ml}"),
                (r"1 \text{ year}", r"365 \text{ days}"),
            ],
        );
    }

    #[test]
    fn letters_of_a_product_are_no_unit() {
        for word in ["nm", "mV", "kN", "mA", "eV", "cc", "Nm", "EV"] {
            assert!(!is_known(word), "{word}");
        }
        check(Equal, &[("nm", "mn"), (r"\frac{mV}{2}", r"\frac{Vm}{2}"), ("2kN", "2Nk")]);
        assert_eq!((further("nm"), further("Nm"), further("Torr")), (Some("nanometre"), None, Some("torr")));
        assert!(is_unit("eV") && is_unit("kWh") && !is_unit("Calorie"));
    }
}
