//! The steps before the model: ids equal those of the library wherever its searches end, and there is an error where
//! they give up.

use aludel_text::{Error, Tokenizer};
use serde_json::{Value, json};

use crate::common::tiny_tokenizer;

/// The tiny tokenizer with other steps.
fn file(normalizer: &Value, pre_tokenizer: &Value) -> String {
    let mut file: Value = serde_json::from_str(&tiny_tokenizer(true).to_json().unwrap()).unwrap();
    file["normalizer"] = normalizer.clone();
    file["pre_tokenizer"] = pre_tokenizer.clone();
    file.to_string()
}

fn byte_level(use_regex: bool, add_prefix_space: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true, "use_regex": use_regex})
}

fn split(regex: &str, behavior: &str, invert: bool) -> Value {
    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert})
}

fn sequence(steps: &[Value]) -> Value {
    json!({"type": "Sequence", "pretokenizers": steps})
}

fn replace(regex: &str) -> Value {
    json!({"type": "Replace", "pattern": {"Regex": regex}, "content": "ab"})
}

/// Has a look-ahead, as the expressions of most families have.
const LOOKING: &str = r"\s+(?!\S)|\s+|\w+";

#[test]
fn ids_are_those_of_the_library() {
    let texts = [
        "",
        " ",
        "a",
        "it's  12 cats,\tno?\n\n x\u{a0}y ",
        " <think>a b</think>  <|im_end|> c",
        "aa  bb   cc    ",
        "é🚀 中文 it's",
    ];
    let mut cutters = vec![byte_level(true, true), byte_level(true, false), byte_level(false, true), Value::Null];
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] {
        for invert in [true, false] {
            cutters.push(sequence(&[split(LOOKING, behavior, invert), byte_level(false, false)]));
        }
    }
    cutters
        .push(sequence(&[json!({"type": "Digits", "individual_digits": true}), sequence(&[byte_level(true, false)])]));
    let normalizers = [
        Value::Null,
        replace(r"\s(?=a)"),
        json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, replace("c+"), {"type": "Prepend", "prepend": "b"}]}),
    ];
    let (mut all, mut lost) = (0, 0);
    for cutter in &cutters {
        for normalizer in &normalizers {
            let file = file(normalizer, cutter);
            let ours = Tokenizer::from_json(file.as_bytes(), "file").unwrap();
            let library: tokenizers::Tokenizer = file.parse().unwrap();
            for text in texts {
                let wanted = library.encode(text, false).unwrap();
                match ours.encode(text) {
                    Ok(ids) => assert_eq!(ids, wanted.get_ids(), "{text:?} by {normalizer} and {cutter}"),
                    // Blanks apart, which some of these steps take or add, the ids are not the text any more.
                    Err(Error::TextLost { .. }) => {
                        let read = library.decode(wanted.get_ids(), false).unwrap();
                        assert_ne!(read, text, "{normalizer} and {cutter}");
                        lost += 1;
                    }
                    Err(error) => panic!("{text:?} by {normalizer} and {cutter}: {error}"),
                }
                all += 1;
            }
        }
    }
    assert!(lost > 20 && all - lost > 100, "{lost} of {all}");
}

/// The library splits the rest of such a text differently, without an error.
#[test]
fn a_search_that_gives_up_is_an_error() {
    let blanks = format!("a{}b c", " ".repeat(1_200_000));
    let letters = "b".repeat(1_200_000);
    let cases = [
        (Value::Null, byte_level(true, false), &blanks),
        (Value::Null, sequence(&[split(LOOKING, "Isolated", false), byte_level(false, false)]), &blanks),
        (Value::Null, sequence(&[split(LOOKING, "Removed", true), byte_level(false, false)]), &blanks),
        (replace("a(?=x)|c"), byte_level(false, false), &letters),
    ];
    for (normalizer, cutter, text) in cases {
        let tokenizer = Tokenizer::from_json(file(&normalizer, &cutter).as_bytes(), "file").unwrap();
        for encoded in [tokenizer.encode(text), tokenizer.encode_plain(text)] {
            let error = encoded.unwrap_err().to_string();
            assert!(error.contains("the search for its expression") && error.contains("gives up"), "{error}");
            assert!(error.len() < 600, "{error}");
        }
        assert!(tokenizer.encode("a b").is_ok());
    }
}

/// Of the library, too, with texts that its decoders take apart.
#[test]
fn decoded_texts_are_those_of_the_library_or_an_error() {
    let ids: Vec<u32> = tiny_tokenizer(true).encode("aab ab  <think>é🚀 it's<|im_end|>").unwrap();
    let mut file: Value = serde_json::from_str(&tiny_tokenizer(true).to_json().unwrap()).unwrap();
    let bytes = byte_level(true, true);
    for decoder in [
        Value::Null,
        bytes.clone(),
        replace("a(?=b)"),
        replace("^a|$"),
        replace("x*"),
        json!({"type": "Sequence", "decoders": [replace("t+"), {"type": "Fuse"}, replace("(?<=a)b"), {"type": "Strip", "content": "a", "start": 1, "stop": 0}]}),
        json!({"type": "Sequence", "decoders": [{"type": "Sequence", "decoders": [replace("i")]}, bytes]}),
        json!({"type": "Sequence", "decoders": []}),
    ] {
        file["decoder"] = decoder.clone();
        let ours = Tokenizer::from_json(file.to_string().as_bytes(), "file").unwrap();
        let library: tokenizers::Tokenizer = file.to_string().parse().unwrap();
        for skip_special in [true, false] {
            for ids in [&ids[..], &ids[..1], &ids[1..4]] {
                let wanted = library.decode(ids, skip_special).unwrap();
                assert_eq!(ours.decode(ids, skip_special).unwrap(), wanted, "{decoder}");
            }
        }
    }
    file["decoder"] = json!({"type": "Sequence", "decoders": [{"type": "Fuse"}, replace("a(?=x)|c")]});
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes(), "file").unwrap();
    let id = tokenizer.token_to_id("b").unwrap();
    let error = tokenizer.decode(&vec![id; 1_200_000], false).unwrap_err().to_string();
    assert!(
        error.contains("1200000 ids to decode: the search for its expression") && error.contains("gives up"),
        "{error}"
    );
}
