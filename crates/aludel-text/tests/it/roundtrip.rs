//! Text that a tokenizer would lose is refused by name, wherever it is lost; text that survives the round trip is accepted.

use aludel_text::{EncodeOptions, Error, Message, Tokenizer, encode, encode_text};
use serde_json::{Value, json};

use crate::common::{student, tiny_tokenizer};
use crate::tokenizers::sentence_piece;

fn file(change: &dyn Fn(&mut Value)) -> Value {
    let mut file: Value = serde_json::from_str(&tiny_tokenizer(true).to_json().unwrap()).unwrap();
    change(&mut file);
    file
}

fn pieces(change: &dyn Fn(&mut Value)) -> Value {
    let built = Tokenizer::from_gguf(&sentence_piece().0, "file.gguf").unwrap();
    let mut file: Value = serde_json::from_str(&built.to_json().unwrap()).unwrap();
    change(&mut file);
    file
}

fn opened(file: &Value) -> Tokenizer {
    Tokenizer::from_json(file.to_string().as_bytes(), "model/tokenizer.json").unwrap()
}

fn bytes() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false})
}

fn cut(step: &Value) -> impl Fn(&mut Value) {
    let steps = json!({"type": "Sequence", "pretokenizers": [step, bytes()]});
    move |file| file["pre_tokenizer"] = steps.clone()
}

fn normalized(step: &Value) -> impl Fn(&mut Value) {
    let step = step.clone();
    move |file| file["normalizer"] = step.clone()
}

/// Takes a word out of the vocabulary and leaves another in its place.
fn without(word: &str) -> impl Fn(&mut Value) {
    let word = word.to_owned();
    move |file| {
        let vocabulary = file["model"]["vocab"].as_object_mut().unwrap();
        let id = vocabulary.remove(&word).unwrap();
        vocabulary.insert(format!("[unused {id}]"), id);
    }
}

fn split(pattern: &Value, invert: bool) -> Value {
    json!({"type": "Split", "pattern": pattern, "behavior": "Removed", "invert": invert})
}

fn replace(pattern: &Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

fn sequence(steps: &[Value]) -> Value {
    json!({"type": "Sequence", "normalizers": steps})
}

/// What is lost, the text and how it is read.
fn lost(tokenizer: &Tokenizer, text: &str) -> Option<[String; 3]> {
    match tokenizer.encode(text) {
        Ok(_) => None,
        Err(Error::TextLost { origin, lost, text, read }) => {
            assert_eq!(origin, "model/tokenizer.json");
            Some([lost, text, read])
        }
        Err(error) => panic!("{text:?}: {error}"),
    }
}

#[test]
fn lost_text_is_refused_by_name() {
    let digits = json!({"String": "7"});
    let cases: Vec<(&str, Value, &str, [&str; 3])> = vec![
        ("no cutting", file(&|file| file["pre_tokenizer"] = Value::Null), "a b", [" ", "a b", "ab"]),
        (
            "letters taken for bytes",
            file(&|file| file["pre_tokenizer"] = Value::Null),
            "aéb",
            ["é", "aéb", "a\u{fffd}b"],
        ),
        ("words alone", file(&|file| file["pre_tokenizer"] = json!({"type": "Whitespace"})), "a b", [" ", "a b", "ab"]),
        ("blanks removed", file(&cut(&json!({"type": "WhitespaceSplit"}))), "a\nb", ["\n", "a\nb", "ab"]),
        ("text removed", file(&cut(&split(&digits, false))), "x571", ["7", "x571", "x51"]),
        (
            "all but words removed",
            file(&cut(&split(&json!({"Regex": r"[a-z ]+"}), true))),
            "a, b",
            [",", "a, b", "a b"],
        ),
        (
            "a delimiter removed",
            file(&cut(&json!({"type": "CharDelimiterSplit", "delimiter": "x"}))),
            "2x3",
            ["x", "2x3", "23"],
        ),
        ("marks removed", file(&cut(&json!({"type": "Punctuation", "behavior": "Removed"}))), "-5", ["-", "-5", "5"]),
        ("replaced by nothing", file(&normalized(&replace(&digits, ""))), "th7in", ["7", "th7in", "thin"]),
        ("replaced by other text", file(&normalized(&replace(&digits, "8"))), "1 7", ["7", "1 7", "1 8"]),
        ("blanks replaced", file(&normalized(&replace(&json!({"Regex": r"\s+"}), ""))), "a b", [" ", "a b", "ab"]),
        ("text put before", file(&normalized(&json!({"type": "Prepend", "prepend": "x"}))), "ab", ["a", "ab", "xab"]),
        ("small letters", file(&normalized(&json!({"type": "Lowercase"}))), "a B", ["B", "a B", "a b"]),
        (
            "no accents",
            file(&normalized(&sequence(&[json!({"type": "NFD"}), json!({"type": "StripAccents"})]))),
            "né",
            ["\u{301}", "ne\u{301}", "ne"],
        ),
        (
            "as BERT",
            file(&normalized(
                &json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": false, "strip_accents": null, "lowercase": true}),
            )),
            "A b",
            ["A", "A b", "a b"],
        ),
        ("bytes spelt twice", file(&cut(&bytes())), "a é", [" ", "a é", "aĠÃ©"]),
        ("no token for a letter", file(&without("~")), "x~y", ["~", "x~y", "xy"]),
        ("no token for a blank", file(&without("ĉ")), "a\tb", ["\t", "a\tb", "ab"]),
        ("no token for a part of a letter", file(&without("©")), "né!", ["é", "né!", "n\u{fffd}!"]),
        (
            "no token for what a form needs",
            file(&|file| {
                without("©")(file);
                normalized(&json!({"type": "NFC"}))(file);
            }),
            "ne\u{301}!",
            ["é", "né!", "n\u{fffd}!"],
        ),
        (
            "an unknown token",
            file(&|file| {
                without("~")(file);
                file["model"]["unk_token"] = json!("<|endoftext|>");
            }),
            "<|endoftext|>x~y",
            ["~", "<|endoftext|>x~y", "<|endoftext|>x<|endoftext|>y"],
        ),
        (
            "pieces without bytes",
            pieces(&|file| file["model"]["byte_fallback"] = json!(false)),
            "Hello\u{7f}",
            ["\u{7f}", "Hello\u{7f}", "Hello<unk>"],
        ),
    ];
    for (name, file, text, wanted) in cases {
        assert_eq!(lost(&opened(&file), text), Some(wanted.map(str::to_owned)), "{name}");
    }
}

#[test]
fn what_comes_through_is_encoded() {
    let spaced = "  a  b\n\n c's \t<think>é🚀 中文</think> <|im_end|>\n12.5\u{a0}x ";
    for (name, file) in [
        ("as it is", file(&|_| {})),
        ("another form", file(&normalized(&json!({"type": "NFKC"})))),
        ("apart", file(&normalized(&json!({"type": "NFD"})))),
        ("blanks at the ends", file(&normalized(&json!({"type": "Strip", "strip_left": true, "strip_right": true})))),
        ("blanks made one", file(&normalized(&replace(&json!({"Regex": r"\s+"}), " ")))),
        (
            "bytes in the normalizer",
            file(&|file| {
                file["normalizer"] = json!({"type": "ByteLevel"});
                file["pre_tokenizer"] = Value::Null;
            }),
        ),
        ("cut otherwise", file(&cut(&json!({"type": "Punctuation", "behavior": "Isolated"})))),
    ] {
        assert_eq!(lost(&opened(&file), spaced), None, "{name}");
    }
    // A control token may take the blanks beside it.
    let mut taking = file(&|_| {});
    let token =
        taking["added_tokens"].as_array_mut().unwrap().iter_mut().find(|token| token["content"] == "<|im_end|>");
    let token = token.unwrap();
    (token["lstrip"], token["rstrip"]) = (json!(true), json!(true));
    assert_eq!(lost(&opened(&taking), "a <|im_end|>\n b"), None);
    // The unknown token's own name is no unknown text.
    let unknown = file(&|file| file["model"]["unk_token"] = json!("<|endoftext|>"));
    assert_eq!(lost(&opened(&unknown), "a<|endoftext|>b"), None);
    for text in ["Hello", "  a  b", "中\u{7f}文", "<|user|>Hello", "a\nb\t"] {
        assert_eq!(lost(&opened(&pieces(&|_| {})), text), None, "{text:?}");
    }
}

#[test]
fn rows_prompts_and_plain_text_are_refused_alike() {
    let bundle = aludel_text::ChatTemplate::new(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
        None,
        Some("<|im_end|>"),
    )
    .unwrap();
    let tokenizer = opened(&file(&without("~")));
    let said = |text: &str, options: &EncodeOptions| {
        let messages = [Message::user("2 ~ 3"), Message::assistant(text)];
        encode(&bundle, &tokenizer, &messages, options).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(
        said("yes", &EncodeOptions::default()),
        "model/tokenizer.json: this tokenizer loses \"~\": it reads \"user\\n2 ~ 3\" back as \"user\\n2  3\"; take such text out of what it is \
         given, or use a model whose tokenizer can spell it"
    );
    assert_eq!(said("yes", &EncodeOptions::default()), said("yes", &EncodeOptions::prompt(false)));
    assert!(matches!(encode_text(&tokenizer, "a~b", None, None), Err(Error::TextLost { .. })));
    assert!(encode_text(&tokenizer, "a b", None, None).is_ok());
    // What is only counted, or only a start for an embedding, may be lost.
    assert_eq!(tokenizer.count_plain("a~b").unwrap(), 2);
    assert!(tokenizer.mean_source_ids("<~>").is_ok());
}

/// Its vocabulary has no token for some bytes: controls that no text has, and letters of planes that are empty.
#[test]
fn the_student_loses_what_no_text_has() {
    let Some((vocabulary, _)) = student() else { return };
    let tokenizer = Tokenizer::from_gguf(&vocabulary, "file.gguf").unwrap();
    assert!(tokenizer.encode("é 中文 🙂 \u{10fffd}\u{e0041} a\tb\u{1b}[0m").is_ok());
    for text in ["a\u{4}b", "a\u{4fffe}b"] {
        assert!(matches!(tokenizer.encode(text), Err(Error::TextLost { .. })), "{text:?}");
    }
}
