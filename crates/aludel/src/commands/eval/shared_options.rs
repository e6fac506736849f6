//! Options that `aludel eval` and `aludel compare` share, and the tasks and settings that they select.

use crate::hub::local_data;
use crate::humanize::grouped;
use crate::report::ErrorWithHelp;
use crate::settings::scope::Scope;
use crate::settings::{Flags, QuantizeArgs, RecipeArgs, resolve};
use crate::value_parser::{decimal, integer};
use aludel_distill::evaluate::results::Settings;
use aludel_distill::evaluate::task::{Source, Task, named};
use aludel_distill::settings::{Problem, Problems, Recipe};
use anyhow::Context as _;
use clap::Args;
use std::path::PathBuf;

// Defaults.
const SAMPLES: u32 = 1;
const TEMPERATURE: f64 = 0.6;
const TOP_P: f64 = 0.95;
const MAX_NEW_TOKENS: usize = 2048;

/// Options of whatever evaluates.
#[derive(Debug, Args)]
pub(crate) struct SharedEvalArgs {
    /// Number of samples per problem
    #[arg(long, value_name = "K", default_value_t = SAMPLES, value_parser = integer::<u32>(1..=4096))]
    pub(crate) samples: u32,

    /// Maximum number of problems per task, the first ones [default: all; 100 of a built-in task]
    #[arg(long, value_name = "N", value_parser = integer::<usize>(1..=u64::MAX))]
    limit: Option<usize>,

    /// Sampling temperature; 0 always picks the most likely token
    #[arg(long, value_name = "T", default_value_t = TEMPERATURE, value_parser = decimal)]
    temperature: f64,

    /// Top-p: sample from the most likely tokens whose probabilities add up to this
    #[arg(long, value_name = "P", default_value_t = TOP_P, value_parser = decimal)]
    top_p: f64,

    /// Maximum number of tokens of an answer, including reasoning
    #[arg(long, value_name = "N", default_value_t = MAX_NEW_TOKENS, value_parser = integer::<usize>(1..=u64::MAX))]
    max_new_tokens: usize,

    /// How answers are compared, in place of the tasks' own: maths, choice, exact, ... or a table, as for curate.verifier
    #[arg(long, value_name = "VERIFIER")]
    verifier: Option<String>,

    /// Batch size for a model that runs here [default: 8 to 64, as memory allows]
    #[arg(long, value_name = "N", value_parser = integer::<u16>(1..=1024))]
    pub(crate) batch: Option<u16>,

    /// Precision of matrix products: auto, bf16, f32, or file for the file's own quantisation [default: auto]
    #[arg(long, value_name = "DTYPE")]
    pub(crate) dtype: Option<String>,

    #[command(flatten)]
    pub(crate) quantize: QuantizeArgs,

    /// Number of threads; 0 uses all cores [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<String>,
}

impl SharedEvalArgs {
    /// The recipe, with what these options set in it and `flags` before them; `scope` is of the settings that are then read.
    pub(crate) fn recipe(&self, recipe: &RecipeArgs, flags: Flags, scope: &Scope) -> anyhow::Result<Recipe> {
        let mut problems = Vec::new();
        if !(0.0..=100.0).contains(&self.temperature) {
            let mend = "give a number from 0 (always the likeliest token) to 100";
            let reason = "logits cannot be divided by it";
            problems.push(Problem::new("--temperature", Some(self.temperature.to_string()), reason, mend));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            let (reason, mend) = ("it is a probability to be reached", "give a number above 0, up to 1");
            problems.push(Problem::new("--top-p", Some(self.top_p.to_string()), reason, mend));
        }
        if self.temperature == 0.0 && self.samples > 1 {
            let reason = "at temperature 0 all samples of a problem are the same";
            let mend = "give 1, or a --temperature";
            problems.push(Problem::new("--samples", Some(self.samples.to_string()), reason, mend));
        }
        Problems::unless_empty(problems)?;
        let flags = flags
            .written("--dtype", "student.dtype", self.dtype.as_ref())
            .written("--threads", "student.threads", self.threads.as_ref())
            .written("--verifier", "curate.verifier", self.verifier.as_ref());
        resolve(recipe, self.quantize.set(flags), scope)
    }

    /// The options that were given another value than their default.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        [
            ("--samples", self.samples != SAMPLES),
            ("--limit", self.limit.is_some()),
            ("--temperature", self.temperature != TEMPERATURE),
            ("--top-p", self.top_p != TOP_P),
            ("--max-new-tokens", self.max_new_tokens != MAX_NEW_TOKENS),
            ("--verifier", self.verifier.is_some()),
            ("--batch", self.batch.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--quantize", self.quantize.quantize.is_some()),
            ("--threads", self.threads.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, is_given)| is_given.then_some(name))
        .collect()
    }

    /// Settings for a model that runs here.
    pub(crate) fn settings(&self, recipe: &Recipe, seed: u64) -> Settings {
        Settings {
            samples: self.samples,
            temperature: self.temperature,
            top_p: self.top_p,
            max_new_tokens: self.max_new_tokens,
            seed,
            dtype: Some(recipe.student.computed_in()),
            template_date: recipe.data.template_date,
            template_variables: recipe.data.template_variables.clone(),
        }
    }

    /// The tasks, fetched and read.
    pub(crate) fn tasks(&self, names: &[String], recipe: &Recipe) -> anyhow::Result<Vec<Task>> {
        let verifier = self.verifier.as_ref().map(|_| recipe.curate.verifier()).transpose()?;
        let columns = recipe.data.read_options().columns;
        let load = |text: &String| -> anyhow::Result<Task> {
            let (name, source) = fetched(named(text)?)?;
            let task = Task::load_columns(&name, &source, self.limit, verifier.as_ref(), columns.as_ref())?;
            if task.repeated > 0 {
                tracing::info!(
                    "{name}: {} rows ask what an earlier row asks; each prompt is asked once",
                    grouped(task.repeated)
                );
            }
            Ok(task)
        };
        names.iter().map(load).collect()
    }
}

/// Names on the Hub made local files.
fn fetched((name, source): (String, Source)) -> anyhow::Result<(String, Source)> {
    let local = |files: Vec<PathBuf>| -> anyhow::Result<Vec<PathBuf>> {
        Ok(files.iter().map(|file| local_data(file)).collect::<anyhow::Result<Vec<_>>>()?.concat())
    };
    let source = match source {
        Source::Files(files) => Source::Files(local(files)?),
        Source::Benchmark(benchmark, files) => {
            let fetched = local(files).with_context(|| ErrorWithHelp {
                message: format!("{name}: the benchmark cannot be fetched"),
                help: format!(
                    "if it is gated, accept its conditions on its page on the Hub and set HF_TOKEN to a token that may read it; \
                     --tasks {name}=FILE takes a file that you have"
                ),
            })?;
            Source::Benchmark(benchmark, fetched)
        }
        generator @ Source::Generator(_) => generator,
    };
    Ok((name, source))
}
