//! Ids and renderings of real models against references (fixtures by tools/golden/text): the student's GGUF that
//! ALUDEL_TEST_STUDENT names, and tokenizers of other families in the folder that ALUDEL_TEST_TOKENIZERS names.

use std::collections::HashMap;

use crate::common::{ChatCase, Reference, TextCase, fixture, student};
use aludel_text::{EncodeOptions, GgufVocabulary, TextBundle, Tokenizer, encode};

fn check(name: &str, bundle: &TextBundle, reference: &Reference) {
    for TextCase { text, ids } in &reference.texts {
        assert_eq!(&bundle.tokenizer.encode(text).unwrap(), ids, "{name}: {text:?}");
        let mut stream = bundle.tokenizer.stream(false);
        let mut streamed: String = ids.iter().filter_map(|&id| stream.push(id)).collect();
        streamed.extend(stream.finish());
        assert_eq!(streamed, bundle.tokenizer.decode(ids, false).unwrap(), "{name}: {text:?}");
        let plain = bundle.tokenizer.encode_plain(text).unwrap();
        assert!(plain.iter().all(|&id| !bundle.tokenizer.is_control(id)), "{name}: {text:?}");
    }
    let template = bundle.template(name).unwrap();
    for ChatCase { conversation, messages, prompt, text, ids, .. } in &reference.chats {
        if !prompt && messages.iter().any(|message| message.reasoning.is_some()) && name != "qwen3" {
            continue;
        }
        let options = if *prompt { EncodeOptions::prompt(false) } else { EncodeOptions::default() };
        let rows = encode(&template, &bundle.tokenizer, messages, &options).unwrap();
        assert_eq!(rows.len(), 1, "{name}: {conversation}");
        assert_eq!(&rows[0].text, text, "{name}: {conversation}");
        if !conversation.contains("tool") {
            assert_eq!(&rows[0].ids, ids, "{name}: {conversation}");
        }
    }
}

#[test]
fn the_students_ids() {
    let Some((vocabulary, template)) = student() else { return };
    let bundle = TextBundle::from_gguf(&vocabulary, Some(template), "file.gguf").unwrap();
    assert_eq!(bundle.tokenizer.vocab_size(), 49_152);
    check("student", &bundle, &fixture("student.json"));
}

#[test]
fn other_families_ids() {
    let Some(folder) = std::env::var_os("ALUDEL_TEST_TOKENIZERS").map(std::path::PathBuf::from) else {
        eprintln!("skipped: ALUDEL_TEST_TOKENIZERS is not set");
        return;
    };
    let references: HashMap<String, Reference> = fixture("families.json");
    for (name, reference) in references {
        let bundle = TextBundle::from_folder(folder.join(&name)).unwrap();
        check(&name, &bundle, &reference);
        // The same vocabulary as a GGUF would carry it gives the same ids.
        let pre = match name.as_str() {
            "qwen3" => "qwen2",
            "llama3_1" => "llama-bpe",
            _ => "deepseek-v3",
        };
        let rebuilt = Tokenizer::from_gguf(&as_gguf(&bundle, pre), "file.gguf").unwrap();
        for TextCase { text, ids } in &reference.texts {
            assert_eq!(&rebuilt.encode(text).unwrap(), ids, "{name} as GGUF: {text:?}");
        }
    }
}

fn as_gguf(bundle: &TextBundle, pre: &str) -> GgufVocabulary {
    let document: serde_json::Value = serde_json::from_str(&bundle.tokenizer.to_json().unwrap()).unwrap();
    let merges = document["model"]["merges"].as_array().unwrap();
    let added: HashMap<u32, bool> =
        bundle.tokenizer.added_tokens().into_iter().map(|(id, _, special)| (id, special)).collect();
    let ids = 0..bundle.tokenizer.vocab_size() as u32;
    GgufVocabulary {
        model: "gpt2".to_owned(),
        pre: Some(pre.to_owned()),
        tokens: ids.clone().map(|id| bundle.tokenizer.id_to_token(id).unwrap()).collect(),
        token_types: ids.map(|id| added.get(&id).map_or(1, |&special| if special { 3 } else { 4 })).collect(),
        merges: merges
            .iter()
            .map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
            .collect(),
        ..GgufVocabulary::default()
    }
}
