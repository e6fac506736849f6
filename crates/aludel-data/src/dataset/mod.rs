//! Reads data files of every known shape, row by row, into one canonical [`Record`]. A file is streamed, whatever its size; a
//! broken row either ends the reading with its place and reason or is counted and skipped. Splitting, tokenising and caching are
//! left to the neighbouring modules.

mod column;
mod column_map;
mod columns;
mod completeness;
mod decompress;
mod finish_columns;
mod flaw;
mod loss_weight;
mod messages;
mod pairs;
mod parquet;
mod problem;
mod prompt_columns;
mod prompts;
mod read;
mod reasoning;
mod record;
mod row;
mod row_marks;
mod template_tokens;
#[cfg(test)]
mod tests;
mod tool_use;
mod unused_columns;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aludel_text::message::Message;
use serde::{Deserialize, Serialize};

pub use column_map::ColumnMap;
pub use completeness::{flaw, flaw_of_answer, speaks_of_answer, unclosed};
pub use flaw::{Flaw, FlawKind};
pub use messages::is_assistant;
pub use parquet::write_parquet;
pub use problem::{BadRows, ProblemKind, alike};
pub use prompt_columns::left_of_question;
pub use prompt_columns::may_be_asked;
pub use prompts::{Prompt, Prompts, QuestionColumns, open_prompts, question_of};
pub use record::{Content, PromptKey, Provenance, Record};
pub use row::row_of;
pub use row::{Row, Unusable};
pub use template_tokens::turn_mark;
pub use tool_use::apart as tools_apart;
pub use unused_columns::{ColumnsUsed, add as add_unused};
pub use unused_columns::{classes_told, notice as columns_not_used, told_in_part as columns_used_in_part};

pub use crate::column_names::called;
pub use crate::json::{Columns, Fields, InvalidString, Json, Kind};

use crate::Error;
use crate::column_names::is_for_verdicts;
use read::{RawRow, RawRows};
use row::{parse, read_columns};

/// The version of the reading of rows, which is a part of the keys of caches and runs. It rises with every change by which any row is
/// read other than before: other text, reasoning, weights or roles, a row that is refused or left out, a mark that is taken off; in this
/// module, in `message_fields`, `unknown_fields`, `column_names` or `json`, or in `aludel_text::thinking`. What a cache holds was read by the rules of its day.
pub const READER: u32 = 5;

/// How data files are read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Which column is which part; with `None`, by the columns' usual names.
    pub columns: Option<ColumnMap>,
    /// Skip broken rows and count them, rather than stop at the first.
    pub skip_bad_rows: bool,
    /// Maximum bytes of one row; a longer one is a broken row.
    pub max_row_bytes: usize,
    /// What tags at the beginning of answers contain, by the tags' names, where the names alone do not decide it.
    pub answer_tags: BTreeMap<String, AnswerTag>,
    /// The column whose text only a teacher sees.
    pub context_column: Option<String>,
}

/// What tags at the beginning of an answer contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnswerTag {
    /// Reasoning.
    Reasoning,
    /// A part of the answer, including the tags.
    Text,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions {
            columns: None,
            skip_bad_rows: false,
            max_row_bytes: 64 << 20,
            answer_tags: BTreeMap::new(),
            context_column: None,
        }
    }
}

/// Opens data files for reading, in the order given.
///
/// All files are opened and checked now, so that a missing or unreadable one is reported before the first row is read.
///
/// # Errors
/// No file named, an unreadable file or one of another kind, or column names that do not go together.
pub fn open(paths: &[PathBuf], options: &ReadOptions) -> Result<Records, Error> {
    if let Some(columns) = &options.columns {
        columns.validate()?;
    }
    if paths.is_empty() {
        return Err(Error::NoFiles);
    }
    let mut bytes_total = 0;
    for path in paths {
        bytes_total += RawRows::open(path, options.max_row_bytes)?.file_bytes();
    }
    let files = paths.iter().map(|path| Arc::from(path.as_path())).collect();
    Ok(Records { files, options: options.clone(), bytes_total, ..Records::default() })
}

/// What was read so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows that became records.
    pub rows: u64,
    /// Of these, rows whose model reasoned, according to the row, without any of the reasoning.
    #[serde(default)]
    pub without_reasoning: u64,
    /// Skipped rows by reason, in the order in which the reasons first occurred.
    pub bad: Vec<BadRows>,
    /// Rows excluded by their own marks, by mark.
    #[serde(default)]
    pub set_aside: Vec<MarkedRows>,
    /// Rows that became records and contain end-of-turn tokens as plain text, by the first token of each.
    #[serde(default)]
    pub turn_marks: Vec<MarkedRows>,
    /// Rows that a column gives another weight in training than 1, by column.
    #[serde(default)]
    pub weighted: Vec<MarkedRows>,
    /// Rows that became records after tokens at the ends of their answers were removed.
    #[serde(default)]
    pub end_marks_removed: u64,
    /// Columns that are not empty and not read, in the order of their first occurrence.
    #[serde(default)]
    pub columns_not_used: Vec<String>,
    /// Columns that are read for another purpose than the text, in all rows or in some.
    #[serde(default)]
    pub columns_used: ColumnsUsed,
}

/// Rows with one mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkedRows {
    /// The mark.
    pub mark: String,
    /// How many rows.
    pub rows: u64,
    /// The file of the first of them, as it is displayed.
    pub first_file: String,
    /// Its line.
    pub first_line: u64,
}

impl Counts {
    /// Rows that were skipped for any reason.
    pub fn bad_rows(&self) -> u64 {
        self.bad.iter().map(|bad| bad.rows).sum()
    }

    pub(crate) fn add_bad(&mut self, kind: ProblemKind, file: &Path, line: u64, reason: String) {
        BadRows::add(&mut self.bad, kind, file, line, reason);
    }

    /// Rows that were excluded by their own marks.
    pub fn set_aside_rows(&self) -> u64 {
        self.set_aside.iter().map(|marked| marked.rows).sum()
    }

    /// The rows excluded by their own marks, in a line.
    pub fn set_aside_told(&self) -> Option<String> {
        marked_told("rows left out that are marked as not to be used", &self.set_aside)
    }

    /// The rows that contain end-of-turn tokens, in a line.
    pub fn turn_marks_told(&self) -> Option<String> {
        marked_told("rows with chat-template tokens in their text, trained as plain text", &self.turn_marks)
    }

    /// What rows a column gives another weight, in a line.
    pub fn weighted_told(&self) -> Option<String> {
        let what = "rows with a loss weight other than 1 (rename the column if it is no loss weight)";
        marked_told(what, &self.weighted)
    }

    /// The number of rows from which tokens at the ends of answers were removed, in a line.
    pub fn end_marks_told(&self) -> Option<String> {
        let rows = self.end_marks_removed;
        (rows > 0)
            .then(|| format!("rows whose answers ended with a mark such as <|im_end|>, which was taken off: {rows}"))
    }

    /// Counts a row that was read.
    fn add_row(&mut self, row: &Row) {
        if row.content.is_err() || row.called_wrong.is_some() {
            return;
        }
        self.rows += 1;
        self.without_reasoning += u64::from(row.hides_reasoning);
        self.end_marks_removed += u64::from(row.ended_by_mark);
        if let Some(mark) = &row.turn_mark {
            add_marked(&mut self.turn_marks, mark, &row.provenance);
        }
        if let Some(column) = &row.weighted_by {
            add_marked(&mut self.weighted, column, &row.provenance);
        }
        unused_columns::add(&mut self.columns_not_used, &mut self.columns_used, &row.columns, is_for_verdicts);
    }

    /// The error for data without a usable row.
    pub(crate) fn nothing_left(&self) -> Option<Error> {
        if self.rows == 0
            && self.bad.is_empty()
            && let Some(first) = self.set_aside.first()
        {
            return Some(Error::NoUsableRows {
                rows: self.set_aside_rows(),
                alike: first.rows,
                path: PathBuf::from(&first.first_file),
                line: first.first_line,
                reason: format!("the row is marked as not to be used ({})", first.mark),
            });
        }
        let most = *BadRows::by_rows(&self.bad).first().filter(|_| self.rows == 0)?;
        Some(Error::NoUsableRows {
            rows: self.bad_rows() + self.set_aside_rows(),
            alike: most.rows,
            path: PathBuf::from(&most.first_file),
            line: most.first_line,
            reason: most.first_reason.clone(),
        })
    }
}

/// Maximum number of distinct marks, since their values may be anything; further ones are counted together.
const MARKS: usize = 20;
const OTHER_MARKS: &str = "other marks";

fn add_marked(marked: &mut Vec<MarkedRows>, mark: &str, place: &Provenance) {
    let of = |marked: &[MarkedRows], mark: &str| marked.iter().position(|known| known.mark == mark);
    let known = of(marked, mark);
    let mark = if known.is_none() && marked.len() >= MARKS { OTHER_MARKS } else { mark };
    match known.or_else(|| of(marked, mark)) {
        Some(known) => marked[known].rows += 1,
        None => {
            let first_file = place.file.display().to_string();
            marked.push(MarkedRows { mark: mark.to_owned(), rows: 1, first_file, first_line: place.line });
        }
    }
}

fn marked_told(what: &str, marked: &[MarkedRows]) -> Option<String> {
    const TOLD: usize = 5;
    let first = marked.first()?;
    let rows: u64 = marked.iter().map(|marked| marked.rows).sum();
    let kinds: Vec<String> =
        marked.iter().take(TOLD).map(|marked| format!("{}: {}", marked.mark, marked.rows)).collect();
    let more = if marked.len() > TOLD { ", …" } else { "" };
    Some(format!(
        "{what}: {rows} ({}{more}); the first is {}, line {}",
        kinds.join(", "),
        first.first_file,
        first.first_line
    ))
}

/// A row's columns, and its file and line.
pub type PlacedColumns = (Columns, Provenance);

/// The records of a list of data files, in order. After an error it ends.
#[derive(Default)]
pub struct Records {
    files: Vec<Arc<Path>>,
    options: ReadOptions,
    opened_files: usize,
    current: Option<CurrentFile>,
    counts: Counts,
    /// Separate counts for the files before an index and for the rest, if requested.
    divided: Option<(u32, [Counts; 2])>,
    /// Bytes of the files that were read completely.
    bytes_before: u64,
    bytes_total: u64,
    named_columns: NamedColumns,
    ended: bool,
}

struct CurrentFile {
    path: Arc<Path>,
    index: u32,
    rows: RawRows,
    has_rows: bool,
}

/// Which of the optional columns of `data.columns` occurred. A single row may lack them; if all do, the name is wrong, and training
/// would continue without them unnoticed.
#[derive(Default)]
struct NamedColumns {
    reasoning: bool,
    system: bool,
}

impl Records {
    /// Counts so far; complete once the iterator has ended.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Counts the files before an index and the rest separately as well; to be called before the first row is read.
    pub fn divide_counts(&mut self, at: usize) {
        self.divided = Some((u32::try_from(at).unwrap_or(u32::MAX), Default::default()));
    }

    /// Counts so far of the files before that index, and of the rest.
    pub fn divided_counts(&self) -> Option<&[Counts; 2]> {
        self.divided.as_ref().map(|(_, parts)| parts)
    }

    fn count(&mut self, place: &Provenance, add: impl Fn(&mut Counts)) {
        add(&mut self.counts);
        if let Some((at, parts)) = &mut self.divided {
            add(&mut parts[usize::from(place.file_index >= *at)]);
        }
    }

    /// Bytes of the files read so far, one buffer ahead of the rows.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_before + self.current.as_ref().map_or(0, |current| current.rows.bytes_read())
    }

    /// Total bytes of the files.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// Whether broken rows are skipped.
    pub(crate) fn skips_bad_rows(&self) -> bool {
        self.options.skip_bad_rows
    }

    fn next_record(&mut self) -> Result<Option<Record>, Error> {
        while let Some(row) = self.next_row()? {
            if let (Ok(_), Some(mark)) = (&row.content, &row.called_wrong) {
                self.count(&row.provenance, |counts| add_marked(&mut counts.set_aside, mark, &row.provenance));
                continue;
            }
            match row.content {
                Ok(content) => {
                    let flaw = flaw(&content, &row.columns);
                    let (weight, context) = (row.weight, row.context);
                    return Ok(Some(Record { weight, flaw, context, ..Record::new(content, row.provenance) }));
                }
                Err(unusable) if unusable.kind == ProblemKind::SetAside => {
                    let (mark, place) = (unusable.reason, row.provenance);
                    self.count(&place, |counts| add_marked(&mut counts.set_aside, &mark, &place));
                }
                Err(unusable) if self.options.skip_bad_rows => self.leave_out(&row.provenance, unusable),
                Err(unusable) => return Err(unusable.into_error(&row.provenance)),
            }
        }
        self.finish().map(|()| None)
    }

    /// The next row with all its columns, usable or not; `None` at the end of the last file. Unlike the iterator, it neither ends
    /// at an unusable row nor counts it: that is left to the caller.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no row.
    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        let Some((raw, provenance)) = self.next_raw()? else { return Ok(None) };
        let row = self.row_of(raw, provenance);
        self.count(&row.provenance, |counts| counts.add_row(&row));
        Ok(Some(row))
    }

    /// The next row as its columns alone, whatever their names: for files that are not traces.
    ///
    /// # Errors
    /// A file that cannot be read or holds no row, and a row that is no JSON object.
    pub fn next_columns(&mut self) -> Result<Option<PlacedColumns>, Error> {
        let Some((raw, provenance)) = self.next_raw()? else { return Ok(None) };
        let columns = raw.bytes.and_then(|bytes| parse(&bytes));
        let columns = columns.map_err(|problem| Unusable::from(problem).into_error(&provenance))?;
        Ok(Some((columns, provenance)))
    }

    /// The next row as it is in its file, and its place.
    fn next_raw(&mut self) -> Result<Option<(RawRow, Provenance)>, Error> {
        loop {
            let Some(current) = &mut self.current else {
                match self.open_next()? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            let raw = current.rows.next_row().map_err(|reason| current.rows.read_error(&current.path, reason))?;
            let Some(raw) = raw else {
                if !current.has_rows {
                    return Err(Error::EmptyFile { path: current.path.to_path_buf() });
                }
                self.bytes_before += current.rows.file_bytes();
                self.current = None;
                continue;
            };
            current.has_rows = true;
            let provenance = Provenance { file: Arc::clone(&current.path), file_index: current.index, line: raw.line };
            return Ok(Some((raw, provenance)));
        }
    }

    /// Counts a skipped row.
    fn leave_out(&mut self, place: &Provenance, row: Unusable) {
        self.count(place, |counts| counts.add_bad(row.kind, &place.file, place.line, row.reason.clone()));
    }

    fn open_next(&mut self) -> Result<bool, Error> {
        let Some(path) = self.files.get(self.opened_files) else { return Ok(false) };
        let rows = RawRows::open(path, self.options.max_row_bytes)?;
        let index = self.opened_files as u32;
        self.current = Some(CurrentFile { path: Arc::clone(path), index, rows, has_rows: false });
        self.opened_files += 1;
        Ok(true)
    }

    /// The content of a row, and the columns that are not part of it.
    fn row_of(&mut self, raw: RawRow, provenance: Provenance) -> Row {
        let columns = match raw.bytes.and_then(|bytes| parse(&bytes)) {
            Ok(columns) => columns,
            Err(problem) => {
                return Row::unusable(problem.into(), Columns::default(), provenance);
            }
        };
        if let Some(map) = &self.options.columns {
            let has = |name: &Option<String>| name.as_ref().is_some_and(|name| columns.contains(name));
            self.named_columns.reasoning |= has(&map.reasoning);
            self.named_columns.system |= has(&map.system);
        }
        read_columns(columns, &self.options, provenance)
    }

    /// Checks that need all of the data.
    fn finish(&self) -> Result<(), Error> {
        if let Some(error) = self.counts.nothing_left() {
            return Err(error);
        }
        let columns = self.options.columns.clone().unwrap_or_default();
        for (part, name, seen) in [
            ("reasoning", columns.reasoning, self.named_columns.reasoning),
            ("system", columns.system, self.named_columns.system),
        ] {
            if let (Some(name), false) = (name, seen) {
                let reason = format!(
                    "`{part}` is column `{name}`, which none of the {} rows has; correct the name",
                    aludel_files::grouped(self.counts.rows)
                );
                return Err(Error::ColumnMap { reason });
            }
        }
        Ok(())
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Result<Record, Error>> {
        if self.ended {
            return None;
        }
        let next = self.next_record().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The messages of a prompt column: text is one user message, a list of messages is read as it is.
///
/// # Errors
/// What is wrong with the column.
pub fn prompt_messages(name: &str, value: Json<'_>) -> Result<Vec<Message>, String> {
    messages::prompt_from((name, value)).map_err(|problem| problem.detail)
}
