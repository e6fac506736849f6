//! Tests of answers compared with reference answers: which rows are dropped or labelled, and by which rule.

use super::*;

#[test]
fn wrong_answers_are_dropped_or_labelled() {
    let rows = [
        row("a", "2+2?", "So it is \\boxed{4}.", json!({"gold": "4"})),
        row("b", "2+2?", "So it is \\boxed{5}.", json!({"answer": 4})),
        row("c", "2+2?", "I cannot say.", json!({"gold": "4"})),
        row("d", "2+2?", "So it is 4.", json!({"gold": null})),
        row("e", "Why?", "So it is \\boxed{4}.", json!({"gold": "It is a matter of taste, ≋ or so"})),
    ];
    let filter = Options { verify: Verify::Filter, ..off() };
    check(&rows[..4], &filter, &[("a", ""), ("b", "wrong"), ("c", "wrong"), ("d", "")]);
    let strict = Options { require_verified: true, ..filter.clone() };
    check(&rows[..4], &strict, &[("a", ""), ("b", "wrong"), ("c", "wrong"), ("d", "unverified")]);
    check(&rows[4..], &filter, &[("e", "undecided")]);

    let bench = Bench::new();
    let report = bench.curate(&rows[..4], &Options { verify: Verify::Label, ..off() });
    let labels: Vec<Value> = bench.read("train.jsonl").iter().map(|row| row["verified"].clone()).collect();
    assert_eq!(labels, [json!(true), json!(false), json!(false), Value::Null]);
    assert_eq!(report.verdicts, VerdictCounts { right: 1, wrong: 1, no_answer: 1, undecided: 0, not_known: 1 });
}

/// What `dropped.jsonl` says of each row, by its id.
fn details(rows: &[Value], options: &Options) -> BTreeMap<String, String> {
    let bench = Bench::new();
    bench.curate(rows, options);
    let text = |row: &Map<String, Value>, name: &str| row[name].as_str().unwrap().to_string();
    bench.read("dropped.jsonl").iter().map(|row| (text(row, "id"), text(row, "detail"))).collect()
}

#[test]
fn options_are_resolved_and_wrong_answers_stay_wrong() {
    let filter = Options { verify: Verify::Filter, ..off() };
    let asked = "Which is it?\nA. 12\nB. 14\nC. 15";
    // Beside a conversation a column may hold the options.
    let talk = |id: &str, prompt: &str, choices: &str, listed: Value| {
        let messages = json!([{"role": "user", "content": prompt}, {"role": "assistant", "content": "\\boxed{B}"}]);
        json!({"id": id, "messages": messages, "gold": "14", choices: listed})
    };
    let rows = [
        row("a", asked, "\\boxed{B}", json!({"gold": "14"})),
        row("b", asked, "\\boxed{14}", json!({"gold": "B"})),
        row("c", asked, "\\boxed{A}", json!({"gold": "14"})),
        row("d", asked, "\\boxed{B. 12}", json!({"gold": "14"})),
        // The column has them in another order than the question: who knows which of the two the letter is of?
        talk("e", asked, "choices", json!(["14", "12", "15"])),
        talk("f", "Which is it?", "choices", json!(["12", "14", "15"])),
        talk("g", "Which is it?", "options", json!({"A": "14", "B": "12"})),
        talk("h", "Which is it?", "choices", json!({"text": ["12", "14"], "label": ["1", "2"]})),
        row("i", "Which is it?", "\\boxed{B}", json!({"gold": "14"})),
        row("j", asked, "\\boxed{C}", json!({"gold": "B"})),
    ];
    let kept = [("a", ""), ("b", ""), ("f", "")];
    let dropped = ["c", "d", "e", "g", "h", "i", "j"];
    let bench = Bench::new();
    bench.curate(&rows, &filter);
    let fates = bench.fates();
    for (id, reason) in kept {
        assert_eq!(fates[id], reason, "{id}");
    }
    for id in dropped {
        assert!(["wrong", "undecided"].contains(&fates[id].as_str()), "{id}: {}", fates[id]);
    }
    let details = details(&rows, &filter);
    assert_eq!(details["c"], "its answer is `A`, and the right one is `14`");
    assert_eq!(details["j"], "its answer is `C`, and the right one is `B`");
}

#[test]
fn rows_say_how_they_are_compared_and_what_was_found() {
    let filter = Options { verify: Verify::Filter, ..off() };
    let reduce = json!({"answer": "6/5", "verifier": {"kind": "maths", "lowest_terms": true}});
    let rows = [
        row("a", "Reduce.", "\\boxed{18/15}", reduce.clone()),
        row("b", "Reduce.", "\\boxed{6/5}", reduce),
        row("c", "Compute.", "\\boxed{18/15}", json!({"answer": "6/5"})),
        row("d", "Spell.", "word", json!({"answer": "Word", "verifier": {"kind": "exact", "ignore_case": true}})),
        row("e", "Compute.", "\\boxed{2}", json!({"answer": "2", "verifier": "math_verify 0.8"})),
        row("f", "Compute.", "\\boxed{2}", json!({"answer": "2", "verifier": {"kind": "maths", "lowest": true}})),
        row("g", "Compute.", "\\boxed{2}", json!({"answer": "2", "verifier": {"kind": "command", "argv": ["true"]}})),
        row("h", "Compute.", "I do not know.", json!({"answer": "2"})),
        row("i", "Compute.", "\\boxed{2}", json!({"answer": "2", "verifier": {"name": "Ann"}})),
    ];
    let details = details(&rows, &filter);
    assert_eq!(details.keys().collect::<Vec<_>>(), ["a", "f", "g", "h"]);
    assert_eq!(details["a"], "its answer is `18/15`, and the right one is `6/5`; it was to be in lowest terms");
    assert!(details["f"].contains("unknown field `lowest`"), "{}", details["f"]);
    assert!(details["g"].contains("a file cannot say that a command is to be run"), "{}", details["g"]);
    assert_eq!(details["h"], "no answer is found in it; the right one is `2`");
    // A verifier that the recipe names decides for all rows.
    let exact = Options { verifier: Verifier::Exact { ignore_case: false }, ..filter };
    assert_eq!(self::details(&rows[3..4], &exact)["d"], "its answer is `word`, and the right one is `Word`");
}

#[test]
fn an_order_that_the_question_asks_for_decides() {
    let filter = Options { verify: Verify::Filter, ..off() };
    let (asked, silent) = ("List the primes below 8 in ascending order.", "What are the primes below 8?");
    let gold = json!({"answer": "2, 3, 5, 7"});
    let rows = [
        row("a", asked, "\\boxed{7, 5, 3, 2}", gold.clone()),
        row("b", asked, "\\boxed{2, 3, 5, 7}", gold.clone()),
        row("c", silent, "\\boxed{7, 5, 3, 2}", gold.clone()),
        row("d", asked, "\\boxed{2, 3, 5, 9}", gold),
        row("e", asked, "\\boxed{2, 3, 5, 7}", json!({"answer": "7, 5, 3, 2"})),
    ];
    let bench = Bench::new();
    bench.curate(&rows, &filter);
    let fates = bench.fates();
    let fates: Vec<&str> = ["a", "b", "c", "d", "e"].map(|id| fates[id].as_str()).to_vec();
    assert_eq!(fates, ["wrong", "", "undecided", "wrong", "undecided"]);
    let details = details(&rows, &filter);
    assert_eq!(
        details["a"],
        "its answer is `7, 5, 3, 2`, and the right one is `2, 3, 5, 7`; it was to be in ascending order"
    );
    assert_eq!(details["d"], "its answer is `2, 3, 5, 9`, and the right one is `2, 3, 5, 7`");
}

#[test]
fn an_answer_is_evaluated_and_reduced_where_that_is_asked_for() {
    let filter = Options { verify: Verify::Filter, ..off() };
    let (evaluate, reduce) = ("Evaluate $\\dbinom{5}{3}$.", "Reduce 18/15.");
    let rows = [
        row("a", evaluate, "\\boxed{\\dbinom{5}{3}}", json!({"gold": "10"})),
        row("b", evaluate, "\\boxed{10}", json!({"gold": "10"})),
        row("c", "How many pairs have five people?", "\\boxed{\\binom{5}{2}}", json!({"gold": "10"})),
        row("d", "How many subsets have ten things?", "\\boxed{2^{10}}", json!({"gold": "2^{10}"})),
        row("e", reduce, "18/15 cannot be reduced", json!({"gold": "6/5"})),
        row("f", reduce, "\\boxed{36/30}", json!({"gold": "6/5"})),
        row("g", reduce, "\\boxed{\\frac{6}{5}}", json!({"gold": "6/5"})),
        row("h", "Add 3/5 and 3/5.", "\\boxed{18/15}", json!({"gold": "6/5"})),
    ];
    let details = details(&rows, &filter);
    assert_eq!(details.keys().collect::<Vec<_>>(), ["a", "c", "e", "f"]);
    assert_eq!(
        details["a"],
        "its answer is `\\dbinom{5}{3}`, and the right one is `10`; it only restates the question"
    );
    assert_eq!(
        details["c"],
        "its answer is `\\binom{5}{2}`, which could not be compared with the right one, `10`; it was to be evaluated"
    );
    assert_eq!(
        details["e"],
        "its answer is `18/15 cannot be reduced`, and the right one is `6/5`; it was to be in lowest terms"
    );
    assert_eq!(details["f"], "its answer is `36/30`, and the right one is `6/5`; it was to be in lowest terms");
}

/// Rows that `curate.complete = false` keeps.
#[test]
fn an_answer_that_was_cut_off_counts_where_it_settles() {
    let filter = Options { verify: Verify::Filter, ..off() };
    let cut = json!({"gold": "42", "finish_reason": "length"});
    let rows = [
        row("a", "6 × 7?", "7 × 6 = 42, and 6 × 7 is 42", cut.clone()),
        row("b", "6 × 7?", "It is \\boxed{42}. Let me ch", cut.clone()),
        row("c", "6 × 7?", "The answer is 41. Let me check: 42", cut.clone()),
        row("d", "6 × 7?", "<think>The answer is 42. Let me check", json!({"gold": "42", "reasoning": null})),
        row("e", "6 × 7?", "7 × 6 = 42, and 6 × 7 is 42", json!({"gold": "42", "finish_reason": "stop"})),
        row("f", "6 × 7?", "7 × 6 = 42, and 6 × 7 is 42", json!({"gold": "42"})),
    ];
    let details = details(&rows, &filter);
    assert_eq!(details.keys().collect::<Vec<_>>(), ["a", "c", "d"]);
    assert_eq!(
        details["a"],
        "it was cut off before a final answer (finish_reason is \"length\"); the right one is `42`"
    );
    assert_eq!(details["c"], "its answer is `41`, and the right one is `42`");
    assert_eq!(
        details["d"],
        "it was cut off before a final answer (the reasoning is never closed); the right one is `42`"
    );
}

#[test]
fn every_verifier_can_be_chosen() {
    let with = |verifier: Verifier| Options { verify: Verify::Filter, verifier, ..off() };
    let rows = |right: &str, wrong: &str, gold: Value| {
        [row("a", "?", right, json!({"gold": gold})), row("b", "?", wrong, json!({"gold": gold}))]
    };
    let wanted = [("a", ""), ("b", "wrong")];
    check(
        &rows("The answer is (B).", "The answer is (C).", json!("B")),
        &with(Verifier::Choice { letters: "ABCD".into() }),
        &wanted,
    );
    check(&rows("Paris", "London", json!("Paris")), &with(Verifier::Exact { ignore_case: false }), &wanted);
    check(&rows("x=1; y=2", "x=1; y=3", json!("2")), &with(Verifier::Regex { pattern: r"y=(\d)".into() }), &wanted);
    check(&rows("2.50", "2.6", json!(2.501)), &with(Verifier::Numeric { absolute: 0.01, relative: 0.0 }), &wanted);
    check(
        &rows("{\"b\": 1, \"a\": [2]}", "{\"a\": [3]}", json!({"a": [2], "b": 1})),
        &with(Verifier::Json {}),
        &wanted,
    );
}

#[test]
fn a_command_may_verify() {
    let script = r#"while read -r line; do case "$line" in *'"answer":"yes"'*) echo '{"correct": true}';; *) echo '{"correct": false}';; esac; done"#;
    let argv = ["sh", "-c", script].map(str::to_string).to_vec();
    let verifier = Verifier::Command { argv, timeout_ms: 10_000 };
    let rows = [row("a", "?", "yes", json!({"gold": "g"})), row("b", "?", "no", json!({"gold": "g"}))];
    check(&rows, &Options { verify: Verify::Filter, verifier, ..off() }, &[("a", ""), ("b", "wrong")]);
    let absent = Verifier::Command { argv: vec!["./no-such-program".to_string()], timeout_ms: 10 };
    let bench = Bench::new();
    let files = [bench.write("rows.jsonl", &rows)];
    let options = Options { verify: Verify::Filter, verifier: absent, ..off() };
    let message = bench.curate_files(&files, &options).unwrap_err().to_string();
    assert!(message.contains("./no-such-program"), "{message}");
    assert!(!bench.path("out").exists());
}

/// What is no number is a right answer that nobody can be held against: undecided, and not as if there were none, which only null says.
#[test]
fn right_answers_of_a_table_that_are_no_numbers_leave_answers_undecided() {
    let bench = Bench::new();
    let golds = [Some(4.0), Some(5.0), Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), None];
    let text = |text: fn(usize) -> String| Arc::new(StringArray::from_iter_values((0..golds.len()).map(text)));
    let columns: [(&str, ArrayRef); 4] = [
        ("id", text(|at| at.to_string())),
        ("prompt", text(|at| format!("2+2? ({at})"))),
        ("response", text(|_| "So it is \\boxed{4}.".to_string())),
        ("gold", Arc::new(Float64Array::from(golds.to_vec()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = bench.path("rows.parquet");
    let mut writer = ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let report = bench.curate_files(&[path], &Options { verify: Verify::Filter, ..off() }).unwrap();
    let fates = ["", "wrong", "undecided", "undecided", "undecided", ""];
    assert_eq!(bench.fates().into_values().collect::<Vec<_>>(), fates);
    assert_eq!(report.verdicts, VerdictCounts { right: 1, wrong: 1, no_answer: 0, undecided: 3, not_known: 1 });
    let left: Vec<Value> = bench.read("dropped.jsonl").iter().map(|row| row["gold"].clone()).collect();
    assert_eq!(left, [json!(5.0), json!("NaN"), json!("Infinity"), json!("-Infinity")]);
}
