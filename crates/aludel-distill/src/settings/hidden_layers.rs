//! `distill.hidden_layers`: which layers of a student learn the states of which layers of its teacher. The loss on them is a matter of
//! `objective`.

use aludel_settings::{Checker, Problem, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which layers of the student learn from which of the teacher. Layers are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HiddenLayers {
    /// By name.
    Named(NamedLayers),
    /// Every n-th layer of the student, counted back from the last.
    Every(#[schemars(range(min = 1, max = 1024))] usize),
    /// Pairs of a layer of the student and one of the teacher.
    Pairs(Vec<[usize; 2]>),
}

/// A choice of layers, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NamedLayers {
    /// Four layers at even distances, the last among them.
    Auto,
}

/// How many layers "auto" chooses.
const AUTO_PAIRS: usize = 4;
const KEY: &str = "distill.hidden_layers";

impl HiddenLayers {
    /// The default.
    pub const AUTO: HiddenLayers = HiddenLayers::Named(NamedLayers::Auto);

    /// The pairs [student, teacher] for models of so many layers, by the student's. Where only the student's are given, the teacher's are
    /// those at the same depth. `is_alone`: no other term of the loss reaches the layers above the last pair.
    ///
    /// # Errors
    /// A layer that does not exist, or layers that would learn nothing.
    pub fn pairs(&self, student: usize, teacher: usize, is_alone: bool) -> Result<Vec<[usize; 2]>, Problems> {
        let same_depth = |layer: usize| [layer, rounded(layer * teacher, student).max(1)];
        let mut pairs: Vec<[usize; 2]> = match self {
            HiddenLayers::Named(NamedLayers::Auto) => {
                let count = AUTO_PAIRS.min(student);
                (1..=count).map(|number| same_depth(rounded(number * student, count))).collect()
            }
            HiddenLayers::Every(n) if *n <= student => (1..=student).rev().step_by(*n).map(same_depth).collect(),
            HiddenLayers::Every(_) => {
                let mend = format!("a whole number from 1 to {student}, \"auto\", or a list of pairs");
                return Err(self.refused(format!("the student has {student} layers"), &mend));
            }
            HiddenLayers::Pairs(pairs) => pairs.clone(),
        };
        pairs.sort_unstable();
        for (whose, layers, side) in [("student", student, 0), ("teacher", teacher, 1)] {
            if let Some(pair) = pairs.iter().find(|pair| !(1..=layers).contains(&pair[side])) {
                let reason = format!("the {whose} has no layer {}: its layers are 1 to {layers}", pair[side]);
                let mend = format!(
                    "pairs [student, teacher] with layers 1 to {student} of the student and 1 to {teacher} of the teacher, or \"auto\""
                );
                return Err(self.refused(reason, &mend));
            }
        }
        let last = pairs.last().map_or(0, |pair| pair[0]);
        if is_alone && last < student {
            let reason = format!(
                "distill.kind is \"hidden\" alone, and nothing would train the student's layers above {last}, of {student}"
            );
            return Err(self.refused(reason, &format!("a pair with layer {student}, or a second term in distill.kind")));
        }
        Ok(pairs)
    }

    fn refused(&self, reason: String, right: &str) -> Problems {
        let value = serde_json::to_string(self).ok();
        Problems::one(Problem::new(KEY, value, reason, format!("give {right}")))
    }

    /// What is wrong whatever the models are.
    pub(super) fn check(&self, check: &mut Checker<'_>) {
        const KEY: &str = "hidden_layers";
        match self {
            HiddenLayers::Named(_) => {}
            HiddenLayers::Every(n) => check.that(
                (1..=1024).contains(n),
                KEY,
                n,
                "every n-th layer of the student is meant",
                "\"auto\", a whole number from 1 to 1,024, or a list of pairs such as [[6, 12], [12, 24]]",
            ),
            HiddenLayers::Pairs(pairs) => {
                check.that(
                    !pairs.is_empty(),
                    KEY,
                    pairs,
                    "no pair of layers is named",
                    "\"auto\", or pairs [student, teacher] such as [[6, 12], [12, 24]]",
                );
                let is_repeated = |n: usize| pairs[..n].iter().any(|pair| pair[0] == pairs[n][0]);
                check.that(
                    !(1..pairs.len()).any(is_repeated),
                    KEY,
                    pairs,
                    "a layer of the student is named twice",
                    "each layer of the student once",
                );
                check.that(
                    !pairs.iter().flatten().any(|layer| *layer == 0),
                    KEY,
                    pairs,
                    "layers are counted from 1",
                    "pairs [student, teacher] such as [[6, 12], [12, 24]]",
                );
            }
        }
    }
}

/// The whole number nearest to `dividend / divisor`, the larger of two.
fn rounded(dividend: usize, divisor: usize) -> usize {
    (2 * dividend + divisor) / (2 * divisor.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(layers: &HiddenLayers, student: usize, teacher: usize) -> Vec<[usize; 2]> {
        layers.pairs(student, teacher, true).unwrap()
    }

    #[test]
    fn layers_lie_at_the_same_depth() {
        assert_eq!(pairs(&HiddenLayers::AUTO, 24, 28), [[6, 7], [12, 14], [18, 21], [24, 28]]);
        assert_eq!(pairs(&HiddenLayers::AUTO, 30, 24), [[8, 6], [15, 12], [23, 18], [30, 24]]);
        assert_eq!(pairs(&HiddenLayers::AUTO, 2, 5), [[1, 3], [2, 5]]);
        assert_eq!(pairs(&HiddenLayers::Every(8), 20, 40), [[4, 8], [12, 24], [20, 40]]);
        assert_eq!(pairs(&HiddenLayers::Every(1), 3, 1), [[1, 1], [2, 1], [3, 1]]);
        assert_eq!(pairs(&HiddenLayers::Pairs(vec![[4, 2], [1, 9]]), 4, 9), [[1, 9], [4, 2]]);
    }

    #[test]
    fn layers_that_do_not_exist_are_refused_with_their_number() {
        let refused = |layers: HiddenLayers, alone: bool| layers.pairs(12, 24, alone).unwrap_err().to_string();
        let told = refused(HiddenLayers::Pairs(vec![[6, 12], [13, 24]]), false);
        assert!(
            told.contains("[[6,12],[13,24]]") && told.contains("the student has no layer 13: its layers are 1 to 12"),
            "{told}"
        );
        let told = refused(HiddenLayers::Pairs(vec![[12, 25]]), false);
        assert!(told.contains("the teacher has no layer 25: its layers are 1 to 24"), "{told}");
        let told = refused(HiddenLayers::Every(13), false);
        assert!(told.contains("the student has 12 layers"), "{told}");
        let told = refused(HiddenLayers::Pairs(vec![[6, 12]]), true);
        assert!(told.contains("layers above 6, of 12") && told.contains("a pair with layer 12"), "{told}");
        assert!(HiddenLayers::Pairs(vec![[6, 12]]).pairs(12, 24, false).is_ok());
    }
}
