//! What rows are left out by their own marks, what marks of templates are taken off or told, which tags are read, and which columns nobody
//! reads: what of it is counted, and where it stands.

use super::*;

/// The records and the counts of rows.
fn all(rows: &[Value], options: &ReadOptions) -> (Vec<Record>, Counts) {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let (records, counts) = read(text.as_bytes(), options);
    (records.into_iter().map(Result::unwrap).collect(), counts)
}

fn row(more: Value) -> Value {
    let mut row = json!({"prompt": "q", "response": "a"});
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    row
}

fn refused(row: &Value, words: &str) {
    check_error(row.to_string().as_bytes(), &ReadOptions::default(), &["data.jsonl, line 1", words]);
}

#[test]
fn rows_are_left_out_by_their_marks_and_counted() {
    let rows = [
        row(json!({"skip": true})),
        row(json!({"skip": false})),
        row(json!({"skip": true, "prompt": null})),
        row(json!({"error": "Connection reset", "response": "", "id": 3})),
        row(json!({"error": "TypeError: x", "response": null})),
        row(json!({"metadata": {"is_correct": false}})),
        row(json!({"metadata": {"error": "Connection reset"}, "response": ""})),
    ];
    let (records, counts) = all(&rows, &ReadOptions::default());
    assert_eq!((records.len(), counts.rows, counts.bad_rows(), counts.set_aside_rows()), (1, 1, 0, 6));
    let marks: Vec<(&str, u64, u64)> =
        counts.set_aside.iter().map(|marked| (marked.mark.as_str(), marked.rows, marked.first_line)).collect();
    assert_eq!(
        marks,
        [
            ("skip is true", 2, 1),
            ("error is set", 2, 4),
            ("metadata.is_correct is false", 1, 6),
            ("metadata.error is set", 1, 7)
        ]
    );
    let told = counts.set_aside_told().unwrap();
    assert!(
        told.starts_with("rows left out that are marked as not to be used: 6 (skip is true: 2, error is set: 2,"),
        "{told}"
    );
    assert!(told.ends_with("data.jsonl, line 1"), "{told}");
    check_error(
        rows[0].to_string().as_bytes(),
        &ReadOptions::default(),
        &["all 1 rows", "marked as not to be used (skip is true)"],
    );
}

#[test]
fn marks_that_are_not_understood_are_refused_by_name() {
    refused(&row(json!({"skip": "perhaps"})), "column `skip` is \"perhaps\", and true or false is wanted");
    refused(
        &row(json!({"error": "TypeError: x"})),
        "the row has `error`: \"TypeError: x\", which may say that its answer failed",
    );
    // The words of a server are no better known beside an answer.
    refused(&row(json!({"error": "Connection reset"})), "the row has `error`: \"Connection reset\"");
    refused(&row(json!({"meta": {"error": "HTTPError: 404"}})), "the row has `meta.error`: \"HTTPError: 404\"");
    refused(
        &row(json!({"metadata": {"weight": 70}})),
        "`metadata.weight` is 70, and a weight in training that stands there",
    );
    let named = columns(&[("prompt", "prompt"), ("response", "response")]);
    check_with(&named, row(json!({"error": "TypeError: x"})), &[user("q"), Message::assistant("a")]);
    let named = columns(&[("prompt", "error")]);
    check_with(
        &named,
        row(json!({"error": "Request timed out"})),
        &[user("Request timed out"), Message::assistant("a")],
    );
    let turn = |more: Value| {
        let mut turn = json!({"role": "assistant", "content": "a"});
        turn.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"messages": [{"role": "user", "content": "q"}, turn]})
    };
    refused(&turn(json!({"skip": true})), "messages[1] has `skip`: true");
    refused(&turn(json!({"error": "timed out"})), "messages[1] has `error`");
    refused(&turn(json!({"metadata": {"weight": 0}})), "the weights of all are 0");
    refused(&turn(json!({"metadata": {"weight": 70}})), "messages[1]: `metadata.weight` is 70");
    for more in [
        json!({"skip": false, "correct": true, "error": null}),
        json!({"include": true, "is_error": 0, "metadata": {"weight": 1}}),
    ] {
        check(turn(more), &[user("q"), Message::assistant("a")]);
    }
    // Ordinary text and numbers.
    for more in [
        json!({"error": null, "skip": "", "valid": "2024", "correct": "B", "rejected": "worse", "keep": "the first"}),
        json!({"error": 0.02, "use": "kitchen", "include": "<stdio.h>"}),
        json!({"correct": 0, "failed": 1, "metadata": {"passed": 0}, "valid": false, "accepted": false, "status": "deleted"}),
        json!({"is_good": 0.93}),
    ] {
        check(row(more), &[user("q"), Message::assistant("a")]);
    }
}

#[test]
fn weights_are_counted_by_the_column_that_gives_them() {
    let rows = [
        row(json!({"weight": 1, "loss_mask": true})),
        row(json!({"weight": 0.5})),
        row(json!({"weight": 3.5, "sample_weight": 2})),
        row(json!({"metadata": {"weight": 0.25}})),
        row(json!({"weight": 0})),
    ];
    let (records, counts) = all(&rows, &ReadOptions::default());
    let weights: Vec<f32> = records.iter().map(|record| record.weight).collect();
    assert_eq!(weights, [1.0, 0.5, 2.0, 0.25, 0.0]);
    let told = counts.weighted_told().unwrap();
    assert!(
        told.contains("other than 1 (rename the column if it is no loss weight): 3 (weight: 1, sample_weight: 1, "),
        "{told}"
    );
    assert!(told.contains("metadata.weight: 1); the first is ") && told.ends_with("line 2"), "{told}");
}

#[test]
fn marks_among_notes_are_honoured() {
    let (records, _) = all(
        &[
            row(json!({"metadata": {"weight": 0.5}})),
            row(json!({"metadata": {"weight": 0}})),
            row(json!({"metadata": {"truncated": true}})),
            row(json!({"meta": {"finished": false, "weight": true}})),
        ],
        &ReadOptions::default(),
    );
    let found: Vec<(f32, Option<&str>)> =
        records.iter().map(|record| (record.weight, record.flaw.as_ref().map(|flaw| flaw.detail.as_str()))).collect();
    assert_eq!(
        found,
        [
            (0.5, None),
            (0.0, Some("metadata.weight is 0")),
            (1.0, Some("metadata.truncated is true")),
            (1.0, Some("meta.finished is false")),
        ]
    );
}

#[test]
fn marks_beyond_some_are_counted_together_and_told_as_they_are() {
    let rows: Vec<Value> = (0..25)
        .flat_map(|number| {
            let mark = format!("<|mark{number}|>");
            [row(json!({"response": format!("a {mark} b")})), row(json!({"response": format!("c {mark} d")}))]
        })
        .collect();
    let (_, counts) = all(&rows, &ReadOptions::default());
    let marks = &counts.turn_marks;
    assert_eq!((marks.len(), marks[19].mark.as_str(), marks[19].rows), (21, "<|mark19|>", 2));
    assert_eq!((marks[20].mark.as_str(), marks[20].rows, marks[20].first_line), ("other marks", 10, 41));
    // A mark is told with its own quotes; what a terminal must not see, the console escapes.
    let (_, counts) = all(&[row(json!({"skip": "yes"})), row(json!({}))], &ReadOptions::default());
    let told = counts.set_aside_told().unwrap();
    assert!(told.contains(r#"(skip is "yes": 1)"#), "{told}");
}

#[test]
fn marks_of_turns_are_taken_off_at_the_end_and_told_elsewhere() {
    let rows = [
        row(json!({"response": "a<|im_end|>"})),
        row(json!({"response": "<think>r</think>a</s>\n"})),
        row(json!({"response": "a <|im_end|> b"})),
        row(json!({"prompt": "What is </s>?"})),
        row(json!({"response": "a <|im_end|>\n<|im_start|>user"})),
        row(json!({})),
    ];
    let (records, counts) = all(&rows, &ReadOptions::default());
    assert_eq!(records[0].messages().unwrap()[1], Message::assistant("a"));
    assert_eq!(records[1].messages().unwrap()[1], thought("r", "a"));
    assert_eq!(records[2].messages().unwrap()[1], Message::assistant("a <|im_end|> b"));
    assert_eq!(counts.end_marks_removed, 2);
    let marks: Vec<(&str, u64, u64)> =
        counts.turn_marks.iter().map(|marked| (marked.mark.as_str(), marked.rows, marked.first_line)).collect();
    assert_eq!(marks, [("<|im_end|>", 2, 3), ("</s>", 1, 4)]);
    let told = counts.turn_marks_told().unwrap();
    assert!(told.contains("trained as plain text: 3 (<|im_end|>: 2, </s>: 1); the first is "), "{told}");
    assert!(counts.end_marks_told().unwrap().ends_with("taken off: 2"));
    assert_eq!((Counts::default().turn_marks_told(), Counts::default().end_marks_told()), (None, None));
    // Nothing but a mark is no answer.
    let (records, _) = all(&[row(json!({"response": "<|eot_id|>"}))], &ReadOptions::default());
    assert_eq!(records[0].flaw.as_ref().unwrap().detail, "the answer is empty");
}

#[test]
fn tags_that_only_the_user_can_tell_are_refused_or_read_as_told() {
    let tags = |word: &str, tag| ReadOptions { answer_tags: [(word.to_owned(), tag)].into(), ..ReadOptions::default() };
    for (text, tag, word) in [
        ("<analysis>r</analysis>\na", "<analysis>", "analysis"),
        ("<Reason>r</Reason>a", "<Reason>", "reason"),
        ("[REFLECTION]r[/REFLECTION]a", "[REFLECTION]", "reflection"),
        ("&lt;rationale&gt;r&lt;/rationale&gt;a", "&lt;rationale&gt;", "rationale"),
        ("<my_thoughts>r</my_thoughts>a", "<my_thoughts>", "mythoughts"),
    ] {
        let asked = json!({"prompt": "q", "response": text});
        refused(&asked, &format!("an answer begins with `{tag}`, which may stand around reasoning"));
        refused(&asked, &format!("data.answer_tags = {{ {word} = \"reasoning\" }}"));
        check_with(&tags(word, AnswerTag::Reasoning), asked.clone(), &[user("q"), thought("r", "a")]);
        check_with(&tags(word, AnswerTag::Text), asked.clone(), &[user("q"), Message::assistant(text)]);
        let beside = json!({"prompt": "q", "response": text, "reasoning": "why"});
        check(beside, &[user("q"), thought("why", text)]);
    }
    check_with(
        &tags("plan", AnswerTag::Reasoning),
        json!({"prompt": "q", "response": "<plan>r</plan>a"}),
        &[user("q"), thought("r", "a")],
    );
    refused(&json!({"prompt": "q", "response": "<analysis>r"}), "an answer begins with `<analysis>`");
    let cut = json!({"prompt": "q", "response": "<analysis>r"}).to_string();
    check_error(cut.as_bytes(), &tags("analysis", AnswerTag::Reasoning), &["`<analysis>`, which is never closed"]);
    // Ordinary markup, and XML that was asked for.
    for text in [
        "<p>r</p>a",
        "<details>r</details>a",
        "<answer>a</answer>",
        "<SOLUTION>a</SOLUTION>",
        "<analysis><reason>r</reason></analysis>",
        "<plan>r</plan>a",
        "[Reasoning](https://example.com)",
        "So: <analysis>r</analysis>a",
    ] {
        check(json!({"prompt": "q", "response": text}), &[user("q"), Message::assistant(text)]);
    }
}

#[test]
fn columns_that_nobody_reads_are_counted_once() {
    let rows = [
        row(json!({"source": "s", "note": "", "weight": 0.5})),
        row(json!({"source": "s", "note": "n", "thinking": "r", "reasoning": "r"})),
        row(json!({"skip": true, "other": 1})),
    ];
    let (_, counts) = all(&rows, &ReadOptions::default());
    assert_eq!(counts.columns_not_used, ["source", "note"]);
    assert_eq!(columns_not_used(&counts.columns_not_used).as_deref(), Some("columns not used: source, note"));
}
