//! Wraps lines for the terminal: between words, and never inside a unit that is read or copied as one: a number with its unit, `p = 1.00`,
//! a path, a command. The console knows the width. The crate textwrap could add up the widths of these pieces, but neither ends a style at
//! the end of a line nor keeps a long piece beside its label; using it for the rest would take more code than it saves.

use unicode_width::UnicodeWidthStr as _;

/// Further lines of a text begin so far behind its first.
const INDENT: usize = 2;
/// What a command to type begins with.
const PROGRAM: &str = "aludel";
/// Ends the style that escape sequences before it began.
const RESET: &str = "\u{1b}[0m";

/// Text whose lines end within `columns`, as far as its words allow. Further lines are indented, behind the first by [`INDENT`] or as far as
/// is told; spaces at the beginning are kept. The only escape sequences in it are those of styles.
pub(super) fn wrapped(text: &str, columns: usize, indent: Option<usize>) -> String {
    let one = |line: &str| {
        let start = line.len() - line.trim_start_matches(' ').len();
        wrapped_line(line, start, columns, indent.unwrap_or(start + INDENT))
    };
    text.split('\n').map(one).collect::<Vec<_>>().join("\n")
}

fn wrapped_line(line: &str, start: usize, columns: usize, indent: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let mut shown = " ".repeat(start);
    let (mut column, mut style) = (start, String::new());
    for (index, unit) in units(&line[start..]).into_iter().enumerate() {
        let own = width(unit);
        // What fits on no line is broken by the terminal wherever it begins: it stays beside its label.
        let stays = index == 0 || column + 1 + own <= columns || (index == 1 && indent + own > columns);
        if stays {
            if index > 0 {
                shown.push(' ');
                column += 1;
            }
        } else if unit.is_empty() {
            continue;
        } else {
            let kept = shown.trim_end_matches(' ').len();
            shown.truncate(kept);
            // A style never spans a line break.
            if !style.is_empty() {
                shown.push_str(RESET);
            }
            shown.push('\n');
            shown.push_str(&" ".repeat(indent));
            shown.push_str(&style);
            column = indent;
        }
        shown.push_str(unit);
        column += own;
        for sequence in sequences(unit) {
            if sequence == RESET { style.clear() } else { style.push_str(sequence) }
        }
    }
    shown
}

/// What stays in one piece: words, what stands between backticks, a command behind a colon up to the end of its line, and figures with what
/// belongs to them.
fn units(line: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    let mut rest = Some(line);
    while let Some(line) = rest {
        let is_labelled = words.last().is_none_or(|word| plain(word).ends_with(':'));
        let end = unit_end(line, is_labelled);
        words.push(&line[..end]);
        rest = line.get(end + 1..);
    }
    let shown: Vec<String> = words.iter().map(|word| plain(word)).collect();
    let (mut units, mut start, mut end) = (Vec::new(), 0, 0);
    for (index, word) in words.iter().enumerate() {
        end += word.len();
        if index + 1 == words.len() || !is_one_figure(&shown, index) {
            units.push(&line[start..end]);
            start = end + 1;
        }
        end += 1;
    }
    units
}

/// Whether a word and the next are read as one: a name and its value, the sides of an operator, the bounds of an interval, a number and its
/// unit.
fn is_one_figure(words: &[String], index: usize) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| words.get(at)).map_or("", String::as_str);
    let (before, this, next, after) =
        (word(index.checked_sub(1)), word(Some(index)), word(Some(index + 1)), word(Some(index + 2)));
    let is_value = |name: &str, value: &str| !name.is_empty() && !name.ends_with(PUNCTUATION) && !value.is_empty();
    let is_between = |left: &str, right: &str| is_number(left) && is_number(right);
    match (this, next) {
        ("=", value) => is_value(before, value),
        (name, "=") => is_value(name, after),
        (operator, right) if OPERATORS.contains(&operator) => is_between(before, right),
        (left, operator) if OPERATORS.contains(&operator) => is_between(left, after),
        (low, high) if low.starts_with(['[', '(']) && low.ends_with(',') => {
            is_between(low, high) && high.contains([']', ')'])
        }
        (number, unit) => {
            !number.ends_with([',', '.', ':', ';'])
                && is_number(number)
                && UNITS.contains(&unit.trim_end_matches(PUNCTUATION))
        }
    }
}

/// Digits with what may stand around them.
fn is_number(word: &str) -> bool {
    let inner = word.trim_start_matches(['[', '(', '+', '-', '−', '±', '~', '<', '≤', '≥', '$']);
    let inner = inner.trim_end_matches(PUNCTUATION).trim_end_matches('%');
    inner.starts_with(|c: char| c.is_ascii_digit())
        && inner.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '.'))
}

/// Stands between two numbers that are read as one figure.
const OPERATORS: [&str; 10] = ["→", "+", "-", "−", "×", "·", "±", "<", "≤", "of"];
/// What numbers are followed by.
const UNITS: [&str; 23] = [
    "ms", "s", "min", "h", "B", "kB", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "GHz", "GFLOP/s", "TFLOP/s",
    "GB/s", "tokens", "tokens/s", "points", "%", "dollars",
];
const PUNCTUATION: [char; 6] = [',', '.', ':', ';', ')', ']'];

fn unit_end(line: &str, is_labelled: bool) -> usize {
    let word_end = |from: usize| line[from..].find(' ').map_or(line.len(), |at| from + at);
    let mut end = word_end(0);
    if is_labelled && plain(&line[..end]) == PROGRAM {
        return line.len();
    }
    while !line[..end].matches('`').count().is_multiple_of(2) {
        match line[end..].find('`') {
            Some(close) => end = word_end(end + close),
            None => return word_end(0),
        }
    }
    end
}

/// Columns that a text takes, its escape sequences none.
fn width(text: &str) -> usize {
    plain(text).width()
}

/// A text without escape sequences.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        shown.push_str(&rest[..at]);
        rest = &rest[at + sequence_length(&rest[at..])..];
    }
    shown + rest
}

/// The escape sequences of a text.
fn sequences(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('\u{1b}').map(|(at, _)| &text[at..at + sequence_length(&text[at..])])
}

/// A style's sequence ends with an m.
fn sequence_length(text: &str) -> usize {
    text.find('m').map_or(text.len(), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words() {
        for (text, columns, shown) in [
            ("one two three four", 13, "one two three\n  four"),
            ("  one two three\nfour", 12, "  one two\n    three\nfour"),
            ("averyveryverylongword here", 10, "averyveryverylongword\n  here"),
            ("error: /a/path/of/many/letters", 12, "error: /a/path/of/many/letters"),
            ("short, and then /a/path/of/many/letters", 16, "short, and then\n  /a/path/of/many/letters"),
            ("a  b    c d", 9, "a  b    c\n  d"),
            ("one two  \nthree", 7, "one two\nthree"),
            ("中文 中文 中文", 9, "中文 中文\n  中文"),
            ("", 1, ""),
        ] {
            assert_eq!(wrapped(text, columns, None), shown, "{text}");
        }
        assert_eq!(wrapped(" INFO one two three", 11, Some(6)), " INFO one\n      two\n      three");
    }

    #[test]
    fn commands_are_never_broken() {
        for (text, shown) in [
            ("continue with: aludel train --resume", "continue with:\n  aludel train --resume"),
            ("give `aludel eval` and `aludel merge` again", "give `aludel eval`\n  and `aludel merge`\n  again"),
            ("said by aludel and others and so on", "said by aludel and\n  others and so on"),
            ("a ` alone is a letter as any other", "a ` alone is a\n  letter as any\n  other"),
            ("(`a b`, `c d e f g h i`) x", "(`a b`,\n  `c d e f g h i`) x"),
        ] {
            assert_eq!(wrapped(text, 20, None), shown, "{text}");
        }
    }

    #[test]
    fn figures_stay_with_what_belongs_to_them() {
        for (text, columns, shown) in [
            ("no gain: n = 60, p = 1.00", 23, "no gain: n = 60,\n  p = 1.00"),
            ("from 30% → 32% [24, 42], n = 100", 20, "from 30% → 32%\n  [24, 42], n = 100"),
            ("it took 3.2 s, and 1,024 tokens/s", 26, "it took 3.2 s, and\n  1,024 tokens/s"),
            ("rows left out: 72 of 144 (50%)", 21, "rows left out:\n  72 of 144 (50%)"),
            ("a sum: 3 + 5 tokens, price unknown", 12, "a sum:\n  3 + 5 tokens,\n  price\n  unknown"),
            ("the year was 2026. s is a letter", 19, "the year was 2026.\n  s is a letter"),
            ("two of three, = alone", 14, "two of three,\n  = alone"),
            ("\u{1b}[1mp =\u{1b}[0m 1.00 and more", 11, "\u{1b}[1mp =\u{1b}[0m 1.00\n  and more"),
        ] {
            assert_eq!(wrapped(text, columns, None), shown, "{text}");
        }
    }

    #[test]
    fn styles_take_no_room_and_span_no_line_break() {
        let bold = "\u{1b}[1m";
        let red = "\u{1b}[31m";
        let text = format!("{bold}one two{RESET} three {bold}{red}four five{RESET} six");
        let shown = format!("{bold}one two{RESET} three\n  {bold}{red}four five{RESET}\n  six");
        assert_eq!(wrapped(&text, 13, None), shown);
        let shown = format!(
            "{bold}one{RESET}\n  {bold}two{RESET}\n  three\n  {bold}{red}four{RESET}\n  {bold}{red}five{RESET}\n  six"
        );
        assert_eq!(wrapped(&text, 6, None), shown);
    }

    /// Whatever the width, the words are the same, and lines fit where words allow it.
    #[test]
    fn nothing_is_lost_at_any_width() {
        let text = "rows left out: 1,234 of 5,678 (22%), longer than train.max_length = 2048; \
                    `--max-length 4096` keeps /a/folder/of/rows.jsonl: aludel inspect --student s.gguf --data rows.jsonl";
        for columns in 1..140 {
            let shown = wrapped(text, columns, None);
            assert!(shown.split_whitespace().eq(text.split_whitespace()), "{shown}");
            assert!(shown.contains("`--max-length 4096`") && shown.contains("aludel inspect --student s.gguf --data"));
            let longest = shown.lines().map(width).max().unwrap_or(0);
            assert!(longest <= columns || columns < 56, "{longest} at {columns}: {shown}");
        }
    }
}
