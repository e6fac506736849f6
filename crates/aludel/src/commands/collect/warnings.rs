//! Deduplicates warnings of teachers: the first of each kind is printed at once, the others are counted, and the counts are printed at the
//! end. The texts are written by the callers.

use serde_json::{Value, json};

/// Maximum number of different warnings that are printed: a server may word each one anew.
const MOST: usize = 32;

/// The warnings of a command so far.
#[derive(Default)]
pub(crate) struct Warnings {
    /// What all of a kind have in common, and how many there were.
    kinds: Vec<(String, u64)>,
    /// Those of further kinds.
    others: u64,
}

impl Warnings {
    /// Counts a warning. Returns whether it is the first of its kind and should be printed.
    pub(crate) fn is_first(&mut self, kind: &str) -> bool {
        let is_new = self.kinds.iter().all(|(known, _)| known != kind);
        if is_new && self.kinds.len() < MOST {
            self.kinds.push((kind.to_owned(), 1));
            return true;
        }
        match self.kinds.iter_mut().find(|(known, _)| known == kind) {
            Some((_, count)) => *count += 1,
            None => self.others += 1,
        }
        false
    }

    /// What came more than once, a line each.
    pub(crate) fn repeated(&self) -> Vec<String> {
        let repeated = self.kinds.iter().filter(|(_, count)| *count > 1);
        let lines = repeated.map(|(kind, count)| format!("{count} times: {kind}"));
        lines.chain((self.others > 0).then(|| format!("{} further warnings, worded otherwise", self.others))).collect()
    }

    /// All of them with their counts.
    pub(crate) fn json(&self) -> Value {
        let told = self.kinds.iter().map(|(kind, count)| json!({ "warning": kind, "count": count }));
        let others = (self.others > 0).then(|| json!({ "warning": null, "count": self.others }));
        told.chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_counted() {
        let mut warnings = Warnings::default();
        assert!(warnings.is_first("busy") && warnings.is_first("gone") && !warnings.is_first("busy"));
        assert_eq!(warnings.repeated(), ["2 times: busy"]);
        let told = (0..MOST + 10).filter(|number| warnings.is_first(&format!("request {number}"))).count();
        assert_eq!(told, MOST - 2);
        assert_eq!(warnings.repeated(), ["2 times: busy", "12 further warnings, worded otherwise"]);
        let json = warnings.json();
        assert_eq!(
            (&json[0], &json[MOST]),
            (&json!({"warning": "busy", "count": 2}), &json!({"warning": null, "count": 12}))
        );
    }
}
