//! How long a row may be: `train.max_length = "auto"` made a number, and what a number leaves out, in words. Training and `inspect`
//! ask here, so that both say the same. How much memory a length takes is asked of whoever can plan a pass.

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

/// The number that `train.max_length` becomes for rows of these lengths. `fits` says whether the memory suffices for a pass of so
/// many tokens; it is asked where the data decides.
pub fn settle(max_length: MaxLength, lengths: &[u32], positions: usize, fits: &mut dyn FnMut(usize) -> bool) -> usize {
    if let Some(tokens) = max_length.tokens() {
        return tokens;
    }
    let wanted = length_that_keeps(KEPT_SHARE, lengths).clamp(2, positions.max(2));
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

/// What a length leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Rows in all.
    pub rows: usize,
    /// Rows that are longer.
    pub too_long: usize,
    max_length: usize,
    by_memory: bool,
    /// Another length, and how many rows it would keep.
    instead: Option<(usize, usize)>,
}

impl LeftOut {
    /// Of rows of these lengths, those longer than `max_length`; `None` if there are none. `is_auto` says that the number is not the
    /// user's.
    pub fn of(lengths: &[u32], max_length: usize, is_auto: bool, bounds: Bounds) -> Option<LeftOut> {
        let kept_by = |length: usize| lengths.iter().filter(|&&tokens| tokens as usize <= length).count();
        let (rows, kept) = (lengths.len(), kept_by(max_length));
        if kept == rows {
            return None;
        }
        let usual = length_that_keeps(KEPT_SHARE, lengths);
        let wanted = if usual > max_length { usual } else { length_that_keeps(1.0, lengths) };
        let most = bounds.memory.map_or(bounds.positions, |memory| memory.min(bounds.positions));
        // A round number where there is one.
        let instead = [wanted.next_power_of_two(), wanted, most].into_iter().find(|&length| length <= most);
        let instead = instead.map(|length| (length, kept_by(length))).filter(|&(_, other)| other > kept);
        let by_memory = is_auto && max_length < usual.min(bounds.positions);
        Some(LeftOut { rows, too_long: rows - kept, max_length, by_memory, instead })
    }

    /// The share of rows that is left out.
    pub fn share(&self) -> f64 {
        self.too_long as f64 / self.rows.max(1) as f64
    }

    /// In words: "72 of 144 rows (50%) left out, longer than …; --max-length 8192 keeps 143".
    pub fn told(&self) -> String {
        let LeftOut { rows, too_long, max_length, by_memory, instead } = self;
        let percent = 100.0 * self.share();
        let percent = if percent < 1.0 { "less than 1".to_owned() } else { format!("{percent:.0}") };
        let why = if *by_memory { ", for which the memory suffices" } else { "" };
        let instead = match instead {
            Some((length, kept)) if kept == rows => format!("; --max-length {length} keeps all"),
            Some((length, kept)) => format!("; --max-length {length} keeps {kept}"),
            None if *by_memory => "; --set train.gradient_checkpointing=true needs less memory".to_owned(),
            None => String::new(),
        };
        format!(
            "{too_long} of {rows} rows ({percent}%) left out, longer than train.max_length = {max_length}{why}{instead}"
        )
    }

    /// Refuses to train where more rows are left out than the recipe allows.
    ///
    /// # Errors
    /// [`Error::RowsLeftOut`] with the counts and what would keep more.
    pub fn check(&self, recipe: &Recipe) -> Result<()> {
        let allowed = recipe.data.max_rows_left_out;
        if recipe.data.long_rows == LongRows::Truncate || self.share() <= allowed {
            return Ok(());
        }
        let needed = (self.share() * 100.0).ceil() / 100.0;
        let mend = match self.too_long == self.rows {
            true => String::new(),
            false => format!("; to train without these rows, --set data.max_rows_left_out={needed}"),
        };
        Err(Error::RowsLeftOut { told: self.told(), allowed, mend })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Bounds = Bounds { positions: 8192, memory: None };

    fn always(_: usize) -> bool {
        true
    }

    #[test]
    fn auto_keeps_99_of_100_rows() {
        let settle = |lengths: &[u32], positions| settle(MaxLength::AUTO, lengths, positions, &mut always);
        let hundred: Vec<u32> = (1..=100).rev().map(|n| 10 * n).collect();
        assert_eq!(settle(&hundred, 8192), 990);
        assert_eq!(settle(&hundred, 500), 500);
        assert_eq!(settle(&hundred[..20], 8192), 1000, "of few rows none is left out");
        assert_eq!(settle(&[], 8192), 2);
        assert_eq!(super::settle(MaxLength::Tokens(7), &hundred, 8192, &mut |_| panic!("a given number is taken")), 7);
    }

    #[test]
    fn memory_bounds_it() {
        let lengths = [5000; 10];
        let within = |memory: usize| settle(MaxLength::AUTO, &lengths, 8192, &mut |tokens| tokens <= memory);
        assert_eq!([within(5000), within(4999), within(3000), within(100)], [5000, 4864, 2816, 256]);
    }

    #[test]
    fn what_is_left_out_is_told_with_what_would_keep_it() {
        let told = |lengths: &[u32], max_length, is_auto, bounds| {
            LeftOut::of(lengths, max_length, is_auto, bounds).map(|left_out| left_out.told())
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
            "72 of 144 rows (50%) left out, longer than train.max_length = 2048; --max-length 8192 keeps 143"
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
            "1 of 144 rows (less than 1%) left out, longer than train.max_length = 6000; --max-length 16384 keeps all"
        );
        assert_eq!(
            told(&[10, 20], 15, false, Bounds { positions: 30, memory: None }).unwrap(),
            "1 of 2 rows (50%) left out, longer than train.max_length = 15; --max-length 20 keeps all"
        );
    }

    #[test]
    fn more_than_the_recipe_allows_is_refused() {
        let left_out = LeftOut::of(&[10, 20, 30], 20, false, EVERY).unwrap();
        let mut recipe = Recipe::default();
        let error = left_out.check(&recipe).unwrap_err().to_string();
        assert!(error.contains("1 of 3 rows (33%)") && error.contains("data.max_rows_left_out=0.34"), "{error}");
        recipe.data.max_rows_left_out = 0.34;
        left_out.check(&recipe).unwrap();
    }
}
