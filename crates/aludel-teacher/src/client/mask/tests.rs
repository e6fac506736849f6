//! Every form in which a server can repeat a key, and texts that hold none.

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const KEY: &str = "sk-canary-5f1d0C7e93_Qz.8";

fn mask(keys: &[&str]) -> Mask {
    let mut mask = Mask::default();
    keys.iter().for_each(|key| mask.add_key(key));
    mask
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
        (chunk.len()..3).for_each(|_| text.push('='));
    }
    text
}

/// Each letter of the key as `form` writes it.
fn each(form: impl Fn(char) -> String) -> String {
    KEY.chars().map(form).collect()
}

/// The forms, with what makes each.
fn forms() -> Vec<String> {
    let percent = |c: char| format!("%{:02X}", c as u32);
    let mut forms = vec![
        KEY.to_string(),
        KEY.to_uppercase(),
        KEY.to_lowercase(),
        each(percent),
        each(|c| format!("%{:02x}", c as u32)),
        each(|c| if c.is_alphanumeric() { c.to_string() } else { percent(c) }),
        each(|c| if (c as u32).is_multiple_of(2) { c.to_string() } else { percent(c) }),
        each(|c| percent(c).replace('%', "%25")),
        each(|c| format!("\\u{:04x}", c as u32)),
        each(|c| format!("\\\\u{:04X}", c as u32)),
        each(|c| format!("\\x{:02x}", c as u32)),
        each(|c| format!("\\u{{{:x}}}", c as u32)),
        each(|c| format!("&#{};", c as u32)),
        each(|c| format!("&#x{:x};", c as u32)),
        each(|c| format!("&amp;#{};", c as u32)),
        each(|c| char::from_u32(c as u32 + 0xfee0).unwrap().to_string()),
        KEY.replace('-', "\\u002d"),
        KEY.replace('-', "\\-"),
        KEY.bytes().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        }),
        KEY.bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" "),
    ];
    for between in [" ", "\n", "\r\n  ", "\u{200b}", "\u{feff}", "\"", "\" + \"", "`", "\u{ad}", "|", "\\n"] {
        let middle = KEY.len() / 2;
        forms.push(format!("{}{between}{}", &KEY[..middle], &KEY[middle..]));
        forms.push(KEY.split('-').collect::<Vec<_>>().join(between));
        if between != "\\n" {
            forms.push(each(|c| format!("{c}{between}")));
        }
    }
    for before in ["", "Bearer ", "user:", "u:", "us:", ":"] {
        for after in ["", "\n", "@host", "xy"] {
            let encoded = base64(format!("{before}{KEY}{after}").as_bytes());
            forms.push(encoded.replace('+', "-").replace('/', "_").replace('=', ""));
            forms.push(encoded.replace('=', "%3D"));
            forms.push(format!("{}\n{}", &encoded[..11], &encoded[11..]));
            forms.push(encoded);
        }
    }
    forms
}

/// No eight letters of the key in a row are left, in whatever is decoded once more.
#[test]
fn every_form_is_masked() {
    let mask = mask(&[KEY]);
    for form in forms() {
        for (before, after) in [("", ""), ("wrong key: ", " (401)"), ("\"", "\""), ("größer ", "。"), ("key=", "&x=1")]
        {
            let text = format!("{before}{form}{after}");
            let masked = mask.text(&text);
            assert!(masked.contains(MARK), "{text}");
            assert!(mask.found(&masked).is_empty(), "{text}: {masked}");
            let left: usize = masked.chars().filter(|c| c.is_ascii_alphanumeric()).count();
            let around: usize = [before, after].concat().chars().filter(|c| c.is_ascii_alphanumeric()).count();
            // Of what is encoded, what stood before and behind the key may stay.
            assert!(left <= around + 20, "{text}: {masked}");
            assert!(masked.starts_with(before) && masked.ends_with(after), "{text}: {masked}");
        }
    }
}

#[test]
fn pieces_are_masked_from_eight_letters_on() {
    let mask = mask(&[KEY]);
    for (said, masked) in [
        ("sk-canary-5f1…", "……"),
        ("key canary-5f ends", "key … ends"),
        ("…0C7e93_Qz", "……"),
        ("sk-canary-5f1d (to) 0C7e93_Qz", "… (to) …"),
        ("sk-cana… ends in Qz.8", "sk-cana… ends in Qz.8"),
    ] {
        assert_eq!(mask.text(said), masked);
    }
    assert_eq!(mask.text(&base64(b"Bearer sk-canary-5f")[..20]).chars().filter(|c| *c == '…').count(), 1);
}

#[test]
fn text_without_a_key_stays_as_it_is() {
    let texts = [
        "",
        "largest: 5f1d0c and sk-can, canary birds, Bearer tokens; password: ollama, none, EMPTY",
        "100%25 %zz %2 \\u00 \\u{} &# &#; &#x; &amp; &unknown; \\",
        "\u{200b}a\u{feff}\u{ad}\u{202e}\0長い größer ｓｋ－ｃａｎ",
        "12345678 1, 2, 3, 4, 5, 6, 7, 8 https://example.com/v1 dGhpcyBpcyBub3QgYSBrZXkgYXQgYWxs",
    ];
    for key in
        [KEY, "ollama", "none", "EMPTY", "x", "-", "password", "sk-no-key-required", "sk-password-x9", "sk-12345678-x9"]
    {
        for text in texts {
            assert!(matches!(mask(&[key]).text(text), Cow::Borrowed(same) if same == text), "{key}: {text}");
        }
    }
}

#[test]
fn keys_of_services_are_known_by_more_than_their_beginning() {
    let mask = mask(&["sk-proj-A1b2C3d4E5f6", "sk-ant-api03-Zz9Yy8Xx7Ww6"]);
    for text in ["write sk-proj-… or sk-ant-api03-...", "sk-proj-KEY", "sk-ant-api03-zzz"] {
        assert_eq!(mask.text(text), text);
    }
    assert_eq!(mask.text("sk-proj-A1b2… and sk-ant-api03-Zz9Yy"), "…… and …");
}

#[test]
fn short_keys_are_masked_where_they_are_sent() {
    let mask = mask(&["ab12"]);
    assert_eq!(mask.text("ab12 stays; authorization: Bearer ab12, bearer%20AB12"), "ab12 stays; authorization: …, …");
}

#[test]
fn other_headers_are_masked_as_a_whole() {
    let mut mask = Mask::default();
    mask.add_whole("https://example.com/app");
    assert_eq!(mask.text("https://example.com and https://example.com/app!"), "https://example.com and …!");
}

#[test]
fn answers_and_failures_hold_no_key() {
    let mask = mask(&[KEY]);
    let answer = Answer {
        reasoning: Some(format!("it is {KEY}")),
        content: format!("{}\n{}", &KEY[..9], &KEY[9..]),
        finish: Finish::Other(KEY.to_string()),
        prompt_tokens: None,
        completion_tokens: None,
        model: Some(format!("model-{KEY}")),
        logprobs: Some(json!({"content": [{"token": "2"}], (KEY): [KEY]})),
        first_token_ms: 0,
        elapsed_ms: 0,
        hides_reasoning: false,
        unread: Vec::new(),
    };
    let untouched =
        Answer { reasoning: None, content: "2".to_string(), finish: Finish::Stop, model: None, ..answer.clone() };
    let masked = mask.answer(answer.clone());
    assert_eq!((masked.reasoning.as_deref(), masked.content.as_str(), masked.logprobs), (Some("it is …"), "…", None));
    assert_eq!((masked.finish, masked.model.as_deref()), (Finish::Other("…".to_string()), Some("model-…")));
    assert_eq!(mask.answer(untouched.clone()).logprobs, Some(json!({"content": [{"token": "2"}], "…": ["…"]})));
    // Tokens that spell it one by one.
    let tokens: Vec<Value> =
        KEY.as_bytes().chunks(3).map(|part| json!({"token": str::from_utf8(part).unwrap()})).collect();
    let spelt = Answer { logprobs: Some(json!({"content": tokens})), ..untouched };
    assert_eq!(mask.answer(spelt).logprobs, None);
    for failure in [
        Failure::Busy { status: None, retry_after: None, words: KEY.to_string() },
        Failure::Broken { words: KEY.to_string() },
        Failure::Question { status: Some(400), words: KEY.to_string() },
        Failure::Refused { status: None, words: KEY.to_string() },
    ] {
        assert!(mask.failure(failure).to_string().ends_with('…'));
    }
}

proptest! {
    /// Whatever stands around and between, no piece of the key is left, and what is left stood there before.
    #[test]
    fn no_piece_is_left(parts in proptest::collection::vec("(sk-canary|5f1d0C7e93|_Qz\\.8|sk-canary-5f1d0C7e93_Qz\\.8|%2D|\\\\u002d|[ -~äß長\n]{0,6})", 0..8)) {
        let mask = mask(&[KEY]);
        let text = parts.concat();
        let masked = mask.text(&text);
        prop_assert!(!masked.to_lowercase().contains("5f1d0c7e"));
        prop_assert!(mask.found(&masked).is_empty(), "{} {}", text, masked);
        let mut rest = text.as_str();
        for part in masked.split(MARK) {
            let at = rest.find(part);
            prop_assert!(at.is_some(), "{} {}", text, masked);
            rest = &rest[at.unwrap() + part.len()..];
        }
    }
}
