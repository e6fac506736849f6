//! Tools in rows: the notations of OpenAI and ShareGPT give one conversation, and what is malformed is refused with its place.

use aludel_text::tools::{Tool, ToolCall};

use super::*;

fn call(id: Option<&str>, arguments: Value) -> ToolCall {
    ToolCall::new(&json!({"id": id, "function": {"name": "add", "arguments": arguments}})).unwrap()
}

fn tool() -> Value {
    json!({"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}})
}

fn calling(call: ToolCall) -> Message {
    Message { tool_calls: vec![call], is_content_null: true, ..Message::assistant("") }
}

fn result(text: &str, id: Option<&str>, name: Option<&str>) -> Message {
    let (tool_call_id, tool_name) = (id.map(str::to_owned), name.map(str::to_owned));
    Message { tool_call_id, tool_name, ..Message::new(aludel_text::message::Role::Tool, text) }
}

/// The conversation of every notation, with these calls and this result.
fn wanted(call: ToolCall, result: Message, has_tools: bool) -> Vec<Message> {
    let tools = if has_tools { vec![Tool::new(tool()).unwrap()] } else { Vec::new() };
    vec![Message { tools, ..user("2+3?") }, calling(call), result, Message::assistant("5.")]
}

fn row(call: Value, result: Value, more: Value) -> Value {
    let mut row = json!({"messages": [{"role": "user", "content": "2+3?"}, call, result, {"role": "assistant", "content": "5."}]});
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    row
}

/// The usual call and its result, and what is changed about them.
fn usual_row(more: Value) -> Value {
    let calls = json!([{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 2}"}}]);
    row(
        json!({"role": "assistant", "content": null, "tool_calls": calls}),
        json!({"role": "tool", "content": "5", "tool_call_id": "c1"}),
        more,
    )
}

fn refused(row: Value, words: &str) {
    check_error(row.to_string().as_bytes(), &ReadOptions::default(), &["data.jsonl, line 1", words]);
}

#[test]
fn every_notation_of_tools_gives_one_conversation() {
    let with_ids = || wanted(call(Some("c1"), json!({"a": 2})), result("5", Some("c1"), None), true);
    let definitions = json!([tool()]);
    for tools in
        [definitions.clone(), json!(definitions.to_string()), json!([tool().to_string()]), json!([tool()["function"]])]
    {
        check(usual_row(json!({"tools": tools})), &with_ids());
        check(usual_row(json!({"functions": tools})), &with_ids());
    }
    check(usual_row(json!({"tools": definitions, "functions": [tool()["function"]]})), &with_ids());
    for none in [json!(null), json!([]), json!("[]"), json!("")] {
        check(
            usual_row(json!({"tools": none})),
            &wanted(call(Some("c1"), json!({"a": 2})), result("5", Some("c1"), None), false),
        );
    }
    // Arguments as an object, the older field of one call, and results by name.
    let answered = json!({"role": "function", "name": "add", "content": "5"});
    let by_name = wanted(call(None, json!({"a": 2})), result("5", None, Some("add")), true);
    for calling in [
        json!({"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "add", "arguments": {"a": 2}}}]}),
        json!({"role": "assistant", "tool_calls": "[{\"name\": \"add\", \"arguments\": {\"a\": 2}}]"}),
        json!({"role": "assistant", "content": null, "function_call": {"name": "add", "arguments": "{\"a\": 2}"}}),
        json!({"role": "assistant", "content": null, "function_call": {"name": "add", "arguments": "{\"a\": 2}"},
            "tool_calls": [{"function": {"name": "add", "arguments": {"a": 2}}}], "finish_reason": "tool_calls"}),
    ] {
        check(row(calling, answered.clone(), json!({"tools": definitions})), &by_name);
    }
    // ShareGPT.
    let called = [
        json!("{\"name\": \"add\", \"arguments\": {\"a\": 2}}"),
        json!("[{\"name\": \"add\", \"arguments\": \"{\\\"a\\\": 2}\"}]"),
    ];
    for called in called {
        let turns = json!([{"from": "human", "value": "2+3?"}, {"from": "function_call", "value": called},
            {"from": "observation", "value": "5"}, {"from": "gpt", "value": "5."}]);
        let shared = json!({"conversations": turns, "tools": json!([tool()["function"]]).to_string()});
        check(shared, &wanted(call(None, json!({"a": 2})), result("5", None, None), true));
    }
    // In a message, and beside a question with its answer.
    let inside = json!({"messages": [{"role": "user", "content": "2+3?", "tools": [tool()]}, {"role": "assistant", "content": "5."}]});
    let plain = [Message { tools: vec![Tool::new(tool()).unwrap()], ..user("2+3?") }, Message::assistant("5.")];
    check(inside, &plain);
    check(json!({"prompt": "2+3?", "response": "5.", "tools": [tool()]}), &plain);
    // Two lists of messages, as TRL has them.
    let whole = usual_row(json!({}));
    let turns = whole["messages"].as_array().unwrap();
    check(json!({"prompt": turns[..1], "completion": turns[1..], "tools": [tool()]}), &with_ids());
}

#[test]
fn text_beside_a_call_stays_and_a_call_may_be_the_end() {
    let asked =
        |turn: Value| json!({"messages": [{"role": "user", "content": "q"}, turn], "finish_reason": "tool_calls"});
    let calls = json!([{"name": "add", "arguments": {"a": 2}}]);
    for (turn, content, is_null) in [
        (json!({"role": "assistant", "content": "I add.", "tool_calls": calls}), "I add.", false),
        (json!({"role": "assistant", "content": "", "tool_calls": calls}), "", false),
        (json!({"role": "assistant", "content": null, "tool_calls": calls}), "", true),
        (json!({"role": "assistant", "tool_calls": calls}), "", true),
    ] {
        let turn_wanted =
            Message { content: content.to_owned(), is_content_null: is_null, ..calling(call(None, json!({"a": 2}))) };
        check(asked(turn.clone()), &[user("q"), turn_wanted]);
        let (records, _) = read(asked(turn).to_string().as_bytes(), &ReadOptions::default());
        assert_eq!(records[0].as_ref().unwrap().flaw, None);
    }
    let thought = json!({"role": "assistant", "content": "<think>hm</think>", "tool_calls": calls});
    let wanted = Message { is_content_null: false, ..calling(call(None, json!({"a": 2}))) };
    check(asked(thought), &[user("q"), wanted.with_reasoning("hm")]);
    let (records, _) = read(
        json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "finish_reason": "tool_calls"})
            .to_string()
            .as_bytes(),
        &ReadOptions::default(),
    );
    assert!(records[0].as_ref().unwrap().flaw.is_some(), "it says that it calls, and calls nothing");
}

#[test]
fn malformed_tools_are_refused_with_row_and_field() {
    let calling = |calls: Value| json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": null, "tool_calls": calls}]});
    for (calls, words) in [
        (json!([{}]), "messages[1]: `tool_calls[0]` has neither `function` nor `name`"),
        (json!([{"function": {"arguments": "{}"}}]), "messages[1]: `tool_calls[0]` has no `name`"),
        (
            json!([{"function": {"name": "f", "arguments": "{a}"}}]),
            "messages[1]: `tool_calls[0]` has `arguments` that are not JSON",
        ),
        (
            json!([{"function": {"name": "f", "arguments": "[]"}}]),
            "messages[1]: `tool_calls[0]` has `arguments` with the JSON text of a list",
        ),
        (json!([{"name": "f"}, 5]), "messages[1]: `tool_calls[1]` holds a number"),
        (json!("call f"), "messages[1]: `tool_calls` is not JSON"),
        (json!([{"name": "f", "arguments": "{\"a\": 1, \"a\": 2}"}]), "`a` stands twice"),
        (json!([{"type": "custom", "custom": {"name": "f"}}]), "messages[1]: `tool_calls[0]`"),
    ] {
        refused(calling(calls), words);
    }
    let big = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":[{"name":"f","arguments":{"a":123456789012345678901}}]}]}"#;
    check_error(big.as_bytes(), &ReadOptions::default(), &["messages[1]", "123456789012345678901"]);
    for (tools, words) in [
        (json!([{"type": "function", "function": {"description": "d"}}]), "column `tools`[0] has no `name`"),
        (json!([tool(), "f"]), "column `tools`[1] is not JSON"),
        (json!("add"), "column `tools` is not JSON"),
        (json!({"add": tool()}), "column `tools` holds no list"),
    ] {
        refused(usual_row(json!({"tools": tools})), words);
    }
    refused(usual_row(json!({"tools": [tool()], "functions": [{"name": "other"}]})), "hold different tools");
    let alone = json!({"messages": [{"role": "user", "content": "q"}, {"role": "tool", "content": "5"}, {"role": "assistant", "content": "a"}]});
    refused(alone, "messages[1] (tool) is a result, and no assistant's turn with `tool_calls`");
    let behind_text = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "Hm."},
        {"role": "tool", "content": "5"}, {"role": "assistant", "content": "a"}]});
    refused(behind_text, "messages[2] (tool)");
    let calls = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "name": "add"}]});
    refused(
        row(calls.clone(), json!({"role": "tool", "content": "5", "tool_call_id": "c2"}), json!({})),
        "`tool_call_id` `c2`",
    );
    let by_user = json!({"messages": [{"role": "user", "content": "q", "tool_calls": [{"name": "f"}]}, {"role": "assistant", "content": "a"}]});
    refused(by_user, "only an assistant calls");
    let shared =
        json!({"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "add 2 and 3"}]});
    refused(shared, "conversations[1]: `function_call` is not JSON");
    let told = |text: &str| {
        json!({"messages": [{"role": "system", "content": text}, {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a"}], "tools": [tool()]})
    };
    refused(told("<tools>\n{}\n</tools>"), "not of `add` in column `tools`");
    // Told in the text, they are told once.
    check(told("<tools>add</tools>"), &[Message::system("<tools>add</tools>"), user("q"), Message::assistant("a")]);
    let open = json!({"messages": [{"role": "user", "content": "q"},
        {"role": "assistant", "content": "<think>hm", "tool_calls": [{"name": "add"}]}]});
    refused(open, "never closed");
}

/// Calls that a model writes as text are answered by results, too.
#[test]
fn results_of_calls_in_text_are_read() {
    for text in ["<tool_call>\n{\"name\": \"add\"}\n</tool_call>", "{\"name\": \"add\", \"arguments\": {}}"] {
        let turn = json!({"role": "assistant", "content": text});
        let read_row = row(turn, json!({"role": "tool", "content": "5"}), json!({}));
        let (records, _) = read(read_row.to_string().as_bytes(), &ReadOptions::default());
        assert_eq!(records[0].as_ref().unwrap().messages().unwrap().len(), 4);
    }
}

#[test]
fn tools_are_part_of_what_is_asked() {
    let key = |row: &Value| {
        let (records, _) = read(row.to_string().as_bytes(), &ReadOptions::default());
        records[0].as_ref().unwrap().prompt_key
    };
    let with = key(&usual_row(json!({"tools": [tool()]})));
    assert_ne!(with, key(&usual_row(json!({}))));
    assert_eq!(with, key(&usual_row(json!({"tools": json!([tool()]).to_string()}))));
}

#[test]
fn questions_with_tools_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    fs::write(&path, usual_row(json!({})).to_string()).unwrap();
    let error = open_prompts(&[path], &ReadOptions::default()).unwrap().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("tools or calls of tools") && error.contains("line 1"), "{error}");
}
