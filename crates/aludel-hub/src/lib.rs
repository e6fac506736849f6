//! Data sets and models on the Hugging Face Hub, by the name `hf:owner/name`: selects files, and fetches them into the cache that
//! Hugging Face's own tools use, so that each finds what the other fetched. Address, token and folders are given by the caller; the
//! files' content is read elsewhere.

mod cache;
mod client;
pub mod demo_student;
mod error;
mod file_selection;

use std::fmt;
use std::path::{Path, PathBuf};

use cache::Repository;
use client::Client;

pub use error::Error;

/// How to reach the Hub.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Its address, without a slash at the end (`HF_ENDPOINT`).
    pub endpoint: String,
    /// The cache of Hugging Face's tools (`HF_HUB_CACHE`).
    pub cache: PathBuf,
    /// The access token (`HF_TOKEN`).
    pub token: Option<Token>,
    /// Use only the cache (`HF_HUB_OFFLINE`).
    pub offline: bool,
}

/// A secret that no message, log or debug output shows.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token without surrounding white space; `None` if it is empty.
    pub fn new(text: &str) -> Option<Token> {
        let text = text.trim();
        (!text.is_empty()).then(|| Token(text.to_string()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// What is being fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubProgress {
    /// The file, by its name in the repository.
    pub file: String,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes in all, where they are known.
    pub bytes_total: Option<u64>,
}

/// A name on the Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    /// As it was written.
    written: String,
    /// `owner/name`, or a bare name of the Hub's early days.
    repository: String,
    /// The part after the colon: a split, or a GGUF file.
    part: Option<String>,
}

/// Whether a path is a name on the Hub.
pub fn is_hub_name(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with(PREFIX))
}

/// The data files of `hf:owner/name` or `hf:owner/name:split`, in order. The default split is `train`, if the repository has
/// splits; `subset/split` names one of several subsets.
///
/// # Errors
/// [`Error::Hub`] says what is wrong with the name, what the repository contains instead, or why it cannot be fetched.
pub fn fetch_data(named: &Path, hub: &Hub, progress: &mut dyn FnMut(HubProgress)) -> Result<Vec<PathBuf>, Error> {
    let name = Name::parse(named)?;
    fetch(
        &name,
        Kind::DataSet,
        hub,
        progress,
        &|files| file_selection::data_files(files, name.part.as_deref()),
        &|_| Ok(()),
    )
}

/// The folder of the model `hf:owner/name`, with its weights in safetensors; or the GGUF file that `hf:owner/name:Q4_K_M` names by
/// a part of its name, or the only GGUF file if there are no safetensors.
///
/// `judge` gets the `config.json`, or the first bytes of the GGUF file, before anything else is fetched.
///
/// # Errors
/// As [`fetch_data`], and why `judge` refuses the model.
pub fn fetch_model(
    named: &Path,
    hub: &Hub,
    judge: &ModelCheck<'_>,
    progress: &mut dyn FnMut(HubProgress),
) -> Result<PathBuf, Error> {
    let name = Name::parse(named)?;
    let choose = |files: &[String]| file_selection::model_files(files, name.part.as_deref());
    let files = fetch(&name, Kind::Model, hub, progress, &choose, judge)?;
    match files.as_slice() {
        [gguf] if gguf.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) => Ok(gguf.clone()),
        _ => {
            let folder = files.first().and_then(|file| file.parent()).map(Path::to_path_buf);
            folder.ok_or_else(|| name.refuse("the repository holds no model".to_string()))
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    DataSet,
    Model,
}

/// The part of a model that names its architecture.
#[derive(Clone, Copy, Debug)]
pub enum ModelFile<'a> {
    /// Its `config.json`.
    Config(&'a Path),
    /// The first bytes of a GGUF file.
    GgufHead(&'a [u8]),
}

/// Returns an error for a model that is not supported.
pub type ModelCheck<'a> = dyn Fn(ModelFile<'_>) -> Result<(), String> + 'a;

const PREFIX: &str = "hf:";

/// The architecture of a GGUF file is in the first of these bytes.
pub const HEAD_BYTES: u64 = 64 << 10;

/// Selects from the files of a repository, or says what is wrong with them.
type Choice<'a> = dyn Fn(&[String]) -> Result<Vec<String>, String> + 'a;

/// Lists the repository's files on the Hub, selects, and fetches what the cache lacks. Offline, or if the Hub cannot be reached,
/// only the cache is used.
fn fetch(
    name: &Name,
    kind: Kind,
    hub: &Hub,
    progress: &mut dyn FnMut(HubProgress),
    choose: &Choice<'_>,
    judge: &ModelCheck<'_>,
) -> Result<Vec<PathBuf>, Error> {
    let repository = Repository::new(&hub.cache, kind, &name.repository);
    let refuse = |reason: String| name.refuse(reason);
    let chosen = |files: &[String]| -> Result<Vec<String>, Error> {
        let files = choose(files).map_err(refuse)?;
        file_selection::check_shards(&files).map_err(refuse)?;
        Ok(files)
    };
    if hub.offline {
        let Some((commit, files)) = repository.cached() else {
            return Err(refuse(format!(
                "it is not in the cache ({}), and HF_HUB_OFFLINE forbids fetching it",
                hub.cache.display()
            )));
        };
        return Ok(chosen(&files)?.iter().map(|file| repository.file(&commit, file)).collect());
    }
    let client = Client::new(hub);
    let listing = match client.list(kind, &name.repository) {
        Ok(listing) => listing,
        Err(failure) => {
            // What was fetched before is enough without a network; a refusal of the Hub counts, whatever is cached.
            let cached = repository.cached().filter(|_| failure.is_unreachable);
            let Some((commit, files)) = cached else { return Err(refuse(failure.reason)) };
            let files = chosen(&files).map_err(|_| refuse(failure.reason))?;
            return Ok(files.iter().map(|file| repository.file(&commit, file)).collect());
        }
    };
    let files = chosen(&listing.files)?;
    let mut paths = Vec::new();
    for file in files {
        let path = repository.file(&listing.commit, &file);
        if !path.exists() {
            let address = client.address(kind, &name.repository, &listing.commit, &file);
            if kind == Kind::Model && file.to_ascii_lowercase().ends_with(".gguf") {
                let head = client.head(&address, HEAD_BYTES).map_err(|failure| refuse(failure.reason))?;
                judge(ModelFile::GgufHead(&head)).map_err(|reason| refuse(format!("{file}: {reason}")))?;
            }
            let mut told = |bytes, bytes_total| progress(HubProgress { file: file.clone(), bytes, bytes_total });
            let fetched = repository.fetch(&client, &address, &listing.commit, &file, &mut told);
            fetched.map_err(|failure| refuse(format!("{file} cannot be fetched: {}", failure.reason)))?;
        }
        if kind == Kind::Model && file == file_selection::CONFIG {
            judge(ModelFile::Config(&path)).map_err(refuse)?;
        }
        paths.push(path);
    }
    repository.remember(&listing.commit)?;
    Ok(paths)
}

impl Name {
    fn parse(named: &Path) -> Result<Name, Error> {
        let written = named.to_string_lossy().into_owned();
        let rest = written.strip_prefix(PREFIX).unwrap_or(&written);
        let (repository, part) = match rest.split_once(':') {
            Some((repository, part)) => (repository, Some(part.to_string())),
            None => (rest, None),
        };
        let name = Name { repository: repository.to_string(), part, written: written.clone() };
        let is_word = |word: &str| {
            let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            !word.is_empty() && !word.starts_with('.') && word.chars().all(is_letter)
        };
        let words: Vec<&str> = repository.split('/').collect();
        if words.len() > 2 || !words.iter().all(|word| is_word(word)) || name.part.as_deref() == Some("") {
            return Err(name.refuse("a name on the Hub reads hf:owner/name or hf:owner/name:split".to_string()));
        }
        Ok(name)
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Hub { named: self.written.clone(), reason }
    }
}

#[cfg(test)]
mod tests;
