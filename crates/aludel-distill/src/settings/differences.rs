//! The differences between two recipes: whether a run may be resumed, and what is printed if not.

use super::{Problems, Recipe};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One setting with two values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The setting's full name, `section.key`.
    pub key: String,
    /// Its value in the first recipe, as TOML; `None` where it is not given.
    pub old: Option<String>,
    /// Its value in the second recipe, as TOML; `None` where it is not given.
    pub new: Option<String>,
}

impl Difference {
    /// Whether the trained weights can depend on it. Where they cannot, a run may be resumed with the new value, which its recipe keeps.
    pub fn changes_training(&self) -> bool {
        !WITHOUT_EFFECT_SECTIONS.iter().any(|section| self.key.starts_with(section))
            && !WITHOUT_EFFECT_ON_WEIGHTS.contains(&self.key.as_str())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_nothing = |value: &Option<String>| value.clone().unwrap_or_else(|| "not given".to_owned());
        write!(formatter, "{}: {} → {}", self.key, or_nothing(&self.old), or_nothing(&self.new))
    }
}

/// What comes before training, and what after.
const WITHOUT_EFFECT_SECTIONS: [&str; 3] = ["curate.", "generate.", "trace."];

/// Settings that say where, how fast or how often, and never what is computed. The pass size is not among them: it
/// regroups sums, and so moves the last bits. The template's date has an effect only where the template tells it: then the rows
/// are others, and that is seen.
const WITHOUT_EFFECT_ON_WEIGHTS: [&str; 18] = [
    "data.max_rows_left_out",
    "data.template_date",
    "distill.pair_check",
    "student.base_model",
    "student.threads",
    "train.eval_on_start",
    "train.gradient_checkpointing",
    "train.logging_dir",
    "train.logging_steps",
    "train.logging_strategy",
    "train.output_dir",
    "train.per_device_eval_batch_size",
    "train.report_to",
    "train.sample_max_new_tokens",
    "train.sample_prompts",
    "train.save_steps",
    "train.save_strategy",
    "train.save_total_limit",
];

/// The settings in which two recipes differ, by name.
///
/// # Errors
/// A problem if a recipe holds a value that TOML cannot express.
pub fn differences(old: &Recipe, new: &Recipe) -> Result<Vec<Difference>, Problems> {
    let (old, new) = (flat(old)?, flat(new)?);
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    Ok(keys
        .into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| Difference { key: key.clone(), old: old.get(key).cloned(), new: new.get(key).cloned() })
        .collect())
}

fn flat(recipe: &Recipe) -> Result<BTreeMap<String, String>, Problems> {
    let mut values = BTreeMap::new();
    for (section, settings) in recipe.to_table()? {
        for (key, value) in settings.as_table().into_iter().flatten() {
            values.insert(format!("{section}.{key}"), value.to_string());
        }
    }
    Ok(values)
}
