//! Texts that go round in circles, or are no text: the same words over and over, the same lines, one character without end.
//! Reasoning may repeat itself, so each measure has room for that.

use std::collections::{HashMap, HashSet};

use super::word_hashes::{Word, runs, words};
use aludel_data::dataset::Content;
use aludel_data::trace::learnt;

/// A sequence of words counts as a loop when it comes at least this often in a row…
const REPEATS: usize = 4;
/// …and the minimum number of words of all repetitions.
const LOOP_WORDS: usize = 60;
/// Words by which a repetition is noticed.
const SEEN_AGAIN_WORDS: usize = 4;
/// One character so often in a row is no text; a rule of dashes is shorter.
const CHARACTER_RUN: usize = 300;
/// Lines that came before may make up this share of a text's characters…
const REPEATED_LINES_SHARE: f64 = 0.5;
/// …where lines shorter than this count for nothing, and neither do texts shorter than ten such.
const LINE_BYTES: usize = 30;

/// Why the text is degenerate, or `None` if it is in order.
pub(super) fn flaw(content: &Content) -> Option<String> {
    learnt(content).find_map(loop_flaw)
}

/// Why a text goes round in circles, or is no text; `None` if it is in order.
pub fn loop_flaw(text: &str) -> Option<String> {
    character_run(text).or_else(|| word_loop(text)).or_else(|| repeated_lines(text))
}

fn character_run(text: &str) -> Option<String> {
    let mut run = 0;
    let mut last = None;
    for character in text.chars() {
        run = if last == Some(character) { run + 1 } else { 1 };
        last = Some(character);
        if run == CHARACTER_RUN {
            return Some(format!("{character:?} comes {CHARACTER_RUN} times in a row"));
        }
    }
    None
}

/// The first sequence of words that repeats without a break. Each run of a few words looks back to where it stood last: as
/// long as the distance stays the same, the text repeats with that period.
fn word_loop(text: &str) -> Option<String> {
    let words = words(text);
    let hashes: Vec<u64> = words.iter().map(|word| word.hash).collect();
    let mut last_seen: HashMap<u64, usize> = HashMap::with_capacity(hashes.len());
    let (mut period, mut length) = (0, 0);
    for (at, run) in runs(&hashes, SEEN_AGAIN_WORDS).enumerate() {
        let distance = last_seen.insert(run, at).map_or(0, |before| at - before);
        (period, length) = if distance > 0 && distance == period { (period, length + 1) } else { (distance, 1) };
        // What repeats are `length` runs, and the period before them.
        let covered = length + SEEN_AGAIN_WORDS - 1 + period;
        if period > 0 && covered >= LOOP_WORDS && covered >= REPEATS * period {
            return Some(described(text, &words[at + 1 - length - period..], period));
        }
    }
    None
}

fn described(text: &str, words: &[Word], period: usize) -> String {
    const SHOWN_CHARS: usize = 60;
    let end = words[period.min(words.len()) - 1].end;
    let unit: String = text[words[0].start..end].chars().take(SHOWN_CHARS).collect();
    format!("it repeats {unit:?}")
}

fn repeated_lines(text: &str) -> Option<String> {
    let mut seen = HashSet::new();
    let (mut all, mut repeated) = (0, 0);
    for line in text.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES) {
        all += line.len();
        if !seen.insert(line) {
            repeated += line.len();
        }
    }
    let share = repeated as f64 / all.max(1) as f64;
    let is_degenerate = all >= 10 * LINE_BYTES && share > REPEATED_LINES_SHARE;
    is_degenerate.then(|| format!("{:.0}% of it are lines that came before", 100.0 * share))
}

#[cfg(test)]
mod tests {
    use aludel_text::message::Message;

    use super::*;

    fn check(text: &str, wanted: Option<&str>) {
        let found = flaw(&Content::Messages(vec![Message::user("?"), Message::assistant("ok").with_reasoning(text)]));
        assert_eq!(found.as_deref(), wanted, "{text:.200}");
    }

    #[test]
    fn loops_are_found_whatever_their_period() {
        check(&"Wait, no. ".repeat(40), Some("it repeats \"Wait, no\""));
        check(
            &("Let me see. ".to_string() + &"I should check this again, once more. ".repeat(12)),
            Some("it repeats \"I should check this again, once more\""),
        );
        let long: Vec<String> = (0..120).map(|number| format!("w{number}")).collect();
        assert!(flaw(&Content::Text(format!("{} ", long.join(" ")).repeat(5))).is_some());
        check(&"我们再看一遍。".repeat(20), Some("it repeats \"我们再看一遍\""));
    }

    #[test]
    fn other_degenerate_texts_are_found() {
        check(&"!".repeat(400), Some("'!' comes 300 times in a row"));
        let lines = "So the answer must be forty-two, I think.\nLet me check that from the start again.\n";
        let varied: String = (0..12).map(|number| format!("{lines}{number}\n")).collect();
        check(&varied, Some("92% of it are lines that came before"));
    }

    #[test]
    fn reasoning_may_repeat_itself() {
        check(&"Wait, no. ".repeat(3), None);
        check(&("-".repeat(120) + "\n| a | b |\n| --- | --- |\n"), None);
        let steps: String =
            (0..200).map(|step| format!("Step {step}: add {step} to the sum, which gives {}.\n", step * 7)).collect();
        check(&steps, None);
        check(&(0..300).map(|number| number.to_string()).collect::<Vec<_>>().join(", "), None);
    }
}
