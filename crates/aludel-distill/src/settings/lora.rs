//! `[lora]`: the adapter that is trained, in PEFT's terms. Which modules a student has, and so whether a target
//! matches anything, is known only to the model.

use std::collections::BTreeMap;
use std::path::Path;

use aludel_formats::peft::{self, Rules};
use aludel_settings::{Checker, OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapter_config;

/// The adapter that is trained (LoRA: a frozen weight W becomes W + s·B·A, with s = alpha / r).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoraSettings {
    /// LoRA rank: rows of A, columns of B.
    #[schemars(range(min = 1, max = 4096))]
    pub r: usize,
    /// LoRA alpha: the adapter's output is scaled by alpha / r.
    pub alpha: f64,
    /// LoRA dropout probability; each target has a mask of its own.
    pub dropout: f64,
    /// The linear layers that get an adapter: names such as `q_proj` (of Phi-3 also `qkv_proj` and `gate_up_proj`, which are several in
    /// one), a regular expression for the full name, such as `model\.layers\.[0-7]\..*_proj`, or "all-linear" for every one but the head.
    pub target_modules: TargetModules,
    /// Linear layers that target_modules means and that get no adapter: names, or a regular expression for the full name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_modules: Option<TargetModules>,
    /// The numbers of the layers that get an adapter, where target_modules is a list of names; empty for all layers.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<u64>")]
    pub layers_to_transform: Vec<u64>,
    /// What full names have before the number of a layer, as a regular expression: `layers`, which is found without it too.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub layers_pattern: Vec<String>,
    /// Other ranks, by the end of the full name or a regular expression for it; in the order of the alphabet, the first that matches counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Other values of alpha, in the same way.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// Which biases of the base are trained with the adapter.
    pub bias: Bias,
    /// Rank-stabilised LoRA: s = alpha / √r.
    pub use_rslora: bool,
    /// DoRA: the magnitude of each row of W + s·B·A is trained too. A step takes more time and memory.
    pub use_dora: bool,
    /// How A is initialised; B starts at zero.
    pub init: InitLora,
}

/// The linear layers that get an adapter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany<String>", into = "OneOrMany<String>")]
#[schemars(with = "OneOrMany<String>")]
pub enum TargetModules {
    /// Every linear layer but the head, whatever it is called.
    #[default]
    AllLinear,
    /// The layers whose name ends in one of these.
    Names(Vec<String>),
    /// The layers whose full name this regular expression matches.
    Pattern(String),
}

/// Which biases are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    /// None: the base is frozen.
    #[default]
    None,
    /// Those of all linear layers.
    All,
    /// Those of linear layers with an adapter.
    LoraOnly,
}

/// How A starts; B starts at zero, so that an untrained adapter changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InitLora {
    /// Uniform within ±1/√d_in, PEFT's default.
    #[default]
    Kaiming,
    /// Normal with standard deviation 1/r, PEFT's "gaussian".
    Gaussian,
}

const ALL_LINEAR: &str = "all-linear";

impl Default for LoraSettings {
    fn default() -> Self {
        Self {
            r: 16,
            alpha: 32.0,
            dropout: 0.0,
            target_modules: TargetModules::AllLinear,
            exclude_modules: None,
            layers_to_transform: Vec::new(),
            layers_pattern: Vec::new(),
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            bias: Bias::None,
            use_rslora: false,
            use_dora: false,
            init: InitLora::Kaiming,
        }
    }
}

impl From<OneOrMany<String>> for TargetModules {
    fn from(written: OneOrMany<String>) -> Self {
        // One name is what PEFT would read as a pattern that matches nothing: names have dots at most.
        let is_name = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "_.".contains(c));
        match written {
            OneOrMany::One(text) if text != ALL_LINEAR && !is_name(&text) => Self::Pattern(text),
            written => match written.into_vec() {
                names if names == [ALL_LINEAR] => Self::AllLinear,
                names => Self::Names(names),
            },
        }
    }
}

impl From<TargetModules> for OneOrMany<String> {
    fn from(targets: TargetModules) -> Self {
        match targets {
            TargetModules::AllLinear => Self::One(ALL_LINEAR.to_owned()),
            TargetModules::Names(names) => Self::Many(names),
            TargetModules::Pattern(pattern) => Self::One(pattern),
        }
    }
}

impl LoraSettings {
    /// The factor s before B·A: alpha / r, or alpha / √r with rsLoRA.
    pub fn scale(&self) -> f64 {
        let r = self.r as f64;
        self.alpha / if self.use_rslora { r.sqrt() } else { r }
    }

    pub(super) fn check(&self, check: &mut Checker<'_>) {
        check.that(
            (1..=4096).contains(&self.r),
            "r",
            self.r,
            if self.r == 0 {
                "an adapter of rank 0 has nothing to train"
            } else {
                "the rank exceeds any layer's width"
            },
            "a whole number from 1 to 4,096, for example 16",
        );
        check.that(
            self.alpha > 0.0 && self.alpha.is_finite(),
            "alpha",
            self.alpha,
            "the scale alpha / r must be positive, or the adapter never acts",
            "a number above 0, for example twice r",
        );
        check.that(
            (0.0..1.0).contains(&self.dropout),
            "dropout",
            self.dropout,
            "dropout is the share of inputs that is dropped",
            "a number from 0 up to, but not including, 1",
        );
        check.that(
            self.rank_pattern.values().all(|r| (1..=4096).contains(r)),
            "rank_pattern",
            format_args!("{}", listed(&self.rank_pattern)),
            "a rank is at least 1 and exceeds no layer's width",
            "whole numbers from 1 to 4,096, for example { q_proj = 8 }",
        );
        check.that(
            self.alpha_pattern.values().all(|alpha| *alpha > 0.0 && alpha.is_finite()),
            "alpha_pattern",
            format_args!("{}", listed(&self.alpha_pattern)),
            "the scale alpha / r must be positive, or the adapter never acts",
            "numbers above 0, for example { q_proj = 16 }",
        );
        self.check_patterns(check);
        if let TargetModules::Names(names) = &self.target_modules {
            check.that(
                !names.is_empty() && names.iter().all(|name| !name.trim().is_empty()),
                "target_modules",
                names,
                "without a target there is nothing to train",
                "names such as [\"q_proj\", \"v_proj\"], or \"all-linear\"",
            );
            check.that(
                names.len() < 2 || !names.iter().any(|name| name == ALL_LINEAR),
                "target_modules",
                names,
                "\"all-linear\" already means every layer",
                "\"all-linear\" alone, or names without it",
            );
        }
        match &self.exclude_modules {
            Some(TargetModules::AllLinear) => check.wrong(
                "exclude_modules",
                format_args!("{ALL_LINEAR:?}"),
                "nothing would be left to train",
                "give names of the linear layers to leave out, such as [\"k_proj\"]",
            ),
            Some(TargetModules::Names(names)) => check.that(
                names.iter().all(|name| !name.trim().is_empty() && name != ALL_LINEAR),
                "exclude_modules",
                names,
                "these are no names of single linear layers",
                "names such as [\"k_proj\"], or a regular expression",
            ),
            Some(TargetModules::Pattern(_)) | None => {}
        }
    }

    /// Refuses patterns that PEFT would refuse, each alone, so that the setting is named.
    fn check_patterns(&self, check: &mut Checker<'_>) {
        let default = LoraSettings::default;
        let names = || peft::TargetModules::Names(vec!["q_proj".to_owned()]);
        let targets = match &self.target_modules {
            TargetModules::Pattern(pattern) => peft::TargetModules::Pattern(pattern.clone()),
            TargetModules::AllLinear | TargetModules::Names(_) => names(),
        };
        let (layers_to_transform, layers_pattern) = (self.layers_to_transform.clone(), self.layers_pattern.clone());
        let (rank_pattern, alpha_pattern) = (self.rank_pattern.clone(), self.alpha_pattern.clone());
        let layers = LoraSettings { layers_to_transform, layers_pattern, ..default() };
        let alone = [
            (default(), targets.clone()),
            (LoraSettings { exclude_modules: self.exclude_modules.clone(), ..default() }, names()),
            (layers, targets),
            (LoraSettings { rank_pattern, ..default() }, names()),
            (LoraSettings { alpha_pattern, ..default() }, names()),
        ];
        for (settings, targets) in alone {
            let config = adapter_config::from_settings(&settings, targets);
            if let Err(aludel_formats::Error::Malformed { place, reason, .. }) =
                Rules::new(&config, Path::new("recipe"), &[])
            {
                let key = KEYS.into_iter().find(|key| place.contains(key)).unwrap_or("target_modules");
                let value = match key {
                    "exclude_modules" => {
                        let excluded =
                            self.exclude_modules.clone().map(|excluded| OneOrMany::from(excluded).into_vec());
                        format!("{:?}", excluded.unwrap_or_default().join(", "))
                    }
                    "layers_to_transform" => format!("{:?}", self.layers_to_transform),
                    "layers_pattern" => format!("{:?}", self.layers_pattern),
                    "rank_pattern" => listed(&self.rank_pattern),
                    "alpha_pattern" => listed(&self.alpha_pattern),
                    _ => format!("{:?}", OneOrMany::from(self.target_modules.clone()).into_vec().join(", ")),
                };
                let (reason, mend) = reason.rsplit_once("; ").unwrap_or((&reason, "name the modules"));
                check.wrong(key, format_args!("{value}"), reason, mend);
                return;
            }
        }
    }
}

/// Settings that hold patterns.
const KEYS: [&str; 6] =
    ["target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern"];

/// A table as TOML has it.
fn listed<V: ToString>(patterns: &BTreeMap<String, V>) -> String {
    let items: Vec<String> =
        patterns.iter().map(|(pattern, value)| format!("{pattern:?} = {}", value.to_string())).collect();
    format!("{{ {} }}", items.join(", "))
}
