//! Drawings in SVG, without a library: a score with its interval, a difference with its interval, a bar in parts, a histogram. Positions
//! are shares of the width, so that lines keep their thickness and letters their size on a phone. The caller supplies the values; lines
//! over steps are in `plot`.

use super::axis::Axis;
use super::html::{Html, element, join, literal, text};

/// A score on a line from 0 to 100%, with its interval.
pub(super) fn score(share: f64, interval: [f64; 2], class: &'static str, said: &str) -> Html {
    let at = |share: f64| format!("{:.2}%", 1.0 + 98.0 * share.clamp(0.0, 1.0));
    let ticks = [0.0, 0.25, 0.5, 0.75, 1.0].map(|tick| line([&at(tick), "0", &at(tick), "24"], "tick"));
    let [low, high] = interval.map(at);
    let drawing = join([
        ticks.into_iter().collect(),
        line([&at(0.0), "12", &at(share), "12"], "stem"),
        line([&low, "12", &high, "12"], "interval"),
        circle(&at(share), 12.0, "4.5", "point"),
    ]);
    drawn("score", class, said, drawing)
}

/// A difference with its interval on an axis that all rows of a forest plot share; a diamond for all of them together.
pub(super) fn difference(axis: &Axis, value: f64, interval: [f64; 2], is_pooled: bool, class: &'static str) -> Html {
    let at = |value: f64| placed(axis.at(value));
    let ticks = axis.ticks.iter().map(|(share, _)| line([&placed(*share), "0", &placed(*share), "40"], "tick"));
    let [low, high] = interval.map(at);
    let centre = match is_pooled {
        true => {
            let diamond = element("polygon", &[("points", "-8,0 0,-8 8,0 0,8")], Html::default());
            element("svg", &[("x", &at(value)), ("y", "20"), ("class", "point")], diamond)
        }
        false => circle(&at(value), 20.0, "5", "point"),
    };
    let drawing = join([
        ticks.collect(),
        line([&at(0.0), "0", &at(0.0), "40"], "zero"),
        line([&low, "20", &high, "20"], "interval"),
        line([&low, "15", &low, "25"], "interval"),
        line([&high, "15", &high, "25"], "interval"),
        centre,
    ]);
    // Its figures stand beside it, where they are read.
    let classes = format!("difference {class}");
    element("svg", &[("class", &classes), ("aria-hidden", "true")], drawing)
}

/// The labels of an axis below what is drawn over it.
pub(super) fn labels(axis: &Axis) -> Html {
    let labels = axis.ticks.iter().map(|(share, words)| label(&placed(*share), "12", "middle", words, ""));
    element("svg", &[("class", "labels"), ("aria-hidden", "true")], labels.collect())
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

/// Bars side by side, as high as their counts, over an axis from 0 to where the last one ends; `most` is the highest count of all
/// histograms that are compared.
pub(super) fn histogram(counts: &[usize], most: usize, end: f64, class: &'static str, said: &str) -> Html {
    let (top, bottom) = (16.0, 112.0);
    let width = 100.0 / counts.len().max(1) as f64;
    let bars = counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(index, count)| {
        // What is there at all can be seen.
        let height = ((bottom - top) * *count as f64 / most.max(1) as f64).max(1.5);
        let [x, y, w, h] = [index as f64 * width + width * 0.06, bottom - height, width * 0.88, height];
        let [x, w] = [x, w].map(|value| format!("{value:.2}%"));
        let [y, h] = [y, h].map(|value| format!("{value:.1}"));
        element("rect", &[("x", &x), ("y", &y), ("width", &w), ("height", &h)], Html::default())
    });
    let across = Axis::of_counts(0.0, end, 5);
    let up = Axis::of_counts(0.0, most.max(1) as f64, 2);
    let rows = up.ticks.iter().filter(|(share, _)| *share > 0.0).map(|(share, words)| {
        let y = bottom - share * (bottom - top);
        let [line_y, label_y] = [y, y + 4.0].map(|y| format!("{y:.1}"));
        join([line(["0", &line_y, "100%", &line_y], "tick"), label("-6", &label_y, "end", words, "")])
    });
    let columns = across.ticks.iter().map(|(share, words)| label(&placed(*share), "130", anchor(*share), words, ""));
    let axis = line(["0", "112", "100%", "112"], "base");
    drawn("histogram", class, said, join([rows.collect(), bars.collect(), axis, columns.collect()]))
}

/// A share of the width.
pub(super) fn placed(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

/// How a label stands to its place, so that it does not leave the drawing.
pub(super) fn anchor(share: f64) -> &'static str {
    match share {
        share if share < 0.04 => "start",
        share if share > 0.96 => "end",
        _ => "middle",
    }
}

/// From where to where a label goes that takes this share of the width.
pub(super) fn extent(share: f64, width: f64) -> (f64, f64) {
    match anchor(share) {
        "start" => (share, share + width),
        "end" => (share - width, share),
        _ => (share - width / 2.0, share + width / 2.0),
    }
}

/// A whole drawing, with what it shows in words.
pub(super) fn drawn(kind: &'static str, class: &'static str, said: &str, drawing: Html) -> Html {
    let classes = format!("{kind} {class}");
    element("svg", &[("class", classes.trim_end()), ("role", "img"), ("aria-label", said)], drawing)
}

pub(super) fn line([x1, y1, x2, y2]: [&str; 4], class: &'static str) -> Html {
    element("line", &[("class", class), ("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)], Html::default())
}

pub(super) fn circle(x: &str, y: f64, radius: &str, class: &'static str) -> Html {
    element("circle", &[("class", class), ("cx", x), ("cy", &format!("{y:.1}")), ("r", radius)], Html::default())
}

pub(super) fn label(x: &str, y: &str, anchor: &str, said: &str, class: &'static str) -> Html {
    let attributes = [("x", x), ("y", y), ("text-anchor", anchor), ("class", class)];
    let count = if class.is_empty() { 3 } else { 4 };
    element("text", &attributes[..count], text(said))
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
    fn a_difference_lies_between_the_ends_of_its_interval() {
        let axis = Axis::of_counts(-10.0, 10.0, 4);
        let drawn = difference(&axis, 5.0, [0.0, 10.0], false, "gain").into_string();
        assert!(drawn.contains("cx=\"75.00%\"") && drawn.contains("x1=\"50.00%\" y1=\"20\" x2=\"100.00%\""), "{drawn}");
        let pooled = difference(&axis, -5.0, [-10.0, 0.0], true, "level").into_string();
        assert!(pooled.contains("<svg x=\"25.00%\"") && pooled.contains("<polygon"), "{pooled}");
    }

    #[test]
    fn counts_make_parts_and_bars() {
        let bar = parts(&[("won", 3), ("lost", 1)], "").into_string();
        assert!(bar.contains("class=\"lost\" x=\"75.000%\""), "{bar}");
        let bars = histogram(&[0, 4, 0, 1], 8, 40.0, "m0", "").into_string();
        assert_eq!(bars.matches("<rect").count(), 2);
        assert!(bars.contains("height=\"48.0\""), "half as high as the highest of all: {bars}");
        assert!(bars.contains(">40<") && bars.contains(">5<"), "{bars}");
    }
}
