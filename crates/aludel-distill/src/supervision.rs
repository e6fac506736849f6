//! The supervised tokens of a pass, and the sums of their losses: what an objective reads and what it is asked for. What a loss is
//! stands in `objective`, how a pass is run in `learner`.

use std::ops::Range;

use aludel_data::dataset::PromptKey;
use aludel_data::token_cache::{RowInfo, TokenRow};
use aludel_model::decoder::PackedBatch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The terms that a loss can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LossTerm {
    /// Cross-entropy with the tokens of the data.
    Ce,
    /// The divergence from the teacher's distribution over the vocabulary.
    Logits,
    /// The distance of the student's hidden states from the teacher's.
    Hidden,
}

impl LossTerm {
    /// All of them.
    pub const ALL: [LossTerm; 3] = [LossTerm::Ce, LossTerm::Logits, LossTerm::Hidden];

    /// Its name in recipes and records.
    pub fn name(self) -> &'static str {
        match self {
            LossTerm::Ce => "ce",
            LossTerm::Logits => "logits",
            LossTerm::Hidden => "hidden",
        }
    }
}

/// The sums of one or several passes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PassSums {
    /// Σ weight·loss over supervised tokens, all terms together.
    pub loss: f64,
    /// The same for each term, with its weight in the loss.
    pub terms: [f64; LossTerm::ALL.len()],
    /// Σ ‖gradient‖² of each term at the residual stream, over supervised tokens, with its weight; zeros where it is not measured.
    pub squares: [f64; LossTerm::ALL.len()],
    /// Supervised tokens: the divisor.
    pub supervised: u64,
    /// All tokens.
    pub tokens: u64,
    /// Seconds in which a teacher in this process read the rows, or what it said of them was read from disk.
    pub teacher_seconds: f64,
}

impl PassSums {
    /// The loss per supervised token.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.supervised.max(1) as f64
    }

    /// One term of the loss per supervised token, with its weight in the loss.
    pub fn mean_term(&self, term: LossTerm) -> f64 {
        self.terms[term as usize] / self.supervised.max(1) as f64
    }

    /// Adds another pass.
    pub fn add(&mut self, other: PassSums) {
        self.loss += other.loss;
        for (sum, term) in self.terms.iter_mut().zip(other.terms) {
            *sum += term;
        }
        for (sum, squares) in self.squares.iter_mut().zip(other.squares) {
            *sum += squares;
        }
        self.supervised += other.supervised;
        self.tokens += other.tokens;
        self.teacher_seconds += other.teacher_seconds;
    }
}

/// A pass and its supervised tokens. Used again from pass to pass, so that a step allocates nothing.
#[derive(Default)]
pub struct SupervisedBatch {
    /// The tokens, rows end to end.
    pub pass: PackedBatch,
    /// Places in the pass whose logits are wanted, ascending: each predicts the token after it.
    pub chosen: Vec<u32>,
    /// The token after each of them.
    pub targets: Vec<u32>,
    /// The weight of each in the loss.
    pub weights: Vec<f32>,
    /// Whether the student wrote the answers: nothing is to be imitated in them, only judged.
    pub is_own: bool,
    /// What a teacher reads of each row in place of the tokens before its first supervised one, end to end.
    contexts: Vec<u32>,
    /// Where those of each row are; empty where the teacher reads the same.
    context_of: Vec<Range<usize>>,
    /// The loss of each, term by term, as the pass found it.
    pub(crate) losses: Vec<f32>,
}

impl SupervisedBatch {
    /// Rows end to end, each with its number, in place of what was there.
    pub(crate) fn fill(&mut self, rows: &[(u32, TokenRow)]) {
        self.pass.clear();
        self.chosen.clear();
        self.targets.clear();
        self.weights.clear();
        self.is_own = false;
        self.contexts.clear();
        self.context_of.clear();
        for (number, row) in rows {
            self.context_of.push(self.contexts.len()..self.contexts.len() + row.context.len());
            self.contexts.extend_from_slice(&row.context);
            let start = self.pass.len() as u32;
            self.pass.push(*number, &row.ids);
            for (t, (&id, &weight)) in row.ids.iter().zip(&row.weights).enumerate().skip(1) {
                if weight != 0.0 {
                    self.chosen.push(start + t as u32 - 1);
                    self.targets.push(id);
                    self.weights.push(weight);
                }
            }
        }
    }

    /// The largest pass of a run: one row in which every token counts.
    pub(crate) fn fill_largest(&mut self, tokens: usize) {
        let info = RowInfo {
            tokens: tokens as u32,
            supervised: tokens as u32,
            example: 0,
            prompt_key: PromptKey(0),
            file_index: 0,
            line: 0,
        };
        self.fill(&[(0, TokenRow { ids: vec![0; tokens], weights: vec![1.0; tokens], context: Vec::new(), info })]);
    }

    /// Which of `chosen` lie in some tokens of the pass.
    pub(crate) fn chosen_in(&self, tokens: &Range<usize>) -> Range<usize> {
        let first = |end: usize| self.chosen.partition_point(|&place| (place as usize) < end);
        first(tokens.start)..first(tokens.end)
    }

    /// A row of the pass, by its place among them, as a teacher reads it: its own tokens before the answer, which may be none, and the
    /// place of the pass from which on it reads the student's.
    pub(crate) fn teacher_row(&self, row: usize) -> (&[u32], usize) {
        let tokens = &self.pass.rows[row];
        // A batch that a caller put together has no contexts.
        let context = self.context_of.get(row).map_or(&[][..], |place| &self.contexts[place.clone()]);
        let first = self.chosen.get(self.chosen_in(tokens).start).map_or(tokens.start, |&chosen| chosen as usize + 1);
        (context, if context.is_empty() { tokens.start } else { first })
    }

    /// The summed loss of each row of the pass, all terms together, and its supervised tokens.
    pub fn row_losses(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let count = self.chosen.len();
        self.pass.rows.iter().map(move |tokens| {
            let chosen = self.chosen_in(tokens);
            let terms = self.losses.chunks_exact(count.max(1));
            let sum = terms.flat_map(|term| &term[chosen.clone()]).map(|&loss| f64::from(loss)).sum();
            (sum, chosen.len() as u64)
        })
    }
}
