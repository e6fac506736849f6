//! Small tokenizer.json files of each family, and the parts that they are built from.

use serde_json::{Value, json};

use crate::common::tiny_tokenizer;
use crate::tokenizers::sentence_piece;
use aludel_text::Tokenizer;

/// A tree of SentencePiece's kind for some replacements, with a block of the array for each node.
pub(super) fn charsmap(pairs: &[(&str, &str)]) -> String {
    let mut texts = Vec::new();
    #[derive(Default, Clone)]
    struct Node {
        children: Vec<(u8, usize)>,
        text: Option<usize>,
    }
    let mut nodes = vec![Node::default()];
    for (key, replacement) in pairs {
        let mut node = 0;
        for byte in key.bytes() {
            let known = nodes[node].children.iter().find(|(letter, _)| *letter == byte).map(|&(_, next)| next);
            node = known.unwrap_or_else(|| {
                nodes.push(Node::default());
                let next = nodes.len() - 1;
                nodes[node].children.push((byte, next));
                next
            });
        }
        nodes[node].text = Some(texts.len());
        texts.extend(replacement.bytes().chain([0]));
    }
    // Block n holds the children of node n, and its leaf at 0; the root's own unit is the first of all, before its block.
    let mut units = vec![0_u32; 256 * (nodes.len() + 1)];
    let base = |node: usize| 256 * (node + 1);
    units[0] = (base(0) as u32) << 10;
    for (number, node) in nodes.iter().enumerate() {
        for &(letter, next) in &node.children {
            let place = base(number) ^ usize::from(letter);
            let has_leaf = u32::from(nodes[next].text.is_some());
            units[place] = ((place ^ base(next)) as u32) << 10 | has_leaf << 8 | u32::from(letter);
        }
        if let Some(text) = node.text {
            units[base(number)] = text as u32 | 1 << 31;
        }
    }
    let mut bytes = (4 * units.len() as u32).to_le_bytes().to_vec();
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes.extend(texts);
    base64(&bytes)
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = char::from(DIGITS[(number >> (18 - 6 * place)) as usize & 63]);
            text.push(if place <= group.len() { digit } else { '=' });
        }
    }
    text
}

pub(super) fn added(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
}

/// One of each family, with small vocabularies.
pub(super) fn bases() -> Vec<Value> {
    let parsed = |tokenizer: Tokenizer| serde_json::from_str(&tokenizer.to_json().unwrap()).unwrap();
    let letters: Vec<String> = ('a'..='z').map(String::from).collect();
    let pieces: Vec<Value> = ["<unk>", "▁", "he", "llo", "▁wor", "ld", "TM"]
        .into_iter()
        .chain(letters.iter().map(String::as_str))
        .enumerate()
        .map(|(number, piece)| json!([piece, -(number as f64)]))
        .collect();
    let unigram = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(0, "<unk>"), added(33, "<x>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": charsmap(&[("™", "TM"), ("ﬁ", "fi"), ("\u{1e}", ""), ("½", "1/2")])},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            {"type": "Strip", "strip_left": true, "strip_right": false}, {"type": "StripAccents"}, {"type": "Nmt"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {}},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false},
    });
    let words: Vec<String> = ["[UNK]", "[CLS]", "hello", "wor", "##ld", "!", "12"]
        .map(str::to_owned)
        .into_iter()
        .chain(letters.iter().flat_map(|letter| [letter.clone(), format!("##{letter}")]))
        .collect();
    let vocabulary: Value =
        words.iter().enumerate().map(|(id, word)| (word.clone(), json!(id))).collect::<serde_json::Map<_, _>>().into();
    let word_piece = json!({
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"},
        "added_tokens": [added(0, "[UNK]"), added(1, "[CLS]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[CLS]", 1], "cls": ["[CLS]", 1]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary},
    });
    let odd = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(0, "[UNK]")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKD"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": "_"},
            {"type": "Replace", "pattern": {"String": "ll"}, "content": "l"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Whitespace"}, {"type": "Punctuation", "behavior": "Isolated"}, {"type": "Digits", "individual_digits": true},
            {"type": "CharDelimiterSplit", "delimiter": "x"}, {"type": "UnicodeScripts"}, {"type": "FixedLength", "length": 3},
            {"type": "Split", "pattern": {"Regex": r"\s+(?!\S)|o"}, "behavior": "MergedWithPrevious", "invert": false}]},
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "_"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": true},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}, {"type": "Fuse"}]},
        "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "hel": 1, "o": 2, "wor": 3, "l": 4, "d": 5, "_": 6}},
    });
    let mut affixed = serde_json::Map::from_iter([("<unk>".to_owned(), json!(0))]);
    for piece in letters
        .iter()
        .flat_map(|l| [l.clone(), format!("##{l}"), format!("##{l}</w>"), format!("{l}</w>")])
        .chain(["he", "##ll"].map(str::to_owned))
    {
        let id = affixed.len();
        affixed.entry(piece).or_insert(json!(id));
    }
    let affixes = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(0, "<unk>")], "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "BPEDecoder", "suffix": "</w>"},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>",
            "fuse_unk": true, "byte_fallback": false, "ignore_merges": false, "vocab": affixed, "merges": [["h", "##e"], ["##l", "##l"]]},
    });
    vec![
        parsed(tiny_tokenizer(true)),
        parsed(Tokenizer::from_gguf(&sentence_piece().0, "file.gguf").unwrap()),
        unigram,
        word_piece,
        odd,
        affixes,
    ]
}
