//! `[distill]`: what is learnt from a teacher beside the data's text, and from which. Whether teacher and student fit together is told
//! when both are open.

use std::path::{Path, PathBuf};

use aludel_kernels::loss::divergence::{Divergence, DivergenceArgs, Softmax};
use aludel_kernels::loss::hidden::HiddenLoss;
use aludel_settings::{Checker, OneOrMany, Problem, Problems, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dtype, HiddenLayers, Quantize};
use crate::supervision::LossTerm;

/// What is learnt from a teacher. Its traces are data like any other; here a teacher is a model whose probability of every token is
/// learnt (knowledge distillation).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DistillSettings {
    /// The terms of the loss: "ce" is cross-entropy with the data's tokens, "logits" the divergence from the teacher's distribution at
    /// each of them, "hidden" how far the student's hidden states are from the teacher's there. One, or a list.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<LossTerm>")]
    pub kind: Vec<LossTerm>,
    /// The factor of each term in the loss.
    pub weights: TermWeights,
    /// Whether the weights are also the shares that the terms keep of the gradient's norm.
    pub balance: Balancing,
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
    /// The share of steps that are on-policy: the student answers the prompts of their rows itself, and learns the teacher's distribution
    /// at each token of its own answers. Needs a teacher in this process.
    pub lambda: f64,
    /// Maximum number of tokens of an answer that the student writes in an on-policy step.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub max_new_tokens: usize,
    /// Temperature at which the student writes them; 0 takes the likeliest token.
    pub sampling_temperature: f64,
    /// The layers whose states are compared in "hidden": "auto" is four at even distances, the last among them; a number n every n-th
    /// layer of the student, counted back from the last, with the teacher's at the same depth; or a list of pairs [student, teacher].
    /// Layers are counted from 1.
    pub hidden_layers: HiddenLayers,
    /// How two states are compared in "hidden".
    pub hidden_loss: HiddenLossKind,
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
    /// Of the distance between hidden states.
    pub hidden: f64,
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

/// Whether the terms of a loss are balanced by their gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balancing {
    /// The gradient is that of the loss.
    #[default]
    None,
    /// The norms of the terms' gradients at the residual stream are to each other as the weights, by factors that each step sets for the
    /// next.
    Gradient,
}

/// How two hidden states are compared; their size does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HiddenLossKind {
    /// Mean squared error of states that are divided by their root mean square.
    #[default]
    Mse,
    /// One less the cosine.
    Cosine,
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

/// What `kind` may hold.
const TERMS: &str = "one or several of \"ce\", \"logits\" and \"hidden\"";

impl Default for TermWeights {
    fn default() -> Self {
        TermWeights { ce: 1.0, logits: 1.0, hidden: 1.0 }
    }
}

impl Default for DistillSettings {
    fn default() -> Self {
        DistillSettings {
            kind: vec![LossTerm::Ce],
            weights: TermWeights::default(),
            balance: Balancing::None,
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
            lambda: 0.0,
            max_new_tokens: 256,
            sampling_temperature: 1.0,
            hidden_layers: HiddenLayers::AUTO,
            hidden_loss: HiddenLossKind::Mse,
        }
    }
}

/// Why a teacher that sees more is not asked of answers that the student writes.
pub(crate) const NO_CONTEXT_OF_OWN_ANSWERS: &str =
    "a teacher that sees more than the student cannot judge the student's own answers yet";

impl DistillSettings {
    /// Whether a teacher is asked in training.
    pub fn has_teacher(&self) -> bool {
        self.kind.iter().any(|kind| *kind != LossTerm::Ce)
    }

    /// Whether a teacher, or what one said, is named.
    pub fn names_teacher(&self) -> bool {
        self.teacher.is_some() || self.cache.is_some()
    }

    /// Whether the student learns from its own answers at some steps.
    pub fn is_on_policy(&self) -> bool {
        self.lambda > 0.0
    }

    /// The terms of the loss with their weights.
    pub fn terms(&self) -> Vec<(LossTerm, f32)> {
        let weight = |term| match term {
            LossTerm::Ce => self.weights.ce,
            LossTerm::Logits => self.weights.logits,
            LossTerm::Hidden => self.weights.hidden,
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

    /// Whether hidden states are compared.
    pub fn has_hidden(&self) -> bool {
        self.kind.contains(&LossTerm::Hidden)
    }

    /// The loss of hidden states, as kernels take it.
    pub fn hidden_loss(&self) -> HiddenLoss {
        match self.hidden_loss {
            HiddenLossKind::Mse => HiddenLoss::NormalisedMse,
            HiddenLossKind::Cosine => HiddenLoss::Cosine,
        }
    }

    /// The pairs of layers whose states are compared, for models of so many layers.
    ///
    /// # Errors
    /// As [`HiddenLayers::pairs`].
    pub fn layer_pairs(&self, student: usize, teacher: usize) -> Result<Vec<[usize; 2]>, Problems> {
        // Cross-entropy is no term of steps on the student's own answers.
        let trains_all = |term: &LossTerm| *term == LossTerm::Logits || (*term == LossTerm::Ce && !self.is_on_policy());
        self.hidden_layers.pairs(student, teacher, !self.kind.iter().any(trains_all))
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
        if self.has_hidden() {
            return Problem::missing(
                "distill.teacher",
                "distill.kind has \"hidden\", and no teacher is named",
                "give a GGUF file or a Hugging Face model folder whose tokenizer is the student's: --set distill.teacher=PATH",
            );
        }
        Problem::missing(
            "distill.teacher",
            "distill.kind has \"logits\", and no teacher is named",
            "give a GGUF file or a Hugging Face model folder whose tokenizer is the student's: --set distill.teacher=PATH, or a cache of \
             one: --set distill.cache=DIR",
        )
    }

    /// What training with these settings lacks: a teacher where one is asked, and the term that asks where one is named.
    pub(super) fn missing(&self) -> Option<Problem> {
        if self.has_teacher() {
            return (self.teacher.is_none() && self.cache.is_none()).then(|| self.teacher_missing());
        }
        let named = [("teacher", &self.teacher), ("cache", &self.cache)];
        let (key, path) = named.into_iter().find_map(|(key, path)| Some((key, path.as_ref()?)))?;
        Some(Problem::new(
            &format!("distill.{key}"),
            Some(path.display().to_string()),
            "distill.kind is \"ce\": the student would learn the data's tokens alone, and nothing of this teacher",
            "--set distill.kind=logits, or leave the teacher out",
        ))
    }

    pub(super) fn check(&self, check: &mut Checker<'_>) {
        let kinds: Vec<&str> = self.kind.iter().map(|kind| kind.name()).collect();
        check.that(!kinds.is_empty(), "kind", &kinds, "there is nothing to minimise", TERMS);
        let repeated = (1..kinds.len()).any(|i| kinds[..i].contains(&kinds[i]));
        check.that(!repeated, "kind", &kinds, "a term is named twice", "each term once");
        check.that(
            self.balance == Balancing::None || kinds.len() > 1,
            "balance",
            "gradient",
            "the loss has one term, and nothing to balance it with",
            "\"none\", or a second term in distill.kind",
        );
        let TermWeights { ce, logits, hidden } = self.weights;
        for (key, weight) in [("weights.ce", ce), ("weights.logits", logits), ("weights.hidden", hidden)] {
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
            !self.has_hidden() || self.cache.is_none(),
            "cache",
            &self.cache,
            "distill.kind has \"hidden\", and a cache holds no hidden states",
            "the teacher itself: --set distill.cache= --set distill.teacher=PATH",
        );
        self.hidden_layers.check(check);
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
        self.check_on_policy(check);
    }

    fn check_on_policy(&self, check: &mut Checker<'_>) {
        check.that(
            (0.0..=1.0).contains(&self.lambda),
            "lambda",
            self.lambda,
            "it is a share of the steps",
            "a number from 0 to 1: 0 learns from the data's rows alone, 1 from the student's own answers alone",
        );
        check.that(
            !self.is_on_policy() || self.has_teacher(),
            "lambda",
            self.lambda,
            "the student's own answers are worth learning from where a teacher judges them, and distill.kind has none that does",
            "0, or distill.kind = \"logits\" with distill.teacher",
        );
        check.that(
            !self.is_on_policy() || self.cache.is_none(),
            "lambda",
            self.lambda,
            "a cache cannot judge answers that are yet to be written",
            "0, or distill.teacher in place of distill.cache",
        );
        check.that(
            !self.is_on_policy() || self.teacher_context().is_none(),
            "lambda",
            self.lambda,
            NO_CONTEXT_OF_OWN_ANSWERS,
            "0, or neither distill.teacher_system nor distill.teacher_context_column",
        );
        check.that(
            self.lambda < 1.0 || !self.kind.contains(&LossTerm::Ce),
            "lambda",
            self.lambda,
            "cross-entropy is learnt from the data's answers, and no step would see one",
            "a number below 1, or distill.kind without \"ce\"",
        );
        check.that(
            !self.is_on_policy() || self.balance == Balancing::None || !self.kind.contains(&LossTerm::Ce),
            "balance",
            "gradient",
            "the student's own answers have no cross-entropy, whose gradient the other terms would be balanced by",
            "\"none\", or distill.kind without \"ce\"",
        );
        check.that(
            (1..=1 << 20).contains(&self.max_new_tokens),
            "max_new_tokens",
            self.max_new_tokens,
            "an answer has one token at least, and memory holds only so many",
            "a whole number from 1 to 1,048,576, for example 256",
        );
        check.that(
            (0.0..=100.0).contains(&self.sampling_temperature),
            "sampling_temperature",
            self.sampling_temperature,
            "the student draws tokens from softmax(logits / temperature)",
            "a number from 0 to 100; 1 draws from what is learnt",
        );
    }
}
