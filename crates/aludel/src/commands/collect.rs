//! `aludel trace` with prompts, and `aludel plan trace`: their options, the key, the signals, and the output during the collection and at
//! its end. `trace status` prints what is in a store.

mod local;
mod progress_text;
mod show;
mod warnings;
mod watch;

use crate::console::{Console, harmless};
use crate::hub::fetch_named;
use crate::keys::{key_from_file, key_from_variable};
use crate::next_command::{after_collecting, after_planning, as_typed};
use crate::provenance::current_provenance;
use crate::report::{ErrorWithHelp, Outcome};
use crate::settings::scope::{self, Scope};
use crate::settings::{Flags, RecipeArgs, resolve};
use crate::signals::stop_on_signals_quietly;
use aludel_distill::settings::{Problem, Problems, Recipe};
use aludel_teacher::client::{HttpTeacher, Preset, Secret, Teacher};
use aludel_teacher::collect::{Collection, End, PilotResult, Summary, collect, listed_models, plan};
use aludel_teacher::store::Store;
use clap::Args;
use serde_json::json;
use show::CollectDisplay;
use std::path::PathBuf;
use std::sync::Arc;
pub(super) use warnings::Warnings;

/// The options of `aludel trace` and `aludel plan trace`. All of them may be in the recipe instead.
#[derive(Debug, Args)]
pub(crate) struct CollectArgs {
    /// Prompts: JSONL, JSON array (also .gz, .zst) or Parquet files, or hf:owner/name:split
    #[arg(long, value_name = "FILE", num_args = 1..)]
    prompts: Vec<PathBuf>,

    /// Teacher server, such as http://127.0.0.1:8000/v1 (several share the work), or a model that runs here: a GGUF file, a folder or
    /// hf:owner/name
    #[arg(long, value_name = "URL|MODEL", num_args = 1..)]
    teacher: Vec<String>,

    /// Preset address, API key variable and prices: deepseek, ollama, vllm or llama.cpp
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// Name of the model on the servers; not needed for a model that runs here
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Store of traces, a SQLite file; created if it does not exist
    #[arg(long, value_name = "FILE.db")]
    store: Option<PathBuf>,

    /// Environment variable that holds the API key
    #[arg(long, value_name = "VAR")]
    api_key_env: Option<String>,

    /// File that holds the API key
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Print a summary as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    recipe: RecipeArgs,

    /// Number of answers per prompt [default: 1]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    samples: Option<String>,

    /// Maximum concurrent requests per server; lowered while more concurrency brings no throughput [default: 64]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    concurrency: Option<String>,

    /// Sampling temperature [default: 0.6]
    #[arg(long, value_name = "X", help_heading = "Common settings")]
    temperature: Option<String>,

    /// Top-p: sample from the most likely tokens whose probabilities add up to this [default: 0.95]
    #[arg(long, value_name = "X", help_heading = "Common settings")]
    top_p: Option<String>,

    /// Maximum number of tokens of an answer, including reasoning
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    max_new_tokens: Option<String>,

    /// Text to append to each question; "boxed" asks for the final answer within \boxed{}
    #[arg(long, value_name = "TEXT", help_heading = "Common settings")]
    prompt_suffix: Option<String>,

    /// Price in dollars per million input tokens
    #[arg(long, value_name = "X", help_heading = "Common settings")]
    prompt_price: Option<String>,

    /// Price in dollars per million output tokens, including reasoning
    #[arg(long, value_name = "X", help_heading = "Common settings")]
    completion_price: Option<String>,

    /// Budget in dollars: stop before the store's traces, earlier runs included, cost more
    #[arg(long, value_name = "X", help_heading = "Common settings")]
    max_cost: Option<String>,

    /// Budget in tokens: stop before the store's traces, earlier runs included, take more
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    max_total_tokens: Option<String>,

    /// The earlier name of --max-total-tokens, which could be taken for the limit of one answer
    #[arg(long, hide = true)]
    max_tokens: Option<String>,

    /// Maximum requests per minute and server
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    requests_per_minute: Option<String>,

    /// Maximum tokens per minute and server
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    tokens_per_minute: Option<String>,

    /// Keep the log probability of each token
    #[arg(long, help_heading = "Common settings")]
    logprobs: bool,

    /// Skip rows that cannot be read, instead of stopping at the first
    #[arg(long, help_heading = "Common settings")]
    skip_bad_rows: bool,
}

/// Collects what is missing; SIGTERM and Ctrl-C stop it once answers on their way are there.
pub(crate) fn run(
    args: &CollectArgs,
    watch: bool,
    replace_damaged: bool,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let prepared = Prepared::of(args.recipe(&scope::TRACE)?)?;
    if replace_damaged {
        let removed = prepared.store.remove_damaged()?;
        if !args.json {
            console.line(format_args!("{removed} damaged traces are removed"))?;
        }
    }
    let outcome = collect_prepared(&prepared, watch, args.json, console)?;
    if outcome == Outcome::Done && !args.json {
        console.next(&after_collecting(prepared.store.path()))?;
    }
    Ok(outcome)
}

/// Collects what a recipe that is checked for it asks for.
pub(crate) fn collect_recipe(
    recipe: Recipe,
    watch: bool,
    json: bool,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    collect_prepared(&Prepared::of(recipe)?, watch, json, console)
}

fn collect_prepared(prepared: &Prepared, watch: bool, json: bool, console: &mut Console) -> anyhow::Result<Outcome> {
    let stop = stop_on_signals_quietly(as_typed())?;
    let mut shown = CollectDisplay::new(watch, &stop)?;
    let collected = collect(&prepared.collection(), &stop, &mut |event| shown.event(event));
    let warnings = shown.finish()?;
    let Summary { end, progress, .. } = &collected?;
    let store = prepared.recipe.trace.store.as_deref().unwrap_or("".as_ref());
    if json {
        console.json_line(&json!({
            "end": show::name(end), "reason": show::reason(end), "run": progress, "warnings": warnings.json(),
        }))?;
    } else {
        console.line(show::summary(progress, store))?;
    }
    outcome(end, json, prepared, console)
}

/// Runs a pilot and predicts the cost of the rest.
pub(crate) fn run_plan(args: &CollectArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let prepared = Prepared::of(args.recipe(&scope::PLAN_TRACE)?)?;
    let stop = stop_on_signals_quietly(as_typed())?;
    let mut shown = CollectDisplay::new(false, &stop)?;
    let planned = plan(&prepared.collection(), &stop, &mut |event| shown.event(event));
    let warnings = shown.finish()?;
    let PilotResult { end, progress, prediction } = planned?;
    if args.json {
        console.json_line(&json!({
            "end": show::name(&end), "reason": show::reason(&end), "pilot": progress, "prediction": prediction,
            "warnings": warnings.json(),
        }))?;
    } else if let Some(prediction) = &prediction {
        show::prediction(console, prediction, &progress)?;
    }
    let outcome = outcome(&end, args.json, &prepared, console)?;
    if let (Outcome::Done, false, Some(prediction)) = (outcome, args.json, &prediction) {
        console.next(&match prediction.missing {
            0 => after_collecting(prepared.store.path()),
            _ => after_planning(&current_provenance().command),
        })?;
    }
    Ok(outcome)
}

fn outcome(end: &End, json: bool, prepared: &Prepared, console: &mut Console) -> anyhow::Result<Outcome> {
    match end {
        End::Finished => Ok(Outcome::Done),
        End::Refused { words } => Err(ErrorWithHelp {
            message: format!("no teacher answers: {}", words.join("; ")),
            help: format!(
                "fix what they say (address, key, model name), and run the same command again: what is kept is not asked again{}",
                prepared.listed_models(words)
            ),
        }
        .into()),
        End::Incomplete { .. } | End::Stopped | End::Budget { .. } | End::Silent { .. } => {
            if !json {
                console.line(harmless(&show::reason(end).unwrap_or_default()))?;
                console.line(match end {
                    End::Budget { .. } => {
                        "to continue where this one stopped, give the same command with a higher --max-total-tokens or --max-cost".to_owned()
                    }
                    _ => format!("continue with: {}", as_typed()),
                })?;
            }
            Ok(Outcome::Stopped)
        }
    }
}

/// A checked recipe, the store it names, and the teachers, keys in their hands.
struct Prepared {
    recipe: Recipe,
    store: Store,
    teachers: Teachers,
}

/// Who is asked.
enum Teachers {
    /// Servers of one model.
    Served(Vec<Arc<HttpTeacher>>),
    /// A model in this process.
    Local(Box<local::LoadedTeacher>),
}

impl Prepared {
    fn of(mut recipe: Recipe) -> anyhow::Result<Prepared> {
        let key = key(&recipe)?;
        fetch_named(&mut recipe)?;
        let teachers = match recipe.trace.local_teacher() {
            Some(named) => Teachers::Local(Box::new(local::load(named, &recipe)?)),
            None => {
                let mut servers = Vec::new();
                for mut endpoint in recipe.trace.endpoints() {
                    endpoint.key = key.clone();
                    endpoint.headers = headers(&recipe)?;
                    servers.push(Arc::new(HttpTeacher::new(endpoint)?));
                }
                Teachers::Served(servers)
            }
        };
        let trace = &recipe.trace;
        if let (Some(known), Some(price)) = (trace.preset_prices(), trace.price())
            && (trace.prompt_price.is_none() || trace.completion_price.is_none())
        {
            let day = known.known_for;
            tracing::warn!(
                "costs are reckoned with ${} and ${} a million tokens asked and answered, the preset's prices of {day}; \
                 --prompt-price and --completion-price take today's",
                price.prompt,
                price.completion
            );
        }
        let store = Store::open(recipe.trace.store.as_deref().unwrap_or("".as_ref()))?;
        Ok(Prepared { recipe, store, teachers })
    }

    fn collection(&self) -> Collection<'_> {
        let options = self.recipe.trace.options();
        let (teachers, options) = match &self.teachers {
            Teachers::Served(servers) => {
                (servers.iter().map(|server| Arc::clone(server) as Arc<dyn Teacher>).collect(), options)
            }
            Teachers::Local(model) => (vec![Arc::clone(&model.teacher) as Arc<dyn Teacher>], model.options(options)),
        };
        let prompts = self.recipe.trace.prompt_files(self.recipe.data.read_options());
        Collection { prompts, store: &self.store, teachers, options }
    }

    /// What the first server that lists its models has, where the one that was asked for is not among them.
    fn listed_models(&self, words: &[String]) -> String {
        // A server that cannot be reached, or refuses the key, is not waited for again.
        let may_be_the_model =
            |words: &String| words.to_lowercase().contains("model") || words.starts_with("none of the first");
        if !words.iter().any(may_be_the_model) {
            return String::new();
        }
        let wanted = self.recipe.trace.model.as_deref().unwrap_or_default();
        let Teachers::Served(servers) = &self.teachers else { return String::new() };
        let mut lists = servers.iter().filter_map(|teacher| Some((teacher, listed_models(teacher).ok()?)));
        let Some((teacher, models)) = lists.find(|(_, models)| !models.is_empty()) else { return String::new() };
        if models.iter().any(|model| model == wanted) {
            return String::new();
        }
        let shown: Vec<&str> = models.iter().take(20).map(String::as_str).collect();
        let more = if models.len() > shown.len() { ", …" } else { "" };
        format!("\n{} has no model {wanted} in its list, which is: {}{more}", teacher.name(), shown.join(", "))
    }
}

/// The key, from the variable or file that the recipe names, or from the preset's variable if it is set. Where it is not, that is told
/// before anything is asked; and where nobody answers without a key, nothing is asked at all.
pub(super) fn key(recipe: &Recipe) -> anyhow::Result<Option<Secret>> {
    let trace = &recipe.trace;
    if let Some(path) = &trace.api_key_file {
        return key_from_file(path).map(Some);
    }
    let Some((name, must_be_there)) = trace.key_variable() else { return Ok(None) };
    if must_be_there || std::env::var_os(name).is_some() {
        return key_from_variable(name).map(Some);
    }
    let needs_key = trace.preset().is_some_and(Preset::needs_key);
    let has_header = trace.headers.keys().any(|name| is_of_key(name));
    match (needs_key, has_header) {
        (_, true) => {}
        // Another address than the service's own may be of a server between, which has the key.
        (true, false) if trace.teacher.is_empty() => {
            return Err(ErrorWithHelp {
                message: format!(
                    "{name} is not set, and {} requires a key",
                    trace.preset.as_deref().unwrap_or_default()
                ),
                help: format!(
                    "set it (`export {name}=…`), or name another variable or a file: --api-key-env VAR, --api-key-file FILE"
                ),
            }
            .into());
        }
        (true, false) => tracing::warn!("{name} is not set: questions are asked without a key"),
        (false, false) => tracing::info!("{name} is not set: questions are asked without a key"),
    }
    Ok(None)
}

/// Whether a header of this name may carry a key.
fn is_of_key(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "key", "token"].iter().any(|part| name.contains(part))
}

/// The further headers that the recipe names.
pub(super) fn headers(recipe: &Recipe) -> anyhow::Result<Vec<(String, Secret)>> {
    let header = |(name, value): (&String, &String)| {
        let unusable = || {
            let (reason, mend) = ("a header cannot carry this", "give one line of plain letters");
            Problems::one(Problem::new(&format!("trace.headers.{name}"), None, reason, mend))
        };
        Ok((name.clone(), Secret::new(value).ok_or_else(unusable)?))
    };
    recipe.trace.headers.iter().map(header).collect()
}

impl CollectArgs {
    fn recipe(&self, scope: &Scope) -> anyhow::Result<Recipe> {
        if let Some(written) = &self.max_tokens {
            let reason = "it could be the maximum of one answer, or of all traces of the store together";
            let mend = "write --max-new-tokens N for one answer, or --max-total-tokens N for all traces of the store";
            return Err(Problems::one(Problem::new("--max-tokens", Some(written.clone()), reason, mend)).into());
        }
        let flags = Flags::default()
            .paths("--prompts", "trace.prompts", &self.prompts)
            .texts("--teacher", "trace.teacher", &self.teacher)
            .written("--preset", "trace.preset", self.preset.as_ref())
            .written("--model", "trace.model", self.model.as_ref())
            .path("--store", "trace.store", self.store.as_ref())
            .written("--api-key-env", "trace.api_key_env", self.api_key_env.as_ref())
            .path("--api-key-file", "trace.api_key_file", self.api_key_file.as_ref())
            .written("--samples", "trace.samples", self.samples.as_ref())
            .written("--concurrency", "trace.concurrency", self.concurrency.as_ref())
            .written("--temperature", "trace.temperature", self.temperature.as_ref())
            .written("--top-p", "trace.top_p", self.top_p.as_ref())
            .written("--max-new-tokens", "trace.max_new_tokens", self.max_new_tokens.as_ref())
            .written("--prompt-suffix", "trace.prompt_suffix", self.prompt_suffix.as_ref())
            .written("--prompt-price", "trace.prompt_price", self.prompt_price.as_ref())
            .written("--completion-price", "trace.completion_price", self.completion_price.as_ref())
            .written("--max-cost", "trace.max_cost", self.max_cost.as_ref())
            .written("--max-total-tokens", "trace.max_total_tokens", self.max_total_tokens.as_ref())
            .written("--requests-per-minute", "trace.requests_per_minute", self.requests_per_minute.as_ref())
            .written("--tokens-per-minute", "trace.tokens_per_minute", self.tokens_per_minute.as_ref())
            .switch("--logprobs", "trace.logprobs", self.logprobs)
            .switch("--skip-bad-rows", "data.skip_bad_rows", self.skip_bad_rows);
        let recipe = resolve(&self.recipe, flags, scope)?;
        recipe.require_for_collecting()?;
        Ok(recipe)
    }
}
