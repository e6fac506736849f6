//! Numbers of the command line: each says in one way what it may be. Numbers that are settings, too, are checked where settings are.

use crate::figures::grouped;
use std::ops::RangeInclusive;

/// Reads a whole number of this range. The highest number that there is stands for no upper bound.
pub(crate) fn whole<T: TryFrom<u64>>(
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

/// Reads a number; what it may be is said by whoever takes it.
pub(crate) fn decimal(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "it must be a number, such as 0.6".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_outside_of_its_range_is_told_the_range() {
        let count = whole::<u32>(1..=1_000_000);
        assert_eq!((count("1"), count("1000000")), (Ok(1), Ok(1_000_000)));
        for text in ["0", "1000001", "-1", "1.5", "many", "", "99999999999999999999999"] {
            assert_eq!(count(text), Err("it must be a whole number from 1 to 1,000,000".to_owned()), "{text}");
        }
        let any = whole::<usize>(1..=u64::MAX);
        assert_eq!(any("18446744073709551615").map(|number| number as u64), Ok(u64::MAX));
        assert_eq!(any("0"), Err("it must be a whole number of 1 or more".to_owned()));
    }
}
