//! Clusters of problems that differ only in wording: `x`, `x#2`, `x#3`, as a task names rows with the same id. A model that solves one is
//! likely to solve the others, so a confidence interval counts a cluster as one problem.

use std::collections::{HashMap, HashSet};

/// For each id the number of its problem, counted from 0 in order of first appearance. `x#2` belongs to `x` only where `x` is there:
/// a file may have such names of its own.
pub(super) fn problems<'a>(ids: &[&'a str]) -> Vec<usize> {
    let known: HashSet<&str> = ids.iter().copied().collect();
    let mut numbers: HashMap<&'a str, usize> = HashMap::new();
    let problem = |id: &'a str| match id.rsplit_once('#') {
        Some((problem, wording)) if known.contains(problem) && wording.parse::<u32>().is_ok_and(|n| n >= 2) => problem,
        _ => id,
    };
    ids.iter()
        .map(|&id| {
            let next = numbers.len();
            *numbers.entry(problem(id)).or_insert(next)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_are_the_same_problem() {
        assert_eq!(problems(&["a", "b", "a#2", "a#3", "b#2", "c"]), [0, 1, 0, 0, 1, 2]);
        assert_eq!(problems(&["q#1", "q#2", "q#x", "q#02"]), [0, 1, 2, 3], "names of the file's own");
        assert_eq!(problems(&["a#2", "a"]), [0, 0], "in any order");
    }
}
