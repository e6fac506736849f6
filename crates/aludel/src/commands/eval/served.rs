//! The served model of `aludel eval --endpoint`: its server, its name there, options that it cannot have, and the remedy if it does not
//! answer. Requests are made in `aludel_distill::evaluate::served`.

use super::{EvalArgs, show_progress, tell_kept};
use crate::commands::collect::{Warnings, headers, key};
use crate::console::harmless;
use crate::progress::{Progress, WorkKind};
use crate::provenance::current_provenance;
use crate::report::ErrorWithHelp;
use aludel_distill::Error;
use aludel_distill::evaluate::identity::fields_fingerprint;
use aludel_distill::evaluate::results::{ModelName, Results, Settings};
use aludel_distill::evaluate::served::ServedBackend;
use aludel_distill::evaluate::task::Task;
use aludel_distill::evaluate::{Evaluation, evaluate};
use aludel_distill::provenance::Provenance;
use aludel_distill::settings::{Problem, Problems, Recipe};
use aludel_teacher::client::{HttpTeacher, Teacher};
use aludel_teacher::collect::{Options, listed_models};
use anyhow::anyhow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Questions at once, where no number is given: what a small server has room for.
const CONCURRENCY: usize = 8;

/// A server, and how it is asked.
pub(super) struct Server {
    teacher: Arc<dyn Teacher>,
    options: Options,
    model: ModelName,
}

impl Server {
    /// The server of the recipe, which holds the flags. Asks it for its model's name only where none is given.
    pub(super) fn new(args: &EvalArgs, recipe: &Recipe) -> anyhow::Result<Option<Server>> {
        if args.endpoint.is_none() {
            return Ok(None);
        }
        let given = [
            ("data.template_date", recipe.data.template_date.map(|date| date.to_string())),
            ("data.template_variables", recipe.data.template_variables.keys().next().cloned()),
        ];
        if let Some((key, Some(value))) = given.into_iter().find(|(_, value)| value.is_some()) {
            let reason = "the template of a served model is its server's, which is not told this";
            let mend =
                "leave it out; trace.extra_body holds what the server is asked with, for example chat_template_kwargs";
            return Err(Problems::one(Problem::new(key, Some(value), reason, mend)).into());
        }
        let Some(mut endpoint) = recipe.trace.endpoints().into_iter().next() else { return Ok(None) };
        endpoint.key = key(recipe)?;
        endpoint.headers = headers(recipe)?;
        let teacher = HttpTeacher::new(endpoint)?;
        let mut options = recipe.trace.options();
        options.concurrency = args.concurrency.map_or(CONCURRENCY, usize::from);
        if options.asking.model.is_empty() {
            options.asking.model = only_model(&teacher)?;
        }
        let model = ModelName {
            endpoint: Some(teacher.name().to_owned()),
            served: Some(options.asking.model.clone()),
            name: args.name.clone().unwrap_or_else(|| options.asking.model.clone()),
            fingerprint: fields_fingerprint(&options.asking.extra_body),
            ..ModelName::default()
        };
        Ok(Some(Server { teacher: Arc::new(teacher), options, model }))
    }

    /// Evaluates into a folder, or resumes there. `None` if it was stopped.
    pub(super) fn evaluate(
        self,
        tasks: &[Task],
        settings: Settings,
        folder: &Path,
        stop: &AtomicBool,
    ) -> anyhow::Result<Option<Results>> {
        // How a model runs there is not known.
        let settings = Settings { dtype: None, ..settings };
        // Nor where.
        let made_by = Provenance { processor: None, threads: None, ..current_provenance() };
        let evaluation = Evaluation { tasks, model: self.model, settings, made_by };
        let shown = Progress::new();
        shown.begin(WorkKind::Generating);
        let endpoint = self.teacher.name().to_owned();
        let mut warnings = Warnings::default();
        let mut tell = |words: &str| {
            let line = format!("{endpoint}: {}", harmless(words));
            if warnings.is_first(&line) {
                tracing::warn!("{line}");
            }
        };
        let open =
            || Ok(Box::new(ServedBackend::new(self.teacher, &evaluation.settings, self.options, &mut tell)) as Box<_>);
        let mut kept = None;
        let mut observe = |told| {
            show_progress(&shown, &told, true);
            kept = Some(told);
        };
        let results = evaluate(&evaluation, folder, open, stop, &mut observe);
        drop(shown);
        if matches!(results, Ok(None)) {
            tell_kept(kept, folder);
        }
        warnings.repeated().iter().for_each(|line| tracing::warn!("{line}"));
        results.map_err(with_help)
    }
}

/// The one model of a server.
fn only_model(teacher: &HttpTeacher) -> anyhow::Result<String> {
    let endpoint = teacher.name().to_owned();
    let models = listed_models(teacher).map_err(|failure| explained(&endpoint, failure.to_string()))?;
    match models.as_slice() {
        [model] => Ok(model.clone()),
        models => {
            let listed: Vec<&str> = models.iter().take(20).map(String::as_str).collect();
            let reason = match models.len() {
                0 => "the server does not say which models it has".to_owned(),
                count => format!("the server has {count} models: {}", listed.join(", ")),
            };
            Err(Problems::one(Problem::new("--model", None, reason, "name one of them: --model NAME")).into())
        }
    }
}

/// Refuses options for local models with a served one.
pub(super) fn refuse_local_options(args: &EvalArgs) -> Result<(), Problems> {
    let shown = |path: &std::path::PathBuf| path.display().to_string();
    let here = "it says how a model runs here, and this one runs on its server";
    let leave_out = "leave it out; --concurrency says how many questions are asked at once";
    let given = [
        (
            "--adapter",
            args.adapter.as_ref().map(shown),
            "the server has loaded its model already, and takes no adapter from here",
            "serve the model with the adapter on it, for example what `aludel merge` writes",
        ),
        (
            "--loss",
            args.loss.then(String::new),
            "a server does not tell the loss of given answers",
            "name the model's own files: --model PATH --loss",
        ),
        (
            "--kl-to",
            args.kl_to.as_ref().map(|teacher| teacher.display().to_string()),
            "a server does not tell its probability of every token",
            "name the model's own files: --model PATH --kl-to TEACHER",
        ),
        ("--batch", args.shared.batch.map(|batch| batch.to_string()), here, leave_out),
        ("--dtype", args.shared.dtype.clone(), here, leave_out),
        ("--quantize", args.shared.quantize.quantize.clone(), here, leave_out),
        ("--threads", args.shared.threads.clone(), here, leave_out),
    ];
    let problem = |(key, value, reason, mend): (&str, Option<String>, &str, &str)| {
        let value = value?;
        Some(Problem::new(key, Some(value).filter(|value| !value.is_empty()), reason, mend))
    };
    Problems::unless_empty(given.into_iter().filter_map(problem).collect())
}

/// An evaluation's error, with the remedy if a server does not respond.
fn with_help(error: Error) -> anyhow::Error {
    match error {
        Error::Unanswered { endpoint, reason } => explained(&endpoint, reason),
        error => error.into(),
    }
}

fn explained(endpoint: &str, reason: String) -> anyhow::Error {
    anyhow!(reason).context(ErrorWithHelp {
        message: format!("{endpoint}: the served model does not answer"),
        help: "fix what it says (address, key, model name), and give the same command again: what was answered is kept"
            .to_owned(),
    })
}
