//! `[student]`: the model that learns, its precision and the tokens it gains. Which files make a model is the loader's
//! business; here it is only a path.

use aludel_model::hub_name::is_hub_name;
use aludel_settings::Checker;
use aludel_settings::{OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::PathBuf;

/// The model that learns, and how it is held.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StudentSettings {
    /// A GGUF file, a Hugging Face model folder, or a name on the Hub such as `hf:owner/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// The student's name on the Hub, `owner/name`, which adapters give to PEFT and other tools. Where not given, what the student's files
    /// say, else its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// Precision of matrix products; sums, norms, softmax, adapters and optimiser are f32 in any case.
    pub dtype: Dtype,
    /// How the frozen linear weights are held in memory. They are decoded in each product, and a run trains beside them as beside weights
    /// in bf16, in about a quarter (nf4) or half (int8) of the memory.
    pub quantize: Quantize,
    /// The device to compute on.
    pub device: Device,
    /// The instruction set that the processor's kernels use. Results depend on it in their last bits; a run keeps the one that it began
    /// with.
    pub instruction_set: InstructionSet,
    /// Tokens that the student gains, for example `["<think>", "</think>"]`. Their rows are trained; no other row is.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub add_tokens: Vec<String>,
    /// How attention is computed.
    pub attention: Attention,
    /// Number of threads; 0 uses all cores. Results do not depend on it.
    #[schemars(range(min = 0, max = 1024))]
    pub threads: usize,
}

/// The precision of matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// bf16; in training f32 where the processor multiplies that faster, which is where it has neither AMX nor fast bf16 products.
    #[default]
    Auto,
    /// bf16 factors, f32 sums.
    #[serde(alias = "bfloat16")]
    Bf16,
    /// f32 throughout: slower, for comparisons.
    #[serde(alias = "float32")]
    F32,
    /// The file's own quantisation, where the model came quantised: the least to read for each token. For generation only.
    File,
}

impl Dtype {
    /// What products are computed in, as results record it.
    pub fn of_products(self) -> &'static str {
        match self {
            Dtype::Auto | Dtype::Bf16 => "bf16",
            Dtype::F32 => "f32",
            Dtype::File => "file",
        }
    }
}

/// How frozen linear weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Quantize {
    /// In the precision of products.
    #[default]
    None,
    /// In the 4-bit NormalFloat with double quantisation, as bitsandbytes has it; the head stays in the precision of products.
    Nf4,
    /// In 8-bit integers with one scale a row; the head stays in the precision of products.
    Int8,
    /// In a GGUF file's own blocks: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K and Q5_K, whose scales are rounded to f16. Weights in other encodings are
    /// held in the precision of products.
    AsIs,
}

impl Quantize {
    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Quantize::None => "none",
            Quantize::Nf4 => "nf4",
            Quantize::Int8 => "int8",
            Quantize::AsIs => "as-is",
        }
    }

    /// Whether weights are the same as those of another way: a GGUF file's own blocks are what is unpacked otherwise.
    pub fn has_weights_of(self, other: Quantize) -> bool {
        let is_unchanged = |how| matches!(how, Quantize::None | Quantize::AsIs);
        self == other || (is_unchanged(self) && is_unchanged(other))
    }

    /// What follows the precision of products where results are told: ` on nf4 weights`.
    pub fn suffix(self) -> &'static str {
        match self {
            Quantize::None => "",
            Quantize::Nf4 => " on nf4 weights",
            Quantize::Int8 => " on int8 weights",
            Quantize::AsIs => " on the file's own weights",
        }
    }
}

/// Where the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The best device found: in this version that is the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
}

/// What the processor's kernels are made of; each contains those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InstructionSet {
    /// The best that the processor has.
    #[default]
    Auto,
    /// Nothing in particular: any processor.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 with its int8 products.
    Avx512,
    /// Its bf16 products too.
    #[serde(rename = "avx512-bf16")]
    Avx512Bf16,
    /// Tiles of bf16, on Intel's servers.
    Amx,
}

/// How attention is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// In tiles, exact, without ever storing the square of the length.
    #[default]
    Tiled,
}

impl StudentSettings {
    /// How products are computed, and from which weights, as results record it: `bf16`, or `bf16 on nf4 weights`.
    pub fn computed_in(&self) -> String {
        format!("{}{}", self.dtype.of_products(), self.quantize.suffix())
    }

    pub(super) fn check(&self, check: &mut Checker<'_>) {
        if let Some(model) = &self.model {
            check.that(
                !model.as_os_str().is_empty(),
                "model",
                model,
                "an empty path names nothing",
                "a GGUF file or a Hugging Face model folder",
            );
        }
        if let Some(name) = &self.base_model {
            check.that(
                is_hub_name(name),
                "base_model",
                name,
                "that is no name on the Hub",
                "owner/name, such as HuggingFaceTB/SmolLM2-135M-Instruct; the model that is trained is student.model",
            );
        }
        check.that(
            self.dtype != Dtype::File || self.quantize == Quantize::None,
            "quantize",
            self.quantize.name(),
            "student.dtype = \"file\" multiplies the file's own blocks as integers, which is another way to hold weights",
            "\"none\", or another student.dtype",
        );
        check.that(
            self.threads <= 1024,
            "threads",
            self.threads,
            "that is more threads than any machine has cores",
            "a whole number from 0 to 1,024; 0 is one for each core",
        );
        let empty = self.add_tokens.iter().any(|token| token.trim().is_empty());
        check.that(
            !empty,
            "add_tokens",
            &self.add_tokens,
            "a token without visible text cannot be told from the text around it",
            "tokens such as \"<think>\"",
        );
        let mut seen = HashSet::new();
        let repeated = !self.add_tokens.iter().all(|token| seen.insert(token));
        check.that(!repeated, "add_tokens", &self.add_tokens, "a token is named twice", "each token once");
    }
}
