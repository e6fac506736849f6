//! Tables on the terminal: the positions of columns, so that no word and no number is broken. The commands supply the content and decide
//! whether to use a table; the console wraps other lines.

use crate::console::{Console, harmless};
use anstyle::Style;
use std::io;
use unicode_width::UnicodeWidthStr as _;

/// Between two columns.
const GAP: usize = 2;
/// The first column keeps at least so much where the others leave it too little.
const NARROWEST_LABEL: usize = 8;

/// A column: its head, and whether it holds numbers (to the right) or words (to the left).
struct Column {
    head: &'static str,
    is_number: bool,
}

/// A row and how it is styled.
struct Row {
    cells: Vec<String>,
    style: Style,
}

/// A table that is being filled. Its first column says what each row is about.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

impl Table {
    /// A table whose first column has this head.
    pub(crate) fn new(head: &'static str) -> Table {
        Table { columns: vec![Column { head, is_number: false }], rows: Vec::new() }
    }

    /// A column of words, to the right of those that are there.
    pub(crate) fn words(mut self, head: &'static str) -> Table {
        self.columns.push(Column { head, is_number: false });
        self
    }

    /// A column of numbers, to the right of those that are there.
    pub(crate) fn numbers<const N: usize>(mut self, heads: [&'static str; N]) -> Table {
        self.columns.extend(heads.map(|head| Column { head, is_number: true }));
        self
    }

    /// A row, with a cell for each column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.styled_row(Style::new(), cells);
    }

    /// A row in a style. It may contain untrusted text.
    pub(crate) fn styled_row(&mut self, style: Style, cells: impl IntoIterator<Item = String>) {
        let on_a_line = |cell: String| harmless(&cell).replace('\n', "\\n").replace('\t', "\\t");
        let mut cells: Vec<String> = cells.into_iter().map(on_a_line).collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(Row { cells, style });
    }

    /// Prints it as wide as the console is.
    pub(crate) fn print(&self, console: &mut Console) -> io::Result<()> {
        for (style, line) in self.lines(console.table_width()) {
            let line = console.styled(style, &line);
            console.verbatim(line)?;
        }
        Ok(())
    }

    /// Its text at a width, without styles.
    #[cfg(test)]
    pub(crate) fn text(&self, width: usize) -> String {
        self.lines(width).into_iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// The lines at a width, each with its style. Where the columns do not stand side by side, further ones follow below, the first
    /// repeated.
    fn lines(&self, width: usize) -> Vec<(Style, String)> {
        let mut lines = Vec::new();
        for (columns, widths) in self.blocks(width) {
            let cell = |column: usize, text: &str| (column, wrapped(text, widths[&column]));
            let heads: Vec<_> = columns.iter().map(|&column| cell(column, self.columns[column].head)).collect();
            let height = heads.iter().map(|(_, parts)| parts.len()).max().unwrap_or(0);
            let bottom = |(column, parts): (usize, Vec<String>)| {
                (column, [vec![String::new(); height - parts.len()], parts].concat())
            };
            lines.extend(self.side_by_side(heads.into_iter().map(bottom), &widths, Style::new().bold()));
            for row in &self.rows {
                let mut cells: Vec<_> = columns.iter().map(|&column| cell(column, &row.cells[column])).collect();
                let label = &row.cells[0];
                if label.width() > widths[&0] {
                    // Too long to be before the numbers: it has a line of its own.
                    lines.push((row.style, label.clone()));
                    cells[0].1 = vec![String::new()];
                }
                lines.extend(self.side_by_side(cells.into_iter(), &widths, row.style));
            }
        }
        lines
    }

    /// Cells of any number of lines each, beside each other.
    fn side_by_side(
        &self,
        cells: impl Iterator<Item = (usize, Vec<String>)>,
        widths: &Widths,
        style: Style,
    ) -> Vec<(Style, String)> {
        let cells: Vec<_> = cells.collect();
        let height = cells.iter().map(|(_, parts)| parts.len()).max().unwrap_or(0);
        let line = |at: usize| {
            let part = |(column, parts): &(usize, Vec<String>)| {
                let text = parts.get(at).map_or("", String::as_str);
                let space = " ".repeat(widths[column].saturating_sub(text.width()));
                if self.columns[*column].is_number { format!("{space}{text}") } else { format!("{text}{space}") }
            };
            let line = cells.iter().map(part).collect::<Vec<_>>().join(&" ".repeat(GAP));
            (style, line.trim_end().to_owned())
        };
        (0..height).map(line).collect()
    }

    /// Which columns stand side by side, and how wide each is.
    fn blocks(&self, width: usize) -> Vec<(Vec<usize>, Widths)> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let cells = |column: usize| self.rows.iter().map(move |row| row.cells[column].as_str());
        let widest = |column: usize| cells(column).map(str::width).max().unwrap_or(0);
        let whole: Widths = all.iter().map(|&c| (c, widest(c).max(self.columns[c].head.width()))).collect();
        if total(&whole) <= width {
            return vec![(all, whole)];
        }
        // Headings of several words are wrapped first, then cells.
        let head = |column: usize| longest_word(self.columns[column].head);
        let mut widths: Widths = all.iter().map(|&c| (c, widest(c).max(head(c)))).collect();
        for (index, column) in self.columns.iter().enumerate().skip(1).filter(|(_, column)| !column.is_number) {
            let least = cells(index).chain([column.head]).map(longest_word).max().unwrap_or(0);
            let excess = total(&widths).saturating_sub(width);
            let own = widths[&index];
            widths.insert(index, own.saturating_sub(excess).max(least));
        }
        let excess = total(&widths).saturating_sub(width);
        let label = widths[&0].saturating_sub(excess).max(NARROWEST_LABEL.min(widths[&0])).max(head(0));
        widths.insert(0, label);
        let mut blocks: Vec<(Vec<usize>, Widths)> = Vec::new();
        for &column in &all[1..] {
            let own = widths[&column];
            match blocks.last_mut() {
                Some((columns, block)) if total(block) + GAP + own <= width => {
                    columns.push(column);
                    block.insert(column, own);
                }
                _ => blocks.push((vec![0, column], Widths::from([(0, label), (column, own)]))),
            }
        }
        if blocks.is_empty() { vec![(all, widths)] } else { blocks }
    }
}

/// How wide each column is.
type Widths = std::collections::BTreeMap<usize, usize>;

fn total(widths: &Widths) -> usize {
    widths.values().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

fn longest_word(text: &str) -> usize {
    text.split(' ').map(str::width).max().unwrap_or(0)
}

/// Lines of at most `width` columns, broken at spaces; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores() -> Table {
        let mut table = Table::new("task").numbers(["n", "pass@1", "95% interval", "no answer"]).words("about");
        table.row(["dice", "60", "82.0%", "[70.1, 89.9]", "1.2%", "sums of two dice"].map(str::to_owned));
        table.row(["a-task-of-a-long-name", "1200", "3.0%", "[0.1, 9.9]", "0.0%", "none"].map(str::to_owned));
        table
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let wanted = "\
task                      n  pass@1  95% interval  no answer  about
dice                     60   82.0%  [70.1, 89.9]       1.2%  sums of two dice
a-task-of-a-long-name  1200    3.0%    [0.1, 9.9]       0.0%  none
";
        assert_eq!(scores().text(120), wanted);
        assert_eq!(scores().text(81), wanted);
    }

    #[test]
    fn heads_and_words_go_on_further_lines_and_long_names_have_their_own() {
        let wanted = "
                                                       no
task                      n  pass@1  95% interval  answer  about
dice                     60   82.0%  [70.1, 89.9]    1.2%  sums of two
                                                           dice
a-task-of-a-long-name  1200    3.0%    [0.1, 9.9]    0.0%  none
";
        // A literal of lines whose first begins with spaces begins with a line break.
        assert_eq!(format!("\n{}", scores().text(70)), wanted);
        let narrow = "
                                           no
task          n  pass@1  95% interval  answer  about
dice         60   82.0%  [70.1, 89.9]    1.2%  sums
                                               of
                                               two
                                               dice
a-task-of-a-long-name
           1200    3.0%    [0.1, 9.9]    0.0%  none
";
        assert_eq!(format!("\n{}", scores().text(52)), narrow);
    }

    #[test]
    fn columns_without_room_follow_below() {
        let wanted = "\
task         n  pass@1
dice        60   82.0%
a-task-of-a-long-name
          1200    3.0%
task      95% interval
dice      [70.1, 89.9]
a-task-of-a-long-name
            [0.1, 9.9]
              no
task      answer  about
dice        1.2%  sums
                  of
                  two
                  dice
a-task-of-a-long-name
            0.0%  none
";
        assert_eq!(scores().text(24), wanted);
    }

    /// Whatever the width: no cell's words and numbers are broken, and lines fit where words allow it.
    #[test]
    fn nothing_is_broken_at_any_width() {
        for width in 1..130 {
            let text = scores().text(width);
            for word in ["[70.1,", "89.9]", "82.0%", "a-task-of-a-long-name", "pass@1", "answer", "1200"] {
                assert!(text.split_whitespace().any(|found| found == word), "{word} at {width}:\n{text}");
            }
            let longest = text.lines().map(|line| line.width()).max().unwrap_or(0);
            assert!(longest <= width || width < 22, "{longest} at {width}:\n{text}");
        }
    }

    #[test]
    fn a_stranger_s_name_stays_on_its_line() {
        let mut table = Table::new("task").numbers(["n"]);
        table.row(["two\nlines\t\u{1b}[2J 中".to_owned(), "1".to_owned()]);
        assert_eq!(table.text(80), "task                      n\ntwo\\nlines\\t\\u{1b}[2J 中  1\n");
    }
}
