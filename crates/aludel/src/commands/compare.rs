//! `aludel compare`: compares evaluations with the first of them, in the terminal and as an HTML report. `inputs` finds what is compared,
//! `aludel_distill::evaluate` computes the differences, `html_report` has the page.

mod inputs;

use super::eval::SharedEvalArgs;
use crate::console::Console;
use crate::html_report::{Report, Run, page};
use crate::humanize::grouped;
use crate::provenance::current_provenance;
use crate::report::{ErrorWithHelp, Outcome};
use crate::signals::tell_how_to_continue;
use crate::table::Table;
use crate::value_parser::integer;
use aludel_distill::evaluate::compare::{
    Change, Comparison, Evaluated, compare, p_value, percent_interval, percents, points_of,
};
use aludel_distill::evaluate::paired::Difference;
use aludel_distill::settings::{Problem, Problems};
use aludel_files::counted;
use aludel_formats::atomic;
use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use clap::Args;
use inputs::evaluated;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const REPORT: &str = "report.html";
const COMPARISON: &str = "comparison.json";

/// The options of `aludel compare`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// Folders that `aludel eval` wrote, or models (GGUF file, model folder, hf:owner/name), which are evaluated first; two or more,
    /// of which the first is the baseline to which the others are compared
    #[arg(value_name = "RESULT_DIR|MODEL", required = true, num_args = 1..)]
    named: Vec<PathBuf>,

    /// Tasks to evaluate models on, as for `aludel eval`
    #[arg(long, value_name = "NAME|FILE", num_args = 1..)]
    tasks: Vec<String>,

    /// Folder for report.html, comparison.json and the evaluations of models
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,

    /// Run folder of `aludel train`, whose losses and recipe the report shows; may be given several times
    #[arg(long = "run", value_name = "DIR")]
    runs: Vec<PathBuf>,

    /// Store of the traces that the run was trained on, whose tokens and cost the report shows; with several runs, in their order
    #[arg(long = "store", value_name = "FILE.db", requires = "runs")]
    stores: Vec<PathBuf>,

    /// Random seed of samples and confidence intervals
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = integer::<u64>(0..=u64::MAX))]
    seed: u64,

    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,

    // The last: its heading holds for all that follows.
    #[command(flatten, next_help_heading = "How models are asked")]
    shared: SharedEvalArgs,
}

const EXAMPLES: &str = "\
Examples:
  aludel compare before after --output-dir report
  aludel compare before after --run run --store traces.db --output-dir report
  aludel compare base small large --output-dir report --json
  aludel compare student.gguf merged --tasks gsm8k dice --limit 100 --temperature 0 --output-dir report

Models are evaluated into folders below --output-dir; the same command continues what was stopped.
Both models must have answered the same problems: tasks that differ are left out, and it is said why.
report.html is one file that needs no network; open it in a browser, on a phone too.";

/// Compares, writes the report and says the verdict.
pub(crate) fn run(args: &CompareArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    if args.named.len() < 2 {
        let reason = "there is nothing to compare it with";
        let mend = "name two or more folders of results or models, the baseline first";
        let given = args.named.first().map(|folder| folder.display().to_string());
        return Err(Problems::one(Problem::new("RESULT_DIR|MODEL", given, reason, mend)).into());
    }
    refuse_repeated(&args.named)?;
    refuse_foreign_report(&args.output_dir)?;
    let runs = args.runs()?;
    let Some(mut evaluated) = evaluated(args)? else {
        tell_how_to_continue();
        return Ok(Outcome::Stopped);
    };
    warn_of_copies(&evaluated);
    tell_apart(&mut evaluated);
    let (baseline, others) = (&evaluated[0], &evaluated[1..]);
    let comparisons = others.iter().map(|other| compare(baseline, other, args.seed)).collect::<Result<Vec<_>, _>>()?;
    let report =
        Report { evaluated: &evaluated, comparisons: &comparisons, runs: &runs, made_by: &current_provenance() };
    let path = write(&args.output_dir, &report)?;
    if args.json {
        console.json_line(&summary(&comparisons, Some(&path)))?;
    } else {
        comparisons.iter().try_for_each(|comparison| show(console, comparison))?;
        console.line(format_args!("report: {}", path.display()))?;
    }
    Ok(Outcome::Done)
}

impl CompareArgs {
    /// The runs, with what is known of their traces.
    fn runs(&self) -> anyhow::Result<Vec<Run>> {
        if let Some(store) = self.stores.get(self.runs.len()) {
            let reason = "there is no run for it";
            let mend = "give a --run for each --store";
            return Err(Problems::one(Problem::new("--store", Some(store.display().to_string()), reason, mend)).into());
        }
        let read = |(index, folder): (usize, &PathBuf)| match self.stores.get(index) {
            Some(store) => Run::read(folder)?.with_traces(store),
            None => Run::read(folder),
        };
        self.runs.iter().enumerate().map(read).collect()
    }
}

/// What is named twice would be compared with itself.
fn refuse_repeated(named: &[PathBuf]) -> Result<(), Problems> {
    // A name on the Hub is no path.
    let place = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let places: Vec<PathBuf> = named.iter().map(place).collect();
    let repeated = (0..named.len()).find(|&index| places[..index].contains(&places[index]));
    match repeated {
        None => Ok(()),
        Some(index) => {
            let reason = "it is named twice, and would be compared with itself";
            let mend = "name two or more different folders of results or models, the baseline first";
            let given = Some(named[index].display().to_string());
            Err(Problems::one(Problem::new("RESULT_DIR|MODEL", given, reason, mend)))
        }
    }
}

/// Says which folders hold the same answers: a copy, or one model under two names.
fn warn_of_copies(evaluated: &[Evaluated]) {
    for (index, one) in evaluated.iter().enumerate() {
        for other in &evaluated[..index] {
            if one.has_the_answers_of(other) {
                tracing::warn!(
                    "{} holds the same {} as {}, letter for letter: check that it is not a copy, and that it is of another model",
                    one.folder.display(),
                    counted(one.samples.len() as u64, "answer", "answers"),
                    other.folder.display()
                );
            }
        }
    }
}

/// Others call their reports so, too: one without a comparison of ours beside it is not replaced.
fn refuse_foreign_report(folder: &Path) -> anyhow::Result<()> {
    let bytes = aludel_files::read(folder.join(COMPARISON), aludel_files::SMALL).unwrap_or_default();
    let comparison: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if comparison["comparisons"].is_array() {
        return Ok(());
    }
    match [REPORT, COMPARISON].into_iter().find(|name| aludel_files::is_there(folder.join(name))) {
        None => Ok(()),
        Some(name) => Err(ErrorWithHelp {
            message: format!(
                "{}: holds a {name} that compare did not write, and it would be replaced",
                folder.display()
            ),
            help: "name another output folder".to_owned(),
        }
        .into()),
    }
}

/// Writes report.html and comparison.json into a folder, and gives the path of the report.
pub(crate) fn write(folder: &Path, report: &Report<'_>) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{}: cannot be made the output folder", folder.display()))?;
    let path = folder.join(REPORT);
    atomic::write_bytes(&path, page(report).as_bytes())?;
    atomic::write_json(&folder.join(COMPARISON), &summary(report.comparisons, None))?;
    Ok(path)
}

fn summary(comparisons: &[Comparison], report: Option<&Path>) -> Value {
    let mut summary = json!({"version": env!("CARGO_PKG_VERSION"), "comparisons": comparisons});
    if let Some(path) = report {
        summary["report"] = json!(path);
    }
    summary
}

/// Models of one name are called by their folders, too.
fn tell_apart(evaluated: &mut [Evaluated]) {
    let names: Vec<String> = evaluated.iter().map(|one| one.label.clone()).collect();
    for one in evaluated {
        if names.iter().filter(|name| **name == one.label).count() > 1 {
            let folder = one
                .folder
                .file_name()
                .map_or_else(|| one.folder.display().to_string(), |name| name.to_string_lossy().into_owned());
            one.label = format!("{} ({folder})", one.label);
        }
    }
}

/// The verdict, then a table with a row for each task and one for all of them.
pub(crate) fn show(console: &mut Console, comparison: &Comparison) -> anyhow::Result<()> {
    let verdict = &comparison.verdict;
    console.paragraph(Style::new(), format_args!("{} against {}", comparison.model, comparison.baseline))?;
    console.paragraph(style(verdict.change).bold(), &verdict.sentence)?;
    console.line("")?;
    table(comparison, console.table_width() >= WIDE).print(console)?;
    if comparison.tasks.len() > 1 {
        let note = "p of each task is corrected for their number (Holm); unclear: chance alone makes such differences";
        console.paragraph(Style::new().dimmed(), note)?;
    }
    for task in &comparison.tasks {
        let [before, after] = task.undecided.map(grouped);
        if task.undecided.iter().sum::<usize>() > 0 {
            console.paragraph(Style::new(), format_args!(
                "{}: {before} answers before and {after} after could not be compared with the right one and count as not right",
                task.name
            ))?;
        }
    }
    for line in &comparison.differs {
        console.paragraph(Style::new(), format_args!("not the same: {line}"))?;
    }
    Ok(())
}

/// Where a table is that wide, the interval of the score after has room, too.
const WIDE: usize = 100;

fn table(comparison: &Comparison, is_wide: bool) -> Table {
    let mut table = Table::new("task").numbers(["n", "before", "after"]);
    if is_wide {
        table = table.numbers(["95% interval"]);
    }
    table = table.numbers(["points", "95% interval", "p", "won", "lost"]).words("");
    let row = |name: &str, difference: &Difference, p: f64, [won, lost]: [usize; 2], change: Change| {
        let mut cells = vec![name.to_owned(), grouped(difference.n)];
        let [before, after] = percents(difference);
        cells.extend([before, after]);
        cells.extend(is_wide.then(|| percent_interval(difference)));
        let (points, interval) = points_of(difference);
        let p = p_value(p).trim_start_matches("p ").trim_start_matches("= ").replace("< ", "<");
        let word = match change {
            Change::Gain => "better",
            Change::Loss => "worse",
            Change::NotMeasurable => "unclear",
        };
        cells.extend([points, interval, p, grouped(won), grouped(lost), word.to_owned()]);
        cells
    };
    let (mut won, mut lost) = (0, 0);
    for task in &comparison.tasks {
        let counts = [task.won.len(), task.lost.len()];
        (won, lost) = (won + counts[0], lost + counts[1]);
        table.styled_row(style(task.change), row(&task.name, &task.difference, task.p_holm, counts, task.change));
    }
    if comparison.tasks.len() > 1 {
        let (pooled, change) = (&comparison.pooled, comparison.verdict.change);
        table.styled_row(style(change).bold(), row("together", pooled, pooled.p, [won, lost], change));
    }
    table
}

fn style(change: Change) -> Style {
    match change {
        Change::Gain => AnsiColor::Green.on_default(),
        Change::Loss => AnsiColor::Red.on_default(),
        Change::NotMeasurable => Style::new(),
    }
}
