//! How far a model is from a teacher, token by token: the Kullback-Leibler divergence on rows of data, with the rows of both prepared as
//! training does.

use serde::Serialize;

use super::interval::of_token_mean;
use super::loss::{Evaluated, Loss, RowsProgress, evaluate_rows};
use crate::error::Result;
use crate::settings::{Balancing, DistillSettings, DivergenceKind, Recipe, TermWeights};
use crate::supervision::LossTerm;

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KlToTeacher {
    /// KL(teacher ‖ model), nats for each supervised token, at temperature 1.
    pub kl_per_token: f64,
    /// Its 95% confidence interval over rows; none of a single row.
    pub ci95: Option<[f64; 2]>,
    /// Supervised tokens.
    pub tokens: u64,
    /// Rows that were evaluated.
    pub rows: usize,
    /// Rows left out as longer than `max_length`.
    pub too_long: usize,
    /// The longest row that is taken: `train.max_length`, or what both models read.
    pub max_length: usize,
    /// Rows left out that have no supervised token.
    pub unsupervised: usize,
    /// Rows left out that could not be read.
    pub bad_rows: usize,
    /// Of answers that the model wrote itself, how many were cut; none where the answers are the data's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_answers_cut: Option<usize>,
    /// In what the teacher differs from the model, in words.
    #[serde(skip)]
    pub pair_notes: Vec<String>,
}

/// The divergence of the recipe's student, with `train.init_adapter` if that is set, from `distill.teacher`, on `data.files`; with
/// `own_answers`, the seed of their draws, at the tokens of answers that the student writes itself.
///
/// # Errors
/// Models that do not load or do not fit together, rows that training would refuse, and data of which no row is left.
pub fn kl_to_teacher(recipe: &Recipe, own_answers: Option<u64>, tell: &dyn Fn(RowsProgress)) -> Result<KlToTeacher> {
    // Nothing is trained: which steps are on-policy does not matter.
    let distill = DistillSettings {
        lambda: 0.0,
        kind: vec![LossTerm::Logits],
        weights: TermWeights::default(),
        balance: Balancing::None,
        divergence: DivergenceKind::ForwardKl,
        temperature: 1.0,
        ..recipe.distill.clone()
    };
    let recipe = Recipe { distill, ..recipe.clone() };
    let Evaluated { sums, rows, found, pair_notes } = evaluate_rows(&recipe, own_answers, tell)?;
    let Loss { too_long, max_length, unsupervised, bad_rows, .. } = found;
    let (kl_per_token, ci95, tokens) = (sums.mean_loss(), of_token_mean(&rows), sums.supervised);
    let pair_notes = pair_notes.iter().map(ToString::to_string).collect();
    Ok(KlToTeacher {
        kl_per_token,
        ci95,
        tokens,
        rows: found.rows,
        too_long,
        max_length,
        unsupervised,
        bad_rows,
        own_answers_cut: own_answers.map(|_| found.truncated),
        pair_notes,
    })
}
