//! Selects the rows of an optimiser step and divides a step into passes. Everything is a function of settings, seed and row lengths: there
//! is no state, so a resumed run continues with exactly the next rows. `learner` computes a pass.

use aludel_kernels::rng;

use crate::settings::{Interval, TrainSettings};

/// The order of a run: which rows each step takes.
pub struct Plan {
    train: Vec<u32>,
    lengths: Vec<u32>,
    bin_tokens: Option<usize>,
    units_per_step: usize,
    seed: u64,
    steps_per_epoch: u64,
    total_steps: u64,
    epoch: Option<(u64, Vec<Vec<u32>>)>,
}

impl Plan {
    /// For the rows numbered `train`, whose lengths are `lengths[row]`.
    pub fn new(settings: &TrainSettings, train: &[u32], lengths: &[u32]) -> Plan {
        let units_per_step = settings.rows_per_step();
        let mut plan = Plan {
            train: train.to_vec(),
            lengths: lengths.to_vec(),
            bin_tokens: settings.packing.then_some(settings.max_length.limit()),
            units_per_step,
            seed: settings.seed,
            steps_per_epoch: 0,
            total_steps: 0,
            epoch: None,
        };
        // With packing, epochs may need slightly different numbers of bins; the first one sets the length of the run.
        plan.steps_per_epoch = (plan.units(0).len().div_ceil(units_per_step) as u64).max(1);
        let by_epochs = (settings.num_train_epochs * plan.steps_per_epoch as f64).ceil() as u64;
        plan.total_steps = settings.max_steps.unwrap_or(by_epochs).max(1);
        plan
    }

    /// Optimiser steps of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// Optimiser steps of the run.
    pub fn total_steps(&self) -> u64 {
        self.total_steps
    }

    /// The rows of step `step` (from 0), in order.
    pub fn rows(&mut self, step: u64) -> Vec<u32> {
        let (epoch, within) = (step / self.steps_per_epoch, (step % self.steps_per_epoch) as usize);
        if self.epoch.as_ref().is_none_or(|(number, _)| *number != epoch) {
            self.epoch = Some((epoch, self.units(epoch)));
        }
        let units = self.epoch.as_ref().map_or(&[][..], |(_, units)| units);
        let start = (within * self.units_per_step).min(units.len());
        let is_last = within as u64 + 1 == self.steps_per_epoch;
        let end = if is_last { units.len() } else { (start + self.units_per_step).min(units.len()) };
        // An epoch that packs tighter than the first one has no bins left for its last step: it takes the last again.
        let range = if start == end { units.len().saturating_sub(1)..units.len() } else { start..end };
        units[range].concat()
    }

    /// The units (rows, or bins of rows) of an epoch, in its order.
    fn units(&self, epoch: u64) -> Vec<Vec<u32>> {
        let key = rng::mix(rng::mix(self.seed, 0x6f72_6465), epoch);
        let mut order = self.train.clone();
        order.sort_by_key(|&row| (rng::mix(key, u64::from(row)), row));
        match self.bin_tokens {
            None => order.into_iter().map(|row| vec![row]).collect(),
            Some(capacity) => pack(&order, &self.lengths, capacity),
        }
    }
}

/// Bins that are open at once: enough to fill them well, few enough that rows stay near their place in the order.
const OPEN_BINS: usize = 64;

/// Best fit, in order: each row goes to the open bin that it fills most, and the fullest bin is closed when too many are open.
fn pack(order: &[u32], lengths: &[u32], capacity: usize) -> Vec<Vec<u32>> {
    let mut open: Vec<(usize, Vec<u32>)> = Vec::new();
    let mut closed = Vec::new();
    for &row in order {
        let length = lengths[row as usize] as usize;
        let fitting = open.iter_mut().filter(|(used, _)| used + length <= capacity).max_by_key(|(used, _)| *used);
        match fitting {
            Some((used, rows)) => {
                *used += length;
                rows.push(row);
            }
            None => open.push((length, vec![row])),
        }
        if open.len() > OPEN_BINS
            && let Some(fullest) = (0..open.len()).max_by_key(|&bin| open[bin].0)
        {
            closed.push(open.remove(fullest).1);
        }
    }
    closed.extend(open.into_iter().map(|(_, rows)| rows));
    closed
}

/// Cuts rows into passes of at most `tokens_per_pass` tokens, in order; a longer row is a pass of its own.
pub fn passes(rows: &[u32], lengths: &[u32], tokens_per_pass: usize) -> Vec<Vec<u32>> {
    let mut passes: Vec<Vec<u32>> = Vec::new();
    let mut used = 0;
    for &row in rows {
        let length = lengths[row as usize] as usize;
        match passes.last_mut() {
            Some(pass) if used + length <= tokens_per_pass => {
                pass.push(row);
                used += length;
            }
            _ => {
                passes.push(vec![row]);
                used = length;
            }
        }
    }
    passes
}

/// The tokens of the largest passes of a run: with a backward, and without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPassTokens {
    /// To be trained on.
    pub train: usize,
    /// To be evaluated on.
    pub evaluation: usize,
}

impl MaxPassTokens {
    /// Maximum number of rows that are examined step by step: among this many, the largest pass is about as large as it can be.
    const MOST_ROWS: usize = 1 << 18;

    /// Of the steps that a run takes from step `from` (from 0) on, and of its evaluations on the rows numbered `test`. Rows that no step
    /// comes to are no matter of memory.
    pub fn of(settings: &TrainSettings, plan: &mut Plan, test: &[u32], from: u64) -> MaxPassTokens {
        let length = |row: &u32| plan.lengths[*row as usize] as usize;
        let longest = plan.train.iter().map(length).max().unwrap_or(0);
        let test = if settings.eval_strategy == Interval::No { &[] } else { test };
        let evaluation = largest_pass(test, &plan.lengths, settings.tokens_per_pass);
        let (mut train, mut rows, mut step) = (0, 0, from);
        while step < plan.total_steps && rows < Self::MOST_ROWS {
            let taken = plan.rows(step);
            train = train.max(largest_pass(&taken, &plan.lengths, settings.tokens_per_pass));
            (rows, step) = (rows + taken.len(), step + 1);
        }
        if step < plan.total_steps {
            train = train.max(longest);
        }
        MaxPassTokens { train, evaluation }
    }

    /// The same where the student writes answers itself at some steps: its rows may be as long as rows may be at all.
    #[must_use]
    pub fn with_own_answers(self, settings: &TrainSettings) -> MaxPassTokens {
        let longest = settings.max_length.tokens().unwrap_or(0);
        MaxPassTokens { train: self.train.max(longest).max(settings.tokens_per_pass), ..self }
    }
}

/// The tokens of the largest pass of these rows.
fn largest_pass(rows: &[u32], lengths: &[u32], tokens_per_pass: usize) -> usize {
    let tokens = |pass: &Vec<u32>| pass.iter().map(|&row| lengths[row as usize] as usize).sum();
    passes(rows, lengths, tokens_per_pass).iter().map(tokens).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::MaxLength;

    fn settings(packing: bool) -> TrainSettings {
        TrainSettings {
            per_device_train_batch_size: 2,
            gradient_accumulation_steps: 2,
            num_train_epochs: 2.0,
            max_length: MaxLength::Tokens(100),
            packing,
            ..TrainSettings::default()
        }
    }

    #[test]
    fn every_row_comes_once_an_epoch_in_an_order_of_its_own() {
        for packing in [false, true] {
            let train: Vec<u32> = (0..50).filter(|row| row % 5 != 0).collect();
            let lengths: Vec<u32> = (0..50).map(|row| 10 + row * 7 % 60).collect();
            let mut plan = Plan::new(&settings(packing), &train, &lengths);
            let epoch = |plan: &mut Plan, number: u64| -> Vec<u32> {
                (0..plan.steps_per_epoch()).flat_map(|s| plan.rows(number * plan.steps_per_epoch() + s)).collect()
            };
            let (first, second) = (epoch(&mut plan, 0), epoch(&mut plan, 1));
            assert_ne!(first, second);
            for mut rows in [first.clone(), second] {
                rows.sort_unstable();
                rows.dedup();
                assert_eq!(rows, train, "packing {packing}");
            }
            // any step can be asked for out of order
            let mut again = Plan::new(&settings(packing), &train, &lengths);
            let last = again.total_steps() - 1;
            assert_eq!(again.rows(last), plan.rows(last));
            assert_eq!(again.rows(0), plan.rows(0));
            assert_eq!(plan.total_steps(), 2 * plan.steps_per_epoch());
        }
    }

    #[test]
    fn bins_hold_no_more_than_they_may_and_are_well_filled() {
        let lengths: Vec<u32> = (0..1000).map(|row| 10 + row * 37 % 400).collect();
        let order: Vec<u32> = (0..1000).collect();
        let bins = pack(&order, &lengths, 512);
        let sum = |bin: &Vec<u32>| bin.iter().map(|&row| lengths[row as usize] as usize).sum::<usize>();
        assert!(bins.iter().all(|bin| sum(bin) <= 512));
        assert_eq!(bins.iter().map(Vec::len).sum::<usize>(), 1000);
        let filled = bins.iter().map(sum).sum::<usize>() as f64 / (bins.len() * 512) as f64;
        assert!(filled >= 0.95, "{filled}");
    }

    #[test]
    fn passes_are_cut_by_tokens_and_long_rows_stand_alone() {
        let lengths = [5, 5, 5, 30, 4];
        assert_eq!(passes(&[0, 1, 2, 3, 4], &lengths, 10), [vec![0, 1], vec![2], vec![3], vec![4]]);
        assert!(passes(&[], &lengths, 10).is_empty());
    }

    #[test]
    fn the_largest_pass_is_of_rows_that_a_step_takes() {
        let lengths: Vec<u32> = (1..=50).map(|row| 10 * row).collect();
        let train: Vec<u32> = (0..48).collect();
        let of = |own: &TrainSettings, from| {
            let largest = MaxPassTokens::of(own, &mut Plan::new(own, &train, &lengths), &[48, 49], from);
            (largest.train, largest.evaluation)
        };
        let whole = TrainSettings { tokens_per_pass: 100, ..settings(false) };
        assert_eq!(of(&whole, 0), (480, 500), "each row comes in an epoch");
        let never = TrainSettings { eval_strategy: Interval::No, ..whole.clone() };
        assert_eq!(of(&never, 0), (480, 0));
        let (first, second) = (TrainSettings { max_steps: Some(1), ..whole.clone() }, Some(2));
        let mut plan = Plan::new(&first, &train, &lengths);
        let mut longest = |step| plan.rows(step).iter().map(|&row| lengths[row as usize] as usize).max().unwrap();
        let (one, two) = (longest(0), longest(1));
        assert!(one != two && one.max(two) < 480, "{one} {two}");
        assert_eq!(of(&first, 0).0, one);
        assert_eq!(of(&TrainSettings { max_steps: second, ..first }, 1).0, two, "a run that goes on");
        let together = TrainSettings { tokens_per_pass: 100_000, ..whole };
        assert_eq!(of(&together, 0).1, 990, "rows to evaluate on share a pass");
        assert_eq!(of(&together, 1000), (0, 990), "nothing is left to train on");
    }
}
