//! Each target on its seeds and on fixed mutations of them: no panic, no hang, no memory beyond its bound. The fuzzers in `fuzz/`
//! look further; what they find becomes a seed or a test beside the code that was wrong. One test runs all targets, since the memory of
//! another beside it would be counted, too.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests, and the last words of one that hangs

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aludel_fuzz::{Outcome, Scratch, TARGETS, Target, mutated, read};
use aludel_kernels::check::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// What the thread may work for one input, in an unoptimised build. What others do on the machine is left out.
const LONGEST: Duration = Duration::from_secs(4);
/// After so long without the next input, the process ends.
const HANGS: Duration = Duration::from_secs(120);

/// Inputs begun, for the watch over hangs.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Where an input lies while it is read, so that one that ends the process can be found.
fn input_path(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.input", target.name))
}

/// `ALUDEL_FUZZ_ONLY` names a target to run alone, `ALUDEL_FUZZ_ROUNDS` multiplies the mutations.
#[test]
fn no_input_panics_hangs_or_takes_much_memory() {
    std::thread::spawn(watch);
    faults_are_seen();
    let only = std::env::var("ALUDEL_FUZZ_ONLY").ok();
    let rounds = std::env::var("ALUDEL_FUZZ_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let mut faults = Vec::new();
    for target in TARGETS.iter().filter(|target| only.as_ref().is_none_or(|only| only == target.name)) {
        let start = worked();
        check(target, rounds, &mut faults);
        println!("{}: {:.1?}", target.name, worked().saturating_sub(start));
    }
    assert!(faults.is_empty(), "{} inputs:\n{}", faults.len(), faults.join("\n"));
}

/// What the rest of the test relies on: a panic and too much memory are told.
fn faults_are_seen() {
    let faulty = |run: fn(&[u8], &Scratch) -> Outcome| {
        let target = Target { name: "faulty", run, most_bytes: 1 << 20, mutations: 0 };
        let mut faults = Vec::new();
        let _ = self::run(&target, &Scratch::create(), b"input", "seed", &mut faults);
        faults.len()
    };
    assert_eq!(faulty(|bytes, _| Err(format!("{} bytes", bytes.len()))), 0);
    assert_eq!(faulty(|_, _| panic!("a panic on purpose, to see that it is told")), 1);
    let greedy = |_: &[u8], _: &Scratch| match std::hint::black_box(vec![1u8; 2 << 20]).len() {
        0 => Err(String::new()),
        _ => Ok(()),
    };
    assert_eq!(faulty(greedy), 1);
}

fn check(target: &Target, rounds: u64, faults: &mut Vec<String>) {
    let scratch = Scratch::create();
    let seeds = read(target.name);
    for (name, seed) in &seeds {
        let outcome = run(target, &scratch, seed, name, faults);
        assert_eq!(outcome, Ok(()), "{}: seed {name} is not taken", target.name);
    }
    let others: Vec<Vec<u8>> = seeds.values().cloned().collect();
    let mut taken = 0;
    let mutations = target.mutations * rounds;
    for number in 0..mutations {
        let seed = &others[number as usize % others.len()];
        let input = mutated(seed, &others, number);
        taken += u64::from(run(target, &scratch, &input, &format!("mutation {number}"), faults).is_ok());
    }
    // Changes that are all refused at the door, or never noticed, would test nothing.
    let share = taken as f64 / mutations as f64;
    assert!((0.005..=0.98).contains(&share), "{}: {taken} of {mutations} mutations were taken", target.name);
}

/// Runs a target on one input; what is wrong with that is added to `faults`, with the input beside it in a file.
fn run(target: &Target, scratch: &Scratch, input: &[u8], name: &str, faults: &mut Vec<String>) -> Outcome {
    let path = input_path(target);
    fs::write(&path, input).unwrap();
    BEGUN.fetch_add(1, Ordering::Relaxed);
    let (mut outcome, start) = (Err(String::new()), worked());
    let bytes = ALLOCATOR.peak_bytes(|| {
        let run = AssertUnwindSafe(|| (target.run)(input, scratch));
        outcome = catch_unwind(run).unwrap_or_else(|_| Err("PANIC".to_owned()));
    });
    let time = worked().saturating_sub(start);
    if outcome == Err("PANIC".to_owned()) || time > LONGEST || bytes > target.most_bytes {
        let kept = path.with_file_name(format!("{}-{}.input", target.name, name.replace(' ', "-")));
        fs::write(&kept, input).unwrap();
        let what = outcome.clone().err().unwrap_or_default();
        faults.push(format!("{} {name}: {time:.1?}, {bytes} bytes, {what}: {}", target.name, kept.display()));
    }
    outcome
}

/// Time that this thread worked, where the system tells.
fn worked() -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split_whitespace().next().and_then(|told| told.parse().ok()).unwrap_or_default())
}

/// Ends the process if an input is never done with: a thread cannot be stopped.
fn watch() {
    loop {
        let before = BEGUN.load(Ordering::Relaxed);
        std::thread::sleep(HANGS);
        if before == BEGUN.load(Ordering::Relaxed) {
            eprintln!("input {before} hangs: it lies in {}", env!("CARGO_TARGET_TMPDIR"));
            std::process::abort();
        }
    }
}

#[test]
fn every_target_has_its_fuzzer_and_every_seed_its_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in TARGETS {
        let fuzzer = fs::read_to_string(fuzz.join(format!("fuzz_targets/{}.rs", target.name))).unwrap();
        assert!(fuzzer.contains(&format!("aludel_fuzz::fuzz(\"{}\", bytes)", target.name)), "{fuzzer}");
        assert!(
            manifest.contains(&format!("name = \"{0}\"\npath = \"fuzz_targets/{0}.rs\"", target.name)),
            "{}",
            target.name
        );
    }
    for entry in fs::read_dir(fuzz.join("seeds")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(TARGETS.iter().any(|target| *target.name == *name), "seeds of no target: {}", name.display());
    }
}
