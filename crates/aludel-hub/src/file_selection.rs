//! Selects files of a repository: those of a split, by the names of files and folders according to the Hub's rules, or those of a
//! model. Works on lists of names alone.

/// The file that contains the model's architecture.
pub(super) const CONFIG: &str = "config.json";

const DATA_KINDS: [&str; 4] = [".parquet", ".jsonl", ".ndjson", ".json"];
const PACKINGS: [&str; 3] = ["", ".gz", ".zst"];

/// Names of the usual splits in file names.
const SPLITS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
    ("validation", &["validation", "valid", "val", "dev"]),
];

/// The data files of a split, in order.
///
/// # Errors
/// What the repository contains instead.
pub(super) fn data_files(files: &[String], wanted: Option<&str>) -> Result<Vec<String>, String> {
    if let Some(file) = wanted.filter(|wanted| files.iter().any(|file| file == wanted)) {
        return Ok(vec![file.to_owned()]);
    }
    let data: Vec<&String> = files.iter().filter(|file| is_data(file)).collect();
    if data.is_empty() {
        return Err(format!("it holds no JSONL, JSON or Parquet file (it holds {})", listed(files)));
    }
    let (subset, split) = match wanted.and_then(|wanted| wanted.rsplit_once('/')) {
        Some((subset, split)) => (Some(subset), Some(split)),
        None => (None, wanted),
    };
    let has_splits = data.iter().any(|file| SPLITS.iter().any(|(split, _)| is_of_split(file, split)));
    let split = split.or(has_splits.then_some("train"));
    let in_subset = |file: &&&String| subset.is_none_or(|subset| file.starts_with(&format!("{subset}/")));
    let of_split = |file: &&&String| split.is_none_or(|split| is_of_split(file, split));
    let matching: Vec<&String> = data.iter().filter(in_subset).filter(of_split).copied().collect();
    // A repository may hold the same rows in several formats.
    let kind = DATA_KINDS.iter().find(|kind| matching.iter().any(|file| kind_of(file) == Some(**kind)));
    let mut chosen: Vec<String> = matching.into_iter().filter(|file| kind_of(file) == kind.copied()).cloned().collect();
    chosen.sort();
    if chosen.is_empty() {
        let named = wanted.unwrap_or("train");
        return Err(format!("it has no split {named:?}; its data files are {}", listed(&data)));
    }
    match several_subsets(&chosen, split.unwrap_or("train")) {
        Some(subsets) if subset.is_none() => Err(format!(
            "it has several subsets ({}); name one as well as the split, such as hf:owner/name:{}/{}",
            subsets.join(", "),
            subsets[0],
            split.unwrap_or("train")
        )),
        _ => Ok(chosen),
    }
}

/// The files of a model: config, tokenizer, template and safetensors, or one GGUF file.
///
/// # Errors
/// What the repository contains instead.
pub(super) fn model_files(files: &[String], wanted: Option<&str>) -> Result<Vec<String>, String> {
    let ends = |file: &str, ending: &str| file.to_ascii_lowercase().ends_with(ending);
    let has_weights = files.iter().any(|file| !file.contains('/') && ends(file, ".safetensors"));
    if has_weights && wanted.is_none() {
        let endings = [".json", ".jinja", ".safetensors"];
        let is_part = |file: &&String| !file.contains('/') && endings.iter().any(|ending| ends(file, ending));
        let mut parts: Vec<String> = files.iter().filter(is_part).cloned().collect();
        if !parts.iter().any(|file| file == CONFIG) {
            return Err(format!(
                "it holds weights without {CONFIG}, which says of what model (it holds {})",
                listed(files)
            ));
        }
        // The file with the architecture comes first, and the weights last.
        parts.sort_by_key(|file| (file != CONFIG, ends(file, ".safetensors")));
        return Ok(parts);
    }
    let all: Vec<&String> = files.iter().filter(|file| ends(file, ".gguf")).collect();
    let wanted = wanted.unwrap_or_default().to_ascii_lowercase();
    let matching: Vec<&&String> = all.iter().filter(|file| file.to_ascii_lowercase().contains(&wanted)).collect();
    match matching.as_slice() {
        [only] => Ok(vec![(**only).clone()]),
        [] if all.is_empty() => {
            Err(format!("it holds neither safetensors nor a GGUF file (it holds {})", listed(files)))
        }
        _ => Err(format!(
            "name one of its GGUF files by a part of its name, as in hf:owner/name:Q4_K_M; they are {}",
            listed(&all)
        )),
    }
}

/// Whether all shards of numbered files exist, which an incomplete cache may not have.
///
/// # Errors
/// Which set lacks some.
pub(super) fn check_shards(files: &[String]) -> Result<(), String> {
    for file in files {
        let Some((before, rest)) = file.split_once("-of-") else { continue };
        let Some(total) =
            rest.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|digits| digits.parse::<usize>().ok())
        else {
            continue;
        };
        let set = before.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let there = files.iter().filter(|other| other.starts_with(set) && other.ends_with(rest)).count();
        if there != total {
            return Err(format!("of the {total} files {set}…-of-{rest} only {there} are there"));
        }
    }
    Ok(())
}

fn is_data(file: &str) -> bool {
    let is_hidden = file.split('/').any(|part| part.starts_with('.'));
    let name = file.rsplit('/').next().unwrap_or(file);
    let describes = ["dataset_infos.json", "dataset_info.json", "state.json", "config.json"].contains(&name);
    !is_hidden && !describes && kind_of(file).is_some()
}

fn kind_of(file: &str) -> Option<&'static str> {
    let file = file.to_ascii_lowercase();
    DATA_KINDS.into_iter().find(|kind| PACKINGS.iter().any(|packing| file.ends_with(&format!("{kind}{packing}"))))
}

/// Whether a folder has the split's name, or the file's name equals it or begins with it.
fn is_of_split(file: &str, split: &str) -> bool {
    let words = SPLITS.iter().find(|(name, _)| *name == split).map_or(&[][..], |(_, words)| words);
    let names = |part: &str| {
        let part = part.to_ascii_lowercase();
        let is_named = |word: &str| {
            let rest = part.strip_prefix(word);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
                || part.split(['-', '.']).any(|piece| piece == word || piece.ends_with(&format!("_{word}")))
        };
        is_named(&split.to_ascii_lowercase()) || words.iter().any(|word| is_named(word))
    };
    file.split('/').any(names)
}

/// The folders of the files of one split, if there is more than one and they are not the split's own.
fn several_subsets(files: &[String], split: &str) -> Option<Vec<String>> {
    let folder = |file: &String| {
        let parts: Vec<&str> = file.split('/').collect();
        let folders = parts[..parts.len() - 1].iter().filter(|part| !is_of_split(part, split));
        folders.copied().collect::<Vec<_>>().join("/")
    };
    let mut folders: Vec<String> = files.iter().map(folder).collect();
    folders.dedup();
    (folders.len() > 1).then_some(folders)
}

fn listed(files: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 12;
    let names: Vec<&str> = files.iter().map(AsRef::as_ref).take(SHOWN).collect();
    let more = files.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    if names.is_empty() { "nothing".to_string() } else { format!("{}{rest}", names.join(", ")) }
}
