//! Files that are no tokenizers, or mean harm: bombs by hand and real shapes with something changed, each loaded and used in a process of
//! its own. Nothing may panic, abort, hang or take much memory. The bounds are wide, for unoptimised builds on busy machines; what
//! was measured stands in docs/LOG.md.

mod bombs;
mod changes;
mod files;

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use aludel_text::Tokenizer;
use bombs::bombs;
use changes::mutated;
use files::bases;

const TASK: &str = "ALUDEL_TEST_TOKENIZER";
const LONGEST: Duration = Duration::from_secs(2);
const MOST_KILOBYTES: u64 = 768 << 10;
const MUTATIONS: u64 = 340;

/// Loads a file and does with it what training and chat do; the outcome of loading.
fn used(bytes: &[u8]) -> String {
    let mut tokenizer = match Tokenizer::from_json(bytes, "file") {
        Ok(tokenizer) => tokenizer,
        Err(error) => return error.to_string(),
    };
    let texts = [
        String::new(),
        " ".to_owned(),
        "Hello world, hello!".to_owned(),
        "ﬁ ™ ½ ﷺ é e\u{301} 中文 🙂\r\n\t12'34 <x> <|im_end|> [UNK] <think>a</think> ▁▁ ##ld".to_owned(),
        "a".repeat(6_000),
        "q".repeat(3_000),
        " ".repeat(2_000),
        "ab ".repeat(1_000),
        "[UNK]<unk><x> ".repeat(200),
        "xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab ".repeat(100),
    ];
    let mut outcome = "loaded".to_owned();
    for text in &texts {
        let _ = tokenizer.spells_control(text);
        let _ = tokenizer.encode_plain(text);
        let ids = match tokenizer.encode(text) {
            Ok(ids) => ids,
            Err(error) => {
                outcome = format!("loaded, then {error}");
                continue;
            }
        };
        if let Err(error) = tokenizer.decode(&ids, true) {
            outcome = format!("loaded, then {error}");
        }
        let mut stream = tokenizer.stream(false);
        for id in ids.iter().take(60) {
            stream.push(*id);
        }
        stream.finish();
    }
    let _ = tokenizer.decode(&[0, 1, 2, 999_999, u32::MAX], false);
    let _ = tokenizer.add_tokens(&["<think>".to_owned()]);
    let _ = tokenizer.mean_source_ids("<think>");
    let _ = tokenizer.fingerprint();
    outcome
}

/// How long this thread has worked: what others do on the machine is left out, where the system tells.
fn worked() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split_whitespace().next()?.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn peak_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Runs a task (files, each with its length before it) in a process of its own; the lines that it says of them.
fn run_apart(files: &[Vec<u8>]) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hostile_tokenizers::one_process", "--nocapture", "--ignored"])
        .env(TASK, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let sent: Vec<u8> = files
        .iter()
        .flat_map(|file| (file.len() as u64).to_le_bytes().into_iter().chain(file.iter().copied()))
        .collect();
    let writer = std::thread::spawn(move || {
        let _ = input.write_all(&sent);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<String> =
        text.lines().filter_map(|line| line.split_once("FILE ").map(|(_, line)| line.to_owned())).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || errors.contains("panicked") {
        lines.push(format!(
            "FAULT after {} files: {}, {}",
            lines.len(),
            output.status,
            errors.chars().take(600).collect::<String>()
        ));
    }
    lines
}

#[test]
#[ignore = "the process that files are given; started by the others"]
fn one_process() {
    if std::env::var_os(TASK).is_none() {
        return;
    }
    let mut input = std::io::stdin();
    let mut length = [0; 8];
    while input.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; u64::from_le_bytes(length) as usize];
        input.read_exact(&mut bytes).unwrap();
        let (before, start) = (peak_kilobytes(), worked());
        let outcome: String = used(&bytes).chars().take(260).collect::<String>().replace('\n', " ");
        let (time, kilobytes) = (worked().saturating_sub(start), peak_kilobytes().saturating_sub(before));
        let fault = if time > LONGEST || kilobytes > MOST_KILOBYTES { "FAULT " } else { "" };
        println!("FILE {fault}{time:.1?}, {kilobytes} kB, {outcome}");
    }
}

fn check(lines: &[String], count: usize) {
    if std::env::var_os("ALUDEL_TEST_SHOW").is_some() {
        lines.iter().for_each(|line| println!("{line}"));
    }
    let faults: Vec<&String> = lines.iter().filter(|line| line.contains("FAULT")).collect();
    assert!(faults.is_empty(), "{} of {}: {faults:#?}", faults.len(), lines.len());
    assert_eq!(lines.len(), count);
}

#[test]
fn every_bomb_is_refused_or_harmless() {
    let bombs = bombs();
    assert!(bombs.len() >= 150, "{}", bombs.len());
    let mut lines = Vec::new();
    for bomb in &bombs {
        lines.extend(run_apart(&[bomb.to_string().into_bytes()]));
    }
    check(&lines, bombs.len());
    let refused = lines.iter().filter(|line| line.contains("not a usable tokenizer")).count();
    assert!(refused * 2 > bombs.len(), "{refused} of {}", bombs.len());
}

#[test]
fn changed_files_are_refused_or_used() {
    for (number, base) in bases().iter().enumerate() {
        assert_eq!(used(base.to_string().as_bytes()), "loaded", "base {number}");
        let files: Vec<Vec<u8>> = (0..MUTATIONS).map(|seed| mutated(base, seed + number as u64 * MUTATIONS)).collect();
        let lines = run_apart(&files);
        check(&lines, files.len());
        let loaded = lines.iter().filter(|line| line.contains("loaded")).count();
        assert!(loaded > 20 && loaded + 20 < lines.len(), "{loaded} of {} loaded", lines.len());
    }
}
