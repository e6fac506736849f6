//! The maximum row length: turns `train.max_length = "auto"` into a number, and describes the rows that a length excludes. Training and
//! `inspect` both use it. The caller plans the memory of a length.

use aludel_files::{counted, grouped};

use crate::error::{Error, Result};
use crate::settings::{LongRows, MaxLength, Recipe};

/// "auto" keeps this share of the rows.
const KEPT_SHARE: f64 = 0.99;
/// Where memory is the bound, lengths are multiples of this, so that a little more or less free memory changes nothing.
const STEP: usize = 256;

/// What bounds the length of a row beside the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Positions of the student.
    pub positions: usize,
    /// Tokens for whose pass the memory suffices; `None` where that is not known.
    pub memory: Option<usize>,
}

/// How long the rows of a run are, before any is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Those to train on, of which some may be held back.
    pub train: Vec<u32>,
    /// Those of files to evaluate on.
    pub evaluation: Vec<u32>,
}

/// The number that `train.max_length` becomes for rows of these lengths. `fits` says whether the memory suffices for a pass of so
/// many tokens; it is asked where the data decides.
pub fn settle(
    max_length: MaxLength,
    lengths: &Lengths,
    positions: usize,
    fits: &mut dyn FnMut(usize) -> bool,
) -> usize {
    if let Some(tokens) = max_length.tokens() {
        return tokens;
    }
    // Each by itself: a few rows to evaluate on would be no hundredth of all, and might be those that are long.
    let wanted = [&lengths.train, &lengths.evaluation].map(|lengths| length_that_keeps(KEPT_SHARE, lengths));
    let wanted = wanted[0].max(wanted[1]).clamp(2, positions.max(2));
    match fits(wanted) {
        true => wanted,
        false => longest_that_fits(wanted, fits),
    }
}

/// The longest multiple of `STEP` below `most` that fits; the step itself where none does.
pub fn longest_that_fits(most: usize, fits: &mut dyn FnMut(usize) -> bool) -> usize {
    let (mut low, mut high) = (1, most.div_ceil(STEP).max(1));
    while high - low > 1 {
        let middle = low.midpoint(high);
        if fits(middle * STEP) { low = middle } else { high = middle }
    }
    low * STEP
}

/// The smallest length that keeps this share of the rows.
fn length_that_keeps(share: f64, lengths: &[u32]) -> usize {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    // 0.99 × 100 must be 99 even where the product comes out a hair above.
    let rows = (share * sorted.len() as f64 - 1e-9).ceil() as usize;
    sorted.get(rows.saturating_sub(1)).map_or(0, |&length| length as usize)
}

/// What rows are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be trained on, or held back from that.
    Train,
    /// To be evaluated on, from files of their own.
    Evaluate,
}

/// What a length leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludedRows {
    purpose: Purpose,
    /// Rows in all.
    pub rows: usize,
    /// Rows that are longer.
    pub too_long: usize,
    max_length: usize,
    by_memory: bool,
    /// Another length, and how many rows it would keep.
    instead: Option<(usize, usize)>,
}

impl ExcludedRows {
    /// What `max_length` leaves out of the rows of a run, by what they are for; nothing where none is longer. `is_auto` says that the
    /// number is not the user's.
    pub fn all(lengths: &Lengths, max_length: usize, is_auto: bool, bounds: Bounds) -> Vec<ExcludedRows> {
        let of = |purpose, lengths: &[u32]| ExcludedRows::of(purpose, lengths, max_length, is_auto, bounds);
        let found = [of(Purpose::Train, &lengths.train), of(Purpose::Evaluate, &lengths.evaluation)];
        found.into_iter().flatten().collect()
    }

    fn of(purpose: Purpose, lengths: &[u32], max_length: usize, is_auto: bool, bounds: Bounds) -> Option<ExcludedRows> {
        let kept_by = |length: usize| lengths.iter().filter(|&&tokens| tokens as usize <= length).count();
        let (rows, kept) = (lengths.len(), kept_by(max_length));
        if kept == rows {
            return None;
        }
        let [usual, longest] = [KEPT_SHARE, 1.0].map(|share| length_that_keeps(share, lengths));
        let most = bounds.memory.map_or(bounds.positions, |memory| memory.min(bounds.positions));
        // All rows if that is possible, else nearly all.
        let instead = [longest, usual, most].into_iter().find(|&length| length <= most);
        let instead = instead.map(|length| (length, kept_by(length))).filter(|&(_, other)| other > kept);
        let by_memory = is_auto && max_length < usual.min(bounds.positions);
        Some(ExcludedRows { purpose, rows, too_long: rows - kept, max_length, by_memory, instead })
    }

    /// The share of rows that is left out.
    pub fn share(&self) -> f64 {
        self.too_long as f64 / self.rows.max(1) as f64
    }

    /// In words: "72 of 144 rows (50%) left out, longer than …; --max-length 6000 keeps 143".
    pub fn describe(&self) -> String {
        let instead = self.instead().map(|instead| format!("; {instead}")).unwrap_or_default();
        format!("{} left out, longer than {}{instead}", self.counts(), self.limit())
    }

    /// How many rows of how many: "72 of 144 rows (50%)".
    fn counts(&self) -> String {
        let percent = 100.0 * self.share();
        let percent = if percent < 1.0 { "less than 1".to_owned() } else { format!("{percent:.0}") };
        let rows = counted(self.rows as u64, "row", "rows");
        let purpose = match self.purpose {
            Purpose::Train => "",
            Purpose::Evaluate => " to evaluate on",
        };
        format!("{} of {rows}{purpose} ({percent}%)", grouped(self.too_long))
    }

    fn limit(&self) -> String {
        let why = if self.by_memory { ", for which the memory suffices" } else { "" };
        format!("train.max_length = {}{why}", self.max_length)
    }

    /// What would keep more rows.
    fn instead(&self) -> Option<String> {
        match self.instead {
            Some((length, kept)) if kept == self.rows => Some(format!("--max-length {length} keeps all")),
            Some((length, kept)) => Some(format!("--max-length {length} keeps {}", grouped(kept))),
            None => self.by_memory.then(|| "--set train.gradient_checkpointing=true needs less memory".to_owned()),
        }
    }

    /// Refuses to train where more rows are left out than the recipe allows, whatever they are for.
    ///
    /// # Errors
    /// [`Error::RowsLeftOut`] with the counts and what would keep more.
    pub fn check(&self, recipe: &Recipe) -> Result<()> {
        let allowed = recipe.data.max_rows_left_out;
        if recipe.data.long_rows == LongRows::Truncate || self.share() <= allowed {
            return Ok(());
        }
        let needed = (self.share() * 100.0).ceil() / 100.0;
        let purpose = match self.purpose {
            Purpose::Train => "train",
            Purpose::Evaluate => "evaluate",
        };
        let without = (self.too_long < self.rows)
            .then(|| format!("--set data.max_rows_left_out={needed} continues to {purpose} without these rows"));
        let ways: Vec<String> = self.instead().into_iter().chain(without).collect();
        let mend = if ways.is_empty() { String::new() } else { format!("; {}", ways.join(", or ")) };
        let are = if self.too_long == 1 { "is" } else { "are" };
        let what = format!("{} {are} longer than {}", self.counts(), self.limit());
        Err(Error::RowsLeftOut { what, allowed, percent: 100.0 * allowed, mend })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Bounds = Bounds { positions: 8192, memory: None };

    fn always(_: usize) -> bool {
        true
    }

    fn to_train(lengths: &[u32]) -> Lengths {
        Lengths { train: lengths.to_vec(), evaluation: Vec::new() }
    }

    #[test]
    fn auto_keeps_99_of_100_rows() {
        let settle = |lengths: &[u32], positions| settle(MaxLength::AUTO, &to_train(lengths), positions, &mut always);
        let hundred: Vec<u32> = (1..=100).rev().map(|n| 10 * n).collect();
        assert_eq!(settle(&hundred, 8192), 990);
        assert_eq!(settle(&hundred, 500), 500);
        assert_eq!(settle(&hundred[..20], 8192), 1000, "of few rows none is left out");
        assert_eq!(settle(&[], 8192), 2);
        let never = &mut |_| panic!("a given number is taken");
        assert_eq!(super::settle(MaxLength::Tokens(7), &to_train(&hundred), 8192, never), 7);
    }

    #[test]
    fn auto_keeps_rows_to_evaluate_on_however_few_they_are() {
        let lengths = |evaluation: &[u32]| Lengths { train: vec![100; 1000], evaluation: evaluation.to_vec() };
        let settle = |lengths: &Lengths| settle(MaxLength::AUTO, lengths, 8192, &mut always);
        assert_eq!([settle(&lengths(&[300, 200])), settle(&lengths(&[50]))], [300, 100]);
        let left_out = ExcludedRows::all(&lengths(&[300, 200, 90]), 150, false, EVERY);
        let [left_out] = left_out.as_slice() else { panic!("{left_out:?}") };
        assert_eq!(
            left_out.describe(),
            "2 of 3 rows to evaluate on (67%) left out, longer than train.max_length = 150; --max-length 300 keeps all"
        );
        let error = left_out.check(&Recipe::default()).unwrap_err().to_string();
        assert!(error.ends_with("; --max-length 300 keeps all, or --set data.max_rows_left_out=0.67 continues to evaluate without these rows"), "{error}");
        let both = Lengths { train: vec![200, 100], evaluation: vec![300] };
        let told: Vec<String> =
            ExcludedRows::all(&both, 150, false, EVERY).iter().map(|left_out| left_out.describe()).collect();
        assert!(told.len() == 2 && told[0].starts_with("1 of 2 rows (50%)"), "{told:?}");
        assert!(told[1].starts_with("1 of 1 row to evaluate on (100%)"), "{told:?}");
    }

    #[test]
    fn memory_bounds_it() {
        let lengths = to_train(&[5000; 10]);
        let within = |memory: usize| settle(MaxLength::AUTO, &lengths, 8192, &mut |tokens| tokens <= memory);
        assert_eq!([within(5000), within(4999), within(3000), within(100)], [5000, 4864, 2816, 256]);
    }

    #[test]
    fn what_is_left_out_is_told_with_what_would_keep_it() {
        let told = |lengths: &[u32], max_length, is_auto, bounds| {
            ExcludedRows::of(Purpose::Train, lengths, max_length, is_auto, bounds).map(|left_out| left_out.describe())
        };
        let lengths: Vec<u32> = (0..144)
            .map(|n| {
                if n < 72 {
                    1500
                } else if n < 143 {
                    6000
                } else {
                    9000
                }
            })
            .collect();
        assert_eq!(
            told(&lengths, 2048, false, EVERY).unwrap(),
            "72 of 144 rows (50%) left out, longer than train.max_length = 2048; --max-length 6000 keeps 143"
        );
        assert_eq!(told(&lengths, 9000, false, EVERY), None);
        let small = Bounds { memory: Some(4096), ..EVERY };
        assert_eq!(
            told(&lengths, 4096, true, small).unwrap(),
            "72 of 144 rows (50%) left out, longer than train.max_length = 4096, for which the memory suffices; \
             --set train.gradient_checkpointing=true needs less memory"
        );
        let long = Bounds { positions: 131_072, memory: None };
        assert_eq!(
            told(&lengths, 6000, true, long).unwrap(),
            "1 of 144 rows (less than 1%) left out, longer than train.max_length = 6000; --max-length 9000 keeps all"
        );
        assert_eq!(
            told(&[10, 20], 15, false, Bounds { positions: 30, memory: None }).unwrap(),
            "1 of 2 rows (50%) left out, longer than train.max_length = 15; --max-length 20 keeps all"
        );
    }

    #[test]
    fn more_than_the_recipe_allows_is_refused() {
        let left_out = ExcludedRows::of(Purpose::Train, &[10, 20, 30], 20, false, EVERY).unwrap();
        let mut recipe = Recipe::default();
        let error = left_out.check(&recipe).unwrap_err().to_string();
        assert_eq!(
            error,
            "1 of 3 rows (33%) is longer than train.max_length = 20: at most 20% of the rows may be left out \
             (data.max_rows_left_out = 0.2); --max-length 30 keeps all, or --set data.max_rows_left_out=0.34 continues to train \
             without these rows"
        );
        recipe.data.max_rows_left_out = 0.34;
        left_out.check(&recipe).unwrap();
    }
}
