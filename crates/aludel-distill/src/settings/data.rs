//! `[data]`: which rows are trained on, and which of their tokens count. Reading files and recognising their columns
//! is left to the data set reader, masking to the template.

use super::template::{TemplateInputs, day, refused_name};
use aludel_data::dataset::{self, ColumnMap, ReadOptions};
use aludel_settings::Checker;
use aludel_settings::{OneOrMany, one_or_many};
use aludel_text::Date;
use aludel_text::name_matching::letters;
use aludel_text::thinking::is_reasoning_word;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the student is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// JSONL files, files that hold one JSON array (both also packed with gzip or zstd), Parquet files, or names on the
    /// Hugging Face Hub such as `hf:owner/name:split`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<PathBuf>")]
    pub files: Vec<PathBuf>,
    /// Fraction of rows to hold out for evaluation, or from 1 on their number; all rows of a prompt fall on one side. 0
    /// holds nothing out, and nor is anything held out with `eval_files`.
    pub test_size: f64,
    /// Evaluation files, in the same formats as `files`, all of which is then trained on.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<PathBuf>")]
    pub eval_files: Vec<PathBuf>,
    /// Which column plays which part, where the names do not say it: for example `{ prompt = "problem" }`. The parts
    /// are messages, prompt, response, reasoning, system and text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// What stands between tags that answers begin with, by the tags' words, where the words alone do not say it: for example
    /// `{ analysis = "reasoning", plan = "text" }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answer_tags: BTreeMap<String, AnswerTag>,
    /// Which tokens the loss is computed on.
    pub loss_on: LossOn,
    /// What happens to rows longer than `train.max_length`.
    pub long_rows: LongRows,
    /// Maximum fraction of rows that may be left out for their length; with more, training is refused.
    pub max_rows_left_out: f64,
    /// Skip rows that cannot be read and count them, instead of stopping at the first.
    pub skip_bad_rows: bool,
    /// Train on rows that a limit cut off (reasoning that never closes, no answer, a finish reason such as `length`): what is
    /// there is learnt, without an end of turn.
    pub allow_cut_reasoning: bool,
    /// The day that a chat template is told, if it asks: `"2026-11-26"`. Where not given, the day of the run, which the
    /// run's recipe keeps; in evaluations 2026-01-01, so that scores of different days can be compared.
    #[serde(deserialize_with = "day", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub template_date: Option<Date>,
    /// Variables that the chat template is given, for example `{ enable_thinking = false }`.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub template_variables: serde_json::Map<String, serde_json::Value>,
}

/// Which tokens the loss is taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    /// What the assistant says: reasoning, answer and the end-of-turn token.
    #[default]
    Assistant,
    /// The answer and the end-of-turn token, without the reasoning before it.
    Answer,
    /// Every token, the prompt's too.
    All,
}

/// What stands between tags at the beginning of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnswerTag {
    /// Reasoning, and the answer behind it.
    Reasoning,
    /// A part of the answer, tags and all.
    Text,
}

/// What happens to rows longer than `train.max_length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LongRows {
    /// They are left out, and counted.
    #[default]
    Drop,
    /// They are cut at the end, and counted.
    Truncate,
}

/// The parts that a column can play.
const COLUMN_PARTS: [&str; 6] = ["messages", "prompt", "response", "reasoning", "system", "text"];

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            test_size: 0.1,
            eval_files: Vec::new(),
            columns: BTreeMap::new(),
            answer_tags: BTreeMap::new(),
            loss_on: LossOn::Assistant,
            long_rows: LongRows::Drop,
            max_rows_left_out: 0.2,
            skip_bad_rows: false,
            allow_cut_reasoning: false,
            template_date: None,
            template_variables: serde_json::Map::new(),
        }
    }
}

impl From<LossOn> for aludel_text::LossOn {
    fn from(loss_on: LossOn) -> Self {
        match loss_on {
            LossOn::Assistant => Self::Assistant,
            LossOn::Answer => Self::Answer,
            LossOn::All => Self::All,
        }
    }
}

impl DataSettings {
    /// All data files: those that are trained on, then those that are evaluated on.
    pub fn all_files(&self) -> Vec<PathBuf> {
        self.files.iter().chain(&self.eval_files).cloned().collect()
    }

    /// How the data files are read.
    pub fn read_options(&self) -> ReadOptions {
        let part = |name: &str| self.columns.get(name).cloned();
        let columns = (!self.columns.is_empty()).then(|| ColumnMap {
            messages: part("messages"),
            prompt: part("prompt"),
            response: part("response"),
            reasoning: part("reasoning"),
            system: part("system"),
            text: part("text"),
        });
        let meaning = |tag: AnswerTag| match tag {
            AnswerTag::Reasoning => dataset::AnswerTag::Reasoning,
            AnswerTag::Text => dataset::AnswerTag::Text,
        };
        let answer_tags = self.answer_tags.iter().map(|(word, tag)| (word.clone(), meaning(*tag))).collect();
        ReadOptions { columns, skip_bad_rows: self.skip_bad_rows, answer_tags, ..ReadOptions::default() }
    }

    /// What chat templates are told.
    pub fn template_inputs(&self) -> TemplateInputs {
        TemplateInputs { date: self.template_date, variables: self.template_variables.clone() }
    }

    pub(super) fn check(&self, check: &mut Checker<'_>) {
        check.test_size(self.test_size);
        for (key, files) in [("files", &self.files), ("eval_files", &self.eval_files)] {
            check.that(
                files.iter().all(|file| !file.as_os_str().is_empty()),
                key,
                files,
                "an empty path names nothing",
                "paths of data files",
            );
        }
        check.that(
            (0.0..=1.0).contains(&self.max_rows_left_out),
            "max_rows_left_out",
            self.max_rows_left_out,
            "it is a share of the rows",
            "a number from 0 to 1, for example 0.2",
        );
        for (name, value) in &self.template_variables {
            let reason = refused_name(name);
            check.that(
                reason.is_none(),
                &format!("template_variables.{name}"),
                value.to_string(),
                reason.unwrap_or_default(),
                "a variable that the template itself asks for, such as enable_thinking or tools",
            );
        }
        for word in self.answer_tags.keys() {
            let letters: String = letters(word).collect();
            let key = format!("answer_tags.{word}");
            check.that(!letters.is_empty(), &key, word, "a tag needs a word", "the word of a tag, such as analysis");
            check.that(
                !is_reasoning_word(&letters),
                &key,
                word,
                "tags of this word always stand around reasoning",
                "words of other tags; reasoning that stands beside an answer leaves the answer's own tags as they are",
            );
        }
        for (part, column) in &self.columns {
            check.that(
                COLUMN_PARTS.contains(&part.as_str()),
                &format!("columns.{part}"),
                column,
                "there is no such part for a column to play",
                &format!("one of the parts {}", COLUMN_PARTS.join(", ")),
            );
            check.that(
                !column.trim().is_empty(),
                &format!("columns.{part}"),
                column,
                "a column needs a name",
                "the name of a column of the data",
            );
        }
    }
}
