//! Validates a tokenizer.json before the library builds it: its steps are known and few, none multiplies texts without
//! bound, and its expressions can be searched for in time. Faults that only show in use are caught in use.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::charsmap::longest_replacement;
use super::components::{self, shown};
use super::regexes::{self, RegexTrials};

/// A tokenizer.json, as far as it is looked at here. Words and merges are read by the library alone.
#[derive(serde::Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedTokenEntry>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    #[serde(default)]
    decoder: Option<Value>,
    #[serde(default)]
    model: Option<Model>,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
    #[serde(default, rename = "truncation")]
    _truncation: IgnoredAny,
    #[serde(default, rename = "padding")]
    _padding: IgnoredAny,
    /// Put around texts by other tools: rows are written by templates, and begin as `tokenizer_config.json` says.
    #[serde(default)]
    pub(super) post_processor: Option<Value>,
    /// What the library would pass over.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(serde::Deserialize)]
pub(super) struct AddedTokenEntry {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

#[derive(serde::Deserialize)]
struct Model {
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    unk_token: Option<String>,
    /// Of a unigram model.
    #[serde(default)]
    unk_id: Option<u32>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    max_input_chars_per_word: Option<u64>,
    #[serde(default)]
    vocab: VocabularySize,
    #[serde(default, rename = "type")]
    _kind: IgnoredAny,
    #[serde(default, rename = "merges")]
    _merges: IgnoredAny,
    #[serde(default, rename = "fuse_unk")]
    _fuse_unk: IgnoredAny,
    #[serde(default, rename = "byte_fallback")]
    _byte_fallback: IgnoredAny,
    #[serde(default, rename = "ignore_merges")]
    _ignore_merges: IgnoredAny,
    /// What the library would pass over.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The words of a model, in all three ways that they are written: how many, and how long.
#[derive(Default)]
struct VocabularySize {
    count: usize,
    longest: usize,
    /// Of a unigram model, which lists its words: the nodes of the tree that the library makes of them.
    nodes: Option<usize>,
}

/// The merges of a model alone, which are looked at only where each has to begin with a prefix.
#[derive(serde::Deserialize)]
struct MergesDocument {
    model: Merges,
}

#[derive(serde::Deserialize)]
struct Merges {
    #[serde(default)]
    merges: Vec<Value>,
}

/// How many bytes a tokenizer may make of one, before it looks for tokens and when it decodes them.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpansionFactors {
    pub(super) normalizer: u64,
    pub(super) decoder: u64,
}

const MOST_STEPS: usize = 100;
/// Known families reach 70 in theory, by their maps of Unicode, and about 1 in practice.
const MOST_NORMALIZER: u64 = 400;
const MOST_PRE_TOKENIZER: u64 = 12;
const MOST_DECODER: u64 = 64;
/// In characters; known families have 100.
const LONGEST_SEARCHED_WORD: u64 = 256;
const LONGEST_AFFIX: usize = 64;
const LONGEST_UNKNOWN: usize = 256;
/// Beyond this are no vocabularies, but memory that follows from the largest id.
pub(super) const MOST_IDS: u32 = 1 << 24;
const LONGEST_TOKEN: usize = 16 << 10;
/// A unigram model keeps its tokens in a tree that is as deep as the longest, and goes down it at each letter of a text.
const LONGEST_UNIGRAM: usize = 512;
/// Nodes of that tree. Each lies in its parent's table, and the least table of the library has 4 places of 80 bytes (a map of 64, a flag and
/// the letter, aligned), 20 bytes of marks, and what the allocator adds: 352 bytes for each node of a chain, and 183 at most where a
/// table is larger. So these are 740 MB. XLM-R's 250,002 tokens, the largest known list, have some 2.8 MB, of which the signs and
/// first letters alone that they share leave less than 2 million nodes.
const MOST_NODES: usize = 2 << 20;
/// The largest vocabularies have a quarter of it. The library keeps each word in two maps, which together take some 170 bytes.
const MOST_WORDS: usize = 1 << 20;
/// Added tokens become a tree too, and each is normalised first.
const MOST_ADDED: usize = 2 << 20;
const MOST_ADDED_NORMALIZED: u64 = 64 << 20;
/// Of a text that a step looks for.
const LONGEST_LITERAL: usize = 4096;

impl<'de> Deserialize<'de> for VocabularySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<VocabularySize, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = VocabularySize;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a mapping of tokens to ids, or a list of tokens with scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VocabularySize, A::Error> {
                let mut words = VocabularySize::default();
                while let Some((word, IgnoredAny)) = map.next_entry::<Cow<'_, str>, _>()? {
                    words.add(&word).map_err(A::Error::custom)?;
                }
                Ok(words)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<VocabularySize, A::Error> {
                let mut words = VocabularySize::default();
                let mut listed = Vec::new();
                while let Some((word, _)) = list.next_element::<(String, f64)>()? {
                    words.add(&word).map_err(A::Error::custom)?;
                    listed.push(word);
                }
                Ok(VocabularySize { nodes: Some(nodes(listed)), ..words })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl VocabularySize {
    /// As they are read, since a file may hold many.
    fn add(&mut self, word: &str) -> Result<(), String> {
        self.count += 1;
        self.longest = self.longest.max(word.len());
        if self.count > MOST_WORDS {
            return Err(format!("its model has more than {MOST_WORDS} tokens, and no vocabulary has"));
        }
        Ok(())
    }
}

/// The nodes of a tree of the words' bytes: in their order, each adds what it does not share with the one before it.
fn nodes(mut words: Vec<String>) -> usize {
    words.sort_unstable();
    let mut before = "";
    let mut nodes = 0;
    for word in &words {
        nodes += word.len() - word.bytes().zip(before.bytes()).take_while(|(letter, other)| letter == other).count();
        before = word;
    }
    nodes
}

impl Document {
    /// The id that text becomes which the model cannot spell.
    pub(super) fn unknown_id(&self, id: impl Fn(&str) -> Option<u32>) -> Option<u32> {
        let model = self.model.as_ref()?;
        model.unk_id.or_else(|| id(model.unk_token.as_deref()?))
    }

    /// Whether letters within a word are spelt otherwise than at its ends.
    pub(super) fn has_affixes(&self) -> bool {
        let affixes = |model: &Model| {
            let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
            affixes.into_iter().flatten().any(|affix| !affix.is_empty())
        };
        self.model.as_ref().is_some_and(affixes)
    }

    /// # Errors
    /// What is wrong, with its place in the file.
    pub(super) fn validate(&self, bytes: &[u8]) -> Result<ExpansionFactors, String> {
        let mut trials = RegexTrials::default();
        let mut section = |name, value: &Option<Value>, most| section(name, value.as_ref(), most, &mut trials);
        let normalizer = section("normalizer", &self.normalizer, MOST_NORMALIZER)?;
        section("pre_tokenizer", &self.pre_tokenizer, MOST_PRE_TOKENIZER)?;
        let decoder = section("decoder", &self.decoder, MOST_DECODER)?;
        components::check_rest(&self.rest, "the file")?;
        if let Some(model) = &self.model {
            components::check_rest(&model.rest, "model")?;
            model.validate(bytes)?;
        }
        for token in &self.added_tokens {
            if token.id >= MOST_IDS {
                return Err(format!(
                    "its added token {} has id {}, which is no place in a vocabulary",
                    shown(&token.content),
                    token.id
                ));
            }
            if token.content.len() > LONGEST_TOKEN {
                return Err(format!(
                    "it has an added token of {} bytes; at most {LONGEST_TOKEN} are accepted",
                    token.content.len()
                ));
            }
            if token.content.trim().is_empty() && (token.lstrip || token.rstrip) {
                return Err(format!(
                    "its added token {} is made of blanks and takes the blanks beside it",
                    shown(&token.content)
                ));
            }
        }
        let added: usize = self.added_tokens.iter().map(|token| token.content.len()).sum();
        if added > MOST_ADDED || added as u64 * normalizer > MOST_ADDED_NORMALIZED {
            return Err(format!("its added tokens have {added} bytes together, which is more than names"));
        }
        Ok(ExpansionFactors { normalizer, decoder })
    }
}

impl Model {
    fn validate(&self, bytes: &[u8]) -> Result<(), String> {
        if self.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err(
                "its model has a `dropout`, with which the same text gives other ids each time: set it to null"
                    .to_owned(),
            );
        }
        if self.max_input_chars_per_word.is_some_and(|letters| letters > LONGEST_SEARCHED_WORD) {
            return Err(format!(
                "`max_input_chars_per_word` of its model is above {LONGEST_SEARCHED_WORD}: longer words take too long"
            ));
        }
        let affixes = [
            ("continuing_subword_prefix", &self.continuing_subword_prefix, LONGEST_AFFIX),
            ("end_of_word_suffix", &self.end_of_word_suffix, LONGEST_AFFIX),
            ("unk_token", &self.unk_token, LONGEST_UNKNOWN),
        ];
        for (key, affix, longest) in affixes {
            if affix.as_ref().is_some_and(|affix| affix.len() > longest) {
                return Err(format!("`{key}` of its model has more than {longest} bytes"));
            }
        }
        let longest = if self.vocab.nodes.is_some() { LONGEST_UNIGRAM } else { LONGEST_TOKEN };
        if self.vocab.longest > longest {
            return Err(format!("it has a token of {} bytes; at most {longest} are accepted", self.vocab.longest));
        }
        if let Some(nodes) = self.vocab.nodes.filter(|&nodes| nodes > MOST_NODES) {
            return Err(format!(
                "the tree of its tokens has {nodes} nodes, which is far more than any model's; at most {MOST_NODES} are accepted"
            ));
        }
        match self.continuing_subword_prefix.as_deref() {
            Some(prefix) if !prefix.is_empty() => check_prefix(bytes, prefix),
            _ => Ok(()),
        }
    }
}

/// The library takes as many bytes off the right half of each merge as the prefix has, without checking them.
fn check_prefix(bytes: &[u8], prefix: &str) -> Result<(), String> {
    let MergesDocument { model } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    for merge in &model.merges {
        let right = match merge {
            Value::Array(halves) => halves.get(1).and_then(Value::as_str),
            Value::String(halves) => halves.split_once(' ').map(|(_, right)| right),
            _ => None,
        };
        if !right.is_some_and(|right| right.starts_with(prefix)) {
            return Err(format!(
                "the right half of its merge {} does not begin with the model's prefix {prefix:?}",
                shown(&merge.to_string())
            ));
        }
    }
    Ok(())
}

/// The steps of one part of a tokenizer, and by how much they multiply a text together.
fn section(name: &str, value: Option<&Value>, most: u64, trials: &mut RegexTrials) -> Result<u64, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(1) };
    let mut steps = Vec::new();
    collect(value, &mut steps, name, name.to_owned())?;
    let mut growth = 1_u64;
    for (place, step) in steps {
        components::check_step(name, step, &place)?;
        let kind = step.get("type").and_then(Value::as_str).unwrap_or_default();
        growth = growth.saturating_mul(grows_by(kind, step, &place, trials)?);
        if growth > most {
            return Err(format!(
                "its {name} (at its {kind}) may make {growth} bytes of one; no model's makes more than {most}"
            ));
        }
    }
    Ok(growth)
}

/// The steps that others are made of, in order, with their places.
fn collect<'a>(
    value: &'a Value,
    steps: &mut Vec<(String, &'a Map<String, Value>)>,
    name: &str,
    place: String,
) -> Result<(), String> {
    let step = value.as_object().ok_or_else(|| format!("{place} is a step that is no object"))?;
    steps.push((place.clone(), step));
    if steps.len() > MOST_STEPS {
        return Err(format!("its {name} has more than {MOST_STEPS} steps"));
    }
    // Every list of objects is a list of steps, under any key.
    for (key, list) in step.iter().filter_map(|(key, value)| Some((key, value.as_array()?))) {
        for (number, inner) in list.iter().enumerate().filter(|(_, inner)| inner.is_object()) {
            collect(inner, steps, name, format!("{place}.{key}[{number}]"))?;
        }
    }
    Ok(())
}

/// The factor by which a step may expand a text. It depends on its fields, whatever its type.
fn grows_by(kind: &str, step: &Map<String, Value>, place: &str, trials: &mut RegexTrials) -> Result<u64, String> {
    let text = |key: &str| step.get(key).and_then(Value::as_str);
    let mut growth = match kind {
        "NFC" | "Lowercase" | "BertNormalizer" | "Bert" => 3,
        "NFD" => 4,
        "NFKC" | "NFKD" => 11,
        "ByteLevel" if step.get("add_prefix_space").is_none_or(|adds| adds.as_bool() != Some(false)) => 3,
        "ByteLevel" | "WordPiece" => 2,
        // A blank becomes the sign, and one may be put before each piece, which has a letter at least.
        "Metaspace" => 2 * text("replacement").map_or(3, str::len) as u64,
        "BPEDecoder" | "BPE" | "CTC" => 2,
        _ => 1,
    };
    if let Some(added) = text("prepend") {
        growth = growth.saturating_mul(1 + added.len() as u64);
    }
    if let Some(pattern) = step.get("pattern") {
        let content = text("content").map_or(0, str::len) as u64;
        let (literal, expression) = match pattern {
            Value::String(literal) => (Some(literal.as_str()), None),
            _ => (pattern.get("String").and_then(Value::as_str), pattern.get("Regex").and_then(Value::as_str)),
        };
        if let Some(expression) = expression {
            regexes::check(expression, trials)
                .map_err(|reason| format!("{place}.pattern: the expression {} {reason}", shown(expression)))?;
        }
        if literal.is_some_and(|literal| literal.len() > LONGEST_LITERAL) {
            return Err(format!("{place}.pattern is longer than {LONGEST_LITERAL} bytes"));
        }
        let replaced = match literal {
            Some(literal) if !literal.is_empty() => content.div_ceil(literal.len() as u64).max(1),
            _ => 1 + content,
        };
        growth = growth.saturating_mul(replaced);
    }
    if let Some(map) = text("precompiled_charsmap") {
        growth = growth.saturating_mul(longest_replacement(map).map_err(|reason| format!("{place}.{reason}"))?);
    }
    if step.get("length").is_some_and(|length| length.as_u64() == Some(0)) {
        return Err(format!("{place}.length is 0"));
    }
    Ok(growth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vetted(words: &[String]) -> Result<(), String> {
        let file = serde_json::json!({"model": {"vocab": words.iter().map(|word| (word, 0.0)).collect::<Vec<_>>()}})
            .to_string();
        let document: Document = serde_json::from_str(&file).map_err(|error| error.to_string())?;
        document.validate(file.as_bytes()).map(|_| ())
    }

    #[test]
    fn the_tree_of_a_unigram_vocabulary_is_counted() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        for (list, wanted) in [
            (&[][..], 0),
            (&["ab", "abc", "b"], 4),
            (&["▁a", "▁b", "▁"], 5),
            (&["x", "x"], 1),
            (&["xyz", "xy", "xz"], 4),
        ] {
            assert_eq!(nodes(words(list)), wanted, "{list:?}");
        }
    }

    /// The first as large as XLM-R's, whose words are made of others; the second has no more bytes than were let through before.
    #[test]
    fn a_unigram_vocabulary_may_be_large_and_not_a_forest() {
        let number = |at: usize| format!("▁{at:09}");
        assert_eq!(vetted(&(0..250_000).map(number).collect::<Vec<_>>()), Ok(()));
        let apart = |at: usize| blake3::hash(&at.to_le_bytes()).to_hex().repeat(2);
        let reason = vetted(&(0..40_000).map(apart).collect::<Vec<_>>()).unwrap_err();
        assert!(reason.contains("nodes, which is far more than any model's"), "{reason}");
        let reason = vetted(&(0..=MOST_WORDS).map(|at| at.to_string()).collect::<Vec<_>>()).unwrap_err();
        assert!(reason.contains("more than 1048576 tokens"), "{reason}");
    }
}
