//! Training data of the demo: worked solutions of generated problems, or a teacher's verified answers to the same problems; and the
//! recipe of its training run.

use super::DemoArgs;
use crate::commands::collect::collect_recipe;
use crate::commands::curate::curate_recipe;
use crate::console::Console;
use crate::html_report::Run;
use crate::report::{ErrorWithHelp, Outcome};
use aludel_distill::settings::{MaxLength, Recipe};
use aludel_formats::atomic;
use aludel_hub::demo_student::DEMO_STUDENT_NAME;
use aludel_teacher::collect::BOXED;
use aludel_verify::tasks::{Problem, ProblemSplit, family, generate};
use anyhow::Context as _;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The families that are learnt, and how many problems of each; some 140,000 tokens of SmolLM2 together. What is learnt with
/// more trouble comes more often.
pub(super) const FAMILIES: [(&str, usize); 6] =
    [("dice", 280), ("ages", 140), ("units", 120), ("kinship", 170), ("sequences", 210), ("fractions", 190)];
/// Built-in solutions are shorter, in tokens.
const LONGEST_SOLUTION: usize = 256;
/// Teachers think longer.
const LONGEST_TAUGHT: usize = 1024;

/// Where training rows come from.
pub(super) struct TrainingData<'a> {
    student: &'a Path,
    /// What the student is called on the Hub; of the demo's own it is known.
    base_model: Option<String>,
    /// Set where a teacher answers.
    taught: Option<TaughtData>,
    problems: PathBuf,
    seed: u64,
}

/// Answers of a teacher: asked into a store, verified into a folder.
struct TaughtData {
    recipe: Recipe,
    curated: PathBuf,
}

impl<'a> TrainingData<'a> {
    /// # Errors
    /// Settings of the teacher that cannot be.
    pub(super) fn new(args: &DemoArgs, student: &'a Path, folder: &Path) -> anyhow::Result<TrainingData<'a>> {
        let problems = folder.join(if args.teacher.is_empty() { "problems.jsonl" } else { "prompts.jsonl" });
        let taught = match args.teacher.is_empty() {
            true => None,
            false => Some(TaughtData::new(args, student, folder, &problems)?),
        };
        let base_model = args.student.is_none().then(|| DEMO_STUDENT_NAME.to_owned());
        Ok(TrainingData { student, base_model, taught, problems, seed: args.seed })
    }

    /// The most tokens that an answer in the evaluation may have.
    pub(super) fn longest_answer(&self) -> usize {
        if self.taught.is_some() { LONGEST_TAUGHT } else { LONGEST_SOLUTION }
    }

    /// Writes the problems as JSONL: with solutions, or for a teacher with the answer alone, by which its own is verified.
    ///
    /// # Errors
    /// The folder holds a demo on other problems.
    pub(super) fn write_problems(&self) -> anyhow::Result<()> {
        let mut text = String::new();
        for (name, count) in FAMILIES {
            let family = family(name).with_context(|| format!("{name}: there is no family of this name"))?;
            for problem in generate(family.as_ref(), ProblemSplit::Train, count, self.seed) {
                let line = match self.taught {
                    None => problem.json_line(),
                    Some(_) => {
                        let Problem { question, answer, verifier, .. } = problem;
                        json!({ "prompt": question, "answer": answer, "verifier": verifier }).to_string()
                    }
                };
                text.push_str(&line);
                text.push('\n');
            }
        }
        match aludel_files::read_to_string(&self.problems, aludel_files::SMALL) {
            Ok(there) if there == text => Ok(()),
            Ok(_) => Err(ErrorWithHelp {
                message: format!("{}: holds other problems than this demo's", self.problems.display()),
                help: "give the --seed that it was started with, or another --output-dir".to_owned(),
            }
            .into()),
            Err(_) => Ok(atomic::write_bytes(&self.problems, text.as_bytes())?),
        }
    }

    /// Asks the teacher, if there is one, and keeps what it has right.
    pub(super) fn collect(&self, json: bool, console: &mut Console) -> anyhow::Result<Outcome> {
        let Some(taught) = &self.taught else { return Ok(Outcome::Done) };
        match collect_recipe(taught.recipe.clone(), false, json, console)? {
            Outcome::Done => curate_recipe(&mut taught.recipe.clone(), None, json, console),
            stopped => Ok(stopped),
        }
    }

    /// A run, with the cost of its teacher.
    pub(super) fn with_teacher_costs(&self, run: Run) -> anyhow::Result<Run> {
        match self.taught.as_ref().and_then(|taught| taught.recipe.trace.store.as_ref()) {
            Some(store) => run.with_traces(store),
            None => Ok(run),
        }
    }

    /// Many small steps are what a small student learns from.
    pub(super) fn recipe(&self, run: &Path) -> anyhow::Result<Recipe> {
        let mut recipe = Recipe::default();
        recipe.student.model = Some(self.student.to_owned());
        recipe.student.base_model.clone_from(&self.base_model);
        let (data, max_length) = match &self.taught {
            None => (self.problems.clone(), 2 * LONGEST_SOLUTION),
            Some(taught) => (taught.curated.join("train.jsonl"), 2 * LONGEST_TAUGHT),
        };
        recipe.data.files = vec![data];
        recipe.data.test_size = 0.05;
        recipe.train.output_dir = Some(run.to_owned());
        recipe.train.num_train_epochs = 1.0;
        recipe.train.per_device_train_batch_size = 4;
        recipe.train.gradient_accumulation_steps = 1;
        recipe.train.learning_rate = 2e-3;
        recipe.train.max_grad_norm = 1.0;
        recipe.train.max_length = MaxLength::Tokens(max_length);
        recipe.train.logging_steps = 10;
        recipe.train.seed = self.seed;
        recipe.validate()?;
        Ok(recipe)
    }
}

impl TaughtData {
    fn new(args: &DemoArgs, student: &Path, folder: &Path, problems: &Path) -> anyhow::Result<TaughtData> {
        let curated = folder.join("curated");
        let mut recipe = Recipe::default();
        recipe.student.model = Some(student.to_owned());
        recipe.trace.prompts = vec![problems.to_owned()];
        recipe.trace.teacher.clone_from(&args.teacher);
        recipe.trace.model.clone_from(&args.model);
        recipe.trace.api_key_env.clone_from(&args.api_key_env);
        recipe.trace.prompt_suffix = Some(BOXED.to_owned());
        recipe.trace.max_new_tokens = Some(LONGEST_TAUGHT as u32);
        recipe.trace.seed = Some(args.seed);
        recipe.trace.store = Some(folder.join("traces.db"));
        recipe.curate.input = vec![folder.join("traces.db")];
        recipe.curate.output_dir = Some(curated.clone());
        recipe.curate.require_verified = true;
        // The problems of a family are much alike, and yet all different.
        recipe.curate.near_duplicates = false;
        recipe.curate.test_size = 0.0;
        recipe.curate.max_length = Some(2 * LONGEST_TAUGHT);
        recipe.validate()?;
        recipe.require_for_collecting()?;
        Ok(TaughtData { recipe, curated })
    }
}
