//! `[distill]`: what is learnt from a teacher beside the data's text, and from which. Whether teacher and student fit together is told
//! when both are open.

use std::path::{Path, PathBuf};

use aludel_kernels::loss::divergence::{Divergence, DivergenceArgs, Softmax};
use aludel_settings::{Checker, OneOrMany, Problem, Problems, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dtype, Quantize};
use crate::supervision::LossTerm;

/// What is learnt from a teacher. Its traces are data like any other; here a teacher is a model whose probability of every token is
/// learnt (knowledge distillation).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DistillSettings {
    /// The terms of the loss: "ce" is cross-entropy with the data's tokens, "logits" the divergence from the teacher's distribution at
    /// each of them. One, or a list.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<LossTerm>")]
    pub kind: Vec<LossTerm>,
    /// The factor of each term in the loss.
    pub weights: TermWeights,
    /// The teacher: a GGUF file, a Hugging Face model folder, or a name on the Hub such as `hf:owner/name`. Its tokens must be the
    /// student's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// A folder that `aludel cache` wrote, in place of the teacher: the student learns from it, and the teacher takes no memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// What is learnt of a cache that holds several things.
    pub cache_target: CacheTarget,
    /// An adapter of the teacher, in PEFT's layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_adapter: Option<PathBuf>,
    /// A system prompt that the teacher alone sees, before that of the row if it has one (prompt distillation).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_system: Option<String>,
    /// A column whose text the teacher alone sees, such as hints or the reference answer, at the end of the user's message before the
    /// first answer that is learnt. Rows in which it is null or empty show no more than the student sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_context_column: Option<String>,
    /// Precision of the teacher's matrix products.
    pub teacher_dtype: Dtype,
    /// How the teacher's linear weights are held in memory.
    pub teacher_quantize: Quantize,
    /// Tokens that the teacher reads at once; a longer row is read by itself.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub teacher_tokens_per_pass: usize,
    /// What is done about a teacher that was trained with other control tokens or another end of answers, or does not predict the rows.
    /// A teacher whose token ids mean other tokens is always refused.
    pub pair_check: PairCheck,
    /// How the student's distribution q is compared to the teacher's p.
    pub divergence: DivergenceKind,
    /// Temperature of both distributions in "logits"; the term is multiplied by its square, so that its gradient keeps its size.
    pub temperature: f64,
    /// The teacher's share β in "jsd": β·KL(p‖m) + (1 − β)·KL(q‖m), with m = β·p + (1 − β)·q.
    pub beta: f64,
    /// The teacher's share α in the mixture of "skew_kl": KL(p ‖ α·p + (1 − α)·q).
    pub alpha: f64,
}

/// What a teacher sees of a row that the student does not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeacherContext {
    /// A system prompt.
    pub system: Option<String>,
    /// A column of the data.
    pub column: Option<String>,
}

/// The factor of each term in the loss; without effect for terms that are not in `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TermWeights {
    /// Of cross-entropy.
    pub ce: f64,
    /// Of the divergence.
    pub logits: f64,
}

/// What is done about a teacher that does not fit the student.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PairCheck {
    /// The run ends before its first step.
    #[default]
    Error,
    /// It is told, and the student learns from it all the same.
    Warn,
}

/// How two distributions are compared: p is the teacher's, q the student's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DivergenceKind {
    /// KL(p‖q): the student covers all that the teacher may say.
    #[default]
    ForwardKl,
    /// KL(q‖p): the student avoids what the teacher would not say.
    ReverseKl,
    /// Jensen-Shannon, with `beta`.
    Jsd,
    /// KL(p ‖ α·p + (1 − α)·q), with `alpha`.
    SkewKl,
    /// Total variation, half the sum of |p − q|.
    Tv,
}

/// What is learnt of a teacher's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheTarget {
    /// The likeliest tokens where they are stored, else draws.
    #[default]
    Auto,
    /// The likeliest tokens, and all others as one class.
    TopK,
    /// Draws from the teacher.
    Samples,
}

impl CacheTarget {
    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            CacheTarget::Auto => "auto",
            CacheTarget::TopK => "top_k",
            CacheTarget::Samples => "samples",
        }
    }
}

impl Default for TermWeights {
    fn default() -> Self {
        TermWeights { ce: 1.0, logits: 1.0 }
    }
}

impl Default for DistillSettings {
    fn default() -> Self {
        DistillSettings {
            kind: vec![LossTerm::Ce],
            weights: TermWeights::default(),
            teacher: None,
            cache: None,
            cache_target: CacheTarget::Auto,
            teacher_adapter: None,
            teacher_system: None,
            teacher_context_column: None,
            teacher_dtype: Dtype::Auto,
            teacher_quantize: Quantize::None,
            teacher_tokens_per_pass: 1024,
            pair_check: PairCheck::Error,
            divergence: DivergenceKind::ForwardKl,
            temperature: 1.0,
            beta: 0.5,
            alpha: 0.1,
        }
    }
}

impl DistillSettings {
    /// Whether a teacher is asked in training.
    pub fn has_teacher(&self) -> bool {
        self.kind.iter().any(|kind| *kind != LossTerm::Ce)
    }

    /// The terms of the loss with their weights.
    pub fn terms(&self) -> Vec<(LossTerm, f32)> {
        let weight = |term| match term {
            LossTerm::Ce => self.weights.ce,
            LossTerm::Logits => self.weights.logits,
        };
        self.kind.iter().map(|&term| (term, weight(term) as f32)).collect()
    }

    /// The divergence over the first `vocab` tokens, as kernels take it.
    pub fn divergence_args(&self, vocab: usize) -> DivergenceArgs {
        let divergence = match self.divergence {
            DivergenceKind::ForwardKl => Divergence::ForwardKl,
            DivergenceKind::ReverseKl => Divergence::ReverseKl,
            DivergenceKind::Jsd => Divergence::Jsd { beta: self.beta as f32 },
            DivergenceKind::SkewKl => Divergence::SkewKl { alpha: self.alpha as f32 },
            DivergenceKind::Tv => Divergence::TotalVariation,
        };
        DivergenceArgs { divergence, softmax: Softmax { vocab, temperature: self.temperature as f32 } }
    }

    /// `distill.teacher`, where it cannot be done without.
    ///
    /// # Errors
    /// One problem that names the key, if it was not set.
    pub fn teacher_model(&self) -> Result<&Path, Problems> {
        self.teacher.as_deref().ok_or_else(|| Problems::one(self.teacher_missing()))
    }

    /// `distill.cache`, where it cannot be done without.
    ///
    /// # Errors
    /// One problem that names the key, if it was not set.
    pub fn cache_folder(&self) -> Result<&Path, Problems> {
        self.cache.as_deref().ok_or_else(|| {
            Problems::one(Problem::missing(
                "distill.cache",
                "no cache is named",
                "give a folder that `aludel cache` wrote: --set distill.cache=DIR",
            ))
        })
    }

    fn teacher_missing(&self) -> Problem {
        Problem::missing(
            "distill.teacher",
            "distill.kind has \"logits\", and no teacher is named",
            "give a GGUF file or a Hugging Face model folder whose tokenizer is the student's: --set distill.teacher=PATH, or a cache of \
             one: --set distill.cache=DIR",
        )
    }

    /// What training with these settings lacks.
    pub(super) fn missing(&self) -> Option<Problem> {
        (self.has_teacher() && self.teacher.is_none() && self.cache.is_none()).then(|| self.teacher_missing())
    }

    pub(super) fn check(&self, check: &mut Checker<'_>) {
        let kinds: Vec<&str> = self.kind.iter().map(|kind| kind.name()).collect();
        check.that(!kinds.is_empty(), "kind", &kinds, "there is nothing to minimise", "\"ce\", \"logits\" or both");
        let repeated = (1..kinds.len()).any(|i| kinds[..i].contains(&kinds[i]));
        check.that(!repeated, "kind", &kinds, "a term is named twice", "each term once");
        for (key, weight) in [("weights.ce", self.weights.ce), ("weights.logits", self.weights.logits)] {
            check.that(
                weight > 0.0 && weight <= 1e3,
                key,
                weight,
                "a term of this weight would not be learnt, or nothing beside it",
                "a number above 0 and up to 1,000; to leave a term out, leave it out of distill.kind",
            );
        }
        check.that(
            kinds != ["ce"] || self.weights.ce == 1.0,
            "weights.ce",
            self.weights.ce,
            "cross-entropy is the whole loss, and a factor of the whole loss is a matter of the learning rate",
            "1, or a second term in distill.kind",
        );
        check.that(
            self.teacher.is_none() || self.cache.is_none(),
            "cache",
            &self.cache,
            "distill.teacher names a model that is asked as the student learns, and a cache takes its place",
            "one of both: --set distill.cache= leaves the cache out, --set distill.teacher= the teacher",
        );
        let column = self.teacher_context_column.as_deref();
        check.that(
            column.is_none_or(|column| !column.trim().is_empty()),
            "teacher_context_column",
            column,
            "it names no column",
            "the name of a column of the data",
        );
        check.that(
            self.teacher_dtype != Dtype::File,
            "teacher_dtype",
            "file",
            "products of integers are for generation: the teacher's probabilities would be rounded",
            "\"auto\", and distill.teacher_quantize = \"as-is\" to hold the file's own blocks",
        );
        check.that(
            (1..=1 << 20).contains(&self.teacher_tokens_per_pass),
            "teacher_tokens_per_pass",
            self.teacher_tokens_per_pass,
            "the teacher reads one token at least, and memory holds only so many",
            "a whole number from 1 to 1,048,576, for example 1024",
        );
        check.that(
            (0.05..=100.0).contains(&self.temperature),
            "temperature",
            self.temperature,
            "both distributions are softmax(logits / temperature)",
            "a number from 0.05 to 100; usual are 1 to 4",
        );
        for (key, share) in [("beta", self.beta), ("alpha", self.alpha)] {
            check.that(
                share > 0.0 && share < 1.0,
                key,
                share,
                "at 0 and at 1 the mixture is one of the two distributions",
                "a number between 0 and 1; \"forward_kl\" and \"reverse_kl\" are divergences of their own",
            );
        }
    }
}
