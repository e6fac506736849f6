//! Drawings in SVG, without a library: a score with its interval, a bar in parts, a histogram, a line. Positions are shares of the
//! width, so that lines keep their thickness and letters their size on a phone. What is drawn is the caller's business.

use super::html::{Html, element, join, literal, text};

/// A score on a line from 0 to 100%, with its interval.
pub(super) fn score(share: f64, interval: [f64; 2], class: &'static str, said: &str) -> Html {
    let at = |share: f64| format!("{:.2}%", 1.0 + 98.0 * share.clamp(0.0, 1.0));
    let ticks = [0.0, 0.25, 0.5, 0.75, 1.0].map(|tick| line([&at(tick), "2", &at(tick), "20"], "tick"));
    let [low, high] = interval.map(at);
    let drawing = join([
        ticks.into_iter().collect(),
        line([&at(0.0), "11", &at(share), "11"], "stem"),
        line([&low, "11", &high, "11"], "interval"),
        element("circle", &[("cx", &at(share)), ("cy", "11"), ("r", "4.5")], Html::default()),
    ]);
    drawn("score", class, said, drawing)
}

/// A bar whose parts are counts, each with its class.
pub(super) fn parts(counts: &[(&'static str, usize)], said: &str) -> Html {
    let total = counts.iter().map(|(_, count)| count).sum::<usize>().max(1) as f64;
    let mut start = 0.0;
    let bars = counts.iter().map(|&(class, count)| {
        let width = 100.0 * count as f64 / total;
        let (x, w) = (format!("{start:.3}%"), format!("{width:.3}%"));
        start += width;
        element("rect", &[("class", class), ("x", &x), ("y", "0"), ("width", &w), ("height", "10")], Html::default())
    });
    drawn("parts", "", said, bars.collect())
}

/// Bars side by side, as high as their counts, and the numbers at both ends of the axis.
pub(super) fn histogram(counts: &[usize], last: &str, class: &'static str, said: &str) -> Html {
    let highest = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let width = 100.0 / counts.len().max(1) as f64;
    let bars = counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(index, count)| {
        // What is there at all can be seen.
        let height = (80.0 * *count as f64 / highest).max(1.5);
        let [x, y, w, h] = [index as f64 * width + width * 0.06, 84.0 - height, width * 0.88, height];
        let [x, w] = [x, w].map(|value| format!("{value:.2}%"));
        let [y, h] = [y, h].map(|value| format!("{value:.1}"));
        element("rect", &[("x", &x), ("y", &y), ("width", &w), ("height", &h)], Html::default())
    });
    let axis = join([
        line(["0", "84.5", "100%", "84.5"], "tick"),
        label("0", "99", "start", "0"),
        label("100%", "99", "end", last),
    ]);
    drawn("histogram", class, said, join([bars.collect(), axis]))
}

/// A line to draw.
pub(super) struct Series<'a> {
    /// Points, x ascending.
    pub(super) points: &'a [(f64, f64)],
    /// Its class.
    pub(super) class: &'static str,
}

/// Lines over one pair of axes, from the least to the greatest of all their values.
pub(super) fn lines(series: &[Series<'_>], x_label: &str, said: &str) -> Html {
    let finite =
        |series: &Series<'_>| series.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let all: Vec<Vec<(f64, f64)>> = series.iter().map(finite).collect();
    let extent = |of: fn(&(f64, f64)) -> f64| {
        let values = all.iter().flatten().map(of);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ((left, right), (bottom, top)) = (extent(|point| point.0), extent(|point| point.1));
    if left > right {
        return Html::default();
    }
    let within = |value: f64, low: f64, high: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
    let drawn_lines = all.iter().zip(series).map(|(points, series)| {
        let placed = points.iter().map(|(x, y)| {
            format!("{:.1},{:.1}", 1000.0 * within(*x, left, right), 1000.0 - 1000.0 * within(*y, bottom, top))
        });
        let placed = placed.collect::<Vec<_>>().join(" ");
        element("polyline", &[("class", series.class), ("points", &placed)], Html::default())
    });
    // Stretched to any width, while strokes stay as thick as they are.
    let frame = [("x", "12%"), ("y", "6"), ("width", "88%"), ("height", "140"), ("viewBox", "0 0 1000 1000")];
    let stretched = [&frame[..], &[("preserveAspectRatio", "none")]].concat();
    let axes = join([
        line(["12%", "152", "100%", "152"], "tick"),
        label("0", "14", "start", &short(top)),
        label("0", "146", "start", &short(bottom)),
        label("100%", "168", "end", &format!("{x_label} {}", short(right))),
    ]);
    drawn("lines", "", said, join([element("svg", &stretched, drawn_lines.collect()), axes]))
}

/// A number in few characters.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(0.001..1e6).contains(&size) => format!("{value:.1e}"),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 100.0 && value.fract() != 0.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

fn drawn(kind: &'static str, class: &'static str, said: &str, drawing: Html) -> Html {
    let classes = format!("{kind} {class}");
    element("svg", &[("class", classes.trim_end()), ("role", "img"), ("aria-label", said)], drawing)
}

fn line([x1, y1, x2, y2]: [&str; 4], class: &'static str) -> Html {
    element("line", &[("class", class), ("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)], Html::default())
}

fn label(x: &str, y: &str, anchor: &str, said: &str) -> Html {
    element("text", &[("x", x), ("y", y), ("text-anchor", anchor)], text(said))
}

/// The marks below scores.
pub(super) fn score_axis() -> Html {
    literal("<div class=\"axis\" aria-hidden=\"true\"><span>0%</span><span>50%</span><span>100%</span></div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_lies_where_its_share_says() {
        let drawn = score(0.5, [0.25, 1.2], "m1", "half").into_string();
        for part in ["class=\"score m1\"", "cx=\"50.00%\"", "x1=\"25.50%\"", "x2=\"99.00%\"", "aria-label=\"half\""] {
            assert!(drawn.contains(part), "{part} is not in {drawn}");
        }
    }

    #[test]
    fn lines_fill_their_frame_and_leave_out_what_is_no_number() {
        let points = [(1.0, 4.0), (2.0, f64::NAN), (3.0, 2.0)];
        let drawn = lines(&[Series { points: &points, class: "loss" }], "step", "").into_string();
        assert!(drawn.contains("points=\"0.0,0.0 1000.0,1000.0\""), "{drawn}");
        assert!(drawn.contains(">step 3<"), "{drawn}");
        assert_eq!(lines(&[Series { points: &[], class: "loss" }], "step", ""), Html::default());
    }

    #[test]
    fn counts_make_parts_and_bars() {
        let bar = parts(&[("won", 3), ("lost", 1)], "").into_string();
        assert!(bar.contains("class=\"lost\" x=\"75.000%\""), "{bar}");
        assert_eq!(histogram(&[0, 4, 0, 1], "9", "m0", "").into_string().matches("<rect").count(), 2);
        assert_eq!(
            [0.0, 2e-5, 0.0123, 2.345, 1234.0].map(short),
            ["0", "2.0e-5", "0.0123", "2.35", "1234"].map(String::from)
        );
    }
}
