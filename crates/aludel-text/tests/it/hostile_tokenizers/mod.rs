//! Damaged and hostile tokenizer files: hand-written bombs, and real shapes with something changed, each loaded and
//! used in a process of its own. Nothing may panic, abort, hang or take much memory. The bounds are wide, for
//! unoptimised builds on busy machines; measurements are in docs/decisions/0040-vet-tokenizer-files.md.

mod bombs;
mod changes;
mod files;

use std::time::Duration;

use aludel_text::{Error, Tokenizer};

use crate::subprocess::{self, Outcome};
use bombs::bombs;
use changes::mutated;
use files::bases;

const LONGEST: Duration = Duration::from_secs(2);
const MOST_KILOBYTES: u64 = 768 << 10;
const MUTATIONS: u64 = 340;

/// Loads a file and does with it what training and chat do; the outcome of loading.
fn used(bytes: &[u8]) -> String {
    let mut tokenizer = match Tokenizer::from_json(bytes, "file") {
        Ok(tokenizer) => tokenizer,
        Err(error) => return error.to_string(),
    };
    let texts = [
        String::new(),
        " ".to_owned(),
        "Hello world, hello!".to_owned(),
        "ﬁ ™ ½ ﷺ é e\u{301} 中文 🙂\r\n\t12'34 <x> <|im_end|> [UNK] <think>a</think> ▁▁ ##ld".to_owned(),
        "a".repeat(6_000),
        "q".repeat(3_000),
        " ".repeat(2_000),
        "ab ".repeat(1_000),
        "[UNK]<unk><x> ".repeat(200),
        "xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab ".repeat(100),
    ];
    let mut outcome = "loaded".to_owned();
    for text in &texts {
        let _ = tokenizer.spells_control(text);
        let _ = tokenizer.encode_plain(text);
        let ids = match tokenizer.encode(text) {
            Ok(ids) => ids,
            // No damage: such a text is refused.
            Err(Error::TextLost { .. }) => continue,
            Err(error) => {
                outcome = format!("loaded, then {error}");
                continue;
            }
        };
        if let Err(error) = tokenizer.decode(&ids, true) {
            outcome = format!("loaded, then {error}");
        }
        let mut stream = tokenizer.stream(false);
        for id in ids.iter().take(60) {
            stream.push(*id);
        }
        stream.finish();
    }
    let _ = tokenizer.decode(&[0, 1, 2, 999_999, u32::MAX], false);
    let _ = tokenizer.add_tokens(&["<think>".to_owned()]);
    let _ = tokenizer.mean_source_ids("<think>");
    let _ = tokenizer.fingerprint();
    outcome
}

/// The outcomes of files that one process is given.
fn run_apart(files: &[Vec<u8>]) -> Vec<Outcome> {
    subprocess::run("hostile_tokenizers::one_process", files)
}

#[test]
#[ignore = "the process that files are given; started by the others"]
fn one_process() {
    subprocess::answer(used);
}

fn check(outcomes: &[Outcome], count: usize) {
    if std::env::var_os("ALUDEL_TEST_SHOW").is_some() {
        outcomes.iter().for_each(|outcome| println!("{}", outcome.line()));
    }
    let is_fault =
        |outcome: &&Outcome| outcome.is_fault || outcome.time > LONGEST || outcome.kilobytes > MOST_KILOBYTES;
    let faults: Vec<String> = outcomes.iter().filter(is_fault).map(Outcome::line).collect();
    assert!(faults.is_empty(), "{} of {}: {faults:#?}", faults.len(), outcomes.len());
    assert_eq!(outcomes.len(), count);
}

#[test]
fn every_bomb_is_refused_or_harmless() {
    let bombs = bombs();
    assert!(bombs.len() >= 150, "{}", bombs.len());
    let mut outcomes = Vec::new();
    for bomb in &bombs {
        outcomes.extend(run_apart(&[bomb.to_string().into_bytes()]));
    }
    check(&outcomes, bombs.len());
    let refused = outcomes.iter().filter(|outcome| outcome.words.contains("not a usable tokenizer")).count();
    assert!(refused * 2 > bombs.len(), "{refused} of {}", bombs.len());
}

#[test]
fn changed_files_are_refused_or_used() {
    for (number, base) in bases().iter().enumerate() {
        assert_eq!(used(base.to_string().as_bytes()), "loaded", "base {number}");
        let files: Vec<Vec<u8>> = (0..MUTATIONS).map(|seed| mutated(base, seed + number as u64 * MUTATIONS)).collect();
        let outcomes = run_apart(&files);
        check(&outcomes, files.len());
        let loaded = outcomes.iter().filter(|outcome| outcome.words.contains("loaded")).count();
        assert!(loaded > 20 && loaded + 20 < outcomes.len(), "{loaded} of {} loaded", outcomes.len());
    }
}
