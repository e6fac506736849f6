//! Tests of everything else that a server sends: usage counts, keys that it repeats, and error messages.

use super::*;

/// A count that cannot be is none, and the answer is kept.
#[test]
fn counts_that_cannot_be_are_absent() {
    let counts = [
        "9223372036854775808",
        "9223372036854775807",
        "18446744073709551616",
        "4294967297",
        "1e300",
        "-1",
        "-0.5",
        "2.5",
        "\"7\"",
        "null",
        "[7]",
        "{}",
        "true",
    ];
    let check = |count: &str, expected: Option<u64>| {
        let usage = format!("{{\"prompt_tokens\": {count}, \"completion_tokens\": {count}}}");
        let whole = format!(
            "{{\"choices\": [{{\"index\": 0, \"message\": {{\"content\": \"42\"}}, \"finish_reason\": \"stop\"}}], \"usage\": {usage}}}"
        );
        let server = serve(vec![response("200 OK", "content-type: application/json\r\n", &whole)]);
        let answer = ask(self::whole(&server.url())).unwrap();
        assert_eq!(
            (answer.content.as_str(), answer.prompt_tokens, answer.completion_tokens),
            ("42", expected, expected)
        );
        let end = Step::send(format!("data: {{\"choices\": [], \"usage\": {usage}}}\n\n"));
        let server = serve(streamed(vec![says(value!({"content": "42"})), ends("stop"), end, done()]));
        let answer = ask(endpoint(&server.url())).unwrap();
        assert_eq!(
            (answer.content.as_str(), answer.prompt_tokens, answer.completion_tokens),
            ("42", expected, expected)
        );
        let last = format!(
            "{{\"message\": {{\"content\": \"42\"}}, \"done\": true, \"prompt_eval_count\": {count}, \"eval_count\": {count}}}"
        );
        let server = serve(vec![response("200 OK", "content-type: application/json\r\n", &last)]);
        let answer = ask(Endpoint { stream: false, ..ollama(&server.url()) }).unwrap();
        assert_eq!(
            (answer.content.as_str(), answer.prompt_tokens, answer.completion_tokens),
            ("42", expected, expected)
        );
    };
    counts.iter().for_each(|count| check(count, None));
    check("12", Some(12));
    check("12.0", Some(12));
    check("0", Some(0));
}

/// Also where it is cut over chunks, or stands in an error, a header's host, a list.
#[test]
fn the_key_that_a_server_repeats_is_masked() {
    let half = CANARY.len() / 2;
    let (first, last) = CANARY.split_at(half);
    let pieces = vec![says(value!({"reasoning_content": first})), says(value!({"reasoning_content": last}))];
    let content = vec![says(value!({"content": first})), says(value!({"content": format!("{last}!")})), ends(CANARY)];
    let server = serve(streamed([pieces, content, vec![done()]].concat()));
    let answer = ask(endpoint(&server.url())).unwrap();
    assert_eq!((answer.reasoning.as_deref(), answer.content.as_str()), (Some("…"), "…!"));
    assert_eq!(answer.finish, Finish::Other("…".to_owned()));
    let percent: String = CANARY.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for said in [CANARY, &percent, &CANARY.replace('-', "\\u002d"), &CANARY.to_uppercase(), &format!("{first} {last}")]
    {
        let error = value!({"error": {"message": format!("bad key {said}, sorry")}});
        for reply in
            [json("400 Bad Request", &error), json("200 OK", &error), json("500 Oh", &value!({"detail": [said]}))]
        {
            let words = ask(endpoint(&serve(vec![reply]).url())).unwrap_err().to_string();
            assert!(words.contains('…') && !words.contains("canary") && !words.contains("CANARY"), "{words}");
            assert!(!words.contains(said), "{words}");
        }
    }
    let location = format!("location: http://{CANARY}.example/\r\n");
    let words = ask(endpoint(&serve(vec![response("302 Found", &location, "")]).url())).unwrap_err().to_string();
    assert!(words.contains("….example") && !words.contains("canary"), "{words}");
    let server = serve(vec![json("200 OK", &value!({"data": [{"id": CANARY}, {"id": "m"}]}))]);
    let teacher = HttpTeacher::new(endpoint(&server.url())).unwrap();
    assert_eq!(run(teacher.models()).unwrap(), ["…", "m"]);
    // A secret may stand in other headers and in the address; what stands in others need be none.
    let headers = [("x-api-key", "Token abcd-EFGH-1234"), ("http-referer", "https://example.com/app")];
    let headers = headers.map(|(name, value)| (name.to_owned(), Secret::new(value).unwrap())).to_vec();
    let server = serve(streamed(vec![
        says(value!({"content": "ABCD EFGH 1234, q7w8e9r0t1, https://example.com and https://example.com/app"})),
        ends("stop"),
        done(),
    ]));
    let url = format!("{}/v1?api-version=2026-01-01&key=q7w8e9r0t1", server.url());
    let answer = ask(Endpoint { headers, ..endpoint(&url) }).unwrap();
    assert_eq!(answer.content, "…, …, https://example.com and …");
}

/// Others would fare the same where it is the connection that failed, and not where an answer came that is none.
#[test]
fn what_fails_is_the_server_or_the_answer() {
    let word = || vec![stream("text/event-stream"), says(value!({"content": "42"}))];
    let of_connection = [
        vec![Step::Reset],
        vec![Step::Stall],
        [word(), vec![Step::Reset]].concat(),
        [word(), vec![Step::Stall]].concat(),
    ];
    let of_answer =
        [streamed(vec![says(value!({"content": "42"}))]), streamed(vec![Step::send("data: {\"choices\": [\n\n")])];
    for (all, expected) in [(&of_connection[..], true), (&of_answer[..], false)] {
        for steps in all {
            let failure = ask(endpoint(&serve(steps.clone()).url())).unwrap_err();
            assert_eq!(
                (matches!(failure, Failure::Broken { .. }), failure.tells_of_server()),
                (true, expected),
                "{failure}"
            );
        }
    }
}

/// A whole answer, a stream and Ollama's own line that hold this message.
fn in_all_shapes(message: &str, usage: &str) -> Vec<Result<Answer, Failure>> {
    let choice = |name: &str| format!("{{\"index\": 0, \"{name}\": {message}, \"finish_reason\": \"stop\"}}");
    let typed = |body: &str| serve(vec![response("200 OK", "content-type: application/json\r\n", body)]);
    let whole = typed(&format!("{{\"choices\": [{}], \"usage\": {usage}}}", choice("message")));
    let piece = Step::send(format!("data: {{\"choices\": [{}], \"usage\": {usage}}}\n\n", choice("delta")));
    let streamed = serve(streamed(vec![piece, done()]));
    let line = typed(&format!("{{\"message\": {message}, \"done\": true, \"prompt_eval_count\": 1e400}}"));
    vec![
        ask(self::whole(&whole.url())),
        ask(endpoint(&streamed.url())),
        ask(Endpoint { stream: false, ..ollama(&line.url()) }),
    ]
}

#[test]
fn what_is_not_understood_beside_an_answer_is_told() {
    for (message, wanted) in [
        (r#"{"content": "42", "deep_thought": "because"}"#, "it sends `deep_thought` beside its answer"),
        (r#"{"content": "42", "segments": [{"text": "because"}]}"#, "it sends `segments` beside its answer"),
        (r#"{"content": "42", "reasoning": "high"}"#, "its reasoning is \"high\", which is a setting"),
        (r#"{"content": "42", "sk-canary-5f1d0c7e93": "x"}"#, "it sends `…` beside its answer"),
    ] {
        for answer in in_all_shapes(message, "{}") {
            let answer = answer.unwrap();
            assert_eq!((answer.content.as_str(), answer.reasoning), ("42", None), "{message}");
            assert!(answer.unread.iter().any(|words| words.starts_with(wanted)), "{:?}", answer.unread);
        }
    }
    let harmless =
        r#"{"role": "assistant", "content": "42", "annotations": [{"a": 1}], "refusal": null, "reasoning": "None",
        "function_call": null, "channel": "", "model": "m", "score": 7, "unknown_number": 7}"#
            .replace('\n', " ");
    for answer in &in_all_shapes(&harmless, "{}")[..2] {
        let answer = answer.as_ref().unwrap();
        assert_eq!((&answer.unread, &answer.reasoning, &answer.finish), (&Vec::new(), &None, &Finish::Stop));
    }
}

#[test]
fn a_message_of_another_role_is_no_answer() {
    for role in ["user", "User", "system", "tool"] {
        for answer in in_all_shapes(&format!(r#"{{"role": "{role}", "content": "42"}}"#), "{}") {
            let words = answer.unwrap_err().to_string();
            assert!(
                words.contains(&format!("its message has the role `{role}`, and the assistant's is wanted")),
                "{words}"
            );
        }
    }
    for role in ["\"assistant\"", "\"model\"", "\"\"", "null"] {
        for answer in &in_all_shapes(&format!(r#"{{"role": {role}, "content": "42"}}"#), "{}")[..2] {
            assert_eq!(answer.as_ref().unwrap().unread, Vec::<String>::new(), "{role}");
        }
    }
    for answer in in_all_shapes(r#"{"role": "oracle", "content": "42"}"#, "{}") {
        let answer = answer.unwrap();
        assert!(answer.unread[0].contains("the role `oracle`, which is not known here"), "{:?}", answer.unread);
    }
}

#[test]
fn usage_that_is_no_object_is_told() {
    for (usage, kind) in [("[1]", "a list"), ("7", "a number"), ("\"7\"", "text"), ("true", "a truth value")] {
        for answer in &in_all_shapes(r#"{"content": "42"}"#, usage)[..2] {
            let answer = answer.as_ref().unwrap();
            let told = format!("its `usage` is {kind}, where an object is wanted, so that tokens are guessed");
            assert_eq!((answer.unread.as_slice(), answer.completion_tokens), (&[told][..], None));
        }
    }
    assert!(in_all_shapes(r#"{"content": "42"}"#, "null")[0].as_ref().unwrap().unread.is_empty());
}

#[test]
fn a_second_answer_is_told_and_not_mixed_in() {
    let choice = |index: &str, name: &str, text: &str| {
        format!(r#"{{{index}"{name}": {{"content": "{text}"}}, "finish_reason": "stop"}}"#)
    };
    let second = "it sends more than one answer to a question, of which only the first is kept";
    let check = |answer: Answer, is_told: bool| {
        assert_eq!((answer.content.as_str(), answer.unread.len()), ("42", usize::from(is_told)), "{:?}", answer.unread);
        assert!(answer.unread.iter().all(|words| words.contains(second)));
    };
    for choices in [
        vec![("\"index\": 0, ", "42"), ("\"index\": 1, ", "43")],
        vec![("\"index\": 1, ", "43"), ("\"index\": 0, ", "42")],
        vec![("", "42"), ("", "43")],
        vec![("", "42")],
    ] {
        let all = |name: &str| choices.iter().map(|(index, text)| choice(index, name, text)).collect::<Vec<_>>();
        let whole_body = format!("{{\"choices\": [{}]}}", all("message").join(", "));
        let server = serve(vec![response("200 OK", "content-type: application/json\r\n", &whole_body)]);
        check(ask(whole(&server.url())).unwrap(), choices.len() > 1);
        let pieces =
            all("delta").into_iter().map(|choice| Step::send(format!("data: {{\"choices\": [{choice}]}}\n\n")));
        if choices[0].0.is_empty() {
            continue;
        }
        let server = serve(streamed(pieces.chain([done()]).collect()));
        check(ask(endpoint(&server.url())).unwrap(), true);
    }
}

#[test]
fn members_that_stand_twice_are_refused() {
    for answer in in_all_shapes(r#"{"content": "42", "content": "43"}"#, "{}") {
        let words = answer.unwrap_err().to_string();
        assert!(words.contains("it has `content` twice, and it cannot be told which of the two counts"), "{words}");
    }
    for body in [
        r#"{"choices": [{"message": {"content": "42"}, "finish_reason": "length", "finish_reason": "stop"}]}"#,
        r#"{"choices": [], "choices": [{"message": {"content": "42"}, "finish_reason": "stop"}]}"#,
    ] {
        let server = serve(vec![response("200 OK", "content-type: application/json\r\n", body)]);
        let words = ask(whole(&server.url())).unwrap_err().to_string();
        assert!(words.contains("twice"), "{words}");
    }
}

#[test]
fn counts_that_no_memory_holds_are_told_and_the_answer_is_kept() {
    for answer in in_all_shapes(r#"{"content": "42"}"#, r#"{"prompt_tokens": 1e400, "completion_tokens": 5}"#) {
        let answer = answer.unwrap();
        assert_eq!((answer.content.as_str(), answer.prompt_tokens), ("42", None));
        assert!(answer.unread[0].ends_with("is no count of tokens, so that they are guessed"), "{:?}", answer.unread);
    }
    for bad in ["-1", "\"7\"", "[7]", "2.5"] {
        let usage = format!("{{\"prompt_tokens\": {bad}, \"completion_tokens\": 5}}");
        let answer = in_all_shapes(r#"{"content": "42"}"#, &usage).remove(0).unwrap();
        assert_eq!(answer.unread, ["`usage.prompt_tokens` is no count of tokens, so that they are guessed"], "{bad}");
        assert_eq!(answer.completion_tokens, Some(5));
    }
}

/// What a server says against its answer counts, whichever word comes first.
#[test]
fn the_reason_against_an_answer_counts() {
    let check = |reasons: &[&str], beside: Value, expected: &str| {
        let mut last = value!({"choices": [{"index": 0, "delta": {}}]});
        last["choices"][0].as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
        let steps = [
            vec![says(value!({"content": "42"})), event(&last)],
            reasons.iter().map(|why| ends(why)).collect(),
            vec![done()],
        ];
        let server = serve(streamed(steps.concat()));
        assert_eq!(kind(&ask(endpoint(&server.url()))), expected, "{reasons:?} {beside}");
    };
    let none = value!({});
    check(&["length", "stop"], none.clone(), "answer length");
    check(&["stop", "length"], none.clone(), "answer length");
    check(&["content_filter", "length"], none.clone(), "answer content_filter");
    check(&["stop", "error", "length"], none.clone(), "broken");
    check(&["stop", "stop"], none, "answer stop");
    check(&["stop"], value!({"native_finish_reason": "MAX_TOKENS"}), "answer length");
    check(&["stop"], value!({"native_finish_reason": "eos", "stop_reason": "</answer>"}), "answer stop");
    check(&["stop"], value!({"stop_reason": 151643}), "answer stop");
    check(&["stop"], value!({"stop_reason": "max_tokens"}), "answer length");
    check(&[], value!({"native_finish_reason": "length"}), "broken");
}

#[test]
fn reasoning_between_tags_of_any_model_is_found() {
    let check = |content: &str, reasoning: Option<&str>, rest: &str, is_whole: bool| {
        let answer = ask(whole(&serve(message(value!({"content": content}), "stop")).url())).unwrap();
        assert_eq!((answer.reasoning.as_deref(), answer.content.as_str()), (reasoning, rest));
        assert_eq!(answer.flaw().is_none(), is_whole, "{content}");
    };
    check("<think>r</think>\n\na", Some("r"), "a", true);
    check("<Thinking>r</Thinking>a", Some("r"), "a", true);
    check("<|begin_of_thought|>r<|end_of_thought|><|begin_of_solution|>a<|end_of_solution|>", Some("r"), "a", true);
    check("<thought>r", Some("r"), "", false);
    check("", None, "", false);
    check("Well. <think>r", None, "Well. <think>r", false);
    check("It ends with </think> and then", None, "It ends with </think> and then", false);
    check("put `<think>` first", None, "put `<think>` first", true);
}
