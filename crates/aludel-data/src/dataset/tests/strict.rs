//! Marks of other tools that change what a row means, and rows that say two things at once: what is understood is used, what is not is
//! refused by name, and what is common and harmless passes.

use super::*;

fn record(row: &Value) -> Result<Record, String> {
    let (mut records, _) = read(row.to_string().as_bytes(), &ReadOptions::default());
    records.remove(0).map_err(|error| error.to_string())
}

/// A row that is refused with these words.
fn refused(row: Value, options: &ReadOptions, words: &str) {
    check_error(row.to_string().as_bytes(), options, &["data.jsonl, line 1", words]);
}

fn usual() -> ReadOptions {
    ReadOptions::default()
}

/// A conversation whose answer has these members, too.
fn with(more: Value) -> Value {
    let mut answer = json!({"role": "assistant", "content": "a"});
    answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"messages": [{"role": "user", "content": "q"}, answer]})
}

#[test]
fn reasoning_between_tags_of_any_model_is_reasoning() {
    for text in [
        "<think>r</think>a",
        "<Think>\nr\n</Think>\n\na",
        "<thinking>r</thinking>a",
        "<thought>r</thought>\na",
        "<reasoning>\nr</reasoning>a",
        "◁think▷r◁/think▷a",
        "[THINK]r[/THINK]a",
        "<|begin_of_thought|>\n\nr\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\na\n\n<|end_of_solution|>",
    ] {
        check(json!({"prompt": "q", "response": text}), &[user("q"), thought("r", "a")]);
        check(
            json!({"prompt": "q", "completion": [{"role": "assistant", "content": text}]}),
            &[user("q"), thought("r", "a")],
        );
        check(json!({"prompt": "q", "reasoning": "r", "response": text}), &[user("q"), thought("r", "a")]);
    }
    for (text, wanted) in
        [("a<think", "a<think"), ("write `<think>` first", "write `<think>` first"), ("x < think > y", "x < think > y")]
    {
        check(json!({"prompt": "q", "response": text}), &[user("q"), Message::assistant(wanted)]);
    }
    let cut = record(&json!({"prompt": "q", "response": "<thinking>r"})).unwrap();
    assert_eq!(cut.flaw, Some(Flaw::incomplete("the reasoning is never closed", true)));
    for (text, words) in [
        ("Well. <think>r", "column `response`: `<think>` opens in the middle of the answer and is never closed"),
        ("a <think>b</think> c", "column `response`: `<think>` opens in the middle of the answer"),
        ("<think>r</think>a</think>b", "column `response`: `</think>` stands behind the end of the reasoning"),
        ("As XML: <reasoning>r</reasoning>", "column `response`: `<reasoning>` opens in the middle"),
        ("It ends with </think> and then", "column `response`: `</think>` stands in the middle of a sentence"),
        ("By &lt;/think&gt; in HTML.", "column `response`: `&lt;/think&gt;` stands in the middle of a sentence"),
    ] {
        refused(json!({"prompt": "q", "response": text}), &usual(), words);
        let beside = json!({"prompt": "q", "response": text, "reasoning": "why"});
        check(beside, &[user("q"), thought("why", text)]);
    }
    let place =
        json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "So <think>r"}]});
    refused(place, &usual(), "messages[1]: `<think>` opens in the middle");
}

#[test]
fn settings_are_no_reasoning_and_neither_is_a_word_for_nothing() {
    for nothing in ["", " ", "None", "null", "N/A", "nan", "undefined"] {
        check(json!({"prompt": "q", "reasoning": nothing, "response": "a"}), &[user("q"), Message::assistant("a")]);
        check(with(json!({"reasoning": nothing})), &[user("q"), Message::assistant("a")]);
        check(with(json!({"reasoning": nothing, "thinking": "r"})), &[user("q"), thought("r", "a")]);
    }
    for setting in ["on", "Minimal", "high", "enabled: 1024", "budget=512 low", "type: disabled"] {
        let words = |place: &str| format!("{place} says {setting:?}, which is a setting and no reasoning");
        refused(json!({"prompt": "q", "reasoning": setting, "response": "a"}), &usual(), &words("column `reasoning`"));
        refused(with(json!({"reasoning": setting})), &usual(), &words("messages[1]: its reasoning"));
    }
    refused(
        json!({"prompt": "q", "reasoning": "low", "response": "a"}),
        &usual(),
        "--set 'data.columns={ reasoning = \"…\" }'",
    );
    check(
        with(json!({"reasoning": {"type": "enabled", "budget_tokens": 1024}})),
        &[user("q"), Message::assistant("a")],
    );
    for text in ["Low tide is at six.", "no, since 2 is even", "1024"] {
        check(with(json!({"reasoning": text})), &[user("q"), thought(text, "a")]);
    }
}

#[test]
fn a_row_that_says_two_things_is_refused() {
    let parts = |field: &str| {
        json!({"prompt": "q", "response": [{"role": "assistant", "reasoning": field,
            "content": [{"type": "thinking", "thinking": "r"}, {"type": "text", "text": "a"}]}]})
    };
    check(parts("r"), &[user("q"), thought("r", "a")]);
    refused(
        parts("another"),
        &usual(),
        "response[0]: its content has reasoning of its own, and a field beside it another",
    );

    let turns = |answer: &str| json!([{"from": "human", "value": "q"}, {"from": "gpt", "value": answer}]);
    let both = |messages: Value, conversations: Value| json!({"messages": messages, "conversations": conversations});
    let plain = with(json!({}))["messages"].clone();
    let wanted = [user("q"), Message::assistant("a")];
    check(both(plain.clone(), turns("a")), &wanted);
    check(both(plain.clone(), json!(7)), &wanted);
    check(both(json!([]), turns("a")), &wanted);
    check_with(&columns(&[("messages", "messages")]), both(plain.clone(), turns("b")), &wanted);
    refused(both(plain.clone(), turns("b")), &usual(), "`messages` and `conversations`, and they do not say the same");
    refused(both(plain, turns("b")), &columns(&[("reasoning", "cot")]), "they do not say the same");

    // What is asked is read by the same rule.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    fs::write(&path, both(with(json!({}))["messages"].clone(), turns("b")).to_string()).unwrap();
    let said = open_prompts(std::slice::from_ref(&path), &usual()).unwrap().next().unwrap().unwrap_err().to_string();
    assert!(said.contains("they do not say the same"), "{said}");
    fs::write(&path, json!({"prompt": "q", "instruction": "b"}).to_string()).unwrap();
    let said = open_prompts(std::slice::from_ref(&path), &usual()).unwrap().next().unwrap().unwrap_err().to_string();
    assert!(said.contains("`prompt` and `instruction`, and they do not say the same"), "{said}");

    let speaks = |role: &str, from: &str| json!({"messages": [{"role": "user", "content": "q"}, {"role": role, "from": from, "content": "a"}]});
    check(speaks("assistant", "gpt"), &wanted);
    refused(speaks("assistant", "human"), &usual(), "messages[1] has the `role` `assistant` and is `from` `human`");
    refused(speaks("assistant", "gpt-9"), &usual(), "messages[1] has the `role` `assistant` and is `from` `gpt-9`");
}

#[test]
fn a_named_column_that_is_empty_hides_no_other() {
    let row = |cot: Value, other: &str| json!({"question": "q", "cot": cot, "reasoning": other, "answer": "a"});
    let named = columns(&[("reasoning", "cot")]);
    check_with(&named, row(json!("r"), "other"), &[user("q"), thought("r", "a")]);
    check_with(&named, row(json!(""), "off"), &[user("q"), Message::assistant("a")]);
    for empty in [json!(""), json!(null)] {
        refused(
            row(empty, "why"),
            &named,
            "column `cot`, which data.columns names for `reasoning`, is empty here, and `reasoning` is not",
        );
    }
    let row = |own: &str| json!({"question": "q", "who": own, "system_prompt": "s", "answer": "a"});
    let named = columns(&[("system", "who")]);
    check_with(&named, row("me"), &[Message::system("me"), user("q"), Message::assistant("a")]);
    refused(row(""), &named, "`system`, is empty here, and `system_prompt` is not");
    refused(
        json!({"text": "t"}),
        &columns(&[("response", "reply")]),
        "names a part of a question with its answer, and the row is text",
    );
}

#[test]
fn marks_of_a_row_say_whether_it_is_learnt() {
    let flaw = |more: Value| {
        let mut row = json!({"prompt": "q", "response": "a"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record(&row).map(|record| (record.flaw.map(|flaw| flaw.detail), record.weight))
    };
    for (more, wanted, weight) in [
        (json!({"truncated": true}), Some("truncated is true"), 1.0),
        (json!({"is_complete": false}), Some("is_complete is false"), 1.0),
        (json!({"status": "incomplete"}), Some("status is \"incomplete\""), 1.0),
        (json!({"finish_reason": "stop", "stop_reason": "max_tokens"}), Some("stop_reason is \"max_tokens\""), 1.0),
        (json!({"native_finish_reason": "length"}), Some("native_finish_reason is \"length\""), 1.0),
        (
            json!({"response_metadata": {"finish_reason": "length"}}),
            Some("response_metadata.finish_reason is \"length\""),
            1.0,
        ),
        (json!({"label": false}), Some("label is false, which marks a bad answer"), 1.0),
        (json!({"train": false}), Some("train is false"), 0.0),
        (json!({"masked": true}), Some("masked is true"), 0.0),
        (json!({"loss_mask": 0, "weight": 2}), Some("loss_mask is 0"), 0.0),
        (json!({"loss_mask": 1, "label": true, "train": true, "masked": false, "truncated": false}), None, 1.0),
        (
            json!({"train": "train", "label": "bad", "masked": "a [MASK]", "status": "final", "truncated": "text"}),
            None,
            1.0,
        ),
    ] {
        assert_eq!(flaw(more.clone()), Ok((wanted.map(str::to_string), weight)), "{more}");
    }
    // A number under a name that classifiers have, too, is a class: beside plain text, and beside question and response.
    for row in [json!({"text": "t"}), json!({"question": "q", "response": "r"})] {
        let kind = |name: &str, label: Value| {
            let mut row = row.clone();
            row[name] = label;
            record(&row).unwrap().flaw.map(|flaw| flaw.kind)
        };
        let kinds = [json!(0), json!("no"), json!(false), json!("False")].map(|label| kind("label", label));
        assert_eq!(kinds, [None, None, Some(FlawKind::BadLabel), Some(FlawKind::BadLabel)], "{row}");
        assert_eq!(kind("kto_label", json!(0)), Some(FlawKind::BadLabel), "{row}");
        assert_eq!(kind("weight", json!(0)), Some(FlawKind::ZeroWeight), "{row}");
        assert_eq!(kind("finish_reason", json!("length")), Some(FlawKind::Incomplete), "{row}");
    }
    for (more, words) in [
        (json!({"loss_mask": [0, 1]}), "column `loss_mask` holds a list, and parts of a row are not weighed"),
        (json!({"weight": "NaN"}), "column `weight` is \"NaN\", and a weight is"),
        (json!({"weight": 72.5}), "column `weight` is 72.5, and a weight is true, false or a number from 0 to 10"),
        (json!({"weights": -1}), "column `weights` is -1, and a weight is"),
    ] {
        let said = flaw(more).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
    // What stands for a column that cannot be unpacked is no text.
    let sealed =
        |name: &str| format!(r#"{{"prompt":"q","response":"a","{name}":"\udcffwhat cannot be unpacked: brotli"}}"#);
    check_error(sealed("weight").as_bytes(), &usual(), &["column `weight` holds what cannot be unpacked: brotli"]);
    let (records, _) = read(sealed("finish_reason").as_bytes(), &usual());
    let flaw = records[0].as_ref().unwrap().flaw.clone().unwrap();
    assert_eq!(flaw.detail, "finish_reason holds what cannot be unpacked: brotli");
}

#[test]
fn marks_of_a_message_say_whether_it_counts() {
    for harmless in [
        json!({"deleted": false, "labels": {"name": ["spam"], "value": [0.0]}, "review_result": true}),
        json!({"finish_reason": "stop", "stop_reason": 151643, "native_finish_reason": "eos"}),
        json!({"info": {"source": "s", "think_content": "r", "answer_content": "a"}, "id": "x"}),
        json!({"end_turn": true, "finish_reason": "FinishReason.STOP"}),
        json!({"status": "completed", "truncated": false, "response_metadata": {"finish_reason": "stop", "id": "x"}}),
    ] {
        check(with(harmless), &[user("q"), Message::assistant("a")]);
    }
    for (more, words) in [
        (json!({"deleted": true}), "messages[1] has `deleted`: true, which may say that it does not count"),
        (json!({"review_result": false}), "messages[1] has `review_result`: false"),
        (json!({"deleted": 1}), "messages[1] has `deleted`"),
        (json!({"partial": "yes"}), "messages[1] was not answered to its end (partial is \"yes\")"),
        (json!({"done": 0}), "(done is 0)"),
        (json!({"labels": [-100, 7]}), "messages[1] has `labels`, which Aludel does not know"),
        (json!({"truncated": true}), "messages[1] was not answered to its end (truncated is true)"),
        (
            json!({"finish_reason": "stop", "stop_reason": "max_tokens"}),
            "not answered to its end (stop_reason is \"max_tokens\")",
        ),
        (json!({"response_metadata": {"finish_reason": "length"}}), "(response_metadata.finish_reason is \"length\")"),
        (json!({"status": "incomplete"}), "(status is \"incomplete\")"),
    ] {
        refused(with(more), &usual(), words);
    }
}

#[test]
fn half_of_a_pair_in_a_name_that_nobody_reads_is_no_matter() {
    let row = br#"{"question":"q","answer":"a","cut \ud83d":1}"#;
    assert!(read(row, &usual()).0[0].is_ok());
}

/// OpenR1-Math keeps all that was sampled beside the conversation that it chose.
#[test]
fn lists_beside_all_samples_do_not_speak_of_the_row() {
    let mut row = with(json!({}));
    let more = json!({"generations": ["a", "b"], "finish_reasons": ["stop", "length"], "is_reasoning_complete": [true, false],
        "correctness_math_verify": [true, false], "problem": "q", "answer": "4"});
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(record(&row).unwrap().flaw, None);
    row["generations"] = json!(null);
    assert_eq!(record(&row).unwrap().flaw.unwrap().detail, "finish_reasons is \"length\"");
}

#[test]
fn an_empty_list_may_be_written_as_text() {
    for name in ["tools", "functions", "images", "choices"] {
        for nothing in ["[]", " {} ", "null", "None", ""] {
            let mut row = json!({"prompt": "q", "response": "a"});
            row[name] = json!(nothing);
            check(row, &[user("q"), Message::assistant("a")]);
        }
        let mut row = json!({"prompt": "q", "response": "a"});
        row[name] = json!("[{\"name\": \"f\"}]");
        match ["tools", "functions"].contains(&name) {
            true => assert_eq!(record(&row).unwrap().messages().unwrap()[0].tools[0].name(), "f"),
            false => refused(row, &usual(), &format!("`{name}` beside `prompt`")),
        }
    }
    refused(json!({"prompt": "q", "response": "a", "input": "[]"}), &usual(), "`input` beside");
}

#[test]
fn reasoning_has_its_name_in_any_case() {
    for name in ["Reasoning", "COT", "reasoning_trace", "deepseek_reasoning", "complex_cot", "Complex_CoT"] {
        let mut row = json!({"prompt": "q", "response": "a"});
        row[name] = json!("r");
        check(row, &[user("q"), thought("r", "a")]);
        let mut row = with(json!({}));
        row[name] = json!("r");
        check(row, &[user("q"), thought("r", "a")]);
        let mut more = json!({});
        more[name] = json!("r");
        check(with(more), &[user("q"), thought("r", "a")]);
    }
}

#[test]
fn raw_text_of_harmony_is_refused_by_name() {
    for text in [
        "<|channel|>analysis<|message|>r<|end|><|start|>assistant<|channel|>final<|message|>a",
        "<|start|>assistant<|channel|>final<|message|>a",
    ] {
        let words = "`<|channel|>` with `<|message|>` is the raw text of a Harmony model (gpt-oss)";
        refused(json!({"prompt": "q", "response": text}), &usual(), &format!("column `response`: {words}"));
        refused(with(json!({"content": text})), &usual(), &format!("messages[1]: {words}"));
    }
    let spoken = "It begins with `<|channel|>analysis<|message|>`.";
    check(json!({"prompt": "q", "response": spoken}), &[user("q"), Message::assistant(spoken)]);
}

#[test]
fn what_a_question_is_about_is_never_left_out() {
    let documents = || json!([{"title": "t", "text": "x"}]);
    for name in [
        "documents",
        "Documents",
        "docs",
        "code",
        "source_code",
        "sourceCode",
        "Starter-Code",
        "passages",
        "body",
        "hint",
        "evidence",
        "Context",
        "retrievedDocuments",
        "sql_context",
        "table",
        "schema",
    ] {
        for (value, is_left) in
            [(json!("x"), true), (documents(), true), (json!(null), false), (json!(""), false), (json!([]), false)]
        {
            let mut row = json!({"question": "q", "answer": "a"});
            row[name] = value;
            if !is_left {
                check(row, &[user("q"), Message::assistant("a")]);
                continue;
            }
            refused(row.clone(), &usual(), &format!("`{name}` beside `question`, `answer`, and it would be left out"));
            check_with(&columns(&[("prompt", "question")]), row.clone(), &[user("q"), Message::assistant("a")]);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data.jsonl");
            fs::write(&path, row.to_string()).unwrap();
            let said = open_prompts(&[path], &usual()).unwrap().next().unwrap().unwrap_err().to_string();
            assert!(said.contains(&format!("`{name}` beside `question`")), "{said}");
        }
    }
    // Beside a conversation, what its turns cannot hold.
    for (name, is_left) in [("documents", true), ("image_url", true), ("code", false), ("context", false)] {
        let mut row = with(json!({}));
        row[name] = documents();
        match is_left {
            true => refused(row, &usual(), &format!("`{name}` beside `messages`")),
            false => check(row, &[user("q"), Message::assistant("a")]),
        }
    }
}

#[test]
fn plain_text_and_tables_are_told_how_they_are_given() {
    for text in [
        "Once upon a time there was a king.\n",
        "question,answer\n1+1,2\n",
        "42\n",
        "\"quoted\"\n",
        "[Chapter 1]\nOnce\n",
    ] {
        check_error(
            text.as_bytes(),
            &usual(),
            &["data.jsonl, line 1", "with a column `text`, a line for each text: {\"text\": \"…\"}"],
        );
    }
    check_error(b"{\"text\": 1,}", &usual(), &["not valid JSON"]);
    let (records, _) = read(b"{\"text\": 1,}", &usual());
    assert!(!records[0].as_ref().unwrap_err().to_string().contains("a line for each text"));
}
