//! What a server says beside its answer, or in place of one: counts, keys that it repeats, and whom a failure is about.

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
