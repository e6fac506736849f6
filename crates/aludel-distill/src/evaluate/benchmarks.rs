//! Benchmarks by name: their location on the Hub, their columns, the text around a question and how answers are compared. The caller
//! downloads them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aludel_data::dataset::{self, Columns as RowColumns, Provenance, ReadOptions, Records};
use aludel_text::Message;
use aludel_verify::Verifier;

use super::problem_row::{Row, first, listed_choices, text_of};
use crate::error::Result;

/// The instruction after a question of mathematics, as in DeepSeek-R1's evaluation.
const STEP_BY_STEP: &str = "\nPlease reason step by step, and put your final answer within \\boxed{}.";

/// A known benchmark.
#[derive(Debug, PartialEq, Eq)]
pub struct Benchmark {
    /// What it is called here.
    pub name: &'static str,
    /// Its place on the Hub.
    pub hub: &'static str,
    columns: Columns,
}

#[derive(Debug, PartialEq, Eq)]
enum Columns {
    /// A question and an answer; GSM8K's is after `####` in a worked solution.
    Maths { question: &'static [&'static str], answer: &'static [&'static str] },
    /// A question, the right answer and three wrong ones.
    Gpqa,
}

const BENCHMARKS: [Benchmark; 4] = [
    Benchmark {
        name: "gsm8k",
        hub: "hf:openai/gsm8k:main/test",
        columns: Columns::Maths { question: &["question"], answer: &["answer"] },
    },
    Benchmark {
        name: "math500",
        hub: "hf:HuggingFaceH4/MATH-500:test",
        columns: Columns::Maths { question: &["problem"], answer: &["answer"] },
    },
    Benchmark {
        name: "aime24",
        hub: "hf:HuggingFaceH4/aime_2024:train",
        columns: Columns::Maths { question: &["problem", "Problem"], answer: &["answer", "Answer"] },
    },
    Benchmark { name: "gpqa-diamond", hub: "hf:Idavidrein/gpqa:gpqa_diamond.csv", columns: Columns::Gpqa },
];

/// The benchmark of a name.
pub fn find(name: &str) -> Option<&'static Benchmark> {
    BENCHMARKS.iter().find(|benchmark| benchmark.name == name)
}

/// All names.
pub fn names() -> Vec<&'static str> {
    BENCHMARKS.iter().map(|benchmark| benchmark.name).collect()
}

impl Benchmark {
    pub(super) fn row(&self, columns: &RowColumns) -> Result<Row, String> {
        let column = |names: &'static [&'static str]| {
            let (_, value) = first(columns, names).ok_or_else(|| {
                let found: Vec<&str> = columns.names().collect();
                let (name, wanted) = (self.name, names[0]);
                format!("a row of {name} has a column `{wanted}`, and this one has {}", found.join(", "))
            })?;
            text_of(value)
        };
        let id = first(columns, &["unique_id", "id", "ID", "Record ID"]).map(|(_, id)| text_of(id)).transpose()?;
        match self.columns {
            Columns::Maths { question, answer } => {
                let (question, answer) = (column(question)?, column(answer)?);
                let gold = answer.rsplit_once("####").map_or(answer.as_str(), |(_, gold)| gold).trim().to_owned();
                let messages = vec![Message::user(format!("{question}{STEP_BY_STEP}"))];
                Ok(Row { id, question, messages, gold, verifier: Verifier::maths() })
            }
            Columns::Gpqa => {
                let question = column(&["Question"])?;
                let mut choices = Vec::new();
                for name in
                    [&["Correct Answer"], &["Incorrect Answer 1"], &["Incorrect Answer 2"], &["Incorrect Answer 3"]]
                {
                    choices.push(column(name)?.trim().to_owned());
                }
                let right = choices[0].clone();
                // an order of their own for each question, the same each time
                choices.sort_by_key(|choice| *blake3::hash(format!("{question}\n{choice}").as_bytes()).as_bytes());
                let gold = choices.iter().zip("ABCD".chars()).find(|(choice, _)| **choice == right);
                let gold = gold.map(|(_, letter)| letter.to_string()).unwrap_or_default();
                let messages = vec![Message::user(format!("{}{}", question.trim(), listed_choices(&choices)))];
                Ok(Row { id, question, messages, gold, verifier: Verifier::Choice { letters: "ABCD".to_owned() } })
            }
        }
    }
}

/// Rows of data files, or of a table in CSV.
pub(super) enum Rows {
    Records(Box<Records>),
    Table { path: Arc<Path>, rows: std::vec::IntoIter<(u64, RowColumns)> },
}

/// Opens files as they are named: `.csv` is a table.
pub(super) fn rows(files: &[PathBuf], options: &ReadOptions) -> Result<Rows> {
    match files {
        [file] if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) => {
            let bytes = aludel_files::read(file, aludel_files::LARGE)
                .map_err(|reason| aludel_data::Error::Read { path: file.to_owned(), reason })?;
            let rows = csv(&String::from_utf8_lossy(&bytes)).into_iter();
            Ok(Rows::Table { path: Arc::from(file.as_path()), rows })
        }
        _ => Ok(Rows::Records(Box::new(dataset::open(files, options)?))),
    }
}

impl Rows {
    pub(super) fn next(&mut self) -> Result<Option<(RowColumns, Provenance)>> {
        match self {
            Rows::Records(records) => Ok(records.next_columns()?),
            Rows::Table { path, rows } => Ok(rows
                .next()
                .map(|(line, columns)| (columns, Provenance { file: Arc::clone(path), file_index: 0, line }))),
        }
    }
}

/// The rows of a table (RFC 4180): the first line names the columns, quoted fields may hold commas and line breaks.
fn csv(text: &str) -> Vec<(u64, RowColumns)> {
    let (mut records, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut line, mut start) = (false, 1, 1);
    let mut letters = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(letter) = letters.next() {
        line += u64::from(letter == '\n');
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                fields.push(std::mem::take(&mut field).trim_end_matches('\r').to_owned());
                records.push((start, std::mem::take(&mut fields)));
                start = line;
            }
            _ => field.push(letter),
        }
    }
    if !(field.is_empty() && fields.is_empty()) {
        fields.push(field);
        records.push((start, fields));
    }
    let mut records = records.into_iter();
    let Some((_, names)) = records.next() else { return Vec::new() };
    let row = |fields: Vec<String>| {
        let mut columns = RowColumns::default();
        names.iter().zip(&fields).for_each(|(name, field)| columns.set(name, field));
        columns
    };
    records.filter(|(_, fields)| fields.len() > 1).map(|(line, fields)| (line, row(fields))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_with_quotes_and_line_breaks() {
        let rows = csv("a,b\r\n1,\"x, \"\"y\"\"\nz\"\r\n2,\r\n");
        let text = |row: &RowColumns, name: &str| text_of(row.get(name).unwrap()).unwrap();
        let texts: Vec<_> = rows.iter().map(|(line, row)| (*line, text(row, "a"), text(row, "b"))).collect();
        let wanted = [(2, "1", "x, \"y\"\nz"), (4, "2", "")];
        assert_eq!(texts, wanted.map(|(line, a, b)| (line, a.to_owned(), b.to_owned())));
    }
}
