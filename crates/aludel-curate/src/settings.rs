//! `[curate]`: which traces become training rows. The filters are documented in their files; here are their switches and bounds, and the
//! verifier's table is converted for the verifiers.

use crate::{Error, Languages, TokenBounds};
use aludel_data::column_names::RIGHT_ANSWERS;
use aludel_data::split::TestSize;
use aludel_settings::{Checker, OneOrMany, Problem, one_or_many};
use aludel_verify::Verifier;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::{Table, Value};

/// Which traces become training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CurateSettings {
    /// Files of traces, of any shape that data may have. `data.columns` and `data.skip_bad_rows` hold for them, too.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<PathBuf>")]
    pub input: Vec<PathBuf>,
    /// The folder that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_dir: Option<PathBuf>,
    /// Drop rows that were cut off, have no answer, leave their reasoning open, or spell a control token, and rows that a label (KTO) or a
    /// loss weight of 0 excludes from training.
    pub complete: bool,
    /// Drop rows that loop, or are no text.
    pub loops: bool,
    /// Keep rows in these languages only: ISO 639-3 codes such as "eng", or "prompt" for that of the row's prompt. Empty keeps
    /// all.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub languages: Vec<String>,
    /// Drop rows of fewer of the student's tokens, prompt and template included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<usize>,
    /// Drop rows of more of the student's tokens, prompt and template included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_length: Option<usize>,
    /// Files of evaluations; rows that ask what they ask are dropped.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<PathBuf>")]
    pub decontaminate: Vec<PathBuf>,
    /// Words in an n-gram by which prompts are compared with those of evaluations.
    #[schemars(range(min = 1, max = 100))]
    pub decontaminate_ngram: usize,
    /// A row is dropped if its prompt holds this share of the n-grams of an evaluation's prompt.
    pub decontaminate_overlap: f64,
    /// How answers are handled whose right answer is known.
    pub verify: VerifyMode,
    /// How answers are compared: "maths", "choice", "exact", "regex", "numeric", "json" or "command", alone or as the kind in a
    /// table with its settings, such as `{ kind = "numeric", relative = 0.01 }`. Where it is "maths", a row's own column `verifier`
    /// comes first.
    pub verifier: VerifierTable,
    /// Columns that may hold the right answer, in any spelling; the first that a row has counts.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub gold: Vec<String>,
    /// Drop rows without a right answer to compare theirs with.
    pub require_verified: bool,
    /// Which correct answers to keep per prompt: "all", "shortest", or a number.
    pub keep: Keep,
    /// Drop rows that say the same as an earlier one.
    pub duplicates: bool,
    /// Drop rows that say nearly the same as an earlier one.
    pub near_duplicates: bool,
    /// The share of word n-grams in common (Jaccard similarity of prompt and reasoning) from which on they do.
    pub near_duplicate_threshold: f64,
    /// Words in such an n-gram.
    #[schemars(range(min = 1, max = 100))]
    pub near_duplicate_ngram: usize,
    /// Maximum number of rows per prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_per_prompt: Option<u64>,
    /// Weights of the sources in what is kept, for example `{ math = 0.7, code = 0.3 }`; empty keeps all of each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mixture: BTreeMap<String, f64>,
    /// The column that names a row's source; where a row has none, its file's name without its ending is its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_column: Option<String>,
    /// Fraction of rows to hold out for evaluation, or from 1 on their number; all rows of a prompt fall on one side. 0 holds
    /// nothing out.
    pub test_size: f64,
    /// Random seed of the split and of every choice between rows.
    pub seed: u64,
    /// Also write Parquet files.
    pub parquet: bool,
}

/// How answers are handled whose right answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerifyMode {
    /// Wrong ones are dropped, and so are those that could not be compared; the others are labelled.
    #[default]
    Filter,
    /// All are labelled, and none is dropped.
    Label,
    /// They are not looked at.
    Off,
}

/// Which of the right answers to a prompt are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Keep {
    /// By name.
    Named(NamedKeep),
    /// So many, chosen at random.
    Count(#[schemars(range(min = 1))] u64),
}

/// Which of the right answers to a prompt are kept, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NamedKeep {
    /// All of them.
    All,
    /// The shortest, reasoning included.
    Shortest,
}

/// A verifier's table, or only its kind. It is checked with the recipe, by the verifier itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "TextOrTable")]
#[schemars(with = "TextOrTable")]
pub struct VerifierTable(Table);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum TextOrTable {
    Text(String),
    #[schemars(with = "BTreeMap<String, String>")]
    Table(Table),
}

impl From<TextOrTable> for VerifierTable {
    fn from(written: TextOrTable) -> Self {
        match written {
            TextOrTable::Text(kind) => Self(Table::from_iter([("kind".to_owned(), Value::String(kind))])),
            TextOrTable::Table(table) => Self(table),
        }
    }
}

impl VerifierTable {
    fn read(&self) -> Result<Verifier, toml::de::Error> {
        self.0.clone().try_into()
    }
}

impl Default for CurateSettings {
    fn default() -> Self {
        Self {
            input: Vec::new(),
            output_dir: None,
            complete: true,
            loops: true,
            languages: Vec::new(),
            min_length: None,
            max_length: None,
            decontaminate: Vec::new(),
            decontaminate_ngram: 8,
            decontaminate_overlap: 0.5,
            verify: VerifyMode::Filter,
            verifier: TextOrTable::Text("maths".to_owned()).into(),
            gold: RIGHT_ANSWERS.map(str::to_owned).to_vec(),
            require_verified: false,
            keep: Keep::Named(NamedKeep::All),
            duplicates: true,
            near_duplicates: true,
            near_duplicate_threshold: 0.8,
            near_duplicate_ngram: 5,
            max_per_prompt: None,
            mixture: BTreeMap::new(),
            source_column: None,
            test_size: 0.1,
            seed: 42,
            parquet: false,
        }
    }
}

impl CurateSettings {
    /// Whether rows are measured in the student's tokens, so that a student is needed.
    pub fn needs_student(&self) -> bool {
        self.min_length.is_some() || self.max_length.is_some()
    }

    /// How answers are compared.
    ///
    /// # Errors
    /// A table that is no verifier, which a checked recipe does not hold.
    pub fn verifier(&self) -> Result<Verifier, Error> {
        self.verifier.read().map_err(|error| Error::Curate { setting: "verifier", reason: error.message().to_owned() })
    }

    /// The options of a curation on this number of threads (0: one for each core).
    ///
    /// # Errors
    /// What a checked recipe cannot bring about: a verifier, a language or a size that is none.
    pub fn options(&self, threads: usize) -> Result<crate::Options, Error> {
        let verifier = self.verifier()?;
        Ok(crate::Options {
            complete: self.complete,
            loops: self.loops,
            languages: Languages::parse(self.languages.iter().map(String::as_str))?,
            tokens: TokenBounds { least: self.min_length, most: self.max_length },
            evaluations: self.decontaminate.clone(),
            evaluation_ngram: self.decontaminate_ngram,
            evaluation_overlap: self.decontaminate_overlap,
            verify: match self.verify {
                VerifyMode::Filter => crate::Verify::Filter,
                VerifyMode::Label => crate::Verify::Label,
                VerifyMode::Off => crate::Verify::Off,
            },
            verifier,
            gold: self.gold.clone(),
            require_verified: self.require_verified,
            keep: match self.keep {
                Keep::Named(NamedKeep::All) => crate::Keep::All,
                Keep::Named(NamedKeep::Shortest) => crate::Keep::Shortest,
                Keep::Count(count) => crate::Keep::Count(count),
            },
            duplicates: self.duplicates,
            near_duplicates: self.near_duplicates.then_some(self.near_duplicate_threshold),
            near_ngram: self.near_duplicate_ngram,
            max_per_prompt: self.max_per_prompt,
            mixture: self.mixture.clone(),
            source_column: self.source_column.clone(),
            test_size: TestSize::from_number(self.test_size)?,
            seed: self.seed,
            parquet: self.parquet,
            threads,
        })
    }

    /// What curation cannot start without: traces, a folder, and a student where its tokens are counted.
    pub fn missing(&self, has_student: bool) -> Vec<Problem> {
        let missing = |key: &str, reason: &str, mend: &str| Problem::missing(&format!("curate.{key}"), reason, mend);
        let mut problems = Vec::new();
        if self.input.is_empty() {
            let mend = "give one or more files: --input FILE..., or `input` in [curate]";
            problems.push(missing("input", "no traces are named", mend));
        }
        if self.output_dir.is_none() {
            let mend = "give a folder: --output-dir DIR, or `output_dir` in [curate]";
            problems.push(missing("output_dir", "no folder is named for what is kept", mend));
        }
        if self.needs_student() && !has_student {
            let key = if self.min_length.is_some() { "min_length" } else { "max_length" };
            let mend = "name the student whose tokens are meant: --student PATH, or `model` in [student]";
            problems.push(missing(key, "lengths are counted in a student's tokens, and no student is named", mend));
        }
        problems
    }

    /// Checks the values, and which of them exclude each other.
    pub fn check(&self, check: &mut Checker<'_>) {
        self.check_files(check);
        self.check_verifier(check);
        self.check_numbers(check);
        if let Err(Error::Curate { reason, .. }) = Languages::parse(self.languages.iter().map(String::as_str)) {
            let (reason, mend) = reason.split_once("; ").unwrap_or((reason.as_str(), "name another"));
            check.wrong("languages", &self.languages, reason, mend);
        }
    }

    fn check_files(&self, check: &mut Checker<'_>) {
        for (key, paths) in [("input", &self.input), ("decontaminate", &self.decontaminate)] {
            let are_named = paths.iter().all(|path| !path.as_os_str().is_empty());
            check.that(are_named, key, paths, "an empty path names nothing", "paths of data files");
        }
        check.that(
            self.gold.iter().all(|column| !column.trim().is_empty()),
            "gold",
            &self.gold,
            "a column needs a name",
            "names of columns such as \"answer\"",
        );
    }

    fn check_verifier(&self, check: &mut Checker<'_>) {
        let written = self.verifier.0.to_string().trim_end().replace('\n', ", ");
        let kinds = "give { kind = \"…\" } with maths, choice, exact, regex, numeric, json or command, and the settings of that kind";
        match self.verifier.read() {
            Err(error) => check.wrong("verifier", &written, error.message(), kinds),
            Ok(verifier) => {
                if let Err(aludel_verify::Error::Verifier { setting, reason }) = verifier.checker() {
                    check.wrong("verifier", &written, &format!("{setting}: {reason}"), "fix that setting");
                }
            }
        }
        let chooses = self.keep != Keep::Named(NamedKeep::All);
        check.that(
            self.verify != VerifyMode::Off || !chooses,
            "keep",
            format_args!("{}", serde_json::json!(self.keep)),
            "it chooses between right answers, and curate.verify = \"off\" knows none",
            "\"all\", or a curate.verify of \"filter\" or \"label\"",
        );
        check.that(
            self.verify == VerifyMode::Filter || !self.require_verified,
            "require_verified",
            self.require_verified,
            "it drops rows, which only curate.verify = \"filter\" does",
            "false, or leave curate.verify as it is",
        );
        check.that(
            self.keep != Keep::Count(0),
            "keep",
            format_args!("{}", serde_json::json!(self.keep)),
            "it would keep no right answer",
            "a number of 1 or more",
        );
    }

    fn check_numbers(&self, check: &mut Checker<'_>) {
        let is_share = |share: f64| share > 0.0 && share <= 1.0;
        for (key, share) in [
            ("decontaminate_overlap", self.decontaminate_overlap),
            ("near_duplicate_threshold", self.near_duplicate_threshold),
        ] {
            check.that(is_share(share), key, share, "it is a share of n-grams in common", "a number above 0, up to 1");
        }
        for (key, words) in
            [("decontaminate_ngram", self.decontaminate_ngram), ("near_duplicate_ngram", self.near_duplicate_ngram)]
        {
            check.that(
                (1..=100).contains(&words),
                key,
                words,
                "it is a number of words",
                "a whole number from 1 to 100",
            );
        }
        check.that(
            self.max_per_prompt != Some(0),
            "max_per_prompt",
            self.max_per_prompt.unwrap_or_default(),
            "it would keep no row",
            "a number of 1 or more",
        );
        let bounds = (self.min_length.unwrap_or(0), self.max_length.unwrap_or(usize::MAX));
        check.that(
            bounds.0 <= bounds.1 && bounds.1 > 0,
            "max_length",
            bounds.1,
            "no row could be as long as curate.min_length and no longer than this",
            "a whole number of 1 or more, and no less than curate.min_length",
        );
        check.test_size(self.test_size);
        check.seed(self.seed);
        let weights = || self.mixture.values();
        check.that(
            weights().all(|weight| *weight >= 0.0 && weight.is_finite())
                && (weights().len() == 0 || weights().any(|weight| *weight > 0.0)),
            "mixture",
            &self.mixture,
            "weights are shares, and not all of them can be 0",
            "numbers from 0 up, for example { math = 0.7, code = 0.3 }",
        );
    }
}
