//! Numbers in readable form: counts, durations, costs and losses. Shares and scores are formatted where they are computed.

use aludel_teacher::collect::{Interval, dollars};

pub(crate) use aludel_files::grouped;

/// Bytes in the unit that fits, such as `3.2 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match UNITS.iter().find(|(size, _)| count as f64 >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", count as f64 / size),
        None => format!("{count} bytes"),
    }
}

/// A time in the unit that fits: `300 ms`, `3.2 s`, `45 s`, `4 min`, `1.3 h`. Below ten there is a decimal, unless it is a zero.
pub(crate) fn duration(seconds: f64) -> String {
    // The next unit begins where rounding would show a hundred of this one.
    let (value, unit) = match seconds {
        s if s < 0.0005 => (0.0, "s"),
        s if s < 0.9995 => return format!("{:.0} ms", s * 1e3),
        s if s < 99.5 => (s, "s"),
        s if s < 99.5 * 60.0 => (s / 60.0, "min"),
        s => (s / 3600.0, "h"),
    };
    let number = if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") };
    let number = number.strip_suffix(".0").unwrap_or(&number);
    format!("{number} {unit}")
}

/// How a loss went from before training to its end: `1.2266 → 1.1520 (−6.1%)`. Where only one of the two was measured, that one, and that it
/// is alone.
pub(crate) fn held_out_loss(before: Option<f64>, after: Option<f64>) -> Option<String> {
    Some(match (before, after) {
        (Some(before), Some(after)) if before > 0.0 => {
            let percent = 100.0 * (after / before - 1.0);
            let sign = if percent < 0.0 { '−' } else { '+' };
            format!("{before:.4} → {after:.4} ({sign}{:.1}%)", percent.abs())
        }
        (Some(before), None) => format!("{before:.4} before training, and not measured since"),
        (_, after) => format!("{:.4}", after?),
    })
}

/// The mean loss of a run's steps, and that of its last epoch where it had more: `1.3021 over all steps, 1.1520 over the last epoch`.
pub(crate) fn train_loss(all: Option<f64>, last_epoch: Option<f64>) -> Option<String> {
    let all = all?;
    let last = last_epoch.filter(|last| *last != all).map(|last| format!(", {last:.4} over the last epoch"));
    Some(format!("{all:.4} over all steps{}", last.unwrap_or_default()))
}

/// A cost; unknown without a price.
pub(crate) fn cost(amount: Option<f64>) -> String {
    amount.map_or_else(|| "price unknown".to_owned(), dollars)
}

/// What answers cost of which some may have no known price; `None` where there is no answer.
pub(crate) fn cost_of(amount: Option<f64>, unpriced: u64) -> Option<String> {
    match (amount, unpriced) {
        (None, 0) => None,
        (None, _) => Some(cost(None)),
        (Some(amount), 0) => Some(dollars(amount)),
        (Some(amount), unpriced) => Some(format!("{}, and {unpriced} answers of an unknown price", dollars(amount))),
    }
}

/// An interval's expected value and bounds, each written by `write`.
pub(crate) fn interval(interval: &Interval, write: impl Fn(f64) -> String) -> [String; 3] {
    [interval.expected, interval.low, interval.high].map(write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        for (seconds, written) in [
            (0.0, "0 s"),
            (0.0004, "0 s"),
            (0.03, "30 ms"),
            (0.999, "999 ms"),
            (0.9996, "1 s"),
            (3.21, "3.2 s"),
            (9.96, "10 s"),
            (99.4, "99 s"),
            (99.6, "1.7 min"),
            (240.0, "4 min"),
            (5969.0, "99 min"),
            (5971.0, "1.7 h"),
            (4680.0, "78 min"),
            (36_000.0, "10 h"),
            (360_000.0, "100 h"),
        ] {
            assert_eq!(duration(seconds), written, "{seconds}");
        }
    }

    #[test]
    fn a_training_loss_says_of_which_steps_it_is() {
        for (all, last, written) in [
            (None, None, None),
            (Some(1.25), Some(1.25), Some("1.2500 over all steps")),
            (Some(1.25), Some(1.0), Some("1.2500 over all steps, 1.0000 over the last epoch")),
        ] {
            assert_eq!(train_loss(all, last).as_deref(), written);
        }
    }

    #[test]
    fn a_loss_is_told_with_how_far_it_fell() {
        assert_eq!(held_out_loss(Some(1.2266), Some(1.152)).unwrap(), "1.2266 → 1.1520 (−6.1%)");
        assert_eq!(held_out_loss(Some(1.0), Some(1.25)).unwrap(), "1.0000 → 1.2500 (+25.0%)");
        assert_eq!(held_out_loss(None, Some(1.25)).unwrap(), "1.2500");
        assert_eq!(held_out_loss(Some(1.2266), None).unwrap(), "1.2266 before training, and not measured since");
        assert_eq!(held_out_loss(Some(0.0), Some(0.5)).unwrap(), "0.5000");
        assert_eq!(held_out_loss(None, None), None);
    }

    #[test]
    fn what_is_not_known_is_no_amount() {
        assert_eq!((cost(None), cost(Some(0.0))), ("price unknown".to_owned(), "$0".to_owned()));
        assert_eq!(cost_of(None, 0), None);
        assert_eq!(cost_of(None, 3).unwrap(), "price unknown");
        assert_eq!(cost_of(Some(0.5), 3).unwrap(), "$0.5000, and 3 answers of an unknown price");
    }
}
