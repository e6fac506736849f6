//! `aludel trace` and `aludel plan trace` through the binary, against a scripted teacher on this machine: what is stored, what is
//! requested again, when it stops, and what it prints. Expected counts follow from the scripts; SQLite reads the store beside it.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use aludel_data::dataset::{self, ReadOptions};
use aludel_scripted_teacher::{Crowd, Request, ScriptedTeacher, Step, chunk, event, json, stream};
use common::Workshop;
use insta::assert_snapshot;
use serde_json::{Map, Value, json as value};

const CANARY: &str = "sk-canary-cli-90c2";

/// A folder with this number of prompts, each with its reference answer.
fn prompts(count: u32) -> Workshop {
    let workshop = Workshop::new();
    let rows = (0..count).fold(String::new(), |mut rows, number| {
        let row =
            value!({"question": format!("What is {number} + 1?"), "answer": (number + 1).to_string(), "set": "sums"});
        writeln!(rows, "{row}").unwrap();
        rows
    });
    workshop.write("prompts.jsonl", &rows);
    workshop
}

fn crowd(crowd: Crowd) -> ScriptedTeacher {
    ScriptedTeacher::start(crowd.script()).unwrap()
}

fn slow(milliseconds: u64) -> Crowd {
    Crowd { delay: Duration::from_millis(milliseconds), ..Crowd::default() }
}

/// Completion requests only: each run also checks once whether the server responds.
fn questions(teacher: &ScriptedTeacher) -> usize {
    teacher.seen().iter().filter(|request| request.method == "POST").count()
}

fn command(workshop: &Workshop, words: &[&str], teachers: &[&ScriptedTeacher], more: &[&str]) -> Command {
    let urls: Vec<String> = teachers.iter().map(|teacher| teacher.url()).collect();
    let mut all = words.to_vec();
    all.extend(["--prompts", "prompts.jsonl", "--model", "scripted", "--store", "traces.db", "--json", "--teacher"]);
    all.extend(urls.iter().map(String::as_str));
    all.extend(more);
    workshop.command(&all)
}

fn trace(workshop: &Workshop, teachers: &[&ScriptedTeacher], more: &[&str]) -> Output {
    command(workshop, &["trace"], teachers, more).output().unwrap()
}

/// What a run prints that ends with this exit code.
fn summary(output: &Output, code: i32) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn done(workshop: &Workshop, teachers: &[&ScriptedTeacher], more: &[&str]) -> Value {
    summary(&trace(workshop, teachers, more), 0)["run"].clone()
}

fn status(workshop: &Workshop) -> Value {
    workshop.json(&["trace", "status", "--store", "traces.db", "--json"])
}

fn kept(workshop: &Workshop) -> u64 {
    status(workshop)["complete"].as_u64().unwrap()
}

#[test]
fn the_help_has_examples() {
    let workshop = Workshop::new();
    assert_snapshot!("help_trace", workshop.run(&["trace", "--help"]));
    assert_snapshot!("help_plan_trace", workshop.run(&["plan", "trace", "--help"]));
}

#[test]
fn what_is_not_named_is_asked_for() {
    assert_snapshot!("trace_nothing_named", Workshop::new().run(&["trace", "--samples", "2"]));
    let error = Workshop::new().run(&["trace", "--samples", "0", "--api-key-env", CANARY, "--max-cost", "-1"]);
    assert!(error.contains("exit code: 2") && error.contains("never the key"), "{error}");
    assert_eq!(error.matches(CANARY).count(), 1, "in the line that was typed, and nowhere else: {error}");
}

#[test]
fn a_second_run_asks_only_for_what_is_missing() {
    let workshop = prompts(30);
    let teacher = crowd(Crowd::default());
    let run = done(&workshop, &[&teacher], &[]);
    assert_eq!((&run["wanted"], &run["done"], &run["failed"]), (&value!(30), &value!(30), &value!(0)));
    assert_eq!((&run["prompt_tokens"], &run["completion_tokens"]), (&value!(90), &value!(150)), "3 and 5 each");
    assert_eq!(questions(&teacher), 30);
    let nothing = done(&workshop, &[&teacher], &[]);
    assert_eq!((&nothing["wanted"], &nothing["there"]), (&value!(0), &value!(30)));
    assert_eq!(questions(&teacher), 30);
    assert_eq!(done(&workshop, &[&teacher], &["--samples", "2"])["done"], 30);
    assert_eq!((questions(&teacher), kept(&workshop)), (60, 60));
    assert_eq!(done(&workshop, &[&teacher], &["--temperature", "1"])["done"], 30, "other settings, other answers");
}

#[test]
fn a_kill_costs_no_more_than_the_questions_on_their_way() {
    const KILLS: usize = 5;
    const AT_ONCE: usize = 4;
    let workshop = prompts(80);
    let teacher = crowd(slow(60));
    let mut before = 0;
    for kill in 0..KILLS {
        let mut child = command(&workshop, &["trace"], &[&teacher], &["--concurrency", "4"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(150 + 40 * kill as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        // Killed before it wrote anything, it leaves an empty file, or none.
        if fs::metadata(workshop.path("traces.db")).is_ok_and(|file| file.len() > 0) {
            let now = kept(&workshop);
            assert!(now >= before, "{now} of {before} traces are left");
            before = now;
        }
    }
    done(&workshop, &[&teacher], &["--concurrency", "4"]);
    assert_eq!(kept(&workshop), 80);
    assert!(questions(&teacher) <= 80 + KILLS * AT_ONCE, "{}", questions(&teacher));
}

#[test]
fn errors_and_an_outage_are_sat_out() {
    let workshop = prompts(150);
    let outage = Some((Duration::from_millis(100), Duration::from_secs(1)));
    let teacher = crowd(Crowd { errors: 0.3, outage, ..slow(20) });
    let output = trace(&workshop, &[&teacher], &["--concurrency", "16"]);
    assert_eq!(summary(&output, 0)["run"]["done"], 150);
    assert_eq!(kept(&workshop), 150);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(log.matches("does not answer").count(), 1, "one outage, told once: {log}");
}

#[test]
fn budgets_stop_a_run_that_goes_on_with_a_larger_one() {
    let workshop = prompts(40);
    let teacher = crowd(slow(10));
    let spent = |workshop: &Workshop| {
        let tokens = &status(workshop)["tokens"];
        tokens["prompt"].as_u64().unwrap() + tokens["completion"].as_u64().unwrap()
    };
    let stopped = summary(&trace(&workshop, &[&teacher], &["--max-total-tokens", "100"]), 75);
    assert_eq!(stopped["end"], "budget");
    assert_eq!(spent(&workshop), 96, "an answer takes 8, and a thirteenth would exceed 100");
    let again = summary(&trace(&workshop, &[&teacher], &["--max-total-tokens", "100"]), 75);
    assert_eq!((&again["run"]["done"], spent(&workshop)), (&value!(0), 96), "earlier runs count");
    // An answer costs 3 × 1 + 5 × 2 dollars per million, so 0.00026 pay for twenty in all.
    let money = ["--prompt-price", "1", "--completion-price", "2", "--max-cost", "0.00026"];
    summary(&trace(&workshop, &[&teacher], &money), 75);
    let cost = status(&workshop)["cost"].as_f64().unwrap();
    assert!(cost > 0.0001 && cost <= 0.00026, "{cost}");
    done(&workshop, &[&teacher], &[]);
    assert_eq!(kept(&workshop), 40);
}

#[test]
fn a_refusal_ends_the_run_in_the_servers_words_and_the_key_shows_nowhere() {
    let workshop = prompts(5);
    let refuse = |request: &Request| {
        let echoed = request.head.lines().find(|line| line.contains(CANARY)).unwrap_or("no key").to_owned();
        vec![json("401 Unauthorized", &value!({"error": {"message": format!("bad key: {echoed}")}}))]
    };
    let teacher = ScriptedTeacher::start(refuse).unwrap();
    workshop.write("key", &format!("{CANARY}\n"));
    for flags in [["--api-key-env", "CANARY"], ["--api-key-file", "key"]] {
        let mut command = command(&workshop, &["trace"], &[&teacher], &flags);
        let output = command.env("CANARY", CANARY).env("ALUDEL_LOG", "trace").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("no teacher answers") && said.contains("bad key"), "{said}");
        assert!(!said.contains(CANARY), "{said}");
    }
    assert!(teacher.seen().iter().any(|request| request.head.contains(CANARY)), "the key was sent");
    for entry in fs::read_dir(workshop.path("")).unwrap().map(Result::unwrap) {
        let holds_key = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).contains(CANARY);
        assert_eq!(holds_key, entry.file_name() == "key", "{:?}", entry.file_name());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_key_shows_neither_in_the_process_list_nor_in_the_store() {
    let workshop = prompts(40);
    let teacher = crowd(slow(50));
    let mut command = command(&workshop, &["trace"], &[&teacher], &["--api-key-env", "CANARY", "--concurrency", "2"]);
    let command = command.env("CANARY", CANARY).env("ALUDEL_LOG", "trace");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sleep(Duration::from_millis(300));
    let line = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let stores = fs::read_dir(workshop.path("")).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    for bytes in stores.chain([line, output.stdout, output.stderr]) {
        assert!(!String::from_utf8_lossy(&bytes).contains(CANARY));
    }
}

#[test]
fn other_servers_take_over_from_those_that_are_gone_or_refuse() {
    let workshop = prompts(60);
    let resets = ScriptedTeacher::start(|request| match request.method.as_str() {
        "GET" => vec![json("200 OK", &value!({"data": [{"id": "scripted"}]}))],
        _ => vec![Step::Reset],
    });
    let refuses =
        ScriptedTeacher::start(|_| vec![json("403 Forbidden", &value!({"error": {"message": "not for you"}}))]);
    let (resets, refuses) = (resets.unwrap(), refuses.unwrap());
    let good = crowd(slow(10));
    let output = trace(&workshop, &[&resets, &refuses, &good], &["--concurrency", "8"]);
    assert_eq!(summary(&output, 0)["run"]["done"], 60);
    assert_eq!(kept(&workshop), 60);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("is asked no more") && log.contains("not for you"), "{log}");
    assert!(questions(&resets) < 60, "it is left alone after some failures: {}", questions(&resets));
}

#[test]
fn two_processes_share_a_store() {
    let workshop = prompts(60);
    let teacher = crowd(slow(40));
    let start = || -> Child {
        let mut command = command(&workshop, &["trace"], &[&teacher], &["--concurrency", "4"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [start(), start()];
    let runs = children.map(|child| summary(&child.wait_with_output().unwrap(), 0)["run"]["done"].as_u64().unwrap());
    assert_eq!(kept(&workshop), 60);
    assert_eq!((runs[0] + runs[1], questions(&teacher)), (60, 60), "nothing is asked twice");
}

/// A teacher that answers all questions but two: it does not take that for 3 + 1, and its answer to 4 + 1 is cut off.
fn with_a_cut_and_a_refusal() -> ScriptedTeacher {
    let script = |request: &Request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        match () {
            () if request.method == "GET" => vec![json("200 OK", &value!({"data": [{"id": "scripted"}]}))],
            () if body.contains("What is 3 + 1?") => {
                let error = value!({"error": {"message": "maximum context length exceeded", "code": "context_length_exceeded"}});
                vec![json("400 Bad Request", &error)]
            }
            () if body.contains("What is 4 + 1?") => {
                let delta = value!({"reasoning_content": "Let me"});
                let end = event(&chunk(value!({}), Some("length")));
                vec![
                    stream("text/event-stream"),
                    event(&chunk(delta, None)),
                    end,
                    Step::send("data: [DONE]\n\n"),
                    Step::Close,
                ]
            }
            () => Crowd::default().script()(request),
        }
    };
    ScriptedTeacher::start(script).unwrap()
}

#[test]
fn cut_answers_and_questions_that_are_not_taken_are_on_record() {
    let workshop = prompts(12);
    let teacher = with_a_cut_and_a_refusal();
    let output = trace(&workshop, &[&teacher], &[]);
    let run = &summary(&output, 0)["run"];
    assert_eq!((&run["done"], &run["cut"], &run["failed"]), (&value!(11), &value!(1), &value!(1)));
    assert!(String::from_utf8_lossy(&output.stderr).contains("maximum context length exceeded"));
    let status = status(&workshop);
    assert_eq!((&status["complete"], &status["cut"], &status["failed"]), (&value!(10), &value!(1), &value!(1)));
    let again = done(&workshop, &[&teacher], &[]);
    assert_eq!(again["wanted"], 0, "neither is asked again");
    assert_eq!((&again["there"], &again["there_failed"]), (&value!(11), &value!(1)));
}

#[cfg(unix)]
#[test]
fn a_signal_stops_after_answers_on_their_way() {
    let workshop = prompts(200);
    let teacher = crowd(slow(100));
    let mut command = command(&workshop, &["trace"], &[&teacher], &["--concurrency", "2"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while questions(&teacher) < 4 {
        sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let stopped = summary(&output, 75);
    assert_eq!(stopped["end"], "stopped");
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopping: "));
    let done = stopped["run"]["done"].as_u64().unwrap();
    assert!((1..200).contains(&done), "{done}");
    assert_eq!((kept(&workshop), questions(&teacher) as u64), (done, done), "all that was asked is kept");
}

/// All answers were in flight when the signal came, so the collection is complete.
#[cfg(unix)]
#[test]
fn a_signal_at_the_very_end_stops_nothing() {
    let workshop = prompts(4);
    let teacher = crowd(slow(1500));
    let mut command = command(&workshop, &["trace"], &[&teacher], &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while questions(&teacher) < 4 {
        sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let finished = summary(&child.wait_with_output().unwrap(), 0);
    assert_eq!((&finished["end"], &finished["run"]["done"]), (&value!("finished"), &value!(4)));
}

#[test]
fn what_nobody_was_asked_is_counted() {
    let workshop = prompts(30);
    let teacher = ScriptedTeacher::start(|request: &Request| match request.method.as_str() {
        "GET" => vec![json("200 OK", &value!({"data": [{"id": "other"}]}))],
        _ => vec![json("404 Not Found", &value!({"error": {"message": "the model `scripted` does not exist"}}))],
    });
    let output = command(&workshop, &["trace"], &[&teacher.unwrap()], &["--concurrency", "4"]).output().unwrap();
    let run = summary(&output, 1)["run"].clone();
    let asked = run["asked"].as_u64().unwrap();
    assert_eq!((&run["wanted"], &run["done"]), (&value!(30), &value!(0)));
    assert!((1..=8).contains(&asked), "{run}");
}

#[test]
fn a_plan_pays_for_its_pilot_once() {
    let workshop = prompts(50);
    let teacher = crowd(slow(5));
    let price = ["--prompt-price", "1000", "--completion-price", "2000"];
    let plan = |more: &[&str]| {
        let all = [&price[..], more].concat();
        summary(&command(&workshop, &["plan", "trace"], &[&teacher], &all).output().unwrap(), 0)
    };
    let first = plan(&["--samples", "2"]);
    assert_eq!((questions(&teacher), kept(&workshop)), (20, 20));
    let prediction = &first["prediction"];
    assert_eq!((&prediction["pilot"], &prediction["missing"]), (&value!(20), &value!(80)));
    for (key, expected) in [("prompt_tokens", 240.0), ("completion_tokens", 400.0), ("cost", 1.04)] {
        let interval = &prediction[key];
        for bound in ["low", "expected", "high"] {
            let value = interval[bound].as_f64().unwrap();
            assert!((value - expected).abs() < 1e-9, "{key}.{bound} = {value}: all answers of the pilot are alike");
        }
    }
    assert_eq!(plan(&[])["prediction"]["missing"], 30);
    assert_eq!(questions(&teacher), 20, "the second plan asks nothing");
    assert_eq!(done(&workshop, &[&teacher], &[])["done"], 30);
    assert_eq!((questions(&teacher), kept(&workshop)), (50, 50));
}

#[test]
fn a_suffix_and_system_prompts_reach_the_teacher() {
    let workshop = Workshop::new();
    let row = value!({"system": "be brief", "prompt": "6 times 7?", "response": "an older answer", "gold": "42"});
    workshop.write("prompts.jsonl", &format!("{row}\n"));
    let teacher = crowd(Crowd::default());
    done(&workshop, &[&teacher], &["--prompt-suffix", "boxed", "--set", "trace.extra_body={top_k=20}"]);
    let asked = teacher.seen().into_iter().find(|request| request.method == "POST").unwrap();
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    let words = "6 times 7?\nPlease reason step by step, and put your final answer within \\boxed{}.";
    let messages = value!([{"role": "system", "content": "be brief"}, {"role": "user", "content": words}]);
    assert_eq!(body["messages"], messages);
    assert_eq!((&body["temperature"], &body["top_p"], &body["top_k"]), (&value!(0.6), &value!(0.95), &value!(20)));
}

#[test]
fn a_store_tells_its_numbers() {
    let workshop = prompts(12);
    let missing = workshop.run(&["trace", "status", "--store", "none.db"]);
    assert!(missing.contains("exit code: 1") && missing.contains("none.db"), "{missing}");
    assert!(!workshop.path("none.db").exists(), "looking makes no store");
    let price = ["--samples", "2", "--prompt-price", "1000000", "--completion-price", "2000000"];
    done(&workshop, &[&with_a_cut_and_a_refusal()], &price);
    let mut status = status(&workshop);
    let runs = status.as_object_mut().unwrap().remove("runs").unwrap();
    // Of 24 answers, those to two prompts are cut or refused. A complete one takes 3 + 5 tokens, 13 dollars. What a server does not
    // count is paid by guess, a token for every four bytes begun: 4 + 2 tokens, 8 dollars.
    let numbers = value!({"prompts": 12, "wanted": 24, "complete": 20, "cut": 2, "failed": 2, "missing": 0, "claimed": 0,
        "cost": 276.0, "unpriced": 0, "tokens": {"prompt": 60, "completion": 100}});
    assert_eq!(status, numbers);
    let [run] = runs.as_array().unwrap().as_slice() else { panic!("one teacher, one set of settings: {runs}") };
    assert_eq!((&run["teacher"], &run["wanted"], &run["complete"]), (&value!("scripted"), &value!(24), &value!(20)));
    let said = workshop.run(&["trace", "status", "--store", "traces.db"]);
    assert!(said.contains("12 prompts, 24 answers wanted: 20 complete, 2 cut, 2 failed, 0 missing"), "{said}");
}

/// The rows of a data file, column by column.
fn columns(workshop: &Workshop, name: &str) -> Vec<Map<String, Value>> {
    let mut records = dataset::open(&[workshop.path(name)], &ReadOptions::default()).unwrap();
    std::iter::from_fn(|| records.next_columns().unwrap())
        .map(|(columns, _)| serde_json::from_value(value!(columns)).unwrap())
        .collect()
}

#[test]
fn exports_hold_what_was_answered_in_either_format() {
    let workshop = prompts(12);
    let export = |name: &str, more: &[&str]| {
        let words = ["trace", "export", "--store", "traces.db", "--output", name];
        workshop.command(&[&words[..], more].concat()).output().unwrap()
    };
    done(&workshop, &[&with_a_cut_and_a_refusal()], &[]);
    for (name, more, count) in [("whole", &["--json"][..], 10), ("all", &["--json", "--all"][..], 12)] {
        let names = ["jsonl", "parquet"].map(|ending| format!("{name}.{ending}"));
        for name in &names {
            assert_eq!(summary(&export(name, more), 0), value!({"rows": count}), "{name}");
        }
        let [lines, parquet] = names.each_ref().map(|name| columns(&workshop, name));
        assert_eq!(lines, parquet);
        assert_eq!(lines.len(), count);
        assert!(fs::read(workshop.path(&names[1])).unwrap().starts_with(b"PAR1"));
    }
    for row in columns(&workshop, "whole.jsonl") {
        let number: u32 = row["answer"].as_str().unwrap().parse().unwrap();
        assert_eq!(row["prompt"], format!("What is {} + 1?", number - 1));
        assert_eq!((&row["reasoning"], &row["response"]), (&value!("because"), &value!("42")));
        assert_eq!(
            (&row["finish_reason"], &row["teacher"], &row["set"]),
            (&value!("stop"), &value!("scripted"), &value!("sums"))
        );
        assert_eq!(row["usage"], value!({"prompt_tokens": 3, "completion_tokens": 5}));
    }
    let all = columns(&workshop, "all.parquet");
    let one = |question: &str| all.iter().find(|row| row["prompt"] == question).unwrap();
    assert_eq!(
        (&one("What is 4 + 1?")["status"], &one("What is 4 + 1?")["reasoning"]),
        (&value!("cut"), &value!("Let me"))
    );
    assert_eq!(one("What is 3 + 1?")["status"], "failed");
    assert!(one("What is 3 + 1?")["error"].as_str().unwrap().contains("maximum context length exceeded"));

    let refused = export("all.jsonl", &[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("give --overwrite to replace it"), "{said}");
    let replaced = export("all.jsonl", &["--overwrite"]);
    let said = String::from_utf8_lossy(&replaced.stderr);
    assert_eq!((replaced.status.code(), columns(&workshop, "all.jsonl").len()), (Some(0), 10));
    assert!(said.contains("next: aludel curate --input all.jsonl --output-dir curated\n"), "{said}");

    let before = fs::read(workshop.path("traces.db")).unwrap();
    let refused = export("traces.db", &["--overwrite"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("it would be replaced"));
    assert_eq!(fs::read(workshop.path("traces.db")).unwrap(), before);
}
