//! Identifies a folder that a run would be written into: empty, a run of Aludel, or something else, recognised by its files. This changes
//! nothing, and opens no file of a model.

use std::io::Read;
use std::path::Path;

use aludel_formats::manifest::MANIFEST_FILE_NAME;
use aludel_formats::peft;

use super::run::RUN_FILE_NAME;
use super::{
    ADAPTER_FOLDER_NAME, OPTIMIZER_FILE_NAME, PREFIX, RECIPE_FILE_NAME, ROWS_FOLDER_NAME, STATE_FILE_NAME,
    SUMMARY_FILE_NAME,
};
use crate::error::{Error, Result};
use crate::metrics::METRICS_FILE_NAME;
use crate::provenance::SESSIONS_FILE_NAME;

/// Whether a run of Aludel's was begun in `folder`; if not, a new one may be.
///
/// # Errors
/// [`Error::Output`] for a folder that holds what a run would overwrite, mix with or take up by mistake.
pub fn is_begun(folder: &Path) -> Result<bool> {
    let names = names(folder);
    let has = |name: &str| names.iter().any(|other| other == name);
    if has(RUN_FILE_NAME) && super::run::is_ours(folder) {
        return Ok(true);
    }
    let held = whose(folder).map(|whose| format!("it looks like {whose}, which training would mix its own files with"));
    match held.or_else(|| left(folder, &names)) {
        Some(what) => Err(Error::Output {
            path: folder.to_owned(),
            reason: format!("{what}; nothing of it was touched; give another --output-dir{}", start(folder, &names)),
        }),
        None => Ok(false),
    }
}

/// Whose folder this is, if that can be told, and by which file: another tool's run, a model, an adapter, or what another command
/// of Aludel's wrote.
pub fn whose(folder: &Path) -> Option<String> {
    let top = names(folder);
    let told = |whose: &str, by: &str| Some(format!("{whose} (told by {by})"));
    for place in std::iter::once("").chain(top.iter().map(String::as_str).filter(|name| is_inner(name))) {
        let inside = if place.is_empty() { top.clone() } else { self::names(&folder.join(place)) };
        for (pattern, tool) in OTHER_TOOLS {
            if let Some(name) = inside.iter().find(|name| is_like(pattern, name)) {
                let by = Path::new(place).join(name);
                let tool = if name == TRAINING_ARGUMENTS { trainer(&folder.join(&by)) } else { tool };
                return told(&format!("a run of {tool}"), &by.display().to_string());
            }
        }
        let has = |name: &str| inside.iter().any(|other| other == name);
        if has(LOG) && is_of_axolotl(&folder.join(place).join(LOG)) {
            return told("a run of axolotl", &Path::new(place).join(LOG).display().to_string());
        }
        if has(STATE_FILE_NAME) && !has(OPTIMIZER_FILE_NAME) && !has(MANIFEST_FILE_NAME) {
            let by = Path::new(place).join(STATE_FILE_NAME);
            return told("a run of transformers' Trainer", &by.display().to_string());
        }
    }
    let has = |name: &str| top.iter().any(|other| other == name);
    if has(peft::CONFIG_FILE_NAME) {
        return told("an adapter's folder", peft::CONFIG_FILE_NAME);
    }
    let holds = |inside: &[String], kinds: &[&str]| {
        inside.iter().find(|name| kinds.iter().any(|kind| is_like(kind, name))).cloned()
    };
    if let Some(weights) = holds(&top, &MODELS) {
        let by = if has("config.json") { "config.json" } else { &weights };
        return told("a model's folder", by);
    }
    // What other tools put into a folder of its own: `final`, `merged`.
    for place in top.iter().filter(|name| !is_part(name)) {
        if let Some(name) = holds(&self::names(&folder.join(place)), &WEIGHTS) {
            let by = Path::new(place).join(name);
            return told("somebody's trained weights", &by.display().to_string());
        }
    }
    if has("evaluation.json") {
        return told("results of `aludel eval`", "evaluation.json");
    }
    let curated = ["dropped.jsonl", "train.jsonl", "prompts.jsonl"].into_iter().find(|name| has(name));
    if let Some(by) = curated.filter(|_| has("report.json")) {
        return told("a data set of `aludel curate`", by);
    }
    holds(&top, &["*.db"]).and_then(|by| told("a place where a store of traces is kept", &by))
}

/// Files of models and of weights, in the folder itself.
const MODELS: [&str; 7] = [
    "*.safetensors",
    "*.safetensors.index.json",
    "*.gguf",
    "pytorch_model*",
    "consolidated*.pth",
    "*.npz",
    "model*.onnx",
];

/// Files that training leaves, in a folder of their own.
const WEIGHTS: [&str; 5] =
    ["adapter_model.*", "adapter_config.json", "model*.safetensors", "pytorch_model*", "consolidated*"];

/// What a run of Aludel's is made of; whether it may be there is looked at elsewhere.
fn is_part(name: &str) -> bool {
    [ADAPTER_FOLDER_NAME, ROWS_FOLDER_NAME].contains(&name) || name.starts_with(PREFIX)
}

/// File names by which other tools' runs are told, where they lie or in a checkpoint below. The first that fits counts, so what only
/// one tool writes stands before what many do.
const OTHER_TOOLS: [(&str, &str); 26] = [
    (TRAINING_ARGUMENTS, "transformers' Trainer"),
    ("last_run_prepared", "axolotl"),
    ("trainer_log.jsonl", "LLaMA-Factory"),
    ("llamaboard_config.yaml", "LLaMA-Factory"),
    ("training_args.yaml", "LLaMA-Factory"),
    ("adapters.safetensors", "MLX"),
    ("*_adapters.safetensors", "MLX"),
    ("adapters.npz", "MLX"),
    ("torchtune_config.yaml", "torchtune"),
    ("recipe_state.pt", "torchtune"),
    ("recipe_state", "torchtune"),
    ("lit_model.pth*", "LitGPT"),
    ("lightning_logs", "PyTorch Lightning"),
    ("*.ckpt", "PyTorch Lightning"),
    ("latest_checkpointed_iteration.txt", "Megatron"),
    ("zero_to_fp32.py", "DeepSpeed"),
    ("global_step*", "DeepSpeed"),
    ("random_states_*.pkl", "Accelerate"),
    ("pytorch_model_fsdp*", "Accelerate"),
    ("optimizer.pt", "transformers' Trainer"),
    ("optimizer.bin", "transformers' Trainer"),
    ("scheduler.pt", "transformers' Trainer"),
    ("scaler.pt", "transformers' Trainer"),
    ("rng_state*.pth", "transformers' Trainer"),
    ("train_results.json", "transformers' Trainer"),
    ("adapter_model.bin", "PEFT"),
];

/// A pickle of the Trainer's settings. It is never loaded, but the names of the classes in it say whose trainer it was.
const TRAINING_ARGUMENTS: &str = "training_args.bin";

/// Larger than any such pickle.
const ARGUMENTS_BYTES: u64 = 1 << 20;

fn trainer(path: &Path) -> &'static str {
    const MODULES: [(&str, &str); 5] = [
        ("axolotl", "axolotl"),
        ("Unsloth", "Unsloth"),
        ("llamafactory", "LLaMA-Factory"),
        ("swift", "ms-swift"),
        ("trl.", "TRL"),
    ];
    let bytes = aludel_files::read(path, ARGUMENTS_BYTES).unwrap_or_default();
    MODULES.iter().find(|(module, _)| mentions(&bytes, module)).map_or("transformers' Trainer", |(_, name)| name)
}

/// The log that axolotl keeps beside its checkpoints, under a name that others use too.
const LOG: &str = "debug.log";

/// Whether a log names axolotl where it begins.
fn is_of_axolotl(path: &Path) -> bool {
    const BEGINNING: u64 = 1 << 16;
    let mut start = Vec::new();
    let read = aludel_files::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut start));
    read.is_ok() && mentions(&start, "axolotl")
}

fn mentions(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Parts of a run in a folder without the file that identifies the run.
fn left(folder: &Path, names: &[String]) -> Option<String> {
    let mut left: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|&name| match name {
            ROWS_FOLDER_NAME => !is_row_cache(&folder.join(name)),
            RECIPE_FILE_NAME | RUN_FILE_NAME | METRICS_FILE_NAME | SESSIONS_FILE_NAME | SUMMARY_FILE_NAME
            | ADAPTER_FOLDER_NAME => true,
            _ => name.starts_with(PREFIX),
        })
        .collect();
    if left.contains(&RUN_FILE_NAME) {
        return Some(format!(
            "its {RUN_FILE_NAME} does not say which run this is: it is damaged, or of another program; restore it to resume the run"
        ));
    }
    const MOST: usize = 4;
    let more = left.len().saturating_sub(MOST);
    left.truncate(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!left.is_empty()).then(|| {
        format!(
            "it holds {}{more}, but no {RUN_FILE_NAME} that says of which run, and training would overwrite that or continue from it",
            left.join(", ")
        )
    })
}

/// How to start from the weights of the last checkpoint there that has some.
fn start(folder: &Path, names: &[String]) -> String {
    let step = |name: &&String| name.strip_prefix(PREFIX).and_then(|step| step.parse::<u64>().ok());
    let has_weights = |name: &&String| folder.join(name).join(peft::WEIGHTS_FILE_NAME).is_file();
    match names.iter().filter(|name| step(name).is_some()).filter(has_weights).max_by_key(step) {
        Some(name) => format!(", and to start from its weights there, --init-adapter {}", folder.join(name).display()),
        None => String::new(),
    }
}

/// A folder of tokenised rows is made before a run begins, and may be left by one that never did.
fn is_row_cache(folder: &Path) -> bool {
    folder.is_dir() && names(folder).iter().all(|name| name.ends_with(".rows"))
}

/// Folders in which other tools put a checkpoint.
fn is_inner(name: &str) -> bool {
    [PREFIX, "epoch_", "last-checkpoint"].iter().any(|start| name.starts_with(start))
}

/// Whether a name matches a pattern, in which one `*` matches any characters.
fn is_like(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
        None => name == pattern,
    }
}

/// The names in a folder, sorted; empty if it does not exist. Locks and temporaries of Aludel are left out.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with(".aludel"))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)]) -> Result<bool, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        is_begun(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_nobodys_is_free() {
        assert_eq!(check(&[]), Ok(false));
        assert_eq!(is_begun(Path::new("there/is/no/such/folder")).map_err(|error| error.to_string()), Ok(false));
        for free in [
            "log.txt",
            "debug.log",
            "rows.jsonl",
            "notes/training_args.bin",
            "report.json",
            ".aludel.lock",
            "rows/0123.rows",
        ] {
            assert_eq!(check(&[(free, "")]), Ok(false), "{free}");
        }
    }

    #[test]
    fn other_tools_are_told_by_their_files() {
        for (file, text, said) in [
            ("checkpoint-500/training_args.bin", "transformers.training_args", "a run of transformers' Trainer"),
            ("checkpoint-500/training_args.bin", "\u{1}trl.trainer.sft_config", "a run of TRL"),
            ("training_args.bin", "axolotl.core.training_args trl.trainer", "a run of axolotl"),
            ("training_args.bin", "UnslothSFTConfig trl.trainer", "a run of Unsloth"),
            ("checkpoint-500/trainer_state.json", "{}", "a run of transformers' Trainer"),
            ("trainer_state.json", "{}", "a run of transformers' Trainer"),
            ("checkpoint-500/optimizer.pt", "", "a run of transformers' Trainer"),
            ("checkpoint-500/scheduler.pt", "", "a run of transformers' Trainer"),
            ("checkpoint-500/rng_state_0.pth", "", "a run of transformers' Trainer"),
            ("checkpoint-500/global_step500/x", "", "a run of DeepSpeed"),
            ("trainer_log.jsonl", "", "a run of LLaMA-Factory"),
            ("0000100_adapters.safetensors", "", "a run of MLX"),
            ("adapters.safetensors", "", "a run of MLX"),
            ("epoch_0/recipe_state.pt", "", "a run of torchtune"),
            ("adapter_config.json", "{}", "an adapter's folder"),
            ("evaluation.json", "{}", "results of `aludel eval`"),
            ("model.gguf", "", "a model's folder"),
            ("model-00001-of-00002.safetensors", "", "a model's folder"),
            ("consolidated.00.pth", "", "a model's folder"),
            ("final/adapter_model.safetensors", "", "somebody's trained weights"),
            ("merged/model.safetensors", "", "somebody's trained weights"),
            ("last_run_prepared/0a1b/state.json", "{}", "a run of axolotl"),
            ("debug.log", "[2025-01-01 10:00:00,000] [INFO] [axolotl.utils.data] loading", "a run of axolotl"),
            ("checkpoint-5/debug.log", "axolotl", "a run of axolotl"),
            ("traces.db", "", "a place where a store of traces is kept"),
        ] {
            let refused = check(&[(file, text)]).unwrap_err();
            let by = file.trim_end_matches("/x").trim_end_matches("/0a1b/state.json");
            assert!(refused.contains(said) && refused.contains(&format!("told by {by}")), "{refused}");
            assert!(refused.contains("nothing of it was touched; give another --output-dir"), "{refused}");
        }
        let refused = check(&[("config.json", "{}"), ("model.safetensors", "")]).unwrap_err();
        assert!(refused.contains("a model's folder (told by config.json)"), "{refused}");
        for name in ["train.jsonl", "prompts.jsonl", "dropped.jsonl"] {
            let refused = check(&[("report.json", "{}"), (name, "")]).unwrap_err();
            assert!(refused.contains(&format!("a data set of `aludel curate` (told by {name})")), "{refused}");
        }
    }

    #[test]
    fn parts_of_a_run_are_not_taken_up() {
        for file in [
            "checkpoint-6/x",
            "checkpoint-6",
            "adapter/x",
            "metrics.jsonl",
            "sessions.jsonl",
            "recipe.toml",
            "summary.json",
            "rows/mine.txt",
            "rows",
        ] {
            let refused = check(&[(file, "")]).unwrap_err();
            let name = file.split('/').next().unwrap();
            assert!(refused.contains(&format!("it holds {name}, but no run.json")), "{refused}");
        }
        for text in ["", "{}", "[1]", "{\"aludel_version\": 1}"] {
            let refused = check(&[("run.json", text), ("checkpoint-6/x", "")]).unwrap_err();
            assert!(refused.contains("its run.json does not say which run this is"), "{refused}");
        }
        let weights = [("checkpoint-9/adapter_model.safetensors", ""), ("checkpoint-10/adapter_model.safetensors", "")];
        let refused = check(&weights).unwrap_err();
        assert!(refused.contains("--init-adapter") && refused.contains("checkpoint-10"), "{refused}");
        assert_eq!(check(&[("run.json", "{\"aludel_version\": \"0.1.0\", \"rows_key\": \"ab\"}")]), Ok(true));
    }
}
