//! Curation from files to files: each filter with a row that it drops and one that it keeps, all that a row carries along,
//! and bad input.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::{Map, Value, json};

use super::*;
use crate::dataset::{self, ReadOptions};

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, rows: &[Value]) -> PathBuf {
        fs::write(self.path(name), rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
        self.path(name)
    }

    fn curate_files(&self, files: &[PathBuf], options: &Options) -> Result<Report, Error> {
        let source = Files::open(files, &ReadOptions::default())?;
        curate(&source, options, None, &self.path("out"), &json!({}), &mut |_| {})
    }

    fn curate(&self, rows: &[Value], options: &Options) -> Report {
        self.curate_files(&[self.write("rows.jsonl", rows)], options).unwrap()
    }

    fn read(&self, name: &str) -> Vec<Map<String, Value>> {
        let text = fs::read_to_string(self.path("out").join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Each row's `id` with the reason for dropping it, "" where it is kept.
    fn fates(&self) -> BTreeMap<String, String> {
        let rows = [self.read("train.jsonl"), self.read("eval.jsonl"), self.read("dropped.jsonl")].concat();
        let text =
            |row: &Map<String, Value>, name: &str| row.get(name).and_then(Value::as_str).unwrap_or("").to_string();
        rows.iter().map(|row| (text(row, "id"), text(row, "reason"))).collect()
    }
}

/// All filters off.
pub(super) fn off() -> Options {
    Options {
        complete: false,
        loops: false,
        languages: Languages::parse([]).unwrap(),
        tokens: TokenBounds::default(),
        evaluations: Vec::new(),
        evaluation_ngram: 8,
        evaluation_overlap: 0.5,
        verify: Verify::Off,
        verifier: Verifier::maths(),
        gold: vec!["gold".to_string(), "answer".to_string()],
        require_verified: false,
        keep: Keep::All,
        duplicates: false,
        near_duplicates: None,
        near_ngram: 5,
        max_per_prompt: None,
        mixture: BTreeMap::new(),
        source_column: None,
        test_size: TestSize::Rows(0),
        seed: 1,
        parquet: false,
        threads: 2,
    }
}

fn row(id: &str, prompt: &str, response: &str, more: Value) -> Value {
    let mut row = json!({"id": id, "prompt": prompt, "reasoning": format!("why {id}"), "response": response});
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    row
}

fn check(rows: &[Value], options: &Options, wanted: &[(&str, &str)]) {
    let bench = Bench::new();
    let report = bench.curate(rows, options);
    let fates = bench.fates();
    let fates: Vec<(&str, &str)> = fates.iter().map(|(id, reason)| (id.as_str(), reason.as_str())).collect();
    assert_eq!(fates, wanted);
    let dropped = wanted.iter().filter(|(_, reason)| !reason.is_empty()).count() as u64;
    assert_eq!((report.rows, report.kept), (rows.len() as u64, rows.len() as u64 - dropped));
    assert_eq!(report.filters.iter().map(|filter| filter.dropped).sum::<u64>(), dropped, "{report:?}");
}

#[test]
fn incomplete_rows_are_dropped() {
    let rows = [
        row("a", "2+2?", "4", json!({})),
        row("b", "2+3?", "5", json!({"finish_reason": "length"})),
        row("c", "2+4?", "", json!({})),
        row("d", "2+5?", "7<|im_end|> and", json!({})),
        json!({"id": "e", "prompt": "2+6?", "response": null}),
    ];
    let wanted = [("a", ""), ("b", "incomplete"), ("c", "incomplete"), ("d", "incomplete"), ("e", "incomplete")];
    check(&rows, &Options { complete: true, ..off() }, &wanted);
    // A row without an answer cannot be written as one to train on, whatever is switched off.
    check(&rows, &off(), &[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "incomplete")]);
}

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

#[cfg(unix)]
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

#[test]
fn of_the_right_answers_some_are_chosen() {
    let right = |id: &str, words: usize| {
        row(id, "2+2?", &format!("{} \\boxed{{4}}", "so ".repeat(words)), json!({"gold": "4"}))
    };
    let rows = [right("a", 9), right("b", 2), right("c", 5), row("d", "2+2?", "Four?", json!({}))];
    let keep = |keep| Options { verify: Verify::Label, keep, ..off() };
    check(&rows, &keep(Keep::All), &[("a", ""), ("b", ""), ("c", ""), ("d", "")]);
    check(&rows, &keep(Keep::Shortest), &[("a", "not_chosen"), ("b", ""), ("c", "not_chosen"), ("d", "")]);
    let chosen = |seed| {
        let bench = Bench::new();
        bench.curate(&rows, &Options { seed, ..keep(Keep::Count(2)) });
        let fates = bench.fates();
        assert_eq!(fates.values().filter(|reason| *reason == "not_chosen").count(), 1, "{fates:?}");
        fates
    };
    assert_eq!(chosen(1), chosen(1));
    assert!((2..10).any(|seed| chosen(seed) != chosen(1)));
}

#[test]
fn a_prompt_has_so_many_rows_at_most_and_right_ones_first() {
    let rows = [
        row("a", "2+2?", "?", json!({})),
        row("b", "2+2?", "5", json!({})),
        row("c", "2+2?", "\\boxed{4}", json!({"gold": "4"})),
        row("d", "2+3?", "5", json!({})),
    ];
    let options = Options { verify: Verify::Label, max_per_prompt: Some(1), ..off() };
    check(&rows, &options, &[("a", "prompt_cap"), ("b", "prompt_cap"), ("c", ""), ("d", "")]);
}

#[test]
fn duplicates_are_found_with_their_first() {
    let words: Vec<String> = (0..60).map(|number| format!("word{number}")).collect();
    let text = words.join(" ");
    let said =
        |id: &str, reasoning: &str| json!({"id": id, "prompt": "Tell me.", "reasoning": reasoning, "response": "ok"});
    let rows = [
        said("a", &text),
        said("b", &text.replace("word30", "other")),
        said("c", &format!(" {}\n", text.replace(' ', "  "))),
        said("d", &words[..30].join(" ")),
    ];
    let both = Options { duplicates: true, near_duplicates: Some(0.8), ..off() };
    check(&rows, &both, &[("a", ""), ("b", "near_duplicate"), ("c", "duplicate"), ("d", "")]);
    check(
        &rows,
        &Options { near_duplicates: None, ..both.clone() },
        &[("a", ""), ("b", ""), ("c", "duplicate"), ("d", "")],
    );
    let bench = Bench::new();
    bench.curate(&rows, &both);
    let details: Vec<Value> = bench.read("dropped.jsonl").iter().map(|row| row["detail"].clone()).collect();
    assert_eq!(details, [json!("84% of it stands in row 1"), json!("it says the same as row 1")]);
}

#[test]
fn other_filters_drop_what_they_should() {
    let bench = Bench::new();
    let evaluation =
        bench.write("evaluation.jsonl", &[json!({"question": "How many ducks swim in the old mill pond today?"})]);
    let german = "Das ist die richtige Antwort, denn wir haben alles zweimal nachgerechnet und keinen Fehler dabei gefunden, \
        obwohl die Aufgabe am Anfang sehr schwierig ausgesehen hat und niemand wusste, wie man sie lösen kann, ohne dabei lange hin und her zu überlegen und noch einmal von vorn anzufangen.";
    let rows = [
        row("a", "2+2?", "4", json!({})),
        row("b", "2+3?", &"so it goes ".repeat(50), json!({})),
        row("c", "2+4?", german, json!({})),
        row("d", "Tell me: how many ducks swim in the old mill pond today?", "4", json!({})),
    ];
    let options =
        Options { loops: true, languages: Languages::parse(["eng"]).unwrap(), evaluations: vec![evaluation], ..off() };
    check(&rows, &options, &[("a", ""), ("b", "degenerate"), ("c", "language"), ("d", "contaminated")]);
}

#[test]
fn sources_get_their_shares() {
    let bench = Bench::new();
    let rows = |name: &str, count: usize| -> Vec<Value> {
        (0..count)
            .map(|number| row(&format!("{name}{number}"), &format!("{name} {number}?"), "ok", json!({})))
            .collect()
    };
    let files = [bench.write("math.jsonl", &rows("m", 30)), bench.write("code.jsonl", &rows("c", 30))];
    let mixture = |pairs: &[(&str, f64)]| Options {
        mixture: pairs.iter().map(|(name, weight)| (name.to_string(), *weight)).collect(),
        ..off()
    };
    let report = bench.curate_files(&files, &mixture(&[("math", 0.75), ("code", 0.25)])).unwrap();
    let kept: Vec<(&str, u64)> = report.sources.iter().map(|source| (source.source.as_str(), source.kept)).collect();
    assert_eq!(kept, [("math", 30), ("code", 10)]);
    let refused = |pairs: &[(&str, f64)]| bench.curate_files(&files, &mixture(pairs)).unwrap_err().to_string();
    assert_eq!(
        refused(&[("math", 1.0)]),
        "curate.mixture: source \"code\" has no weight; give one, or 0 to leave it out. The sources are \"math\", \"code\""
    );
    assert!(refused(&[("math", 1.0), ("code", 0.0), ("maths", 1.0)]).contains("\"maths\" has no row"));
}

#[test]
fn a_prompt_is_on_one_side_only() {
    let rows: Vec<Value> = (0..60)
        .map(|number| row(&number.to_string(), &format!("{}?", number / 3), &number.to_string(), json!({})))
        .collect();
    let bench = Bench::new();
    let report = bench.curate(&rows, &Options { test_size: TestSize::Fraction(0.2), ..off() });
    assert_eq!((report.train, report.eval, report.prompts), (48, 12, 20));
    let prompts = |name: &str| -> std::collections::HashSet<String> {
        bench.read(name).iter().map(|row| row["prompt_id"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!((prompts("train.jsonl").len(), prompts("eval.jsonl").len()), (16, 4));
    assert!(prompts("train.jsonl").is_disjoint(&prompts("eval.jsonl")));
}

#[test]
fn what_is_known_of_a_row_stays_with_it_and_the_files_are_read_as_data() {
    let lineage = json!({"model": "teacher-7b", "sampling": {"temperature": 0.6}, "prompt_id": "p7", "gold": "4", "system": "Be brief."});
    let bench = Bench::new();
    bench.curate(&[row("a", "2+2?", "It is \\boxed{4}", lineage)], &Options { verify: Verify::Filter, ..off() });
    let train = bench.read("train.jsonl");
    let wanted = json!({
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": "It is \\boxed{4}", "reasoning_content": "why a"},
        ],
        "id": "a", "model": "teacher-7b", "sampling": {"temperature": 0.6}, "prompt_id": "p7", "gold": "4",
        "hash": train[0]["hash"], "origin": "rows.jsonl:1", "verdict": "right", "verified": true,
    });
    assert_eq!(Value::Object(train[0].clone()), wanted);

    // Curating what was curated changes nothing.
    let again = Bench::new();
    again.curate_files(&[bench.path("out/train.jsonl")], &Options { verify: Verify::Filter, ..off() }).unwrap();
    let mut second = again.read("train.jsonl");
    second[0]["origin"] = train[0]["origin"].clone();
    assert_eq!(second, train);
    let records: Vec<_> = dataset::open(&[bench.path("out/train.jsonl")], &ReadOptions::default()).unwrap().collect();
    assert_eq!(records[0].as_ref().unwrap().messages().map(<[_]>::len), Some(3));
}

#[test]
fn parquet_holds_the_same_rows() {
    let bench = Bench::new();
    let rows = [row("a", "2+2?", "4", json!({"gold": "4"})), row("b", "2+3?", "5", json!({"gold": 5, "tags": ["x"]}))];
    bench.curate(&rows, &Options { verify: Verify::Filter, parquet: true, ..off() });
    let read = |name: &str| -> Vec<_> {
        let records = dataset::open(&[bench.path("out").join(name)], &ReadOptions::default()).unwrap();
        records.map(|record| record.unwrap().content).collect()
    };
    assert_eq!(read("train.parquet"), read("train.jsonl"));
    assert_eq!(read("train.parquet").len(), 2);
    assert!(!bench.path("out/eval.parquet").exists(), "no rows, no table");
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

#[test]
fn the_outcome_depends_on_no_thread() {
    let rows: Vec<Value> = (0..3_000)
        .map(|number| {
            row(
                &number.to_string(),
                &format!("{} and {}?", number % 900, number % 7),
                &(number % 400).to_string(),
                json!({"gold": (number % 350).to_string()}),
            )
        })
        .collect();
    let options = |threads| Options {
        verify: Verify::Filter,
        duplicates: true,
        near_duplicates: Some(0.6),
        keep: Keep::Count(1),
        test_size: TestSize::Fraction(0.1),
        threads,
        ..off()
    };
    let outcome = |threads| {
        let bench = Bench::new();
        bench.curate(&rows, &options(threads));
        (bench.read("train.jsonl"), bench.read("eval.jsonl"), bench.read("dropped.jsonl"))
    };
    assert_eq!(outcome(1), outcome(3));
}

#[test]
fn bad_input_is_told_with_its_place_and_leaves_nothing() {
    let bench = Bench::new();
    let files = [bench.write("rows.jsonl", &[row("a", "?", "ok", json!({}))])];
    fs::write(&files[0], "{\"prompt\": \"?\", \"response\": \"ok\"}\n{\"prompt\": \n").unwrap();
    let message = bench.curate_files(&files, &off()).unwrap_err().to_string();
    assert!(message.contains("rows.jsonl, line 2: not valid JSON"), "{message}");
    let skipping = Files::open(&files, &ReadOptions { skip_bad_rows: true, ..ReadOptions::default() }).unwrap();
    let report = curate(&skipping, &off(), None, &bench.path("out"), &json!({}), &mut |_| {}).unwrap();
    assert_eq!(report.filters, [FilterCount { reason: Reason::Unreadable, seen: 2, dropped: 1 }]);
    assert_eq!(bench.read("dropped.jsonl")[0]["reason"], "unreadable");

    fs::remove_dir_all(bench.path("out")).unwrap();
    bench.write("rows.jsonl", &[json!({"question": "?", "gold": "4"})]);
    let message = bench.curate_files(&files, &off()).unwrap_err().to_string();
    assert!(message.contains("rows.jsonl, line 1: ") && message.contains("`question`"), "{message}");
    bench.write("rows.jsonl", &[row("a", "?", "ok", json!({})), row("b", "?", "no", json!({}))]);
    let all_one_prompt = Options { test_size: TestSize::Fraction(0.1), ..off() };
    let message = bench.curate_files(&files, &all_one_prompt).unwrap_err().to_string();
    assert!(message.starts_with("curate.test_size: all 2 rows ask the same prompt"), "{message}");
    assert!(!bench.path("out").exists());
}

/// How much is read is known of files and of stores, alone and together, each time that they are read.
#[test]
fn a_source_tells_how_much_of_it_is_read() {
    let bench = Bench::new();
    let rows: String = (0..2000)
        .map(|i| format!("{{\"prompt\": \"{i}?\", \"response\": \"{}\"}}\n", "so ".repeat(i % 40 + 1)))
        .collect();
    let file = bench.path("rows.jsonl");
    std::fs::write(&file, rows).unwrap();
    let source = Inputs::open(&[file.clone(), file], &ReadOptions::default()).unwrap();
    let mut told: Vec<Progress> = Vec::new();
    curate(&source, &off(), None, &bench.path("out"), &json!({}), &mut |progress| told.push(progress)).unwrap();
    let judged: Vec<f64> = told.iter().filter(|told| !told.writing).map(|told| told.share_read.unwrap()).collect();
    assert!(judged.len() >= 10 && judged.is_sorted(), "{judged:?}");
    assert!(judged.iter().all(|share| (0.0..=1.0).contains(share)) && judged[judged.len() - 1] > 0.9, "{judged:?}");
    let written: Vec<(u64, Option<u64>)> =
        told.iter().filter(|told| told.writing).map(|told| (told.rows, told.rows_total)).collect();
    assert!(
        written.len() >= 10 && written.is_sorted() && written.iter().all(|rows| rows.1 == Some(4000)),
        "{written:?}"
    );
}
