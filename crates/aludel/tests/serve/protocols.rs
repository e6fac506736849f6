//! What is answered: the same text whole and streamed, in all protocols, and as `aludel chat` has it.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Workshop, train_args};
use crate::http::{Reply, Served};

const GREEDY_TOKENS: u64 = 12;

fn question(more: &Value) -> Value {
    let mut body = json!({"model": "student", "messages": [{"role": "user", "content": "hello"}], "temperature": 0,
        "max_tokens": GREEDY_TOKENS});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn chat(served: &Served, more: &Value) -> Value {
    let reply = served.post("/v1/chat/completions", &question(more));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// The texts of a field in the deltas of a stream.
fn streamed(reply: &Reply, field: &str) -> String {
    let events = reply.events();
    let deltas = events.iter().filter_map(|event| event["choices"][0]["delta"][field].as_str());
    deltas.collect()
}

#[test]
fn an_answer_is_the_same_whole_streamed_and_in_chat() {
    let workshop = Workshop::with_student();
    let served = Served::start(&workshop, &[]);
    let whole = chat(&served, &json!({}));
    let content = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], GREEDY_TOKENS);
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let stream = served.post("/v1/chat/completions", &question(&options));
    assert!(stream.head.contains("content-type: text/event-stream"), "{}", stream.head);
    assert_eq!(streamed(&stream, "content"), content);
    let events = stream.events();
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[events.len() - 1]["usage"], whole["usage"]);
    assert!(stream.body.ends_with("data: [DONE]\n\n"));
    let tokens = GREEDY_TOKENS.to_string();
    let asked = ["chat", "--model", "student", "--dtype", "f32", "--temperature", "0", "--prompt", "hello", "--json"];
    let said = workshop.json(&[&asked[..], &["--max-new-tokens", &tokens]].concat());
    assert_eq!(said["content"].as_str().unwrap(), content.trim());
    assert_eq!(said["usage"]["prompt_tokens"], whole["usage"]["prompt_tokens"]);

    // the other protocols, and parts of text in place of a text
    let parts = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}]});
    assert_eq!(chat(&served, &parts)["choices"][0]["message"]["content"], content);
    let messages = served.post("/v1/messages", &question(&json!({})));
    assert_eq!(messages.json()["content"], json!([{"type": "text", "text": content}]), "{messages:?}");
    assert_eq!(messages.json()["stop_reason"], "max_tokens");
    let streamed = served.post("/v1/messages", &question(&json!({"stream": true})));
    let events = streamed.events();
    let deltas: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(deltas, content);
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..2], ["message_start", "content_block_start"]);
    assert_eq!(kinds[kinds.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let counted = served.post("/v1/messages/count_tokens", &question(&json!({})));
    assert_eq!(counted.json()["input_tokens"], whole["usage"]["prompt_tokens"]);

    let input = json!({"input": "hello", "temperature": 0, "max_output_tokens": GREEDY_TOKENS});
    let response = served.post("/v1/responses", &input).json();
    assert_eq!(response["output"][0]["content"][0]["text"], content, "{response}");
    assert_eq!(
        (&response["status"], &response["usage"]["output_tokens"]),
        (&json!("incomplete"), &json!(GREEDY_TOKENS))
    );
    let mut input = input;
    input["stream"] = json!(true);
    let events = served.post("/v1/responses", &input).events();
    let deltas: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!(deltas, content);
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    assert_eq!(events.last().unwrap()["response"]["output"][0]["content"], response["output"][0]["content"]);

    let options = json!({"options": {"temperature": 0, "num_predict": GREEDY_TOKENS}});
    let lines = served.post("/api/chat", &question(&options));
    let lines: Vec<Value> = lines.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let deltas: String = lines.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
    assert_eq!(deltas, content);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["done"], &last["done_reason"], &last["eval_count"]),
        (&json!(true), &json!("length"), &json!(GREEDY_TOKENS))
    );
    let generate = json!({"prompt": "hello", "stream": false, "options": options["options"]});
    assert_eq!(served.post("/api/generate", &generate).json()["response"], content);
}

#[test]
fn seeds_samples_stops_and_log_probabilities() {
    let served = Served::start(&Workshop::with_student(), &[]);
    let hot = json!({"temperature": 1.5, "seed": 7, "n": 3, "top_k": 0});
    let answer = chat(&served, &hot);
    let texts = |answer: &Value| -> Vec<String> {
        let choices = answer["choices"].as_array().unwrap();
        choices.iter().map(|choice| choice["message"]["content"].as_str().unwrap().to_owned()).collect()
    };
    let first = texts(&answer);
    assert_eq!(first.len(), 3);
    assert!(first[0] != first[1] && first[1] != first[2], "{first:?}");
    assert_eq!(texts(&chat(&served, &hot)), first, "a seed asks for the same draws");
    assert_ne!(texts(&chat(&served, &json!({"temperature": 1.5, "seed": 8, "n": 3, "top_k": 0}))), first);

    let whole = chat(&served, &json!({"logprobs": true, "top_logprobs": 3}));
    let choice = &whole["choices"][0];
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len() as u64, GREEDY_TOKENS);
    let mut bytes = Vec::new();
    for token in tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        let logprobs: Vec<f64> = top.iter().map(|top| top["logprob"].as_f64().unwrap()).collect();
        assert!(logprobs.len() == 3 && logprobs[0] >= logprobs[1] && logprobs[1] >= logprobs[2], "{token}");
        assert!(
            (logprobs[0] - token["logprob"].as_f64().unwrap()).abs() <= 1e-5,
            "greedy takes the likeliest: {token}"
        );
        assert!(logprobs.iter().map(|logprob| logprob.exp()).sum::<f64>() <= 1.0 + 1e-6);
        bytes.extend(token["bytes"].as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8));
    }
    let content = choice["message"]["content"].as_str().unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), content, "the tokens are the text");
    let stream =
        served.post("/v1/chat/completions", &question(&json!({"logprobs": true, "top_logprobs": 3, "stream": true})));
    let events = stream.events();
    let told = events.iter().filter_map(|event| event["choices"][0]["logprobs"]["content"].as_array()).flatten();
    assert_eq!(told.cloned().collect::<Vec<_>>(), *tokens);

    // a stop text is no part of the answer, whole or streamed
    let (at, stop) = content.char_indices().skip(2).find(|(_, letter)| *letter != '\u{fffd}').unwrap();
    let at = at.min(content.find(stop).unwrap());
    let stopped = chat(&served, &json!({"stop": [stop.to_string()]}));
    assert_eq!(
        (&stopped["choices"][0]["message"]["content"], &stopped["choices"][0]["finish_reason"]),
        (&json!(content[..at]), &json!("stop"))
    );
    let stream = served.post("/v1/chat/completions", &question(&json!({"stop": stop.to_string(), "stream": true})));
    assert_eq!(streamed(&stream, "content"), content[..at]);

    let prompt = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n";
    let completion = json!({"prompt": prompt, "temperature": 0, "max_tokens": GREEDY_TOKENS, "logprobs": 2});
    let completed = served.post("/v1/completions", &completion).json();
    assert_eq!(completed["choices"][0]["text"], content);
    assert_eq!(completed["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len() as u64, GREEDY_TOKENS);
}

#[test]
fn reasoning_is_told_apart_and_taken_back() {
    let workshop = Workshop::with_student();
    let template = fs::read_to_string(workshop.path("student/chat_template.jinja")).unwrap();
    let template = template.replace("assistant\\n' }}", "assistant\\n<think>' }}");
    let template =
        template.replace("message['content'] +", "(message['reasoning_content'] or '') + message['content'] +");
    assert!(template.contains("<think>") && template.contains("reasoning_content"));
    workshop.write("student/chat_template.jinja", &template);
    let served = Served::start(&workshop, &[]);
    let whole = chat(&served, &json!({}));
    let message = &whole["choices"][0]["message"];
    let reasoning = message["reasoning"].as_str().unwrap();
    assert!(
        !reasoning.is_empty() && message["reasoning_content"] == reasoning && message["content"] == "",
        "{message}"
    );
    let stream = served.post("/v1/chat/completions", &question(&json!({"stream": true})));
    assert_eq!(streamed(&stream, "reasoning"), reasoning);
    assert_eq!(streamed(&stream, "reasoning_content"), reasoning);
    let messages = served.post("/v1/messages", &question(&json!({}))).json();
    assert_eq!(messages["content"][0]["thinking"], reasoning);
    let response =
        served.post("/v1/responses", &json!({"input": "hello", "temperature": 0, "max_output_tokens": GREEDY_TOKENS}));
    assert_eq!(response.json()["output"][0]["content"][0], json!({"type": "reasoning_text", "text": reasoning}));
    let ollama = served.post(
        "/api/chat",
        &question(&json!({"stream": false, "options": {"temperature": 0, "num_predict": GREEDY_TOKENS}})),
    );
    assert_eq!(ollama.json()["message"]["thinking"], reasoning);

    // each protocol has its own way to send it back, and the template gets the same
    let prompt_tokens = |path: &str, body: &Value, usage: &str| {
        let reply = served.post(path, body);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["usage"][usage].as_u64().unwrap()
    };
    let turns = |said: Value| json!([{"role": "user", "content": "a"}, said, {"role": "user", "content": "b"}]);
    let plain = turns(json!({"role": "assistant", "content": "c"}));
    let tokens = prompt_tokens("/v1/chat/completions", &json!({"messages": plain, "max_tokens": 1}), "prompt_tokens");
    for name in ["reasoning", "reasoning_content"] {
        let said = turns(json!({"role": "assistant", "content": "c", name: "because"}));
        let more = prompt_tokens("/v1/chat/completions", &json!({"messages": said, "max_tokens": 1}), "prompt_tokens");
        assert_eq!(more, tokens + 7, "{name}");
    }
    let blocks = json!([{"type": "thinking", "thinking": "because", "signature": ""}, {"type": "text", "text": "c"}]);
    let said = turns(json!({"role": "assistant", "content": blocks}));
    assert_eq!(prompt_tokens("/v1/messages", &json!({"messages": said, "max_tokens": 1}), "input_tokens"), tokens + 7);
    let items = json!([{"role": "user", "content": "a"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "because"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "c"}]},
        {"role": "user", "content": "b"}]);
    let input = json!({"input": items, "max_output_tokens": 1});
    assert_eq!(prompt_tokens("/v1/responses", &input, "input_tokens"), tokens + 7);
}

#[test]
fn adapters_are_chosen_by_the_name_of_the_model() {
    let workshop = Workshop::with_student();
    let row =
        json!({"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "world, world"}]});
    let rows: String =
        (0..12).map(|n| format!("{}\n", row.to_string().replace("hello", &format!("hello {n}")))).collect();
    workshop.write("rows.jsonl", &rows);
    let trained = workshop.run(&train_args("run", &["--learning-rate", "0.5", "--max-steps", "4"]));
    assert!(trained.contains("exit code: 0"), "{trained}");
    let served = Served::start(&workshop, &["--adapter", "tuned=run"]);
    let models = served.get("/v1/models", "").json();
    let names: Vec<&str> =
        models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["student", "tuned"]);
    let said = |name: &str| chat(&served, &json!({"model": name}))["choices"][0]["message"]["content"].clone();
    let (base, tuned) = (said("student"), said("tuned"));
    assert_ne!(base, tuned);
    assert_eq!([said("tuned"), said("student")], [tuned, base], "neither changes the other");
    let tags = served.get("/api/tags", "").json();
    assert_eq!(tags["models"][1]["name"], "tuned");
    assert_eq!(
        served.post("/api/show", &json!({"model": "tuned:latest"})).json()["details"]["parent_model"],
        "student"
    );
}
