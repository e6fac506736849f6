//! The trainable student: a decoder, the adapter with its gradients and moments, on one device; passes of rows through it, and optimiser
//! steps. The training loop selects the rows and writes the results.

mod device;
mod pass;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use aludel_data::token_cache::TokenRow;
use aludel_kernels::optim::{self, State};
use aludel_kernels::{Context, Mat, rng};
use aludel_model::adapter::{Adapter, AdapterInit, AdapterOptions, targets};
use aludel_model::decoder::{Active, Attention, Decoder, PackedBatch, SavedActivations, StepDropout, WeightFormat};
use aludel_model::generate::Engine;
use aludel_model::student::Student;

use crate::adapter_config;
use crate::base_model;
use crate::batch::MaxPassTokens;
use crate::error::{Error, Result};
use crate::objective::{self, CrossEntropy, Objective, Projections};
use crate::settings::{InitLora, Recipe};
use crate::supervision::{LossTerm, PassSums, SupervisedBatch};
use crate::teacher::{Loading, Teacher};
use crate::token_init::mean;
use crate::training_facts::refuse_merged;
use pass::{plan_pass, run_pass};

pub use device::{context, settled, weight_format};

/// A student with its adapter and optimiser state.
pub struct Learner {
    /// Device memory and threads.
    pub ctx: Context,
    /// The frozen base; shared with an engine that answers as the adapter learns.
    pub decoder: Arc<Decoder>,
    /// What learns.
    pub adapter: Arc<Adapter>,
    /// Its gradients and moments.
    pub state: State,
    /// Of the gradient of the last step, [1, 1].
    norm: Mat,
    kept: SavedActivations,
    objective: Box<dyn Objective>,
    pass: SupervisedBatch,
    /// Whether passes may come with dropout, which takes memory.
    plans_dropout: bool,
}

impl Learner {
    /// Loads the student, the teacher that it learns from, if any, and makes the adapter or loads it (from a checkpoint, else from
    /// `train.init_adapter`). Nothing can run before [`Learner::plan`].
    ///
    /// # Errors
    /// Weights that do not fit, targets that match nothing, an initial adapter of other tokens.
    pub fn load(student: &Student, added: &[u32], recipe: &Recipe, checkpoint: Option<&Path>) -> Result<Learner> {
        Learner::load_watched(student, added, recipe, checkpoint, &|_, _| ControlFlow::Continue(()))
    }

    /// As [`Learner::load`]; `watch` is told how many weights of how many are read, and may break it off.
    ///
    /// # Errors
    /// As [`Learner::load`], and [`aludel_model::Error::Stopped`] where `watch` broke off.
    pub fn load_watched(
        student: &Student,
        added: &[u32],
        recipe: &Recipe,
        checkpoint: Option<&Path>,
        watch: &dyn Fn(u64, u64) -> ControlFlow<()>,
    ) -> Result<Learner> {
        if let (None, Some(adapter)) = (checkpoint, &recipe.train.init_adapter) {
            refuse_merged(&student.path, adapter)?;
        }
        let format = format_to_train(student, recipe)?;
        let mut ctx = context(&recipe.student)?;
        // Where the data decides it, a table for one position is replaced later: see `reach`.
        let positions = recipe.train.max_length.tokens().unwrap_or(1);
        let decoder = Decoder::load_watched(&mut ctx, &student.config, &student.weights, format, positions, watch)?;
        let base = base_model::name(student, &recipe.student);
        let adapter = match checkpoint.or(recipe.train.init_adapter.as_deref()) {
            Some(path) => {
                let mut adapter = Adapter::load(&mut ctx, &decoder, path)?;
                let targets = targets(&student.config, &adapter_config::of(&recipe.lora, &student.config))?;
                adapter.set_parts(&ctx, &student.config, &targets, path)?;
                base_model::rename(&mut adapter, &base);
                let (has, wants) = (adapter.config().embedding_tokens(), added);
                if has.iter().collect::<BTreeSet<_>>() != wants.iter().collect() {
                    let reason = format!(
                        "it trains the vocabulary rows {has:?}, but student.add_tokens asks for {wants:?}; set student.add_tokens to the \
                         tokens that the adapter was trained with"
                    );
                    return Err(Error::InitAdapter { path: path.to_owned(), reason });
                }
                adapter
            }
            None => {
                let options = adapter_options(student, added, recipe)?;
                Adapter::new(&mut ctx, &decoder, &options, &base)?
            }
        };
        let objective =
            objective::of_recipe(&mut ctx, student, recipe, positions, decoder.precision(), Loading::Read(watch))?;
        let learner = Learner::new(ctx, decoder, adapter, recipe.train.gradient_checkpointing);
        Ok(Learner { plans_dropout: recipe.lora.dropout > 0.0, objective, ..learner })
    }

    /// A learner of the same shape whose weights are not read: to measure passes with, and not to train.
    ///
    /// # Errors
    /// As [`Learner::load`].
    pub fn outline(student: &Student, added: &[u32], recipe: &Recipe) -> Result<Learner> {
        let format = format_to_train(student, recipe)?;
        let mut ctx = context(&recipe.student)?;
        let decoder = Decoder::outline(&mut ctx, &student.config, &student.weights, format)?;
        let options = adapter_options(student, added, recipe)?;
        let adapter = Adapter::new(&mut ctx, &decoder, &options, "")?;
        let objective = objective::of_recipe(&mut ctx, student, recipe, 1, decoder.precision(), Loading::Outline)?;
        let learner = Learner::new(ctx, decoder, adapter, recipe.train.gradient_checkpointing);
        Ok(Learner { plans_dropout: recipe.lora.dropout > 0.0, objective, ..learner })
    }

    /// Minimises another objective than cross-entropy.
    #[must_use]
    pub fn with_objective(self, objective: Box<dyn Objective>) -> Learner {
        Learner { objective, ..self }
    }

    /// Runs something on the teacher of the objective, if it has one.
    pub fn ask_teacher<T>(&mut self, ask: impl FnOnce(&mut Context, &mut dyn Teacher) -> T) -> Option<T> {
        self.objective.teacher().map(|teacher| ask(&mut self.ctx, teacher))
    }

    /// Each term of a loss that has several, or another than cross-entropy: per supervised token, without its weight in the loss.
    /// Of the student's own answers there is no cross-entropy.
    pub fn unweighted_terms(&self, sums: &PassSums, is_own: bool) -> BTreeMap<LossTerm, f64> {
        let unweighted = |&(term, weight): &(LossTerm, f32)| (term, sums.mean_term(term) / f64::from(weight));
        match self.objective.terms() {
            [(LossTerm::Ce, _)] => BTreeMap::new(),
            terms => terms.iter().filter(|(term, _)| !(is_own && *term == LossTerm::Ce)).map(unweighted).collect(),
        }
    }

    /// Bytes that an engine of this learner keeps of the tokens that it has read and written.
    pub fn cache_bytes(&self, tokens: usize) -> usize {
        Engine::cache_bytes(&self.ctx, &self.decoder, tokens)
    }

    /// The norm of each term's gradient at the residual stream, per supervised token and with its weight, where terms are balanced.
    pub fn gradient_norms(&self, sums: &PassSums) -> BTreeMap<LossTerm, f64> {
        let norm = |term: LossTerm| (sums.squares[term as usize].sqrt() / sums.supervised.max(1) as f64) as f32;
        let terms = self.objective.terms().iter().map(|&(term, _)| (term, norm(term)));
        // As f32, which a record keeps exactly: a run that is resumed balances by what it reads there.
        terms.filter(|(_, norm)| *norm > 0.0).map(|(term, norm)| (term, f64::from(norm))).collect()
    }

    /// Balances the terms of the next step by the norms of their gradients in the last one, if the recipe asks for it.
    pub fn balance_by(&mut self, norms: &BTreeMap<LossTerm, f64>) {
        self.objective.balance_by(norms);
    }

    /// What is trained beside the adapter, if anything is.
    pub fn projections(&self) -> Option<&Projections> {
        self.objective.projections()
    }

    /// Runs something on the projections, if there are any.
    pub(crate) fn restore_projections(
        &mut self,
        restore: impl FnOnce(&mut Context, &Projections) -> Result<()>,
    ) -> Result<()> {
        match self.objective.projections() {
            Some(projections) => restore(&mut self.ctx, projections),
            None => Ok(()),
        }
    }

    /// Trained parameters, those that are gone after training included.
    pub fn trained_count(&self) -> usize {
        self.adapter.parameter_count() + self.projections().map_or(0, |own| own.state.parameters.cols())
    }

    /// Refuses rows that the objective cannot judge.
    ///
    /// # Errors
    /// Those of reading them, and what is missing for one.
    pub fn check_rows(&mut self, rows: &mut dyn Iterator<Item = Result<TokenRow>>) -> Result<()> {
        self.objective.check_rows(rows)
    }

    /// The longest rows that the objective can judge, where that is bounded.
    pub fn max_judged_length(&self) -> Option<usize> {
        self.objective.max_length()
    }

    /// Bytes of all weights, those of a teacher included.
    pub fn weight_bytes(&self) -> usize {
        self.decoder.weight_bytes() + self.objective.weight_bytes()
    }

    /// Extends the rotary tables to sequences of `max_length` tokens.
    pub fn reach(&mut self, max_length: usize) {
        self.objective.reach(&mut self.ctx, max_length);
        if self.decoder.max_positions() < max_length {
            let decoder =
                Arc::get_mut(&mut self.decoder).expect("answers share the decoder only once its rows are known");
            decoder.set_positions(&mut self.ctx, max_length);
        }
    }

    /// The bytes of the arenas that the largest passes use, found as [`Learner::plan`] finds them.
    pub fn pass_bytes(&mut self, largest: MaxPassTokens) -> usize {
        let Learner { ctx, decoder, adapter, state, norm, kept, objective, pass, plans_dropout } = self;
        let dropout = plans_dropout.then_some(StepDropout { probability: 0.5, key: 0 });
        ctx.measure(|ctx| {
            if largest.train > 0 {
                pass.fill_largest(largest.train);
                let backward = Some((state.gradients, dropout, kept));
                plan_pass(ctx, decoder, adapter, pass, objective.as_mut(), backward);
                ctx.reset();
            }
            if largest.evaluation > 0 {
                pass.fill_largest(largest.evaluation);
                plan_pass(ctx, decoder, adapter, pass, objective.as_mut(), None);
                ctx.reset();
            }
            update(ctx, state, objective.as_ref(), &optim::Step::default(), *norm);
        })
    }

    /// A decoder and an adapter on one device, with gradients and moments that are zero, which minimise cross-entropy. Nothing can run
    /// before [`Learner::plan`].
    pub fn new(mut ctx: Context, decoder: Decoder, adapter: Adapter, gradient_checkpointing: bool) -> Learner {
        let [gradients, first, second] = [(); 3].map(|()| ctx.persistent(1, adapter.parameter_count()));
        let undecayed = adapter.bias_parameters();
        let state = State { parameters: adapter.parameters(), gradients, first, second, undecayed };
        let norm = ctx.persistent(1, 1);
        let kept = SavedActivations::new(gradient_checkpointing);
        let (decoder, adapter) = (Arc::new(decoder), Arc::new(adapter));
        let (objective, pass) = (Box::new(CrossEntropy), SupervisedBatch::default());
        Learner { ctx, decoder, adapter, state, norm, kept, objective, pass, plans_dropout: true }
    }

    /// Sizes the arenas for passes of at most `largest_pass` tokens, by a run through the same code that only counts.
    pub fn plan(&mut self, largest_pass: usize) {
        self.pass.fill_largest(largest_pass);
        let Learner { ctx, decoder, adapter, state, norm, kept, objective, pass, plans_dropout } = self;
        let dropout = plans_dropout.then_some(StepDropout { probability: 0.5, key: 0 });
        ctx.plan(|ctx| {
            plan_pass(ctx, decoder, adapter, pass, objective.as_mut(), Some((state.gradients, dropout, kept)))
        });
        ctx.plan(|ctx| update(ctx, state, objective.as_ref(), &optim::Step::default(), *norm));
    }

    /// Adds the gradients of the summed loss of some rows to the gradient buffer, and returns the sums.
    ///
    /// # Errors
    /// What a teacher says of the rows cannot be read.
    pub fn accumulate(&mut self, rows: &[(u32, TokenRow)], dropout: Option<StepDropout>) -> Result<PassSums> {
        self.pass.fill(rows);
        self.accumulate_filled(dropout)
    }

    /// As [`Learner::accumulate`], of rows whose answers the student wrote: cross-entropy with them is no loss.
    ///
    /// # Errors
    /// As [`Learner::accumulate`].
    pub fn accumulate_own(&mut self, rows: &[(u32, TokenRow)], dropout: Option<StepDropout>) -> Result<PassSums> {
        self.pass.fill(rows);
        self.pass.is_own = true;
        self.accumulate_filled(dropout)
    }

    fn accumulate_filled(&mut self, dropout: Option<StepDropout>) -> Result<PassSums> {
        let Learner { ctx, decoder, adapter, state, kept, objective, pass, .. } = self;
        let backward = Some((state.gradients, dropout, kept));
        run_pass(ctx, decoder, adapter, pass, objective.as_mut(), backward)
    }

    /// The summed loss of some rows, without gradients or dropout.
    ///
    /// # Errors
    /// As [`Learner::accumulate`].
    pub fn evaluate(&mut self, rows: &[(u32, TokenRow)]) -> Result<PassSums> {
        let Learner { ctx, decoder, adapter, objective, pass, .. } = self;
        pass.fill(rows);
        run_pass(ctx, decoder, adapter, pass, objective.as_mut(), None)
    }

    /// Sizes the arenas for passes without gradients: less memory, and no training afterwards.
    pub fn plan_evaluation(&mut self, largest_pass: usize) {
        let Learner { ctx, decoder, adapter, objective, pass, .. } = self;
        pass.fill_largest(largest_pass);
        ctx.plan(|ctx| plan_pass(ctx, decoder, adapter, pass, objective.as_mut(), None));
    }

    /// The summed loss of many rows, pass by pass, in the order given. `read` gets the rows of a pass; `tell` hears how many are done,
    /// and may break off: then there is no sum. `each` is given the loss and the supervised tokens of each row.
    ///
    /// # Errors
    /// Those of `read`, and as [`Learner::accumulate`].
    pub fn evaluate_passes(
        &mut self,
        passes: &[Vec<u32>],
        read: impl Fn(&[u32]) -> Result<Vec<(u32, TokenRow)>>,
        tell: &mut dyn FnMut(usize) -> ControlFlow<()>,
        each: &mut dyn FnMut(f64, u64),
    ) -> Result<Option<PassSums>> {
        let (mut sums, mut done) = (PassSums::default(), 0);
        for pass in passes {
            sums.add(self.evaluate(&read(pass)?)?);
            self.pass.row_losses().for_each(|(loss, supervised)| each(loss, supervised));
            done += pass.len();
            if tell(done).is_break() {
                return Ok(None);
            }
        }
        Ok(Some(sums))
    }

    /// What the head reads at each token of a row, [T, C], and the log-sum-exp of the logits after each of the `chosen` tokens.
    /// Without dropout.
    pub fn head_inputs(&mut self, ids: &[u32], chosen: &[u32]) -> (Vec<f32>, Vec<f64>) {
        let mut pass = PackedBatch::default();
        pass.push(0, ids);
        let Learner { ctx, decoder, adapter, .. } = self;
        ctx.reset();
        let active = Active { adapter, dropout: None };
        let forward = decoder.forward(ctx, &pass, Attention::Rows, Some(active), None);
        let inputs = ctx.scratch(ids.len(), decoder.config().hidden_size);
        decoder.head_inputs(ctx, forward.hidden, inputs);
        let mut sums = Vec::with_capacity(chosen.len());
        decoder.head_chunks(ctx, &forward, chosen, None, |ctx, logits, _| {
            let values = ctx.download(logits);
            sums.extend(values.chunks_exact(logits.cols()).map(log_sum_exp));
        });
        (ctx.download(inputs), sums)
    }

    /// Overwrites the adapter's parameters with those of a checkpoint of the same run.
    ///
    /// # Errors
    /// The checkpoint cannot be read or holds another adapter.
    pub fn load_parameters(&mut self, folder: &Path) -> Result<()> {
        let other = Adapter::load(&mut self.ctx, self.decoder.config(), folder)?;
        if other.entries() != self.adapter.entries() {
            let reason = "it holds other tensors than this run's adapter; delete it".to_owned();
            return Err(Error::Damaged { path: folder.to_owned(), reason });
        }
        self.ctx.copy(other.parameters(), self.adapter.parameters());
        Ok(())
    }

    /// Makes gradients and moments resident, if they are not, so that what the process takes can be measured: they may lie in memory
    /// that was used before, or in none yet. Moments that were restored are left alone.
    pub fn touch(&mut self, is_restored: bool) {
        self.zero_gradients();
        if !is_restored {
            for state in self.states() {
                self.ctx.zero(state.first);
                self.ctx.zero(state.second);
            }
        }
    }

    /// Forgets the gradients.
    pub fn zero_gradients(&mut self) {
        for state in self.states() {
            self.ctx.zero(state.gradients);
        }
    }

    /// All that is trained: the adapter, and projections.
    fn states(&self) -> impl Iterator<Item = State> + use<> {
        std::iter::once(self.state).chain(self.projections().map(|own| own.state))
    }

    /// One optimiser step; returns the norm of the mean gradient before clipping.
    pub fn step(&mut self, step: &optim::Step) -> f64 {
        self.ctx.reset();
        update(&mut self.ctx, &self.state, self.objective.as_ref(), step, self.norm);
        f64::from(self.ctx.download_value(self.norm))
    }
}

/// An optimiser step on all that is trained.
fn update(ctx: &mut Context, adapter: &State, objective: &dyn Objective, step: &optim::Step, norm: Mat) {
    match objective.projections() {
        Some(projections) => optim::step(ctx, &[*adapter, projections.state], step, norm),
        None => optim::step(ctx, &[*adapter], step, norm),
    }
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    f64::from(largest) + sum.ln()
}

/// What of a recipe does not fit a student, and shows without its weights.
///
/// # Errors
/// Rows longer than its positions, and weights in their file's quantisation.
pub(crate) fn check_to_train(student: &Student, recipe: &Recipe) -> Result<()> {
    format_to_train(student, recipe).map(drop)
}

/// How weights are held that a recipe trains on.
fn format_to_train(student: &Student, recipe: &Recipe) -> Result<WeightFormat> {
    let (limit, max_length) = (student.config.max_position_embeddings, recipe.train.max_length.tokens());
    if let Some(max_length) = max_length.filter(|&max_length| max_length > limit) {
        return Err(Error::MaxLength { max_length, limit });
    }
    match weight_format(recipe.student.dtype, recipe.student.quantize) {
        WeightFormat::Integers => Err(Error::StoredWeights),
        format => Ok(format),
    }
}

/// What a recipe's new adapter is made from.
fn adapter_options(student: &Student, added: &[u32], recipe: &Recipe) -> Result<AdapterOptions> {
    Ok(AdapterOptions {
        config: adapter_config::of(&recipe.lora, &student.config),
        init: match recipe.lora.init {
            InitLora::Kaiming => AdapterInit::Kaiming,
            InitLora::Gaussian => AdapterInit::Gaussian,
        },
        seed: rng::mix(recipe.train.seed, 0x6164_6170),
        rows: if added.is_empty() { None } else { Some(mean::by_meaning(student, added)?) },
    })
}
