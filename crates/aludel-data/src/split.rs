//! Divides rows into train and test by their prompts: all rows of a prompt are on one side, and which side depends only on the
//! prompts and the seed, not on the order of files or rows. The rows stay with the caller.

use aludel_files::grouped;
use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::Error;
use crate::dataset::PromptKey;

/// How much of the data is held out for testing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TestSize {
    /// A share of the rows, between 0 and 1.
    Fraction(f64),
    /// A number of rows.
    Rows(u64),
}

impl TestSize {
    /// Reads `data.test_size` as scikit-learn and `datasets` do: below 1 a share, from 1 a number of rows.
    ///
    /// # Errors
    /// [`Error::TestSize`] for negative numbers, NaN, and fractions of a row.
    pub fn from_number(value: f64) -> Result<TestSize, Error> {
        match value {
            _ if (0.0..1.0).contains(&value) => Ok(TestSize::Fraction(value)),
            _ if value >= 1.0 && value.fract() == 0.0 && value < u64::MAX as f64 => Ok(TestSize::Rows(value as u64)),
            _ => Err(Error::TestSize {
                value: value.to_string(),
                reason: "it must be a share of the rows from 0 up to (not including) 1, or a whole number of rows"
                    .to_string(),
            }),
        }
    }

    /// The number of rows to hold out of `rows`; a share is rounded up, so that a small one still holds out a row.
    fn target_rows(self, rows: u64) -> u64 {
        match self {
            // 0.1 × 30 must be 3 even where the product is slightly larger, and 0.99 × 2 must leave one to train on.
            TestSize::Fraction(share) => {
                let target = (share * rows as f64 - 1e-9).ceil().max(0.0) as u64;
                if rows > 1 { target.min(rows - 1) } else { target }
            }
            TestSize::Rows(count) => count,
        }
    }
}

impl fmt::Display for TestSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TestSize::Fraction(share) => write!(formatter, "{share}"),
            TestSize::Rows(count) => write!(formatter, "{count}"),
        }
    }
}

/// Which prompts are held out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    test_prompts: HashSet<PromptKey>,
    test_rows: u64,
    train_rows: u64,
}

impl Split {
    /// Divides rows, given by the key of each row's prompt.
    ///
    /// Prompts are shuffled by the seed and assigned to the test side as long as they fit into its size, so that its size is as
    /// close to the requested one as prompts with several rows permit. If it is not 0, both sides get at least one prompt.
    ///
    /// # Errors
    /// [`Error::TestSize`] if rows are to be held out and all rows share one prompt, or if no rows are left to train on.
    pub fn by_prompt(
        prompts: impl IntoIterator<Item = PromptKey>,
        test_size: TestSize,
        seed: u64,
    ) -> Result<Split, Error> {
        let mut rows_of: HashMap<PromptKey, u64> = HashMap::new();
        for prompt in prompts {
            *rows_of.entry(prompt).or_default() += 1;
        }
        let rows: u64 = rows_of.values().sum();
        let target = test_size.target_rows(rows);
        if target == 0 {
            return Ok(Split { train_rows: rows, ..Split::default() });
        }
        let refuse = |reason: String| Err(Error::TestSize { value: test_size.to_string(), reason });
        if rows == 1 {
            return refuse(
                "there is one row, and it cannot be on both sides; set it to 0 or add other prompts".to_owned(),
            );
        }
        if rows_of.len() < 2 {
            return refuse(format!(
                "all {} rows ask the same prompt, and a prompt is never on both sides; set it to 0 or add other prompts",
                grouped(rows)
            ));
        }
        if target >= rows {
            return refuse(format!(
                "there are {} rows, so nothing would be left to train on; hold back fewer",
                grouped(rows)
            ));
        }
        Ok(Split::choose(rows_of, rows, target, seed))
    }

    /// Whether rows with this prompt are held out.
    pub fn is_test(&self, prompt: PromptKey) -> bool {
        self.test_prompts.contains(&prompt)
    }

    /// The number of held-out rows.
    pub fn test_rows(&self) -> u64 {
        self.test_rows
    }

    /// The number of rows to train on.
    pub fn train_rows(&self) -> u64 {
        self.train_rows
    }

    fn choose(rows_of: HashMap<PromptKey, u64>, rows: u64, target: u64, seed: u64) -> Split {
        let mut prompts: Vec<(u128, PromptKey, u64)> =
            rows_of.into_iter().map(|(prompt, rows)| (shuffled(prompt, seed), prompt, rows)).collect();
        prompts.sort_unstable();
        let mut test_rows = 0;
        let mut test_prompts = HashSet::new();
        let mut left_over = Vec::new();
        for (_, prompt, rows) in prompts {
            if test_rows + rows <= target {
                test_rows += rows;
                test_prompts.insert(prompt);
            } else {
                left_over.push((prompt, rows));
            }
        }
        // Fewer rows are missing than any remaining prompt has; the smallest may still come closer by exceeding the size, and must
        // be taken if the test side is empty.
        let smallest = left_over.iter().min_by_key(|(_, rows)| *rows);
        if let Some(&(prompt, extra)) = smallest
            && left_over.len() > 1
            && (test_rows == 0 || test_rows + extra - target < target - test_rows)
        {
            test_rows += extra;
            test_prompts.insert(prompt);
        }
        Split { test_prompts, test_rows, train_rows: rows - test_rows }
    }
}

/// The position of a prompt in the order of a seed.
fn shuffled(prompt: PromptKey, seed: u64) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"aludel split 1").update(&seed.to_le_bytes()).update(&prompt.0.to_le_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(group_rows: &[u64]) -> Vec<PromptKey> {
        group_rows.iter().enumerate().flat_map(|(key, &rows)| (0..rows).map(move |_| PromptKey(key as u128))).collect()
    }

    /// Splits groups of the given sizes and compares the number of held-out rows, for several seeds and orders.
    fn check(group_rows: &[u64], test_size: TestSize, wanted_test_rows: u64) {
        let rows = prompts(group_rows);
        let reversed: Vec<PromptKey> = rows.iter().rev().copied().collect();
        for seed in 0..20 {
            let split = Split::by_prompt(rows.iter().copied(), test_size, seed).unwrap();
            assert_eq!(split, Split::by_prompt(reversed.iter().copied(), test_size, seed).unwrap(), "order of rows");
            assert_eq!(split.test_rows(), wanted_test_rows, "{group_rows:?} {test_size} seed {seed}");
            assert_eq!(rows.iter().filter(|key| split.is_test(**key)).count() as u64, split.test_rows());
            assert_eq!(split.test_rows() + split.train_rows(), rows.len() as u64);
        }
    }

    #[test]
    fn test_side_has_the_asked_number_of_rows() {
        check(&[1; 30], TestSize::Fraction(0.1), 3);
        check(&[1; 489], TestSize::Fraction(0.1), 49);
        check(&[1; 2], TestSize::Fraction(0.1), 1);
        check(&[1; 2], TestSize::Fraction(0.99), 1);
        check(&[1; 10], TestSize::Rows(4), 4);
        check(&[1; 10], TestSize::Fraction(0.0), 0);
        check(&[5, 5], TestSize::Fraction(0.1), 5);
        check(&[2; 50], TestSize::Fraction(0.1), 10);
        check(&[9, 1], TestSize::Fraction(0.1), 1);
        check(&[100, 99], TestSize::Rows(1), 99);
        check(&[], TestSize::Fraction(0.0), 0);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let refused = |rows: &[u64], size| Split::by_prompt(prompts(rows), size, 0).unwrap_err().to_string();
        assert!(refused(&[3], TestSize::Fraction(0.1)).contains("all 3 rows ask the same prompt"));
        assert!(refused(&[1; 4], TestSize::Rows(4)).contains("there are 4 rows"));
        for value in [-0.1, 1.5, f64::NAN, f64::INFINITY] {
            assert!(TestSize::from_number(value).is_err(), "{value}");
        }
        assert_eq!(TestSize::from_number(0.1).unwrap(), TestSize::Fraction(0.1));
        assert_eq!(TestSize::from_number(3.0).unwrap(), TestSize::Rows(3));
    }

    #[test]
    fn seed_changes_the_choice() {
        let chosen = |seed| Split::by_prompt(prompts(&[1; 100]), TestSize::Fraction(0.1), seed).unwrap();
        assert_ne!(chosen(1), chosen(2));
    }
}
