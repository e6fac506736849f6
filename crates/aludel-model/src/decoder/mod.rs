//! The one decoder: a Llama-style transformer, forward and backward, for training on packed rows and for generation from a
//! key-value cache. It reads downward: forward, a layer, backward; `linears` has what those of a layer share, `rotary` positions, `head` the head. No autograd: what the forward of a layer
//! keeps is a struct, and its backward stands below it.
//!
//! T is tokens of a pass, C channels. The residual stream and its gradient are f32 [T, C].

mod head;
mod linears;
mod load;
mod pass;
mod rotary;
mod tap;

use aludel_kernels::attention::{self, Heads};
use aludel_kernels::dora;
use aludel_kernels::embedding::Embedding;
use aludel_kernels::linear::{FrozenWeight, Input, Precision};
use aludel_kernels::rowwise::{self, gated, rms_norm};
use aludel_kernels::{Context, Indices, Mat, Region};

use crate::adapter::{Adapter, Base};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::module::{MODULES, Module};
use rotary::Rotary;

pub use load::WeightFormat;
pub use pass::{Active, Attention, PackedBatch, StepDropout};
pub use tap::ResidualTap;

/// A loaded model: frozen, packed, on the device of one context.
pub struct Decoder {
    config: Config,
    precision: Precision,
    heads: Heads,
    embedding: Embedding,
    /// What embeddings are multiplied by.
    embedding_scale: Option<f32>,
    layers: Vec<Layer>,
    /// Whether the large weights were not read.
    is_outline: bool,
    norm: Mat,
    head: FrozenWeight,
    rotary: Rotary,
}

struct Layer {
    input_layernorm: Mat,
    feed_forward_norm: Mat,
    /// Of what attention and the gated layer add to the residual stream, [1, C] each.
    output_norms: Option<[Mat; 2]>,
    /// Of queries and of keys, [1, D] each.
    head_norms: Option<[Mat; 2]>,
    /// How many positions a token sees here, its own included, if not all.
    window: Option<usize>,
    linears: [Option<Linear>; MODULES],
}

impl Layer {
    fn linear(&self, module: Module) -> &Linear {
        self.linears[module as usize].as_ref().expect("asked for a linear that the model does not have")
    }
}

#[derive(Clone, Copy)]
struct Linear {
    weight: FrozenWeight,
    bias: Option<Mat>,
}

/// The outcome of a forward: the residual stream after the last layer, and what was kept.
pub struct Forward<'a> {
    /// The residual stream, [T, C], before the last norm.
    pub hidden: Mat,
    run: Run<'a>,
    kept: Option<&'a mut SavedActivations>,
}

/// What a forward keeps for its backward, layer by layer. Used again from pass to pass; the activations themselves lie on the device.
pub struct SavedActivations {
    is_checkpointing: bool,
    layers: Vec<Saved>,
}

impl SavedActivations {
    /// Every layer's activations, or with gradient checkpointing only each layer's input: the backward then runs the layer again.
    pub fn new(gradient_checkpointing: bool) -> SavedActivations {
        SavedActivations { is_checkpointing: gradient_checkpointing, layers: Vec::new() }
    }
}

#[derive(Clone, Copy)]
struct Run<'a> {
    attended: Attended<'a>,
    active: Option<Active<'a>>,
    positions: Indices,
    rotary_rows: Indices,
    examples: Indices,
    ids: Indices,
    /// Whether a pass before it made the scales of DoRA of the same parameters.
    has_scales: bool,
}

/// What tokens attend to, on the device.
#[derive(Clone, Copy)]
enum Attended<'a> {
    Rows(attention::Rows),
    Cached(&'a attention::Cache, attention::CachedRows),
}

impl Base for Decoder {
    fn config(&self) -> &Config {
        &self.config
    }

    fn row_squares(&self, ctx: &mut Context, layer: usize, module: Module) -> Option<Mat> {
        let weight = self.layers[layer].linear(module).weight;
        let squares = ctx.persistent(1, weight.d_out());
        if !self.is_outline {
            dora::row_squares(ctx, weight, squares);
        }
        Some(squares)
    }

    fn bias(&self, ctx: &Context, layer: usize, module: Module) -> Option<Vec<f32>> {
        self.layers[layer].linear(module).bias.map(|bias| ctx.download(bias))
    }
}

/// The activations of one layer that its backward wants.
#[derive(Clone, Copy)]
struct Saved {
    /// Layer input, [T, C].
    x: Mat,
    /// Queries and keys before the norms of their heads, where there are any, [T, H·D] and [T, Hkv·D].
    unnormed: Option<[Mat; 2]>,
    /// q, k and v side by side, where one linear makes them, [T, (H + 2·Hkv)·D].
    qkv: Option<Mat>,
    /// After RoPE, [T, H·D] and [T, Hkv·D].
    q: Mat,
    k: Mat,
    v: Mat,
    /// What attention and the gated layer give before their norms, where there are any, [T, C] each.
    outputs: Option<[Mat; 2]>,
    /// Attention output and log-sum-exp.
    attended: Mat,
    lse: Mat,
    /// The residual stream between attention and the gated layer.
    middle: Mat,
    /// gate and up side by side, where one linear makes them and they are kept as they are, [T, 2·inner].
    gate_up: Option<Mat>,
    gated: gated::SavedGate,
    /// `drop(x)·Aᵀ` of each adapted linear.
    lora_hidden: [Option<Mat>; MODULES],
}

impl Decoder {
    /// The model's config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The attention heads, for an [`attention::Cache`]; windows are matters of layers.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// How GEMM inputs are rounded.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Columns of the logits, trained rows beyond the vocabulary included.
    pub fn vocab_size(&self, adapter: Option<&Adapter>) -> usize {
        self.lm_head(adapter).vocab_size()
    }

    /// Bytes of the packed weights and of the embedding.
    pub fn weight_bytes(&self) -> usize {
        let linears = self.layers.iter().flat_map(|l| l.linears.iter().flatten()).map(|l| l.weight.bytes());
        linears.sum::<usize>() + self.head.bytes() + self.embedding.bytes()
    }

    /// Refuses a pass with tokens or positions that the model does not have.
    ///
    /// # Errors
    /// [`Error::Token`] or [`Error::Length`].
    pub fn check(&self, ids: &[u32], length: usize, adapter: Option<&Adapter>) -> Result<()> {
        let trained = adapter.map_or(&[][..], Adapter::embedding_ids);
        let vocab_size = self.embedding.vocab_size();
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size && !trained.contains(&id)) {
            return Err(Error::Token { id, vocab_size });
        }
        let limit = self.max_positions();
        if length > limit { Err(Error::Length { length, limit }) } else { Ok(()) }
    }

    /// As [`Decoder::forward`]; `tap` reads the residual stream between layers.
    pub fn forward_tapped<'a>(
        &self,
        ctx: &mut Context,
        pass: &PackedBatch,
        attention: Attention<'a>,
        active: Option<Active<'a>>,
        mut kept: Option<&'a mut SavedActivations>,
        tap: &mut dyn ResidualTap,
    ) -> Forward<'a> {
        let (tokens, channels) = (pass.len(), self.config.hidden_size);
        let positions = ctx.upload_indices(&pass.positions);
        let run = Run {
            attended: match attention {
                Attention::Rows => Attended::Rows(attention::Rows::upload(ctx, &pass.rows, tokens)),
                Attention::Cached { cache, extensions } => Attended::Cached(cache, extensions.upload(ctx, cache)),
            },
            active,
            ids: ctx.upload_indices(&pass.ids),
            positions,
            rotary_rows: self.rotary_rows(ctx, pass, positions),
            examples: ctx.upload_indices(&pass.examples),
            // an adapter that learns changes before texts begin, and never within one
            has_scales: !pass.positions.contains(&0),
        };
        let mut x = ctx.alloc(Region::Saved, tokens, channels);
        self.embedding.forward(ctx, run.ids, active.and_then(|a| a.adapter.embedding_rows()), x);
        if let Some(scale) = self.embedding_scale {
            rowwise::scale(ctx, x, scale);
        }
        let mut spare = kept.is_none().then(|| ctx.alloc(Region::Saved, tokens, channels));
        if let Some(kept) = &mut kept {
            kept.layers.clear();
        }
        for n in 0..self.layers.len() {
            let y = match spare {
                Some(buffer) => buffer,
                None => ctx.alloc(Region::Saved, tokens, channels),
            };
            let mark = ctx.mark_saved();
            let saved = self.layer_forward(ctx, &run, n, x, y);
            match &mut kept {
                Some(kept) => kept.layers.push(saved),
                None => spare = Some(x),
            }
            if kept.as_ref().is_none_or(|kept| kept.is_checkpointing) {
                ctx.release_saved(mark);
            }
            tap.read(ctx, n + 1, y);
            x = y;
        }
        Forward { hidden: x, run, kept }
    }

    /// One layer: `middle = x + attention(norm(x))`, `y = middle + gated(norm(middle))`; what is added may be normed first.
    fn layer_forward(&self, ctx: &mut Context, run: &Run<'_>, n: usize, x: Mat, y: Mat) -> Saved {
        let (layer, tokens) = (&self.layers[n], x.rows());
        let attention_heads = Heads { window: layer.window, ..self.heads };
        let saved = self.allocate_saved(ctx, run, n, x);

        let mark = ctx.mark();
        let input = self.normed_input(ctx, run, n, self.attention_inputs(), x, layer.input_layernorm);
        let [q, k] = saved.unnormed.unwrap_or([saved.q, saved.k]);
        if let Some(qkv) = saved.qkv {
            self.linears_forward(ctx, run, n, &input, [(Module::QkvProj, qkv)], None, &saved);
        } else {
            let heads = [(Module::QProj, q), (Module::KProj, k), (Module::VProj, saved.v)];
            self.linears_forward(ctx, run, n, &input, heads, None, &saved);
        }
        ctx.release(mark);
        if let Some(norms) = layer.head_norms {
            for (norm, (x, y)) in norms.into_iter().zip([(q, saved.q), (k, saved.k)]) {
                rms_norm::forward(ctx, self.by_head(x), norm, self.config.rms_norm_eps as f32, self.by_head(y));
            }
        }
        self.rotate(ctx, run, layer, [saved.q, saved.k]);
        match run.attended {
            Attended::Rows(rows) => {
                attention::forward(ctx, &attention_heads, rows, saved.q, saved.k, saved.v, saved.attended, saved.lse)
            }
            Attended::Cached(cache, rows) => attention::forward_cached(
                ctx,
                &attention_heads,
                cache,
                n,
                rows,
                saved.q,
                saved.k,
                saved.v,
                saved.attended,
            ),
        }
        let input = self.input(ctx, run, n, &[Module::OProj], saved.attended);
        self.output_forward(ctx, run, n, &input, Module::OProj, x, saved.middle, &saved);
        ctx.release(mark);

        let norm = layer.feed_forward_norm;
        let input = self.normed_input(ctx, run, n, self.gated_inputs(), saved.middle, norm);
        let inner = self.config.intermediate_size;
        let (gate_up, [gate, up], pairs) = match saved.gated {
            gated::SavedGate::Apart { gate, up } => (saved.gate_up, [gate, up], None),
            gated::SavedGate::Pairs(pairs) => {
                let (gate_up, parts) = self.gate_and_up(|cols| ctx.scratch(tokens, cols));
                (gate_up, parts, Some(pairs))
            }
        };
        if let Some(gate_up) = gate_up {
            self.linears_forward(ctx, run, n, &input, [(Module::GateUpProj, gate_up)], None, &saved);
        } else {
            let outputs = [(Module::GateProj, gate), (Module::UpProj, up)];
            self.linears_forward(ctx, run, n, &input, outputs, None, &saved);
        }
        let input = if self.reads_rows(run, n, &[Module::DownProj]) {
            let product = ctx.scratch(tokens, inner);
            gated::forward(ctx, self.config.activation, gate, up, pairs, product);
            self.input(ctx, run, n, &[Module::DownProj], product)
        } else {
            gated::packed(ctx, self.config.activation, gate, up, pairs, self.precision)
        };
        self.output_forward(ctx, run, n, &input, Module::DownProj, saved.middle, y, &saved);
        ctx.release(mark);
        saved
    }

    /// The linears that read what attention reads.
    fn attention_inputs(&self) -> &'static [Module] {
        if self.config.has_fused_linears { &[Module::QkvProj] } else { &[Module::QProj, Module::KProj, Module::VProj] }
    }

    /// The linears that read what the gated layer reads.
    fn gated_inputs(&self) -> &'static [Module] {
        if self.config.has_fused_linears { &[Module::GateUpProj] } else { &[Module::GateProj, Module::UpProj] }
    }

    fn allocate_saved(&self, ctx: &mut Context, run: &Run<'_>, n: usize, x: Mat) -> Saved {
        let tokens = x.rows();
        let (query, key) = (self.heads.query * self.heads.dim, self.heads.key * self.heads.dim);
        let inner = self.config.intermediate_size;
        let (gate_up, gated) = match self.precision {
            Precision::F32 => {
                let (gate_up, [gate, up]) = self.gate_and_up(|cols| ctx.alloc(Region::Saved, tokens, cols));
                (gate_up, gated::SavedGate::Apart { gate, up })
            }
            Precision::Bf16 => (None, gated::SavedGate::Pairs(ctx.alloc_packed(Region::Saved, tokens, inner))),
        };
        let mut alloc = |cols: usize| ctx.alloc(Region::Saved, tokens, cols);
        let (qkv, [q, k, v]) = self.queries_keys_values(&mut alloc);
        Saved {
            x,
            unnormed: self.layers[n].head_norms.map(|_| [alloc(query), alloc(key)]),
            qkv,
            q,
            k,
            v,
            outputs: self.layers[n]
                .output_norms
                .map(|_| [alloc(self.config.hidden_size), alloc(self.config.hidden_size)]),
            attended: alloc(query),
            lse: alloc(self.heads.query),
            middle: alloc(self.config.hidden_size),
            gate_up,
            gated,
            lora_hidden: Module::ALL.map(|module| {
                let lora = run.active.and_then(|a| a.adapter.lora(n, module, None));
                lora.map(|lora| alloc(lora.a.rows()))
            }),
        }
    }

    /// [T, H·D] as [T·H, D].
    fn by_head(&self, x: Mat) -> Mat {
        x.reshape(x.rows() * x.cols() / self.heads.dim, self.heads.dim)
    }

    /// As [`Decoder::backward`]; `tap` adds to the gradient of the residual stream between layers.
    ///
    /// # Panics
    /// If the forward kept nothing or had no adapter.
    pub fn backward_tapped(
        &self,
        ctx: &mut Context,
        forward: Forward<'_>,
        dhidden: Mat,
        gradients: Mat,
        tap: &mut dyn ResidualTap,
    ) {
        let Forward { run, kept, .. } = forward;
        let kept = kept.expect("the forward kept nothing for the backward");
        let adapter = run.active.expect("only adapters are trained").adapter;
        for (n, saved) in kept.layers.iter_mut().enumerate().rev() {
            let (mark, mark_saved) = (ctx.mark(), ctx.mark_saved());
            tap.add_gradient(ctx, n + 1, dhidden);
            if kept.is_checkpointing {
                let y = ctx.scratch(saved.x.rows(), saved.x.cols());
                *saved = self.layer_forward(ctx, &run, n, saved.x, y);
            }
            self.layer_backward(ctx, &run, n, saved, dhidden, gradients);
            ctx.release(mark);
            ctx.release_saved(mark_saved);
        }
        if let (Some(rows), Some(drows)) = (adapter.embedding_rows(), adapter.embedding_rows_gradient(gradients)) {
            if let Some(scale) = self.embedding_scale {
                rowwise::scale(ctx, dhidden, scale);
            }
            Embedding::backward(ctx, run.ids, rows, dhidden, drows);
        }
    }

    /// `dx` holds the gradient of the layer's output and becomes that of its input.
    fn layer_backward(&self, ctx: &mut Context, run: &Run<'_>, n: usize, saved: &Saved, dx: Mat, gradients: Mat) {
        let (layer, epsilon, tokens) = (&self.layers[n], self.config.rms_norm_eps as f32, dx.rows());
        let (hidden, inner, activation) =
            (self.config.hidden_size, self.config.intermediate_size, self.config.activation);
        let mark = ctx.mark();

        // y = middle + down(act(gate)·up)
        let product = ctx.scratch(tokens, inner);
        let dproduct = ctx.scratch(tokens, inner);
        if run.lora(n, Module::DownProj).is_some() {
            gated::again(ctx, activation, saved.gated, product);
        }
        let dy = self.output_gradient(ctx, n, Module::DownProj, saved, dx);
        self.linear_backward(ctx, run, n, Module::DownProj, saved, &dy, product, false, dproduct, gradients);
        let is_adapted = self.gated_inputs().iter().any(|&m| run.is_trained(n, m));
        let gradients_of_inputs: [Option<Input>; 2] = if is_adapted || self.config.has_fused_linears {
            let (both, [dgate, dup]) = self.gate_and_up(|cols| ctx.scratch(tokens, cols));
            gated::backward(ctx, activation, saved.gated, dproduct, dgate, dup);
            match both {
                Some(both) => [Some(self.gradient(ctx, n, Module::GateUpProj, both)), None],
                None => {
                    [(Module::GateProj, dgate), (Module::UpProj, dup)].map(|(m, dy)| Some(self.gradient(ctx, n, m, dy)))
                }
            }
        } else {
            gated::packed_backward(ctx, activation, saved.gated, dproduct, self.precision).map(Some)
        };
        let normed = ctx.scratch(tokens, hidden);
        let dnormed = ctx.scratch(tokens, hidden);
        if is_adapted {
            rms_norm::forward(ctx, saved.middle, layer.feed_forward_norm, epsilon, normed);
        }
        for (i, (&module, dy)) in self.gated_inputs().iter().zip(gradients_of_inputs.iter().flatten()).enumerate() {
            self.linear_backward(ctx, run, n, module, saved, dy, normed, i > 0, dnormed, gradients);
        }
        rms_norm::backward(ctx, saved.middle, layer.feed_forward_norm, epsilon, dnormed, dx);
        ctx.release(mark);

        // middle = x + o(attention(q, k, v))
        let like = |ctx: &mut Context, mat: Mat| ctx.scratch(mat.rows(), mat.cols());
        let dattended = like(ctx, saved.attended);
        let dy = self.output_gradient(ctx, n, Module::OProj, saved, dx);
        self.linear_backward(ctx, run, n, Module::OProj, saved, &dy, saved.attended, false, dattended, gradients);
        let (dqkv, [dq, dk, dv]) = self.queries_keys_values(|cols| ctx.scratch(tokens, cols));
        let (inputs, outputs) = ((saved.q, saved.k, saved.v), (saved.attended, saved.lse, dattended));
        let heads = Heads { window: layer.window, ..self.heads };
        let Attended::Rows(rows) = run.attended else { unreachable!("only rows are trained on") };
        attention::backward(ctx, &heads, rows, inputs, outputs, (dq, dk, dv));
        self.rotate_back(ctx, run, layer, [dq, dk]);
        let [dq, dk] = match layer.head_norms.zip(saved.unnormed) {
            Some(([q_norm, k_norm], [q, k])) => [(q, q_norm, dq), (k, k_norm, dk)].map(|(x, norm, dy)| {
                let dx = like(ctx, x);
                ctx.zero(dx);
                rms_norm::backward(ctx, self.by_head(x), norm, epsilon, self.by_head(dy), self.by_head(dx));
                dx
            }),
            None => [dq, dk],
        };
        let normed = ctx.scratch(tokens, hidden);
        let dnormed = ctx.scratch(tokens, hidden);
        if self.attention_inputs().iter().any(|&m| run.lora(n, m).is_some()) {
            rms_norm::forward(ctx, saved.x, layer.input_layernorm, epsilon, normed);
        }
        let outputs = dqkv.map_or([dq, dk, dv], |dqkv| [dqkv; 3]);
        for (i, (&module, dy)) in self.attention_inputs().iter().zip(outputs).enumerate() {
            let (mark, dy) = (ctx.mark(), self.gradient(ctx, n, module, dy));
            self.linear_backward(ctx, run, n, module, saved, &dy, normed, i > 0, dnormed, gradients);
            ctx.release(mark);
        }
        rms_norm::backward(ctx, saved.x, layer.input_layernorm, epsilon, dnormed, dx);
        ctx.release(mark);
    }
}
