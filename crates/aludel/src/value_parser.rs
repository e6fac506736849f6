//! Value parsers for numbers on the command line, each with one way to state its range. Numbers that are also settings are checked with
//! the settings.

use crate::humanize::grouped;
use clap::{Arg, Command};
use std::ops::RangeInclusive;

/// Parses an integer in this range. The highest possible number means no upper bound.
pub(crate) fn integer<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let (least, most) = (grouped(*range.start()), *range.end());
            match most {
                u64::MAX => format!("it must be a whole number of {least} or more"),
                most => format!("it must be a whole number from {least} to {}", grouped(most)),
            }
        })
    }
}

/// Parses a number; the caller checks its range.
pub(crate) fn decimal(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "it must be a number, such as 0.6".to_owned())
}

/// Lets every option that takes a value take a negative number, in a command and in all below it. Otherwise `-5` would be read as an
/// option, and nobody would be told the range: no option of ours is a digit. What a value may be is said by whoever reads it.
pub(crate) fn allow_negative_numbers(command: Command) -> Command {
    let takes_sign = |arg: Arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg };
    command.mut_args(takes_sign).mut_subcommands(allow_negative_numbers)
}

/// Units of bytes, as Hugging Face's tools write them, in capitals.
const UNITS: [(&str, u64); 6] =
    [("KIB", 1 << 10), ("MIB", 1 << 20), ("GIB", 1 << 30), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];

/// Reads a size of a file: a number of bytes, or of larger units.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let upper = text.trim().to_uppercase();
    let unit = UNITS.iter().find_map(|(name, bytes)| Some((upper.strip_suffix(name)?.trim_end(), *bytes)));
    let (digits, unit) = unit.unwrap_or((upper.as_str(), 1));
    // a whole number is exact, whatever its size
    let whole = digits.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let decimal = || digits.parse().ok().map(|number: f64| number * unit as f64).filter(|bytes| *bytes < 1e18);
    let size = whole.or_else(|| decimal().filter(|_| is_decimal).map(|bytes| bytes as u64)).filter(|bytes| *bytes > 0);
    size.ok_or_else(|| "it must be a number of bytes, such as 4GB, 500MB or 1GiB".to_owned())
}

/// Whether the value of an option is a number.
#[cfg(test)]
pub(crate) fn is_number(argument: &Arg) -> bool {
    use std::any::TypeId;
    let own = argument.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
        TypeId::of::<f32>(),
        TypeId::of::<f64>(),
    ];
    numbers.iter().any(|number| own == *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_outside_of_its_range_is_told_the_range() {
        let count = integer::<u32>(1..=1_000_000);
        assert_eq!((count("1"), count("1000000")), (Ok(1), Ok(1_000_000)));
        for text in ["0", "1000001", "-1", "1.5", "many", "", "99999999999999999999999"] {
            assert_eq!(count(text), Err("it must be a whole number from 1 to 1,000,000".to_owned()), "{text}");
        }
        let any = integer::<usize>(1..=u64::MAX);
        assert_eq!(any("18446744073709551615").map(|number| number as u64), Ok(u64::MAX));
        assert_eq!(any("0"), Err("it must be a whole number of 1 or more".to_owned()));
    }

    #[test]
    fn a_size_has_the_units_of_hugging_face() {
        for (text, size) in [
            ("4GB", 4_000_000_000),
            ("500MB", 500_000_000),
            ("10 kb", 10_000),
            ("1GiB", 1 << 30),
            ("1.5GB", 1_500_000_000),
            ("123", 123),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "0", "0GB", "GB", "-1GB", "4TB", "1e3MB", "infGB", "99999999999GB", "0.0001KB", "4 G B"] {
            assert_eq!(
                bytes(text),
                Err("it must be a number of bytes, such as 4GB, 500MB or 1GiB".to_owned()),
                "{text}"
            );
        }
    }
}
