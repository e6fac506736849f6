//! Where a recipe's values come from: the recipe file, then flags, then `--set`, each overriding what came before.
//! They are merged as one TOML table, whose meaning is checked in `aludel_distill::settings`; this file only remembers
//! where each value was written, so that a message can point at it. `scope` says which settings a command reads.

pub(crate) mod scope;

use crate::report::ErrorWithHelp;
use aludel_distill::settings::{
    self, BUILTIN_PREFIX, BUILTIN_RECIPES, Notice, Parsed, Problem, Problems, Recipe, Renamed, Verdict,
};
use aludel_files::shortened;
use aludel_hub::is_hub_name;
use aludel_text::Date;
use anyhow::Context as _;
use clap::Args;
use scope::Scope;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// No recipe that a person or a program writes is longer.
const LONGEST_RECIPE_BYTES: u64 = 1 << 20;

/// The options by which any setting can be given.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RecipeArgs {
    /// Recipe: a TOML file of settings (`aludel schema` lists them all), or builtin:seed, which is built in
    #[arg(long, value_name = "FILE.toml", help_heading = "Settings")]
    pub(crate) recipe: Option<PathBuf>,

    /// Set any setting, for example lora.r=16; overrides the recipe and other options. An empty value restores the default
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", help_heading = "Settings")]
    pub(crate) assignments: Vec<String>,
}

/// The option for how weights are held, of every command that loads a student.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct QuantizeArgs {
    /// How frozen weights are held: none, nf4, int8, or as-is for a GGUF file's own blocks [default: none]
    #[arg(long, value_name = "HOW")]
    pub(crate) quantize: Option<String>,
}

impl QuantizeArgs {
    /// The flags with this one.
    pub(crate) fn set(&self, flags: Flags) -> Flags {
        flags.written("--quantize", "student.quantize", self.quantize.as_ref())
    }
}

/// Settings given by flags of their own.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    given: Vec<Assignment>,
    /// The settings that the command has flags for, given or not.
    known: Vec<(String, String)>,
}

/// Of a key or a value that a mend repeats, in letters.
const LONGEST_QUOTED: usize = 100;

/// How many tables the name of a setting may go through.
const DEEPEST_KEY: usize = 80;

/// One setting and where it was given; no value means the default.
#[derive(Debug)]
struct Assignment {
    key: String,
    value: Option<Value>,
    origin: String,
    /// What is to be said of it: that it has another name here.
    notice: Option<Notice>,
}

impl Flags {
    /// A flag whose value is a path.
    pub(crate) fn path(self, flag: &str, key: &str, path: Option<&PathBuf>) -> Self {
        self.value(flag, key, path.map(|path| Value::String(path.to_string_lossy().into_owned())))
    }

    /// A flag that takes several paths.
    pub(crate) fn paths(self, flag: &str, key: &str, paths: &[PathBuf]) -> Self {
        let list = paths.iter().map(|path| Value::String(path.to_string_lossy().into_owned())).collect();
        self.value(flag, key, (!paths.is_empty()).then_some(Value::Array(list)))
    }

    /// A flag that may be given several times, each time with a text.
    pub(crate) fn texts(self, flag: &str, key: &str, texts: &[String]) -> Self {
        let list = texts.iter().cloned().map(Value::String).collect();
        self.value(flag, key, (!texts.is_empty()).then_some(Value::Array(list)))
    }

    /// A flag whose value is read as `--set` would read it.
    pub(crate) fn written(self, flag: &str, key: &str, text: Option<&String>) -> Self {
        let value = text.map(|text| read_value(key, text).unwrap_or_else(|_| Value::String(text.clone())));
        self.value(flag, key, value)
    }

    /// A flag without a value, which says "yes" by being there.
    pub(crate) fn switch(self, flag: &str, key: &str, is_given: bool) -> Self {
        self.value(flag, key, is_given.then_some(Value::Boolean(true)))
    }

    /// A flag that is none of a setting, for what this setting is in other commands.
    pub(crate) fn instead(mut self, flag: &str, key: &str) -> Self {
        self.known.push((key.to_owned(), flag.to_owned()));
        self
    }

    fn value(mut self, flag: &str, key: &str, value: Option<Value>) -> Self {
        self.known.push((key.to_owned(), flag.to_owned()));
        if value.is_some() {
            self.given.push(Assignment { key: key.to_owned(), value, origin: flag.to_owned(), notice: None });
        }
        self
    }
}

/// Names an instruction set for every command, which comes between recipe and flags.
pub(crate) const INSTRUCTION_SET: &str = "ALUDEL_ISA";

/// What [`INSTRUCTION_SET`] says.
pub(crate) fn instruction_set_of_the_environment() -> Option<String> {
    std::env::var(INSTRUCTION_SET).ok().filter(|name| !name.is_empty())
}

/// The recipe that file, flags and `--set` make together, checked, with its paths made absolute. Settings that were
/// accepted without effect are logged.
///
/// # Errors
/// The recipe file cannot be read, or [`Problems`], each with the place where the value was given; among them `--set` of what the command
/// does not read.
pub(crate) fn resolve(args: &RecipeArgs, flags: Flags, scope: &Scope) -> anyhow::Result<Recipe> {
    let mut origins = BTreeMap::new();
    let (mut table, mut notices, mut problems) = match &args.recipe {
        Some(path) => read_file(path, &mut origins)?,
        None => Default::default(),
    };
    let assignments = args.assignments.iter();
    let assignments: Vec<Assignment> =
        assignments.filter_map(|text| read_assignment(text).map_err(|problem| problems.push(problem)).ok()).collect();
    problems.extend(assignments.iter().filter_map(|given| scope.refused(given, &flags)));
    let own = instruction_set_of_the_environment().map(|name| Assignment {
        key: "student.instruction_set".to_owned(),
        value: Some(Value::String(name)),
        origin: INSTRUCTION_SET.to_owned(),
        notice: None,
    });
    for assignment in own.into_iter().chain(flags.given).chain(assignments) {
        assign(&mut table, &assignment);
        if let Some(notice) = assignment.notice {
            origins.insert(notice.key.clone(), assignment.origin.clone());
            notices.push(notice);
        }
        origins.insert(assignment.key, assignment.origin);
    }
    let parsed = Recipe::from_table(table).map_err(|problems| problems.with_origins(|key| origins.get(key).cloned()));
    if let Err(further) = &parsed {
        problems.extend(further.iter().cloned());
    }
    Problems::unless_empty(problems)?;
    let Parsed { mut recipe, notices: further } = parsed?;
    for notice in notices.iter().chain(&further) {
        log(notice, origins.get(&notice.key));
    }
    make_absolute(&mut recipe)?;
    Ok(recipe)
}

/// [`resolve`] for a command that takes neither a recipe nor `--set`.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn resolve_flags(flags: Flags) -> anyhow::Result<Recipe> {
    resolve(&RecipeArgs::default(), flags, &scope::TRAIN)
}

/// Sets the date for chat templates if the recipe has none: the current date (in UTC).
pub(crate) fn set_template_date(recipe: &mut Recipe) {
    recipe.data.template_date.get_or_insert_with(today);
}

/// The day (in UTC).
pub(crate) fn today() -> Date {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Date::from_unix_seconds(now.as_secs() as i64)
}

/// The recipe with one setting changed, as `section.key=value`; `origin` names the place where that was written.
///
/// # Errors
/// [`Problems`] with the setting, and then nothing has changed.
pub(crate) fn change(recipe: &Recipe, assignment: &str, origin: &str) -> Result<Recipe, Problems> {
    let assignment = read_assignment(assignment).map_err(Problems::one)?;
    let mut table = recipe.to_table()?;
    assign(&mut table, &assignment);
    let place = |key: &str| (key == assignment.key).then(|| origin.to_owned());
    let parsed = Recipe::from_table(table).map_err(|problems| problems.with_origins(place))?;
    Ok(parsed.recipe)
}

/// Reads a recipe file and notes the line of each of its settings. Those with other tools' names are given ours, so that what comes
/// later overrides them.
fn read_file(
    path: &Path,
    origins: &mut BTreeMap<String, String>,
) -> anyhow::Result<(Table, Vec<Notice>, Vec<Problem>)> {
    let text = recipe_text(path)?;
    let mut table =
        settings::read_table(&text).map_err(|problems| problems.with_origins(|_| Some(path.display().to_string())))?;
    // The table does not know its lines; a second reading that keeps them does.
    let Ok(document) = DeTable::parse(&text) else { return Ok((table, Vec::new(), Vec::new())) };
    let breaks: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_of = |start: usize| 1 + breaks.partition_point(|&at| at < start);
    for (section, settings) in document.get_ref() {
        let origin = |start: usize| format!("{}:{}", path.display(), line_of(start));
        origins.insert(section.get_ref().to_string(), origin(section.span().start));
        if let DeValue::Table(settings) = settings.get_ref() {
            for key in settings.keys() {
                origins.insert(format!("{}.{}", section.get_ref(), key.get_ref()), origin(key.span().start));
            }
        }
    }
    let (renamed, mut problems) = settings::rename(&mut table);
    problems.iter_mut().for_each(|problem| problem.origin = origins.get(&problem.key).cloned());
    let notice = |(renamed, notice): (Renamed, Notice)| {
        if let Some(origin) = origins.get(&renamed.given).cloned() {
            origins.insert(renamed.ours, origin);
        }
        notice
    };
    Ok((table, renamed.into_iter().map(notice).collect(), problems))
}

/// What a recipe file holds, or a recipe that comes with the binary.
fn recipe_text(path: &Path) -> anyhow::Result<Cow<'static, str>> {
    if let Some(wanted) = path.to_str().and_then(|text| text.strip_prefix(BUILTIN_PREFIX)) {
        let found = BUILTIN_RECIPES.iter().find(|(name, _)| *name == wanted);
        return found.map(|(_, text)| Cow::Borrowed(*text)).ok_or_else(|| {
            let names: Vec<String> =
                BUILTIN_RECIPES.iter().map(|(name, _)| format!("{BUILTIN_PREFIX}{name}")).collect();
            anyhow::Error::new(ErrorWithHelp {
                message: format!("{}: there is no built-in recipe of this name", path.display()),
                help: format!("give {}, or a file as ./{}", names.join(" or "), path.display()),
            })
        });
    }
    let text = aludel_files::read_to_string(path, LONGEST_RECIPE_BYTES).with_context(|| ErrorWithHelp {
        message: format!("{}: the recipe cannot be read", path.display()),
        help: "give a text file that exists and that you may read; `aludel schema` describes what it holds".to_owned(),
    })?;
    Ok(Cow::Owned(text))
}

/// `section.key=value`, as `--set` takes it.
fn read_assignment(text: &str) -> Result<Assignment, Problem> {
    let refuse = |reason: &str, mend: String| Err(Problem::new(&format!("--set {text}"), None, reason, mend));
    let Some((key, written)) = text.split_once('=') else {
        return refuse("there is no \"=\" in it", "write --set section.key=value, for example lora.r=16".to_owned());
    };
    let key = key.trim();
    if !key.contains('.') {
        let owner = settings::owner_of(key);
        let named = settings::top_level_name(key);
        let foreign = match named.map(|foreign| foreign.verdict) {
            Some(Verdict::ReadAs(ours)) => ours.split_once('.'),
            _ => None,
        };
        if let (None, None, Some(named)) = (foreign, &owner, named) {
            return refuse("this name has no meaning here", named.instead.to_owned());
        }
        let (section, key) = foreign.unwrap_or((owner.as_deref().unwrap_or("section"), key));
        let (key, written) = (shortened(key, LONGEST_QUOTED), shortened(written, LONGEST_QUOTED));
        return refuse("the section is missing", format!("write --set {section}.{key}={written}"));
    }
    // As deep as tables of TOML go.
    if key.matches('.').count() > DEEPEST_KEY {
        let reason = format!("its name goes {} tables deep", key.matches('.').count());
        return refuse(&reason, format!("write at most {DEEPEST_KEY} of them"));
    }
    let ours = key.split_once('.').and_then(|(section, name)| settings::ours(section, name));
    let renamed = ours.map(|ours| Renamed { given: key.to_owned(), ours });
    let key = renamed.as_ref().map_or(key, |renamed| renamed.ours.as_str());
    let value = match written.trim() {
        "" => None,
        written => Some(read_value(key, written).map_err(|reason| {
            let wanted = wanted(key).unwrap_or_else(|| "a value".to_owned());
            Problem::new(key, Some(written.to_owned()), reason, format!("give {wanted}, written as in TOML"))
        })?),
    };
    let notice = renamed.as_ref().zip(value.as_ref()).map(|(renamed, value)| renamed.notice(value));
    Ok(Assignment { key: key.to_owned(), value, origin: "--set".to_owned(), notice })
}

/// Reads a value as TOML. What is not TOML is text without its quotes, and so is a number where text is wanted.
fn read_value(key: &str, written: &str) -> Result<Value, String> {
    match written.parse::<Value>() {
        Ok(value) if !value.is_str() && wanted(key).as_deref() == Some("text") => Ok(Value::String(written.to_owned())),
        Ok(value) => Ok(value),
        Err(error) if written.starts_with(['[', '{', '"', '\'']) => {
            Err(format!("it is not TOML: {}", error.message().replace('\n', ", ")))
        }
        Err(_) => Ok(Value::String(written.to_owned())),
    }
}

fn wanted(key: &str) -> Option<String> {
    let (section, name) = key.split_once('.')?;
    settings::expected(section, name)
}

/// Puts a value into the table, making the tables on the way to it.
fn assign(table: &mut Table, assignment: &Assignment) {
    let mut names: Vec<&str> = assignment.key.split('.').collect();
    let Some(last) = names.pop() else { return };
    let mut place = table;
    for name in names {
        let entry = place.entry(name).or_insert_with(|| Value::Table(Table::new()));
        if !entry.is_table() {
            *entry = Value::Table(Table::new());
        }
        match entry {
            Value::Table(inner) => place = inner,
            _ => return,
        }
    }
    match &assignment.value {
        Some(value) => {
            place.insert(last.to_owned(), value.clone());
        }
        None => {
            place.remove(last);
        }
    }
}

/// A run folder, an adapter and a resumed run must find their files whatever folder they are used from.
fn make_absolute(recipe: &mut Recipe) -> anyhow::Result<()> {
    let single = [
        &mut recipe.student.model,
        &mut recipe.train.output_dir,
        &mut recipe.train.init_adapter,
        &mut recipe.distill.teacher,
        &mut recipe.distill.cache,
        &mut recipe.distill.teacher_adapter,
        &mut recipe.train.logging_dir,
        &mut recipe.curate.output_dir,
        &mut recipe.trace.store,
        &mut recipe.trace.api_key_file,
    ];
    single.into_iter().flatten().try_for_each(absolute)?;
    recipe.data_lists().into_iter().flatten().try_for_each(absolute)
}

fn absolute(path: &mut PathBuf) -> anyhow::Result<()> {
    if !is_hub_name(path) {
        *path = std::path::absolute(&*path).with_context(|| format!("{}: not a usable path", path.display()))?;
    }
    Ok(())
}

fn log(notice: &Notice, origin: Option<&String>) {
    tracing::warn!("{}", notice.describe(origin));
}

#[cfg(test)]
mod tests;
