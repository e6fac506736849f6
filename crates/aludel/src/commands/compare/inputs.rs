//! The inputs of `aludel compare`: folders of results, which are read, and models, which are evaluated first, each into a folder of its
//! own below the output folder, where a second run finds it.

use super::CompareArgs;
use crate::commands::eval::{LocalModel, usual_name, warn, warn_of_lost_reasoning};
use crate::next_command::as_typed;
use crate::progress::Phase;
use crate::run_folder::is_run;
use crate::settings::{Flags, RecipeArgs, scope};
use crate::signals::stop_on_signals;
use aludel_distill::evaluate::compare::Evaluated;
use aludel_distill::evaluate::results::{PLAN_FILE_NAME, RESULTS_FILE_NAME};
use aludel_distill::settings::{Problem, Problems};
use aludel_hub::is_hub_name;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where models are evaluated, below the output folder.
const FOLDER: &str = "evaluations";

/// An input of the comparison.
enum CompareInput {
    Results(Box<Evaluated>),
    /// A model, and the folder that it is evaluated into.
    Model(Box<LocalModel>, PathBuf),
}

/// All inputs, in order, evaluated. `None` if it was stopped; it can then be resumed.
pub(super) fn evaluated(args: &CompareArgs) -> anyhow::Result<Option<Vec<Evaluated>>> {
    let names = names(&args.named)?;
    let models: Vec<&PathBuf> =
        args.named.iter().zip(&names).filter_map(|(path, name)| name.as_ref().map(|_| path)).collect();
    if let (Some(model), true) = (models.first(), args.tasks.is_empty()) {
        let reason = format!("{} is a model, and nothing says what it is to be asked", model.display());
        let mend = "give --tasks NAME|FILE..., or the folder of results that `aludel eval` wrote for it";
        return Err(Problems::one(Problem::missing("--tasks", &reason, mend)).into());
    }
    let mut idle = if args.tasks.is_empty() { Vec::new() } else { vec!["--tasks"] };
    idle.extend(args.shared.given());
    if models.is_empty() && !idle.is_empty() {
        let have = if idle.len() == 1 { "has" } else { "have" };
        tracing::warn!("{} {have} no effect: all that is compared are results already", idle.join(", "));
    }
    let recipe = args.shared.recipe(&RecipeArgs::default(), Flags::default(), &scope::EVAL_TASKS)?;
    // All that can be refused is refused before hours are spent.
    let open = |(path, name): (&PathBuf, Option<String>)| -> anyhow::Result<CompareInput> {
        match name {
            None => Ok(CompareInput::Results(Box::new(Evaluated::read(path)?))),
            Some(name) => {
                let model = LocalModel::new(path, None, Some(&name))?;
                Ok(CompareInput::Model(Box::new(model), args.output_dir.join(FOLDER).join(name)))
            }
        }
    };
    let opened = args.named.iter().zip(names).map(open).collect::<anyhow::Result<Vec<_>>>()?;
    let asked: &[String] = if models.is_empty() { &[] } else { args.tasks.as_slice() };
    let tasks = args.shared.tasks(asked, &recipe)?;
    let stop = if models.is_empty() { Arc::default() } else { stop_on_signals(as_typed())? };
    let (mut evaluated, mut done) = (Vec::new(), 0);
    for (path, named) in args.named.iter().zip(opened) {
        let one = match named {
            CompareInput::Results(results) => *results,
            CompareInput::Model(model, folder) => {
                tracing::info!("evaluating {}", model.model.name);
                let settings = args.shared.settings(&recipe, args.seed);
                let results = model.evaluate(
                    &tasks,
                    settings,
                    &recipe.student,
                    args.shared.batch.map(usize::from),
                    &folder,
                    Phase::one_of("model", done, models.len()),
                    &stop,
                )?;
                done += 1;
                if results.is_none() {
                    return Ok(None);
                }
                let read = Evaluated::read(&folder)?;
                warn_of_lost_reasoning(model.training_facts()?, &read, Some(path));
                read
            }
        };
        warn(&one.results, Some(path));
        evaluated.push(one);
    }
    Ok(Some(evaluated))
}

/// The name of each model, which is that of its file or folder, with its parent's where two have the same; `None` for results.
fn names(named: &[PathBuf]) -> Result<Vec<Option<String>>, Problems> {
    let usual: Vec<Option<String>> = named
        .iter()
        .map(|path| Ok(is_model(path)?.then(|| usual_name(path, None))))
        .collect::<Result<_, Problems>>()?;
    let parent = |path: &Path| Some(path.parent()?.file_name()?.to_string_lossy().into_owned());
    let full = |(path, name): (&PathBuf, &Option<String>)| {
        let name = name.as_ref()?;
        let is_unique = usual.iter().flatten().filter(|other| *other == name).count() == 1;
        let parent = parent(path).filter(|_| !is_unique);
        Some(parent.map_or_else(|| name.clone(), |parent| format!("{parent}-{name}")))
    };
    let names: Vec<Option<String>> = named.iter().zip(&usual).map(full).collect();
    for (index, name) in names.iter().enumerate() {
        if name.is_some() && names[..index].contains(name) {
            let reason = "two models would have the same name";
            let mend = "evaluate one of them with `aludel eval --name`, and compare its folder of results";
            return Err(Problems::one(Problem::new(
                "RESULT_DIR|MODEL",
                Some(named[index].display().to_string()),
                reason,
                mend,
            )));
        }
    }
    Ok(names)
}

/// Whether it is a model. What is neither that nor results is taken for results, whose reading says what is missing.
fn is_model(path: &Path) -> Result<bool, Problems> {
    let holds = |name: &str| aludel_files::is_there(path.join(name));
    match () {
        () if is_hub_name(path) => Ok(true),
        () if holds(PLAN_FILE_NAME) || holds(RESULTS_FILE_NAME) => Ok(false),
        () if holds("adapter_config.json") => {
            let shown = path.display().to_string();
            let mend = format!("merge it first: aludel merge --adapter {shown} --output-dir merged");
            let reason = "this is an adapter without its model";
            Err(Problems::one(Problem::new("RESULT_DIR|MODEL", Some(shown), reason, mend)))
        }
        () if is_run(path) => {
            let shown = path.display().to_string();
            let mend = format!(
                "evaluate its adapter and give the results, or merge it first: aludel merge --adapter {shown} --output-dir merged; \
                 --run {shown} shows its losses in the report"
            );
            let reason = "this is the folder of a training run, which holds no results";
            Err(Problems::one(Problem::new("RESULT_DIR|MODEL", Some(shown), reason, mend)))
        }
        () => Ok(path.is_file() || holds("config.json")),
    }
}
