//! Notices about the data, each printed once: unused columns, rows excluded by their own marks, template tokens in answers. They are the
//! same in `inspect`, `train` and `curate`, whether or not the rows were tokenised before.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use aludel_scripted_teacher::{Request, ScriptedTeacher, json as reply};
use common::{Workshop, train_args};
use serde_json::{Value, json};

const SETTINGS: &[&str] = &[
    "--max-steps",
    "2",
    "--set",
    "train.warmup_ratio=0",
    "--set",
    "data.test_size=0",
    "--set",
    "train.eval_strategy=no",
    "--set",
    "lora.r=2",
];

fn write(workshop: &Workshop, rows: &[Value]) {
    workshop.write("rows.jsonl", &rows.iter().map(|row| format!("{row}\n")).collect::<String>());
}

fn rows() -> Vec<Value> {
    vec![
        json!({"prompt": "q", "response": "4<|im_end|>", "source": "s", "level": 3, "weight": 1}),
        json!({"prompt": "r", "response": "5 <|im_end|> 6", "note\u{1b}[2J": "n", "level": 4}),
        json!({"prompt": "s", "response": "7", "skip": true}),
        json!({"prompt": "t", "response": "8", "metadata": {"is_correct": false}}),
    ]
}

const UNUSED: &str = r"columns not used: source, level, note\u{1b}[2J";
const ASIDE: &str = "rows left out that are marked as not to be used: 2 (skip is true: 1, metadata.is_correct is false: 1); the first is ";
const TURNS: &str =
    "rows with chat-template tokens in their text, trained as plain text: 1 (<|im_end|>: 1); the first is ";
const ENDS: &str = "rows whose answers ended with a mark such as <|im_end|>, which was taken off: 1";

#[test]
fn a_command_tells_what_it_does_not_use() {
    let workshop = Workshop::with_student();
    write(&workshop, &rows());
    let inspected = workshop.run(&["inspect", "--student", "student", "--data", "rows.jsonl", "--rows", "0"]);
    let first = workshop.run(&train_args("run", SETTINGS));
    // The rows are found in the run's cache now. A run that lacks its adapter is not complete.
    std::fs::remove_dir_all(workshop.path("run/adapter")).unwrap();
    let again = workshop.run(&train_args("run", &[SETTINGS, &["--resume"]].concat()));
    for said in [&inspected, &first, &again] {
        assert!(said.contains("exit code: 0"), "{said}");
        for line in [UNUSED, ASIDE, TURNS, ENDS] {
            assert_eq!(said.matches(line).count(), 1, "{line:?} in {said}");
        }
    }
    let totals =
        workshop.json(&["inspect", "--student", "student", "--data", "rows.jsonl", "--json"])["totals"].clone();
    assert_eq!(totals["columns_not_used"], json!(["source", "level", "note\u{1b}[2J"]));
    assert_eq!((&totals["records"], &totals["end_marks_removed"]), (&json!(2), &json!(1)));
    assert_eq!(
        (&totals["set_aside"][0]["mark"], &totals["turn_marks"][0]["rows"]),
        (&json!("skip is true"), &json!(1))
    );
}

#[test]
fn rows_to_evaluate_on_are_told_apart() {
    let workshop = Workshop::with_student();
    write(&workshop, &rows());
    let held = [
        json!({"prompt": "u", "response": "9</s>", "origin_of": "o", "level": 5}),
        json!({"prompt": "v", "response": "8", "exclude": true}),
        json!({"prompt": "w"}),
    ];
    workshop.write("held.jsonl", &held.iter().map(|row| format!("{row}\n")).collect::<String>());
    let inspect =
        ["inspect", "--student", "student", "--data", "rows.jsonl", "--eval-data", "held.jsonl", "--skip-bad-rows"];
    let said = workshop.run(&[&inspect[..], &["--rows", "0"]].concat());
    let (of_training, of_evaluation) = said.split_once("to evaluate on: 1 of 1 rows").unwrap();
    for line in [UNUSED, ASIDE, TURNS] {
        assert_eq!(
            (of_training.matches(line).count(), of_evaluation.matches(line).count()),
            (1, 0),
            "{line:?} in {said}"
        );
    }
    assert!(of_training.contains(ENDS) && !of_training.contains("skipped: "), "{said}");
    for line in [
        "columns not used: origin_of, level",
        "rows left out that are marked as not to be used: 1 (exclude is true: 1); the first is ",
        "rows whose answers ended with a mark such as <|im_end|>, which was taken off: 1",
        "1  skipped: ",
    ] {
        assert!(of_evaluation.contains(line), "{line:?} in {said}");
    }
    let report = workshop.json(&[&inspect[..], &["--json"]].concat());
    let (train, held) = (&report["totals"], &report["evaluation"]);
    assert_eq!(train["columns_not_used"], json!(["source", "level", "note\u{1b}[2J"]));
    assert_eq!(held["columns_not_used"], json!(["origin_of", "level"]));
    assert_eq!((&train["bad_rows"], &held["bad_rows"][0]["rows"]), (&json!([]), &json!(1)));
    assert_eq!(held["set_aside"][0]["mark"], "exclude is true");
}

#[test]
fn curation_drops_by_marks_and_tells_what_it_does_not_use() {
    let workshop = Workshop::with_student();
    let mut rows = rows();
    rows[0]["gold"] = json!("4");
    write(&workshop, &rows);
    let curate = ["curate", "--input", "rows.jsonl", "--output-dir", "out", "--set", "curate.test_size=0"];
    let said = workshop.run(&curate);
    assert!(said.contains("exit code: 0") && said.contains(UNUSED) && !said.contains("gold"), "{said}");
    let report = workshop.json(&[&curate[..], &["--json"]].concat());
    let counts = [&report["kept"], &report["end_marks_removed"], &report["filters"][0]["dropped"]];
    assert_eq!(counts, [&json!(1), &json!(1), &json!(2)], "{report}");
    assert_eq!(report["filters"][0]["reason"], "set_aside");
    let dropped = std::fs::read_to_string(workshop.path("out/dropped.jsonl")).unwrap();
    for words in [
        r#""reason":"set_aside","detail":"skip is true""#,
        r#""detail":"metadata.is_correct is false""#,
        r#""detail":"it spells the control token <|im_end|>""#,
    ] {
        assert!(dropped.contains(words), "{words}: {dropped}");
    }
}

#[test]
fn a_tag_that_may_be_reasoning_is_refused_until_it_is_named() {
    let workshop = Workshop::with_student();
    write(&workshop, &[json!({"prompt": "q", "response": "<analysis>why</analysis>because"})]);
    let inspect = ["inspect", "--student", "student", "--data", "rows.jsonl"];
    let said = workshop.run(&inspect);
    assert!(
        said.contains("exit code: 1") && said.contains("data.answer_tags = { analysis = \"reasoning\" }"),
        "{said}"
    );
    let shown = |meaning: &str| {
        let set = format!("data.answer_tags={{ analysis = \"{meaning}\" }}");
        workshop.json(&[&inspect[..], &["--json", "--set", &set]].concat())["rows"][0]["segments"].to_string()
    };
    assert!(shown("reasoning").contains(r"<think>\nwhy\n</think>"), "{}", shown("reasoning"));
    assert!(shown("text").contains("<analysis>why</analysis>because"), "{}", shown("text"));
    let said = workshop.run(&[&inspect[..], &["--set", "data.answer_tags={ think = \"text\" }"]].concat());
    assert!(said.contains("data.answer_tags.think") && said.contains("always stand around reasoning"), "{said}");
}

#[test]
fn tags_are_read_alike_from_stores_and_files() {
    let workshop = Workshop::with_student();
    workshop.write("prompts.jsonl", "{\"question\": \"1\", \"level\": 3}\n{\"question\": \"2\", \"skip\": false}\n");
    let script = |request: &Request| match request.method.as_str() {
        "GET" => vec![reply("200 OK", &json!({"data": [{"id": "scripted"}]}))],
        _ => {
            let message = json!({"role": "assistant", "content": "<analysis>why</analysis>because<|im_end|>"});
            let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
            vec![reply("200 OK", &json!({"model": "scripted", "choices": [choice]}))]
        }
    };
    let teacher = ScriptedTeacher::start(script).unwrap();
    let url = teacher.url();
    let trace = ["trace", "--prompts", "prompts.jsonl", "--model", "scripted", "--store", "t.db", "--teacher", &url];
    assert!(workshop.run(&trace).contains("exit code: 0"));
    workshop.run(&["trace", "export", "--store", "t.db", "--output", "t.jsonl"]);
    let exported = std::fs::read_to_string(workshop.path("t.jsonl")).unwrap();
    assert!(exported.contains(r#""prompt_skip":false"#) && exported.contains(r#""level":3"#), "{exported}");
    for input in ["t.db", "t.jsonl"] {
        let curate = |more: &[&str]| {
            let duplicates = ["curate.duplicates=false", "curate.near_duplicates=false", "curate.test_size=0"];
            let set: Vec<&str> = duplicates.iter().flat_map(|set| ["--set", set]).collect();
            workshop.run(&[&["curate", "--input", input, "--output-dir", "out"], &set[..], more].concat())
        };
        let said = curate(&[]);
        assert!(said.contains("because: all 2 were dropped, most of them as incomplete"), "{input}: {said}");
        let dropped = std::fs::read_to_string(workshop.path("out/dropped.jsonl")).unwrap();
        assert!(dropped.contains("data.answer_tags = { analysis"), "{input}: {dropped}");
        let said = curate(&["--set", "data.answer_tags={ analysis = \"reasoning\" }"]);
        assert!(said.contains("kept: 2 of 2 rows"), "{input}: {said}");
        let kept = std::fs::read_to_string(workshop.path("out/train.jsonl")).unwrap();
        assert_eq!(kept.matches(r#""content":"because""#).count(), 2, "{input}: {kept}");
    }
}

/// A column's claim that an answer is right counts until it is verified; curation verifies it if the reference answer is known.
#[test]
fn a_verdict_outweighs_what_the_data_claims() {
    let workshop = Workshop::with_student();
    let row = |prompt: &str, answer: &str, gold: Option<&str>| json!({"prompt": prompt, "response": format!("It is \\boxed{{{answer}}}."), "gold": gold, "correct": false});
    write(&workshop, &[row("2 + 2", "4", Some("4")), row("3 + 3", "5", Some("6")), row("who knows", "7", None)]);
    let before = workshop.run(&["inspect", "--student", "student", "--data", "rows.jsonl", "--rows", "0"]);
    assert!(before.contains("exit code: 1") && before.contains("all 3 rows"), "{before}");
    let more = ["--set", "curate.test_size=0", "--set", "curate.near_duplicates=false"];
    let said = workshop.run(&[&["curate", "--input", "rows.jsonl", "--output-dir", "out"], &more[..]].concat());
    assert!(
        said.contains("answers that the data calls wrong and that are right by their gold: 1; they are kept"),
        "{said}"
    );
    assert!(said.contains("kept: 1 of 3 rows"), "{said}");
    let dropped = std::fs::read_to_string(workshop.path("out/dropped.jsonl")).unwrap();
    for reason in [r#""reason":"wrong""#, r#""reason":"set_aside","detail":"correct is false""#] {
        assert_eq!(dropped.matches(reason).count(), 1, "{reason}: {dropped}");
    }
    let after = workshop.run(&["inspect", "--student", "student", "--data", "out/train.jsonl", "--rows", "0"]);
    assert!(after.contains("exit code: 0") && after.contains("1 row from 1 record"), "{after}");
}

/// A rare reason does not hide the common one: each is told with its number and a row, the most frequent first, and with what helps.
#[test]
fn refused_rows_are_counted_by_reason() {
    let workshop = Workshop::with_student();
    let row = |more: Value| {
        let mut row = json!({"prompt": "2+2?", "response": "4"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{row}\n")
    };
    let rare = row(json!({"finish_reason": "length"}));
    let common = [json!({"weight": 0}), json!({"weight": 0.0}), json!({"weight": "0"})].map(row).concat();
    let good = (0..8).map(|number| row(json!({"prompt": format!("{number}?")}))).collect::<String>();
    workshop.write("rows.jsonl", &(rare + &common + &good));
    let inspect = ["inspect", "--student", "student", "--data", "rows.jsonl", "--rows", "0"];
    let said = workshop.run(&inspect);
    let places = [
        "           3  refused, such as [folder]/rows.jsonl line 2: the row is not to be learnt (weight is 0);",
        "           1  refused, such as [folder]/rows.jsonl line 1: the row is not whole (finish_reason is \"length\")",
        "training would stop at [folder]/rows.jsonl line 1\n",
        "help: change these rows, or leave them out with --skip-bad-rows\n",
    ]
    .map(|part| said.find(part).unwrap_or_else(|| panic!("lacks {part:?}:\n{said}")));
    assert!(places.is_sorted(), "{said}");
    let told = workshop.json(&[&inspect[..], &["--json"]].concat())["totals"]["refusals"].clone();
    assert_eq!((&told[0]["rows"], &told[1]["rows"]), (&json!(1), &json!(3)), "{told}");
    let refused = workshop.run(&train_args("run", &[]));
    assert!(refused.contains("or have `aludel inspect` count them by reason\n"), "{refused}");
    let trained = workshop.run(&train_args("run", &["--skip-bad-rows", "--max-steps", "2"]));
    let place = |part: &str| trained.find(part).unwrap_or_else(|| panic!("lacks {part:?}:\n{trained}"));
    assert!(place("bad rows skipped: 3 (could not be encoded)") < place("bad rows skipped: 1 (could not be encoded)"));
}

/// Rows to evaluate on have the columns of those to train on: what is told of both is told once, and what is new of the second, too.
#[test]
fn what_inspect_tells_of_both_kinds_of_rows_is_told_once() {
    let workshop = Workshop::with_student();
    let row = |columns: &str| format!("{{\"prompt\": \"a\", \"response\": \"b\", {columns}}}\n");
    workshop.write("rows.jsonl", &row("\"level\": 3"));
    let count = |held_back: &str, line: &str| {
        workshop.write("held-back.jsonl", &row(held_back));
        let inspect = [
            "inspect",
            "--student",
            "student",
            "--data",
            "rows.jsonl",
            "--eval-data",
            "held-back.jsonl",
            "--rows",
            "0",
        ];
        let said = workshop.run(&inspect);
        assert!(said.contains("to evaluate on: 1 of 1 rows"), "{said}");
        said.lines().filter(|told| *told == line).count()
    };
    assert_eq!(count("\"level\": 3", "columns not used: level"), 1);
    assert_eq!(count("\"level\": 3, \"note\": 4", "columns not used: level"), 1);
    assert_eq!(count("\"level\": 3, \"note\": 4", "columns not used: level, note"), 1);
}
