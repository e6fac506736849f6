//! `aludel schema`: the JSON schema of a recipe, for editors that complete and check TOML, and for looking up a
//! setting.

use crate::console::Console;
use crate::report::Outcome;
use aludel_distill::settings::Recipe;

/// Prints the schema.
pub(crate) fn run(console: &mut Console) -> anyhow::Result<Outcome> {
    console.indented_json(&Recipe::json_schema())?;
    Ok(Outcome::Done)
}
