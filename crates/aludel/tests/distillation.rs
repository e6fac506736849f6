//! Learning a teacher's distributions through the binary: with the teacher in memory and from its cache, which survives kills and shows
//! damage; and how far a model is from a teacher.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Workshop, train_args};
use serde_json::Value;

const ROWS: usize = 24;

/// Too small to have learnt much, which the check of a teacher sees.
const TEACHER: [&str; 6] =
    ["--teacher", "teacher", "--set", "distill.teacher_dtype=f32", "--set", "distill.pair_check=warn"];

fn cache_args<'a>(folder: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let rows = ["cache", "--student", "student", "--data", "rows.jsonl", "--output-dir", folder];
    [&rows, &TEACHER[..], more].concat()
}

fn train(workshop: &Workshop, folder: &str, more: &[&str]) -> Value {
    let own = [
        "--dtype",
        "f32",
        "--learning-rate",
        "0.02",
        "--set",
        "distill.kind=logits",
        "--set",
        "distill.pair_check=warn",
        "--json",
    ];
    summary(workshop, &train_args(folder, &[&own, more].concat()))
}

/// The last line of a training run that must succeed.
fn summary(workshop: &Workshop, arguments: &[&str]) -> Value {
    let output = workshop.command(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(String::from_utf8(output.stdout).unwrap().lines().last().unwrap()).unwrap()
}

fn kl(workshop: &Workshop, more: &[&str]) -> f64 {
    let own = [
        "eval",
        "--kl-to",
        "teacher",
        "--set",
        "distill.teacher_dtype=f32",
        "--set",
        "student.dtype=f32",
        "--set",
        "distill.pair_check=warn",
    ];
    let rows = ["--model", "student", "--data", "rows.jsonl", "--json"];
    let told = workshop.json(&[&own[..], &rows, more].concat());
    assert!(told["ci95"][0].as_f64().unwrap() <= told["kl_per_token"].as_f64().unwrap());
    told["kl_per_token"].as_f64().unwrap()
}

fn eval_loss(summary: &Value) -> f64 {
    summary["eval_loss"].as_f64().unwrap()
}

fn shards(workshop: &Workshop, folder: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(workshop.path(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut shards: Vec<PathBuf> = files
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shard-")))
        .collect();
    shards.sort();
    shards
}

#[test]
fn a_student_learns_from_its_teacher_and_from_a_cache_of_it() {
    let workshop = Workshop::with_teacher();
    let online =
        train(&workshop, "online", &["--set", "distill.teacher=teacher", "--set", "distill.teacher_dtype=f32"]);
    let before = kl(&workshop, &[]);
    let after = kl(&workshop, &["--adapter", "online/adapter"]);
    assert!(after < 0.8 * before, "{before} to {after}");
    assert!(kl(&workshop, &["--adapter", "taught/adapter"]) < 1e-6, "the teacher is the student with that adapter");

    // All likely tokens: the same run.
    let told = workshop.json(&cache_args("whole", &["--top-k", "256", "--json"]));
    assert_eq!((told["rows"].as_u64(), told["finished"].as_bool()), (Some(ROWS as u64), Some(true)));
    assert!(told["stored_kl"].as_f64().unwrap() < 1e-4, "{told}");
    let cached = train(&workshop, "cached", &["--set", "distill.cache=whole"]);
    assert!((eval_loss(&cached) / eval_loss(&online) - 1.0).abs() < 5e-3, "{cached} {online}");

    let told = workshop.json(&cache_args("draws", &["--sample", "12", "--json"]));
    assert!(told["bytes_per_token"].as_u64().unwrap() <= 40);
    train(&workshop, "drawn", &["--set", "distill.cache=draws"]);
    assert!(kl(&workshop, &["--adapter", "drawn/adapter"]) < 0.8 * before);

    // Terms stand in the record, and a run goes on with its teacher alone.
    let both = ["--set", "distill.kind=[\"ce\", \"logits\"]", "--set", "distill.cache=whole"];
    let own = ["--dtype", "f32", "--set", "distill.pair_check=warn", "--json"];
    summary(&workshop, &train_args("both", &[&own[..], &both].concat()));
    let metrics = fs::read_to_string(workshop.path("both/metrics.jsonl")).unwrap();
    let step: Value = metrics
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|line: &Value| line["loss"].is_f64())
        .unwrap();
    let term = |name: &str| step["terms"][name].as_f64().unwrap();
    assert!((term("ce") + term("logits") - step["loss"].as_f64().unwrap()).abs() < 1e-6, "{step}");
    let other = train_args("both", &[&own[..], &["--resume"], &["--set", "distill.cache=draws"], &both[..2]].concat());
    let refused = workshop.run(&other);
    assert!(refused.contains("exit code: 1") && refused.contains("distill.cache"), "{refused}");
}

#[test]
fn a_cache_that_is_killed_goes_on_and_damage_is_named() {
    let workshop = Workshop::with_teacher();
    let long: String = (0..600)
        .map(|i| format!("{}\n", serde_json::json!({"prompt": format!("{i}?"), "response": format!("{i:060}")})))
        .collect();
    workshop.write("rows.jsonl", &long);
    let whole = workshop.json(&cache_args("whole", &["--top-k", "8", "--json"]));
    let count = whole["shards"].as_u64().unwrap() as usize;
    assert!(count >= 4, "{whole}");
    // Killed once it has finished a shard, again and again: what is there is not computed again.
    for kept in 1..count {
        let mut child = workshop
            .command(&cache_args("killed", &["--top-k", "8"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while (!workshop.path("killed").exists() || shards(&workshop, "killed").len() < kept)
            && begun.elapsed() < Duration::from_secs(60)
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let there = shards(&workshop, "killed").len();
    let told = workshop.json(&cache_args("killed", &["--top-k", "8", "--json"]));
    assert_eq!(told["shards_found"].as_u64(), Some(there as u64), "{told}");
    for (one, other) in shards(&workshop, "whole").iter().zip(shards(&workshop, "killed")) {
        assert_eq!(fs::read(one).unwrap(), fs::read(&other).unwrap(), "{}", other.display());
    }
    // The same teacher by another path goes on, too.
    fs::remove_file(&shards(&workshop, "killed")[2]).unwrap();
    let mut elsewhere = cache_args("killed", &["--top-k", "8", "--json"]);
    *elsewhere.iter_mut().find(|word| **word == "teacher").unwrap() = "student/../teacher";
    assert_eq!(workshop.json(&elsewhere)["shards_found"].as_u64(), Some(count as u64 - 1));
    // Nothing is left to do.
    let again = workshop.json(&cache_args("killed", &["--top-k", "8", "--json"]));
    assert_eq!(again["shards_found"].as_u64(), Some(count as u64));

    let damaged = &shards(&workshop, "killed")[1];
    let mut bytes = fs::read(damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(damaged, bytes).unwrap();
    let name = damaged.file_name().unwrap().to_str().unwrap();
    let from = ["--dtype", "f32", "--set", "distill.kind=logits", "--set", "distill.cache=killed"];
    for refused in [workshop.run(&cache_args("killed", &["--top-k", "8"])), workshop.run(&train_args("run", &from))] {
        assert!(
            refused.contains("exit code: 1") && refused.contains(name) && refused.contains("its hash"),
            "{refused}"
        );
    }
    fs::remove_file(damaged).unwrap();
    let unfinished = workshop.run(&train_args("run", &from));
    assert!(unfinished.contains("it is not finished"), "{unfinished}");
    workshop.json(&cache_args("killed", &["--top-k", "8", "--json"]));
    assert_eq!(fs::read(damaged).unwrap(), fs::read(&shards(&workshop, "whole")[1]).unwrap());
}

#[test]
fn what_does_not_fit_is_refused() {
    let workshop = Workshop::with_teacher();
    workshop.json(&cache_args("cache", &["--top-k", "8", "--json"]));
    workshop.json(&cache_args("draws", &["--sample", "4", "--json"]));
    let refused = |arguments: &[&str], words: &[&str]| {
        let told = workshop.run(arguments);
        assert!(!told.contains("exit code: 0"), "{told}");
        let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().for_each(|words| assert!(flat.contains(words), "{words}: {told}"));
    };
    let from = |more: &[&'static str]| {
        let own = ["--dtype", "f32", "--set", "distill.kind=logits"];
        train_args("run", &[&own[..], more].concat()).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let train = |more: &[&'static str], words: &[&str]| {
        let arguments = from(more);
        refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), words);
    };
    train(&[], &["no teacher is named", "distill.teacher=PATH", "distill.cache=DIR"]);
    train(
        &["--set", "distill.cache=cache", "--set", "distill.temperature=2"],
        &["temperature 1", "distill.temperature = 2"],
    );
    train(
        &["--set", "distill.cache=draws", "--set", "distill.divergence=jsd"],
        &["draws from the teacher", "forward_kl"],
    );
    train(&["--set", "distill.cache=draws", "--set", "distill.cache_target=top_k"], &["does not hold", "top_k"]);
    train(&["--set", "distill.cache=nowhere"], &["no teacher cache", "aludel cache"]);
    train(&["--set", "distill.cache=cache", "--set", "distill.teacher=teacher"], &["distill.cache", "one of both"]);
    train(&["--set", "distill.cache=cache", "--set", "distill.weights.logits=0"], &["distill.weights", "above 0"]);
    refused(&cache_args("cache", &["--top-k", "9"]), &["another --top-k"]);
    refused(&cache_args("none", &["--top-k", "0"]), &["nothing would be stored"]);
    refused(&cache_args("wide", &["--top-k", "256", "--set", "distill.teacher_context_column=x"]), &["no column `x`"]);
    refused(&cache_args("wide", &["--top-k", "1000"]), &["--top-k"]);
    refused(&cache_args("shouted", &["--top-k", "8", "--set", "train.max_length=1"]), &["exit code"]);
    for folder in ["wide", "shouted"] {
        assert!(!workshop.path(folder).join("rows").exists(), "{folder} keeps the rows of a refused cache");
    }
    refused(&["eval", "--kl-to", "teacher", "--model", "student"], &["--data"]);
    refused(&cache_args("taught", &["--top-k", "8"]), &["training run", "--output-dir"]);
    // Other rows than those of the cache.
    workshop.write(
        "rows.jsonl",
        "{\"prompt\": \"2+2?\", \"response\": \"4\"}\n{\"prompt\": \"3+3?\", \"response\": \"6\"}\n",
    );
    train(
        &["--set", "distill.cache=cache", "--set", "data.test_size=0", "--set", "train.eval_strategy=no"],
        &["2 of 2 rows of this run are not in it"],
    );
    refused(&cache_args("cache", &["--top-k", "8"]), &["other rows"]);
}

#[test]
fn a_teacher_sees_more_than_its_student() {
    let workshop = Workshop::with_teacher();
    let row = |i: usize| {
        let (prompt, hint) = (format!("{i}+1?"), format!("It is {}.", i + 1));
        serde_json::json!({"prompt": prompt, "response": format!("It is {}.", i + 1), "clue": hint})
    };
    let rows: String = (0..ROWS).map(|i| format!("{}\n", row(i))).collect();
    workshop.write("rows.jsonl", &rows);
    let online = ["--set", "distill.teacher=teacher", "--set", "distill.teacher_dtype=f32"];
    let context = ["--set", "distill.teacher_system=Add one.", "--set", "distill.teacher_context_column=clue"];
    let plain = train(&workshop, "plain", &online);

    // An empty system prompt is none: the same run.
    let empty = train(&workshop, "empty", &[&online[..], &["--set", "distill.teacher_system=\" \""]].concat());
    assert_eq!(eval_loss(&empty), eval_loss(&plain));
    let adapter = |run: &str| fs::read(workshop.path(run).join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(adapter("empty"), adapter("plain"));

    // With a context it is another run, and a cache of the same teacher with the same context is the same run.
    let seen = train(&workshop, "seen", &[&online[..], &context].concat());
    assert!((eval_loss(&seen) / eval_loss(&plain) - 1.0).abs() > 1e-2, "{seen} {plain}");
    let told = workshop.json(&cache_args("whole", &[&["--top-k", "256", "--json"], &context[..]].concat()));
    assert!(told["stored_kl"].as_f64().unwrap() < 1e-4, "{told}");
    let cached = train(&workshop, "cached", &[&["--set", "distill.cache=whole"], &context[..]].concat());
    assert!((eval_loss(&cached) / eval_loss(&seen) - 1.0).abs() < 5e-3, "{cached} {seen}");

    // A student that learns what it says itself with the context in sight.
    let own = ["--set", "distill.teacher=student", "--set", "distill.teacher_dtype=f32"];
    let folded = train(&workshop, "folded", &[&own[..], &context, &["--set", "train.num_train_epochs=4"]].concat());
    let kl_of = |more: &[&str]| {
        let args = ["eval", "--kl-to", "student", "--model", "student", "--data", "rows.jsonl", "--json"];
        let precise =
            ["--set", "distill.teacher_dtype=f32", "--set", "student.dtype=f32", "--set", "distill.pair_check=warn"];
        workshop.json(&[&args[..], &precise, &context, more].concat())["kl_per_token"].as_f64().unwrap()
    };
    let (before, after) = (kl_of(&[]), kl_of(&["--adapter", "folded/adapter"]));
    assert!(after < 0.8 * before, "{before} to {after}: {folded}");

    let refused = |more: &[&str], words: &[&str]| {
        let own = ["--dtype", "f32", "--set", "distill.kind=logits", "--set", "distill.pair_check=warn"];
        let told = workshop.run(&train_args("refused", &[&own[..], more].concat()));
        assert!(!told.contains("exit code: 0"), "{told}");
        let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().for_each(|words| assert!(flat.contains(words), "{words}: {told}"));
    };
    refused(&["--set", "distill.cache=whole"], &["a system prompt", "the column `clue`", "this run's teacher nothing"]);
    refused(
        &["--set", "distill.cache=whole", context[0], "distill.teacher_system=Add two.", context[2], context[3]],
        &["distill.teacher_system", "when the cache was written"],
    );
    refused(
        &[&online[..], &["--set", "distill.teacher_context_column=clu"]].concat(),
        &["no column `clu`", "distill.teacher_context_column"],
    );
    refused(
        &[&online[..], &context, &["--set", "data.loss_on=all"]].concat(),
        &["data.loss_on", "its prompt is learnt"],
    );
    refused(
        &[&online[..], &["--set", "distill.teacher_context_column=\" \""]].concat(),
        &["distill.teacher_context_column", "names no column"],
    );
    // A template that writes answers otherwise where there is a system prompt.
    let shouting = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + \
                    (message['content'] | trim if messages[0]['role'] == 'system' else message['content'] | trim + ' ') + \
                    '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
    workshop.write("student/chat_template.jinja", shouting);
    workshop.write("teacher/chat_template.jinja", shouting);
    refused(
        &[&online[..], &["--set", "distill.teacher_system=Add one."]].concat(),
        &["renders the answer differently for the teacher", "<|im_end|>"],
    );
}
