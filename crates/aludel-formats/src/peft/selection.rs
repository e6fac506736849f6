//! What the fields of an adapter's config select: modules, by name or pattern, biases, and rows of tokens. `rules`
//! decides which modules a pattern matches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

/// Which modules are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// `all-linear`, or a regular expression for the whole module path.
    Pattern(String),
    /// Ends of module paths: `q_proj` means every module whose path ends in `.q_proj`.
    Names(Vec<String>),
}

impl TargetModules {
    /// Whether no module is meant.
    pub fn is_empty(&self) -> bool {
        match self {
            TargetModules::Pattern(pattern) => pattern.is_empty(),
            TargetModules::Names(names) => names.is_empty(),
        }
    }
}

/// Which biases of the base are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    /// None.
    #[default]
    None,
    /// Those of all linears.
    All,
    /// Those of linears with an adapter.
    LoraOnly,
}

/// Values by pattern, in the file's order: the first pattern that matches a module counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Patterns<V>(Vec<(String, V)>);

impl<V> Patterns<V> {
    /// Patterns and values in order.
    pub fn iter(&self) -> impl Iterator<Item = &(String, V)> {
        self.0.iter()
    }
}

impl<V> Default for Patterns<V> {
    fn default() -> Self {
        Patterns(Vec::new())
    }
}

impl<V> FromIterator<(String, V)> for Patterns<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(patterns: I) -> Self {
        Patterns(patterns.into_iter().collect())
    }
}

impl<V: Serialize> Serialize for Patterns<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(pattern, value)| (pattern, value)))
    }
}

/// Which embedding rows are trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TrainedTokens {
    /// Token ids of the input embedding, with tied weights of the head too.
    Embedding(Vec<u32>),
    /// Token ids by module name; an untied head needs `{"embed_tokens": …, "lm_head": …}`.
    ByModule(BTreeMap<String, Vec<u32>>),
}
