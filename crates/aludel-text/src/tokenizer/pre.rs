//! The meaning of `tokenizer.ggml.pre`: the regular expressions that split text into words before byte-pair merging, as
//! the `Split` steps of a tokenizer.json. A wrong guess gives plausible but wrong ids, so an unknown name is an error.
//! Expressions follow the models' own tokenizer.json files; llama.cpp's table maps names to models.

use serde_json::{Value, json};

use crate::error::Error;

/// How a family of models splits text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PreTokenizer {
    /// Applied in turn; each splits the pieces of the one before it.
    expressions: &'static [&'static str],
    /// A complete piece that is a token becomes that token, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// Text is normalised to NFC first.
    pub(super) composes_unicode: bool,
    /// The beginning-of-text token is added where the file does not say.
    pub(super) adds_bos: bool,
}

impl PreTokenizer {
    /// Looks a name up; an absent one means `default`, as in llama.cpp.
    ///
    /// # Errors
    /// [`Error::UnknownPreTokenizer`], which lists the known names.
    pub(super) fn named(name: Option<&str>) -> Result<PreTokenizer, Error> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or("default");
        FAMILIES.iter().find(|(names, _)| names.contains(&name)).map(|&(_, family)| family).ok_or_else(|| {
            let known: Vec<&str> = FAMILIES.iter().flat_map(|(names, _)| names.iter().copied()).collect();
            Error::UnknownPreTokenizer { pre: name.to_owned(), known: known.join(", ") }
        })
    }

    /// The first name of what splits by these expressions, in this way.
    pub(super) fn name_of(expressions: &[String], ignore_merges: bool, composes_unicode: bool) -> Option<&'static str> {
        let is_it = |family: &PreTokenizer| {
            family.expressions == expressions
                && (family.ignore_merges, family.composes_unicode) == (ignore_merges, composes_unicode)
        };
        FAMILIES.iter().find(|(_, family)| is_it(family)).and_then(|(names, _)| names.first().copied())
    }

    /// The `pre_tokenizer` of a tokenizer.json.
    pub(super) fn to_json(self) -> Value {
        let mut steps: Vec<Value> = self
            .expressions
            .iter()
            .map(|expression| {
                json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false})
            })
            .collect();
        steps.push(json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}));
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}

/// Also the expression of a byte-level step that splits.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
pub(super) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(super) const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const PLAIN: PreTokenizer =
    PreTokenizer { expressions: &[GPT2], ignore_merges: false, composes_unicode: false, adds_bos: false };

const FAMILIES: &[(&[&str], PreTokenizer)] = &[
    (
        &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "gigachat",
            "mellum",
            "exaone4",
            "a.x-4.0",
        ],
        PLAIN,
    ),
    (
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        PreTokenizer { expressions: &[r"\p{N}", GPT2], ..PLAIN },
    ),
    (
        &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        PreTokenizer { expressions: &[LLAMA3], ignore_merges: true, adds_bos: true, ..PLAIN },
    ),
    (&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], PreTokenizer { expressions: &[LLAMA3], ..PLAIN }),
    (&["qwen2"], PreTokenizer { expressions: &[QWEN2], composes_unicode: true, ..PLAIN }),
    (&["deepseek-r1-qwen", "megrez", "kormo", "stablelm2", "hunyuan"], PreTokenizer { expressions: &[QWEN2], ..PLAIN }),
    (&["qwen35"], PreTokenizer { expressions: &[QWEN35], composes_unicode: true, ..PLAIN }),
    (
        &["deepseek-v3", "hunyuan-dense"],
        PreTokenizer { expressions: &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3], ..PLAIN },
    ),
    (&["tekken"], PreTokenizer { expressions: &[TEKKEN], ignore_merges: true, adds_bos: true, ..PLAIN }),
    (&["gpt-4o", "llama4"], PreTokenizer { expressions: &[GPT4O], ..PLAIN }),
    (&["falcon"], PreTokenizer { expressions: &[r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"], ..PLAIN }),
    (&["default"], PreTokenizer { expressions: &[r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], ..PLAIN }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_compiles_and_no_name_is_listed_twice() {
        let mut seen = std::collections::HashSet::new();
        for (names, family) in FAMILIES {
            for name in *names {
                assert!(seen.insert(name), "{name} twice");
            }
            serde_json::from_value::<tokenizers::PreTokenizerWrapper>(family.to_json()).expect("compiles");
            for expression in family.expressions {
                crate::tokenizer::regexes::check(expression, &mut Default::default())
                    .expect("can be searched for in time");
            }
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let message = PreTokenizer::named(Some("nonsense")).expect_err("unknown").to_string();
        assert!(
            message.contains("\"nonsense\"") && message.contains("smollm") && message.contains("qwen2"),
            "{message}"
        );
        assert_eq!(PreTokenizer::named(None).expect("default"), PreTokenizer::named(Some("default")).expect("default"));
    }
}
