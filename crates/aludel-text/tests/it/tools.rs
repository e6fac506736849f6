//! Conversations with tools: renderings and ids against those of transformers (fixture by tools/golden/text/make_tools.py), which tokens
//! are learnt against what the rendered text says, and what templates drop. Real templates are read from the folder that
//! ALUDEL_TEST_TEMPLATES names (NAME.jinja), their tokenizers from that of ALUDEL_TEST_TOKENIZERS.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use crate::common::{fixture, tiny_tokenizer};
use aludel_text::tools::Tool;
use aludel_text::{ChatTemplate, EncodeOptions, Encoded, Error, Message, Role, TextBundle, Tokenizer, encode};
use serde_json::json;

#[derive(serde::Deserialize)]
struct Fixture {
    conversations: BTreeMap<String, Conversation>,
    templates: BTreeMap<String, String>,
    written: BTreeMap<String, Vec<Case>>,
    real: BTreeMap<String, Real>,
}

#[derive(serde::Deserialize)]
struct Conversation {
    messages: Vec<Message>,
    tools: Vec<Tool>,
}

#[derive(serde::Deserialize)]
struct Real {
    tokens: [String; 2],
    cases: Vec<Case>,
}

/// What transformers renders up to each of the assistant's turns, and before the last; none where the template refuses it.
#[derive(serde::Deserialize)]
struct Case {
    conversation: String,
    texts: Vec<Option<String>>,
    prompt: Option<String>,
    #[serde(default)]
    ids: Option<Vec<u32>>,
}

/// What surrounds the assistant's turns in a rendering.
struct Family<'a> {
    template: ChatTemplate,
    tokenizer: &'a Tokenizer,
    /// One of these precedes each turn.
    opens: &'a [&'a str],
    /// This ends it, and is learnt.
    close: &'a str,
}

impl Conversation {
    fn messages(&self) -> Vec<Message> {
        let mut messages = self.messages.clone();
        messages[0].tools = self.tools.clone();
        messages
    }
}

impl Family<'_> {
    /// The rows of a conversation, compared with what transformers renders; the error where it is refused.
    fn check(&self, name: &str, conversation: &Conversation, case: &Case) -> Result<(), Error> {
        let place = format!("{name} / {}", case.conversation);
        let mut options = EncodeOptions::default();
        options.variables.insert("date_string".to_owned(), json!("26 Jul 2024"));
        let messages = conversation.messages();
        let rows = encode(&self.template, self.tokenizer, &messages, &options)?;
        let turns: Vec<usize> = (0..messages.len()).filter(|&at| messages[at].role == Role::Assistant).collect();
        for row in &rows {
            let last = row.turns.last().unwrap().message;
            let wanted = case.texts[turns.iter().position(|&turn| turn == last).unwrap()].as_deref().unwrap();
            assert_eq!(without_reasoning(row, &messages, wanted), wanted, "{place}");
            let learnt: Vec<&Range<usize>> =
                row.spans.iter().zip(&row.weights).filter(|(_, w)| **w > 0.0).map(|(s, _)| s).collect();
            let regions = self.regions(&row.text);
            let regions = &regions[regions.len() - row.turns.len()..];
            let is_in =
                |span: &Range<usize>| regions.iter().any(|region| region.start <= span.start && span.end <= region.end);
            assert!(learnt.iter().all(|span| is_in(span)), "{place}: learnt outside of {regions:?} in {:?}", row.text);
            // Tokens of one letter share its bytes.
            let mut bytes: Vec<usize> = learnt.iter().flat_map(|span| (*span).clone()).collect();
            bytes.sort_unstable();
            bytes.dedup();
            let wanted: Vec<usize> = regions.iter().flat_map(Range::clone).collect();
            assert_eq!(bytes, wanted, "{place}: {:?}", row.text);
        }
        if let Some(ids) = &case.ids
            && Some(&rows.last().unwrap().text) == case.texts.last().unwrap().as_ref()
        {
            assert_eq!(&rows.last().unwrap().ids, ids, "{place}");
        }
        let mut options = EncodeOptions::prompt(false);
        options.variables.insert("date_string".to_owned(), json!("26 Jul 2024"));
        let prompt = encode(&self.template, self.tokenizer, &messages[..*turns.last().unwrap()], &options)?;
        assert_eq!(Some(&prompt[0].text), case.prompt.as_ref(), "{place}");
        assert!(prompt[0].weights.iter().all(|&weight| weight == 0.0), "{place}");
        Ok(())
    }

    /// The assistant's turns in a rendering, by what surrounds them.
    fn regions(&self, text: &str) -> Vec<Range<usize>> {
        let mut regions = Vec::new();
        let mut at = 0;
        while let Some(close) = text[at..].find(self.close).map(|close| at + close) {
            let end = close + self.close.len();
            let opens = self.opens.iter().filter_map(|open| Some(text[at..close].rfind(open)? + at + open.len()));
            if let Some(start) = opens.max() {
                regions.push(start..end);
            }
            at = end;
        }
        regions
    }
}

/// A row without reasoning that the template drops, and that is put into the turn by its form, in place of the space that some
/// templates put before an answer.
fn without_reasoning(row: &Encoded, messages: &[Message], wanted: &str) -> String {
    let mut text = row.text.clone();
    for message in messages {
        let reasoning = message.reasoning.as_deref().unwrap_or_default();
        if !reasoning.is_empty() && !wanted.contains(reasoning) {
            let space = if wanted.contains(&format!("] {}<", message.content)) { " " } else { "" };
            text = text.replace(&format!("<think>\n{reasoning}\n</think>\n\n"), space);
        }
    }
    text
}

/// Checks all conversations; what is refused, by the kind of refusal.
fn refused(name: &str, family: &Family<'_>, fixture: &Fixture, cases: &[Case]) -> Vec<(String, String)> {
    let checked = cases.iter().filter_map(|case| {
        let error = family.check(name, &fixture.conversations[&case.conversation], case).err()?;
        Some((case.conversation.clone(), error.to_string()))
    });
    checked.collect()
}

fn names(refused: &[(String, String)]) -> Vec<&str> {
    refused.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn rows_are_what_transformers_renders_and_calls_are_learnt() {
    let fixture: Fixture = fixture("tools.json");
    let tokenizer = tiny_tokenizer(true);
    for (name, opens, not_rendered) in [
        ("definitions in the system message", &["<|im_start|>assistant\n"][..], &[][..]),
        (
            "definitions with the first question",
            &["<|im_start|>assistant<|bos|>\n\n"],
            &["two calls at once", "text beside a call"],
        ),
        (
            "definitions before the last question",
            &["[/INST]", "[/RESULT]"],
            &["with a system message", "text beside a call", "no identifiers"],
        ),
        ("reasoning in the turns behind the last question", &["<|im_start|>assistant\n"], &[]),
        ("arguments as text", &["<|im_start|>Assistant"], &["text beside a call", "empty text beside a call"]),
    ] {
        let template = ChatTemplate::new(&fixture.templates[name], Some("<|bos|>"), Some("<|im_end|>")).unwrap();
        let family = Family { template, tokenizer: &tokenizer, opens, close: "<|im_end|>" };
        let cases = &fixture.written[name];
        assert!(cases.len() >= 20);
        let refused = refused(name, &family, &fixture, cases);
        assert_eq!(names(&refused), not_rendered, "{name}: {refused:#?}");
        for (conversation, words) in &refused {
            let by_itself = fixture.written[name]
                .iter()
                .any(|case| &case.conversation == conversation && case.texts.iter().any(Option::is_none));
            let expected = if by_itself { "refuses these messages" } else { "does not render" };
            assert!(words.contains(expected), "{name} / {conversation}: {words}");
        }
    }
}

#[test]
fn a_template_that_drops_tools_is_refused() {
    let fixture: Fixture = fixture("tools.json");
    let tokenizer = tiny_tokenizer(true);
    let cases = |name: &str| {
        let template = ChatTemplate::new(&fixture.templates[name], Some("<|bos|>"), Some("<|im_end|>")).unwrap();
        let family =
            Family { template, tokenizer: &tokenizer, opens: &["<|im_start|>assistant\n"], close: "<|im_end|>" };
        refused(name, &family, &fixture, &fixture.written[name])
    };
    let dropped = cases("no tools");
    assert_eq!(dropped.len(), fixture.conversations.len());
    for (conversation, words) in &dropped {
        assert!(words.contains("does not render the"), "{conversation}: {words}");
        assert!(words.contains("put one that renders them into chat_template.jinja"), "{conversation}: {words}");
    }
    let of = |refused: &[(String, String)], name: &str| {
        refused
            .iter()
            .find(|(conversation, _)| conversation == name)
            .map(|(_, words)| words.clone())
            .unwrap_or_default()
    };
    assert!(of(&dropped, "an answer without a call").contains("does not render the tool `get_weather`"));
    assert!(of(&dropped, "calls without definitions").contains("does not render the call of `add` in message 1"));
    let lossy = cases("calls without their arguments");
    let whole: Vec<&String> = fixture.conversations.keys().filter(|name| of(&lossy, name).is_empty()).collect();
    assert_eq!(whole, ["an answer without a call", "no arguments"]);
    assert!(of(&lossy, "a call").contains("the argument `city` of the call of `get_weather` in message 1"));
}

/// What a template prints of some values and not of others.
#[test]
fn an_argument_that_is_printed_at_times_is_missed() {
    let print = |condition: &str| {
        format!(
            "{{% for m in messages %}}{{{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}}}{{% for call in m.tool_calls or [] %}}\
             {{{{ call.function.name }}}}{{% for k, v in call.function.arguments.items() %}}{{% if {condition} %}}{{{{ k }}}}={{{{ v | tojson }}}}\
             {{% endif %}}{{% endfor %}}{{% endfor %}}<|im_end|>\n{{% endfor %}}"
        )
    };
    for (condition, arguments, is_lost) in [
        ("true", json!({"a": "x", "b": 2, "c": -1.5, "d": true, "e": null, "f": [1, {"g": "y"}], "h": ""}), false),
        ("v is string", json!({"a": "x"}), false),
        ("v is string", json!({"a": "x", "b": 2}), true),
        ("v is string", json!({"a": "x", "b": {"c": 1}}), true),
        ("v is not none", json!({"a": "x", "b": null}), true),
        ("v is string", json!({"a": "x", "b": true}), true),
        ("v", json!({"a": 2, "b": false}), true),
        ("k != 'b'", json!({"a": "x", "b": "x"}), true),
        ("call.function.name != 'f'", json!({"b": "x"}), true),
        ("v != 'y'", json!({"b": "y"}), true),
    ] {
        let template = ChatTemplate::new(&print(condition), None, Some("<|im_end|>")).unwrap();
        let call = json!({"function": {"name": "f", "arguments": arguments}});
        let turn = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        let messages = [Message::user("q"), serde_json::from_value(turn).unwrap()];
        let rows = encode(&template, &tiny_tokenizer(true), &messages, &EncodeOptions::default());
        match rows {
            Ok(rows) => assert!(!is_lost, "{condition} {arguments}: {}", rows[0].text),
            Err(error) => assert!(
                is_lost && error.to_string().contains("does not render the argument"),
                "{condition} {arguments}: {error}"
            ),
        }
    }
}

/// Real templates, whose text is no part of the repository.
#[test]
fn real_templates_with_tools() {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let Some(templates) = folder("ALUDEL_TEST_TEMPLATES") else {
        eprintln!("skipped: ALUDEL_TEST_TEMPLATES is not set");
        return;
    };
    let fixture: Fixture = fixture("tools.json");
    let defined: Vec<&str> = fixture.real["deepseekv3"]
        .cases
        .iter()
        .map(|case| case.conversation.as_str())
        .filter(|name| !fixture.conversations[*name].tools.is_empty())
        .collect();
    let mut tiny = tiny_tokenizer(true);
    tiny.add_tokens(&["<｜end▁of▁sentence｜>", "<|eot_id|>"].map(str::to_owned)).unwrap();
    let chatml: &[&str] = &["<|im_start|>assistant\n"];
    // Its prompt opens the reasoning, and an empty one begins behind it; the two line ends there are one token.
    let opened: &[&str] = &["<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n\n"];
    for (name, tokenizer, opens, close, not_rendered) in [
        ("qwen2_5", None, chatml, "<|im_end|>", &[][..]),
        ("qwen3", Some("qwen3"), chatml, "<|im_end|>", &[]),
        ("qwen3_6", None, opened, "<|im_end|>", &[]),
        (
            "llama3_1",
            Some("llama3_1"),
            &["<|start_header_id|>assistant<|end_header_id|>\n\n"],
            "<|eot_id|>",
            &["two calls at once", "text beside a call"],
        ),
        // It prints calls, and no definitions.
        ("deepseekv3", None, &["<｜Assistant｜>", "<｜tool▁outputs▁end｜>"], "<｜end▁of▁sentence｜>", &defined[..]),
    ] {
        let real = &fixture.real[name];
        let bundle = folder("ALUDEL_TEST_TOKENIZERS")
            .and_then(|folder| tokenizer.map(|name| TextBundle::from_folder(folder.join(name)).unwrap()));
        let source = std::fs::read_to_string(templates.join(format!("{name}.jinja"))).unwrap();
        let template = ChatTemplate::new(&source, Some(&real.tokens[0]), Some(&real.tokens[1])).unwrap();
        let tokenizer = bundle.as_ref().map_or(&tiny, |bundle| &bundle.tokenizer);
        let ids = bundle.is_some();
        let family = Family { template, tokenizer, opens, close };
        let cases: Vec<Case> = fixture.real[name]
            .cases
            .iter()
            .map(|case| Case {
                conversation: case.conversation.clone(),
                texts: case.texts.clone(),
                prompt: case.prompt.clone(),
                ids: case.ids.clone().filter(|_| ids),
            })
            .collect();
        let refused = refused(name, &family, &fixture, &cases);
        assert_eq!(names(&refused), not_rendered, "{name}: {refused:#?}");
    }
    // Those without tools drop the definitions, and calls or results too.
    for name in ["deepseek_r1_distill", "gemma3"] {
        let real = &fixture.real[name];
        let source = std::fs::read_to_string(templates.join(format!("{name}.jinja"))).unwrap();
        let template = ChatTemplate::new(&source, Some(&real.tokens[0]), Some(&real.tokens[1])).unwrap();
        let family =
            Family { template, tokenizer: &tiny, opens: &["<｜Assistant｜>"], close: "<｜end▁of▁sentence｜>" };
        for case in real.cases.iter().filter(|case| defined.contains(&case.conversation.as_str())) {
            let checked = family.check(name, &fixture.conversations[&case.conversation], case);
            let words = checked.expect_err(&case.conversation).to_string();
            let told = ["does not render the", "refuses these messages", "the chat template failed"];
            assert!(told.iter().any(|part| words.contains(part)), "{name} / {}: {words}", case.conversation);
        }
    }
}

#[test]
fn a_control_token_in_a_call_is_refused() {
    let fixture: Fixture = fixture("tools.json");
    let source = &fixture.templates["definitions in the system message"];
    let template = ChatTemplate::new(source, Some("<|bos|>"), Some("<|im_end|>")).unwrap();
    let refusal = |messages: &[Message]| {
        encode(&template, &tiny_tokenizer(true), messages, &EncodeOptions::default()).unwrap_err().to_string()
    };
    let call = |arguments: serde_json::Value| -> Message {
        let call = json!({"function": {"name": "f", "arguments": arguments}});
        serde_json::from_value(json!({"role": "assistant", "content": null, "tool_calls": [call]})).unwrap()
    };
    for arguments in [json!({"a": ["x <|im_end|>"]}), json!({"<|im_end|>": 1}), json!("{\"a\": {\"<|im_end|>\": 1}}")] {
        let words = refusal(&[Message::user("q"), call(arguments)]);
        assert!(words.contains("a call of message 1") && words.contains("<|im_end|>"), "{words}");
    }
    let mut asked = Message::user("q");
    asked.tools = vec![Tool::new(json!({"name": "f", "description": "ends with <|im_end|>"})).unwrap()];
    assert!(refusal(&[asked, Message::assistant("a")]).contains("a tool or a call of message 0"));
}
