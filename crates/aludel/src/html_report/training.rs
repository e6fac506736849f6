//! Training runs: loss, learning rate, gradient norm and speed over the steps, data and cost of the training, and the complete recipe,
//! folded.

use super::footer::{command_line, facts_list, made_by};
use super::html::{Html, classed, element, join, text};
use super::plot::{Plot, Series, Values, smoothing, value_words};
use super::{axis, grouped, section};
use crate::humanize::{cost_of, duration, held_out_loss};
use aludel_distill::metrics::{self, EvalRecord, SampleRecord, StepRecord};
use aludel_distill::provenance::{Session, Times, sessions};
use aludel_distill::settings::read_table;
use aludel_distill::supervision::LossTerm;
use aludel_teacher::store::{Snapshot, Status, TokenCounts};
use std::path::Path;
use toml::{Table, Value};

/// What a run folder says.
pub(crate) struct Run {
    pub(super) name: String,
    recipe: Table,
    steps: Vec<StepRecord>,
    evaluations: Vec<EvalRecord>,
    /// What each session was; none for runs of versions that did not record them.
    sessions: Vec<Session>,
    /// Its sample answers.
    pub(super) samples: Vec<SampleRecord>,
    /// The cost of the traces that it was trained on, if known.
    traces: Option<Status>,
}

impl Run {
    /// Reads the records and the recipe of a run folder.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Run> {
        let (steps, evaluations) = metrics::read(folder)?;
        let samples = metrics::read_samples(folder)?;
        let recipe = aludel_files::read_to_string(folder.join("recipe.toml"), aludel_files::SMALL)
            .ok()
            .and_then(|text| read_table(&text).ok());
        let mut recipe = recipe.unwrap_or_default();
        let sessions = sessions(folder)?;
        let folders: Vec<&Path> =
            sessions.iter().filter_map(|one| one.working_directory.as_deref()).map(Path::new).collect();
        recipe.iter_mut().for_each(|(_, value)| as_given(value, &folders));
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_else(|| "run".to_owned());
        Ok(Run { name, recipe, steps, evaluations, samples, sessions, traces: None })
    }

    /// The run with what a store says of the traces that it was trained on.
    pub(crate) fn with_traces(self, store: &Path) -> anyhow::Result<Run> {
        Ok(Run { traces: Some(Snapshot::open(store)?.status()?), ..self })
    }
}

/// Paths as they were given from the folders that the run was started in. Where else files lie on that machine is not for whoever reads
/// a report: of other paths only the end is told.
fn as_given(value: &mut Value, started_in: &[&Path]) {
    match value {
        Value::String(text) if Path::new(text).is_absolute() => {
            let path = Path::new(text.as_str());
            let given = started_in.iter().find_map(|folder| path.strip_prefix(folder).ok());
            let given = given.filter(|given| !given.as_os_str().is_empty()).map(|given| given.display().to_string());
            let end = || Some(format!("…/{}", path.file_name()?.to_string_lossy()));
            if let Some(shown) = given.or_else(end) {
                *text = shown;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| as_given(value, started_in)),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| as_given(value, started_in)),
        _ => {}
    }
}

/// All runs.
pub(super) fn part(runs: &[Run]) -> Html {
    if runs.is_empty() {
        return Html::default();
    }
    let lead = "Loss is per supervised token, taken before each step. Dashed lines are the ends of epochs.";
    section("Training", lead, runs.iter().map(run).collect())
}

fn run(run: &Run) -> Html {
    let written = toml::to_string(&run.recipe).unwrap_or_default();
    let recipe = element(
        "details",
        &[],
        join([element("summary", &[], text("the whole recipe")), classed("pre", "foreign", text(&written))]),
    );
    join([element("h3", &[], text(&run.name)), drawings(run), facts_list(&facts(run)), recipe])
}

/// The loss, and small drawings of what else was recorded at each step.
fn drawings(run: &Run) -> Html {
    let of = |value: fn(&StepRecord) -> f64| -> Values {
        run.steps.iter().map(|step| (step.step as f64, value(step))).filter(|(_, value)| value.is_finite()).collect()
    };
    let held_back: Values = run.evaluations.iter().map(|eval| (eval.step as f64, eval.eval_loss)).collect();
    let all_steps = || run.steps.iter().map(|step| step.step).chain(run.evaluations.iter().map(|eval| eval.step));
    let (Some(first), Some(last)) = (all_steps().min(), all_steps().max()) else { return Html::default() };
    let (steps, epochs) = ((first as f64, last as f64), epochs(&run.steps));
    let losses = of(|step| step.loss);
    let series = [(Series::Smoothed(&losses), "train"), (Series::Points(&held_back), "held-back")];
    let loss = figure("Loss", &loss_words(&losses, &held_back), &Plot { series: &series, steps, epochs: &epochs });
    let smoothed = match smoothing(losses.len()) {
        0 | 1 => "training, each step".to_owned(),
        over => format!("training, each step, and smoothed over {over}"),
    };
    let entry = |class: &'static str, words: &str| {
        element("li", &[], join([element("i", &[("class", class)], Html::default()), text(words)]))
    };
    let held = if held_back.is_empty() { Html::default() } else { entry("held-back", "rows held back") };
    let legend = classed("ul", "legend", join([entry("train", &smoothed), held]));
    let (rates, norms) = (of(|step| step.learning_rate), of(|step| step.grad_norm));
    let speeds = of(|step| if step.seconds > 0.0 { step.tokens as f64 / step.seconds } else { f64::NAN });
    let small = |name: &str, note: &str, series: Series<'_>| {
        figure(name, note, &Plot { series: &[(series, "other")], steps, epochs: &epochs })
    };
    let highest = rates.iter().map(|rate| rate.1).fold(0.0, f64::max);
    let tokens: u64 = run.steps.iter().map(|step| step.tokens).sum();
    let seconds: f64 = run.steps.iter().map(|step| step.seconds).sum();
    let speed =
        if seconds > 0.0 { format!("{} in the mean", axis::short(tokens as f64 / seconds)) } else { String::new() };
    let terms = terms(run);
    let terms = terms.iter().map(|(term, share, values)| small(term_title(*term), share, Series::Smoothed(values)));
    let terms: Vec<Html> = terms.collect();
    let others = [
        small("Learning rate", &format!("{} at most", axis::short(highest)), Series::Line(&rates)),
        small("Gradient norm", "before clipping", Series::Smoothed(&norms)),
        small("Tokens a second", &speed, Series::Smoothed(&speeds)),
    ];
    join([loss, legend, classed("div", "multiples", terms.into_iter().chain(others).collect())])
}

/// The terms of a loss that is not cross-entropy alone: each with its share of the loss, and its values without its weight.
fn terms(run: &Run) -> Vec<(LossTerm, String, Values)> {
    let of = |term: LossTerm| {
        let steps = run.steps.iter().filter_map(|step| Some((step.step as f64, *step.terms.get(&term)?)));
        steps.filter(|(_, value)| value.is_finite()).collect::<Values>()
    };
    let weight = |term: LossTerm| {
        let weight = run.recipe.get("distill").and_then(|section| section.get("weights")?.get(term.name()));
        weight.and_then(|weight| weight.as_float().or_else(|| weight.as_integer().map(|whole| whole as f64)))
    };
    let terms = LossTerm::ALL.map(|term| {
        let values = of(term);
        let sum: f64 = values.iter().map(|(_, value)| value).sum();
        (term, sum * weight(term).unwrap_or(1.0), values)
    });
    let whole: f64 = terms.iter().map(|(_, sum, _)| sum).sum();
    let there = terms.into_iter().filter(|(_, _, values)| !values.is_empty());
    there.map(|(term, sum, values)| (term, format!("{:.0}% of the loss", 100.0 * sum / whole), values)).collect()
}

fn term_title(term: LossTerm) -> &'static str {
    match term {
        LossTerm::Ce => "Cross-entropy",
        LossTerm::Logits => "Divergence from the teacher",
        LossTerm::Hidden => "Distance of hidden states",
    }
}

/// A drawing under its name; nothing where there is nothing to draw.
fn figure(name: &str, note: &str, plot: &Plot<'_>) -> Html {
    let Some(axis) = plot.axis() else { return Html::default() };
    let notes = [note, if axis.is_log() { "logarithmic" } else { "" }];
    let notes = notes.into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(" · ");
    let head = element("h4", &[], join([text(name), classed("small", "n", text(&notes))]));
    let said = format!("{name} over steps {} to {}; {notes}", plot.steps.0, plot.steps.1);
    classed("div", "small-multiple", join([head, plot.draw(&said)]))
}

/// Where the held-out loss, or else the loss, came from and went to.
fn loss_words(losses: &[(f64, f64)], held_back: &[(f64, f64)]) -> String {
    match (held_back, losses) {
        ([(_, first), .., (_, last)], _) => {
            let fall = held_out_loss(Some(*first), Some(*last));
            format!("held back {}", fall.unwrap_or_default())
        }
        ([(_, only)], _) => format!("held back {}", value_words(*only)),
        ([], [(_, first), .., (_, last)]) => format!("training {} → {}", value_words(*first), value_words(*last)),
        ([], [(_, only)]) => format!("training {}", value_words(*only)),
        ([], []) => String::new(),
    }
}

/// The steps that ended an epoch, and which.
fn epochs(steps: &[StepRecord]) -> Vec<(f64, u64)> {
    let mut ended = 0;
    let mut marks = Vec::new();
    for step in steps {
        let whole = (step.epoch + 1e-6).floor().max(0.0) as u64;
        if whole > ended {
            ended = whole;
            marks.push((step.step as f64, whole));
        }
    }
    marks
}

/// The recipe in brief, the data, and the cost of the run and its data.
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
    let rank =
        setting("lora", "r").map(|r| format!("r = {r}, alpha = {}", setting("lora", "alpha").unwrap_or_default()));
    let is_dora = setting("lora", "use_dora").is_some_and(|value| value == "true");
    let last = run.steps.last();
    let rate = setting("train", "learning_rate")
        .map(|rate| format!("{rate}, {}", setting("train", "lr_scheduler_type").unwrap_or_default()));
    let session = run.sessions.last();
    let parameters = session.map(|session| grouped(session.trained_parameters)).filter(|count| count != "0");
    let own = [
        ("student", setting("student", "model")),
        ("learnt", learnt(&setting)),
        ("teacher", setting("distill", "teacher")),
        ("cache of a teacher", setting("distill", "cache")),
        ("data", setting("data", "files")),
        ("rows", session.map(rows)),
        ("rows left out", session.map(left_out)),
        (if is_dora { "DoRA" } else { "LoRA" }, rank),
        ("targets", setting("lora", "target_modules")),
        ("parameters", parameters.map(|count| format!("{count} trained"))),
        ("batch", batch(&setting)),
        ("learning rate", rate),
        ("seed", setting("train", "seed")),
        ("precision", precision(&setting)),
        ("steps", last.map(|step| format!("{}, {:.2} epochs", grouped(step.step), step.epoch))),
        (
            "tokens",
            last.map(|_| {
                format!("{}, {} of them supervised", grouped(sum(|s| s.tokens)), grouped(sum(|s| s.supervised_tokens)))
            }),
        ),
        ("time", last.map(|_| times(run))),
        ("started from", setting("train", "init_adapter")),
    ];
    let teachers = run.traces.iter().flat_map(teacher_costs);
    own.into_iter().chain(teachers).chain(sessions_facts(&run.sessions)).collect()
}

/// The time of the run by stage, and in total if no session of it was killed.
fn times(run: &Run) -> String {
    let steps: f64 = run.steps.iter().map(|step| step.seconds).sum();
    let evaluations: f64 = run.evaluations.iter().map(|evaluation| evaluation.eval_seconds).sum();
    let samples: f64 = run.samples.iter().map(|record| record.sample_seconds).sum();
    let sessions: Option<Vec<Times>> = run.sessions.iter().map(|session| session.times).collect();
    let sessions = sessions.filter(|sessions| !sessions.is_empty());
    let of_sessions = |of: fn(&Times) -> f64| sessions.iter().flatten().map(of).sum::<f64>();
    let of_steps = |of: &dyn Fn(&StepRecord) -> Option<f64>| run.steps.iter().filter_map(of).sum::<f64>();
    let parts = [
        ("steps", steps),
        ("of these the teacher", of_steps(&|step| step.teacher_seconds)),
        ("own answers", of_steps(&|step| step.own_answers.map(|own| own.seconds))),
        ("evaluation", evaluations),
        ("sample answers", samples),
        ("saving", of_sessions(|times| times.saving)),
    ];
    let parts = parts.into_iter().filter(|(name, seconds)| *name == "steps" || *seconds > 0.0);
    let parts: Vec<String> = parts.map(|(name, seconds)| format!("{name} {}", duration(seconds))).collect();
    match &sessions {
        Some(_) => format!("{} in all: {}", duration(of_sessions(|times| times.total)), parts.join(", ")),
        None => parts.join(", "),
    }
}

fn rows(session: &Session) -> String {
    format!("{} trained on, {} held back", grouped(session.train_rows), grouped(session.eval_rows))
}

/// How many rows of the data no step saw, and why.
fn left_out(session: &Session) -> String {
    let outcomes = &session.outcomes;
    let kinds = [
        (outcomes.too_long, "longer than max_length"),
        (outcomes.unsupervised, "without a token to train on"),
        (outcomes.records.bad_rows(), "unreadable"),
    ];
    let mut words: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(*count)))
        .collect();
    if words.is_empty() {
        words.push("none".to_owned());
    }
    if outcomes.truncated > 0 {
        words.push(format!("{} more were cut", grouped(outcomes.truncated)));
    }
    words.join(", ")
}

/// What is learnt beside the tokens of the data.
fn learnt(setting: &dyn Fn(&str, &str) -> Option<String>) -> Option<String> {
    let kind = setting("distill", "kind").filter(|kind| kind != "ce")?;
    let own = setting("distill", "lambda").and_then(|lambda| lambda.parse::<f64>().ok()).filter(|&lambda| lambda > 0.0);
    let own = own.map_or_else(String::new, |lambda| format!(", {:.0}% of the steps on-policy", 100.0 * lambda));
    Some(format!("{kind}: {}{own}", setting("distill", "divergence")?))
}

/// Rows of a step, and what they are made of.
fn batch(setting: &dyn Fn(&str, &str) -> Option<String>) -> Option<String> {
    let number = |key: &str| setting("train", key).and_then(|value| value.parse::<u64>().ok());
    let (rows, times) = (number("per_device_train_batch_size")?, number("gradient_accumulation_steps").unwrap_or(1));
    let rows_of_step = grouped(rows.saturating_mul(times));
    let how = if times > 1 { format!(" ({rows} × {times} accumulated)") } else { String::new() };
    let packed = setting("train", "packing").is_some_and(|packing| packing == "true");
    Some(format!("{rows_of_step} {} a step{how}", if packed { "packed bins" } else { "rows" }))
}

fn precision(setting: &dyn Fn(&str, &str) -> Option<String>) -> Option<String> {
    let mut dtype = setting("student", "dtype")?;
    if let Some(how) = setting("student", "quantize").filter(|how| how != "none") {
        dtype = format!("{dtype} on {how} weights");
    }
    Some(match setting("student", "instruction_set") {
        Some(set) => format!("{dtype}, {set}"),
        None => dtype,
    })
}

/// By which program, on which machine, with which command; each once, however often the run was resumed.
fn sessions_facts(sessions: &[Session]) -> Vec<(&'static str, Option<String>)> {
    let mut facts: Vec<(&'static str, Option<String>)> = Vec::new();
    for session in sessions {
        let command = match session.resumed_at {
            0 => ("command", command_line(&session.made_by.command)),
            _ => ("resumed by", command_line(&session.made_by.command)),
        };
        let [processor, program] = made_by(&session.made_by);
        for fact in [command, processor, program] {
            if !facts.contains(&fact) {
                facts.push(fact);
            }
        }
    }
    facts
}

/// The cost of the teachers' traces.
fn teacher_costs(traces: &Status) -> [(&'static str, Option<String>); 4] {
    let mut teachers: Vec<&str> = traces.runs.iter().map(|run| run.teacher.as_str()).collect();
    teachers.sort_unstable();
    teachers.dedup();
    let TokenCounts { prompt, completion } = traces.tokens;
    [
        ("teacher", Some(teachers.join(", ")).filter(|teachers| !teachers.is_empty())),
        ("traces", Some(format!("{} whole, {} cut", grouped(traces.complete), grouped(traces.cut)))),
        ("tokens of traces", Some(format!("{} asked, {} answered", grouped(prompt), grouped(completion)))),
        ("cost of traces", cost_of(traces.cost, traces.unpriced)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn terms_have_their_share_of_the_loss() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = "[distill]\nkind = [\"ce\", \"logits\"]\ndivergence = \"jsd\"\nlambda = 0.25\nweights = { ce = 0.5, logits = 1 }\n\
                      teacher = \"t.gguf\"\n";
        std::fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
        let step = |number: u64, terms: serde_json::Value| {
            json!({"step": number, "epoch": 1.0, "loss": 2.0, "terms": terms, "grad_norm": 1.0, "learning_rate": 0.001, "tokens": 100,
                "supervised_tokens": 50, "seconds": 4.0, "teacher_seconds": 1.0, "rows": []})
        };
        let steps = [step(1, json!({"ce": 2.0, "logits": 1.0})), step(2, json!({"ce": 2.0, "logits": 3.0}))];
        let lines: String = steps.iter().map(|step| format!("{step}\n")).collect();
        std::fs::write(folder.path().join("metrics.jsonl"), lines).unwrap();
        let run = Run::read(folder.path()).unwrap();
        let shares: Vec<_> = terms(&run).into_iter().map(|(term, share, values)| (term, share, values.len())).collect();
        let expected = [(LossTerm::Ce, "33% of the loss", 2), (LossTerm::Logits, "67% of the loss", 2)];
        assert_eq!(shares, expected.map(|(term, share, values)| (term, share.to_owned(), values)));
        let shown = part(&[run]).into_string();
        for words in [
            "Divergence from the teacher",
            "ce, logits: jsd, 25% of the steps on-policy",
            "t.gguf",
            "of these the teacher 2 s",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
    }

    #[test]
    fn the_recipe_shows_paths_as_they_were_given() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = "[student]\nmodel = \"/home/me/models/s.gguf\"\n[data]\nfiles = [\"/home/me/work/a/rows.jsonl\", \
                      \"/home/me/work/../b/rows.jsonl\", \"hf:owner/name\"]\n";
        std::fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
        std::fs::write(folder.path().join("metrics.jsonl"), "").unwrap();
        let shown = |sessions: &str| {
            std::fs::write(folder.path().join("sessions.jsonl"), sessions).unwrap();
            toml::to_string(&Run::read(folder.path()).unwrap().recipe).unwrap()
        };
        assert_eq!(
            shown("{\"working_directory\": \"/home/me/work\"}\n"),
            "[student]\nmodel = \"…/s.gguf\"\n\n[data]\nfiles = [\"a/rows.jsonl\", \"../b/rows.jsonl\", \"hf:owner/name\"]\n"
        );
        // A run of a version that did not record where it was started.
        assert!(shown("{}\n").contains("files = [\"…/rows.jsonl\", \"…/rows.jsonl\", \"hf:owner/name\"]"));
    }

    #[test]
    fn time_is_told_in_its_parts_and_in_all_where_all_of_it_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let step = json!({"step": 1, "epoch": 1.0, "loss": 2.0, "grad_norm": 1.0, "learning_rate": 0.001, "tokens": 100,
            "supervised_tokens": 60, "seconds": 90.0, "rows": [1]});
        let evaluation =
            json!({"step": 1, "epoch": 1.0, "eval_loss": 0.3, "eval_supervised_tokens": 10, "eval_seconds": 12.0});
        let of = |records: &[&serde_json::Value], sessions: &str| {
            let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
            std::fs::write(folder.path().join("metrics.jsonl"), lines).unwrap();
            std::fs::write(folder.path().join("sessions.jsonl"), sessions).unwrap();
            times(&Run::read(folder.path()).unwrap())
        };
        assert_eq!(of(&[&step], ""), "steps 90 s");
        assert_eq!(of(&[&step, &evaluation], "{}\n"), "steps 90 s, evaluation 12 s");
        let whole = "{\"times\": {\"steps\": 90.0, \"evaluation\": 12.0, \"saving\": 3.0, \"total\": 110.0}}\n";
        assert_eq!(of(&[&step, &evaluation], whole), "1.8 min in all: steps 90 s, evaluation 12 s, saving 3 s");
        assert_eq!(of(&[&step, &evaluation], &format!("{{}}\n{whole}")), "steps 90 s, evaluation 12 s");
    }
}
