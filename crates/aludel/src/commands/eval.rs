//! `aludel eval`: its options, its progress and its final output. Local and served models have files of their own, and so have the options
//! that `compare` shares. Asking and scoring are in `aludel_distill::evaluate`.

mod local;
mod on_rows;
mod served;
mod shared_options;
mod table;

use crate::console::{Console, harmless};
use crate::humanize::grouped;
use crate::next_command::{after_evaluation, as_typed};
use crate::progress::{self, Phase, Position, WorkKind};
use crate::report::Outcome;
use crate::run_folder::{adapter_if_named, warn_of_other_weights};
use crate::settings::scope::{self, Scope};
use crate::settings::{Flags, RecipeArgs};
use crate::signals::{stop_on_signals, tell_how_to_continue};
use crate::value_parser::integer;
use aludel_distill::evaluate::Progress;
use aludel_distill::evaluate::compare::Evaluated;
use aludel_distill::evaluate::overall::overall;
use aludel_distill::evaluate::results::Results;
use aludel_distill::evaluate::task::Task;
use aludel_distill::settings::Recipe;
use aludel_distill::trained_prompts::TrainedPrompts;
use aludel_distill::training_facts::TrainingFacts;
use clap::Args;
use served::{Server, refuse_local_options};
use std::path::{Path, PathBuf};
use table::show;

pub(super) use local::{LocalModel, usual_name};
pub(super) use shared_options::SharedEvalArgs;

/// The options of `aludel eval`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvalArgs {
    /// Model: a GGUF file, a Hugging Face model folder, or hf:owner/name; with --endpoint, its name on the server
    #[arg(long, value_name = "PATH|NAME", required_unless_present = "endpoint")]
    model: Option<PathBuf>,

    /// Evaluate a model on a server with an OpenAI-compatible API, such as http://host:8000/v1
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// With --endpoint: environment variable that holds the API key
    #[arg(long, value_name = "VAR", requires = "endpoint")]
    api_key_env: Option<String>,

    /// With --endpoint: file that holds the API key
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    api_key_file: Option<PathBuf>,

    /// With --endpoint: maximum concurrent requests [default: 8]
    #[arg(long, value_name = "N", requires = "endpoint", value_parser = integer::<u16>(1..=1024))]
    concurrency: Option<u16>,

    /// Adapter folder to apply to it, or the folder of a run
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,

    /// Folder of the run that trained it, to warn of problems that were trained on; adapters in a run's folder and merged models name it
    /// themselves
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,

    /// Compute loss and perplexity on a data file instead of scoring tasks
    #[arg(long, group = "on_rows", requires = "data", conflicts_with_all = OPTIONS_OF_TASKS)]
    loss: bool,

    /// Compute the Kullback-Leibler divergence of the model from this teacher on a data file: a GGUF file, a model folder, or
    /// hf:owner/name, with the model's tokenizer
    #[arg(long, value_name = "TEACHER", group = "on_rows", requires = "data", conflicts_with_all = OPTIONS_OF_TASKS)]
    kl_to: Option<PathBuf>,

    /// With --kl-to: let the model answer the prompts of the data itself, and compare at the tokens of its own answers
    #[arg(long, requires = "kl_to")]
    own_answers: bool,

    /// With --loss or --kl-to: data files, in the formats of `aludel train`
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "on_rows")]
    data: Vec<PathBuf>,

    /// Tasks to score: a data file whose rows have a right answer, such as curated/eval.jsonl, NAME=FILE, a benchmark (gsm8k,
    /// math500, aime24, gpqa-diamond) or a built-in task
    #[arg(long, value_name = "NAME|FILE", num_args = 1.., required_unless_present_any = ["on_rows", "data"])]
    tasks: Vec<String>,

    /// Folder for results.json and samples.jsonl; a stopped evaluation resumes there
    #[arg(long, value_name = "DIR", required_unless_present_any = ["on_rows", "data"])]
    output_dir: Option<PathBuf>,

    #[command(flatten)]
    shared: SharedEvalArgs,

    /// Random seed of samples, of own answers and of confidence intervals
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "loss", value_parser = integer::<u64>(0..=u64::MAX))]
    seed: u64,

    /// Name of the model in tables [default: the name of its file or folder]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    recipe: RecipeArgs,
}

/// What says how tasks are asked and scored has no effect on a loss.
const OPTIONS_OF_TASKS: [&str; 11] = [
    "tasks",
    "output_dir",
    "run",
    "samples",
    "limit",
    "temperature",
    "top_p",
    "max_new_tokens",
    "verifier",
    "batch",
    "name",
];

const EXAMPLES: &str = "\
Examples:
  aludel eval --model merged --tasks gsm8k --limit 100 --temperature 0 --output-dir results
  aludel eval --loss --model student.gguf --adapter run/adapter --data held-back.jsonl
  aludel eval --kl-to teacher.gguf --model student.gguf --adapter run/adapter --data held-back.jsonl
  aludel eval --model student.gguf --adapter run/adapter --tasks questions.jsonl --samples 4 --output-dir results
  aludel eval --endpoint http://127.0.0.1:8000/v1 --model NAME --api-key-env KEY --tasks gsm8k --output-dir teacher

A file's rows ask in any shape that training data have, with the right answer in gold, ground_truth,
answer or the like, and may hold id, system, choices and verifier. Give the same command again to go
on with what was stopped.";

/// Evaluates; SIGTERM and Ctrl-C stop it, and what has ended is kept.
pub(crate) fn run(args: &EvalArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let recipe = args.recipe()?;
    if args.loss {
        warn_of_other_weights(args.adapter.as_deref(), &recipe.student)?;
        return on_rows::loss(&recipe, args.json, console);
    }
    if args.kl_to.is_some() {
        warn_of_other_weights(args.adapter.as_deref(), &recipe.student)?;
        return on_rows::kl_to_teacher(&recipe, args.own_answers.then_some(args.seed), args.json, console);
    }
    let folder = args.output_dir.clone().unwrap_or_default();
    let server = Server::new(args, &recipe)?;
    let tasks = args.shared.tasks(&args.tasks, &recipe)?;
    let adapter = adapter_if_named(args.adapter.as_deref())?;
    let is_trained = warn_of_known(args, adapter.as_deref(), &tasks)?;
    warn_of_other_weights(adapter.as_deref(), &recipe.student)?;
    let mut facts = None;
    let settings = args.shared.settings(&recipe, args.seed);
    let stop = stop_on_signals(as_typed())?;
    let results = match server {
        Some(server) => server.evaluate(&tasks, settings, &folder, &stop)?,
        None => {
            let model = args.model.clone().unwrap_or_default();
            let model = LocalModel::new(&model, adapter.as_deref(), args.name.as_ref())?;
            facts = model.training_facts()?;
            let batch = args.shared.batch.map(usize::from);
            model.evaluate(&tasks, settings, &recipe.student, batch, &folder, Phase::whole(), &stop)?
        }
    };
    let Some(results) = results else {
        tell_how_to_continue();
        return Ok(Outcome::Stopped);
    };
    warn(&results, None);
    let evaluated = Evaluated::read(&folder)?;
    warn_of_lost_reasoning(facts, &evaluated, None);
    if args.json {
        console.json_line(&results)?;
    } else {
        let overall = overall(&evaluated);
        show(console, &results, Some(&overall), &folder)?;
        console.next(&after_evaluation(&folder, args.adapter.is_some() || is_trained))?;
    }
    Ok(Outcome::Done)
}

/// Says in the log what the results warn of; whose they are, where there are several.
pub(super) fn warn(results: &Results, whose: Option<&Path>) {
    let whose = whose.map_or_else(String::new, |whose| format!("{}, ", whose.display()));
    for task in &results.tasks {
        let name = format!("{whose}{}", task.name);
        task.warnings.iter().for_each(|words| tracing::warn!("{}: {words}", harmless(&name)));
    }
}

/// Says that a model which was trained on reasoning gives none; whose answers they are, where there are several.
pub(super) fn warn_of_lost_reasoning(facts: Option<TrainingFacts>, evaluated: &Evaluated, whose: Option<&Path>) {
    let whose = whose.map_or_else(String::new, |whose| format!("{}: ", whose.display()));
    let samples = &evaluated.samples;
    let with = samples.iter().filter(|sample| sample.reasoning.is_some()).count();
    if let Some(told) = facts.and_then(|facts| facts.lost_reasoning(with, samples.len())) {
        tracing::warn!("{}{told}", harmless(&whose));
    }
}

/// Says how many problems ask what the model was trained on, as far as its run tells; and whether it was trained here at all.
fn warn_of_known(args: &EvalArgs, adapter: Option<&Path>, tasks: &[Task]) -> anyhow::Result<bool> {
    let told = match (&args.endpoint, &args.model) {
        (None, Some(model)) => TrainedPrompts::of_both(model, adapter)?,
        _ => None,
    };
    let is_trained = told.is_some();
    let known = TrainedPrompts::together(args.run.as_deref().map(TrainedPrompts::of_run).transpose()?, told);
    for (task, known) in tasks.iter().filter_map(|task| Some((task, known.as_ref()?.problems(task)))) {
        if known > 0 {
            let (name, known, problems) = (harmless(&task.name), grouped(known), grouped(task.problems.len()));
            tracing::warn!(
                "{name}: {known} of {problems} problems were trained on: their score says little of what is new"
            );
        }
    }
    Ok(is_trained)
}

/// Options of tasks, and what the same is called among the settings of other commands.
const OF_TASKS: [(&str, &str); 8] = [
    ("--batch", "train.per_device_eval_batch_size"),
    ("--max-new-tokens", "generate.max_new_tokens"),
    ("--output-dir", "train.output_dir"),
    ("--samples", "trace.samples"),
    ("--seed", "generate.seed"),
    ("--tasks", "data.files"),
    ("--temperature", "generate.temperature"),
    ("--top-p", "generate.top_p"),
];

impl EvalArgs {
    fn recipe(&self) -> anyhow::Result<Recipe> {
        let flags = match &self.endpoint {
            Some(url) => {
                refuse_local_options(self)?;
                let model = self.model.as_ref().map(|name| name.to_string_lossy().into_owned());
                Flags::default()
                    .texts("--endpoint", "trace.teacher", std::slice::from_ref(url))
                    .written("--model", "trace.model", model.as_ref())
                    .written("--api-key-env", "trace.api_key_env", self.api_key_env.as_ref())
                    .path("--api-key-file", "trace.api_key_file", self.api_key_file.as_ref())
                    .instead("--concurrency", "trace.concurrency")
            }
            None => Flags::default().path("--model", "student.model", self.model.as_ref()).path(
                "--adapter",
                "train.init_adapter",
                self.adapter.as_ref(),
            ),
        };
        let flags = match self.is_on_rows() {
            true => {
                flags.path("--kl-to", "distill.teacher", self.kl_to.as_ref()).paths("--data", "data.files", &self.data)
            }
            false => OF_TASKS.iter().fold(flags, |flags, (flag, setting)| flags.instead(flag, setting)),
        };
        self.shared.recipe(&self.recipe, flags, self.scope())
    }

    fn is_on_rows(&self) -> bool {
        self.loss || self.kl_to.is_some()
    }

    /// The settings that this use of the command reads.
    fn scope(&self) -> &'static Scope {
        match (&self.endpoint, self.loss, &self.kl_to) {
            (Some(_), ..) => &scope::EVAL_SERVED,
            (None, true, _) => &scope::EVAL_LOSS,
            (None, false, Some(_)) => &scope::EVAL_KL_TO,
            (None, false, None) => &scope::EVAL_TASKS,
        }
    }
}

/// Says what a stopped evaluation has kept.
fn tell_kept(told: Option<Progress>, folder: &Path) {
    match told {
        Some(Progress { done, total, .. }) => {
            let folder = folder.display();
            tracing::info!("stopped: {} of {} answers are kept in {folder}", grouped(done), grouped(total));
        }
        None => tracing::info!("stopped before the first answer"),
    }
}

/// How long the rest takes follows from the tokens that are still to be written; where only whole answers are seen, from their number.
fn show_progress(shown: &progress::Progress, told: &Progress, are_answers_whole: bool) {
    let Progress { done, resumed, total, tokens, tokens_left, .. } = *told;
    let mut at = Position::of(done as u64, total as u64, "answers");
    if tokens > 0 {
        at = at.with(format!("{:.0} tokens/s", told.tokens_per_second));
    } else if done == resumed && resumed > 0 {
        tracing::info!("{} of {} answers are done already", grouped(resumed), grouped(total));
    }
    let (tokens, answers) = (tokens as f64, (done - resumed) as f64);
    match tokens_left {
        _ if are_answers_whole => shown.reach_of(WorkKind::Generating, answers, (total - resumed) as f64, at),
        Some(left) => shown.reach_of(WorkKind::Generating, tokens, tokens + left, at),
        None => shown.begin_at(WorkKind::Generating, at),
    }
}
