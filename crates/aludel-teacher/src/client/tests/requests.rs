//! Tests of requests: their content, address, connection and secrets.

use super::*;

#[test]
fn what_is_sent() {
    let server = serve(vec![stream_of("why", "42")]);
    let extra = value!({"top_k": 20, "top_p": null, "stream_options": {"more": 1}});
    let asking = RequestParams {
        max_tokens: Some(9),
        seed: Some(40),
        top_logprobs: Some(3),
        extra_body: extra.as_object().unwrap().clone(),
        ..RequestParams::new("m")
    };
    let header = ("x-more".to_owned(), Secret::new("canary-two").unwrap());
    let teacher = HttpTeacher::new(Endpoint { headers: vec![header], ..endpoint(&server.url()) }).unwrap();
    let mut result = Message::new(aludel_text::message::Role::Tool, "c");
    (result.tool_call_id, result.tool_name) = (Some("id".to_owned()), Some("f".to_owned()));
    let question =
        Question { messages: vec![Message::user("a"), Message::assistant("b").with_reasoning("hidden"), result] };
    let answer = run(teacher.ask(&question, &asking, 2)).unwrap();
    assert_eq!((answer.prompt_tokens, answer.completion_tokens), (Some(3), Some(5)));
    assert_eq!(answer.model.as_deref(), Some("scripted"));
    let request = &server.seen()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/chat/completions"));
    assert!(
        request.head.contains(&format!("authorization: Bearer {CANARY}"))
            && request.head.contains("x-more: canary-two")
    );
    let expected = value!({"model": "m", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        {"role": "tool", "content": "c", "tool_call_id": "id", "name": "f"}], "temperature": 0.6, "stream": true, "max_tokens": 9, "seed": 42,
        "stream_options": {"include_usage": true, "more": 1}, "logprobs": true, "top_logprobs": 3, "top_k": 20});
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), expected);

    let own =
        RequestParams { extra_body: value!({"stream": false}).as_object().unwrap().clone(), ..RequestParams::new("m") };
    assert_eq!(kind(&ask_with(endpoint(&server.url()), &own)), "refused None");
    assert_eq!(server.requests(), 1);
}

#[test]
fn usage_is_asked_for_only_where_it_is_taken() {
    let refuses = |request: &Request| match String::from_utf8_lossy(&request.body).contains("stream_options") {
        true => {
            vec![json("400 Bad Request", &value!({"error": {"message": "unknown field", "param": "stream_options"}}))]
        }
        false => vec![stream_of("why", "42")],
    };
    let server = ScriptedTeacher::start(refuses).unwrap();
    let teacher = HttpTeacher::new(endpoint(&server.url())).unwrap();
    run(async {
        for _ in 0..3 {
            assert!(teacher.ask(&question(), &RequestParams::new("m"), 0).await.is_ok());
        }
    });
    assert_eq!(server.requests(), 4, "one refusal and three answers");
}

#[test]
fn ollama_is_asked_in_its_own_way() {
    let last = value!({"model": "m", "message": {"content": "42", "thinking": "why"}, "done": true, "done_reason": "length",
        "prompt_eval_count": 3, "eval_count": 5});
    let server = serve(vec![json("200 OK", &last)]);
    let asking = RequestParams { max_tokens: Some(9), ..RequestParams::new("m") };
    let answer = ask_with(Endpoint { stream: false, ..ollama(&server.url()) }, &asking).unwrap();
    assert_eq!((answer.reasoning.as_deref(), answer.content.as_str()), (Some("why"), "42"));
    assert_eq!((answer.finish, answer.prompt_tokens, answer.completion_tokens), (Finish::Length, Some(3), Some(5)));
    let request = &server.seen()[0];
    let options = value!({"temperature": 0.6, "top_p": 0.95, "num_predict": 9});
    assert_eq!(request.path, "/api/chat");
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap()["options"], options);
}

#[test]
fn connections_are_used_again() {
    let server = serve(vec![stream_of("why", "42")]);
    let teacher = HttpTeacher::new(endpoint(&server.url())).unwrap();
    run(async {
        for _ in 0..20 {
            assert!(teacher.ask(&question(), &RequestParams::new("m"), 0).await.is_ok());
        }
    });
    assert_eq!((server.requests(), server.connections()), (20, 1));
}

#[test]
fn the_key_goes_to_no_other_host() {
    let other = serve(vec![stream_of("why", "42")]);
    let location = format!("location: {}/v1/chat/completions\r\n", other.url());
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = serve(vec![response(status, &location, "")]);
        let result = ask(endpoint(&server.url()));
        assert_eq!(kind(&result), format!("refused Some({})", &status[..3]));
        assert!(result.unwrap_err().to_string().contains("127.0.0.1"));
        let checked = run(HttpTeacher::new(endpoint(&server.url())).unwrap().check());
        assert!(matches!(checked, Err(Failure::Refused { .. })), "{checked:?}");
    }
    assert_eq!((other.requests(), other.connections()), (0, 0));
}

#[test]
fn health() {
    let check = |status: &str, is_well: bool| {
        let server = serve(vec![response(status, "", "{}")]);
        let teacher = HttpTeacher::new(endpoint(&server.url())).unwrap();
        assert_eq!(run(teacher.check()).is_ok(), is_well, "{status}");
        assert_eq!(server.seen()[0].path, "/v1/models");
    };
    check("200 OK", true);
    check("404 Not Found", true);
    check("401 Unauthorized", false);
    check("503 Service Unavailable", false);
}

#[test]
fn addresses() {
    let check = |url: &str, dialect: Dialect, chat: &str, models: &str, name: &str| {
        let routes = Endpoint::new(url, dialect).routes().unwrap();
        assert_eq!((routes.chat.as_str(), routes.models.as_str(), routes.name.as_str()), (chat, models, name), "{url}");
    };
    for url in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/chat/completions"] {
        check(url, Dialect::OpenAi, "http://h:1/v1/chat/completions", "http://h:1/v1/models", "http://h:1/v1");
    }
    let (chat, models) = ("https://h/api/chat/completions?key=x", "https://h/api/models?key=x");
    check("https://h/api?key=x", Dialect::OpenAi, chat, models, "https://h/api");
    for url in ["http://h:1", "http://h:1/api", "http://h:1/api/chat"] {
        check(url, Dialect::Ollama, "http://h:1/api/chat", "http://h:1/api/tags", "http://h:1");
    }
    for url in ["h:1", "ftp://h", "", "http://me:canary@h", "https://me@h/v1?key=canary"] {
        let shown = HttpTeacher::new(Endpoint::new(url, Dialect::OpenAi)).err().unwrap().to_string();
        assert!(!shown.contains("canary"), "{shown}");
    }
    let bad = Endpoint {
        headers: vec![("a b".to_owned(), Secret::new("canary").unwrap())],
        ..Endpoint::new("http://h", Dialect::OpenAi)
    };
    assert!(HttpTeacher::new(bad).err().unwrap().to_string().contains("`a b`"));
}

#[test]
fn presets_are_known_by_name() {
    for preset in Preset::ALL {
        assert_eq!(Preset::named(preset.name()), Some(preset));
        assert!(preset.endpoint().routes().is_ok());
    }
    assert!(Preset::DeepSeek.prices("deepseek-flash").is_some() && Preset::Vllm.prices("m").is_none());
}

#[test]
fn secrets_are_what_a_header_can_carry() {
    assert!(Secret::new(" a-key\n").is_some());
    for text in ["", " \n", "a\nb", "ключ", "a\u{7}b"] {
        assert!(Secret::new(text).is_none(), "{text:?}");
    }
}
