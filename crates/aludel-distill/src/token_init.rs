//! Initial values of the vocabulary rows of added tokens. Training starts from them; what matters is how far they have to move.
//!
//! A new token is both an input and an output. As an input it should have a meaning: [`mean::by_meaning`] takes the mean of the rows of related
//! words. As an output, its logit must rise above those of the tokens in whose place it occurs, and the logit of a mean of words is
//! the mean of their logits, some 15 nats too low: thousands of steps at the rates of fine-tuning. So [`by_place`] looks into the
//! data for the places where the token comes next, and finds the change of its row that makes it likely there and disturbs the
//! rest least.
//!
//! With h what the head reads at a token, h̄ its mean over the places, and S = E[h·hᵀ] over all tokens, the change Δ with the
//! logit Δ·h̄ = ℓ that is smallest in E[(Δ·h)²] + λ|Δ|² is Δ = ℓ·x / (x·h̄), where (S + λ)·x = h̄. λ keeps the row, which a tied head
//! shares with the embedding, close to what it means.

pub mod mean;

use std::collections::HashSet;
use std::ops::ControlFlow;

use aludel_data::token_cache::TokenRow;
use aludel_model::student::Student;

use crate::error::Result;
use crate::learner::Learner;
use crate::rows::Rows;

/// Training rows that are looked at, forward only: about the work of two optimiser steps of eight such rows.
const SAMPLE: usize = 48;
/// Training rows looked through for them.
const SEARCHED: usize = 1_024;
/// Tokens that S is estimated from.
const TOKENS: usize = 4_096;
/// Nats by which the logit shall exceed the log-sum-exp of all others, on average over the places.
const LEAD: f64 = 2.0;
/// λ, as a share of the mean of S's diagonal.
const RIDGE: f64 = 0.3;
/// Steps of conjugate gradients at most; a student of 576 channels took 43 to a residual of 1e-6.
const ITERATIONS: usize = 100;

/// Changes the head's rows of new tokens so that they are likely in their places. A token that no sampled row asks for, and one
/// that the vocabulary had before, keeps the row it has. `watch` is told how many rows of how many were looked at, and may end
/// it, which changes nothing.
///
/// # Errors
/// Rows that cannot be read.
pub fn by_place(
    learner: &mut Learner,
    student: &Student,
    rows: &Rows,
    watch: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    let done = ControlFlow::Continue(());
    let is_tied = student.config.tie_word_embeddings;
    let Some(head) = learner.adapter.head_rows(is_tied) else { return Ok(done) };
    let (ids, matrix) = (learner.adapter.head_ids(is_tied).to_vec(), head.rows);
    if !ids.iter().any(|&id| student.text.tokenizer.is_new(id)) {
        return Ok(done);
    }
    let wanted: HashSet<u32> = ids.iter().copied().collect();
    let sample = sample(rows, &wanted)?;
    let stride = sample.iter().map(|row| row.ids.len()).sum::<usize>().div_ceil(TOKENS).max(1);
    let channels = student.config.hidden_size;
    let mut all = Vec::new();
    let mut found: Vec<TokenSums> = ids.iter().map(|_| TokenSums::new(channels)).collect();
    for (n, row) in sample.iter().enumerate() {
        if watch(n, sample.len()).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let chosen = places(row, &wanted);
        let (inputs, log_sum_exp) = learner.head_inputs(&row.ids, &chosen);
        for (&place, log_sum_exp) in chosen.iter().zip(log_sum_exp) {
            let next = row.ids[place as usize + 1];
            let of_next = found.iter_mut().zip(&ids).filter(|&(_, &id)| id == next);
            let input = &inputs[place as usize * channels..][..channels];
            of_next.for_each(|(found, _)| found.add(input, log_sum_exp));
        }
        all.extend(inputs.chunks_exact(channels).step_by(stride).flatten());
    }
    let moment = SecondMoment::new(&all, channels);
    for (n, (found, &id)) in found.into_iter().zip(&ids).enumerate() {
        if found.count == 0 || !student.text.tokenizer.is_new(id) {
            continue;
        }
        let (place, log_sum_exp) = found.means();
        let target = matrix.row_range(n, 1);
        let mut row = learner.ctx.download(target);
        let logit: f64 = row.iter().zip(&place).map(|(&w, h)| f64::from(w) * h).sum();
        let direction = moment.solve(&place);
        let scale = (log_sum_exp + LEAD - logit) / dot(&direction, &place);
        row.iter_mut().zip(&direction).for_each(|(w, x)| *w += (scale * x) as f32);
        learner.ctx.write(target, &row);
    }
    Ok(done)
}

/// Training rows in which an added token counts, each of another prompt and from all over the data: what they have in common is the
/// place and not the question.
fn sample(rows: &Rows, ids: &HashSet<u32>) -> Result<Vec<TokenRow>> {
    let mut prompts = HashSet::new();
    let mut found = Vec::new();
    let stride = rows.train.len().div_ceil(SEARCHED).max(1);
    for &number in rows.train.iter().step_by(stride) {
        if prompts.contains(&rows.info(number).prompt_key) {
            continue;
        }
        let row = rows.row(number)?;
        if !places(&row, ids).is_empty() {
            prompts.insert(row.info.prompt_key);
            found.push(row);
        }
    }
    let share = found.len().div_ceil(SAMPLE).max(1);
    Ok(found.into_iter().step_by(share).collect())
}

/// The tokens of a row that come before a supervised one of `ids`.
fn places(row: &TokenRow, ids: &HashSet<u32>) -> Vec<u32> {
    let next = row.ids.iter().zip(&row.weights).enumerate().skip(1);
    next.filter(|(_, (id, weight))| **weight != 0.0 && ids.contains(id)).map(|(t, _)| t as u32 - 1).collect()
}

/// Sums over the places of one token.
struct TokenSums {
    count: usize,
    inputs: Vec<f64>,
    log_sum_exp: f64,
}

impl TokenSums {
    fn new(channels: usize) -> TokenSums {
        TokenSums { count: 0, inputs: vec![0.0; channels], log_sum_exp: 0.0 }
    }

    fn add(&mut self, input: &[f32], log_sum_exp: f64) {
        self.count += 1;
        self.inputs.iter_mut().zip(input).for_each(|(sum, &h)| *sum += f64::from(h));
        self.log_sum_exp += log_sum_exp;
    }

    /// h̄ and the mean log-sum-exp.
    fn means(self) -> (Vec<f64>, f64) {
        let count = self.count as f64;
        (self.inputs.into_iter().map(|sum| sum / count).collect(), self.log_sum_exp / count)
    }
}

/// S + λ, never formed: it is only multiplied with.
struct SecondMoment<'a> {
    inputs: &'a [f32],
    channels: usize,
    ridge: f64,
}

impl SecondMoment<'_> {
    fn new(inputs: &[f32], channels: usize) -> SecondMoment<'_> {
        let mean_square = inputs.iter().map(|&h| f64::from(h).powi(2)).sum::<f64>() / inputs.len().max(1) as f64;
        SecondMoment { inputs, channels, ridge: RIDGE * mean_square }
    }

    fn times(&self, x: &[f64]) -> Vec<f64> {
        let mut product: Vec<f64> = x.iter().map(|x| self.ridge * x).collect();
        let share = self.channels as f64 / self.inputs.len() as f64;
        for input in self.inputs.chunks_exact(self.channels) {
            let along = share * input.iter().zip(x).map(|(&h, x)| f64::from(h) * x).sum::<f64>();
            product.iter_mut().zip(input).for_each(|(y, &h)| *y += along * f64::from(h));
        }
        product
    }

    /// x with (S + λ)·x = b, by conjugate gradients (Hestenes and Stiefel, 1952).
    fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; b.len()];
        let mut residual = b.to_vec();
        let mut direction = b.to_vec();
        let mut square = dot(b, b);
        let enough = 1e-12 * square;
        for _ in 0..ITERATIONS {
            if square <= enough {
                break;
            }
            let image = self.times(&direction);
            let length = square / dot(&direction, &image);
            x.iter_mut().zip(&direction).for_each(|(x, d)| *x += length * d);
            residual.iter_mut().zip(&image).for_each(|(r, i)| *r -= length * i);
            let next = dot(&residual, &residual);
            direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + next / square * *d);
            square = next;
        }
        x
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two kinds of input in two of three channels: the row must separate them and leave the third channel unchanged.
    #[test]
    fn the_change_is_large_at_the_places_and_small_elsewhere() {
        let here = [1.0f32, 1.0, 0.0];
        let elsewhere = [1.0f32, -1.0, 0.0];
        let inputs: Vec<f32> = [here, elsewhere, elsewhere, elsewhere].concat();
        let moment = SecondMoment::new(&inputs, 3);
        let place = here.map(f64::from);
        let x = moment.solve(&place);
        let image = moment.times(&x);
        assert!(image.iter().zip(&place).all(|(a, b)| (a - b).abs() < 1e-9), "{image:?}");
        let scale = 5.0 / dot(&x, &place);
        let there = scale * dot(&x, &elsewhere.map(f64::from));
        assert!(there.abs() < 0.5, "{there} elsewhere, 5 at the places");
        assert_eq!(x[2], 0.0);
    }

    #[test]
    fn places_come_before_supervised_tokens_only() {
        let info = aludel_data::token_cache::RowInfo {
            tokens: 5,
            supervised: 2,
            example: 0,
            prompt_key: aludel_data::dataset::PromptKey(0),
            file_index: 0,
            line: 0,
        };
        let row =
            TokenRow { ids: vec![7, 1, 7, 2, 7], weights: vec![0.0, 0.0, 1.0, 1.0, 0.0], context: Vec::new(), info };
        assert_eq!(places(&row, &HashSet::from([7])), [1]);
        assert_eq!(places(&row, &HashSet::from([2, 7])), [1, 2]);
    }
}
