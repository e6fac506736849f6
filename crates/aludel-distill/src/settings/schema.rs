//! The names of sections and settings and the types of their values, as in the recipe's JSON schema. `parse` reads a recipe by them.

use super::Recipe;
use aludel_files::grouped;
use serde_json::Value as Json;
use std::sync::OnceLock;

/// The schema, made once: it is asked for each key.
fn schema() -> &'static Json {
    static SCHEMA: OnceLock<schemars::Schema> = OnceLock::new();
    SCHEMA.get_or_init(Recipe::json_schema).as_value()
}

/// The names of the sections.
pub fn section_names() -> Vec<String> {
    properties(schema()).map(|(name, _)| name.clone()).collect()
}

/// The names of a section's settings; none for a section that does not exist.
pub fn setting_names(section: &str) -> Vec<String> {
    let section = schema().pointer(&format!("/properties/{section}")).unwrap_or(&Json::Null);
    properties(section).map(|(name, _)| name.clone()).collect()
}

/// The section that has a setting of this name. Where several have one, what trains comes first.
pub fn owner_of(name: &str) -> Option<String> {
    const FIRST: [&str; 4] = ["train", "lora", "data", "student"];
    let sections = section_names();
    let has = |section: &String| setting_names(section).iter().any(|own| own == name);
    let first = FIRST.map(str::to_owned).into_iter().find(has);
    first.or_else(|| sections.into_iter().find(has))
}

/// What a setting's value may be, in words: "a whole number of 0 or more", "true or false" …; `None` for an unknown
/// key.
pub fn expected(section: &str, key: &str) -> Option<String> {
    schema().pointer(&format!("/properties/{section}/properties/{key}")).map(in_words)
}

/// The texts that a setting's value may be; none where it may be any.
pub(super) fn choices(section: &str, key: &str) -> Vec<String> {
    fn of(schema: &Json) -> Vec<String> {
        let list = |key: &str| schema.get(key).and_then(Json::as_array).into_iter().flatten();
        let alone =
            list("oneOf").filter_map(|choice| choice.get("const")).chain(list("enum")).chain(schema.get("const"));
        let own = alone.filter_map(Json::as_str).map(str::to_owned);
        own.chain(list("anyOf").flat_map(of)).collect()
    }
    schema().pointer(&format!("/properties/{section}/properties/{key}")).map(of).unwrap_or_default()
}

fn properties(schema: &Json) -> impl Iterator<Item = (&String, &Json)> {
    schema.get("properties").and_then(Json::as_object).into_iter().flatten()
}

/// What a JSON schema admits, in words.
fn in_words(schema: &Json) -> String {
    let list = |key: &str| schema.get(key).and_then(Json::as_array).into_iter().flatten();
    let choices: Vec<String> =
        list("oneOf").filter_map(|choice| choice.get("const")).chain(list("enum")).map(Json::to_string).collect();
    match choices.as_slice() {
        [] => {}
        [only] => return only.clone(),
        many => return format!("one of {}", many.join(", ")),
    }
    let alternatives: Vec<String> =
        list("anyOf").filter(|alternative| alternative["type"] != "null").map(in_words).collect();
    if !alternatives.is_empty() {
        return alternatives.join(" or ");
    }
    let kind = match &schema["type"] {
        Json::Array(kinds) => kinds.iter().find(|kind| *kind != "null").unwrap_or(&Json::Null),
        kind => kind,
    };
    let bound = |name: &str| schema.get(name).and_then(Json::as_u64).map(grouped);
    match (kind.as_str(), bound("minimum")) {
        (Some("integer"), Some(least)) => match bound("maximum") {
            Some(most) => format!("a whole number from {least} to {most}"),
            None => format!("a whole number of {least} or more"),
        },
        (Some("integer"), None) => "a whole number".to_owned(),
        (Some("number"), _) => "a number".to_owned(),
        (Some("boolean"), _) => "true or false".to_owned(),
        (Some("array"), _) if schema["items"]["type"] == "string" => "a list of texts".to_owned(),
        (Some("array"), _) => "a list".to_owned(),
        (Some("object"), _) => "a table such as { name = \"text\" }".to_owned(),
        _ => "text".to_owned(),
    }
}
