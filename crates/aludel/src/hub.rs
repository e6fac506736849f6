//! Names on the Hugging Face Hub: the locations of the Hub and its cache from the environment, and downloading what a recipe names there
//! before a command begins its work.

use crate::console::harmless;
use crate::progress::{Position, Progress, WorkKind};
use crate::report::ErrorWithHelp;
use crate::run_folder::{adapter_of, refuse_as_model};
use aludel_distill::settings::{Problem, Problems, Recipe};
use aludel_formats::gguf;
use aludel_formats::hf::CONFIG_FILE_NAME;
use aludel_hub::{HEAD_BYTES, Hub, HubProgress, ModelFile, Token, fetch_data, fetch_model, is_hub_name};
use aludel_model::config::Config;
use std::env;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Puts local paths in the place of all names on the Hub (data, prompts, traces, evaluations, student), fetching what is not there yet,
/// and its adapter in the place of a run that is named as one.
///
/// # Errors
/// What the Hub says of a name, and an environment that names no place for the cache.
pub(crate) fn fetch_named(recipe: &mut Recipe) -> anyhow::Result<()> {
    // First, so that a model of no use costs no data.
    if let Some(model) = &mut recipe.student.model {
        *model = local_model(model)?;
    }
    if let Some(teacher) = &mut recipe.distill.teacher {
        *teacher = local_model(teacher)?;
    }
    for adapter in [&mut recipe.train.init_adapter, &mut recipe.distill.teacher_adapter].into_iter().flatten() {
        *adapter = adapter_of(adapter)?;
    }
    for list in recipe.data_lists().into_iter().filter(|list| list.iter().any(|path| is_hub_name(path))) {
        let hub = from_environment()?;
        let mut found = Vec::new();
        for path in list.drain(..) {
            match is_hub_name(&path) {
                true => found.extend(with_progress(|told| Ok(fetch_data(&path, &hub, told)?))?),
                false => found.push(path),
            }
        }
        *list = found;
    }
    Ok(())
}

/// The local path of a model that may be a name on the Hub.
///
/// # Errors
/// As [`fetch_named`].
pub(crate) fn local_model(path: &Path) -> anyhow::Result<PathBuf> {
    if !is_hub_name(path) {
        refuse_bare_name(path)?;
        refuse_as_model(path)?;
        refuse_family(path)?;
        return Ok(path.to_owned());
    }
    let hub = from_environment()?;
    with_progress(|told| Ok(fetch_model(path, &hub, &judge, told)?))
}

/// Refuses a model of another family before its weights are fetched.
fn judge(about: ModelFile<'_>) -> Result<(), String> {
    let judged = || -> anyhow::Result<()> {
        match about {
            ModelFile::Config(config) => {
                let json = serde_json::from_slice(&aludel_files::read(config, aludel_files::SMALL)?)?;
                Config::from_hf(&json, Path::new("config.json"))?;
            }
            ModelFile::GgufHead(head) => {
                if let Some(architecture) = gguf::architecture(head) {
                    Config::check_gguf_architecture(architecture, Path::new("its header"))?;
                }
            }
        }
        Ok(())
    };
    judged().map_err(|error| error.to_string())
}

/// Refuses a model of another family before its files are hashed or mapped. Other problems are reported when it is opened.
fn refuse_family(path: &Path) -> Result<(), aludel_model::Error> {
    let refused = if path.is_dir() {
        let config = path.join(CONFIG_FILE_NAME);
        let bytes = aludel_files::read(&config, aludel_files::SMALL).ok();
        let json = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        json.and_then(|json| Config::from_hf(&json, &config).err())
    } else {
        let mut head = Vec::new();
        let file = aludel_files::open(path).ok();
        let read = file.and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head).ok());
        let architecture = read.and_then(|_| gguf::architecture(&head));
        architecture.and_then(|architecture| Config::check_gguf_architecture(architecture, path).err())
    };
    match refused {
        Some(error @ aludel_model::Error::Architecture { .. }) => Err(error),
        _ => Ok(()),
    }
}

/// Refuses what is no path here and looks like a name on the Hub.
fn refuse_bare_name(path: &Path) -> anyhow::Result<()> {
    if aludel_files::is_there(path) {
        return Ok(());
    }
    let here = env::current_dir().unwrap_or_default();
    let written = path.strip_prefix(&here).unwrap_or(path).to_string_lossy().into_owned();
    let is_word = |word: &str| {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        !word.is_empty() && !word.starts_with('.') && word.chars().all(is_letter)
    };
    let is_file = [".gguf", ".safetensors", ".bin"].iter().any(|ending| written.ends_with(ending));
    match written.split_once('/') {
        Some((owner, name)) if is_word(owner) && is_word(name) && !is_file => Err(anyhow::Error::new(ErrorWithHelp {
            message: format!("{written}: there is no such file or folder"),
            help: format!("if the model of this name on the Hugging Face Hub is meant, write hf:{written}"),
        })),
        _ => Ok(()),
    }
}

/// The local paths of a data file that may be a name on the Hub.
///
/// # Errors
/// As [`fetch_named`].
pub(crate) fn local_data(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !is_hub_name(path) {
        return Ok(vec![path.to_owned()]);
    }
    let hub = from_environment()?;
    with_progress(|told| Ok(fetch_data(path, &hub, told)?))
}

/// The Hub as Hugging Face's tools find it.
pub(crate) fn from_environment() -> anyhow::Result<Hub> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || env::home_dir().map(|home| home.join(".cache"));
    let hf_home = path("HF_HOME").or_else(|| Some(path("XDG_CACHE_HOME").or_else(home)?.join("huggingface")));
    let cache = path("HF_HUB_CACHE").or_else(|| Some(hf_home.as_ref()?.join("hub"))).ok_or_else(|| {
        Problems::one(Problem::missing(
            "HF_HOME",
            "no home folder is known to keep fetched files in",
            "set HF_HOME to a folder",
        ))
    })?;
    let token_file = path("HF_TOKEN_PATH").or_else(|| Some(hf_home?.join("token")));
    let token_text =
        variable("HF_TOKEN").or_else(|| aludel_files::read_to_string(token_file?, aludel_files::SMALL).ok());
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
    let is_yes = |value: String| ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str());
    Ok(Hub {
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        cache,
        token: token_text.as_deref().and_then(Token::new),
        offline: variable("HF_HUB_OFFLINE").is_some_and(is_yes),
    })
}

fn with_progress<T>(fetch: impl FnOnce(&mut dyn FnMut(HubProgress)) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let shown = Progress::new();
    shown.begin(WorkKind::Downloading);
    fetch(&mut |told| match told.bytes_total {
        Some(total) => {
            let at = Position::of_bytes(told.bytes, total).with(harmless(&told.file));
            shown.reach_of(WorkKind::Downloading, told.bytes as f64, total as f64, at);
        }
        None => shown.begin_at(WorkKind::Downloading, Position::default().with(harmless(&told.file))),
    })
}
