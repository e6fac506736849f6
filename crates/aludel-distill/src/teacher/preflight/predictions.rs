//! Whether a teacher predicts: on some rows, its loss on their tokens must be far below that of guessing, and no lower on the token before
//! or after. It takes one pass of the teacher, whatever it is: a model, a cache, a server. What else must fit stands beside this file.

use std::ops::ControlFlow;

use aludel_data::token_cache::TokenRow;
use aludel_files::counted;
use aludel_kernels::Context;

use super::{Check, Finding};
use crate::batch::passes;
use crate::error::{Error, Result};
use crate::settings::{DistillSettings, Quantize};
use crate::supervision::SupervisedBatch;
use crate::teacher::Teacher;

/// Rows that are looked at, and tokens of them.
const MOST_ROWS: usize = 32;
const MOST_TOKENS: usize = 2048;
/// A mean of fewer tokens says little.
const FEWEST_TOKENS: usize = 16;
/// The highest loss of a teacher that predicts, as a share of that of guessing, ln V. SmolLM2-135M stays below 0.6 on words in random
/// order and on Base64, and is at 0.95 and above with weights rounded to two bits or one: the bound lies between.
const PLAUSIBLE: f64 = 0.75;
/// By how much of ln V another token must be likelier than the right one, to say that predictions are shifted. Texts of random digits have
/// neighbours that are as likely.
const SHIFT_MARGIN: f64 = 0.05;

/// Up to 32 rows, spread evenly over the `count` rows that there are, of up to 2,048 tokens together. A row is never cut, since a cache
/// knows whole rows: where none is so short, the shortest of them has to do.
///
/// # Errors
/// Those of `read`.
pub fn sampled_rows(count: usize, mut read: impl FnMut(usize) -> Result<TokenRow>) -> Result<Vec<TokenRow>> {
    let taken = count.min(MOST_ROWS);
    let (mut rows, mut left, mut shortest) = (Vec::new(), MOST_TOKENS, None::<TokenRow>);
    for number in 0..taken {
        let row = read(number * count / taken)?;
        if row.ids.len() <= left {
            left -= row.ids.len();
            rows.push(row);
        } else if shortest.as_ref().is_none_or(|shortest| row.ids.len() < shortest.ids.len()) {
            shortest = Some(row);
        }
    }
    if rows.is_empty() {
        rows.extend(shortest);
    }
    Ok(rows)
}

/// A teacher's mean loss on supervised tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Predictions {
    /// On each token itself.
    pub own: Mean,
    /// On tokens that differ from the one before them, and on that one in their place.
    pub before: [Mean; 2],
    /// On tokens that differ from the one after them, and on that one in their place.
    pub after: [Mean; 2],
}

/// A mean over tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    /// Tokens.
    pub count: usize,
}

impl Mean {
    /// Nats for each token.
    pub fn value(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    fn add(&mut self, loss: f32) {
        self.sum += f64::from(loss);
        self.count += 1;
    }
}

impl Predictions {
    /// Asks a teacher about rows, in passes of up to `tokens_per_pass` tokens; none where it cannot tell the probability of given
    /// tokens. `watch` is asked before each pass.
    ///
    /// # Errors
    /// Those of the teacher, and [`Error::Stopped`] where `watch` breaks off.
    pub fn ask(
        ctx: &mut Context,
        teacher: &mut dyn Teacher,
        rows: &[TokenRow],
        tokens_per_pass: usize,
        watch: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Predictions>> {
        let lengths: Vec<u32> = rows.iter().map(|row| row.ids.len() as u32).collect();
        let numbers: Vec<u32> = (0..rows.len() as u32).collect();
        let (mut found, mut batch) = (Predictions::default(), SupervisedBatch::default());
        for pass in passes(&numbers, &lengths, tokens_per_pass) {
            if watch().is_break() {
                return Err(Error::Stopped);
            }
            let taken: Vec<(u32, TokenRow)> = pass.iter().map(|&row| (row, rows[row as usize].clone())).collect();
            batch.fill(&taken);
            let (ids, positions) = (&batch.pass.ids, &batch.pass.positions);
            let places = batch.chosen.iter().map(|&place| place as usize);
            let before: Vec<u32> = places.clone().map(|place| ids[place]).collect();
            // The last token of a row has none after it, and stands for that: what equals the token itself does not count.
            let is_within = |place: usize| positions.get(place).is_some_and(|&position| position != 0);
            let after: Vec<u32> = places.map(|place| ids[place + if is_within(place + 2) { 2 } else { 1 }]).collect();
            let lists = [batch.targets.as_slice(), &before, &after];
            let Some(losses) = teacher.target_losses(ctx, &batch, &lists)? else { return Ok(None) };
            for (place, &own) in batch.targets.iter().enumerate() {
                found.own.add(losses[0][place]);
                for (means, list) in [(&mut found.before, 1), (&mut found.after, 2)] {
                    if lists[list][place] != own {
                        means[0].add(losses[0][place]);
                        means[1].add(losses[list][place]);
                    }
                }
            }
        }
        Ok(Some(found))
    }

    /// What is wrong with them, over a vocabulary of `vocab` tokens.
    pub fn judge(&self, vocab: usize, settings: &DistillSettings) -> Option<Finding> {
        let guessing = (vocab.max(2) as f64).ln();
        let shifted = [(&self.before, "before"), (&self.after, "after")].into_iter().find(|([own, other], _)| {
            let is_better = other.value() + SHIFT_MARGIN * guessing < own.value();
            own.count >= FEWEST_TOKENS && is_better && other.value() <= PLAUSIBLE * guessing
        });
        if let Some(([own, other], which)) = shifted {
            let what = format!(
                "its predictions are shifted by one token: they fit the token {which} the one that they are taken for ({:.2} nats against \
                 {:.2}, over {})",
                other.value(),
                own.value(),
                counted(own.count as u64, "token", "tokens")
            );
            let mend = "have them written by a cache or server that counts tokens as Aludel does, or check the weights of a model in this \
                        process (damaged ones repeat what they read)"
                .to_owned();
            return Some(Finding { check: Check::Shift, what, mend });
        }
        let loss = self.own.value();
        if self.own.count < FEWEST_TOKENS && loss.is_finite() || loss <= PLAUSIBLE * guessing {
            return None;
        }
        let what = format!(
            "it does not predict the rows: its loss on {} is {loss:.2} nats, and guessing among {vocab} tokens has {guessing:.2} (a teacher's is \
             at most {:.2})",
            counted(self.own.count as u64, "token of them", "tokens of them"),
            PLAUSIBLE * guessing
        );
        Some(Finding { check: Check::Predictions, what, mend: mend(settings) })
    }
}

/// What of a teacher could make its predictions noise.
fn mend(settings: &DistillSettings) -> String {
    let mut checks = Vec::new();
    if let Some(adapter) = &settings.teacher_adapter {
        checks.push(format!("that {} (distill.teacher_adapter) was trained on this teacher", adapter.display()));
    }
    if settings.teacher_quantize != Quantize::None {
        checks.push("that it predicts without distill.teacher_quantize".to_owned());
    }
    if settings.cache.is_some() {
        checks.push("that distill.cache was written by a teacher that predicts the rows".to_owned());
    }
    checks.push("with `aludel chat` that its weights are intact and not quantised beyond use".to_owned());
    checks.push("that it knows the language of the rows".to_owned());
    format!("check {}", checks.join(", and "))
}

#[cfg(test)]
mod tests {
    use aludel_data::dataset::PromptKey;
    use aludel_data::token_cache::RowInfo;

    use super::*;

    fn row(tokens: usize) -> TokenRow {
        let info = RowInfo { tokens: 0, supervised: 0, example: 0, prompt_key: PromptKey(0), file_index: 0, line: 0 };
        TokenRow { ids: vec![0; tokens], weights: vec![1.0; tokens], context: Vec::new(), info }
    }

    #[test]
    fn a_sample_is_spread_and_bounded() {
        let of = |count, tokens: &dyn Fn(usize) -> usize| {
            let read = |number| Ok(row(tokens(number)));
            sampled_rows(count, read).unwrap().iter().map(|row| row.ids.len()).collect::<Vec<_>>()
        };
        assert_eq!(of(3, &|number| 10 + number), [10, 11, 12]);
        assert_eq!(of(320, &|number| number / 10 + 1)[..3], [1, 2, 3]);
        assert_eq!(of(100, &|_| 1000), [1000, 1000]);
        assert_eq!(of(3, &|number| [2000, 100, 48][number]), [2000, 48], "what fits");
        assert_eq!(of(2, &|number| 9000 - number), [8999], "where none fits, one has to do");
        assert_eq!(of(0, &|_| 1), [0; 0]);
    }

    fn mean(value: f64, count: usize) -> Mean {
        Mean { sum: value * count as f64, count }
    }

    #[test]
    fn predictions_are_judged() {
        let judged = |own, before, after, count| {
            let pair = |other| [mean(own, count), mean(other, count)];
            let found = Predictions { own: mean(own, count), before: pair(before), after: pair(after) };
            found.judge(1000, &DistillSettings::default()).map(|finding| finding.check)
        };
        // ln 1000 is 6.9.
        assert_eq!(judged(2.0, 9.0, 9.0, 100), None);
        assert_eq!(judged(5.0, 5.1, 4.9, 100), None, "random digits have neighbours that are as likely");
        assert_eq!(judged(5.3, 9.0, 9.0, 100), Some(Check::Predictions));
        assert_eq!(judged(f64::NAN, 9.0, 9.0, 100), Some(Check::Predictions));
        assert_eq!(judged(f64::INFINITY, 9.0, 9.0, 3), Some(Check::Predictions));
        assert_eq!(judged(9.0, 2.0, 9.0, 100), Some(Check::Shift));
        assert_eq!(judged(9.0, 9.0, 2.0, 100), Some(Check::Shift));
        assert_eq!(judged(4.0, 9.0, 2.0, 100), Some(Check::Shift));
        assert_eq!(judged(8.0, 7.0, 7.0, 100), Some(Check::Predictions), "noise is noise in each place");
        assert_eq!(judged(9.0, 2.0, 9.0, 3), None, "so few tokens say little");
    }
}
