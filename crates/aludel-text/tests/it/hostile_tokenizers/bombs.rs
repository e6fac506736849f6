//! Hand-written files that try to end, fill or hang the process.

use serde_json::{Value, json};

use super::files::{added, base64, bases, charsmap};

/// A base with something put in the place of what a pointer names.
fn changed(base: &Value, pointer: &str, value: Value) -> Value {
    let mut file = base.clone();
    *file.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
    file
}

pub(super) fn bombs() -> Vec<Value> {
    let bases = bases();
    let [bytes, llama, unigram, words, odd, affixes] = bases.as_slice() else { panic!("six bases") };
    let long = |count: usize| "x".repeat(count);
    let replace = |pattern: Value, content: String| json!({"type": "Replace", "pattern": pattern, "content": content});
    let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps});
    let pre = |steps: Vec<Value>| json!({"type": "Sequence", "pretokenizers": steps});
    let split =
        |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let mut nested = json!({"type": "NFC"});
    for _ in 0..60 {
        nested = sequence(vec![nested]);
    }
    let mut bombs = Vec::new();
    // Normalisers that multiply, alone and together.
    for normalizer in [
        replace(json!({"String": "a"}), long(50_000_000)),
        replace(json!({"String": "a"}), long(4_000)),
        replace(json!({"String": ""}), long(4_000)),
        replace(json!({"Regex": ""}), long(1_000)),
        replace(json!({"Regex": ""}), String::new()),
        replace(json!({"Regex": "(?=.)"}), long(400)),
        replace(json!({"Regex": "(?=a{60})"}), long(4_000)),
        replace(json!({"Regex": "."}), long(3_000)),
        json!({"type": "Prepend", "prepend": long(30_000_000)}),
        json!({"type": "Prepend", "prepend": long(3_000)}),
        sequence(vec![replace(json!({"String": "a"}), "aa".to_owned()); 60]),
        sequence(vec![replace(json!({"String": "x"}), "xxxxxxxxxx".to_owned()); 9]),
        sequence(vec![replace(json!({"Regex": "."}), "aa".to_owned()); 30]),
        sequence(vec![json!({"type": "Prepend", "prepend": "aaaaaaaa"}); 90]),
        sequence(vec![json!({"type": "ByteLevel"}); 90]),
        sequence(vec![json!({"type": "NFKD"}); 90]),
        sequence(vec![json!({"type": "Lowercase"}); 50_000]),
        sequence(vec![sequence(vec![json!({"type": "NFC"}); 90]), sequence(vec![json!({"type": "NFC"}); 90])]),
        nested,
        json!({"type": "Precompiled", "precompiled_charsmap": charsmap(&[("a", &long(5_000_000))])}),
        json!({"type": "Precompiled", "precompiled_charsmap": charsmap(&[("a", &long(2_000))])}),
        json!({"type": "Precompiled", "precompiled_charsmap": ""}),
        json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="}),
        json!({"type": "Precompiled", "precompiled_charsmap": base64(&[0xff; 400])}),
        json!({"type": "Precompiled", "precompiled_charsmap": base64(&[&[0, 4, 0, 0][..], &[0xff; 1024], b"abc\0"].concat())}),
        json!({"prepend": long(10_000_000)}),
        json!({"type": "Replace", "pattern": {"Regex": "a"}, "content": long(20_000_000), "prepend": long(20_000_000),
            "precompiled_charsmap": charsmap(&[("a", &long(20_000_000))])}),
        json!({"type": "Replace", "pattern": {"String": "a"}, "prepend": long(10_000), "content": "b"}),
        json!({"type": "Prepend", "pattern": {"String": "a"}, "content": long(10_000_000)}),
    ] {
        bombs.push(changed(bytes, "/normalizer", normalizer.clone()));
        bombs.push(changed(unigram, "/normalizer", normalizer));
    }
    // Cutting into words: steps that multiply or find nothing, and expressions that go back without end.
    for pre_tokenizer in [
        pre(vec![
            json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": false, "trim_offsets": false});
            40
        ]),
        pre(vec![json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}); 40]),
        pre(vec![json!({"type": "Whitespace"}); 100_000]),
        json!({"type": "FixedLength", "length": 0}),
        json!({"type": "FixedLength", "length": 18_446_744_073_709_551_615_u64}),
        json!({"type": "Split", "pattern": {"String": ""}, "behavior": "Removed", "invert": true}),
        split(""),
        split("(?=)"),
        split(r"(a+)+b"),
        split(r"(?=(a+)+b)"),
        split(r"(a*)*(?!x)b|."),
        split(r"a*a*a*a*(?!x)b|."),
        split(r"(?:a|a)*(?<!x)b|."),
        split(r"(?:(?:ab)+)+(?!x)c|."),
        split(r"(a*)*\1b|."),
        split(r"(?<n>a|b\g<n>c)+"),
        split(r"(?:\p{L}{1,60}){1,60}"),
        split(r"(?:(?:(?:a{0,60}){0,60}){0,60}){0,60}"),
        split(r"a{1000000}"),
        split(r"\G\K"),
        split(r"(?:[q-s]{0,60}[q-s]{0,60}[q-s]{0,60}(?=[^\s\S]))|."),
        pre(vec![split(r"(?:.{0,60}.{0,60}(?=[^\s\S]))|."); 10]),
        pre(vec![split(&format!("{}|.", r"(?=\w{60})".repeat(30))); 20]),
        pre(vec![split(r"(?i)(?:[\p{L}\p{N}\p{M}]{64}|.)"); 98]),
        split(&"(?:".repeat(3_000)),
        split(&format!("(?:{})", vec!["[a-z]?"; 4_000].concat())),
        pre(vec![json!({"type": "WhitespaceSplit"}), split(r"(?>a*)*(?!x)c|(a|aa)+(?!x)b")]),
    ] {
        bombs.push(changed(bytes, "/pre_tokenizer", pre_tokenizer.clone()));
        bombs.push(changed(words, "/pre_tokenizer", pre_tokenizer));
    }
    // Decoders.
    for decoder in [
        json!({"type": "Sequence", "decoders": vec![replace(json!({"Regex": "."}), "aaaaaaaa".to_owned()); 20]}),
        replace(json!({"String": "a"}), long(20_000_000)),
        replace(json!({"Regex": ""}), long(10_000)),
        json!({"type": "Strip", "content": "a", "start": 0, "stop": 1_000_000_000_000_u64}),
        json!({"type": "Strip", "content": "a", "start": 1_000_000_000_000_u64, "stop": 3}),
        json!({"type": "Sequence"}),
        json!({"type": "Strip"}),
        json!({"type": "BPEDecoder", "suffix": ""}),
        json!({"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": true}),
        json!({"type": "Sequence", "decoders": vec![json!({"type": "BPEDecoder", "suffix": ""}); 60]}),
        json!({"type": "Sequence", "decoders": vec![json!({"type": "Fuse"}); 100_000]}),
    ] {
        bombs.push(changed(llama, "/decoder", decoder.clone()));
        bombs.push(changed(odd, "/decoder", decoder));
    }
    // Models and tokens.
    let many: Vec<Value> = (0..20_000).map(|number| added(1_000 + number, &format!("<{number}>"))).collect();
    let ladder: Vec<Value> = (0..3_000).map(|number| json!([long(number + 1), -1.0])).collect();
    let flags = |content: &str| json!([{"id": 0, "content": content, "single_word": true, "lstrip": true, "rstrip": true, "normalized": true, "special": false}]);
    bombs.extend([
        changed(affixes, "/model/continuing_subword_prefix", json!("é")),
        changed(affixes, "/model/continuing_subword_prefix", json!("##########")),
        changed(affixes, "/model/continuing_subword_prefix", json!(long(10_000_000))),
        changed(affixes, "/model/end_of_word_suffix", json!(long(10_000_000))),
        changed(affixes, "/model/merges", json!([["h", "é"], ["é", "h"]])),
        changed(affixes, "/model/merges", json!(["h ##e", "x"])),
        changed(affixes, "/model/dropout", json!(0.5)),
        changed(affixes, "/model/unk_token", json!("absent")),
        changed(bytes, "/model/vocab", json!({})),
        changed(bytes, "/model/vocab", json!({"a": 4_294_967_295_u32})),
        changed(bytes, "/model/vocab", json!({"a": -1})),
        changed(bytes, "/added_tokens", json!(many)),
        changed(bytes, "/added_tokens", json!([added(4_294_967_295, "<z>")])),
        changed(words, "/added_tokens", flags("[UNK]")),
        changed(words, "/added_tokens", flags(" ")),
        changed(words, "/added_tokens", flags("")),
        changed(words, "/model/max_input_chars_per_word", json!(1_000_000_000)),
        changed(words, "/model/continuing_subword_prefix", json!(long(1_000_000))),
        changed(unigram, "/model/vocab", json!(ladder)),
        changed(unigram, "/model/vocab", json!([["<unk>", 0.0], [long(2_000_000), -1.0]])),
        changed(unigram, "/model", json!({"unk_id": 0, "vocab": [["<unk>", 0.0], [long(2_000_000), -1.0]]})),
        changed(unigram, "/added_tokens/1/content", json!(long(20_000_000))),
        changed(unigram, "/model/vocab", json!((0..30_000).map(|number| json!([format!("{number}{}", long(500)), -1.0])).collect::<Vec<_>>())),
        changed(unigram, "/added_tokens", json!((0..9_000).map(|number| added(number, &format!("{number}{}", long(900)))).collect::<Vec<_>>())),
        changed(bytes, "/normalizer", replace(json!({"String": long(20_000_000)}), String::new())),
        changed(unigram, "/model/vocab", json!([])),
        changed(unigram, "/model/vocab", json!([["", 0.0]])),
        changed(unigram, "/model/vocab", json!([["a", 1e308], ["aa", 1e308], ["aaa", -1e308]])),
        changed(unigram, "/model/unk_id", json!(1_000_000)),
        changed(unigram, "/model/unk_id", json!(null)),
        changed(odd, "/model/vocab", json!({"[UNK]": 0, "a".repeat(20_000_000): 1})),
        changed(odd, "/model/unk_token", json!(long(1_000_000))),
        changed(words, "/truncation", json!({"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 18_446_744_073_709_551_615_u64})),
        changed(words, "/padding/strategy", json!({"Fixed": 1_000_000_000_000_u64})),
        changed(words, "/post_processor", json!({"type": "TemplateProcessing", "single": "$A:0 [SEP]:0", "pair": "", "special_tokens": {}})),
        json!(null),
        json!([]),
        json!({}),
        json!({"version": "1.0", "model": null}),
    ]);
    bombs
}
