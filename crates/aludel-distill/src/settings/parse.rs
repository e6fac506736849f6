//! From a TOML table to a [`Recipe`]: each key is looked up and each value is read by itself, so that all problems are
//! reported at once and each names its key. The expected type of a value comes from the JSON schema.

use super::foreign::{self, Verdict};
use super::foreign_recipe;
use super::schema::{choices, expected, owner_of, section_names, setting_names};
use super::{
    CurateSettings, DataSettings, DistillSettings, GenerateSettings, LoraSettings, Recipe, StudentSettings,
    TraceSettings, TrainSettings,
};
use aludel_settings::{LISTS_SECTIONS, LISTS_SETTINGS, Notice, Problem, Problems};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// A recipe as read, with what was accepted but means something else here.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The recipe, checked.
    pub recipe: Recipe,
    /// One notice for each setting that was accepted without effect.
    pub notices: Vec<Notice>,
}

impl Recipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// The place of a syntax error, or every problem with keys and values.
    pub fn from_toml(text: &str) -> Result<Parsed, Problems> {
        Self::from_table(read_table(text)?)
    }

    /// Reads and checks a recipe that is already a table of sections.
    ///
    /// # Errors
    /// Every problem with keys and values: unknown, of another type, out of range, or at odds with each other.
    pub fn from_table(mut table: Table) -> Result<Parsed, Problems> {
        let (renamed, problems) = foreign::rename(&mut table);
        let mut reader = Reader { problems, notices: renamed.into_iter().map(|(_, notice)| notice).collect() };
        let mut sections = reader.sections(table);
        let mut take = |name: &str| sections.remove(name).unwrap_or_default();
        let (student, lora, train, data) = (take("student"), take("lora"), take("train"), take("data"));
        let distill = take("distill");
        let (generate, trace, curate) = (take("generate"), take("trace"), take("curate"));
        let recipe = Recipe {
            student: reader.section::<StudentSettings>("student", student),
            lora: reader.section::<LoraSettings>("lora", lora),
            train: reader.section::<TrainSettings>("train", train),
            distill: reader.section::<DistillSettings>("distill", distill),
            data: reader.section::<DataSettings>("data", data),
            generate: reader.section::<GenerateSettings>("generate", generate),
            trace: reader.section::<TraceSettings>("trace", trace),
            curate: reader.section::<CurateSettings>("curate", curate),
        };
        let Reader { mut problems, notices } = reader;
        if let Err(out_of_range) = recipe.validate() {
            let unread = |key: &str| problems.iter().any(|problem: &Problem| problem.key == key);
            let further: Vec<_> = out_of_range.into_vec().into_iter().filter(|problem| !unread(&problem.key)).collect();
            problems.extend(further);
        }
        Problems::unless_empty(problems)?;
        Ok(Parsed { recipe, notices })
    }
}

/// Reads TOML without asking what it means, so that other settings can be merged in before [`Recipe::from_table`].
///
/// # Errors
/// The line of a syntax error, or that it is a recipe of another tool, with what its keys are called here.
pub fn read_table(text: &str) -> Result<Table, Problems> {
    if let Some(problem) = foreign_recipe::problem(text) {
        return Err(Problems::one(problem));
    }
    text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        let reason = format!("line {line} is not TOML: {}", error.message().replace('\n', ", "));
        Problems::one(Problem::new("the recipe", None, reason, "write `key = value` lines under [section] headings"))
    })
}

const NO_SETTING: &str = "there is no such setting";
/// Names like an unknown one are looked for among all settings: for more problems than anybody reads at once it would only take time.
const MOST_LOOKED_FOR: usize = 100;
/// No setting's name has as many bytes.
const LONGEST_NAME: usize = 100;

struct Reader {
    problems: Vec<Problem>,
    notices: Vec<Notice>,
}

impl Reader {
    /// The tables of the known sections; any other key at the top is a problem.
    fn sections(&mut self, table: Table) -> std::collections::BTreeMap<String, Table> {
        let known = section_names();
        let mut sections = std::collections::BTreeMap::new();
        for (name, value) in table {
            match value {
                Value::Table(section) if known.contains(&name) => {
                    sections.insert(name, section);
                }
                value if known.contains(&name) => self.problems.push(Problem::new(
                    &name,
                    Some(value.to_string()),
                    "this is a section, not a setting",
                    format!("write [{name}] with settings below it"),
                )),
                value => self.unknown(None, &name, &value),
            }
        }
        sections
    }

    /// Reads one section key by key. A key that cannot be read keeps its default, so that the rest can be checked.
    fn section<T: DeserializeOwned + Default>(&mut self, section: &str, table: Table) -> T {
        let known = setting_names(section);
        let mut readable = Table::new();
        for (key, value) in table {
            if !known.contains(&key) {
                self.unknown(Some(section), &key, &value);
            } else if let Some(value) = self.value::<T>(section, &key, value) {
                readable.insert(key, value);
            }
        }
        readable.try_into().unwrap_or_else(|error| {
            self.problems.push(Problem::new(section, None, format!("{error}"), "check the section's values"));
            T::default()
        })
    }

    /// The value as the section's type will read it, or `None` and a problem.
    fn value<T: DeserializeOwned>(&mut self, section: &str, key: &str, mut value: Value) -> Option<Value> {
        let full = format!("{section}.{key}");
        if let Some(foreign) = value.as_str().and_then(|text| foreign::value(&full, text)) {
            let written = value.to_string();
            match foreign.read_as {
                Some(ours) => {
                    self.notices.push(Notice {
                        key: full.clone(),
                        value: written,
                        instead: foreign.instead.to_owned(),
                    });
                    value = Value::String(ours.to_owned());
                }
                None => {
                    self.problems.push(Problem::new(
                        &full,
                        Some(written),
                        "this choice is not offered",
                        foreign.instead,
                    ));
                    return None;
                }
            }
        }
        let alone = Table::from_iter([(key.to_owned(), value.clone())]);
        if alone.try_into::<T>().is_ok() {
            return Some(value);
        }
        let wanted = expected(section, key).unwrap_or_else(|| "another value".to_owned());
        let reason = format!("{} cannot be taken here", described(&value));
        let mend = match value.as_str().and_then(|text| near_choice(section, key, text)) {
            Some(choice) => format!("write \"{choice}\""),
            None => match value.as_str().and_then(with_point).filter(|_| wanted == "a number") {
                Some(number) => format!("write {number}, with a point"),
                None => format!("give {wanted}"),
            },
        };
        self.problems.push(Problem::new(&full, Some(value.to_string()), reason, mend));
        None
    }

    /// A name that is no setting: known from elsewhere, misplaced, misspelt, or none of these.
    fn unknown(&mut self, section: Option<&str>, key: &str, value: &Value) {
        let full = section.map_or_else(|| key.to_owned(), |section| format!("{section}.{key}"));
        // A secret key under a wrong name must not appear in a log.
        let is_secret = key.contains("key") || key.contains("secret");
        let written = if is_secret { "…".to_owned() } else { value.to_string() };
        let written = Some(written).filter(|_| !value.is_table());
        if section.is_none() && !value.is_table() {
            let ours = match foreign::top_level_name(key).map(|foreign| foreign.verdict) {
                Some(Verdict::ReadAs(ours)) => ours.split_once('.').map(|(section, name)| (section.to_owned(), name)),
                Some(_) => None,
                None => owner_of(key).map(|section| (section, key)),
            };
            if let Some((section, name)) = ours {
                let mend = format!("write {name} below [{section}]");
                self.problems.push(Problem::unknown_name(&full, written, "it stands in no section", mend));
                return;
            }
        }
        if let Some(foreign) = foreign::foreign_name(key) {
            let is_text = |text: &str| value.as_str() == Some(text);
            let shown = value.to_string();
            match foreign.verdict {
                Verdict::ReadAs(ours) => {
                    let (section, name) = ours.split_once('.').unwrap_or_default();
                    let mend = format!("write {name} below [{section}]");
                    self.problems.push(Problem::unknown_name(&full, written, NO_SETTING, mend));
                }
                Verdict::Only(offered) if !is_text(offered) => {
                    self.problems.push(Problem::new(&full, written, "this choice is not offered", foreign.instead));
                }
                Verdict::Switch(..) if value.as_bool() != Some(false) => {
                    self.problems.push(Problem::new(&full, written, "it is a switch", "give true or false"));
                }
                Verdict::Accepted | Verdict::Only(_) | Verdict::Switch(..) => {
                    self.notices.push(Notice { key: full, value: shown, instead: foreign.instead.to_owned() });
                }
                Verdict::Refused => self.problems.push(Problem::unknown_name(
                    &full,
                    written,
                    "this name has no meaning here",
                    foreign.instead,
                )),
            }
            return;
        }
        let is_looked_for = self.problems.len() < MOST_LOOKED_FOR && key.len() <= LONGEST_NAME;
        let reason = if section.is_none() && value.is_table() { "there is no such section" } else { NO_SETTING };
        let mend = match section {
            _ if !is_looked_for => "`aludel schema` lists all settings".to_owned(),
            None => did_you_mean_section(key),
            Some(section) => did_you_mean(section, key),
        };
        self.problems.push(Problem::unknown_name(&full, written, reason, mend));
    }
}

/// A mend for an unknown key at the top.
fn did_you_mean_section(key: &str) -> String {
    let sections = section_names();
    if let Some(owner) = owner_of(key) {
        return format!("write {key} below [{owner}]");
    }
    match nearest(key, &sections) {
        Some(section) => format!("did you mean [{section}]?"),
        None => format!("{LISTS_SECTIONS}{}", sections.join(", ")),
    }
}

/// A mend for an unknown key of a section.
fn did_you_mean(section: &str, key: &str) -> String {
    let own = setting_names(section);
    if let Some(near) = nearest(key, &own) {
        return format!("did you mean {section}.{near}?");
    }
    let others: Vec<String> = section_names().into_iter().filter(|other| other != section).collect();
    for other in &others {
        if setting_names(other).iter().any(|name| name == key) {
            return format!("write {key} below [{other}]");
        }
    }
    for other in &others {
        if let Some(near) = nearest(key, &setting_names(other)) {
            return format!("did you mean {other}.{near}?");
        }
    }
    format!("{LISTS_SETTINGS}[{section}] are {}", own.join(", "))
}

/// The candidate most like `name`, if it is like it enough to be meant; else one that holds `name` as a part.
pub fn nearest<'a>(name: &str, candidates: &'a [String]) -> Option<&'a String> {
    const ALIKE: f64 = 0.75;
    const TELLING_LENGTH: usize = 4;
    let likeness = |candidate: &String| strsim::normalized_damerau_levenshtein(name, candidate);
    let best = candidates.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    let holds_name = |candidate: &&String| name.len() >= TELLING_LENGTH && candidate.contains(name);
    if likeness(best) >= ALIKE { Some(best) } else { candidates.iter().find(holds_name) }
}

/// The choice of a setting that a text is nearest to: the same but for case and punctuation, or but for a slip.
fn near_choice(section: &str, key: &str, text: &str) -> Option<String> {
    let letters =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let (own, choices) = (letters(text), choices(section, key));
    if own.is_empty() || text.len() > LONGEST_NAME {
        return None;
    }
    choices.iter().find(|choice| letters(choice) == own).or_else(|| nearest(&own, &choices)).cloned()
}

/// A number that was written with a decimal comma.
fn with_point(text: &str) -> Option<String> {
    let number = text.trim().replacen(',', ".", 1);
    (number != text.trim() && number.parse::<f64>().is_ok()).then_some(number)
}

/// A value's type, in words.
fn described(value: &Value) -> &'static str {
    match value {
        Value::String(text) if text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            "a whole number beyond 64 bits"
        }
        Value::String(_) => "this text",
        Value::Float(number) if number.is_nan() => "what is not a number",
        Value::Float(number) if number.is_infinite() => "an infinite number",
        Value::Float(number) if number.fract() == 0.0 => "a number with a point or an exponent",
        Value::Integer(number) if *number < 0 => "a negative whole number",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "this list",
        Value::Table(_) => "a table",
    }
}
