//! Whole optimiser steps on rows in which every token counts, timed one by one, and where their time goes.

use std::time::Instant;

use aludel_data::dataset::PromptKey;
use aludel_data::token_cache::{RowInfo, TokenRow};
use aludel_kernels::profile::Kind;
use aludel_kernels::{optim, peak};
use aludel_model::config::Config;
use aludel_model::layout::linear_shape;
use aludel_model::student::Student;
use serde::Serialize;

use super::{invented_tokens, median};
use crate::error::Result;
use crate::learner::{Learner, settled};
use crate::settings::Recipe;

/// Steps before the first that counts: pages are mapped, caches filled.
const WARM_UP_STEPS: usize = 1;

/// What to time.
#[derive(Clone, Copy, Debug)]
pub struct TrainOptions {
    /// Tokens of a row.
    pub sequence_length: usize,
    /// Tokens of an optimiser step, cut down to whole rows.
    pub tokens_per_step: usize,
    /// Steps that are timed.
    pub steps: usize,
}

/// What a step costs.
#[derive(Clone, Debug, Serialize)]
pub struct TrainBench {
    /// Tokens of a step over the median step's seconds.
    pub tokens_per_second: f64,
    /// Floating-point operations that the model asks for, forward and backward; see [`flops_per_token`].
    pub model_flops_per_token: f64,
    /// What the processor's arithmetic can do; the mean of a measurement before the steps and one after. See [`peak::flops`].
    pub gemm_peak_flops: f64,
    /// Model operations a second over the peak.
    pub utilisation: f64,
    /// The precision of products.
    pub dtype: String,
    /// The instruction set in use.
    pub instruction_set: &'static str,
    /// Worker threads.
    pub threads: usize,
    /// Tokens of a row.
    pub sequence_length: usize,
    /// Tokens of a step.
    pub tokens_per_step: usize,
    /// The timed steps, in seconds.
    pub step_seconds: Vec<f64>,
    /// Milliseconds of a mean step by kind of op.
    pub breakdown_ms: Breakdown,
}

/// Milliseconds by kind of op.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Breakdown {
    /// Linears and adapters.
    pub matrix: f64,
    /// Attention.
    pub attention: f64,
    /// Norms, rotary positions, activations, dropout.
    pub row_wise: f64,
    /// Head and loss.
    pub head_and_loss: f64,
    /// Optimiser.
    pub optimiser: f64,
    /// What is none of these: embedding, copies, reading rows.
    pub other: f64,
}

/// Floating-point operations of training an adapter on one token of a row of `sequence_length` tokens, all supervised, with
/// nothing counted for what is computed twice:
/// `4·N + 6·r·Σ(d_in + d_out) + 7·S·H·D·L + 4·V·C`, N being the weights of the layers' linears and the second sum running
/// over the adapted ones, of which `adapter_parameters` is r times the sum.
pub fn flops_per_token(config: &Config, adapter_parameters: usize, sequence_length: usize) -> f64 {
    let linears: usize = config
        .modules()
        .iter()
        .map(|&module| {
            let (d_in, d_out) = linear_shape(config, module);
            d_in * d_out
        })
        .sum();
    let attention = sequence_length * config.num_attention_heads * config.head_dim;
    let per_layer = 4 * linears + 7 * attention;
    (per_layer * config.num_hidden_layers + 6 * adapter_parameters + 4 * config.vocab_size * config.hidden_size) as f64
}

/// Trains for a few steps on generated rows and reports their cost. `tell` is called with the passes done and in total.
///
/// # Errors
/// What makes training impossible: weights that do not fit, rows longer than the model takes.
pub fn bench_train(
    student: &Student,
    recipe: &Recipe,
    options: &TrainOptions,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<TrainBench> {
    let recipe = &Recipe { student: settled(&recipe.student)?, ..recipe.clone() };
    let rows_per_step = (options.tokens_per_step / options.sequence_length).max(1);
    let rows_per_pass = (recipe.train.tokens_per_pass / options.sequence_length).clamp(1, rows_per_step);
    let tokens_per_step = rows_per_step * options.sequence_length;
    // the only parameters are then those of linears, which the cost model counts
    let mut learner = Learner::load(student, &[], recipe, None)?;
    learner.plan(rows_per_pass * options.sequence_length);
    let rows: Vec<(u32, TokenRow)> = (0..rows_per_step)
        .map(|row| (row as u32, invented_row(row as u64, options.sequence_length, student.config.vocab_size)))
        .collect();
    let (isa, threads, precision) = (learner.ctx.isa(), learner.ctx.threads(), learner.decoder.precision());
    let before = peak::flops(isa, precision, threads);
    let (mut step_seconds, mut spent) = (Vec::new(), [0.0; Kind::ALL.len()]);
    let (mut done, passes) = (0, rows.chunks(rows_per_pass).len() * (WARM_UP_STEPS + options.steps));
    tell(done, passes);
    for number in 0..WARM_UP_STEPS + options.steps {
        let (begun, earlier) = (Instant::now(), Kind::ALL.map(|kind| learner.ctx.time_spent(kind)));
        learner.zero_gradients();
        for pass in rows.chunks(rows_per_pass) {
            learner.accumulate(pass, None)?;
            done += 1;
            tell(done, passes);
        }
        learner.step(&optim::Step {
            learning_rate: recipe.train.learning_rate as f32,
            inverse_count: 1.0 / tokens_per_step as f32,
            number: number as u64 + 1,
            ..optim::Step::default()
        });
        if number >= WARM_UP_STEPS {
            step_seconds.push(begun.elapsed().as_secs_f64());
            for (sum, (kind, earlier)) in spent.iter_mut().zip(Kind::ALL.into_iter().zip(earlier)) {
                *sum += (learner.ctx.time_spent(kind) - earlier).as_secs_f64();
            }
        }
    }
    let gemm_peak_flops = (before + peak::flops(isa, precision, threads)) / 2.0;
    let model_flops_per_token =
        flops_per_token(&student.config, learner.adapter.parameter_count(), options.sequence_length);
    let tokens_per_second = tokens_per_step as f64 / median(&step_seconds);
    let ms = |kind: Kind| spent[kind as usize] * 1e3 / options.steps as f64;
    let whole = step_seconds.iter().sum::<f64>() * 1e3 / options.steps as f64;
    Ok(TrainBench {
        tokens_per_second,
        model_flops_per_token,
        gemm_peak_flops,
        utilisation: tokens_per_second * model_flops_per_token / gemm_peak_flops,
        dtype: format!("{precision:?}").to_lowercase() + recipe.student.quantize.suffix(),
        instruction_set: isa.name(),
        threads,
        sequence_length: options.sequence_length,
        tokens_per_step,
        breakdown_ms: Breakdown {
            matrix: ms(Kind::Matrix),
            attention: ms(Kind::Attention),
            row_wise: ms(Kind::Rowwise),
            head_and_loss: ms(Kind::Head),
            optimiser: ms(Kind::Optimiser),
            other: whole - Kind::ALL.iter().map(|&kind| ms(kind)).sum::<f64>(),
        },
        step_seconds,
    })
}

/// A row of arbitrary tokens, all supervised.
fn invented_row(seed: u64, tokens: usize, vocab_size: usize) -> TokenRow {
    TokenRow {
        ids: invented_tokens(seed, tokens, vocab_size),
        weights: vec![1.0; tokens],
        context: Vec::new(),
        info: RowInfo {
            tokens: tokens as u32,
            supervised: tokens as u32,
            example: seed,
            prompt_key: PromptKey(0),
            file_index: 0,
            line: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_model_is_the_documented_one() {
        let config = Config::from_hf(
            &serde_json::json!({
                "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
                "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
                "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, "tie_word_embeddings": true,
            }),
            std::path::Path::new("config.json"),
        )
        .unwrap();
        // r = 8 on q, k, v and o of every layer
        let adapter = 30 * 8 * (2 * (576 + 576) + 2 * (576 + 192));
        for (length, expected) in [(512, 0.605e9), (1024, 0.667e9), (2048, 0.791e9)] {
            let got = flops_per_token(&config, adapter, length);
            assert!((got - expected).abs() < 0.002e9, "{length}: {got}");
        }
    }
}
