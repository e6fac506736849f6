//! Words as numbers: what duplicates, loops and contamination are found by. A word is a run of letters and digits, in lower
//! case; in scripts that are written without spaces, each character is one. All else separates words.

/// A word's hash and its place in the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) hash: u64,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The words of a text, in order.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::with_capacity(text.len() / 5);
    let mut current: Option<Word> = None;
    for (at, character) in text.char_indices() {
        let end = at + character.len_utf8();
        let stands_alone = character >= FIRST_WITHOUT_SPACES && character.is_alphanumeric();
        if stands_alone || !character.is_alphanumeric() {
            found.extend(current.take());
        }
        if stands_alone {
            found.push(Word { hash: absorb(SEED, character), start: at, end });
        } else if character.is_alphanumeric() {
            let word = current.get_or_insert(Word { hash: SEED, start: at, end });
            word.end = end;
            if character.is_ascii() {
                word.hash = absorb(word.hash, character.to_ascii_lowercase());
            } else {
                word.hash = character.to_lowercase().fold(word.hash, absorb);
            }
        }
    }
    found.extend(current);
    found
}

/// The hashes of all runs of `length` words; a text of fewer words is one run by itself, an empty one has none.
pub(super) fn runs(words: &[u64], length: usize) -> impl Iterator<Item = u64> + '_ {
    let length = length.min(words.len()).max(1);
    let highest = (1..length).fold(1_u64, |power, _| power.wrapping_mul(BASE));
    let mut hash = 0_u64;
    words.iter().enumerate().filter_map(move |(index, word)| {
        if index >= length {
            hash = hash.wrapping_sub(words[index - length].wrapping_mul(highest));
        }
        hash = hash.wrapping_mul(BASE).wrapping_add(*word);
        (index + 1 >= length).then(|| mixed(hash))
    })
}

/// The different runs of `length` words of some texts one after the other, in order of their hashes.
pub(super) fn distinct_runs<'a>(texts: impl IntoIterator<Item = &'a str>, length: usize) -> Vec<u64> {
    let hashes: Vec<u64> = texts.into_iter().flat_map(words).map(|word| word.hash).collect();
    let mut runs: Vec<u64> = runs(&hashes, length).collect();
    runs.sort_unstable();
    runs.dedup();
    runs
}

/// Spreads a number over all 64 bits: the finaliser of MurmurHash3.
pub(super) fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// From here on (CJK radicals, kana, ideographs, Hangul) a character counts as a word.
const FIRST_WITHOUT_SPACES: char = '\u{2e80}';

const SEED: u64 = 0xcbf2_9ce4_8422_2325;
/// An odd number without small factors: the base in which a run of words is written as one number.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// FNV-1a, a character at a time.
fn absorb(hash: u64, character: char) -> u64 {
    (hash ^ u64::from(u32::from(character))).wrapping_mul(0x0000_0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(text: &str) -> Vec<u64> {
        words(text).iter().map(|word| word.hash).collect()
    }

    #[test]
    fn case_and_punctuation_make_no_difference() {
        assert_eq!(hashes("The  cat, (sat)."), hashes("the cat sat"));
        assert_eq!(hashes("ÄÖ straße"), hashes("äö; straße"));
        assert_ne!(hashes("the cat sat"), hashes("the sat cat"));
        assert_eq!(hashes("x=12"), hashes("X 12"));
        assert!(hashes("…").is_empty());
    }

    #[test]
    fn places_are_those_in_the_text() {
        let text = "Wir größen 我们 ok";
        let found: Vec<&str> = words(text).iter().map(|word| &text[word.start..word.end]).collect();
        assert_eq!(found, ["Wir", "größen", "我", "们", "ok"]);
    }

    #[test]
    fn equal_runs_have_equal_hashes() {
        let all: Vec<u64> = runs(&hashes("a b c a b c a b"), 3).collect();
        assert_eq!(all.len(), 6);
        assert_eq!((all[0], all[1], all[2]), (all[3], all[4], all[5]));
        assert!(all[0] != all[1] && all[1] != all[2]);
        assert_eq!(runs(&hashes("a b"), 5).collect::<Vec<_>>(), runs(&hashes("A b!"), 2).collect::<Vec<_>>());
        assert_eq!(runs(&[], 5).count(), 0);
    }
}
