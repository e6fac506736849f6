//! The one decoder: a Llama-style transformer, forward and backward, for training on packed rows and for generation from a
//! key-value cache. It reads downward: load, forward, a layer, the head, backward. No autograd: what the forward of a
//! layer keeps is a struct, and its backward stands below it.
//!
//! T is tokens of a pass, C channels. The residual stream and its gradient are f32 [T, C].

use std::ops::Range;

use aludel_kernels::attention::{self, Cache, Extension, Heads};
use aludel_kernels::embedding::Embedding;
use aludel_kernels::head::Head;
use aludel_kernels::linear::{self, FrozenWeight, Input, LoraBackward, Precision, Start};
use aludel_kernels::profile::Kind;
use aludel_kernels::rowwise::dropout::Dropout;
use aludel_kernels::rowwise::{self, rms_norm, rope, swiglu};
use aludel_kernels::{Context, Indices, Mat, Region, rng};

use crate::adapter::{Adapter, linear_shape};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::module::{MODULES, Module};
use crate::weights::{self, Weights, linear_name, norm_name};

/// A loaded model: frozen, packed, on the device of one context.
pub struct Decoder {
    config: Config,
    precision: Precision,
    heads: Heads,
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: Mat,
    head: FrozenWeight,
    rope: rope::Table,
}

/// How the weights of linears are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Packed in this precision, for training and generation.
    Packed(Precision),
    /// In the file's own quantisation where products can read it, else packed as bf16. For generation: there is no backward.
    Stored,
}

impl From<Precision> for Hold {
    fn from(precision: Precision) -> Hold {
        Hold::Packed(precision)
    }
}

impl Hold {
    fn precision(self) -> Precision {
        match self {
            Hold::Packed(precision) => precision,
            Hold::Stored => Precision::Bf16,
        }
    }
}

struct Layer {
    input_layernorm: Mat,
    post_attention_layernorm: Mat,
    linears: Vec<Linear>,
}

struct Linear {
    weight: FrozenWeight,
    bias: Option<Mat>,
}

/// The tokens of one pass, rows end to end.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Position of each token in its row: RoPE restarts with each.
    pub positions: Vec<u32>,
    /// Example number of each token, for dropout masks that do not depend on packing.
    pub examples: Vec<u32>,
    /// Token ranges of the rows.
    pub rows: Vec<Range<usize>>,
}

impl Pass {
    /// Appends a row.
    pub fn push(&mut self, example: u32, ids: &[u32]) {
        let start = self.ids.len();
        self.ids.extend(ids);
        self.positions.extend(0..ids.len() as u32);
        self.examples.resize(self.ids.len(), example);
        self.rows.push(start..self.ids.len());
    }

    /// Tokens in the pass.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// What tokens attend to.
#[derive(Clone, Copy)]
pub enum Attention<'a> {
    /// Each row of the pass to itself: training and evaluation.
    Rows,
    /// New tokens to the cached past of their sequences: generation.
    Cached {
        /// The cache.
        cache: &'a Cache,
        /// One entry per sequence of the pass.
        sequences: &'a [Extension],
    },
}

/// An adapter at work, and its dropout in this optimiser step.
#[derive(Clone, Copy)]
pub struct Active<'a> {
    /// The adapter.
    pub adapter: &'a Adapter,
    /// Dropout, in training.
    pub dropout: Option<StepDropout>,
}

/// Dropout of one optimiser step.
#[derive(Clone, Copy, Debug)]
pub struct StepDropout {
    /// Probability of a zero.
    pub probability: f32,
    /// Mix of seed and step.
    pub key: u64,
}

/// What the forward keeps for the backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing: evaluation and generation.
    Nothing,
    /// Every layer's activations.
    Activations,
    /// Only each layer's input; the backward runs the layer again (gradient checkpointing).
    LayerInputs,
}

/// The outcome of a forward: the residual stream after the last layer, and what was kept.
pub struct Forward<'a> {
    /// The residual stream, [T, C], before the last norm.
    pub hidden: Mat,
    run: Run<'a>,
    kept: Vec<Kept>,
}

#[derive(Clone, Copy)]
struct Run<'a> {
    pass: &'a Pass,
    attention: Attention<'a>,
    active: Option<Active<'a>>,
    positions: Indices,
    examples: Indices,
    ids: Indices,
}

enum Kept {
    Input(Mat),
    All(Box<Saved>),
}

/// The activations of one layer that its backward wants.
#[derive(Clone, Copy)]
struct Saved {
    /// Layer input, [T, C].
    x: Mat,
    /// After RoPE, [T, H·D] and [T, Hkv·D].
    q: Mat,
    k: Mat,
    v: Mat,
    /// Attention output and log-sum-exp.
    attended: Mat,
    lse: Mat,
    /// The residual stream between attention and the gated layer.
    middle: Mat,
    gate: Mat,
    up: Mat,
    /// `drop(x)·Aᵀ` of each adapted linear.
    lora_hidden: [Option<Mat>; MODULES],
}

impl Decoder {
    /// Loads and packs a student's weights. `max_positions` bounds the rotary table (and so the length of a row).
    ///
    /// # Errors
    /// If a tensor is missing or does not fit the config.
    pub fn load(
        ctx: &mut Context,
        config: &Config,
        weights: &Weights,
        hold: impl Into<Hold>,
        max_positions: usize,
    ) -> Result<Decoder> {
        let hold = hold.into();
        let precision = hold.precision();
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let vector = |ctx: &mut Context, name: &str, len: usize| -> Result<Mat> {
            let values = weights.tensor(name, &[len], config)?.values()?;
            Ok(ctx.upload_persistent(1, len, &values))
        };
        let pack = |name: &str, d_out: usize, d_in: usize| -> Result<FrozenWeight> {
            let tensor = weights.tensor(name, &[d_out, d_in], config)?;
            if hold == Hold::Stored
                && let Some(kept) = tensor.keep()
            {
                return Ok(kept);
            }
            FrozenWeight::pack(precision, d_out, d_in, |row, out| tensor.row(row, out))
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for n in 0..config.num_hidden_layers {
            let mut linears = Vec::with_capacity(MODULES);
            for module in Module::ALL {
                let (d_in, d_out) = linear_shape(config, module);
                let weight = pack(&linear_name(n, module, "weight"), d_out, d_in)?;
                let is_attention = (module as usize) < Module::GateProj as usize;
                let has_bias = if is_attention { config.attention_bias } else { config.mlp_bias };
                let bias = if has_bias { Some(vector(ctx, &linear_name(n, module, "bias"), d_out)?) } else { None };
                linears.push(Linear { weight, bias });
            }
            layers.push(Layer {
                input_layernorm: vector(ctx, &norm_name(n, weights::INPUT_NORM), hidden)?,
                post_attention_layernorm: vector(ctx, &norm_name(n, weights::POST_ATTENTION_NORM), hidden)?,
                linears,
            });
        }
        let table = weights.tensor(weights::EMBEDDING, &[vocab, hidden], config)?;
        let (block_type, bytes) = table.stored();
        let embedding = Embedding::new(block_type, bytes.to_vec(), vocab, hidden).map_err(|e| Error::Tensor {
            path: weights.path(),
            name: weights::EMBEDDING.to_owned(),
            reason: e.to_string(),
        })?;
        let head_name = if config.tie_word_embeddings { weights::EMBEDDING } else { weights::HEAD };
        let positions = max_positions.min(config.max_position_embeddings);
        Ok(Decoder {
            precision,
            heads: Heads {
                query: config.num_attention_heads,
                key: config.num_key_value_heads,
                dim: config.head_dim,
                scale: (1.0 / (config.head_dim as f64).sqrt()) as f32,
                precision,
            },
            embedding,
            layers,
            norm: vector(ctx, weights::NORM, hidden)?,
            head: pack(head_name, vocab, hidden)?,
            rope: rope::Table::new(ctx, &config.inverse_frequencies(), positions, 1.0),
            config: config.clone(),
        })
    }

    /// The model's config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The attention heads, for a [`Cache`].
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// How GEMM inputs are rounded.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The longest row.
    pub fn max_positions(&self) -> usize {
        self.rope.positions()
    }

    /// Columns of the logits, trained rows beyond the vocabulary included.
    pub fn vocab_size(&self, adapter: Option<&Adapter>) -> usize {
        self.lm_head(adapter).vocab_size()
    }

    /// Bytes of the packed weights and of the embedding.
    pub fn weight_bytes(&self) -> usize {
        let linears = self.layers.iter().flat_map(|l| &l.linears).map(|l| l.weight.bytes());
        linears.sum::<usize>() + self.head.bytes() + self.embedding.bytes()
    }

    /// Refuses a pass with tokens or positions that the model does not have.
    ///
    /// # Errors
    /// [`Error::Token`] or [`Error::Length`].
    pub fn check(&self, ids: &[u32], length: usize, adapter: Option<&Adapter>) -> Result<()> {
        let trained = adapter.and_then(Adapter::embedding_rows).map_or(&[][..], |rows| &rows.ids);
        let vocab_size = self.embedding.vocab_size();
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size && !trained.contains(&id)) {
            return Err(Error::Token { id, vocab_size });
        }
        let limit = self.max_positions();
        if length > limit { Err(Error::Length { length, limit }) } else { Ok(()) }
    }

    /// Runs a pass through all layers. The pass must have been checked.
    pub fn forward<'a>(
        &self,
        ctx: &mut Context,
        pass: &'a Pass,
        attention: Attention<'a>,
        active: Option<Active<'a>>,
        keep: Keep,
    ) -> Forward<'a> {
        let (tokens, channels) = (pass.len(), self.config.hidden_size);
        let run = Run {
            pass,
            attention,
            active,
            ids: ctx.upload_indices(&pass.ids),
            positions: ctx.upload_indices(&pass.positions),
            examples: ctx.upload_indices(&pass.examples),
        };
        let mut x = ctx.alloc(Region::Saved, tokens, channels);
        self.embedding.forward(ctx, run.ids, active.and_then(|a| a.adapter.embedding_rows()), x);
        let mut spare = (keep == Keep::Nothing).then(|| ctx.alloc(Region::Saved, tokens, channels));
        let mut kept = Vec::new();
        for n in 0..self.layers.len() {
            let y = match spare {
                Some(buffer) => buffer,
                None => ctx.alloc(Region::Saved, tokens, channels),
            };
            let mark = ctx.mark_saved();
            let saved = self.layer_forward(ctx, &run, n, x, y);
            match keep {
                Keep::Activations => kept.push(Kept::All(Box::new(saved))),
                Keep::LayerInputs => kept.push(Kept::Input(x)),
                Keep::Nothing => spare = Some(x),
            }
            if keep != Keep::Activations {
                ctx.release_saved(mark);
            }
            x = y;
        }
        Forward { hidden: x, run, kept }
    }

    /// One layer: `middle = x + attention(norm(x))`, `y = middle + gated(norm(middle))`.
    fn layer_forward(&self, ctx: &mut Context, run: &Run<'_>, n: usize, x: Mat, y: Mat) -> Saved {
        let (layer, epsilon, tokens) = (&self.layers[n], self.config.rms_norm_eps as f32, x.rows());
        let saved = self.allocate_saved(ctx, run, n, x);

        let mark = ctx.mark();
        let normed = ctx.scratch(tokens, self.config.hidden_size);
        rms_norm::forward(ctx, x, layer.input_layernorm, epsilon, normed);
        let input = self.input(ctx, run, n, &[Module::QProj, Module::KProj, Module::VProj], normed);
        self.linear_forward(ctx, run, n, Module::QProj, &input, None, saved.q, &saved);
        self.linear_forward(ctx, run, n, Module::KProj, &input, None, saved.k, &saved);
        self.linear_forward(ctx, run, n, Module::VProj, &input, None, saved.v, &saved);
        ctx.release(mark);
        rope::forward(ctx, saved.q, run.positions, &self.rope);
        rope::forward(ctx, saved.k, run.positions, &self.rope);
        match run.attention {
            Attention::Rows => attention::forward(
                ctx,
                &self.heads,
                &run.pass.rows,
                saved.q,
                saved.k,
                saved.v,
                saved.attended,
                saved.lse,
            ),
            Attention::Cached { cache, sequences } => attention::forward_cached(
                ctx,
                &self.heads,
                cache,
                n,
                sequences,
                saved.q,
                saved.k,
                saved.v,
                saved.attended,
            ),
        }
        let input = self.input(ctx, run, n, &[Module::OProj], saved.attended);
        self.linear_forward(ctx, run, n, Module::OProj, &input, Some(x), saved.middle, &saved);
        ctx.release(mark);

        let normed = ctx.scratch(tokens, self.config.hidden_size);
        rms_norm::forward(ctx, saved.middle, layer.post_attention_layernorm, epsilon, normed);
        let input = self.input(ctx, run, n, &[Module::GateProj, Module::UpProj], normed);
        self.linear_forward(ctx, run, n, Module::GateProj, &input, None, saved.gate, &saved);
        self.linear_forward(ctx, run, n, Module::UpProj, &input, None, saved.up, &saved);
        ctx.release(mark);
        let product = ctx.scratch(tokens, self.config.intermediate_size);
        swiglu::forward(ctx, saved.gate, saved.up, product);
        let input = self.input(ctx, run, n, &[Module::DownProj], product);
        self.linear_forward(ctx, run, n, Module::DownProj, &input, Some(saved.middle), y, &saved);
        ctx.release(mark);
        saved
    }

    fn allocate_saved(&self, ctx: &mut Context, run: &Run<'_>, n: usize, x: Mat) -> Saved {
        let tokens = x.rows();
        let (query, key) = (self.heads.query * self.heads.dim, self.heads.key * self.heads.dim);
        let mut alloc = |cols: usize| ctx.alloc(Region::Saved, tokens, cols);
        Saved {
            x,
            q: alloc(query),
            k: alloc(key),
            v: alloc(key),
            attended: alloc(query),
            lse: alloc(self.heads.query),
            middle: alloc(self.config.hidden_size),
            gate: alloc(self.config.intermediate_size),
            up: alloc(self.config.intermediate_size),
            lora_hidden: Module::ALL.map(|module| {
                let lora = run.active.and_then(|a| a.adapter.lora(n, module, None));
                lora.map(|lora| alloc(lora.a.rows()))
            }),
        }
    }

    /// x prepared for the linears that read it; in scratch.
    fn input(&self, ctx: &mut Context, run: &Run<'_>, n: usize, modules: &[Module], x: Mat) -> Input {
        let linears = &self.layers[n].linears;
        let weights: Vec<&FrozenWeight> = modules.iter().map(|&module| &linears[module as usize].weight).collect();
        Input::new(ctx, x, &weights, modules.iter().any(|&module| run.lora(n, module).is_some()))
    }

    fn linear_forward(
        &self,
        ctx: &mut Context,
        run: &Run<'_>,
        n: usize,
        module: Module,
        input: &Input,
        residual: Option<Mat>,
        y: Mat,
        saved: &Saved,
    ) {
        let Linear { weight, bias } = &self.layers[n].linears[module as usize];
        let lora = run.lora(n, module);
        let lora = lora.as_ref().zip(saved.lora_hidden[module as usize]);
        let start = match (bias, residual) {
            (Some(bias), _) => Start::Bias(*bias),
            (None, Some(residual)) => Start::Residual(residual),
            (None, None) => Start::Zero,
        };
        linear::forward(ctx, input, weight, lora, start, y);
        if let (Some(_), Some(residual)) = (bias, residual) {
            rowwise::add(ctx, residual, y);
        }
    }

    fn lm_head<'a>(&'a self, adapter: Option<&'a Adapter>) -> Head<'a> {
        Head { weight: &self.head, trained: adapter.and_then(|a| a.head_rows(self.config.tie_word_embeddings)) }
    }

    /// Logits of some rows of the residual stream, all at once, [rows, V]; for generation, where rows are few.
    pub fn logits(&self, ctx: &mut Context, hidden: Mat, adapter: Option<&Adapter>, logits: Mat) {
        let _span = ctx.span(Kind::Head);
        let mark = ctx.mark();
        let normed = ctx.scratch(hidden.rows(), hidden.cols());
        rms_norm::forward(ctx, hidden, self.norm, self.config.rms_norm_eps as f32, normed);
        self.lm_head(adapter).forward(ctx, normed, logits);
        ctx.release(mark);
    }

    /// The head on the chosen tokens of a forward, one chunk at a time: `objective(ctx, logits, range)` sees the logits of tokens
    /// `chosen[range]`, may read them, and for a backward overwrites them with the gradient of its summed loss.
    ///
    /// With `gradients`, returns the gradient of the residual stream, [T, C] in scratch, and adds to trained rows.
    pub fn head_chunks(
        &self,
        ctx: &mut Context,
        forward: &Forward<'_>,
        chosen: &[u32],
        gradients: Option<Mat>,
        mut objective: impl FnMut(&mut Context, Mat, Range<usize>),
    ) -> Option<Mat> {
        let _span = ctx.span(Kind::Head);
        let adapter = forward.run.active.map(|a| a.adapter);
        let head = self.lm_head(adapter);
        let hidden = forward.hidden;
        let dhidden = gradients.map(|_| ctx.scratch(hidden.rows(), hidden.cols()));
        if let Some(dhidden) = dhidden {
            ctx.zero(dhidden);
        }
        let epsilon = self.config.rms_norm_eps as f32;
        for start in (0..chosen.len()).step_by(head.chunk_rows()) {
            let range = start..chosen.len().min(start + head.chunk_rows());
            let mark = ctx.mark();
            let rows = ctx.upload_indices(&chosen[range.clone()]);
            let mut block = || ctx.scratch(range.len(), hidden.cols());
            let (gathered, normed) = (block(), block());
            rowwise::gather_rows(ctx, hidden, rows, gathered);
            rms_norm::forward(ctx, gathered, self.norm, epsilon, normed);
            let logits = ctx.scratch(range.len(), head.vocab_size());
            head.forward(ctx, normed, logits);
            objective(ctx, logits, range.clone());
            if let (Some(gradients), Some(dhidden)) = (gradients, dhidden) {
                let (dnormed, dgathered) =
                    (ctx.scratch(range.len(), hidden.cols()), ctx.scratch(range.len(), hidden.cols()));
                let drows = adapter.and_then(|a| a.head_rows_gradient(gradients, self.config.tie_word_embeddings));
                head.backward(ctx, normed, logits, dnormed, drows);
                ctx.zero(dgathered);
                rms_norm::backward(ctx, gathered, self.norm, epsilon, dnormed, dgathered);
                rowwise::scatter_rows(ctx, dgathered, rows, dhidden);
            }
            ctx.release(mark);
        }
        dhidden
    }

    /// Runs the layers backward from `dhidden`, the gradient of the residual stream after the last layer (overwritten), and adds
    /// every gradient of the adapter to the flat buffer `gradients`.
    ///
    /// # Panics
    /// If the forward kept nothing or had no adapter.
    pub fn backward(&self, ctx: &mut Context, forward: Forward<'_>, dhidden: Mat, gradients: Mat) {
        let Forward { run, kept, .. } = forward;
        assert_eq!(kept.len(), self.layers.len(), "the forward kept nothing for the backward");
        let adapter = run.active.expect("only adapters are trained").adapter;
        for (n, kept) in kept.into_iter().enumerate().rev() {
            let (mark, mark_saved) = (ctx.mark(), ctx.mark_saved());
            let saved = match kept {
                Kept::All(saved) => *saved,
                Kept::Input(x) => {
                    let y = ctx.scratch(x.rows(), x.cols());
                    self.layer_forward(ctx, &run, n, x, y)
                }
            };
            self.layer_backward(ctx, &run, n, &saved, dhidden, gradients);
            ctx.release(mark);
            ctx.release_saved(mark_saved);
        }
        if let (Some(rows), Some(drows)) = (adapter.embedding_rows(), adapter.embedding_rows_gradient(gradients)) {
            Embedding::backward(ctx, run.ids, rows, dhidden, drows);
        }
    }

    /// `dx` holds the gradient of the layer's output and becomes that of its input.
    fn layer_backward(&self, ctx: &mut Context, run: &Run<'_>, n: usize, saved: &Saved, dx: Mat, gradients: Mat) {
        let (layer, epsilon, tokens) = (&self.layers[n], self.config.rms_norm_eps as f32, dx.rows());
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let mark = ctx.mark();

        // y = middle + down(swiglu(gate, up))
        let product = ctx.scratch(tokens, inner);
        let dproduct = ctx.scratch(tokens, inner);
        let (dgate, dup) = (ctx.scratch(tokens, inner), ctx.scratch(tokens, inner));
        if run.lora(n, Module::DownProj).is_some() {
            swiglu::forward(ctx, saved.gate, saved.up, product);
        }
        self.linear_backward(ctx, run, n, Module::DownProj, saved, dx, product, false, dproduct, gradients);
        swiglu::backward(ctx, saved.gate, saved.up, dproduct, dgate, dup);
        let normed = ctx.scratch(tokens, hidden);
        let dnormed = ctx.scratch(tokens, hidden);
        if [Module::GateProj, Module::UpProj].iter().any(|&m| run.lora(n, m).is_some()) {
            rms_norm::forward(ctx, saved.middle, layer.post_attention_layernorm, epsilon, normed);
        }
        self.linear_backward(ctx, run, n, Module::GateProj, saved, dgate, normed, false, dnormed, gradients);
        self.linear_backward(ctx, run, n, Module::UpProj, saved, dup, normed, true, dnormed, gradients);
        rms_norm::backward(ctx, saved.middle, layer.post_attention_layernorm, epsilon, dnormed, dx);
        ctx.release(mark);

        // middle = x + o(attention(q, k, v))
        let like = |ctx: &mut Context, mat: Mat| ctx.scratch(mat.rows(), mat.cols());
        let dattended = like(ctx, saved.attended);
        self.linear_backward(ctx, run, n, Module::OProj, saved, dx, saved.attended, false, dattended, gradients);
        let (dq, dk, dv) = (like(ctx, saved.q), like(ctx, saved.k), like(ctx, saved.v));
        let (inputs, outputs) = ((saved.q, saved.k, saved.v), (saved.attended, saved.lse, dattended));
        attention::backward(ctx, &self.heads, &run.pass.rows, inputs, outputs, (dq, dk, dv));
        rope::backward(ctx, dq, run.positions, &self.rope);
        rope::backward(ctx, dk, run.positions, &self.rope);
        let normed = ctx.scratch(tokens, hidden);
        let dnormed = ctx.scratch(tokens, hidden);
        if [Module::QProj, Module::KProj, Module::VProj].iter().any(|&m| run.lora(n, m).is_some()) {
            rms_norm::forward(ctx, saved.x, layer.input_layernorm, epsilon, normed);
        }
        self.linear_backward(ctx, run, n, Module::QProj, saved, dq, normed, false, dnormed, gradients);
        self.linear_backward(ctx, run, n, Module::KProj, saved, dk, normed, true, dnormed, gradients);
        self.linear_backward(ctx, run, n, Module::VProj, saved, dv, normed, true, dnormed, gradients);
        rms_norm::backward(ctx, saved.x, layer.input_layernorm, epsilon, dnormed, dx);
        ctx.release(mark);
    }

    fn linear_backward(
        &self,
        ctx: &mut Context,
        run: &Run<'_>,
        n: usize,
        module: Module,
        saved: &Saved,
        dy: Mat,
        x: Mat,
        accumulate: bool,
        dx: Mat,
        gradients: Mat,
    ) {
        let lora = run.lora(n, module);
        let gradient = run.active.and_then(|a| a.adapter.lora_gradient(n, module, gradients));
        let adapted = match (&lora, saved.lora_hidden[module as usize], gradient) {
            (Some(lora), Some(hidden), Some(gradient)) => Some(LoraBackward { lora, x, hidden, gradient }),
            _ => None,
        };
        linear::backward(ctx, dy, &self.layers[n].linears[module as usize].weight, adapted, accumulate, dx);
    }
}

impl Run<'_> {
    /// The adapter of a linear, with the dropout mask of this step and site.
    fn lora(&self, n: usize, module: Module) -> Option<linear::Lora> {
        let active = self.active?;
        let dropout = active.dropout.map(|step| Dropout {
            probability: step.probability,
            key: rng::mix(step.key, (n * MODULES + module as usize) as u64),
            examples: self.examples,
            positions: self.positions,
        });
        active.adapter.lora(n, module, dropout)
    }
}
