//! Recognises a recipe of Axolotl, LLaMA-Factory or TRL, in YAML, JSON or TOML, by settings that are in no section. It is refused as a
//! whole, once, with the name that each of its keys has here. The list of names is in `foreign`.

use super::foreign::{ForeignName, Verdict, top_level_name};
use super::schema::{owner_of, section_names};
use aludel_files::shortened;
use aludel_settings::Problem;
use std::fmt::Write as _;
use toml::de::DeTable;

/// Minimum number of known names that make a recipe of another tool: one or two are mistakes, and reported one by one.
const FEWEST: usize = 3;
/// More keys than any recipe has are not listed.
const MOST_LISTED: usize = 200;
/// Of a key, in letters.
const LONGEST_KEY: usize = 40;

/// The problem with a recipe whose settings are in no section, if it is one.
pub(super) fn problem(text: &str) -> Option<Problem> {
    let (keys, is_toml) = top_level_keys(text);
    let sections = section_names();
    let known = keys.iter().filter(|key| !sections.contains(key) && here(key).is_some()).count();
    // Beside sections of ours, other keys are mistakes, and each is reported by itself.
    if known < FEWEST || (is_toml && keys.iter().any(|key| sections.contains(key))) {
        return None;
    }
    let shown: Vec<_> = keys
        .iter()
        .take(MOST_LISTED)
        .map(|key| (shortened(key, LONGEST_KEY), here(key).unwrap_or_else(|| "unknown here".to_owned())))
        .collect();
    let width = shown.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    let mut reason = "it looks like a recipe of Axolotl, LLaMA-Factory or TRL: its settings stand in no section. \
                      A recipe of Aludel is TOML with sections. What its keys are called here:"
        .to_owned();
    for (key, here) in &shown {
        // A String takes whatever is written to it.
        let _ = write!(reason, "\n  {key:width$}  {here}");
    }
    if let Some(further @ 1..) = keys.len().checked_sub(MOST_LISTED) {
        let _ = write!(reason, "\n  and {further} further keys");
    }
    let mend = "start with `aludel train --student PATH --data FILE --output-dir DIR`, and give what differs from the defaults as \
                options (`aludel train --help`) or below its section in a TOML file:\n  [train]\n  learning_rate = 2e-4\n`aludel \
                schema` lists all settings with their defaults";
    Some(Problem::new("the recipe", None, reason, mend))
}

/// What a key at the top of another tool's recipe is called here, or what to do without it; `None` for a name that nobody knows.
fn here(key: &str) -> Option<String> {
    if let Some(ForeignName { verdict, instead, .. }) = top_level_name(key) {
        return Some(match verdict {
            Verdict::ReadAs(ours) => (*ours).to_owned(),
            Verdict::Switch(ours, value) => format!("{ours} = \"{value}\" where it is true"),
            Verdict::Accepted | Verdict::Only(_) => format!("leave it out: {instead}"),
            Verdict::Refused => (*instead).to_owned(),
        });
    }
    Some(format!("{}.{key}", owner_of(key)?))
}

/// The names at the top of a file, as they stand there, and whether it is TOML; else it may be JSON or YAML.
fn top_level_keys(text: &str) -> (Vec<String>, bool) {
    if let Ok(table) = DeTable::parse(text) {
        let mut keys: Vec<(usize, String)> =
            table.get_ref().keys().map(|key| (key.span().start, key.get_ref().to_string())).collect();
        keys.sort();
        return (keys.into_iter().map(|(_, key)| key).collect(), true);
    }
    if let Ok(object) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        return (object.into_iter().map(|(key, _)| key).collect(), false);
    }
    (text.lines().filter_map(yaml_key).map(str::to_owned).collect(), false)
}

/// The key of a line of block-style YAML that begins a setting at the top.
fn yaml_key(line: &str) -> Option<&str> {
    let (key, value) = line.trim_end().split_once(':')?;
    let key = key.trim_matches(['"', '\'']);
    let is_name = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    (is_name && !key.starts_with('-') && (value.is_empty() || value.starts_with([' ', '\t']))).then_some(key)
}
