//! Model folders with a hostile template or tokenizer, through the binary: each is refused by name. Many more are in the tests of
//! `aludel-text`.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;

use common::{Workshop, train_args};
use serde_json::{Value, json};

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    workshop.write("rows.jsonl", "{\"prompt\": \"1\", \"response\": \"2\"}\n");
    workshop
}

/// Every command that renders or encodes refuses, with these words.
fn check_refused(workshop: &Workshop, words: &str) {
    for command in [
        &["inspect", "--student", "student", "--data", "rows.jsonl"][..],
        &["chat", "--model", "student", "--max-new-tokens", "1", "--prompt", "1"],
        &train_args("run", &[]),
    ] {
        let said = workshop.run(command);
        let plain = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain.contains(words) && !plain.contains("panicked"), "{command:?}: {said}");
        // `inspect` reports refused rows, which is no failure.
        let ends_well = command[0] == "inspect" && plain.contains("exit code: 0");
        assert!(ends_well || plain.contains("exit code: 1"), "{command:?}: {said}");
    }
}

#[test]
fn templates_that_mean_harm_are_refused_by_name() {
    let workshop = workshop();
    let looped = |body: &str| {
        format!("{{% set ns = namespace(s='x') %}}{{% for i in range(40000) %}}{{% set ns.s = {body} %}}{{% endfor %}}")
    };
    for (template, words) in [
        (format!("{{{{ {}1 }}}}", "-".repeat(20_000)), "nested more than 60 deep"),
        (format!("{{{{ x{} }}}}", "|e".repeat(20_000)), "chains more than 1000"),
        (format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(8_000)), "nested more than 100 deep"),
        ("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}".to_owned(), "`namespace` within another value"),
        (looped("[ns.s]"), "nested more than 130 deep"),
        (looped("ns.s + ns.s"), "did not finish within its budget"),
        (looped("[ns.s, ns.s]"), "did not finish within its budget"),
        (looped("('x' * 900000)|wordwrap(1)"), "did not finish within its budget"),
        ("{{ messages|tojson(indent=4611686018427387904) }}".to_owned(), "may take at most 1048576 as `indent`"),
        ("x".repeat(200_000), "at most 131072 are accepted"),
    ] {
        workshop.write("student/chat_template.jinja", &template);
        check_refused(&workshop, words);
    }
}

#[test]
fn tokenizers_that_mean_harm_are_refused_by_name() {
    let workshop = workshop();
    let path = workshop.path("student/tokenizer.json");
    let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let replace = |content: String| json!({"type": "Replace", "pattern": {"String": "1"}, "content": content});
    for (part, value, words) in [
        ("normalizer", replace("1".repeat(5_000_000)), "may make 5000000 bytes of one"),
        ("normalizer", json!({"type": "Sequence", "normalizers": vec![replace("11".to_owned()); 60]}), "bytes of one"),
        (
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="}),
            "normalizer.precompiled_charsmap",
        ),
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0}), "pre_tokenizer.length is 0"),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "(a*)*(?!x)b|."}, "behavior": "Isolated", "invert": false}),
            "goes back too often",
        ),
        ("decoder", json!({"type": "Strip"}), "not a usable tokenizer"),
    ] {
        let mut file = whole.clone();
        file[part] = value;
        fs::write(&path, file.to_string()).unwrap();
        check_refused(&workshop, words);
    }
}

/// Where the engine's search gives up, the library would split the rest of the text differently, without an error.
#[test]
fn a_text_on_which_the_tokenizer_gives_up_is_named_by_its_row() {
    let workshop = workshop();
    let row = |text: &str| json!({"prompt": "1", "response": text}).to_string();
    workshop.write("rows.jsonl", &format!("{}\n{}\n", row("2"), row(&format!("a{}b", " ".repeat(1_200_000)))));
    let said = workshop.run(&train_args("run", &[]));
    let plain = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["exit code: 1", "rows.jsonl, line 2", "the search for its expression", "gives up"] {
        assert!(plain.contains(words), "{words}: {said}");
    }
    assert!(said.len() < 2_000, "{said}");
}

/// An unreadable file is not treated as absent: a link in a circle, or a dangling one (as in a cache without its blobs).
#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_are_told_in_place_of_every_file() {
    let names = [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "model.safetensors",
        "model.safetensors.index.json",
    ];
    for name in names {
        for target in [name, "nowhere"] {
            let workshop = workshop();
            let path = workshop.path("student").join(name);
            if name.ends_with("index.json") {
                fs::remove_file(workshop.path("student/model.safetensors")).unwrap();
            } else {
                let _ = fs::remove_file(&path);
            }
            std::os::unix::fs::symlink(target, &path).unwrap();
            let words = if target == name { "symbolic link" } else { "what it leads to is not there" };
            let said = workshop.run(&train_args("run", &[]));
            let plain = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(plain.contains("exit code: 1"), "{name} to {target}: {said}");
            assert!(plain.contains(&format!("student/{name}")) && plain.contains(words), "{name} to {target}: {said}");
        }
    }
}
