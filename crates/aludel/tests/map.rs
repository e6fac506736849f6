//! The map in ARCHITECTURE.md is that of the code: each module it names exists, each module of a crate is on it, and common
//! features are in files with the usual names of the field.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The sections of the map: a crate, and its text.
fn sections(document: &str) -> Vec<(&str, &str)> {
    let map = document.split("\n## ").find(|section| section.starts_with("The map")).unwrap();
    let sections = map.split("\n### ").skip(1);
    sections.map(|section| (quoted(section).next().unwrap(), section)).collect()
}

/// The modules at the root of a crate.
fn modules(sources: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(sources).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.map(|name| name.trim_end_matches(".rs").to_owned());
    names.filter(|name| !["lib", "main", "error"].contains(&name.as_str()) && !name.ends_with("tests")).collect()
}

#[test]
fn each_module_is_on_the_map_and_each_on_the_map_exists() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sections = sections(&document);
    let crates: BTreeSet<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mapped = sections.iter().map(|(name, _)| (*name).to_owned());
    let for_tests = ["aludel-fuzz", "aludel-scripted-teacher"].map(str::to_owned);
    assert_eq!(mapped.chain(for_tests).collect::<BTreeSet<_>>(), crates);
    let mut wrong = Vec::new();
    for (name, section) in sections {
        let sources = root().join("crates").join(name).join("src");
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let mut seen = BTreeSet::new();
        for module in rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap())) {
            let module = module.trim_end_matches('/');
            if !seen.insert(module) {
                wrong.push(format!("{name}: `{module}` is on the map twice"));
            }
            if !sources.join(module).is_dir() && !sources.join(format!("{module}.rs")).is_file() {
                wrong.push(format!("{name}: `{module}` is on the map and not in the crate"));
            }
        }
        let named: BTreeSet<&str> = quoted(section).map(|word| word.trim_end_matches('/')).collect();
        for module in modules(&sources).iter().filter(|module| !named.contains(module.as_str())) {
            wrong.push(format!("{name}: `{module}` is in the crate and not on the map"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Features that a newcomer looks for by the names of folders and files.
#[test]
fn what_a_newcomer_looks_for_has_its_usual_name() {
    for (feature, place) in [
        ("learning-rate schedule", "aludel-distill/src/lr_schedule.rs"),
        ("retries", "aludel-teacher/src/collect/retry.rs"),
        ("rate limit", "aludel-teacher/src/collect/rate_limit.rs"),
        ("top-p", "aludel-kernels/src/sampling.rs"),
        ("rotary positions", "aludel-kernels/src/rowwise/rope.rs"),
        ("KV cache", "aludel-kernels/src/attention/kv_cache.rs"),
        ("near-duplicates", "aludel-curate/src/near_duplicates.rs"),
        ("spending limit", "aludel-teacher/src/collect/budget.rs"),
        ("initial rows of new tokens", "aludel-distill/src/token_init.rs"),
        ("merge", "aludel-distill/src/merge.rs"),
    ] {
        assert!(root().join("crates").join(place).is_file(), "{feature}: crates/{place}");
    }
}
