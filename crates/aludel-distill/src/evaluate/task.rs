//! Tasks: problems with reference answers, from a user's file, a benchmark or a built-in generator. Answers and scores are in the other
//! files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aludel_curate::right_answer;
use aludel_data::column_names::RIGHT_ANSWERS;
use aludel_data::dataset::{self, ColumnMap, Columns, Json, Kind, Provenance, ReadOptions};
use aludel_files::{counted, grouped};
use aludel_text::Message;
use aludel_verify::tasks::{ProblemSplit, families, family, generate};
use aludel_verify::{Checker, Options, Verifier};
use serde_json::{Value, json};

use super::benchmarks::{self, Benchmark};
use super::problem_row::{LETTERS, Row, first, listed_choices, text_of};
use crate::error::{Error, Result};
use crate::settings::nearest;

/// Problems of a generator, where no number is given.
const GENERATED: usize = 100;
/// Generators give the same problems whatever the seed of the samples is, so that two evaluations can be compared.
const GENERATOR_SEED: u64 = 0;

/// Problems that are scored together.
pub struct Task {
    /// Unique among the tasks of an evaluation.
    pub name: String,
    /// What is asked.
    pub problems: Vec<Problem>,
    /// Rows of curated data that ask just what an earlier row asks: other answers to one prompt, which is asked once.
    pub repeated: usize,
    /// The ways in which the problems' answers are compared.
    verifiers: Vec<(Verifier, Checker)>,
}

/// A question and its right answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Unique in its task.
    pub id: String,
    /// The question as the file has it.
    pub question: String,
    /// What the model is asked.
    pub messages: Vec<Message>,
    /// The right answer.
    pub gold: String,
    /// The options that the question lists, if it does.
    pub options: Option<Options>,
    /// Which of the task's verifiers decides.
    verifier: usize,
}

/// Where a task comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Files of questions and answers.
    Files(Vec<PathBuf>),
    /// Files with a benchmark's own columns.
    Benchmark(&'static Benchmark, Vec<PathBuf>),
    /// A built-in generator, its test side.
    Generator(&'static str),
}

/// What `--tasks` names: a benchmark, a generator, a file, or `NAME=FILE`. Names on the Hub are not resolved here.
///
/// # Errors
/// [`Error::Task`] lists what is known.
pub fn named(text: &str) -> Result<(String, Source)> {
    if let Some((name, file)) = text.split_once('=').filter(|(name, _)| is_name(name)) {
        let files = vec![PathBuf::from(file)];
        let source = benchmarks::find(name)
            .map_or_else(|| Source::Files(files.clone()), |found| Source::Benchmark(found, files.clone()));
        return Ok((name.to_owned(), source));
    }
    if let Some(benchmark) = benchmarks::find(text) {
        return Ok((text.to_owned(), Source::Benchmark(benchmark, vec![PathBuf::from(benchmark.hub)])));
    }
    if let Some(family) = family(text) {
        return Ok((text.to_owned(), Source::Generator(family.name())));
    }
    let path = Path::new(text);
    // A misspelt name and a missing file can be distinguished only by their form.
    let is_named = is_name(text) || text.split_once(':').is_some_and(|(name, _)| is_name(name) && near(name).is_some());
    if !aludel_files::is_there(path) && is_named {
        let near = near(text).map(|near| near + " ").unwrap_or_default();
        return Err(Error::Task { task: text.to_owned(), reason: format!("there is no such task; {near}{}", known()) });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split('.').next().unwrap_or_default().to_owned();
    Ok((name, Source::Files(vec![path.to_owned()])))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
}

/// What may be meant by the name of a task that there is not. A benchmark's split and a built-in task's difficulty are no part of a name.
fn near(text: &str) -> Option<String> {
    let (name, part) = text.split_once([':', '@']).map_or((text, None), |(name, part)| (name, Some(part)));
    let generators = families().into_iter().map(|family| family.name());
    let names: Vec<String> = benchmarks::names().into_iter().chain(generators).map(str::to_owned).collect();
    let found = nearest(name, &names)?;
    Some(match (part, family(found)) {
        (Some(_), Some(_)) => format!(
            "did you mean {found}? It has easy problems: `aludel tasks make {found} --split test --difficulty hard --count 100 --output FILE` \
             writes harder ones, for --tasks FILE. Or"
        ),
        _ => format!("did you mean {found}?"),
    })
}

fn known() -> String {
    let generators: Vec<&str> = families().iter().map(|family| family.name()).collect();
    format!(
        "give a JSONL or Parquet file, a benchmark ({}) or a built-in task ({})",
        benchmarks::names().join(", "),
        generators.join(", ")
    )
}

impl Task {
    /// Reads or invents the problems; at most `limit`, from the first on. `verifier` takes the place of the file's own.
    ///
    /// # Errors
    /// Files that cannot be read; rows without a question or an answer; no problem at all.
    pub fn load(name: &str, source: &Source, limit: Option<usize>, verifier: Option<&Verifier>) -> Result<Task> {
        Task::load_columns(name, source, limit, verifier, None)
    }

    /// The same, where `data.columns` may say which columns of a file hold the question.
    ///
    /// # Errors
    /// As [`Task::load`].
    pub fn load_columns(
        name: &str,
        source: &Source,
        limit: Option<usize>,
        verifier: Option<&Verifier>,
        columns: Option<&ColumnMap>,
    ) -> Result<Task> {
        let mut task = Task { name: name.to_owned(), problems: Vec::new(), repeated: 0, verifiers: Vec::new() };
        let limit_or_all = limit.unwrap_or(usize::MAX);
        match source {
            Source::Files(files) => task.read(files, limit_or_all, verifier, |row| file_row(row, verifier, columns))?,
            Source::Benchmark(benchmark, files) => {
                task.read(files, limit_or_all, verifier, |row| benchmark.row(row).map(Some))?
            }
            Source::Generator(family) => task.invent(family, limit.unwrap_or(GENERATED), verifier)?,
        }
        match task.problems.is_empty() {
            true => Err(task.refuse("it has no problem; give a file with rows, and a --limit of 1 or more".to_owned())),
            false => Ok(task),
        }
    }

    /// The verifier of a problem.
    pub fn checker(&self, problem: usize) -> &Checker {
        &self.verifiers[self.problems[problem].verifier].1
    }

    /// A hash of problems, prompts and verifiers, 16 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let problems = self.problems.iter().map(|problem| {
            let Problem { id, question: _, options: _, messages, gold, verifier } = problem;
            let messages: Vec<_> = messages.iter().map(|m| (m.role.as_str(), m.content.as_str())).collect();
            (id, messages, gold, known_by(&self.verifiers[*verifier].0))
        });
        let text = serde_json::to_vec(&problems.collect::<Vec<_>>()).unwrap_or_default();
        blake3::hash(&text).to_hex()[..16].to_owned()
    }

    fn read(
        &mut self,
        files: &[PathBuf],
        limit: usize,
        verifier: Option<&Verifier>,
        parse: impl Fn(&Columns) -> Result<Option<Row>, String>,
    ) -> Result<()> {
        let mut rows = benchmarks::rows(files, &ReadOptions::default())?;
        let mut seen = HashMap::new();
        let mut prompts = HashMap::new();
        let mut unanswered = MissingAnswers::default();
        while self.problems.len() + unanswered.rows < limit {
            let Some((columns, place)) = rows.next()? else { break };
            let Some(row) = parse(&columns).map_err(|reason| refuse_row(&place, reason))? else {
                unanswered.add(&columns, place);
                continue;
            };
            if let Some((_, prompt)) = first(&columns, &["prompt_id"]) {
                let asked = *prompts.entry(prompt.written().to_owned()).or_insert(self.problems.len());
                if self.problems.get(asked).is_some_and(|problem| self.asks(problem, &row, verifier)) {
                    self.repeated += 1;
                    continue;
                }
            }
            let id = match row.id {
                Some(id) => id,
                None => (self.problems.len() + 1).to_string(),
            };
            self.add(Row { id: Some(unique(id, &mut seen)), ..row }, verifier)
                .map_err(|error| refuse_row(&place, error.to_string()))?;
        }
        unanswered.refuse(self.problems.len() + self.repeated)
    }

    /// Whether a problem asks what a row asks, and takes the same for right.
    fn asks(&self, problem: &Problem, row: &Row, verifier: Option<&Verifier>) -> bool {
        let by = &self.verifiers[problem.verifier].0;
        problem.messages == row.messages && problem.gold == row.gold && by == verifier.unwrap_or(&row.verifier)
    }

    fn invent(&mut self, name: &str, count: usize, verifier: Option<&Verifier>) -> Result<()> {
        let Some(family) = family(name) else { return Ok(()) };
        let mut seen = HashMap::new();
        for problem in generate(family.as_ref(), ProblemSplit::Test, count, GENERATOR_SEED) {
            self.add(
                Row {
                    id: Some(unique(problem.id, &mut seen)),
                    messages: vec![Message::user(problem.question.as_str())],
                    question: problem.question,
                    gold: problem.answer,
                    verifier: problem.verifier,
                },
                verifier,
            )?;
        }
        Ok(())
    }

    fn add(&mut self, row: Row, verifier: Option<&Verifier>) -> Result<()> {
        let verifier = verifier.cloned().unwrap_or(row.verifier);
        let at = match self.verifiers.iter().position(|(other, _)| *other == verifier) {
            Some(at) => at,
            None => {
                let checker = verifier.checker()?;
                self.verifiers.push((verifier, checker));
                self.verifiers.len() - 1
            }
        };
        self.problems.push(Problem {
            id: row.id.unwrap_or_default(),
            question: row.question,
            options: row.messages.last().and_then(|asked| Options::in_question(&asked.content)),
            messages: row.messages,
            gold: row.gold,
            verifier: at,
        });
        Ok(())
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Task { task: self.name.clone(), reason }
    }
}

/// What a verifier is known by in fingerprints: what it is, and its settings by name. One that later versions add joins only where it
/// is not at its default, so that evaluations before them can still be compared.
pub(super) fn known_by(verifier: &Verifier) -> Value {
    match verifier {
        Verifier::Maths { lowest_terms, unit } => {
            let mut known = json!({"kind": "maths"});
            if *lowest_terms {
                known["lowest_terms"] = json!(true);
            }
            if let Some(unit) = unit {
                known["unit"] = json!(unit);
            }
            known
        }
        Verifier::Choice { letters } => json!({"kind": "choice", "letters": letters}),
        Verifier::Exact { ignore_case } => json!({"kind": "exact", "ignore_case": ignore_case}),
        Verifier::Regex { pattern } => json!({"kind": "regex", "pattern": pattern}),
        Verifier::Numeric { absolute, relative } => {
            json!({"kind": "numeric", "absolute": absolute, "relative": relative})
        }
        Verifier::Json {} => json!({"kind": "json"}),
        Verifier::Command { argv, timeout_ms } => json!({"kind": "command", "argv": argv, "timeout_ms": timeout_ms}),
    }
}

fn unique(id: String, seen: &mut HashMap<String, usize>) -> String {
    let times = seen.entry(id.clone()).or_default();
    *times += 1;
    if *times == 1 { id } else { format!("{id}#{times}") }
}

fn refuse_row(place: &Provenance, reason: String) -> Error {
    Error::TaskRow { path: place.file.to_path_buf(), line: place.line, reason }
}

/// The rows of a file without a reference answer: all are counted before the file is refused, so that the error has their number.
#[derive(Default)]
struct MissingAnswers {
    rows: usize,
    first: Option<(Provenance, String)>,
}

impl MissingAnswers {
    fn add(&mut self, columns: &Columns, place: Provenance) {
        self.rows += 1;
        self.first.get_or_insert_with(|| (place, listed(columns)));
    }

    fn refuse(self, answered: usize) -> Result<()> {
        let Some((place, columns)) = self.first else { return Ok(()) };
        let (rows, total) = (self.rows, self.rows + answered);
        let (have, of) = (if rows == 1 { "has" } else { "have" }, counted(total as u64, "row", "rows"));
        let looked_for = RIGHT_ANSWERS.map(|name| format!("`{name}`")).join(", ");
        let reason = format!(
            "{} of {of} {have} no reference answer, and this is the first: none of the columns {looked_for} holds one, and the row has {columns}; \
             put the answer in a column `answer` or `gold`, or leave such rows out (`aludel eval --loss --data FILE` needs none)",
            grouped(rows)
        );
        Err(refuse_row(&place, reason))
    }
}

/// The names of a row's columns.
fn listed(columns: &Columns) -> String {
    columns.names().map(|name| format!("`{}`", name.escape_debug())).collect::<Vec<_>>().join(", ")
}

/// What a row asks: of any shape that data files have, or in a column `problem`. Plain text asks nothing: what is to be answered cannot be
/// told from the answer.
fn question_of<'a>(columns: &'a Columns, map: Option<&ColumnMap>) -> Result<dataset::QuestionColumns<'a>, String> {
    let found = dataset::question_of(columns, map)?.filter(|(_, used)| map.is_some() || *used != ["text"]);
    match (found, first(columns, &["problem"])) {
        (Some(found), _) => Ok(found),
        (None, Some((name, problem))) => {
            let mut messages = dataset::prompt_messages(name, problem)?;
            let system = first(columns, &["system"]);
            if let Some((_, system)) = system {
                messages.insert(0, Message::system(text_of(system)?));
            }
            Ok((messages, [Some(name), system.map(|(name, _)| name)].into_iter().flatten().collect()))
        }
        (None, None) => Err(format!(
            "the row asks nothing: name the question's column `question` or `prompt`, or give `messages`; it has {}",
            listed(columns)
        )),
    }
}

/// A row of a user's own file, or of curated data: a question in any shape, the right answer, and maybe `choices`, `verifier` and `id`.
/// `instead` is compared by in place of what the row says. `None` where there is no right answer.
fn file_row(columns: &Columns, instead: Option<&Verifier>, map: Option<&ColumnMap>) -> Result<Option<Row>, String> {
    let (mut messages, mut used) = question_of(columns, map)?;
    // A column that is part of what is asked is no answer to it.
    let question = messages.last().map(|message| message.content.clone()).unwrap_or_default();
    let Some((_, answer)) = right_answer(columns, &RIGHT_ANSWERS, &used, Some(&question))? else { return Ok(None) };
    let mut gold = text_of(answer)?;
    let mut verifier = Verifier::maths();
    if let Some((name, choices)) = first(columns, &["choices", "options"]) {
        let choices = choice_texts(name, choices)?;
        used.push(name);
        gold = letter_of(&gold, answer, &choices)?.to_string();
        verifier = Verifier::Choice { letters: LETTERS[..choices.len()].to_owned() };
        if let Some(last) = messages.last_mut() {
            last.content.push_str(&listed_choices(&choices));
        }
    }
    if let Some((_, written)) = first(columns, &["verifier"]) {
        verifier = verifier_of(written)?;
    }
    if matches!(answer.kind(), Kind::List | Kind::Object) && !instead.unwrap_or(&verifier).compares_structures() {
        let kind = answer.kind().named();
        return Err(format!(
            "the right answer is {kind}, and no answer equals one; give a text or a number, or `verifier` = \"json\" if {kind} is wanted"
        ));
    }
    if let Some(name) = dataset::left_of_question(columns, &used).filter(|_| map.is_none()) {
        return Err(format!(
            "the row has `{name}`, and it would be left out of the question; write it into the question"
        ));
    }
    let id = first(columns, &["id", "prompt_id"]).map(|(_, id)| text_of(id)).transpose()?;
    Ok(Some(Row { id, question, messages, gold, verifier }))
}

/// `["one", "two"]`, or `{"text": [...]}`.
fn choice_texts(name: &str, value: Json<'_>) -> Result<Vec<String>, String> {
    let list = value.get("text").unwrap_or(value).items();
    let choices = list.into_iter().map(text_of).collect::<Result<Vec<String>, String>>()?;
    match choices.len() {
        2..=26 => Ok(choices),
        count => Err(format!("`{}` holds {count} of them; a choice is a list of 2 to 26 texts", name.escape_debug())),
    }
}

/// The letter of the right choice: given as a letter, as its number from 0, or as its text.
fn letter_of(gold: &str, answer: Json<'_>, choices: &[String]) -> Result<char, String> {
    let gold = gold.trim();
    let by_text = choices.iter().position(|choice| choice.trim() == gold);
    let by_letter = || LETTERS[..choices.len()].find(gold.to_ascii_uppercase().as_str()).filter(|_| gold.len() == 1);
    let number = if answer.kind() == Kind::Number { answer.written().parse::<usize>().ok() } else { None };
    let by_number = || number.filter(|&number| number < choices.len());
    let found = by_text.or_else(by_letter).or_else(by_number);
    found.and_then(|at| LETTERS.chars().nth(at)).ok_or_else(|| {
        format!(
            "the answer {gold:?} is none of the choices; give the letter, the number from 0, or the text of one of them"
        )
    })
}

/// A verifier by its kind, or with its settings. A file is data: it cannot name a command.
fn verifier_of(written: Json<'_>) -> Result<Verifier, String> {
    let written = written.value().map_err(|error| format!("`verifier` cannot be read ({error})"))?;
    Verifier::of_data(written)
}
