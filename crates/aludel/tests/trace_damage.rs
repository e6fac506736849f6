//! `aludel trace` with faulty servers and disks: keys that a server repeats, impossible counts, and a damaged store.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::process::Output;

use aludel_scripted_teacher::{Request, ScriptedTeacher, Step, chunk, event, json, stream};
use common::Workshop;
use serde_json::{Value, json as value};

const CANARY: &str = "sk-canary-cli-90c2Ab7";

fn prompts(count: usize) -> Workshop {
    let workshop = Workshop::new();
    let rows = (0..count).map(|number| format!("{}\n", value!({"question": format!("What is {number} + 1?")})));
    workshop.write("prompts.jsonl", &rows.collect::<String>());
    workshop
}

fn trace(workshop: &Workshop, teacher: &ScriptedTeacher, more: &[&str]) -> Output {
    let url = teacher.url();
    let words =
        ["trace", "--prompts", "prompts.jsonl", "--model", "scripted", "--store", "traces.db", "--json", "--teacher"];
    let mut command = workshop.command(&[&words[..], &[&url], more].concat());
    command.env("CANARY", CANARY).env("ALUDEL_LOG", "trace").output().unwrap()
}

/// Exit code, and all that was printed.
fn run(workshop: &Workshop, words: &[&str]) -> (Option<i32>, String) {
    let output = workshop.command(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

fn answer(steps: Vec<Value>, usage: &str) -> Vec<Step> {
    let mut all = vec![stream("text/event-stream")];
    all.extend(steps.into_iter().map(|delta| event(&chunk(delta, None))));
    all.push(event(&chunk(value!({}), Some("stop"))));
    all.push(Step::send(format!("data: {{\"choices\": [], \"usage\": {usage}}}\n\ndata: [DONE]\n\n")));
    all.push(Step::Close);
    all
}

#[test]
fn no_form_of_a_key_is_kept_or_shown() {
    let percent: String = CANARY.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms = [
        CANARY.to_owned(),
        percent,
        hex,
        CANARY.to_uppercase(),
        CANARY.replace('-', "\\u002d"),
        CANARY.replace('-', "&#45;"),
        CANARY.replace("cli", "c\u{200b}li"),
        CANARY.replace("cli", "c\nl i"),
        CANARY[..12].to_owned(),
        // `Bearer`, a user's name and nothing before it, in base64.
        "QmVhcmVyIHNrLWNhbmFyeS1jbGktOTBjMkFiNw==".to_owned(),
        "dXNlcjpzay1jYW5hcnktY2xpLTkwYzJBYjc=".to_owned(),
        "c2stY2FuYXJ5LWNsaS05MGMyQWI3".to_owned(),
    ];
    let workshop = prompts(forms.len());
    let told = forms.clone();
    let script = move |request: &Request| {
        let number = usize::try_from(request.number).unwrap();
        let form = &told[number % told.len()];
        let half = form.char_indices().nth(form.chars().count() / 2).unwrap().0;
        match number % 5 {
            4 => vec![json("500 Oh", &value!({"error": {"message": format!("bad: {form}")}}))],
            _ => answer(
                vec![
                    value!({"reasoning_content": format!("it is {form}")}),
                    value!({"content": format!("the key: {}", &form[..half])}),
                    value!({"content": format!("{} ends", &form[half..])}),
                ],
                "{}",
            ),
        }
    };
    let teacher = ScriptedTeacher::start(script).unwrap();
    let output = trace(&workshop, &teacher, &["--api-key-env", "CANARY", "--concurrency", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(teacher.seen().iter().all(|request| request.head.contains(CANARY)), "the key was sent");
    let (code, _) = run(&workshop, &["trace", "export", "--store", "traces.db", "--output", "traces.jsonl"]);
    assert_eq!(code, Some(0));
    let rows = fs::read_to_string(workshop.path("traces.jsonl")).unwrap();
    assert_eq!(rows.matches("the key: ").count(), forms.len());
    // The part of the base64 text before the key may remain.
    assert!(rows.lines().all(|row| row.matches('…').count() == 2), "{rows}");
    let files = fs::read_dir(workshop.path("")).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    for bytes in files.chain([output.stdout, output.stderr]) {
        let said = String::from_utf8_lossy(&bytes);
        for form in &forms {
            let form = form.replace('\n', "\\n");
            assert!(!said.contains(&form), "{form}");
        }
        assert!(!said.contains("90c2Ab7") && !said.contains("LWNhbmFyeS1j"), "{said}");
    }
}

#[test]
fn counts_that_cannot_be_end_no_run() {
    let counts = ["9223372036854775808", "9223372036854775807", "-3", "1e300", "1e400", "\"many\"", "0.5", "null", "7"];
    let workshop = prompts(counts.len());
    let script = move |request: &Request| match request.method.as_str() {
        "GET" => vec![json("200 OK", &value!({"data": []}))],
        _ => {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let number = counts.iter().enumerate().find(|(n, _)| body.contains(&format!("What is {n} "))).unwrap();
            answer(vec![value!({"content": "a\0b \u{feff}"})], &format!("{{\"prompt_tokens\": {}}}", number.1))
        }
    };
    let teacher = ScriptedTeacher::start(script).unwrap();
    let output = trace(&workshop, &teacher, &[]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(!errors.contains("disk"), "{errors}");
    let status = workshop.json(&["trace", "status", "--store", "traces.db", "--json"]);
    assert_eq!(status["complete"], counts.len());
    assert_eq!((&status["tokens"]["prompt"], status.get("damage")), (&value!(7), None));
}

/// It fails after the maximum number of attempts, even if no other request is pending: the server responds.
#[test]
fn an_answer_that_is_none_does_not_hold_up_the_end() {
    let workshop = prompts(3);
    let script = |request: &Request| match String::from_utf8_lossy(&request.body).contains("What is 1 ") {
        true => answer(vec![value!({"content": "42"})], "{\"prompt_tokens\": }"),
        false => answer(vec![value!({"content": "42"})], "{}"),
    };
    let teacher = ScriptedTeacher::start(script).unwrap();
    let settings = ["--set", "trace.max_attempts=9", "--set", "trace.give_up_after=20"];
    let output = trace(&workshop, &teacher, &settings);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &summary["end"], &summary["run"]["done"]),
        (Some(75), &value!("incomplete"), &value!(2))
    );
}

#[test]
fn a_damaged_store_is_named_and_mended() {
    let workshop = prompts(6);
    let teacher = ScriptedTeacher::start(|request| match request.method.as_str() {
        "GET" => vec![json("200 OK", &value!({"data": []}))],
        _ => answer(vec![value!({"content": format!("answer number {}.", request.number)})], "{}"),
    });
    let teacher = teacher.unwrap();
    assert_eq!(trace(&workshop, &teacher, &["--concurrency", "1"]).status.code(), Some(0));
    let mut bytes = fs::read(workshop.path("traces.db")).unwrap();
    let at = bytes.windows(16).position(|window| window == b"answer number 3.").unwrap();
    bytes[at] ^= 1;
    fs::write(workshop.path("traces.db"), bytes).unwrap();

    let export = ["trace", "export", "--store", "traces.db", "--output", "traces.jsonl"];
    let (code, said) = run(&workshop, &export);
    assert!(code == Some(1) && said.contains("prompts.jsonl, line 3 (hash "), "{said}");
    assert!(said.contains("1 trace is not as it was written: sample 0 of the prompt of "), "{said}");
    assert!(said.contains("--replace-damaged") && said.contains("--skip-damaged"), "{said}");
    assert!(!workshop.path("traces.jsonl").exists());
    let (code, said) = run(&workshop, &["trace", "status", "--store", "traces.db"]);
    assert!(
        code == Some(1) && said.contains("6 complete") && said.contains("1 trace is not as it was written"),
        "{said}"
    );
    let (code, said) = run(&workshop, &[&export[..], &["--skip-damaged"]].concat());
    assert!(code == Some(0) && said.contains("5 rows in") && said.contains("left out: 1 trace"), "{said}");

    assert_eq!(trace(&workshop, &teacher, &["--replace-damaged"]).status.code(), Some(0));
    let (code, said) = run(&workshop, &[&export[..], &["--overwrite"]].concat());
    assert!(code == Some(0) && said.contains("6 rows in"), "{said}");
    let (code, said) = run(&workshop, &["trace", "status", "--store", "traces.db"]);
    assert!(code == Some(0) && !said.contains("written"), "{said}");
}
