//! Runs of training: loss and learning rate over the steps, what they were trained on and what that took, and the whole recipe, folded.

use super::chart::{self, Series};
use super::html::{Html, classed, element, join, text};
use super::verdict::facts_list;
use super::{grouped, section};
use aludel_distill::metrics::{self, EvalRecord, SampleRecord, StepRecord};
use aludel_distill::settings::read_table;
use aludel_traces::store::{Snapshot, Status, TokenCounts};
use std::path::Path;
use toml::{Table, Value};

/// Steps that are drawn; of more, the means of neighbours.
const POINTS: usize = 400;

/// What a run folder says.
pub(crate) struct Run {
    pub(super) name: String,
    recipe: Table,
    steps: Vec<StepRecord>,
    evaluations: Vec<EvalRecord>,
    /// Its sample answers.
    pub(super) samples: Vec<SampleRecord>,
    /// What the traces took that it was trained on, where that is known.
    traces: Option<Status>,
}

impl Run {
    /// Reads `metrics.jsonl` and `recipe.toml` of a run folder.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Run> {
        let (steps, evaluations) = metrics::read(folder)?;
        let samples = metrics::read_samples(folder)?;
        let recipe = aludel_files::read_to_string(folder.join("recipe.toml"), aludel_files::SMALL)
            .ok()
            .and_then(|text| read_table(&text).ok());
        let mut recipe = recipe.unwrap_or_default();
        recipe.iter_mut().for_each(|(_, value)| shorten_paths(value));
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_else(|| "run".to_owned());
        Ok(Run { name, recipe, steps, evaluations, samples, traces: None })
    }

    /// The run with what a store says of the traces that it was trained on.
    pub(crate) fn with_traces(self, store: &Path) -> anyhow::Result<Run> {
        Ok(Run { traces: Some(Snapshot::open(store)?.status()?), ..self })
    }
}

/// Where files lie on this machine is not for whoever reads a report.
fn shorten_paths(value: &mut Value) {
    match value {
        Value::String(text) if Path::new(text).is_absolute() => {
            if let Some(name) = Path::new(text).file_name() {
                *text = name.to_string_lossy().into_owned();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shorten_paths),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| shorten_paths(value)),
        _ => {}
    }
}

/// All runs.
pub(super) fn part(runs: &[Run]) -> Html {
    if runs.is_empty() {
        return Html::default();
    }
    section("Training", "Loss per supervised token, before each step.", runs.iter().map(run).collect())
}

fn run(run: &Run) -> Html {
    let losses = thinned(run.steps.iter().map(|step| (step.step as f64, step.loss)).collect());
    let rates = thinned(run.steps.iter().map(|step| (step.step as f64, step.learning_rate)).collect());
    let held_back: Vec<(f64, f64)> = run.evaluations.iter().map(|eval| (eval.step as f64, eval.eval_loss)).collect();
    let series = [Series { points: &losses, class: "train" }, Series { points: &held_back, class: "held-back" }];
    let legend = join([
        element("li", &[], join([element("i", &[("class", "train")], Html::default()), text("training")])),
        element("li", &[], join([element("i", &[("class", "held-back")], Html::default()), text("rows held back")])),
    ]);
    let rate = Series { points: &rates, class: "rate" };
    let written = toml::to_string(&run.recipe).unwrap_or_default();
    let recipe = element(
        "details",
        &[],
        join([element("summary", &[], text("the whole recipe")), classed("pre", "foreign", text(&written))]),
    );
    join([
        element("h3", &[], text(&run.name)),
        classed("p", "who", text("Loss")),
        chart::lines(&series, "step", "loss over the steps"),
        classed("ul", "legend", legend),
        classed("p", "who", text("Learning rate")),
        chart::lines(&[rate], "step", "learning rate over the steps"),
        facts_list(&facts(run)),
        recipe,
    ])
}

/// The recipe in brief, the data, and what the run and its data took.
fn facts(run: &Run) -> Vec<(&'static str, Option<String>)> {
    let setting = |section: &str, key: &str| {
        let value = run.recipe.get(section)?.get(key)?;
        Some(match value {
            Value::String(text) => text.clone(),
            Value::Array(values) => values
                .iter()
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(", "),
            value => value.to_string(),
        })
    };
    let sum = |of: fn(&StepRecord) -> u64| run.steps.iter().map(of).sum::<u64>();
    let seconds: f64 = run.steps.iter().map(|step| step.seconds).sum();
    let rank =
        setting("lora", "r").map(|r| format!("r = {r}, alpha = {}", setting("lora", "alpha").unwrap_or_default()));
    let last = run.steps.last();
    let rate = setting("train", "learning_rate")
        .map(|rate| format!("{rate}, {}", setting("train", "lr_scheduler_type").unwrap_or_default()));
    let own = [
        ("student", setting("student", "model")),
        ("data", setting("data", "files")),
        ("LoRA", rank),
        ("targets", setting("lora", "target_modules")),
        ("learning rate", rate),
        ("steps", last.map(|step| format!("{}, {:.2} epochs", grouped(step.step), step.epoch))),
        (
            "tokens",
            last.map(|_| {
                format!("{}, {} of them supervised", grouped(sum(|s| s.tokens)), grouped(sum(|s| s.supervised_tokens)))
            }),
        ),
        ("time", last.map(|_| duration(seconds))),
        ("started from", setting("train", "init_adapter")),
    ];
    own.into_iter().chain(run.traces.iter().flat_map(teacher_costs)).collect()
}

/// What the teachers' traces took.
fn teacher_costs(traces: &Status) -> [(&'static str, Option<String>); 4] {
    let mut teachers: Vec<&str> = traces.runs.iter().map(|run| run.teacher.as_str()).collect();
    teachers.sort_unstable();
    teachers.dedup();
    let TokenCounts { prompt, completion } = traces.tokens;
    [
        ("teacher", Some(teachers.join(", ")).filter(|teachers| !teachers.is_empty())),
        ("traces", Some(format!("{} whole, {} cut", grouped(traces.complete), grouped(traces.cut)))),
        ("tokens of traces", Some(format!("{} asked, {} answered", grouped(prompt), grouped(completion)))),
        // Without a price the store counts nothing.
        (
            "cost of traces",
            (traces.cost > 0.0).then(|| format!("${:.*}", if traces.cost < 1.0 { 4 } else { 2 }, traces.cost)),
        ),
    ]
}

pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5400.0 => format!("{:.1} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

/// The points, or the means of as many neighbours as leave few enough.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[(f64, f64)]| {
        let sum = chunk.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / chunk.len() as f64, sum.1 / chunk.len() as f64)
    };
    points.chunks(size).map(mean).collect()
}
