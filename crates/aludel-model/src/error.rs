//! What can be wrong with a student or an adapter. Each message names the file or key, the reason and the mend.

use std::path::PathBuf;

use aludel_files::grouped;

/// The result of loading or running a model.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file whose weights are not in blocks that could be kept.
    #[error(
        "{path}: its weights are stored as {dtype}, of which \"as-is\" can keep nothing; give a GGUF file in blocks of Q4_0 to Q8_0 or Q2_K to \
         Q6_K, or set student.quantize (of a teacher, distill.teacher_quantize) to \"nf4\", \"int8\" or \"none\"",
        path = path.display()
    )]
    NotQuantized {
        /// The file or folder.
        path: PathBuf,
        /// How its weights are stored.
        dtype: String,
    },

    /// A file could not be read or written, or does not hold what its format asks for.
    #[error(transparent)]
    Format(#[from] aludel_formats::Error),

    /// The tokenizer or the chat template.
    #[error(transparent)]
    Text(#[from] aludel_text::error::Error),

    /// Loading was broken off by whoever watches it.
    #[error("loading the model was stopped; nothing of it was kept, so run the command again")]
    Stopped,

    /// An architecture that is not computed here.
    #[error("{path}: the architecture {found:?} is not supported; {instead}")]
    Architecture {
        /// The config or GGUF file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What to use in its place.
        instead: &'static str,
    },

    /// A config value that is missing or makes no sense.
    #[error("{path}: {key}: {reason}")]
    Config {
        /// The config or GGUF file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// A tensor that does not fit the config.
    #[error("{path}: tensor {name}: {reason}")]
    Tensor {
        /// The file or folder.
        path: PathBuf,
        /// The tensor's name in it.
        name: String,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// Tokenizer and weights of different vocabularies.
    #[error(
        "{path}: the tokenizer knows {tokenizer} tokens, but the weights have rows for {weights}; \
         use the tokenizer that came with these weights",
        tokenizer = grouped(*tokenizer), weights = grouped(*weights)
    )]
    Vocabulary {
        /// The student.
        path: PathBuf,
        /// Tokens of the tokenizer.
        tokenizer: usize,
        /// Rows of the embedding.
        weights: usize,
    },

    /// A path that is neither a GGUF file nor a model folder.
    #[error("{path}: {reason}")]
    Student {
        /// What the user gave.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// An adapter that does not belong to this base, or that this engine cannot apply.
    #[error("{path}: {reason}")]
    Adapter {
        /// The adapter folder.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// A target module that no linear of the model has.
    #[error(
        "lora.{key}: {name:?} matches no linear of this model, which has {known}; name some of these{}",
        if *key == "target_modules" { ", or use \"all-linear\"" } else { "" }
    )]
    Target {
        /// The setting.
        key: &'static str,
        /// What was asked for.
        name: String,
        /// The names that match.
        known: String,
    },

    /// Parts of a fused linear that cannot be what is asked for, or nothing to train.
    #[error("lora.{key}: {reason}")]
    Parts {
        /// The setting.
        key: &'static str,
        /// Why not, and what to do.
        reason: String,
    },

    /// Layers that no model of this config has.
    #[error("lora.layers_to_transform: there is no layer {layer} in this model; give numbers from 0 to {}", layers - 1)]
    Layer {
        /// What was asked for.
        layer: u64,
        /// How many there are.
        layers: usize,
    },

    /// Biases are to be trained, and there are none.
    #[error("lora.bias: {reason}")]
    Bias {
        /// Why there are none, and what to do.
        reason: String,
    },

    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocab_size}; ids from 0 to {} are right", vocab_size - 1)]
    Token {
        /// The id.
        id: u32,
        /// The vocabulary.
        vocab_size: usize,
    },

    /// More positions than the model was made for.
    #[error("{length} tokens are more than the {limit} positions of this model; shorten the text", length = grouped(*length), limit = grouped(*limit))]
    Length {
        /// Tokens asked for.
        length: usize,
        /// Positions that the model has.
        limit: usize,
    },

    /// A prompt without tokens.
    #[error("the prompt has no tokens, so there is nothing to continue; give at least one token")]
    EmptyPrompt,

    /// A prompt that leaves no room for an answer.
    #[error("the prompt has {length} tokens, but prompt and answer share a context of {limit}; shorten the prompt", length = grouped(*length), limit = grouped(*limit))]
    Context {
        /// Tokens of the prompt.
        length: usize,
        /// Tokens of the context.
        limit: usize,
    },

    /// Logits that are NaN or infinite.
    #[error(
        "the logits at position {position} are not finite numbers; the weights or the adapter are damaged, load another copy"
    )]
    Logits {
        /// Tokens before them.
        position: usize,
    },
}
