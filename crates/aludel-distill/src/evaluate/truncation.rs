//! A warning for scores where most answers were cut off: such a score measures the limit rather than the model.

use super::results::Sample;
use aludel_files::grouped;

/// Above this share of truncated answers, a score measures the limit.
const MOST: f64 = 0.5;

/// The share of answers that should end within the suggested limit, estimated from those that did end.
const ENOUGH: f64 = 0.95;
/// Minimum number of complete answers to estimate a limit from: the relative error of the mean is one over its square root.
const TELLING: usize = 10;

/// The warning about a task's samples, with the remedy. `context` is the context length in tokens, if it is known.
pub(super) fn warning(problems: &[Vec<&Sample>], max_new_tokens: usize, context: Option<usize>) -> Option<String> {
    let all: Vec<&Sample> = problems.iter().flatten().copied().collect();
    let cut: Vec<&Sample> = all.iter().copied().filter(|sample| sample.truncated).collect();
    if cut.len() as f64 <= MOST * all.len() as f64 {
        return None;
    }
    let share = 100.0 * cut.len() as f64 / all.len() as f64;
    let begin = format!("{} of {} answers ({share:.0}%) were cut", grouped(cut.len()), grouped(all.len()));
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

/// What to do about the limit, with a number if the answers or the model allow an estimate.
fn advice(all: &[&Sample], cut: usize, max_new_tokens: usize, context: Option<usize>) -> String {
    let longest_prompt = all.iter().map(|sample| sample.prompt_tokens as usize).max().unwrap_or(0);
    let room = context.map(|context| context.saturating_sub(longest_prompt)).filter(|&room| room > max_new_tokens);
    let is_counted = all.iter().all(|sample| sample.is_counted());
    let ended = all.len() - cut;
    // The censored mean of an exponential distribution: what was cut is longer than it is.
    let mean = all.iter().map(|sample| sample.completion_tokens as f64).sum::<f64>() / ended as f64;
    let wanted = -(1.0 - ENOUGH).ln() * mean;
    match room {
        _ if is_counted && ended >= TELLING && room.is_none_or(|room| wanted <= room as f64) => {
            let wanted = (wanted as usize).next_power_of_two();
            let wanted = room.map_or(wanted, |room| wanted.min(room));
            format!("give --max-new-tokens {wanted}, with which most would end, as the {ended} that did end tell")
        }
        Some(room) => format!("raise --max-new-tokens; the model's context has room for {room}"),
        None => "raise --max-new-tokens".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tests::sample;

    #[test]
    fn more_than_half_cut_is_told_with_the_mend() {
        let of_all = |all: usize, cut: usize, tokens: u64, context: Option<usize>| {
            let one = |at| Sample {
                truncated: at < cut,
                completion_tokens: tokens,
                content: "so".to_owned(),
                ..sample(false, None)
            };
            let samples: Vec<Sample> = (0..all).map(one).collect();
            warning(&[samples.iter().collect()], 64, context)
        };
        let of = |cut, tokens, context| of_all(4, cut, tokens, context);
        assert_eq!((of(0, 64, None), of(2, 64, None)), (None, None));
        let begin = "(75%) were cut at max_new_tokens = 64, and the score says little of the model; ";
        for (all, cut, context, advice) in [
            // a mean of 256, of which three times as much is not reached by 5%
            (40, 30, None, "give --max-new-tokens 1024, with which most would end, as the 10 that did end tell"),
            (40, 30, Some(801), "give --max-new-tokens 800, with which most would end, as the 10 that did end tell"),
            (40, 30, Some(513), "raise --max-new-tokens; the model's context has room for 512"),
            // nine answers are too few
            (36, 27, None, "raise --max-new-tokens"),
            (4, 3, Some(801), "raise --max-new-tokens; the model's context has room for 800"),
        ] {
            let told = of_all(all, cut, 64, context).unwrap();
            assert_eq!(told, format!("{cut} of {all} answers {begin}{advice}"));
        }
        let told = of(4, 64, Some(8192)).unwrap();
        assert!(told.starts_with("4 of 4 answers (100%)") && told.ends_with("has room for 8191"), "{told}");
        let told = of_all(40, 30, 0, None).unwrap();
        assert!(
            told.contains("at max_new_tokens = 64") && told.ends_with("; raise --max-new-tokens"),
            "no tokens counted: {told}"
        );
        let told = of(4, 20, Some(8192)).unwrap();
        assert!(told.contains("4 of them where the model's context ends"), "{told}");
        assert_eq!(warning(&[], 64, None), None);
    }

    #[test]
    fn what_repeats_itself_ends_at_no_limit() {
        let one = |looping| Sample { truncated: true, looping, completion_tokens: 64, ..sample(false, None) };
        let samples = [one(true), one(true), one(false)];
        let told = warning(&[samples.iter().collect()], 64, None).unwrap();
        assert!(told.contains("; 2 of them repeat themselves, which no limit ends; raise --max-new-tokens"), "{told}");
    }
}
