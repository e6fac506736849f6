//! Faults of a tokenizer.json are reported with their place, and in none of the words of the library's own code.

use aludel_text::Tokenizer;
use serde_json::{Value, json};

use crate::common::tiny_tokenizer;

fn base() -> Value {
    let mut file: Value = serde_json::from_str(&tiny_tokenizer(true).to_json().unwrap()).unwrap();
    file["normalizer"] = json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"String": "a"}, "content": "a"}]});
    file
}

fn refusal(bytes: &[u8]) -> String {
    let error = Tokenizer::from_json(bytes, "file").unwrap_err().to_string();
    for word in ["untagged", "enum", "unwrap", "Option", "struct", "u32", "f64", "variant", "Error(", "::", "panicked"]
    {
        assert!(!error.contains(word), "{word}: {error}");
    }
    let reason = error.strip_prefix("file: not a usable tokenizer: ").unwrap_or_else(|| panic!("{error}"));
    let end = "; expected the tokenizer.json that the `tokenizers` library writes";
    reason.strip_suffix(end).unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn each_fault_is_named_with_its_place() {
    assert!(Tokenizer::from_json(base().to_string().as_bytes(), "file").is_ok());
    let step = "/pre_tokenizer/pretokenizers/1";
    for (pointer, value, wanted) in [
        (
            format!("{step}/pattern"),
            json!({"Regx": "a"}),
            "pre_tokenizer.pretokenizers[1].pattern is an object, and an object with one text, `String` or `Regex` is wanted",
        ),
        (
            format!("{step}/pattern"),
            json!("a"),
            "pre_tokenizer.pretokenizers[1].pattern is \"a\", and an object with one text, `String` or `Regex` is wanted",
        ),
        (
            format!("{step}/behavior"),
            json!("Isolate"),
            "pre_tokenizer.pretokenizers[1].behavior is \"Isolate\", and one of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous is wanted",
        ),
        (format!("{step}/invert"), json!(0), "pre_tokenizer.pretokenizers[1].invert is 0, and true or false is wanted"),
        (
            format!("{step}/type"),
            json!("Spilt"),
            "pre_tokenizer.pretokenizers[1] has the type \"Spilt\", which is not known here; known: BertPreTokenizer, Whitespace, WhitespaceSplit, UnicodeScripts, ByteLevel, CharDelimiterSplit, Delimiter, Metaspace, Sequence, Split, Punctuation, Digits, FixedLength",
        ),
        (
            step.to_owned(),
            json!({"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated"}),
            "pre_tokenizer.pretokenizers[1] has no `invert`, which is needed",
        ),
        (
            step.to_owned(),
            json!({"type": "Digits", "individual_digits": true, "groups": 3}),
            "pre_tokenizer.pretokenizers[1] has the field \"groups\", which is not known here and may change ids; if it changes nothing, take it out",
        ),
        (format!("{step}/pattern/Regex"), json!("("), "pre_tokenizer.pretokenizers[1].pattern: the expression \"(\" "),
        ("/pre_tokenizer".to_owned(), json!("ByteLevel"), "pre_tokenizer is a step that is no object"),
        (
            "/pre_tokenizer/pretokenizers".to_owned(),
            json!(["ByteLevel"]),
            "pre_tokenizer.pretokenizers is a list, and a list of steps is wanted",
        ),
        (
            "/normalizer/normalizers/1/content".to_owned(),
            json!(null),
            "normalizer.normalizers[1].content is null, and a text is wanted",
        ),
        (
            "/normalizer/normalizers/0".to_owned(),
            json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            "normalizer.normalizers[0].precompiled_charsmap is damaged: it has no length",
        ),
        (
            "/decoder/trim_offsets".to_owned(),
            json!("no"),
            "decoder.trim_offsets is \"no\", and true or false is wanted",
        ),
        (
            "/decoder".to_owned(),
            json!({"type": "Strip", "content": "ab", "start": 1, "stop": 0}),
            "decoder.content is \"ab\", and a text of one character is wanted",
        ),
        (
            "/post_processor".to_owned(),
            json!({"type": "TemplateProcessing"}),
            "its post_processor is not as the library writes it",
        ),
        ("/model".to_owned(), json!(null), "model is null, and an object is wanted"),
        (
            "/model/type".to_owned(),
            json!("BPEE"),
            "model has the type \"BPEE\", which is not known here; known: BPE, WordPiece, WordLevel, Unigram",
        ),
        ("/model/vocab/a".to_owned(), json!(-1), "model.vocab[\"a\"] is -1, and an id from 0 to 4294967295 is wanted"),
        ("/model/vocab".to_owned(), json!("absent"), "model.vocab is \"absent\", and an object or a list is wanted"),
        ("/model/merges/3".to_owned(), json!(["a"]), "model.merges[3] is a list, and a pair of tokens is wanted"),
        ("/model/merges/3".to_owned(), json!(["a", "\u{4}"]), "its model cannot be used: "),
        ("/model/fuse_unk".to_owned(), json!("yes"), "model.fuse_unk is \"yes\", and true or false is wanted"),
        (
            "/added_tokens/0/id".to_owned(),
            json!(4_294_967_296_u64),
            "added_tokens[0].id is 4294967296, and an id from 0 to 4294967295 is wanted",
        ),
        (
            "/added_tokens/1/special".to_owned(),
            json!(null),
            "added_tokens[1].special is null, and true or false is wanted",
        ),
        ("/version".to_owned(), json!("2.0"), "version is \"2.0\", and one of 1.0 is wanted"),
    ] {
        let mut file = base();
        *file.pointer_mut(&pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        let reason = refusal(file.to_string().as_bytes());
        assert!(reason.starts_with(wanted), "{pointer}: {reason}");
    }
    let mut file = base();
    file["pretokenizer"] = json!({"type": "ByteLevel"});
    let reason = refusal(file.to_string().as_bytes());
    assert!(reason.starts_with("the file has the field \"pretokenizer\", which is not known here"), "{reason}");
    let mut file = base();
    file["model"]["byte_fallbac"] = json!(true);
    let reason = refusal(file.to_string().as_bytes());
    assert!(reason.starts_with("model has the field \"byte_fallbac\", which is not known here"), "{reason}");
    assert!(refusal(b"{\"model\": ").starts_with("it is not valid JSON: "));
    assert_eq!(refusal(b"[]"), "it is a list, and an object is wanted");
}
