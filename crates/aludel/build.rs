//! Tells the binary which commit and which target it was built for. Both are looked up without git, and a source tree without a commit
//! (an unpacked archive) builds as well: `ALUDEL_COMMIT` names it then, or nothing does.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ALUDEL_COMMIT");
    let target = std::env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=ALUDEL_TARGET={target}");
    let given = std::env::var("ALUDEL_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    if let Some(commit) = given.or_else(commit) {
        println!("cargo::rustc-env=ALUDEL_COMMIT={}", commit.trim());
    }
}

/// The commit of the workspace's own repository, not of one around it.
fn commit() -> Option<String> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?).join("../..");
    let own = own_folder(&root)?;
    // A worktree shares branches with the repository that it belongs to.
    let common = read(&own.join("commondir")).map_or_else(|| own.clone(), |path| own.join(path));
    let head = watched(&own.join("HEAD"))?;
    // Each move of HEAD adds a line there, so that a branch that lies among packed ones is noticed, too.
    watched(&own.join("logs/HEAD"));
    let Some(branch) = head.strip_prefix("ref: ") else { return is_hash(&head).then_some(head) };
    let packed = || {
        let all = watched(&common.join("packed-refs"))?;
        all.lines().find_map(|line| Some(line.strip_suffix(branch)?.trim_end().to_owned()))
    };
    watched(&common.join(branch)).or_else(packed).filter(|commit| is_hash(commit))
}

/// The folder of the repository: `.git`, or where a file of that name points.
fn own_folder(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    Some(root.join(read(&git)?.strip_prefix("gitdir: ")?))
}

/// A file's text; the build is repeated when it changes.
fn watched(path: &Path) -> Option<String> {
    let text = read(path)?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text)
}

#[expect(clippy::disallowed_methods, reason = "a build reads the repository that it is part of")]
fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn is_hash(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
