//! Where the vocabulary rows of added tokens start. Training moves them from there; what matters is how far they have to go.
//!
//! A new token is read and it is said. To be read, it should mean something: [`by_meaning`] takes the mean of the rows of related
//! words. To be said, its logit must be near those of the tokens that it will stand in place of, or thousands of steps pass before
//! it is chosen once: the logit of a mean of words is the mean of their logits, 15 to 20 nats below the likeliest token. So
//! [`by_expectation`] looks at the data for the places where the new token comes next, asks the student what it would say there,
//! and takes the mean of those rows, weighted by the student's own probabilities.

use aludel_model::adapter::NewRows;
use aludel_model::config::Config;
use aludel_model::student::Student;
use aludel_model::weights;
use aludel_traces::cache::TokenRow;

use crate::error::Result;
use crate::learner::Learner;
use crate::rows::Rows;

/// Training rows that are asked for an added token's places; some seconds of a small student's time.
const SAMPLE: usize = 16;
/// Training rows looked through for them.
const SEARCHED: usize = 4_096;
/// Likeliest tokens that share in a row. Further ones have next to no weight, and each costs the decoding of a row.
const LIKELIEST: usize = 64;

/// A share of a vocabulary row in a mean: its id and its weight.
type Share = (u32, f64);

/// Rows for added tokens that are the means of related words' rows. A token that the vocabulary had before keeps its own row.
///
/// # Errors
/// Weights that cannot be read.
pub fn by_meaning(student: &Student, added: &[u32]) -> Result<NewRows> {
    let mut shares: Vec<Vec<Share>> = Vec::with_capacity(added.len());
    for &id in added {
        if !student.text.tokenizer.is_new(id) {
            shares.push(vec![(id, 1.0)]);
            continue;
        }
        let token = student.text.tokenizer.id_to_token(id).unwrap_or_default();
        shares.push(student.text.tokenizer.mean_source_ids(&token)?.into_iter().map(|id| (id, 1.0)).collect());
    }
    let rows = |table: &str| -> Result<Vec<f32>> {
        let rows: Result<Vec<_>> = shares.iter().map(|shares| mean_row(student, table, shares)).collect();
        Ok(rows?.concat())
    };
    let head = if student.config.tie_word_embeddings { None } else { Some(rows(weights::HEAD)?) };
    Ok(NewRows { ids: added.to_vec(), embedding: rows(weights::EMBEDDING)?, head })
}

/// Overwrites the head's rows of added tokens with what the student expects in their places. A token that the sampled rows do not
/// ask for, and one that the vocabulary had before, keeps the row it has. Where the head is tied, this row is also what is read.
///
/// # Errors
/// Rows or weights that cannot be read.
pub fn by_expectation(learner: &mut Learner, student: &Student, rows: &Rows) -> Result<()> {
    let tied = student.config.tie_word_embeddings;
    let Some(head) = learner.adapter.head_rows(tied) else { return Ok(()) };
    let (ids, target) = (head.ids.clone(), head.rows);
    let mut shares: Vec<Vec<Share>> = vec![Vec::new(); ids.len()];
    for row in sample(rows, &ids)? {
        let chosen = places(&row, &ids);
        let end = chosen.last().map_or(0, |&last| last as usize + 1);
        learner.predict(&row.ids[..end], &chosen, |n, logits| {
            let next = row.ids[chosen[n] as usize + 1];
            for (shares, _) in shares.iter_mut().zip(&ids).filter(|&(_, &id)| id == next) {
                shares.extend(likeliest(logits, student.config.vocab_size));
            }
        });
    }
    let table = if tied { weights::EMBEDDING } else { weights::HEAD };
    for (n, (shares, &id)) in shares.iter().zip(&ids).enumerate() {
        if !shares.is_empty() && student.text.tokenizer.is_new(id) {
            learner.ctx.write(target.row_range(n, 1), &mean_row(student, table, shares)?);
        }
    }
    Ok(())
}

/// The first training rows in which an added token counts.
fn sample(rows: &Rows, ids: &[u32]) -> Result<Vec<TokenRow>> {
    let mut found = Vec::new();
    for &number in rows.train.iter().take(SEARCHED) {
        let row = rows.cache.row(number as usize)?;
        if !places(&row, ids).is_empty() {
            found.push(row);
        }
        if found.len() == SAMPLE {
            break;
        }
    }
    Ok(found)
}

/// The tokens of a row that come before a supervised one of `ids`.
fn places(row: &TokenRow, ids: &[u32]) -> Vec<u32> {
    let next = row.ids.iter().zip(&row.weights).enumerate().skip(1);
    next.filter(|(_, (id, weight))| **weight != 0.0 && ids.contains(id)).map(|(t, _)| t as u32 - 1).collect()
}

/// The likeliest of the first `vocab_size` tokens with their probabilities, which sum to 1.
fn likeliest(logits: &[f32], vocab_size: usize) -> Vec<Share> {
    let known = &logits[..vocab_size.min(logits.len())];
    let mut order: Vec<u32> = (0..known.len() as u32).collect();
    let descending = |a: &u32, b: &u32| known[*b as usize].total_cmp(&known[*a as usize]).then(a.cmp(b));
    if order.len() > LIKELIEST {
        order.select_nth_unstable_by(LIKELIEST, descending);
        order.truncate(LIKELIEST);
    }
    // summed in one order, whatever the selection left
    order.sort_unstable_by(descending);
    let largest = f64::from(known[order[0] as usize]);
    let exponentials: Vec<f64> = order.iter().map(|&id| (f64::from(known[id as usize]) - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    order.into_iter().zip(exponentials).map(|(id, exponential)| (id, exponential / sum)).collect()
}

/// The weighted mean of rows of a table.
fn mean_row(student: &Student, table: &str, shares: &[Share]) -> Result<Vec<f32>> {
    let Config { hidden_size, vocab_size, .. } = student.config;
    let tensor = student.weights.tensor(table, &[vocab_size, hidden_size], &student.config)?;
    let total: f64 = shares.iter().map(|&(_, weight)| weight).sum();
    let mut mean = vec![0f64; hidden_size];
    let mut row = vec![0f32; hidden_size];
    for &(id, weight) in shares {
        tensor.row(id as usize, &mut row)?;
        mean.iter_mut().zip(&row).for_each(|(mean, &x)| *mean += weight / total * f64::from(x));
    }
    Ok(mean.into_iter().map(|x| x as f32).collect())
}
