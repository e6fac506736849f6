//! Duplicates of earlier rows: exact ones by a hash of the complete row, or near-duplicates (see `near_duplicates`). The first of them is
//! kept.

use std::collections::HashMap;

use super::near_duplicates::{BandLayout, MinHashIndex, Sketch};
use super::{JudgedRow, Options, Reason, drop_row};

/// The rows so far, to compare the next with.
pub(super) struct Comparison {
    seen: Option<HashMap<u128, u32>>,
    near: Option<MinHashIndex>,
}

impl Comparison {
    pub(super) fn new(options: &Options) -> Comparison {
        let near =
            options.near_duplicates.map(|threshold| MinHashIndex::new(threshold, BandLayout::for_threshold(threshold)));
        Comparison { seen: options.duplicates.then(HashMap::new), near }
    }

    pub(super) fn compare(&mut self, number: u32, row: &mut JudgedRow, sketch: Option<Sketch>) {
        if let Some(seen) = &mut self.seen {
            let first = *seen.entry(row.hash).or_insert(number);
            if first != number {
                return drop_row(row, Reason::Duplicate, format!("it says the same as row {}", first + 1));
            }
        }
        if let (Some(near), Some(sketch)) = (&mut self.near, sketch)
            && let Some((first, similarity)) = near.find_or_keep(number, sketch)
        {
            let detail = format!("{:.0}% of it stands in row {}", 100.0 * similarity, first + 1);
            drop_row(row, Reason::NearDuplicate, detail);
        }
    }
}
