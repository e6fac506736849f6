//! The recipe: every setting of a run, typed, documented and checked, under the names that Hugging Face gives them. The
//! sections `[trace]` and `[curate]` are defined by the crates that they configure. This module turns a TOML table into
//! a [`Recipe`], reports all of its problems at once, and writes it back. The caller merges files, flags and `--set`
//! into that one table, and prints.

mod builtin;
mod data;
mod differences;
mod distill;
mod foreign;
mod foreign_recipe;
mod generate;
mod hidden_layers;
mod lora;
mod parse;
mod schema;
mod student;
mod template;
mod train;

pub use aludel_settings::{Notice, Problem, Problems};
pub use builtin::{BUILTIN_PREFIX, BUILTIN_RECIPES};
pub use data::{DataSettings, LongRows, LossOn};
pub use differences::{Difference, differences};
pub(crate) use distill::NO_CONTEXT_OF_OWN_ANSWERS;
pub use distill::{
    Balancing, CacheTarget, DistillSettings, DivergenceKind, HiddenLossKind, PairCheck, TeacherContext, TermWeights,
};
pub use foreign::{
    FOREIGN_NAMES, FOREIGN_VALUES, ForeignName, ForeignValue, Renamed, Verdict, foreign_name, foreign_names_of, ours,
    rename, top_level_name,
};
pub use generate::GenerateSettings;
pub use hidden_layers::{HiddenLayers, NamedLayers};
pub use lora::{Bias, InitLora, LoraSettings, TargetModules};
pub use parse::{Parsed, nearest, read_table};
pub use schema::{expected, owner_of, section_names, setting_names};
pub use student::{Attention, Device, Dtype, InstructionSet, Quantize, StudentSettings};
pub use template::{TemplateInputs, refused_name as refused_template_variable};
pub use train::{Interval, MaxLength, NamedLength, Optimiser, ReportTo, Schedule, TrainSettings};

use aludel_curate::settings::CurateSettings;
use aludel_data::dataset::ReadOptions;
use aludel_settings::Checker;
use aludel_teacher::settings::TraceSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything that a run depends on. Each section may be left out, and each key of a section: the default is then the
/// one named in its documentation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The model that learns, and how it is held.
    pub student: StudentSettings,
    /// The adapter that is trained.
    pub lora: LoraSettings,
    /// How it is trained.
    pub train: TrainSettings,
    /// What it learns beside the data's text, and from which teacher.
    pub distill: DistillSettings,
    /// What it is trained on.
    pub data: DataSettings,
    /// How answers are sampled.
    pub generate: GenerateSettings,
    /// Which teachers are asked what, how fast, and for how much.
    pub trace: TraceSettings,
    /// Which traces become training rows.
    pub curate: CurateSettings,
}

impl Recipe {
    /// All settings that list data files, each a path or a name on the Hub.
    pub fn data_lists(&mut self) -> [&mut Vec<PathBuf>; 5] {
        [
            &mut self.data.files,
            &mut self.data.eval_files,
            &mut self.trace.prompts,
            &mut self.curate.input,
            &mut self.curate.decontaminate,
        ]
    }

    /// Checks the ranges of all settings and the settings that must agree with each other.
    ///
    /// # Errors
    /// Every problem found, each with its key, its value, the reason and what would be right.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut problems = Vec::new();
        self.student.check(&mut Checker::new("student", &mut problems));
        self.lora.check(&mut Checker::new("lora", &mut problems));
        self.train.check(&mut Checker::new("train", &mut problems));
        self.distill.check(&mut Checker::new("distill", &mut problems));
        self.data.check(&mut Checker::new("data", &mut problems));
        self.generate.check(&mut Checker::new("generate", &mut problems));
        self.trace.check(&mut Checker::new("trace", &mut problems));
        self.curate.check(&mut Checker::new("curate", &mut problems));
        self.check_agreement(&mut Checker::new("train", &mut problems));
        Problems::unless_empty(problems)
    }

    /// `student.model`, for a command that cannot do without.
    ///
    /// # Errors
    /// One problem that names the key, if it was not set.
    pub fn student_model(&self) -> Result<&Path, Problems> {
        self.student.model.as_deref().ok_or_else(|| {
            Problems::one(Problem::missing(
                "student.model",
                "no student is named",
                "give a GGUF file or a Hugging Face model folder: --student PATH, or `model` in [student]",
            ))
        })
    }

    /// `train.output_dir`, for a command that cannot do without.
    ///
    /// # Errors
    /// One problem that names the key, if it was not set.
    pub fn output_dir(&self) -> Result<&Path, Problems> {
        self.train.output_dir.as_deref().ok_or_else(|| {
            Problems::one(Problem::missing(
                "train.output_dir",
                "no folder is named for what the run writes",
                "give a folder that does not exist yet: --output-dir DIR, or `output_dir` in [train]",
            ))
        })
    }

    /// What training cannot start without: a student, data and an output folder.
    ///
    /// # Errors
    /// One problem for each that is missing.
    pub fn require_for_training(&self) -> Result<(), Problems> {
        let mut problems = Vec::new();
        for missing in [self.student_model().err(), self.output_dir().err()].into_iter().flatten() {
            problems.extend(missing.into_vec());
        }
        if self.data.files.is_empty() {
            problems.push(Problem::missing(
                "data.files",
                "no training data is named",
                "give one or more data files: --data FILE..., or `files` in [data]",
            ));
        }
        problems.extend(self.distill.missing());
        Problems::unless_empty(problems)
    }

    /// What curation cannot start without: traces, an output folder, and a student where rows are measured in its tokens.
    ///
    /// # Errors
    /// One problem for each that is missing.
    pub fn require_for_curation(&self) -> Result<(), Problems> {
        Problems::unless_empty(self.curate.missing(self.student.model.is_some()))
    }

    /// What collecting traces cannot start without: prompts, a teacher, its model and a store.
    ///
    /// # Errors
    /// One problem for each that is missing.
    pub fn require_for_collecting(&self) -> Result<(), Problems> {
        Problems::unless_empty(self.trace.missing())
    }

    /// How data files are read for the rows of a run, with what only a teacher sees of them.
    pub fn row_options(&self) -> ReadOptions {
        let context_column = self.distill.teacher_context_column.clone();
        ReadOptions { context_column, ..self.data.read_options() }
    }

    /// How rows are encoded for training.
    pub fn encode_options(&self) -> aludel_text::EncodeOptions {
        let TemplateInputs { date, variables } = self.data.template_inputs();
        aludel_text::EncodeOptions { date, variables, ..aludel_text::EncodeOptions::train(self.data.loss_on.into()) }
    }

    /// What a row must pass before it is trained on.
    pub fn preflight_options(&self) -> aludel_text::PreflightOptions {
        aludel_text::PreflightOptions {
            max_length: self.train.max_length.tokens().filter(|_| self.data.long_rows == LongRows::Truncate),
            allow_cut_reasoning: self.data.allow_cut_reasoning,
            loss_on: self.data.loss_on.into(),
        }
    }

    /// The recipe as TOML with every setting spelled out: what a run folder keeps, and what [`Recipe::from_toml`] reads
    /// back to the same recipe.
    ///
    /// # Errors
    /// A problem if a value cannot be written, which only a path that is not Unicode brings about.
    pub fn to_toml(&self) -> Result<String, Problems> {
        toml::to_string(self).map_err(unwritable)
    }

    /// The recipe as a table of sections, to merge other settings into.
    ///
    /// # Errors
    /// As for [`Recipe::to_toml`].
    pub fn to_table(&self) -> Result<toml::Table, Problems> {
        toml::Table::try_from(self).map_err(unwritable)
    }

    /// The JSON schema of a recipe, for editors that complete and check TOML.
    pub fn json_schema() -> schemars::Schema {
        schemars::generate::SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator()
            .into_root_schema_for::<Self>()
    }

    fn check_agreement(&self, check: &mut Checker<'_>) {
        let train = &self.train;
        check.that(
            train.eval_strategy == Interval::No || self.data.test_size != 0.0 || !self.data.eval_files.is_empty(),
            "eval_strategy",
            train.eval_strategy.name(),
            "data.test_size = 0 holds no rows back, so there is nothing to evaluate on",
            "\"no\", or a data.test_size above 0, for example 0.1, or data.eval_files",
        );
        check.that(
            self.data.long_rows == LongRows::Drop || train.max_length.tokens().is_some(),
            "max_length",
            "auto",
            "data.long_rows = \"truncate\" cuts rows, and where to cut is not told by their lengths",
            "the number of tokens to cut at",
        );
    }
}

fn unwritable(error: toml::ser::Error) -> Problems {
    Problems::one(Problem::new(
        "the recipe",
        None,
        format!("it cannot be written as TOML: {error}"),
        "give paths whose names are valid Unicode",
    ))
}

#[cfg(test)]
mod tests;
