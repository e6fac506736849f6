//! Shared by the tests: a tiny byte-level tokenizer, the fixtures, and a reader for the metadata of the real student.

use std::path::{Path, PathBuf};

use aludel_text::{GgufVocabulary, Message, Tokenizer};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(crate) fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A text and the ids that a reference gave it.
#[derive(Deserialize)]
pub(crate) struct TextCase {
    pub(crate) text: String,
    pub(crate) ids: Vec<u32>,
}

/// A conversation and what transformers made of it.
#[derive(Deserialize)]
pub(crate) struct ChatCase {
    #[serde(default)]
    pub(crate) template: String,
    pub(crate) conversation: String,
    pub(crate) messages: Vec<Message>,
    pub(crate) prompt: bool,
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) ids: Vec<u32>,
}

#[derive(Deserialize)]
pub(crate) struct Reference {
    pub(crate) texts: Vec<TextCase>,
    pub(crate) chats: Vec<ChatCase>,
}

/// 256 bytes, a few merges, three control tokens in front and, where asked for, the reasoning tags as added tokens.
pub(crate) fn tiny_vocabulary(with_think: bool) -> GgufVocabulary {
    let mut tokens: Vec<String> =
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|bos|>"].map(str::to_owned).to_vec();
    let mut token_types = vec![3; tokens.len()];
    let mut other = 0x100;
    for byte in 0..=u8::MAX {
        let letter = if matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..) {
            char::from(byte)
        } else {
            other += 1;
            char::from_u32(other - 1).unwrap()
        };
        tokens.push(letter.to_string());
    }
    let merges =
        ["t h", "i n", "th in", "thin k", "Ċ Ċ", "a n", "s w", "e r", "an sw", "answ er", "Ġ answer", "Ġ t", "r e"];
    for merge in merges {
        tokens.push(merge.replace(' ', ""));
    }
    token_types.resize(tokens.len(), 1);
    if with_think {
        tokens.extend(["<think>", "</think>"].map(str::to_owned));
        token_types.extend([4, 4]);
    }
    GgufVocabulary {
        model: "gpt2".to_owned(),
        pre: Some("smollm".to_owned()),
        tokens,
        merges: merges.map(str::to_owned).to_vec(),
        token_types,
        bos_id: Some(3),
        eos_id: Some(2),
        unknown_id: Some(0),
        padding_id: Some(2),
        add_bos: Some(false),
        ..GgufVocabulary::default()
    }
}

pub(crate) fn tiny_tokenizer(with_think: bool) -> Tokenizer {
    Tokenizer::from_gguf(&tiny_vocabulary(with_think), "file.gguf").unwrap()
}

/// The student's vocabulary and template, or `None` where no student is given and none is required.
pub(crate) fn student() -> Option<(GgufVocabulary, String)> {
    let Some(path) = std::env::var_os("ALUDEL_TEST_STUDENT").map(PathBuf::from) else {
        assert!(
            std::env::var_os("ALUDEL_REQUIRE_STUDENT").is_none(),
            "ALUDEL_TEST_STUDENT must name the student's GGUF"
        );
        eprintln!("skipped: ALUDEL_TEST_STUDENT is not set");
        return None;
    };
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = Metadata { bytes: &bytes, at: 0 };
    assert_eq!(reader.take(4), b"GGUF");
    let (_version, _tensors, pairs) = (reader.u32(), reader.u64(), reader.u64());
    let mut vocabulary = GgufVocabulary::default();
    let mut template = String::new();
    for _ in 0..pairs {
        let key = reader.string();
        let value = reader.value();
        match (key.strip_prefix("tokenizer.").unwrap_or_default(), value) {
            ("ggml.model", Item::Text(text)) => vocabulary.model = text,
            ("ggml.pre", Item::Text(text)) => vocabulary.pre = Some(text),
            ("ggml.tokens", Item::Texts(texts)) => vocabulary.tokens = texts,
            ("ggml.merges", Item::Texts(texts)) => vocabulary.merges = texts,
            ("ggml.token_type", Item::Numbers(kinds)) => {
                vocabulary.token_types = kinds.into_iter().map(|kind| kind as i32).collect();
            }
            ("ggml.bos_token_id", Item::Number(id)) => vocabulary.bos_id = Some(id as u32),
            ("ggml.eos_token_id", Item::Number(id)) => vocabulary.eos_id = Some(id as u32),
            ("ggml.unknown_token_id", Item::Number(id)) => vocabulary.unknown_id = Some(id as u32),
            ("ggml.padding_token_id", Item::Number(id)) => vocabulary.padding_id = Some(id as u32),
            ("ggml.add_bos_token", Item::Number(flag)) => vocabulary.add_bos = Some(flag != 0),
            ("chat_template", Item::Text(text)) => template = text,
            _ => {}
        }
    }
    Some((vocabulary, template))
}

enum Item {
    Text(String),
    Texts(Vec<String>),
    Number(u64),
    Numbers(Vec<u64>),
}

/// Trusts its file: it reads the student that the tests are given, nothing else.
struct Metadata<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Metadata<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        self.at += count;
        &self.bytes[self.at - count..self.at]
    }

    fn number(&mut self, count: usize) -> u64 {
        self.take(count).iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    fn u32(&mut self) -> u32 {
        self.number(4) as u32
    }

    fn u64(&mut self) -> u64 {
        self.number(8)
    }

    fn string(&mut self) -> String {
        let count = self.u64() as usize;
        String::from_utf8(self.take(count).to_vec()).unwrap()
    }

    fn value(&mut self) -> Item {
        let kind = self.u32();
        match kind {
            8 => Item::Text(self.string()),
            9 => match (self.u32(), self.u64()) {
                (8, count) => Item::Texts((0..count).map(|_| self.string()).collect()),
                (kind, count) => Item::Numbers((0..count).map(|_| self.number(width(kind))).collect()),
            },
            _ => Item::Number(self.number(width(kind))),
        }
    }
}

fn width(kind: u32) -> usize {
    match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        _ => 8,
    }
}
