//! Which rows of one prompt are kept, where there are several: of the right answers those that are wanted (rejection sampling),
//! and of all rows no more than a number.

use std::collections::HashMap;

use super::{JudgedRow, Keep, Reason, drop_row, shuffled};
use aludel_data::dataset::PromptKey;
use aludel_verify::Verdict;

/// Leaves of the right answers to each prompt those that are wanted.
pub(super) fn of_right_answers(rows: &mut [JudgedRow], keep: Keep, seed: u64) {
    let wanted = match keep {
        Keep::All => return,
        Keep::Shortest => 1,
        Keep::Count(count) => count as usize,
    };
    let mut right_rows: HashMap<PromptKey, Vec<usize>> = HashMap::new();
    for (number, row) in rows.iter().enumerate() {
        if row.is_kept() && row.verdict == Some(Verdict::Right) {
            right_rows.entry(row.prompt).or_default().push(number);
        }
    }
    for mut numbers in right_rows.into_values().filter(|numbers| numbers.len() > wanted) {
        match keep {
            Keep::Shortest => numbers.sort_by_key(|number| (rows[*number].learnt_bytes, *number)),
            _ => numbers.sort_by_key(|number| shuffled(rows[*number].hash, seed)),
        }
        let detail = format!("its prompt has {} right answers, and {wanted} is wanted", numbers.len());
        for number in &numbers[wanted..] {
            drop_row(&mut rows[*number], Reason::NotChosen, detail.clone());
        }
    }
}

/// Keeps at most `most` rows of each prompt, correct ones first.
pub(super) fn of_prompts(rows: &mut [JudgedRow], most: u64, seed: u64) {
    let mut rows_of: HashMap<PromptKey, Vec<usize>> = HashMap::new();
    for (number, row) in rows.iter().enumerate().filter(|(_, row)| row.is_kept()) {
        rows_of.entry(row.prompt).or_default().push(number);
    }
    for mut numbers in rows_of.into_values().filter(|numbers| numbers.len() as u64 > most) {
        numbers
            .sort_by_key(|number| (rows[*number].verdict != Some(Verdict::Right), shuffled(rows[*number].hash, seed)));
        let detail = format!("its prompt has {} rows, and {most} are wanted at most", numbers.len());
        for number in &numbers[most as usize..] {
            drop_row(&mut rows[*number], Reason::PromptCap, detail.clone());
        }
    }
}
