//! Tests of responses: reasoning and text, finish reason, and log probabilities.

use super::*;

#[test]
fn reasoning_is_found_wherever_it_stands() {
    let check = |steps: Vec<Step>, reasoning: Option<&str>, content: &str| {
        let server = serve(steps);
        let answer = ask(endpoint(&server.url())).unwrap();
        assert_eq!((answer.reasoning.as_deref(), answer.content.as_str()), (reasoning, content));
        assert_eq!(answer.finish, Finish::Stop);
    };
    for name in ["reasoning_content", "reasoning", "thinking"] {
        check(message(value!({"content": "42", name: "why"}), "stop"), Some("why"), "42");
        let pieces = vec![says(value!({name: "wh"})), says(value!({name: "y"})), says(value!({"content": "42"}))];
        check(streamed([pieces, vec![ends("stop"), done()]].concat()), Some("why"), "42");
    }
    check(
        message(value!({"content": "42", "reasoning": "why", "reasoning_content": "why"}), "stop"),
        Some("why"),
        "42",
    );
    check(message(value!({"content": "<think>\nwhy\n</think>\n\n42"}), "stop"), Some("why"), "42");
    check(message(value!({"content": "why\n</think>\n\n42", "reasoning_content": ""}), "stop"), Some("why"), "42");
    check(message(value!({"content": "<think>\n\n</think>\n\n42"}), "stop"), None, "42");
    check(message(value!({"content": "42", "reasoning_content": null}), "stop"), None, "42");
    check(message(value!({"content": "42"}), "stop"), None, "42");
    let parts =
        value!([{"type": "thinking", "thinking": [{"type": "text", "text": "why"}]}, {"type": "text", "text": "42"}]);
    check(message(value!({"content": parts}), "stop"), Some("why"), "42");
}

#[test]
fn only_stop_is_complete() {
    let check = |why: &str, finish: Finish| {
        let server = serve(streamed(vec![says(value!({"content": "<think>so far"})), ends(why), done()]));
        let answer = ask(endpoint(&server.url())).unwrap();
        assert_eq!(answer.finish.is_complete(), why == "stop");
        assert_eq!((answer.finish, answer.reasoning.as_deref()), (finish, Some("so far")));
    };
    check("stop", Finish::Stop);
    check("length", Finish::Length);
    check("content_filter", Finish::ContentFilter);
    check("tool_calls", Finish::ToolCalls);
    check("bored", Finish::Other("bored".to_owned()));
}

/// Two tokens that are the same look like one chunk sent twice, so that all are kept; with an id of the event's own they
/// can be told apart.
#[test]
fn chunks_that_come_twice() {
    let word = || says(value!({"content": "a"}));
    let server = serve(streamed(vec![word(), word(), ends("stop"), ends("stop"), done(), done()]));
    assert_eq!(ask(endpoint(&server.url())).unwrap().content, "aa");
    let numbered = || Step::send(format!("id: 7\ndata: {}\n\n", chunk(value!({"content": "a"}), None)));
    let server = serve(streamed(vec![numbered(), numbered(), ends("stop"), done()]));
    assert_eq!(ask(endpoint(&server.url())).unwrap().content, "a");
}

#[test]
fn log_probabilities_are_kept_as_they_are() {
    let token = |id: u32| value!({"id": id, "token": "x", "bytes": [120], "logprob": -0.25, "top_logprobs": []});
    let part = |id: u32| {
        let choice =
            value!({"index": 0, "delta": {"content": "x"}, "token_ids": [id], "logprobs": {"content": [token(id)]}});
        event(&value!({"prompt_token_ids": if id == 1 { value!([7, 8]) } else { Value::Null }, "choices": [choice]}))
    };
    let server = serve(streamed(vec![part(1), part(2), ends("stop"), done()]));
    let expected = value!({"prompt_token_ids": [7, 8], "token_ids": [1, 2], "content": [token(1), token(2)]});
    assert_eq!(ask(endpoint(&server.url())).unwrap().logprobs, Some(expected));
}
