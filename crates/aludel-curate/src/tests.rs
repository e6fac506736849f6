//! Curation from files to files: each filter with a row that it drops and one that it keeps, all that a row carries along,
//! and bad input.

mod verdicts;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::{Map, Value, json};

use super::*;
use aludel_data::dataset::{self, ReadOptions};
use aludel_data::trace::Files;

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
        curate(&source, options, None, &self.path("out"), &json!({}), &|_| {})
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

#[cfg(unix)]
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
    let report = curate(&skipping, &off(), None, &bench.path("out"), &json!({}), &|_| {}).unwrap();
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

/// How much of several files is read is known each time that they are read.
#[test]
fn a_source_tells_how_much_of_it_is_read() {
    let bench = Bench::new();
    let rows: String = (0..2000)
        .map(|i| format!("{{\"prompt\": \"{i}?\", \"response\": \"{}\"}}\n", "so ".repeat(i % 40 + 1)))
        .collect();
    let file = bench.path("rows.jsonl");
    std::fs::write(&file, rows).unwrap();
    let source = Files::open(&[file.clone(), file], &ReadOptions::default()).unwrap();
    let told = std::sync::Mutex::new(Vec::new());
    curate(&source, &off(), None, &bench.path("out"), &json!({}), &|progress| told.lock().unwrap().push(progress))
        .unwrap();
    let told: Vec<Progress> = told.into_inner().unwrap();
    // Progress reports the first row when it is judged, and not with its batch.
    let first = told.iter().find(|told| !told.writing).unwrap();
    assert_eq!(first.rows, 1, "{first:?}");
    assert!(first.share.is_some_and(|share| share > 0.0 && share < 0.01), "{first:?}");
    let shares: Vec<f64> = told.iter().map(|told| told.share.unwrap()).collect();
    assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
    let written: Vec<(u64, Option<u64>)> =
        told.iter().filter(|told| told.writing).map(|told| (told.rows, told.rows_total)).collect();
    assert!(
        written.len() >= 10 && written.is_sorted() && written.iter().all(|rows| rows.1 == Some(4000)),
        "{written:?}"
    );
}
