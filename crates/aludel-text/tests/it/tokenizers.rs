//! Tokenizers from GGUF metadata, and read back from the files that are written from them.

use crate::common::{TextCase, fixture, tiny_tokenizer, tiny_vocabulary};
use aludel_text::{Error, GgufVocabulary, TextBundle, Tokenizer};

#[derive(serde::Deserialize)]
struct SentencePiece {
    tokens: Vec<String>,
    scores: Vec<f32>,
    token_types: Vec<i32>,
    cases: Vec<TextCase>,
}

pub(crate) fn sentence_piece() -> (GgufVocabulary, Vec<TextCase>) {
    let SentencePiece { tokens, scores, token_types, cases } = fixture("sentencepiece.json");
    let vocabulary = GgufVocabulary {
        model: "llama".to_owned(),
        tokens,
        scores,
        token_types,
        unknown_id: Some(0),
        ..GgufVocabulary::default()
    };
    (vocabulary, cases)
}

#[test]
fn sentence_piece_ids_are_those_of_the_library() {
    let (vocabulary, cases) = sentence_piece();
    let tokenizer = Tokenizer::from_gguf(&vocabulary, "file.gguf").unwrap();
    assert!(cases.len() > 20);
    for TextCase { text, ids } in cases {
        assert_eq!(tokenizer.encode(&text).unwrap(), ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        let mut stream = tokenizer.stream(false);
        let mut streamed: String = ids.iter().filter_map(|&id| stream.push(id)).collect();
        streamed.extend(stream.finish());
        assert_eq!(streamed, text);
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.token_bytes(id)).collect();
        let spelled = String::from_utf8(bytes).unwrap();
        assert!(spelled == text || spelled.strip_prefix(' ') == Some(text.as_str()), "{text:?} is {spelled:?}");
    }
    let user = tokenizer.token_to_id("<|user|>").unwrap();
    assert!(tokenizer.encode("<|user|>").unwrap().contains(&user));
    assert!(!tokenizer.encode_plain("<|user|>").unwrap().contains(&user));
    let unprefixed = GgufVocabulary { add_space_prefix: Some(false), ..vocabulary };
    let unprefixed = Tokenizer::from_gguf(&unprefixed, "file.gguf").unwrap();
    assert_eq!(unprefixed.decode(&unprefixed.encode("Hello").unwrap(), false).unwrap(), "Hello");
    assert_ne!(unprefixed.encode("Hello").unwrap(), tokenizer.encode("Hello").unwrap());
}

/// Like Gemma's runs of tabs: they are matched as a unit, longest first, and never merged.
#[test]
fn user_defined_tokens_at_the_end_of_a_sentence_piece_vocabulary_are_found_whole() {
    let (mut vocabulary, _) = sentence_piece();
    let first = vocabulary.tokens.len() as u32;
    for token in ["☃", "☃☃", "☃☃☃☃"] {
        vocabulary.tokens.push(token.to_owned());
        vocabulary.token_types.push(4);
        vocabulary.scores.push(-1.0);
    }
    // Gemma adds no space in front, so that text comes back as it was.
    let vocabulary = GgufVocabulary { add_space_prefix: Some(false), ..vocabulary };
    let tokenizer = Tokenizer::from_gguf(&vocabulary, "file.gguf").unwrap();
    for (count, wanted) in [(1, vec![0]), (2, vec![1]), (3, vec![1, 0]), (7, vec![2, 1, 0])] {
        let text = format!("a{}b", "☃".repeat(count));
        let ids = tokenizer.encode(&text).unwrap();
        let found: Vec<u32> = ids.iter().filter(|id| **id >= first).map(|id| id - first).collect();
        assert_eq!(found, wanted, "{ids:?}");
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
}

#[test]
fn added_tokens_are_recognised_and_known() {
    let tokenizer = tiny_tokenizer(true);
    let (open, end) = (tokenizer.token_to_id("<think>").unwrap(), 2);
    assert_eq!(tokenizer.vocab_size(), tiny_vocabulary(true).tokens.len());
    assert_eq!(tokenizer.encode("<think><|im_end|>").unwrap(), [open, end]);
    assert!(tokenizer.is_control(open) && tokenizer.is_control(end));
    assert!(!tokenizer.is_special(open) && tokenizer.is_special(end));
    assert_eq!(tokenizer.decode(&[open, end], true).unwrap(), "<think>");
    assert_eq!(tokenizer.decode(&[open, end, 9_999_999], false).unwrap(), "<think><|im_end|>");
    assert_eq!(tokenizer.id_to_token(end).as_deref(), Some("<|im_end|>"));
}

#[test]
fn streams_never_tear_a_character() {
    let tokenizer = tiny_tokenizer(false);
    let ids = tokenizer.encode("é🚀").unwrap();
    assert_eq!(ids.len(), 6);
    assert_eq!(ids.iter().flat_map(|&id| tokenizer.token_bytes(id)).collect::<Vec<_>>(), "é🚀".as_bytes());
    let mut stream = tokenizer.stream(true);
    let pushed: Vec<Option<String>> = ids[..5].iter().map(|&id| stream.push(id)).collect();
    assert_eq!(pushed, [None, Some("é".to_owned()), None, None, None]);
    assert_eq!(stream.push(2), None, "special tokens are skipped");
    assert_eq!(stream.finish().as_deref(), Some("\u{fffd}"));
    assert_eq!(stream.finish(), None);
}

#[test]
fn new_tokens_follow_the_vocabulary() {
    let mut tokenizer = tiny_tokenizer(false);
    let before = (tokenizer.vocab_size() as u32, tokenizer.fingerprint().unwrap());
    assert_eq!(before.1, tiny_tokenizer(false).fingerprint().unwrap());
    let tokens = ["<think>", "</think>", "<|im_end|>", "<think>"].map(str::to_owned);
    assert_eq!(tokenizer.add_tokens(&tokens).unwrap(), [before.0, before.0 + 1, 2, before.0]);
    assert_eq!(tokenizer.vocab_size() as u32, before.0 + 2);
    assert_ne!(before.1, tokenizer.fingerprint().unwrap());
    assert_eq!(tokenizer.encode("a<think>").unwrap().last(), Some(&before.0));
    assert!(!tokenizer.encode_plain("a<think>").unwrap().contains(&before.0));
    assert_eq!(tokenizer.decode(&[before.0], true).unwrap(), "<think>");
    assert!(matches!(tokenizer.add_tokens(&[" ".to_owned()]), Err(Error::AddToken { .. })));

    let (open, close) = (tokenizer.mean_source_ids("<think>").unwrap(), tokenizer.mean_source_ids("</think>").unwrap());
    let id = |token: &str| tokenizer.token_to_id(token).unwrap();
    assert!(open.contains(&id("think")) && open.contains(&id("<")), "{open:?}");
    assert!(close.contains(&id("answer")) && close.contains(&id("Ġanswer")) && close != open, "{close:?}");
    assert!(open.iter().chain(&close).all(|&id| !tokenizer.is_control(id)));
}

#[test]
fn what_is_written_gives_the_same_ids() {
    let text = "<|im_start|>user\nthinking 123 é<|im_end|>\n<think>";
    for vocabulary in [tiny_vocabulary(true), sentence_piece().0] {
        let mut bundle = TextBundle::from_gguf(&vocabulary, Some("{{ messages }}".to_owned()), "file.gguf").unwrap();
        bundle.tokenizer.add_tokens(&["<new>".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for file in bundle.to_files().unwrap() {
            std::fs::write(folder.path().join(file.name), file.contents).unwrap();
        }
        let read = TextBundle::from_folder(folder.path()).unwrap();
        assert_eq!(read.tokenizer.encode(text).unwrap(), bundle.tokenizer.encode(text).unwrap());
        assert_eq!(read.tokenizer.fingerprint().unwrap(), bundle.tokenizer.fingerprint().unwrap());
        assert_eq!((&read.special, &read.chat_template), (&bundle.special, &bundle.chat_template));
        assert_eq!(read.eos_id(), vocabulary.eos_id);
        // Written again, nothing changes.
        assert_eq!(read.to_files().unwrap(), bundle.to_files().unwrap());
    }
}

#[test]
fn padding_at_the_end_of_a_vocabulary_is_left_out() {
    let mut vocabulary = tiny_vocabulary(true);
    let used = vocabulary.tokens.len();
    for padding in 0..3 {
        vocabulary.tokens.push(format!("[PAD{padding}]"));
        vocabulary.token_types.push(5);
    }
    assert_eq!(Tokenizer::from_gguf(&vocabulary, "file.gguf").unwrap().vocab_size(), used);
}

#[test]
fn a_config_keeps_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("tokenizer.json", &tiny_tokenizer(false).to_json().unwrap());
    write(
        "tokenizer_config.json",
        r#"{"tokenizer_class":"Qwen2Tokenizer","custom":1,"eos_token":{"content":"<|im_end|>","lstrip":false},
            "chat_template":[{"name":"tool_use","template":"T"},{"name":"default","template":"D"}],
            "added_tokens_decoder":{"2":{"content":"<|im_end|>","special":true,"odd":true}}}"#,
    );
    let mut bundle = TextBundle::from_folder(folder.path()).unwrap();
    assert_eq!(bundle.chat_template.as_deref(), Some("D"));
    assert_eq!((bundle.eos_id(), bundle.bos_id()), (Some(2), None));
    let id = bundle.tokenizer.add_tokens(&["<think>".to_owned()]).unwrap()[0].to_string();
    let files = bundle.to_files().unwrap();
    let config: serde_json::Value = serde_json::from_str(&files[1].contents).unwrap();
    assert_eq!((&config["custom"], &config["tokenizer_class"]), (&1.into(), &"Qwen2Tokenizer".into()));
    assert_eq!(config["added_tokens_decoder"]["2"]["odd"], true);
    assert_eq!(config["added_tokens_decoder"][id.as_str()]["content"], "<think>");
    assert!(config.get("chat_template").is_none() && files[3].contents == "D");

    write("chat_template.jinja", "J");
    assert_eq!(TextBundle::from_folder(folder.path()).unwrap().chat_template.as_deref(), Some("J"));
    write("tokenizer_config.json", "[1");
    let message = TextBundle::from_folder(folder.path()).expect_err("broken").to_string();
    assert!(message.contains("tokenizer_config.json"), "{message}");
}

#[test]
fn faulty_vocabularies_are_refused() {
    let check = |change: &dyn Fn(&mut GgufVocabulary), expected: &[&str]| {
        let mut vocabulary = tiny_vocabulary(true);
        change(&mut vocabulary);
        let message = Tokenizer::from_gguf(&vocabulary, "file.gguf").expect_err("refused").to_string();
        for part in expected {
            assert!(message.contains(part), "{message}");
        }
    };
    check(&|v| v.model = "t5".to_owned(), &["\"t5\"", "gpt2", "llama"]);
    check(&|v| v.pre = Some("new".to_owned()), &["\"new\"", "smollm"]);
    check(&|v| v.tokens.clear(), &["tokenizer.ggml.tokens"]);
    check(&|v| v.token_types.truncate(3), &["tokenizer.ggml.token_type", "3 entries"]);
    check(&|v| v.token_types[5] = 7, &["tokenizer.ggml.token_type", "has the type 7; known: 1 to 6"]);
    check(&|v| v.scores = vec![0.0, f32::NAN], &["tokenizer.ggml.scores", "entry 1 is no number"]);
    check(&|v| v.eos_id = Some(9_999), &["eos_token_id", "9999"]);
    check(&|v| v.merges.push("single".to_owned()), &["tokenizer.ggml.merges", "single"]);
    // An error of the library names the file.
    check(&|v| v.merges.push("zz qq".to_owned()), &["file.gguf: not a usable tokenizer", "zz"]);
    check(&|v| v.tokens[50] = v.tokens[51].clone(), &["tokenizer.ggml.tokens", "twice"]);
    check(&|v| v.model = "llama".to_owned(), &["tokenizer.ggml.scores", "0 entries"]);
    let missing = Tokenizer::from_file("no/such/tokenizer.json").expect_err("missing").to_string();
    assert!(missing.contains("no/such/tokenizer.json"), "{missing}");
    let broken = Tokenizer::from_json(b"{}", "a file").expect_err("broken").to_string();
    assert!(broken.starts_with("a file: "), "{broken}");
}

#[test]
fn many_tokens_are_added_as_one_is() {
    let tokens: Vec<String> =
        (0..3_000).map(|number| format!("<{number}>")).chain(["<think>", "a", "<7>"].map(str::to_owned)).collect();
    let (mut together, mut apart) = (tiny_tokenizer(true), tiny_tokenizer(true));
    let size = together.vocab_size() as u32;
    let ids = together.add_tokens(&tokens).unwrap();
    assert_eq!(ids[..3_000], (size..size + 3_000).collect::<Vec<_>>());
    assert_eq!(
        ids[3_000..],
        [
            tiny_tokenizer(true).token_to_id("<think>").unwrap(),
            tiny_tokenizer(true).token_to_id("a").unwrap(),
            size + 7
        ]
    );
    for token in tokens.iter().take(20).chain(&tokens[3_000..]) {
        apart.add_tokens(std::slice::from_ref(token)).unwrap();
    }
    assert_eq!(together.encode("<7>a<19><think>").unwrap(), apart.encode("<7>a<19><think>").unwrap());
    assert!(together.is_new(size) && together.is_new(size + 2_999) && !together.is_new(ids[3_001]));
    assert_eq!(together.vocab_size(), size as usize + 3_000);
    let error = together.add_tokens(&["<new>".to_owned(), " ".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("\" \" cannot be added: it has no text"), "{error}");
    assert_eq!(together.token_to_id("<new>"), None, "nothing of a refused list is added");
}

/// Where transformers would give other ids than the tokenizer.json alone, the files say so.
#[test]
fn files_beside_a_tokenizer_that_contradict_it_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("tokenizer.json", &tiny_tokenizer(true).to_json().unwrap());
    let think = tiny_tokenizer(true).token_to_id("<think>").unwrap();
    let said = |file: &str, text: &str| {
        write(file, text);
        let error = TextBundle::from_folder(folder.path()).err().map(|error| error.to_string());
        std::fs::remove_file(folder.path().join(file)).unwrap();
        error
    };
    for (file, text, wanted) in [
        (
            "tokenizer_config.json",
            r#"{"added_tokens_decoder":{"999":{"content":"<new>"}}}"#,
            "gives the added token \"<new>\" the id 999, and tokenizer.json has no such token",
        ),
        (
            "tokenizer_config.json",
            r#"{"added_tokens_decoder":{"7":{"content":"<|im_end|>"}}}"#,
            "gives the added token \"<|im_end|>\" the id 7, and tokenizer.json has it as 2",
        ),
        (
            "tokenizer_config.json",
            r#"{"added_tokens_decoder":{"2":{"content":"<|im_end|>","rstrip":true}}}"#,
            "says `rstrip` = true of \"<|im_end|>\", and tokenizer.json false",
        ),
        (
            "tokenizer_config.json",
            r#"{"eos_token":"<end>"}"#,
            "its eos_token is \"<end>\", which tokenizer.json does not have",
        ),
        (
            "tokenizer_config.json",
            r#"{"extra_special_tokens":["<think>","<x>"]}"#,
            "its extra_special_tokens is \"<x>\", which tokenizer.json does not have",
        ),
        ("tokenizer_config.json", r#"{"split_special_tokens":true}"#, "`split_special_tokens` is true"),
        ("special_tokens_map.json", r#"{"bos_token":{"content":"<b>"}}"#, "its bos_token is \"<b>\", which"),
        (
            "added_tokens.json",
            r#"{"<think>":5}"#,
            "it gives the token \"<think>\" the id 5, and tokenizer.json has it as",
        ),
    ] {
        let error = said(file, text).unwrap_or_else(|| panic!("{text}"));
        assert!(error.contains(file) && error.contains(wanted) && error.contains("correct one of the two"), "{error}");
    }
    let same = format!(
        r#"{{"added_tokens_decoder":{{"{think}":{{"content":"<think>","lstrip":false}}}},"eos_token":"<|im_end|>","split_special_tokens":false}}"#
    );
    assert_eq!(said("tokenizer_config.json", &same), None);
    assert_eq!(said("added_tokens.json", &format!(r#"{{"<think>":{think}}}"#)), None);
    write("special_tokens_map.json", r#"{"eos_token":"<|bos|>"}"#);
    let error = said("tokenizer_config.json", r#"{"eos_token":"<|im_end|>"}"#).unwrap();
    assert!(
        error.contains("its eos_token is \"<|bos|>\", and that of tokenizer_config.json \"<|im_end|>\""),
        "{error}"
    );
}

#[test]
fn of_named_templates_the_default_or_the_only_one_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("tokenizer.json", &tiny_tokenizer(true).to_json().unwrap());
    for (list, wanted) in [
        (r#"[{"name":"rag","template":"R"},{"name":"default","template":"D"}]"#, Some("D")),
        (r#"[{"name":"chat","template":"C"}]"#, Some("C")),
        (r#"[{"name":"rag","template":"R"},{"name":"tool_use","template":"T"}]"#, None),
    ] {
        write("tokenizer_config.json", &format!(r#"{{"chat_template":{list}}}"#));
        assert_eq!(TextBundle::from_folder(folder.path()).unwrap().chat_template.as_deref(), wanted, "{list}");
    }
}

#[test]
fn plain_text_begins_as_the_files_say() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let mut file: serde_json::Value = serde_json::from_str(&tiny_tokenizer(true).to_json().unwrap()).unwrap();
    let template = serde_json::json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|bos|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [3], "tokens": ["<|bos|>"]}}});
    let bytes =
        serde_json::json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
    for (processor, config, wanted) in [
        (serde_json::Value::Null, r#"{"bos_token":"<|bos|>"}"#, None),
        (template.clone(), r#"{"bos_token":"<|bos|>"}"#, Some(3)),
        (template.clone(), r#"{"bos_token":"<|bos|>","add_bos_token":false}"#, None),
        (
            serde_json::json!({"type": "Sequence", "processors": [bytes, template]}),
            r#"{"bos_token":"<|bos|>"}"#,
            Some(3),
        ),
    ] {
        file["post_processor"] = processor;
        write("tokenizer.json", &file.to_string());
        write("tokenizer_config.json", config);
        assert_eq!(TextBundle::from_folder(folder.path()).unwrap().bos_id(), wanted, "{config}");
    }
}
