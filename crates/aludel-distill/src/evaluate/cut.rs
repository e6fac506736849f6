//! A warning where most answers were cut: such a score tells more of the limit than of the model.

use super::results::Sample;

/// Beyond this share of answers that were cut, a score is that of the limit.
const MOST: f64 = 0.5;

/// With the limit that is advised, this share of the answers ends, as far as those tell that did.
const ENOUGH: f64 = 0.95;
/// The factor on the limit that is advised where nothing tells how long answers would be.
const TIMES: usize = 4;

/// What to know of a task's samples, and what helps. `context` is how many tokens question and answer may have together, where that is known.
pub(super) fn warning(problems: &[Vec<&Sample>], max_new_tokens: usize, context: Option<usize>) -> Option<String> {
    let all: Vec<&Sample> = problems.iter().flatten().copied().collect();
    let cut: Vec<&Sample> = all.iter().copied().filter(|sample| sample.truncated).collect();
    if cut.len() as f64 <= MOST * all.len() as f64 {
        return None;
    }
    let share = 100.0 * cut.len() as f64 / all.len() as f64;
    let begin = format!("{} of {} answers ({share:.0}%) were cut", cut.len(), all.len());
    // A server that counts no tokens leaves the limit as the likely reason.
    let at_context = |sample: &&&Sample| sample.is_counted() && sample.completion_tokens < max_new_tokens as u64;
    let at_context = cut.iter().filter(at_context).count();
    if 2 * at_context > cut.len() {
        return Some(format!(
            "{begin}, {at_context} of them where the model's context ends, and the score says little of the model; ask shorter questions, \
             or take a model with a longer context"
        ));
    }
    let looping = cut.iter().filter(|sample| sample.looping).count();
    let loops = match 2 * looping > cut.len() {
        true => format!("; {looping} of them repeat themselves, which no limit ends"),
        false => String::new(),
    };
    let advice = advice(&all, cut.len(), max_new_tokens, context);
    Some(format!(
        "{begin} at max_new_tokens = {max_new_tokens}, and the score says little of the model{loops}; {advice}"
    ))
}

/// A limit that would do.
fn advice(all: &[&Sample], cut: usize, max_new_tokens: usize, context: Option<usize>) -> String {
    let longest_prompt = all.iter().map(|sample| sample.prompt_tokens as usize).max().unwrap_or(0);
    let room = context.map(|context| context.saturating_sub(longest_prompt)).filter(|&room| room > max_new_tokens);
    let is_counted = all.iter().all(|sample| sample.is_counted());
    let ended = all.len() - cut;
    // The censored mean of an exponential distribution: what was cut is longer than it is.
    let mean = all.iter().map(|sample| sample.completion_tokens as f64).sum::<f64>() / ended as f64;
    let wanted = (-(1.0 - ENOUGH).ln() * mean).max(2.0 * max_new_tokens as f64);
    match room {
        _ if is_counted && ended > 0 && room.is_none_or(|room| wanted <= room as f64) => {
            let wanted = (wanted as usize).next_power_of_two();
            let wanted = room.map_or(wanted, |room| wanted.min(room));
            format!("give --max-new-tokens {wanted}, with which most would end, as those that did end tell")
        }
        Some(room) => {
            format!(
                "give --max-new-tokens {room}, all that the model's context has room for; too few answers ended to estimate a smaller limit"
            )
        }
        None => format!("give --max-new-tokens {} or more", TIMES * max_new_tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tests::sample;

    #[test]
    fn more_than_half_cut_is_told_with_the_mend() {
        let of = |cut: usize, tokens: u64, context: Option<usize>| {
            let one = |at| Sample {
                truncated: at < cut,
                completion_tokens: tokens,
                content: "so".to_owned(),
                ..sample(false, None)
            };
            let samples: Vec<Sample> = (0..4).map(one).collect();
            warning(&[samples.iter().collect()], 64, context)
        };
        assert_eq!((of(0, 64, None), of(2, 64, None)), (None, None));
        let begin =
            "3 of 4 answers (75%) were cut at max_new_tokens = 64, and the score says little of the model; give ";
        for (cut, context, advice) in [
            // a mean of 256, of which three times as much is not reached by 5%
            (3, None, "--max-new-tokens 1024, with which most would end, as those that did end tell"),
            (3, Some(801), "--max-new-tokens 800, with which most would end, as those that did end tell"),
            (
                3,
                Some(513),
                "--max-new-tokens 512, all that the model's context has room for; too few answers ended to estimate a smaller limit",
            ),
        ] {
            assert_eq!(of(cut, 64, context).unwrap(), format!("{begin}{advice}"));
        }
        let told = of(4, 64, Some(8192)).unwrap();
        assert!(
            told.starts_with("4 of 4 answers (100%)") && told.contains("--max-new-tokens 8191, all that"),
            "{told}"
        );
        let told = of(4, 64, None).unwrap();
        assert!(told.ends_with("give --max-new-tokens 256 or more"), "{told}");
        let told = of(4, 0, None).unwrap();
        assert!(told.contains("at max_new_tokens = 64") && told.ends_with("256 or more"), "no tokens counted: {told}");
        let told = of(4, 20, Some(8192)).unwrap();
        assert!(told.contains("4 of them where the model's context ends"), "{told}");
        assert_eq!(warning(&[], 64, None), None);
    }

    #[test]
    fn what_repeats_itself_ends_at_no_limit() {
        let one = |looping| Sample { truncated: true, looping, completion_tokens: 64, ..sample(false, None) };
        let samples = [one(true), one(true), one(false)];
        let told = warning(&[samples.iter().collect()], 64, None).unwrap();
        assert!(
            told.contains("; 2 of them repeat themselves, which no limit ends; give --max-new-tokens 256"),
            "{told}"
        );
    }
}
