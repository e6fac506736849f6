//! The prompts that a run was trained on: hashes in its folder, and in a model that was merged from its adapter, so that an evaluation can
//! warn of prompts that were trained on. The data set reader defines when two prompts are the same; the caller words the warning.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aludel_data::dataset::{Content, PromptKey};
use aludel_formats::atomic;
use aludel_formats::hf::CONFIG_FILE_NAME;
use aludel_text::Message;

use crate::checkpoint::ADAPTER_FOLDER_NAME;
use crate::error::{Error, Result};
use crate::evaluate::task::{Problem, Task};

/// One hash a line, in order, of the prompts that a run is trained on.
pub const KNOWN_FILE_NAME: &str = "trained_prompts.txt";

/// The prompts that a run was trained on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainedPrompts(BTreeSet<PromptKey>);

impl TrainedPrompts {
    /// The prompts of these rows.
    pub fn new(prompts: impl IntoIterator<Item = PromptKey>) -> TrainedPrompts {
        TrainedPrompts(prompts.into_iter().collect())
    }

    /// Writes them into the folder of a run or of a merged model.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let lines: String = self.0.iter().map(|prompt| format!("{prompt}\n")).collect();
        Ok(atomic::write_bytes(&folder.join(KNOWN_FILE_NAME), lines.as_bytes())?)
    }

    /// Those of the run in a folder.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the file is missing or holds anything else.
    pub fn of_run(run: &Path) -> Result<TrainedPrompts> {
        let path = run.join(KNOWN_FILE_NAME);
        let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
        if !aludel_files::is_there(&path) {
            return Err(damaged(
                "this folder does not say which prompts were trained on; give the folder of a run of `aludel train`"
                    .to_owned(),
            ));
        }
        let text =
            aludel_files::read_to_string(&path, aludel_files::LARGE).map_err(|error| damaged(error.to_string()))?;
        let key = |(number, line): (usize, &str)| {
            let hash = u128::from_str_radix(line, 16).map(PromptKey);
            hash.map_err(|_| {
                damaged(format!("line {} is no hash of a prompt; restore the file, or remove it", number + 1))
            })
        };
        Ok(TrainedPrompts(text.lines().enumerate().map(key).collect::<Result<_>>()?))
    }

    /// Those of an adapter's run, if the adapter is still in the run's folder.
    ///
    /// # Errors
    /// As [`TrainedPrompts::of_run`] for a file that is there.
    pub fn of_adapter(adapter: &Path) -> Result<Option<TrainedPrompts>> {
        let run = run_of(adapter).filter(|run| aludel_files::is_there(run.join(KNOWN_FILE_NAME)));
        run.map(|run| TrainedPrompts::of_run(&run)).transpose()
    }

    /// Those of a merged model's folder; `None` for models without a record.
    ///
    /// # Errors
    /// As [`TrainedPrompts::of_run`] for a file that is there.
    pub fn of_model(model: &Path) -> Result<Option<TrainedPrompts>> {
        // A run's folder has them, too, and is no model.
        let is_model = [CONFIG_FILE_NAME, KNOWN_FILE_NAME].iter().all(|name| aludel_files::is_there(model.join(name)));
        is_model.then(|| TrainedPrompts::of_run(model)).transpose()
    }

    /// Those that a model and an adapter on it were trained on, as far as recorded; `None` if neither has a record.
    ///
    /// # Errors
    /// As [`TrainedPrompts::of_model`] and [`TrainedPrompts::of_adapter`].
    pub fn of_both(model: &Path, adapter: Option<&Path>) -> Result<Option<TrainedPrompts>> {
        let adapter = adapter.map_or(Ok(None), TrainedPrompts::of_adapter)?;
        Ok(TrainedPrompts::together(TrainedPrompts::of_model(model)?, adapter))
    }

    /// All of both.
    pub fn together(one: Option<TrainedPrompts>, other: Option<TrainedPrompts>) -> Option<TrainedPrompts> {
        match (one, other) {
            (Some(one), Some(other)) => Some(TrainedPrompts(one.0.into_iter().chain(other.0).collect())),
            (one, other) => one.or(other),
        }
    }

    /// Whether a prompt is among them.
    pub fn has(&self, prompt: PromptKey) -> bool {
        self.0.contains(&prompt)
    }

    /// Problems of a task that ask what is among them: as they are asked, or as the file has them.
    pub fn problems(&self, task: &Task) -> usize {
        let asks = |messages: &[Message]| self.has(PromptKey::of(&Content::Messages(messages.to_vec())));
        let is_known = |problem: &&Problem| asks(&problem.messages) || asks(&[Message::user(&problem.question)]);
        task.problems.iter().filter(is_known).count()
    }
}

/// The run's folder of `run/adapter` or `run/checkpoint-6`.
fn run_of(adapter: &Path) -> Option<PathBuf> {
    let adapter = std::path::absolute(adapter).ok()?;
    let name = adapter.file_name()?.to_str()?;
    let is_of_run = name == ADAPTER_FOLDER_NAME || name.starts_with("checkpoint-");
    adapter.parent().filter(|_| is_of_run).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_come_back_and_are_found_beside_the_adapter() {
        let folder = tempfile::tempdir().unwrap();
        let prompt = |text: &str| PromptKey::of(&Content::Messages(vec![Message::user(text)]));
        let known = TrainedPrompts::new([prompt("one"), prompt("two"), prompt("ONE ")]);
        known.write(folder.path()).unwrap();
        assert_eq!(TrainedPrompts::of_run(folder.path()).unwrap(), known);
        for inside in ["adapter", "checkpoint-6"] {
            assert_eq!(TrainedPrompts::of_adapter(&folder.path().join(inside)).unwrap(), Some(known.clone()));
        }
        assert_eq!(TrainedPrompts::of_adapter(&folder.path().join("mine")).unwrap(), None);
        assert!(known.has(prompt("Two")) && !known.has(prompt("three")));
        let model = tempfile::tempdir().unwrap();
        assert_eq!(TrainedPrompts::of_both(model.path(), None).unwrap(), None);
        TrainedPrompts::new([prompt("three")]).write(model.path()).unwrap();
        assert_eq!(TrainedPrompts::of_both(model.path(), None).unwrap(), None, "a run's folder is no model");
        std::fs::write(model.path().join(CONFIG_FILE_NAME), "{}").unwrap();
        let both = TrainedPrompts::of_both(model.path(), Some(&folder.path().join("adapter"))).unwrap().unwrap();
        assert!(both.has(prompt("one")) && both.has(prompt("three")) && !both.has(prompt("four")));
        std::fs::write(folder.path().join(KNOWN_FILE_NAME), "12\nzz\n").unwrap();
        let error = TrainedPrompts::of_run(folder.path()).unwrap_err().to_string();
        assert!(error.contains("line 2 is no hash"), "{error}");
        let error = TrainedPrompts::of_run(&folder.path().join("adapter")).unwrap_err().to_string();
        assert!(error.contains("which prompts were trained on"), "{error}");
    }
}
