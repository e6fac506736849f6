//! `[generate]`: how answers are sampled, under the names of transformers' `GenerationConfig`. The sampler itself lives
//! with the generation engine.

use aludel_settings::Checker;
use aludel_settings::{OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How answers are sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GenerateSettings {
    /// Maximum number of tokens of an answer, including reasoning.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_new_tokens: usize,
    /// Sampling temperature; 0 always picks the most likely token.
    pub temperature: f64,
    /// Sample from the most likely tokens whose probabilities add up to this; 1 takes all.
    pub top_p: f64,
    /// Sample from this many most likely tokens; 0 takes all.
    pub top_k: usize,
    /// Leave out tokens less likely than this fraction of the most likely one; 0 leaves none out.
    pub min_p: f64,
    /// Above 1, tokens that occurred before become less likely; 1 changes nothing.
    pub repetition_penalty: f64,
    /// Texts that end an answer; they are not part of it.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub stop: Vec<String>,
    /// Random seed of the sampling; a new one each time where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Default for GenerateSettings {
    fn default() -> Self {
        Self {
            max_new_tokens: 5000,
            temperature: 0.7,
            top_p: 1.0,
            top_k: 50,
            min_p: 0.0,
            repetition_penalty: 1.0,
            stop: Vec::new(),
            seed: None,
        }
    }
}

impl GenerateSettings {
    pub(super) fn check(&self, check: &mut Checker<'_>) {
        check.that(
            (1..=100_000_000).contains(&self.max_new_tokens),
            "max_new_tokens",
            self.max_new_tokens,
            if self.max_new_tokens == 0 {
                "an answer needs at least one token"
            } else {
                "no model has that many positions"
            },
            "a whole number from 1 to 100,000,000, for example 5000",
        );
        check.sampling(self.temperature, self.top_p);
        check.that(
            (0.0..=1.0).contains(&self.min_p),
            "min_p",
            self.min_p,
            "it is a share of the likeliest token's probability",
            "a number from 0 (no token left out) to 1",
        );
        check.that(
            self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
            "repetition_penalty",
            self.repetition_penalty,
            "logits are divided by it",
            "a number above 0; 1 changes nothing, 1.1 is a common choice",
        );
        check.that(
            self.stop.iter().all(|text| !text.is_empty()),
            "stop",
            &self.stop,
            "an empty text would end every answer at once",
            "texts of at least one character",
        );
        if let Some(seed) = self.seed {
            check.seed(seed);
        }
    }
}
