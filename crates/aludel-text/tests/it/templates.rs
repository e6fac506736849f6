//! Renderings against those of transformers (fixtures by tools/golden/text), and templates that misbehave.

use std::collections::HashMap;

use crate::common::{ChatCase, fixture, tiny_tokenizer};
use aludel_text::{ChatTemplate, Date, EncodeOptions, Encoded, Error, Message, Role, encode};

#[derive(serde::Deserialize)]
struct Fixture {
    templates: HashMap<String, String>,
    cases: Vec<ChatCase>,
}

#[test]
fn renders_as_transformers_does() {
    let Fixture { templates, cases } = fixture("templates.json");
    let tokenizer = tiny_tokenizer(true);
    assert!(cases.len() >= 60);
    for case in cases {
        let template = ChatTemplate::new(&templates[&case.template], Some("<|bos|>"), Some("<|im_end|>")).unwrap();
        let has_reasoning = case.messages.iter().any(|message| message.reasoning.is_some());
        let options = if case.prompt {
            EncodeOptions::prompt(false)
        } else if case.template == "loop controls, slices and a macro" {
            // It turns the conversation round, which no training row can.
            continue;
        } else if !has_reasoning || case.template == "keeps reasoning in the last turn only" {
            // A training row is what transformers renders, where its template does not lose the reasoning.
            EncodeOptions::default()
        } else {
            continue;
        };
        let rows = encode(&template, &tokenizer, &case.messages, &options);
        let rows = rows.unwrap_or_else(|error| panic!("{} / {}: {error}", case.template, case.conversation));
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        assert_eq!(texts, [case.text.as_str()], "{} / {}", case.template, case.conversation);
        assert_eq!(tokenizer.decode(&rows[0].ids, false).unwrap(), case.text);
        assert_eq!(rows[0].ids, tokenizer.encode(&case.text).unwrap(), "nothing to protect, so encoded at once");
    }
}

/// Templates that inspect the content of messages print the same as in transformers, and message text never becomes markup.
#[test]
fn what_a_template_looks_at_changes_nothing() {
    let Fixture { templates, cases } = fixture("looking.json");
    let tokenizer = tiny_tokenizer(true);
    let mut refused = Vec::new();
    for ChatCase { template: name, conversation, messages, prompt, text, .. } in &cases {
        let ends_with_answer = messages.last().is_some_and(|last| last.role == Role::Assistant);
        if !prompt && !ends_with_answer {
            continue;
        }
        let template = ChatTemplate::new(&templates[name], Some("<|bos|>"), Some("<|im_end|>")).unwrap();
        let options = if *prompt { EncodeOptions::prompt(false) } else { EncodeOptions::default() };
        let row = match encode(&template, &tokenizer, messages, &options) {
            Ok(mut rows) => rows.pop().unwrap(),
            // An answer that the template changes, or prints twice, is nothing to learn from.
            Err(Error::TurnRewritten { .. }) if !text.contains(messages[messages.len() - 1].content.trim()) => continue,
            Err(Error::TurnNotRendered { times: 0 | 2, .. }) if name.contains("twice") || name.contains("repeats") => {
                continue;
            }
            // Of three that are the same two are left out, and which of them cannot be seen.
            Err(Error::ContentNotFound { .. }) if name.contains("repeats") && conversation == "ping / ping / ping" => {
                continue;
            }
            Err(error) => {
                refused.push(format!("{name} / {conversation}: {error}"));
                continue;
            }
        };
        assert_eq!(&row.text, text, "{name} / {conversation}");
        assert_eq!(tokenizer.decode(&row.ids, false).unwrap(), row.text);
        // The template's own control tokens, counted where no message spells one.
        let harmless: Vec<Message> = messages
            .iter()
            .map(|message| Message { content: message.content.replace("<|im", "(|im"), ..message.clone() })
            .collect();
        let plain = encode(&template, &tokenizer, &harmless, &options).unwrap().pop().unwrap();
        let control = |row: &Encoded| row.ids.iter().filter(|&&id| tokenizer.is_control(id)).count();
        assert_eq!(control(&row), control(&plain), "{name} / {conversation}");
    }
    assert!(refused.is_empty(), "{} of {}: {refused:#?}", refused.len(), cases.len());
}

fn prompt(source: &str, options: &EncodeOptions) -> Result<Encoded, Error> {
    let template = ChatTemplate::new(source, None, Some("<|im_end|>"))?;
    let messages = [Message::user("hi")];
    encode(&template, &tiny_tokenizer(true), &messages, options).map(|mut rows| rows.remove(0))
}

fn check_fails(source: &str, expected: &[&str]) {
    let message = prompt(source, &EncodeOptions::prompt(false)).expect_err(source).to_string();
    for part in expected {
        assert!(message.contains(part), "{source}: {message}");
    }
}

#[test]
fn bad_templates_fail_fast_and_say_why() {
    check_fails(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        &["budget", "chat_template.jinja"],
    );
    check_fails("{{ 'x' * 1000000000 }}", &["budget", "builds too much text"]);
    check_fails(
        "{% set ns = namespace(t='x') %}{% for a in range(60) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
        &["budget"],
    );
    check_fails("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", &["recursion"]);
    check_fails("{{ missing_function() }}", &["missing_function", "line 1"]);
    check_fails("\n\n{{ messages | missing_filter }}", &["missing_filter"]);
    check_fails("{{ messages[0].content.missing_method() }}", &["missing_method"]);
    check_fails("{{ messages[0].absent.absent }}", &["undefined"]);
    check_fails("{% include 'other' %}", &["statement `include`", "line 1"]);
    check_fails("{% if %}", &["cannot be parsed", "line 1"]);
    check_fails("{{ raise_exception('Roles must alternate') }}", &["refuses these messages: Roles must alternate"]);
    check_fails("{{ strftime_now('%d %b %Y') }}", &["strftime_now", "date"]);
    check_fails(&" ".repeat((1 << 17) + 1), &["131073", "131072", "chat_template.jinja"]);
}

#[test]
fn the_date_is_the_callers() {
    let source = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}26 Jul 2024{% endif %}";
    let mut options = EncodeOptions::prompt(false);
    assert_eq!(prompt(source, &options).unwrap().text, "26 Jul 2024");
    options.date = Some(Date { year: 2026, month: 11, day: 3 });
    assert_eq!(prompt(source, &options).unwrap().text, "03 Nov 2026");
}

#[test]
fn variables_reach_the_template() {
    let source =
        "{{ tools | tojson(ensure_ascii=true, separators=[',', ':']) }}{{ tools is none }}{{ enable_thinking }}";
    let mut options = EncodeOptions::prompt(false);
    assert_eq!(prompt(source, &options).unwrap().text, "nullTrue");
    options.variables =
        serde_json::json!({"tools": [{"é": "<"}], "enable_thinking": false}).as_object().unwrap().clone();
    assert_eq!(prompt(source, &options).unwrap().text, r#"[{"\u00e9":"<"}]FalseFalse"#);
}
