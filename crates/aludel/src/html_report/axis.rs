//! Axes of plots: the range of values, the position of a value, and ticks at round numbers, on a linear or a logarithmic scale. `chart` and
//! `plot` draw over them.

use super::grouped;

/// A logarithmic scale shows more than a linear one from this ratio of values on.
const LOG_RATIO: f64 = 20.0;

/// The values from one end to the other, and the ticks between.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    /// The position of each tick, from 0 to 1, and its label.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear axis that begins and ends at round numbers, with about this number of ticks.
    pub(super) fn linear(values: impl Iterator<Item = f64>, wanted: usize) -> Option<Axis> {
        let (low, high) = extent(values)?;
        let (low, high) = widened(low, high);
        let step = round_step((high - low) / wanted.max(1) as f64);
        // What differs from a round number by rounding alone is that number.
        let (low, high) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        Some(Axis { low, high, is_log: false, ticks: vec![] }.with_ticks(step))
    }

    /// A linear axis from end to end of counts, as of steps, with ticks at round numbers between: whole ones, since there is no half step.
    pub(super) fn of_counts(low: f64, high: f64, wanted: usize) -> Axis {
        let (low, high) = widened(low, high);
        let step = round_step((high - low) / wanted.max(1) as f64).max(1.0);
        Axis { low, high, is_log: false, ticks: vec![] }.with_ticks(step)
    }

    /// A logarithmic axis where the values span so much that a linear one would hide most of them; else a linear one.
    pub(super) fn fitting(values: &[f64], wanted: usize) -> Option<Axis> {
        let (low, high) = extent(values.iter().copied())?;
        if low <= 0.0 || high / low < LOG_RATIO {
            return Axis::linear(values.iter().copied(), wanted);
        }
        let marks = |multiples: &'static [f64]| {
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            decades.flat_map(move |decade| multiples.iter().map(move |multiple| multiple * 10_f64.powi(decade)))
        };
        let within = |mark: &f64| (low..=high).contains(mark);
        let few: Vec<f64> = marks(&[1.0]).filter(within).collect();
        let all: Vec<f64> = marks(&[1.0, 2.0, 5.0]).filter(within).collect();
        let chosen = match few.len() {
            0..3 => all,
            count => few.into_iter().step_by(count.div_ceil(wanted + 1)).collect(),
        };
        let axis = Axis { low, high, is_log: true, ticks: vec![] };
        let ticks = chosen.iter().map(|&mark| (axis.at(mark), labelled(mark, mark))).collect();
        Some(Axis { ticks, ..axis })
    }

    /// Whether it is logarithmic.
    pub(super) fn is_log(&self) -> bool {
        self.is_log
    }

    /// The position of a value, from 0 to 1; outside of that if it is outside of the axis.
    pub(super) fn at(&self, value: f64) -> f64 {
        match self.is_log {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        }
    }

    fn with_ticks(self, step: f64) -> Axis {
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        let ticks = (first..=last).map(|index| index as f64 * step);
        let is_small = self.low.abs().max(self.high.abs()) < 0.01;
        let words = |value: f64| if is_small { scientific(value) } else { labelled(value, step) };
        let ticks =
            ticks.map(|value| (self.at(value), words(if value.abs() < step * 1e-6 { 0.0 } else { value }))).collect();
        Axis { ticks, ..self }
    }
}

/// The least and the greatest of those that are numbers.
fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.filter(|value| value.is_finite());
    finite.fold(None, |extent, value| match extent {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// Ends that differ.
fn widened(low: f64, high: f64) -> (f64, f64) {
    match high - low {
        span if span > 1e-12 * high.abs().max(low.abs()) && span > 0.0 => (low, high),
        _ if low == 0.0 => (0.0, 1.0),
        _ => (low - 0.1 * low.abs(), low + 0.1 * low.abs()),
    }
}

/// 1, 2 or 5 times a power of ten, near this.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    let round = [1.0, 2.0, 5.0].into_iter().find(|round| step / decade <= round * 1.001);
    round.unwrap_or(10.0) * decade
}

/// A value on an axis with ticks at this distance: with as many decimals as distinguish them.
fn labelled(value: f64, step: f64) -> String {
    let size = value.abs();
    match () {
        () if size < step.abs() * 1e-6 => "0".to_owned(),
        () if step < 1e-3 => short(value),
        () if step >= 1.0 && size >= 1e7 => short(value),
        () if step >= 1.0 => format!("{}{}", if value < 0.0 { "−" } else { "" }, grouped(size.round() as u64)),
        () => {
            let decimals = (-step.log10()).ceil().max(0.0) as usize;
            format!("{value:.decimals$}").replace('-', "−")
        }
    }
}

/// A number in few characters.
pub(super) fn short(value: f64) -> String {
    let written = match value.abs() {
        0.0 => "0".to_owned(),
        size if !(0.01..1e6).contains(&size) => return scientific(value),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 100.0 && value.fract() != 0.0 => format!("{value:.2}"),
        size if size >= 1000.0 => format!("{}{}", if value < 0.0 { "-" } else { "" }, grouped(size.round() as u64)),
        _ => format!("{value:.0}"),
    };
    written.replace('-', "−")
}

/// A small or a large number, as 1.5e−4.
fn scientific(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    format!("{value:.1e}").replace(".0e", "e").replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let axis = |values: &[f64], wanted| Axis::linear(values.iter().copied(), wanted).unwrap();
        for (values, wanted, expected) in [
            (vec![0.0, 1.0], 4, vec!["0", "0.5", "1.0"]),
            (vec![1.69, 1.71], 4, vec!["1.690", "1.695", "1.700", "1.705", "1.710"]),
            (vec![-7.0, 31.0], 4, vec!["−10", "0", "10", "20", "30", "40"]),
            (vec![0.0, 2e-4], 4, vec!["0", "5e−5", "1e−4", "1.5e−4", "2e−4"]),
            (vec![0.0, 2e-3], 4, vec!["0", "5e−4", "1e−3", "1.5e−3", "2e−3"]),
            (vec![900.0, 1612.0], 3, vec!["500", "1,000", "1,500", "2,000"]),
            (vec![3.0, f64::NAN, f64::INFINITY], 2, vec!["2.5", "3.0", "3.5"]),
            (vec![0.0], 2, vec!["0", "0.5", "1.0"]),
        ] {
            let axis = axis(&values, wanted);
            assert_eq!(labels(&axis), expected, "{values:?}");
            assert!(values.iter().filter(|v| v.is_finite()).all(|&v| (-1e-9..=1.0 + 1e-9).contains(&axis.at(v))));
        }
        assert_eq!(Axis::linear([f64::NAN].into_iter(), 4), None);
    }

    #[test]
    fn an_axis_of_counts_ends_where_they_do_and_knows_no_halves() {
        let axis = Axis::of_counts(1.0, 24.0, 5);
        assert_eq!((axis.at(1.0), axis.at(24.0)), (0.0, 1.0));
        assert_eq!(labels(&axis), ["5", "10", "15", "20"]);
        assert_eq!(labels(&Axis::of_counts(1.0, 3.0, 5)), ["1", "2", "3"]);
        assert_eq!(labels(&Axis::of_counts(2.0, 2.0, 5)), ["2"]);
        assert_eq!(labels(&Axis::of_counts(0.0, 1.0, 2)), ["0", "1"]);
    }

    #[test]
    fn wide_spans_are_logarithmic() {
        let wide = Axis::fitting(&[0.01, 0.5, 90.0], 4).unwrap();
        assert!(wide.is_log());
        assert_eq!(labels(&wide), ["0.01", "0.1", "1", "10"]);
        assert!((wide.at(0.01), wide.at(90.0)) == (0.0, 1.0) && (0.4..0.6).contains(&wide.at(0.95)));
        let decade = Axis::fitting(&[1.0, 25.0], 4).unwrap();
        assert_eq!(labels(&decade), ["1", "2", "5", "10", "20"]);
        assert!(!Axis::fitting(&[0.0, 90.0], 4).unwrap().is_log());
        assert!(!Axis::fitting(&[4.0, 60.0], 4).unwrap().is_log());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 2e-5, 0.0123, 2.345, 1234.0, -3.5].map(short),
            ["0", "2e−5", "0.0123", "2.35", "1,234", "−3.50"]
        );
    }
}
