//! Ctrl-C and SIGTERM in commands that cannot be resumed: they end at once, say so, and leave no incomplete output.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::{Workshop, train_args, write_student};
use serde_json::json;

fn start(workshop: &Workshop, arguments: &[&str]) -> Child {
    workshop.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signalled(child: Child, signal: &str) -> Output {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    child.wait_with_output().unwrap()
}

fn names(workshop: &Workshop) -> Vec<String> {
    let entries = fs::read_dir(workshop.path("")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A slow verifier command.
const SLOW: &str = r#"curate.verifier={kind="command", argv=["sh", "-c", "touch began; sleep 5; cat"]}"#;

#[test]
fn a_curation_that_is_interrupted_leaves_nothing_and_the_older_one_as_it_was() {
    let workshop = Workshop::new();
    let row = |number: u32| json!({"prompt": format!("{number}?"), "response": number.to_string(), "gold": "1"});
    workshop.write("traces.jsonl", &(0..4).map(|number| format!("{}\n", row(number))).collect::<String>());
    let curate = ["curate", "--input", "traces.jsonl", "--output-dir", "out", "--set", "curate.test_size=0"];
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let before = names(&workshop);
        let child = start(&workshop, &[&curate[..], &["--set", SLOW]].concat());
        while !workshop.path("began").exists() {
            sleep(Duration::from_millis(5));
        }
        let output = signalled(child, signal);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(
            said.contains(
                "interrupted: no incomplete output is left; start again with: aludel curate --input traces.jsonl"
            ),
            "{said}"
        );
        fs::remove_file(workshop.path("began")).unwrap();
        assert_eq!(names(&workshop), before);
        // The next signal comes while a finished curation exists.
        assert!(workshop.run(&[&curate[..], &["--set", "curate.verify=off"]].concat()).contains("exit code: 0"));
    }
    assert_eq!(fs::read_to_string(workshop.path("out/train.jsonl")).unwrap().lines().count(), 4);
}

/// Whether the signal comes before or after the merged model is moved into place: it is complete or absent.
#[test]
fn a_merge_that_is_interrupted_leaves_all_of_its_folder_or_nothing() {
    let workshop = Workshop::new();
    write_student(&workshop.path("student"), 512);
    workshop.write("rows.jsonl", "{\"prompt\": \"a\", \"response\": \"b\"}\n");
    let train = ["train", "--student", "student", "--data", "rows.jsonl", "--output-dir", "run", "--dtype", "f32"];
    let settings = ["data.test_size=0", "train.save_strategy=no", "train.eval_strategy=no", "train.warmup_ratio=0"];
    let more = [&["--max-steps", "1"], &settings.map(|setting| ["--set", setting]).concat()[..]].concat();
    let said = workshop.run(&[&train[..], &more].concat());
    assert!(said.contains("exit code: 0"), "{said}");
    let before = names(&workshop);
    let is_begun = || names(&workshop).iter().any(|name| name.starts_with(".aludel-tmp-") || name == "merged");
    let mut child = start(&workshop, &["merge", "--adapter", "run/adapter", "--output-dir", "merged"]);
    while !is_begun() && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_micros(100));
    }
    let output = signalled(child, "-INT");
    let said = String::from_utf8_lossy(&output.stderr);
    match workshop.path("merged").exists() {
        true => assert!(workshop.path("merged/model.safetensors").is_file(), "{said}"),
        false => {
            assert_eq!(output.status.code(), Some(130), "{said}");
            assert_eq!(names(&workshop), before);
        }
    }
    assert!(!names(&workshop).iter().any(|name| name.starts_with(".aludel")), "{:?}", names(&workshop));
}

/// Waits until the command shows its progress: from then on signals are heard.
#[cfg(target_os = "linux")]
fn until_it_shows_progress(child: &mut Child) {
    let threads = format!("/proc/{}/task", child.id());
    let is_shown = || {
        let tasks = fs::read_dir(&threads).into_iter().flatten().flatten();
        tasks
            .map(|task| fs::read_to_string(task.path().join("comm")))
            .any(|name| name.is_ok_and(|name| name == "progress\n"))
    };
    while !is_shown() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        sleep(Duration::from_millis(1));
    }
}

/// A loss is of no use before its end: the command that computes it is ended, and can be typed again.
#[cfg(target_os = "linux")]
#[test]
fn a_loss_that_is_interrupted_ends_at_once_with_the_command_to_type() {
    let workshop = Workshop::with_student();
    let row = |number: u32| json!({"prompt": format!("{number}?"), "response": "one more ".repeat(40)});
    workshop.write("rows.jsonl", &(0..20_000).map(|number| format!("{}\n", row(number))).collect::<String>());
    for more in [&["--loss"][..], &["--kl-to", "student"]] {
        let arguments = [&["eval", "--model", "student", "--data", "rows.jsonl"], more].concat();
        let mut child = start(&workshop, &arguments);
        until_it_shows_progress(&mut child);
        let output = signalled(child, "-INT");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{said}");
        let typed =
            format!("interrupted: no incomplete output is left; start again with: aludel {}", arguments.join(" "));
        assert!(said.contains(&typed), "{said}");
    }
}

#[test]
fn an_evaluation_that_is_stopped_says_what_it_kept_and_what_goes_on() {
    let workshop = Workshop::with_student();
    let task = |number: u32| json!({"question": format!("{number}+1?"), "answer": (number + 1).to_string()});
    workshop.write("tasks.jsonl", &(0..400).map(|number| format!("{}\n", task(number))).collect::<String>());
    let arguments =
        ["eval", "--model", "student", "--tasks", "tasks.jsonl", "--output-dir", "out", "--max-new-tokens", "64"];
    let child = start(&workshop, &arguments);
    let kept = || fs::read_to_string(workshop.path("out/samples.jsonl")).unwrap_or_default().lines().count();
    while kept() == 0 {
        sleep(Duration::from_millis(1));
    }
    let output = signalled(child, "-INT");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{said}");
    for part in [
        "stopping as soon as what is being computed ends; a second signal ends at once".to_owned(),
        format!("stopped: {} of 400 answers are kept in out", kept()),
        format!("continue with: aludel {}", arguments.join(" ")),
    ] {
        assert!(said.contains(&part), "lacks {part:?}:\n{said}");
    }
    let results = workshop.json(&[&arguments[..], &["--json"]].concat());
    assert_eq!(results["tasks"][0]["n"], 400);
}

/// Before the first shard there is nothing to keep, and afterwards the same command goes on: either is said.
#[cfg(target_os = "linux")]
#[test]
fn a_cache_that_is_stopped_says_what_it_kept_and_what_goes_on() {
    let workshop = Workshop::with_student();
    let row = |number: u32| json!({"prompt": format!("{number}?"), "response": "one more ".repeat(40)});
    workshop.write("rows.jsonl", &(0..20_000).map(|number| format!("{}\n", row(number))).collect::<String>());
    let arguments = [
        "cache",
        "--teacher",
        "student",
        "--student",
        "student",
        "--data",
        "rows.jsonl",
        "--output-dir",
        "cache",
        "--set",
        "distill.pair_check=warn",
    ];
    let mut child = start(&workshop, &arguments);
    until_it_shows_progress(&mut child);
    let output = signalled(child, "-TERM");
    let said = String::from_utf8_lossy(&output.stderr);
    let typed = arguments.join(" ");
    let told = match output.status.code() {
        Some(75) => format!("continue with: aludel {typed}"),
        // It was not listening yet, or had nothing to keep.
        Some(130 | 143) => format!("start again with: aludel {typed}"),
        code => panic!("{code:?}: {said}"),
    };
    assert!(said.contains(&told), "lacks {told:?}:\n{said}");
}

/// Ctrl-C ends all of a pipe: nobody reads any more while the command still ends what it does.
#[test]
fn a_command_whose_readers_are_gone_goes_on_and_stops_as_it_should() {
    let workshop = Workshop::with_student();
    let row = |number: u32| json!({"prompt": format!("{number}?"), "response": number.to_string()});
    workshop.write("rows.jsonl", &(0..40).map(|number| format!("{}\n", row(number))).collect::<String>());
    let mut child = start(&workshop, &["curate", "--input", "rows.jsonl", "--output-dir", "curated"]);
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(workshop.path("curated/train.jsonl").is_file());

    let epochs = ["--set", "train.num_train_epochs=100000", "--dtype", "f32"];
    let mut child = start(&workshop, &train_args("run", &epochs));
    drop((child.stdout.take(), child.stderr.take()));
    while !workshop.path("run/metrics.jsonl").exists() {
        sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(75), "it is stopped, and can be resumed");
}
