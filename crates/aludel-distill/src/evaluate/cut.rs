//! A warning where most answers were cut: such a score tells more of the limit than of the model.

use super::results::Sample;

/// Beyond this share of answers that were cut, a score is that of the limit.
const MOST: f64 = 0.5;

/// What to know of a task's samples, and what helps.
pub(super) fn warning(problems: &[Vec<&Sample>], max_new_tokens: usize) -> Option<String> {
    let cut: Vec<&Sample> = problems.iter().flatten().copied().filter(|sample| sample.truncated).collect();
    let all: usize = problems.iter().map(Vec::len).sum();
    if cut.len() as f64 <= MOST * all as f64 {
        return None;
    }
    let share = 100.0 * cut.len() as f64 / all as f64;
    let begin = format!("{} of {all} answers ({share:.0}%) were cut", cut.len());
    // A server that counts no tokens leaves the limit as the likely reason.
    let at_context = |sample: &&&Sample| sample.is_counted() && sample.completion_tokens < max_new_tokens as u64;
    let at_context = cut.iter().filter(at_context).count();
    Some(match 2 * at_context > cut.len() {
        false => format!(
            "{begin} at max_new_tokens = {max_new_tokens}, and the score says little of the model; \
             give --max-new-tokens {}",
            2 * max_new_tokens
        ),
        true => format!(
            "{begin}, {at_context} of them where the model's context ends, and the score says little of the model; ask shorter questions, \
             or take a model with a longer context"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tests::sample;

    #[test]
    fn more_than_half_cut_is_told_with_the_mend() {
        let of = |cut: usize, tokens: u64| {
            let one = |at| Sample {
                truncated: at < cut,
                completion_tokens: tokens,
                content: "so".to_owned(),
                ..sample(false, None)
            };
            let samples: Vec<Sample> = (0..4).map(one).collect();
            warning(&[samples.iter().collect()], 64)
        };
        assert_eq!((of(0, 64), of(2, 64)), (None, None));
        let told = of(3, 64).unwrap();
        assert!(
            told.starts_with("3 of 4 answers (75%) were cut at max_new_tokens = 64")
                && told.ends_with("--max-new-tokens 128"),
            "{told}"
        );
        assert!(of(4, 0).unwrap().contains("at max_new_tokens = 64"), "where no tokens are counted");
        let told = of(4, 20).unwrap();
        assert!(told.contains("4 of them where the model's context ends"), "{told}");
        assert_eq!(warning(&[], 64), None);
    }
}
