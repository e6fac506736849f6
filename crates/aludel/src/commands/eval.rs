//! `aludel eval`: the options of an evaluation, its progress, and the table of scores. What is asked, answered and scored stands in
//! `aludel_distill::evaluate`.

use crate::console::{Console, harmless};
use crate::hub::{fetch_named, local_data, local_model};
use crate::report::{Helped, Outcome};
use crate::settings::{Flags, RecipeArgs, resolve};
use crate::signals::stop_on_signals;
use aludel_distill::evaluate::identity::fingerprint;
use aludel_distill::evaluate::local::Local;
use aludel_distill::evaluate::loss::held_out_loss;
use aludel_distill::evaluate::results::{ModelName, Results, Settings};
use aludel_distill::evaluate::task::{Source, Task, named};
use aludel_distill::evaluate::{Evaluation, Progress, evaluate};
use aludel_distill::settings::{Dtype, Problem, Problems, Recipe};
use anstyle::Style;
use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// The options of `aludel eval`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvalArgs {
    /// The model: a GGUF file, a Hugging Face model folder, or hf:owner/name
    #[arg(long, value_name = "PATH")]
    model: PathBuf,

    /// An adapter folder to put on it
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,

    /// Measure loss and perplexity on a data file in place of scoring tasks
    #[arg(long, requires = "data", conflicts_with_all = ["tasks", "output_dir"])]
    loss: bool,

    /// With --loss: rows as `aludel train` takes them
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "loss")]
    data: Vec<PathBuf>,

    /// What to score: a JSONL or Parquet file with questions and answers, NAME=FILE, a benchmark (gsm8k, math500, aime24,
    /// gpqa-diamond) or a built-in task
    #[arg(long, value_name = "NAME|FILE", num_args = 1.., required_unless_present = "loss")]
    tasks: Vec<String>,

    /// The folder for results.json and samples.jsonl; a stopped evaluation goes on there
    #[arg(long, value_name = "DIR", required_unless_present = "loss")]
    output_dir: Option<PathBuf>,

    /// Samples of each problem
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    samples: u32,

    /// The most problems of each task, from its first on [default: all; 100 of a built-in task]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// 0 takes the likeliest token each time
    #[arg(long, value_name = "T", default_value_t = 0.6, allow_negative_numbers = true)]
    temperature: f64,

    /// Sample from the likeliest tokens that reach this probability
    #[arg(long, value_name = "P", default_value_t = 0.95, allow_negative_numbers = true)]
    top_p: f64,

    /// The most tokens of an answer, reasoning included
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = at_least_one)]
    max_new_tokens: usize,

    /// Decides samples and intervals
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// How answers are compared, in place of the tasks' own: maths, choice, exact, ... or a table, as for curate.verifier
    #[arg(long, value_name = "VERIFIER")]
    verifier: Option<String>,

    /// What tables call the model [default: its file's or folder's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Sequences at once [default: 8 to 64, by the memory they may need]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    batch: Option<usize>,

    /// The precision of matrix products: auto, bf16, f32, or file for the file's own quantisation [default: auto]
    #[arg(long, value_name = "DTYPE")]
    dtype: Option<String>,

    /// Threads; 0 takes one for each core [default: 0]
    #[arg(long, value_name = "N")]
    threads: Option<String>,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    recipe: RecipeArgs,
}

const EXAMPLES: &str = "\
Examples:
  aludel eval --model merged --tasks gsm8k --limit 100 --temperature 0 --output-dir results
  aludel eval --loss --model student.gguf --adapter run/adapter --data held-back.jsonl
  aludel eval --model student.gguf --adapter run/adapter --tasks questions.jsonl --samples 4 --output-dir results

A file holds a question (or prompt) and an answer in each row, and may hold id, system, choices
and verifier. Give the same command again to go on with what was stopped.";

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= 1 => Ok(number),
        _ => Err("give a whole number of 1 or more".to_owned()),
    }
}

/// Evaluates; SIGTERM and Ctrl-C stop it, and what has ended is kept.
pub(crate) fn run(args: &EvalArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let recipe = args.recipe()?;
    if args.loss {
        return loss(&recipe, args.json, console);
    }
    let folder = args.output_dir.clone().unwrap_or_default();
    let verifier = args.verifier.as_ref().map(|_| recipe.curate.verifier()).transpose()?;
    let mut tasks = Vec::new();
    for text in &args.tasks {
        let (name, source) = fetched(named(text)?)?;
        tasks.push(Task::load(&name, &source, args.limit, verifier.as_ref())?);
    }
    let model = local_model(&args.model)?;
    let evaluation = Evaluation {
        tasks: &tasks,
        model: args.model_name(&model)?,
        settings: args.settings(&recipe),
        date: date(),
        machine: machine(),
    };
    let stop = stop_on_signals()?;
    let bar = progress_bar("answers");
    let open = || {
        let longest = tasks
            .iter()
            .flat_map(|task| &task.problems)
            .map(|problem| problem.messages.iter().map(|message| message.content.len()).sum::<usize>());
        let longest = longest.max().unwrap_or(0);
        let adapter = args.adapter.as_deref();
        let local = Local::open(&model, adapter, &recipe.student, &evaluation.settings, longest, args.batch)?;
        Ok(Box::new(local) as Box<_>)
    };
    let results = evaluate(&evaluation, &folder, open, &stop, &mut |progress| show_progress(&bar, &progress))?;
    bar.finish_and_clear();
    let Some(results) = results else {
        tracing::info!("stopped; give the same command again to go on");
        return Ok(Outcome::Stopped);
    };
    if args.json {
        console.json_line(&results)?;
    } else {
        show(console, &results, &folder)?;
    }
    Ok(Outcome::Done)
}

/// Loss and perplexity on a data file.
fn loss(recipe: &Recipe, json: bool, console: &mut Console) -> anyhow::Result<Outcome> {
    let mut recipe = recipe.clone();
    fetch_named(&mut recipe)?;
    let stop = stop_on_signals()?;
    let bar = progress_bar("rows");
    let found = held_out_loss(&recipe, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish_and_clear();
    let Some(found) = found else { return Ok(Outcome::Interrupted) };
    let left_out = found.too_long + found.unsupervised + found.bad_rows;
    if left_out > 0 {
        tracing::warn!(
            "rows left out: {} longer than train.max_length = {}, {} without a supervised token, {} unreadable",
            found.too_long,
            recipe.train.max_length,
            found.unsupervised,
            found.bad_rows
        );
    }
    if json {
        console.json_line(&found)?;
    } else {
        console.line(format_args!(
            "loss {:.4}, perplexity {:.3}, over {} supervised tokens in {} rows",
            found.loss, found.perplexity, found.supervised_tokens, found.rows
        ))?;
    }
    Ok(Outcome::Done)
}

/// Names on the Hub made local files.
fn fetched((name, source): (String, Source)) -> anyhow::Result<(String, Source)> {
    let local = |files: Vec<PathBuf>| -> anyhow::Result<Vec<PathBuf>> {
        Ok(files.iter().map(|file| local_data(file)).collect::<anyhow::Result<Vec<_>>>()?.concat())
    };
    let source = match source {
        Source::Files(files) => Source::Files(local(files)?),
        Source::Benchmark(benchmark, files) => {
            let fetched = local(files).with_context(|| Helped {
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

impl EvalArgs {
    fn recipe(&self) -> anyhow::Result<Recipe> {
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
            problems.push(Problem::new(
                "--samples",
                Some(self.samples.to_string()),
                reason,
                "give 1, or a --temperature",
            ));
        }
        Problems::unless_empty(problems)?;
        let flags = Flags::default()
            .path("--model", "student.model", Some(&self.model))
            .written("--dtype", "student.dtype", self.dtype.as_ref())
            .path("--adapter", "train.init_adapter", self.adapter.as_ref())
            .paths("--data", "data.files", &self.data)
            .written("--threads", "student.threads", self.threads.as_ref())
            .written("--verifier", "curate.verifier", self.verifier.as_ref());
        resolve(&self.recipe, flags)
    }

    fn settings(&self, recipe: &Recipe) -> Settings {
        let dtype = match recipe.student.dtype {
            Dtype::Auto | Dtype::Bf16 => "bf16",
            Dtype::F32 => "f32",
            Dtype::File => "file",
        };
        Settings {
            samples: self.samples,
            temperature: self.temperature,
            top_p: self.top_p,
            max_new_tokens: self.max_new_tokens,
            seed: self.seed,
            dtype: Some(dtype.to_owned()),
        }
    }

    fn model_name(&self, model: &Path) -> anyhow::Result<ModelName> {
        let last = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut name = last(model).trim_end_matches(".gguf").to_owned();
        if let Some(adapter) = &self.adapter {
            // `run/adapter` is known by its run; where a run lies on this machine is nobody's business in a report
            let run = adapter.parent().map(last).filter(|run| !run.is_empty() && adapter.ends_with("adapter"));
            name = format!("{name} + {}", run.unwrap_or_else(|| last(adapter)));
        }
        Ok(ModelName {
            path: Some(self.model.display().to_string()),
            endpoint: None,
            adapter: self.adapter.as_ref().map(|adapter| adapter.display().to_string()),
            name: self.name.clone().unwrap_or(name),
            fingerprint: Some(fingerprint(model, self.adapter.as_deref())?),
        })
    }
}

fn show(console: &mut Console, results: &Results, folder: &Path) -> anyhow::Result<()> {
    let head = format!(
        "{:<24}{:>6}{:>4}{:>9}{:>16}{:>9}{:>9}{:>8}{:>8}{:>10}",
        "task", "n", "k", "pass@1", "95% interval", "maj@k", "pass@k", "cut", "loops", "no answer"
    );
    let head = console.styled(Style::new().bold(), &head);
    console.line(head)?;
    for task in &results.tasks {
        let percent = |share: f64| format!("{:.1}%", 100.0 * share);
        let interval = format!("[{:.1}, {:.1}]", 100.0 * task.ci95[0], 100.0 * task.ci95[1]);
        console.line(format_args!(
            "{:<24}{:>6}{:>4}{:>9}{interval:>16}{:>9}{:>9}{:>8}{:>8}{:>10}",
            harmless(&task.name),
            task.n,
            task.k,
            percent(task.pass_at_1),
            percent(task.maj_at_k),
            percent(task.pass_at_k),
            percent(task.truncated),
            percent(task.looping),
            percent(task.no_answer)
        ))?;
        if task.undecided > 0.0 {
            let share = percent(task.undecided);
            tracing::warn!("{}: {share} of the answers could not be compared and count as wrong", harmless(&task.name));
        }
    }
    for task in &results.tasks {
        let thinking = &task.thinking_tokens_percentiles;
        let speed = task.tokens_per_second.map_or_else(String::new, |rate| format!(", {rate:.0} tokens/s"));
        console.line(format_args!(
            "{}: thinking {:.0} tokens on average (half up to {}, 90% up to {}), {:.0} in all{speed}",
            harmless(&task.name),
            task.mean_thinking_tokens,
            thinking.p50,
            thinking.p90,
            task.mean_completion_tokens
        ))?;
    }
    Ok(console.line(format_args!("results: {}", folder.display()))?)
}

/// Shows itself on a terminal only.
fn progress_bar(what: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    let style = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {what}, {{eta}} left");
    bar.set_style(ProgressStyle::with_template(&style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn show_progress(bar: &ProgressBar, progress: &Progress) {
    if bar.length().is_none() {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.resumed as u64);
        bar.reset_eta();
        if progress.resumed > 0 {
            tracing::info!("{} of {} answers are there already", progress.resumed, progress.total);
        }
    }
    bar.set_message(format!("{:.0} tokens/s", progress.tokens_per_second));
    bar.set_position(progress.done as u64);
}

/// The present time in UTC, to the second.
fn date() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let day = aludel_text::Date::from_unix_seconds(now as i64);
    let (hour, minute, second) = (now / 3600 % 24, now / 60 % 60, now % 60);
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day.year, day.month, day.day)
}

/// The processor's name, where the system tells.
fn machine() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'))?.1;
    Some(name.trim().to_owned())
}
