//! `train.sample_prompts` and `train.report_to` through the binary: when samples are generated, what is recorded, that training is not
//! affected, and that a resumed run generates and records nothing twice.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::process::Output;

use common::{Workshop, train_args, write_student};
use serde_json::{Value, json};

const SETTINGS: &[&str] = &[
    "--json",
    "--dtype",
    "f32",
    "--learning-rate",
    "0.05",
    "--max-steps",
    "6",
    "--lora-r",
    "8",
    "--lora-dropout",
    "0.2",
    "--set",
    "data.test_size=0.2",
    "--set",
    "train.eval_strategy=steps",
    "--set",
    "train.eval_steps=2",
    "--set",
    "train.logging_steps=2",
    "--set",
    "train.save_strategy=steps",
    "--set",
    "train.save_steps=3",
];

const SAMPLES: &[&str] =
    &["--set", "train.sample_prompts=[\"1+1?\", \"2+1?\"]", "--set", "train.sample_max_new_tokens=7"];
const TENSORBOARD: &[&str] = &["--set", "train.report_to=tensorboard"];

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let rows: String = (0..20)
        .map(|i| {
            format!(
                "{}\n",
                json!({"prompt": format!("{i}+1?"), "reasoning": "one more", "response": format!("{}", i + 1)})
            )
        })
        .collect();
    workshop.write("rows.jsonl", &rows);
    workshop
}

fn train(workshop: &Workshop, run: &str, more: &[&[&str]]) -> Output {
    workshop.command(&train_args(run, &[SETTINGS, &more.concat()].concat())).output().unwrap()
}

/// The output of a run that must succeed.
fn events(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The records of a run without timings.
fn records(workshop: &Workshop, run: &str) -> Vec<Value> {
    let text = fs::read_to_string(workshop.path(run).join("metrics.jsonl")).unwrap();
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record.as_object_mut().unwrap().retain(|key, _| !key.ends_with("seconds"));
        record
    };
    text.lines().map(record).collect()
}

fn steps_of_samples(records: &[Value]) -> Vec<u64> {
    records
        .iter()
        .filter(|record| record["samples"].is_array())
        .map(|record| record["step"].as_u64().unwrap())
        .collect()
}

fn adapter(workshop: &Workshop, run: &str) -> Vec<u8> {
    fs::read(workshop.path(run).join("adapter/adapter_model.safetensors")).unwrap()
}

/// The steps of an event file's records, the version's first: each complete, by the lengths before them.
fn event_steps(workshop: &Workshop, run: &str) -> Vec<u64> {
    let bytes = fs::read(workshop.path(run).join("runs/events.out.tfevents.0000000000.aludel")).unwrap();
    let (mut rest, mut steps) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let event = &rest[12..12 + length];
        // wall_time is 9 bytes; then the step, below 128 here, as field 2, or the version, as field 3
        steps.push(if event[9] == 2 << 3 { u64::from(event[10]) } else { 0 });
        rest = &rest[16 + length..];
    }
    steps
}

#[test]
fn answers_are_given_at_the_start_and_at_each_evaluation_and_training_is_not_moved() {
    let workshop = workshop();
    events(&train(&workshop, "without", &[]));
    let output = train(&workshop, "asked", &[SAMPLES, TENSORBOARD]);
    let told = events(&output);
    assert_eq!(adapter(&workshop, "without"), adapter(&workshop, "asked"));
    let records = records(&workshop, "asked");
    assert_eq!(steps_of_samples(&records), [0, 2, 4, 6]);
    let without: Vec<Value> = self::records(&workshop, "without");
    let rest: Vec<Value> = records.iter().filter(|record| record["samples"].is_null()).cloned().collect();
    assert_eq!(without, rest);
    let samples = |step: usize| &records.iter().filter(|r| r["samples"].is_array()).nth(step).unwrap()["samples"];
    for at in 0..4 {
        let samples = samples(at).as_array().unwrap();
        assert_eq!(samples.iter().map(|sample| &sample["prompt"]).collect::<Vec<_>>(), ["1+1?", "2+1?"]);
        assert!(samples.iter().all(|sample| (1..=7).contains(&sample["tokens"].as_u64().unwrap())), "{samples:?}");
        let is_cut = |sample: &Value| sample["truncated"] == json!(sample["tokens"] == json!(7));
        assert!(samples.iter().all(is_cut), "{samples:?}");
    }
    assert_ne!(samples(0), samples(3), "what is learnt is not seen in the answers");
    // The answers are those of the adapter as `chat` has it.
    let chat = |question: &str, more: &[&str]| {
        let arguments =
            ["chat", "--model", "student", "--prompt", question, "--temperature", "0", "--max-new-tokens", "7"];
        workshop.json(&[&arguments[..], &["--dtype", "f32", "--json"], more].concat())
    };
    for (at, adapter) in [(0, &[][..]), (3, &["--adapter", "asked/adapter"][..])] {
        for (index, question) in ["1+1?", "2+1?"].into_iter().enumerate() {
            let answer = chat(question, adapter);
            let sample = &samples(at)[index];
            assert_eq!((&answer["content"], &answer["reasoning"]), (&sample["content"], &sample["reasoning"]));
            assert_eq!(answer["usage"]["completion_tokens"], sample["tokens"]);
        }
    }
    // The work that the run announced at its start was done, and the adapter was saved in addition to the checkpoints.
    let ahead = &told.iter().find(|event| event["event"] == "started").unwrap()["run"]["ahead"];
    let count = |name: &str| told.iter().filter(|event| event["event"] == name).count();
    assert_eq!(ahead["evaluations"], count("evaluation"));
    assert_eq!(ahead["samplings"], count("samples"));
    assert_eq!(ahead["saves"], count("saved") + 1);
    let tokens: u64 = records.iter().filter_map(|record| record["tokens"].as_u64()).sum();
    assert_eq!(ahead["tokens"], tokens, "three whole epochs");
    let told: Vec<&Value> = told.iter().filter(|event| event["event"] == "samples").collect();
    assert_eq!(told.iter().map(|event| &event["step"]).collect::<Vec<_>>(), [0, 2, 4, 6]);
    assert_eq!(&told[1]["samples"], samples(1));
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(log.matches("step 4: sample \"1+1?\": answer \"").count(), 1, "{log}");
    // version; step 0's evaluation and answers; then, at each second step, the loss, the evaluation and the answers
    assert_eq!(event_steps(&workshop, "asked"), [0, 0, 0, 2, 2, 2, 4, 4, 4, 6, 6, 6]);
}

#[test]
fn a_run_that_goes_on_asks_and_records_nothing_twice() {
    let workshop = workshop();
    events(&train(&workshop, "whole", &[SAMPLES, TENSORBOARD]));
    events(&train(&workshop, "killed", &[SAMPLES, TENSORBOARD]));
    let events_of = |run: &str| workshop.path(run).join("runs/events.out.tfevents.0000000000.aludel");
    let (records_before, events_before) = (records(&workshop, "whole"), event_steps(&workshop, "whole"));
    let killed = workshop.path("killed");
    let metrics = fs::read_to_string(killed.join("metrics.jsonl")).unwrap();
    let event_bytes = fs::read(events_of("killed")).unwrap();
    for folder in ["adapter", "checkpoint-6"] {
        fs::remove_dir_all(killed.join(folder)).unwrap();
    }
    // as a kill leaves it while answers at step 4 are being recorded, with step 3 saved
    let cut = metrics.rfind("\"step\":6").unwrap();
    fs::write(killed.join("metrics.jsonl"), &metrics[..cut]).unwrap();
    fs::write(events_of("killed"), &event_bytes[..event_bytes.len() - 9]).unwrap();
    let told = events(&train(&workshop, "killed", &[SAMPLES, TENSORBOARD, &["--resume"]]));
    let asked: Vec<&Value> = told.iter().filter(|event| event["event"] == "samples").map(|e| &e["step"]).collect();
    assert_eq!(asked, [4, 6]);
    assert_eq!(records(&workshop, "killed"), records_before);
    assert_eq!(event_steps(&workshop, "killed"), events_before);
    assert_eq!(adapter(&workshop, "whole"), adapter(&workshop, "killed"));
    // Resumed when it is complete: nothing is generated, and nothing is added.
    let told = events(&train(&workshop, "killed", &[SAMPLES, TENSORBOARD, &["--resume"]]));
    assert!(told.iter().all(|event| event["event"] != "samples"), "{told:?}");
    assert_eq!(records(&workshop, "killed"), records_before);
    assert_eq!(event_steps(&workshop, "killed"), events_before);
}

#[test]
fn what_cannot_be_asked_or_told_is_refused_before_anything_is_written() {
    let workshop = workshop();
    let long = format!("train.sample_prompts=[\"1+1?\", \"{}\"]", "word ".repeat(120));
    fs::create_dir(workshop.path("logs")).unwrap();
    workshop.write("logs/events.out.tfevents.0000000000.aludel", "of another run");
    for (settings, said) in [
        (&["--set", &long][..], "train.sample_prompts\nbecause: question 2 has "),
        (&["--set", "train.sample_prompts=[\" \"]"], "an empty question has no answer"),
        (&["--set", "train.sample_max_new_tokens=0"], "train.sample_max_new_tokens"),
        (&["--set", "train.report_to=wandb"], "write \"tensorboard\", whose event files other tools read too"),
        (&["--set", "train.report_to=somewhere"], "train.report_to"),
        (
            &["--set", "train.report_to=tensorboard", "--set", "train.logging_dir=logs"],
            "another run has written its events there",
        ),
    ] {
        let output = train(&workshop, "refused", &[settings]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(said), "{said}: {errors}");
        assert!(!workshop.path("refused/run.json").exists());
    }
    // As other tools write it.
    for none in ["[]", "[\"none\"]", "none"] {
        let run = format!("run{}", none.len());
        events(&train(&workshop, &run, &[&["--set", &format!("train.report_to={none}")]]));
        assert!(!workshop.path(&run).join("runs").exists());
    }
}

/// Rows reason, and the student does not: training says so once at its end, evaluation of the adapter and of the merged model after theirs.
#[test]
fn a_student_that_has_not_learnt_to_reason_is_told() {
    let workshop = workshop();
    workshop.write("sums.jsonl", "{\"question\": \"1+1?\", \"answer\": 2}\n{\"question\": \"2+2?\", \"answer\": 4}\n");
    let told = "reasoning, and 100% of the rows that were trained on have: the student has not learnt to reason";
    let trained = train(&workshop, "run", &[SAMPLES]);
    let said = String::from_utf8_lossy(&trained.stderr).into_owned();
    assert_eq!(said.matches(&format!("WARN sample answers: none of 2 answers has {told}")).count(), 1, "{said}");
    let facts: Value =
        serde_json::from_slice(&fs::read(workshop.path("run/adapter/aludel_training.json")).unwrap()).unwrap();
    assert_eq!(facts, json!({"quantize": "none", "rows": 20, "rows_with_reasoning": 20}));
    let eval = |model: &[&str], folder: &str| {
        let usual = ["--tasks", "sums.jsonl", "--max-new-tokens", "9", "--temperature", "0", "--output-dir", folder];
        workshop.run(&[&["eval"], model, &usual].concat())
    };
    let adapted = eval(&["--model", "student", "--adapter", "run"], "adapted");
    assert_eq!(adapted.matches(&format!("WARN none of 2 answers has {told}")).count(), 1, "{adapted}");
    let merged = workshop.run(&["merge", "--adapter", "run", "--output-dir", "merged"]);
    assert!(merged.contains("exit code: 0"), "{merged}");
    let merged = eval(&["--model", "merged"], "of-merged");
    assert_eq!(merged.matches(&format!("WARN none of 2 answers has {told}")).count(), 1, "{merged}");
    assert!(!eval(&["--model", "student"], "before").contains("reasoning, and"));
    // Where only answers are learnt, nobody waits for reasoning.
    let answers = train(&workshop, "answers", &[SAMPLES, &["--set", "data.loss_on=answer"]]);
    assert!(answers.status.success() && !String::from_utf8_lossy(&answers.stderr).contains("learnt to reason"));
}

/// An adapter knows on which weights it was trained, and each command that takes it on others says so.
#[test]
fn an_adapter_on_weights_that_are_held_otherwise_is_told() {
    let workshop = workshop();
    // Rows of its weights are whole blocks.
    fs::remove_dir_all(workshop.path("student")).unwrap();
    write_student(&workshop.path("student"), 64);
    workshop.write("sums.jsonl", "{\"question\": \"1+1?\", \"answer\": 2}\n");
    let trained = train(&workshop, "run", &[&["--quantize", "int8"]]);
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let adapted = ["--model", "student", "--adapter", "run"];
    let chat = |more: &[&str]| {
        workshop.run(&[&["chat"][..], &adapted, &["--prompt", "1+1?", "--max-new-tokens", "2"], more].concat())
    };
    let eval = |folder: &str, more: &[&str]| {
        let usual = ["--tasks", "sums.jsonl", "--max-new-tokens", "2", "--output-dir", folder];
        workshop.run(&[&["eval"][..], &adapted, &usual, more].concat())
    };
    let loss = |more: &[&str]| {
        workshop.run(
            &[
                &["eval", "--loss", "--data", "rows.jsonl"][..],
                &["--model", "student", "--adapter", "run/adapter"],
                more,
            ]
            .concat(),
        )
    };
    let told = |used: &str| {
        format!("the adapter was trained on weights with --quantize int8, and these are with --quantize {used}")
    };
    for said in [chat(&[]), eval("a", &[]), loss(&[]), chat(&["--quantize", "none"])] {
        assert!(said.contains("exit code: 0") && said.contains(&told("none")), "{said}");
        assert_eq!(said.matches("--quantize int8 uses the adapter as it was trained").count(), 1, "{said}");
    }
    assert!(chat(&["--quantize", "nf4"]).contains(&told("nf4")));
    for said in [chat(&["--quantize", "int8"]), eval("b", &["--quantize", "int8"]), loss(&["--quantize", "int8"])] {
        assert!(said.contains("exit code: 0") && !said.contains("the adapter was trained on weights"), "{said}");
    }
    let merged = workshop.run(&["merge", "--adapter", "run", "--output-dir", "merged"]);
    assert!(merged.contains("exit code: 0") && merged.contains("is merged into those of the file"), "{merged}");
    let inspected = workshop.run(&["inspect", "--student", "student", "--data", "rows.jsonl", "--quantize", "4bit"]);
    assert!(inspected.contains("write \"nf4\"") && inspected.contains("(--quantize)"), "{inspected}");
}
