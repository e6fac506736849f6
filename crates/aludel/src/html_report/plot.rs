//! Lines over the steps of a run: raw values, a smoothed line over them, points with their values, epochs. The height is fixed and the
//! width a share, so that letters keep their size. Which values they are is left to the caller.

use super::axis::{Axis, short};
use super::chart::{anchor, circle, drawn, extent, label, line, placed};
use super::html::{Html, element, join};

/// The positions of the first and the last line of the grid.
const TOP: f64 = 18.0;
const BOTTOM: f64 = 168.0;
/// Points of a line that are drawn; of more, the means of neighbours.
const POINTS: usize = 400;
/// Up to this number of points, a line also has a marker for each.
const FEW: usize = 40;
/// Shares of the width that a value takes on a phone, and the name of an epoch in a small drawing.
const VALUE_WIDTH: f64 = 0.15;
const EPOCH_WIDTH: f64 = 0.26;

/// A value at each of some steps.
pub(super) type Values = Vec<(f64, f64)>;

/// What is drawn of some values.
pub(super) enum Series<'a> {
    /// Each value, faintly, and a smoothed line over them.
    Smoothed(&'a [(f64, f64)]),
    /// A line.
    Line(&'a [(f64, f64)]),
    /// Points with their values, and a line through them.
    Points(&'a [(f64, f64)]),
}

impl Series<'_> {
    fn values(&self) -> &[(f64, f64)] {
        match self {
            Series::Smoothed(values) | Series::Line(values) | Series::Points(values) => values,
        }
    }
}

/// A drawing of several series over the same steps.
pub(super) struct Plot<'a> {
    /// Each with its class.
    pub(super) series: &'a [(Series<'a>, &'static str)],
    /// The first and the last step.
    pub(super) steps: (f64, f64),
    /// Steps at which an epoch ended, and which.
    pub(super) epochs: &'a [(f64, u64)],
}

impl Plot<'_> {
    /// The axis of the values; none without any.
    pub(super) fn axis(&self) -> Option<Axis> {
        let values = self.series.iter().flat_map(|(series, _)| series.values()).map(|point| point.1);
        Axis::fitting(&values.filter(|value| value.is_finite()).collect::<Vec<_>>(), 4)
    }

    /// The drawing; nothing without values.
    pub(super) fn draw(&self, said: &str) -> Html {
        let Some(up) = self.axis() else { return Html::default() };
        let across = Axis::of_counts(self.steps.0, self.steps.1, 5);
        let y = |value: f64| BOTTOM - up.at(value) * (BOTTOM - TOP);
        let rows = up.ticks.iter().map(|(share, words)| {
            let y = BOTTOM - share * (BOTTOM - TOP);
            let [line_y, label_y] = [y, y + 4.0].map(|y| format!("{y:.1}"));
            join([line(["0", &line_y, "100%", &line_y], "tick"), label("-8", &label_y, "end", words, "")])
        });
        let columns = across.ticks.iter().map(|(share, words)| {
            let x = placed(*share);
            let mark = line([&x, "168", &x, "172"], "base");
            join([mark, label(&x, "186", anchor(*share), words, "")])
        });
        let grid: Html = rows.collect();
        let base = line(["0", "168", "100%", "168"], "base");
        let lines = self.series.iter().map(|(series, class)| one(series, class, &across, &y));
        drawn("plot", "", said, join([grid, base, columns.collect(), self.epoch_marks(&across), lines.collect()]))
    }

    fn epoch_marks(&self, across: &Axis) -> Html {
        let mut free = f64::NEG_INFINITY;
        let mut marks = Vec::new();
        for (step, epoch) in self.epochs {
            let share = across.at(*step);
            let x = placed(share);
            marks.push(line([&x, "14", &x, "168"], "epoch"));
            let (left, right) = extent(share, EPOCH_WIDTH);
            if left >= free {
                free = right;
                marks.push(label(&x, "10", anchor(share), &format!("epoch {epoch}"), "epoch-label"));
            }
        }
        marks.into_iter().collect()
    }
}

fn one(series: &Series<'_>, class: &'static str, across: &Axis, y: &dyn Fn(f64) -> f64) -> Html {
    let finite: Values =
        series.values().iter().copied().filter(|(step, value)| step.is_finite() && value.is_finite()).collect();
    let dots = |values: &[(f64, f64)], radius: &str| -> Html {
        values.iter().map(|(step, value)| circle(&placed(across.at(*step)), y(*value), radius, class)).collect()
    };
    match series {
        Series::Smoothed(_) => {
            let is_few = finite.len() <= FEW;
            let raw = polyline(&thinned(&finite), if is_few { "raw few" } else { "raw" }, class, across, y);
            let smooth = polyline(&thinned(&smoothed(&finite)), "smooth", class, across, y);
            join([raw, smooth, if is_few { dots(&finite, "2") } else { Html::default() }])
        }
        Series::Line(_) => {
            let alone = if finite.len() == 1 { dots(&finite, "3") } else { Html::default() };
            join([polyline(&thinned(&finite), "smooth", class, across, y), alone])
        }
        Series::Points(_) => {
            let through = polyline(&finite, "smooth", class, across, y);
            join([through, dots(&finite, "4"), named(&finite, across, y)])
        }
    }
}

/// The values of points: those of the last and the least in any case, others where they have room.
fn named(points: &[(f64, f64)], across: &Axis, y: &dyn Fn(f64) -> f64) -> Html {
    let last = points.len().saturating_sub(1);
    let least = (0..points.len()).min_by(|a, b| points[*a].1.total_cmp(&points[*b].1)).unwrap_or(0);
    let mut chosen: Vec<usize> = Vec::new();
    for index in [last, least, 0].into_iter().chain(0..points.len()) {
        let place = |index: usize| extent(across.at(points[index].0), VALUE_WIDTH);
        let is_free = |other: usize| place(index).1 <= place(other).0 || place(other).1 <= place(index).0;
        if index < points.len() && chosen.iter().all(|&other| is_free(other)) {
            chosen.push(index);
        }
    }
    let labels = chosen.into_iter().map(|index| {
        let (step, value) = points[index];
        // Below the point where the next line above it would be the frame's.
        let place = if y(value) < TOP + 12.0 { y(value) + 18.0 } else { y(value) - 9.0 };
        let share = across.at(step);
        label(&placed(share), &format!("{place:.1}"), anchor(share), &value_words(value), "value-label")
    });
    labels.collect()
}

/// A loss with as many digits as in the log.
pub(super) fn value_words(value: f64) -> String {
    if (0.001..1000.0).contains(&value.abs()) { format!("{value:.4}") } else { short(value) }
}

/// A line, stretched to any width while its stroke stays as thick as it is.
fn polyline(
    points: &[(f64, f64)],
    kind: &'static str,
    class: &'static str,
    across: &Axis,
    y: &dyn Fn(f64) -> f64,
) -> Html {
    if points.len() < 2 {
        return Html::default();
    }
    let height = BOTTOM - TOP;
    let at = |(step, value): &(f64, f64)| format!("{:.1},{:.1}", 1000.0 * across.at(*step), y(*value) - TOP);
    let placed = points.iter().map(at).collect::<Vec<_>>().join(" ");
    let [top, height, view] = [TOP.to_string(), height.to_string(), format!("0 0 1000 {height}")];
    let frame = [("x", "0"), ("y", &*top), ("width", "100%"), ("height", &*height), ("viewBox", &*view)];
    let frame = [&frame[..], &[("preserveAspectRatio", "none")]].concat();
    let classes = format!("{kind} {class}");
    element("svg", &frame, element("polyline", &[("class", &classes), ("points", &placed)], Html::default()))
}

/// Steps over which a line is smoothed: a thirtieth of the run.
pub(super) fn smoothing(points: usize) -> usize {
    points.div_ceil(30)
}

/// The mean of each value and its neighbours, as many before as behind it: a falling line is not drawn above itself.
fn smoothed(points: &[(f64, f64)]) -> Values {
    let reach = smoothing(points.len()) / 2;
    let at = |index: usize| {
        let reach = reach.min(index).min(points.len() - 1 - index);
        let near = &points[index - reach..=index + reach];
        (points[index].0, near.iter().map(|point| point.1).sum::<f64>() / near.len() as f64)
    };
    (0..points.len()).map(at).collect()
}

/// The points, or the means of as many neighbours as leave few enough.
fn thinned(points: &[(f64, f64)]) -> Values {
    let size = points.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[(f64, f64)]| {
        let sum = chunk.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / chunk.len() as f64, sum.1 / chunk.len() as f64)
    };
    points.chunks(size).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn_of(series: &[(Series<'_>, &'static str)], steps: (f64, f64), epochs: &[(f64, u64)]) -> String {
        Plot { series, steps, epochs }.draw("said").into_string()
    }

    #[test]
    fn one_point_can_be_seen_and_read() {
        let drawn = drawn_of(&[(Series::Points(&[(24.0, 1.6934)]), "held-back")], (1.0, 24.0), &[]);
        assert!(drawn.contains("<circle class=\"held-back\" cx=\"100.00%\""), "{drawn}");
        assert!(drawn.contains("text-anchor=\"end\" class=\"value-label\">1.6934<"), "{drawn}");
        assert!(!drawn.contains("<polyline"), "{drawn}");
        let line = drawn_of(&[(Series::Line(&[(1.0, 3.0)]), "rate")], (1.0, 1.0), &[]);
        assert!(line.contains("<circle"), "{line}");
    }

    #[test]
    fn lines_fill_their_frame_and_leave_out_what_is_no_number() {
        let points = [(1.0, 4.0), (2.0, f64::NAN), (3.0, 2.0)];
        let drawn = drawn_of(&[(Series::Line(&points), "rate")], (1.0, 3.0), &[]);
        assert!(drawn.contains("points=\"0.0,0.0 1000.0,150.0\""), "{drawn}");
        assert!(drawn.contains(">4.0<") && drawn.contains(">2.0<"), "{drawn}");
        assert_eq!(drawn_of(&[(Series::Line(&[]), "rate")], (1.0, 3.0), &[]), "");
    }

    #[test]
    fn epochs_are_marked_and_named_where_there_is_room() {
        let points: Values = (1..=100).map(|step| (f64::from(step), 1.0)).collect();
        let epochs: Vec<(f64, u64)> = (1..=20).map(|epoch| (5.0 * epoch as f64, epoch)).collect();
        let drawn = drawn_of(&[(Series::Smoothed(&points), "train")], (1.0, 100.0), &epochs);
        assert_eq!(drawn.matches("class=\"epoch\"").count(), 20);
        assert_eq!(drawn.matches("class=\"epoch-label\"").count(), 4);
        assert_eq!(drawn.matches("<polyline").count(), 2);
    }

    #[test]
    fn values_of_points_do_not_run_into_each_other() {
        let points: Values = (1..=50).map(|step| (f64::from(step), 2.0 - f64::from(step) / 50.0)).collect();
        let drawn = drawn_of(&[(Series::Points(&points), "held-back")], (1.0, 50.0), &[]);
        assert_eq!(drawn.matches("<circle").count(), 50);
        assert_eq!(drawn.matches("value-label").count(), 6);
        assert!(drawn.contains(">1.0000<") && drawn.contains(">1.9800<"), "{drawn}");
    }

    #[test]
    fn smoothing_follows_without_delay() {
        let falling: Values = (0..90).map(|step| (f64::from(step), 90.0 - f64::from(step))).collect();
        for (smooth, raw) in smoothed(&falling).iter().zip(&falling) {
            assert!((smooth.1 - raw.1).abs() <= 1e-9 && smooth.0 == raw.0);
        }
        let noisy: Values = (0..90).map(|step| (f64::from(step), f64::from(step % 3))).collect();
        assert!(smoothed(&noisy)[1..89].iter().all(|(_, value)| (value - 1.0).abs() <= 1e-9));
        assert_eq!(smoothed(&[(1.0, 5.0), (2.0, 1.0)]), [(1.0, 5.0), (2.0, 1.0)]);
    }
}
