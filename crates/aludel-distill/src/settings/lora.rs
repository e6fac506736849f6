//! `[lora]`: the adapter that is trained, in PEFT's terms. Which modules a student has, and so whether a target
//! matches anything, is known only to the model.

use aludel_settings::Checker;
use aludel_settings::OneOrMany;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The linear layers that get an adapter: names such as `q_proj` (Phi-3 has `qkv_proj` and `gate_up_proj` in place of several), or
    /// "all-linear" for every one but the head.
    pub target_modules: TargetModules,
    /// Which biases are trained.
    pub bias: Bias,
    /// Rank-stabilised LoRA: s = alpha / √r.
    pub use_rslora: bool,
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
}

/// Which biases are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bias {
    /// None: the base is frozen.
    #[default]
    None,
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
            bias: Bias::None,
            use_rslora: false,
            init: InitLora::Kaiming,
        }
    }
}

impl From<OneOrMany<String>> for TargetModules {
    fn from(written: OneOrMany<String>) -> Self {
        let names = written.into_vec();
        if names == [ALL_LINEAR] { Self::AllLinear } else { Self::Names(names) }
    }
}

impl From<TargetModules> for OneOrMany<String> {
    fn from(targets: TargetModules) -> Self {
        match targets {
            TargetModules::AllLinear => Self::One(ALL_LINEAR.to_owned()),
            TargetModules::Names(names) => Self::Many(names),
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
    }
}
