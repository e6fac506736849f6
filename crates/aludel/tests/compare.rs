//! `aludel compare` and `aludel curate --only-failed` through the binary, on results written by hand: the verdict, the HTML report,
//! refusals, and the prompts of the next round.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;

use aludel_scripted_teacher::{Crowd, ScriptedTeacher};
use common::Workshop;
use insta::assert_snapshot;
use serde_json::{Value, json};

/// What a hostile teacher could answer with.
const HOSTILE: &str = "</script><script>x()</script><img src=x onerror=\"y()\"> ' \u{0} \u{1b}[2J \u{202e}evil \u{301}";

/// Writes a folder of results: each task's problems, of which those in the range are right.
fn evaluate(workshop: &Workshop, folder: &str, tasks: &[(&str, usize, std::ops::Range<usize>)]) {
    fs::create_dir(workshop.path(folder)).unwrap();
    let task = |(name, n, right): &(&str, usize, std::ops::Range<usize>)| {
        json!({"name": name, "n": n, "k": 1, "pass_at_1": right.len() as f64 / *n as f64, "ci95": [0.1, 0.9], "maj_at_k": 0.5,
            "pass_at_k": 0.5, "truncated": 0.0, "looping": 0.0, "no_answer": 0.0, "mean_thinking_tokens": 30.0,
            "thinking_tokens_percentiles": {"50": 30, "90": 40, "99": 50}, "tokens_per_second": null, "fingerprint": format!("{name}{n}")})
    };
    let results = json!({"version": "0.1.0", "date": "2026-11-24T12:00:00Z", "model": {"path": "/home/someone/student", "name": folder},
        "settings": {"samples": 1, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 256, "seed": 0, "dtype": "f32"},
        "tasks": tasks.iter().map(task).collect::<Vec<_>>()});
    let mut samples = String::new();
    for (name, n, right) in tasks {
        for problem in 0..*n {
            let correct = right.contains(&problem);
            let sample = json!({"task": name, "problem": format!("{name}-{problem:03}"), "sample": 0, "seed": 0,
                "question": format!("{name} number {problem}?"), "gold": problem.to_string(), "reasoning": HOSTILE,
                "content": if correct { "right" } else { HOSTILE }, "extracted": null, "correct": correct, "truncated": false,
                "looping": false, "no_answer": false, "prompt_tokens": 9, "thinking_tokens": 30, "completion_tokens": 35,
                "finish_reason": "stop"});
            samples.push_str(&format!("{sample}\n"));
        }
    }
    workshop.write(&format!("{folder}/results.json"), &results.to_string());
    workshop.write(&format!("{folder}/samples.jsonl"), &samples);
}

/// Two evaluations: dice improved, ages got worse, gcd unchanged.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    evaluate(&workshop, "before", &[("dice", 60, 0..3), ("ages", 60, 0..40), ("gcd", 60, 0..20)]);
    evaluate(&workshop, "after", &[("dice", 60, 1..50), ("ages", 60, 20..40), ("gcd", 60, 1..22)]);
    workshop
}

const COMPARE: &[&str] = &["compare", "before", "after", "--output-dir", "out"];

#[test]
fn the_help_says_which_is_the_baseline() {
    assert_snapshot!("help_compare", Workshop::new().run(&["compare", "--help"]));
}

#[test]
fn a_comparison_has_a_verdict_and_a_report() {
    let workshop = workshop();
    assert_snapshot!("compare", workshop.run(COMPARE));
    let wide = workshop.command(COMPARE).env("COLUMNS", "120").output().unwrap();
    assert_snapshot!("compare_wide", String::from_utf8(wide.stdout).unwrap());
    let printed = workshop.json(&[COMPARE, &["--json"]].concat());
    let written: Value = serde_json::from_slice(&fs::read(workshop.path("out/comparison.json")).unwrap()).unwrap();
    assert_eq!(printed["comparisons"], written["comparisons"]);
    let found = &printed["comparisons"][0];
    assert_eq!(found["verdict"]["change"], "gain");
    let changes: Vec<&Value> = found["tasks"].as_array().unwrap().iter().map(|task| &task["change"]).collect();
    assert_eq!(changes, [&json!("gain"), &json!("loss"), &json!("not_measurable")]);
    assert_eq!(
        (found["tasks"][0]["won"].as_array().unwrap().len(), &found["tasks"][0]["lost"]),
        (47, &json!(["dice-000"]))
    );
    assert_eq!(printed["report"], "out/report.html");
    let names: Vec<_> = fs::read_dir(workshop.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

/// The page holds no script, loads nothing, and shows hostile text as text.
#[test]
fn a_report_is_one_file_that_runs_nothing() {
    let workshop = workshop();
    workshop.run(COMPARE);
    let page = fs::read_to_string(workshop.path("out/report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\""));
    assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
    for absent in [
        "<script",
        "<img",
        "<link",
        "<iframe",
        "<a ",
        "src=\"",
        "href=",
        "url(",
        " onerror=\"",
        "@import",
        "\0",
        "\u{1b}",
        "\u{202e}",
    ] {
        assert!(!page.contains(absent), "{absent:?} is in the page");
    }
    assert!(!page.contains("/home/someone"), "where the model lies is told");
    for shown in [
        "&lt;/script&gt;&lt;script&gt;x()",
        "&lt;img src=x onerror=&quot;y()&quot;&gt;",
        "\\u{0} \\u{1b}[2J \\u{202e}evil",
    ] {
        assert!(page.contains(shown), "{shown:?} is not in the page");
    }
    for part in ["Won", "Lost", "Both wrong", "Length of the reasoning", "How it was measured"] {
        assert!(page.contains(part), "{part:?} is not in the page");
    }
    // each task by its change
    for part in [
        ">Gained<small class=\"n\">1<",
        "<b>dice</b><span class=\"figure\"><span>5% → 82%",
        ">Forgotten<small class=\"n\">1<",
        "<b>ages</b><span class=\"figure\"><span>67% → 33%",
        ">Unclear<small class=\"n\">1<",
        "<b>gcd</b><span class=\"figure\"><span>33% → 35%",
    ] {
        assert!(page.contains(part), "{part:?} is not in the page");
    }
    // problems that were won, lost, or unchanged: all are shown
    assert_eq!(page.matches("<details class=\"problem\"").count(), 180);
    assert!(page.contains("<summary>dice: 43 more</summary>") && page.contains("<summary>ages: 16 more</summary>"));
    assert_eq!(page.matches("<svg class=\"difference ").count(), 4, "three tasks and all together");
    let body = page.split_once("</style>").unwrap().1;
    assert_eq!(body.matches('<').count(), body.matches('>').count());
}

#[test]
fn no_gain_is_called_that() {
    let workshop = Workshop::new();
    evaluate(&workshop, "before", &[("gcd", 100, 0..30)]);
    evaluate(&workshop, "after", &[("gcd", 100, 1..33)]);
    assert_snapshot!("compare_no_gain", workshop.run(COMPARE));
}

/// One family improves and another gets worse, by the same number of problems or by more: both are named, and the overall verdict is that of
/// the sum.
#[test]
fn what_is_forgotten_is_told_whatever_the_sum_is() {
    let workshop = Workshop::new();
    evaluate(&workshop, "before", &[("dice", 60, 0..5), ("ages", 60, 0..45)]);
    evaluate(&workshop, "even", &[("dice", 60, 0..40), ("ages", 60, 0..10)]);
    evaluate(&workshop, "worse", &[("dice", 60, 0..20), ("ages", 60, 0..3)]);
    for (folder, change, sentence, dice, ages) in [
        (
            "even",
            "not_measurable",
            "no measurable gain: 2 tasks together: 41.7% → 41.7% [",
            "8% → 67% [",
            "75% → 17% [",
        ),
        ("worse", "loss", "it got worse: 2 tasks together: 42% → 19% [", "8% → 33% [", "75% → 5% ["),
    ] {
        let arguments = ["compare", "before", folder, "--output-dir", "out"];
        let printed = workshop.json(&[&arguments[..], &["--json"]].concat());
        let verdict = &printed["comparisons"][0]["verdict"];
        assert_eq!(verdict["change"], change);
        assert!(verdict["sentence"].as_str().unwrap().starts_with(sentence), "{verdict}");
        for (key, task, scores) in [("gained", "dice", dice), ("forgotten", "ages", ages)] {
            let clauses = verdict[key].as_array().unwrap();
            assert_eq!(clauses.len(), 1, "{verdict}");
            assert!(clauses[0].as_str().unwrap().starts_with(&format!("{task}: {scores}")), "{verdict}");
        }
        let said = workshop.run(&arguments);
        assert!(said.contains(sentence), "{said}");
        for (task, scores, word) in [("dice", dice, "better"), ("ages", ages, "worse")] {
            let line = said.lines().find(|line| line.starts_with(task)).unwrap();
            let cells: Vec<&str> = line.split_whitespace().collect();
            let [before, _, after, ..] = scores.split(' ').collect::<Vec<_>>()[..] else { panic!("{scores}") };
            assert_eq!((cells[2], cells[3], cells.last()), (before, after, Some(&word)), "{said}");
        }
        let page = fs::read_to_string(workshop.path("out/report.html")).unwrap();
        for part in [">Gained<", ">Forgotten<", &format!("<b>ages</b><span class=\"figure\"><span>{ages}")] {
            assert!(page.contains(part), "{part:?} is not in the page");
        }
    }
}

#[test]
fn several_models_are_each_compared_with_the_first() {
    let workshop = workshop();
    evaluate(&workshop, "large", &[("dice", 60, 0..58)]);
    let printed = workshop.json(&["compare", "before", "after", "large", "--output-dir", "out", "--json"]);
    let found: Vec<_> =
        printed["comparisons"].as_array().unwrap().iter().map(|one| (&one["baseline"], &one["model"])).collect();
    assert_eq!(found, [(&json!("before"), &json!("after")), (&json!("before"), &json!("large"))]);
    assert_eq!(printed["comparisons"][1]["differs"], json!(["ages: only in before", "gcd: only in before"]));
}

#[test]
fn a_run_shows_its_losses_and_recipe() {
    let workshop = workshop();
    fs::create_dir(workshop.path("run")).unwrap();
    let line = |step: u64| {
        json!({"step": step, "epoch": 0.1, "loss": 2.0 / step as f64, "grad_norm": 1.0, "learning_rate": 0.001, "tokens": 100,
            "supervised_tokens": 60, "seconds": 0.5, "rows": [step]})
    };
    let eval = |step: u64, loss: f64| json!({"step": step, "epoch": 0.1, "eval_loss": loss, "eval_supervised_tokens": 10, "eval_seconds": 0.1});
    let lines: String = (1..=9).map(|step| format!("{}\n", line(step))).collect();
    let evals = (eval(0, 0.4), eval(9, 0.3));
    workshop.write("run/metrics.jsonl", &format!("{}\n{lines}{}\n{{\"step\": 10, \"lo", evals.0, evals.1));
    workshop
        .write("run/recipe.toml", "[student]\nmodel = \"/home/someone/student.gguf\"\n[lora]\nr = 16\nalpha = 32.0\n");
    workshop.run(&[COMPARE, &["--run", "run"]].concat());
    let page = fs::read_to_string(workshop.path("out/report.html")).unwrap();
    // raw and smoothed: loss, gradient norm, tokens a second; the learning rate; and the loss on held-out rows
    assert_eq!(page.matches("<polyline").count(), 8);
    assert!(page.contains("class=\"value-label\">0.3000<"), "an evaluation is a point with its value");
    assert!(page.contains("held back 0.4000 → 0.3000 (−25.0%)"), "how far the loss fell is told");
    for shown in ["r = 16, alpha = 32.0", "900, 540 of them supervised", "the whole recipe", "student.gguf"] {
        assert!(page.contains(shown), "{shown:?} is not in the page");
    }
    assert!(!page.contains("/home/someone"));
}

/// Provenance of runs and evaluations: rows, batch, seed, processor, version and command, without paths of that machine.
#[test]
fn what_made_the_figures_is_told() {
    let workshop = workshop();
    fs::create_dir(workshop.path("run")).unwrap();
    let step = json!({"step": 1, "epoch": 0.5, "loss": 2.0, "grad_norm": 1.0, "learning_rate": 0.001, "tokens": 100,
        "supervised_tokens": 60, "seconds": 0.5, "rows": [1]});
    workshop.write("run/metrics.jsonl", &format!("{step}\n"));
    workshop.write(
        "run/recipe.toml",
        "[train]\nseed = 42\nper_device_train_batch_size = 2\ngradient_accumulation_steps = 8\n[student]\ndtype = \"bf16\"\n",
    );
    let outcomes = json!({"rows": 70, "truncated": 0, "too_long": 72, "unsupervised": 1, "tokens": 9, "supervised_tokens": 5,
        "records": {"rows": 145, "bad": []}});
    let session = json!({"version": "0.1.0", "commit": "abc123", "processor": "Zen 4", "threads": 2, "date": "2026-11-24T12:00:00Z",
        "command": ["aludel", "train", "--data", "/home/someone/rows 1.jsonl"], "resumed_at": 0, "train_rows": 69, "eval_rows": 3,
        "outcomes": outcomes, "trained_parameters": 4884480});
    let mut resumed = session.clone();
    resumed["resumed_at"] = json!(1);
    resumed["command"] = json!(["aludel", "train", "--output-dir", "run", "--resume"]);
    workshop.write("run/sessions.jsonl", &format!("{session}\n{resumed}\n"));
    let results = fs::read_to_string(workshop.path("after/results.json")).unwrap();
    let mut results: Value = serde_json::from_str(&results).unwrap();
    results["command"] = json!(["aludel", "eval", "--model", "/home/someone/student.gguf"]);
    results["commit"] = json!("def456");
    workshop.write("after/results.json", &results.to_string());
    let said = workshop.run(&[COMPARE, &["--run", "run"]].concat());
    assert!(said.contains("exit code: 0"), "{said}");
    let page = fs::read_to_string(workshop.path("out/report.html")).unwrap();
    let page = page.replace("<span>", "").replace("</span>", "").replace(" </code>", "</code>");
    for shown in [
        "<dt>rows</dt><dd>69 trained on, 3 held back</dd>",
        "<dt>rows left out</dt><dd>72 longer than max_length, 1 without a token to train on</dd>",
        "<dt>batch</dt><dd>16 rows a step (2 × 8 accumulated)</dd>",
        "<dt>seed</dt><dd>42</dd>",
        "<dt>parameters</dt><dd>4,884,480 trained</dd>",
        "<dt>processor</dt><dd>Zen 4, 2 threads</dd>",
        "<dt>aludel</dt><dd>0.1.0, commit abc123</dd>",
        "<code>aludel train --data &#39;rows 1.jsonl&#39;</code>",
        "<dt>resumed by</dt><dd><code>aludel train --output-dir run --resume</code></dd>",
        "<code>aludel eval --model student.gguf</code>",
        "<dt>aludel</dt><dd>0.1.0, commit def456</dd>",
        "<code>aludel compare before after --output-dir out --run run</code>",
    ] {
        assert!(page.contains(shown), "{shown:?} is not in the page");
    }
    assert_eq!(page.matches("<dd>Zen 4, 2 threads</dd>").count(), 1, "what both sessions share is told once");
    assert!(!page.contains("/home/someone"));
}

/// Formulas are typeset in questions, answers and reference answers; malformed ones are shown as written.
#[test]
fn mathematics_is_set() {
    let workshop = Workshop::new();
    evaluate(&workshop, "before", &[("sums", 9, 0..3)]);
    evaluate(&workshop, "after", &[("sums", 9, 0..9)]);
    let samples = fs::read_to_string(workshop.path("after/samples.jsonl")).unwrap();
    let answer = r"so \\(\\frac{1}{2}\\), $\\nonsense{x}$ and $\\text{</math><script>}$";
    workshop.write("after/samples.jsonl", &samples.replace("\"right\"", &format!("\"{answer}\"")));
    workshop.run(COMPARE);
    let page = fs::read_to_string(workshop.path("out/report.html")).unwrap();
    assert!(page.contains("so <math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>, $\\nonsense{x}$ and "));
    assert!(!page.contains("<script") && page.contains("&lt;/math&gt;&lt;script&gt;"));
}

/// Problems that both models get right, or both get wrong, are shown, too.
#[test]
fn what_is_the_same_in_both_is_there() {
    let workshop = Workshop::new();
    evaluate(&workshop, "before", &[("sums", 40, 0..30)]);
    evaluate(&workshop, "after", &[("sums", 40, 10..30)]);
    workshop.run(COMPARE);
    let page = fs::read_to_string(workshop.path("out/report.html")).unwrap();
    for (heading, count) in [("Lost", 10), ("Both wrong", 10), ("Both right", 20)] {
        assert!(page.contains(&format!("{heading}<small class=\"n\">{count}</small>")), "{heading}");
    }
    assert!(page.contains("<summary>sums: 20</summary>") && page.contains("<summary>sums: 4 more</summary>"));
    assert_eq!(page.matches("<details class=\"problem\"").count(), 40);
    let told: Value = serde_json::from_slice(&fs::read(workshop.path("out/comparison.json")).unwrap()).unwrap();
    let told = told.to_string();
    assert!(told.contains("\"both_right\":[\"sums-010\""), "{told}");
}

/// The page stays small for any number of problems: texts are shortened, and it names what is left out and where to find it.
#[test]
fn a_report_of_many_long_answers_stays_small() {
    let workshop = Workshop::new();
    evaluate(&workshop, "before", &[("sums", 4_000, 0..0)]);
    evaluate(&workshop, "after", &[("sums", 4_000, 0..4_000)]);
    let samples = fs::read_to_string(workshop.path("after/samples.jsonl")).unwrap();
    workshop.write("after/samples.jsonl", &samples.replace("\"right\"", &format!("\"{}\"", "long ".repeat(300))));
    workshop.run(COMPARE);
    let page = fs::read_to_string(workshop.path("out/report.html")).unwrap();
    assert!((1_000_000..3_000_000).contains(&page.len()), "{} bytes", page.len());
    let there = page.matches("<details class=\"problem\"").count();
    let missing = 4_000 - there;
    let missing = format!("{},{:03} more do not fit into this page.", missing / 1000, missing % 1000);
    assert!(there > 1_000 && page.contains(&missing), "{there} problems are there");
    assert!(page.contains("their answers stand in samples.jsonl of before and after."));
}

/// Costs and times of teacher, training and evaluation are shown if they are known.
#[test]
fn costs_are_shown_where_they_are_known() {
    let workshop = workshop();
    fs::create_dir(workshop.path("run")).unwrap();
    let line = json!({"step": 1, "epoch": 0.1, "loss": 2.0, "grad_norm": 1.0, "learning_rate": 0.001, "tokens": 100,
        "supervised_tokens": 60, "seconds": 7.5, "rows": [1]});
    workshop.write("run/metrics.jsonl", &format!("{line}\n"));
    let results = fs::read_to_string(workshop.path("after/results.json")).unwrap();
    workshop.write("after/results.json", &results.replace("\"tokens_per_second\":null", "\"tokens_per_second\":100.0"));
    let page = |more: &[&str]| {
        let said = workshop.run(&[COMPARE, more].concat());
        assert!(said.contains("exit code: 0"), "{said}");
        fs::read_to_string(workshop.path("out/report.html")).unwrap()
    };
    let plain = page(&["--run", "run"]);
    // 180 answers of 35 tokens each to 9; one of the two evaluations has a speed
    assert_eq!(plain.matches("1,620 asked, 6,300 answered").count(), 2);
    assert_eq!(plain.matches("63 s for the answers").count(), 1);
    assert!(plain.contains("100, 60 of them supervised") && plain.contains("<dd>steps 7.5 s</dd>"));
    assert!(!plain.contains("tokens of traces") && !plain.contains('$'));
    workshop.write("prompts.jsonl", "{\"question\": \"1+1?\"}\n{\"question\": \"2+2?\"}\n");
    let teacher = ScriptedTeacher::start(Crowd::default().script()).unwrap();
    let trace = |store: &str, price: &[&str]| {
        let url = teacher.url();
        let usual =
            ["trace", "--prompts", "prompts.jsonl", "--model", "sage", "--teacher", &url, "--store", store, "--json"];
        workshop.json(&[&usual[..], price].concat());
    };
    // two answers of 3 and 5 tokens, at 100,000 and 200,000 dollars a million
    trace("priced.db", &["--prompt-price", "100000", "--completion-price", "200000"]);
    trace("free.db", &[]);
    let priced = page(&["--run", "run", "--store", "priced.db"]);
    for shown in ["<dd>sage</dd>", "2 whole, 0 cut", "6 asked, 10 answered", "<dd>$2.60</dd>"] {
        assert!(priced.contains(shown), "{shown:?} is not in the page");
    }
    let free = page(&["--run", "run", "--store", "free.db"]);
    assert!(free.contains("6 asked, 10 answered") && free.contains("<dd>price unknown</dd>") && !free.contains('$'));
    let too_many = workshop.run(&[COMPARE, &["--run", "run", "--store", "free.db", "--store", "priced.db"]].concat());
    assert!(too_many.contains("exit code: 2") && too_many.contains("there is no run for it"), "{too_many}");
}

#[test]
fn what_cannot_be_compared_is_told_and_nothing_is_written() {
    let workshop = workshop();
    evaluate(&workshop, "other", &[("dice", 50, 0..3), ("sums", 10, 0..1)]);
    fs::create_dir(workshop.path("begun")).unwrap();
    workshop.write("begun/evaluation.json", "{}");
    let with = |folder: &str| workshop.run(&["compare", "before", folder, "--output-dir", "out"]);
    assert_snapshot!("compare_nothing_in_common", with("other"));
    assert_snapshot!("compare_unfinished", with("begun"));
    assert_snapshot!("compare_no_results", with("nowhere"));
    assert_snapshot!("compare_alone", workshop.run(&["compare", "before", "--output-dir", "out"]));
    assert_snapshot!("compare_itself", workshop.run(&["compare", "before", "./before", "--output-dir", "out"]));
    assert!(!workshop.path("out").exists());
}

/// A copy of results can be compared, with a warning that it says nothing.
#[test]
fn two_folders_with_the_same_answers_are_noticed() {
    let workshop = workshop();
    std::fs::create_dir(workshop.path("copy")).unwrap();
    for file in std::fs::read_dir(workshop.path("before")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), workshop.path("copy").join(file.file_name())).unwrap();
    }
    let said = workshop.run(&["compare", "before", "copy", "--output-dir", "out"]);
    assert!(said.contains("exit code: 0") && said.contains("WARN copy holds the same "), "{said}");
    assert!(said.contains(" answers as before, letter for letter: check that it is not a copy"), "{said}");
    let said = workshop.run(&["compare", "before", "after", "--output-dir", "other"]);
    assert!(!said.contains("letter for letter"), "{said}");
    assert!(!said.contains("no effect"), "{said}");
    let more = ["--limit", "3", "--samples", "2", "--tasks", "dice"];
    let said = workshop.run(&[&["compare", "before", "after", "--output-dir", "other"], &more[..]].concat());
    let told = "WARN --tasks, --samples, --limit have no effect: all that is compared are results already";
    assert!(said.contains(told), "{said}");
}

#[test]
fn what_is_failed_becomes_the_next_prompts() {
    let workshop = workshop();
    let of_traces = ["--keep", "shortest", "--set", "curate.min_length=3"];
    let refused =
        workshop.run(&[&["curate", "--only-failed", "after", "--output-dir", "next"], &of_traces[..]].concat());
    assert!(refused.contains("exit code: 2") && refused.contains("error: --keep = shortest\n"), "{refused}");
    assert!(refused.contains("error: --set = curate.min_length=3\nbecause: without --input only "), "{refused}");
    assert!(!workshop.path("next").exists(), "{refused}");
    let said = workshop.run(&["curate", "--only-failed", "after", "--output-dir", "next"]);
    assert!(
        said.contains("120 prompts that the student gets wrong, in next/prompts.jsonl")
            || said.contains("prompts.jsonl"),
        "{said}"
    );
    let text = fs::read_to_string(workshop.path("next/prompts.jsonl")).unwrap();
    let prompts: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Of 60 each, 49, 20 and 21 are right.
    assert_eq!(prompts.len(), 180 - 49 - 20 - 21);
    assert_eq!(
        prompts[0],
        json!({"id": "dice-000", "prompt": "dice number 0?", "answer": "0", "task": "dice", "solved": 0.0})
    );
    let row = |problem: u32| json!({"prompt": format!("dice number {problem}?"), "response": format!("\\boxed{{{problem}}}"), "answer": problem.to_string()});
    workshop.write("traces.jsonl", &(0..60).map(|problem| format!("{}\n", row(problem))).collect::<String>());
    let arguments = [
        "curate",
        "--input",
        "traces.jsonl",
        "--only-failed",
        "after",
        "--output-dir",
        "chosen",
        "--json",
        "--test-size",
        "0",
        "--set",
        "curate.near_duplicates=false",
    ];
    let report = workshop.json(&arguments);
    assert_eq!((&report["rows"], &report["train"]), (&json!(11), &json!(11)), "{report}");
    evaluate(&workshop, "solved", &[("dice", 9, 0..9)]);
    assert_snapshot!("only_failed_none", workshop.run(&["curate", "--only-failed", "solved", "--output-dir", "none"]));
}
