//! Files of a crate do not import each other in circles, except where the header of one of them says why. A file and those in its folder
//! are one module, and may: a child uses what its parent defines.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Module = Vec<String>;

/// Circles that are explained: a folder, or a file for all that it imports, and where the explanation is.
const EXPLAINED: [(&str, &str); 5] = [
    ("aludel-kernels/src/dora", "aludel-kernels/src/dora.rs"),
    ("aludel-kernels/src/reference", "aludel-kernels/src/reference/mod.rs"),
    ("aludel-text/src/template/jinja", "aludel-text/src/template/jinja/mod.rs"),
    ("aludel-verify/src/maths/comparison", "aludel-verify/src/maths/comparison/compare.rs"),
    ("aludel-verify/src/maths/reading", "aludel-verify/src/maths/reading/answer.rs"),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The source files below a folder, without tests.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|name| name.to_str().unwrap().ends_with("tests")) {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module that a file is.
fn module(sources: &Path, file: &Path) -> Module {
    let below = file.strip_prefix(sources).unwrap().with_extension("");
    let mut names: Module = below.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    names.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    names
}

/// A file without comments and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// All paths of a tree of imports, or a single path: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(prefix: &[&str], tree: &str, paths: &mut Vec<Module>) {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap().split("::").map(str::trim);
        let path = prefix.iter().copied().chain(path).filter(|name| !["", "self", "*"].contains(name));
        return paths.push(path.map(str::to_owned).collect());
    };
    let prefix: Vec<&str> = prefix.iter().copied().chain(head.split("::").map(str::trim)).collect();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in rest.char_indices() {
        match c {
            '}' if depth == 0 => return expand(&prefix, &rest[start..at], paths),
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &rest[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The paths in a file that begin with `crate` or `super`, as modules from the crate's root.
fn paths(module: &[String], code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].trim_end();
            if before.ends_with("::") || code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let is_import = before.ends_with("use");
            let end = code[at..].find(|c: char| match is_import {
                true => c == ';',
                false => !(c.is_alphanumeric() || c == '_' || c == ':'),
            });
            expand(&[], &code[at..at + end.unwrap_or(code.len() - at)], &mut found);
        }
    }
    let from_root = |path: Module| {
        let parents = path.iter().take_while(|name| *name == "super").count();
        let start = if parents > 0 { &module[..module.len().saturating_sub(parents)] } else { &[] };
        start.iter().cloned().chain(path.into_iter().skip(parents.max(1))).collect()
    };
    let mut found: Vec<Module> = found.into_iter().map(from_root).collect();
    // An imported module may be the start of other paths.
    for path in found.clone() {
        let Some(name) = path.last() else { continue };
        for (at, start) in code.match_indices(&format!("{name}::")) {
            if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                let next = code[at + start.len()..].split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap();
                found.push(path.iter().cloned().chain([next.to_owned()]).collect());
            }
        }
    }
    found
}

/// For each file of a crate those that it imports, but for its own parents and children.
fn imports(sources: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut all = Vec::new();
    files(sources, &mut all);
    let texts: BTreeMap<Module, String> =
        all.iter().map(|file| (module(sources, file), code(&fs::read_to_string(file).unwrap()))).collect();
    let file_of = |path: Module| -> Option<Module> {
        (0..=path.len())
            .rev()
            .map(|end| &path[..end])
            .find(|module| texts.contains_key(*module))
            .map(<[String]>::to_vec)
    };
    let imports_of = |from: &Module, code: &String| -> BTreeSet<Module> {
        let to = paths(from, code).into_iter().filter_map(file_of);
        to.filter(|to| !to.starts_with(from) && !from.starts_with(to)).collect()
    };
    texts.iter().map(|(from, code)| (from.clone(), imports_of(from, code))).collect()
}

/// All files that a file imports, directly or not.
fn reached(imports: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(next) = open.pop() {
        open.extend(imports[next].iter().filter(|to| seen.insert((*to).clone())));
    }
    seen
}

#[test]
fn files_of_a_crate_import_each_other_in_no_circle_that_is_not_explained() {
    let mut circles = Vec::new();
    let mut are_there = BTreeSet::new();
    for entry in fs::read_dir(crates()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let mut imports = imports(&crates().join(&name).join("src"));
        for (place, _) in EXPLAINED {
            let Some(folder) = place.strip_prefix(&format!("{name}/src/")) else { continue };
            let folder: Module = folder.split('/').map(str::to_owned).collect();
            let is_inside = |module: &Module| module.starts_with(&folder);
            let circle = imports.keys().any(|one| is_inside(one) && reached(&imports, one).contains(one));
            are_there.extend(circle.then_some(place));
            imports.retain(|one, _| !is_inside(one));
            imports.values_mut().for_each(|to| to.retain(|one| !is_inside(one)));
        }
        let in_circle = imports.keys().filter(|one| reached(&imports, one).contains(*one));
        circles.extend(in_circle.map(|one| format!("{name}: {}", one.join("/"))));
    }
    assert_eq!(circles, [""; 0], "open the circle, or say in a header why it is there and name it in this test");
    for (place, explanation) in EXPLAINED {
        assert!(are_there.contains(place), "{place} has no circle any more: its row can go");
        let text = fs::read_to_string(crates().join(explanation)).unwrap();
        let header = text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join(" ");
        assert!(header.contains("each other"), "{explanation} explains no circle");
    }
}

#[test]
fn trees_of_imports_are_read() {
    let code = "use super::{a::{self, B}, c};\nuse crate::d::E as F;\nlet x = super::super::g::h(1) + a::i(2); other::crate_like::x; mysuper::y";
    let module: Module = ["p", "q", "r"].map(str::to_owned).to_vec();
    let found = paths(&module, code).into_iter().map(|path| path.join("/").trim_end_matches('/').to_owned());
    let found: BTreeSet<String> = found.collect();
    let expected = ["d/E", "p/g/h", "p/q/a", "p/q/a/B", "p/q/a/i", "p/q/c"].map(str::to_owned);
    assert_eq!(found, expected.into());
}
