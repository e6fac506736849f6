//! What to type after a command: the way from data to a student that answers leads from each command to another. Paths are written as
//! they would be typed.

use crate::commands::train::as_typed;
use std::path::Path;

/// A task that every student can be asked, where the data has nothing held back.
const USUAL_TASK: &str = "gsm8k --limit 100";
/// What curation holds back, beside the rows to train on.
const HELD_BACK: &str = "eval.jsonl";

/// After training: a score, or a model of its own.
pub(crate) fn after_training(student: &Path, adapter: &Path, data: &[std::path::PathBuf]) -> [String; 2] {
    let held_back = data.iter().filter_map(|file| Some(file.parent()?.join(HELD_BACK)));
    let held_back = held_back.into_iter().find(|file| file.is_file() && !data.contains(file));
    let tasks = held_back.map_or_else(|| USUAL_TASK.to_owned(), |file| as_typed(&file));
    let (student, adapter) = (as_typed(student), as_typed(adapter));
    [
        format!("aludel eval --model {student} --adapter {adapter} --tasks {tasks} --output-dir results"),
        format!("aludel merge --adapter {adapter} --output-dir merged"),
    ]
}

/// After merging: a conversation.
pub(crate) fn after_merging(merged: &Path) -> String {
    format!("aludel chat --model {}", as_typed(merged))
}

/// After an evaluation: what it is worth beside another, that of the student before its adapter or of what comes after it.
pub(crate) fn after_evaluation(results: &Path, is_adapted: bool) -> String {
    let results = as_typed(results);
    let (before, after) = if is_adapted { ("BEFORE", results.as_str()) } else { (results.as_str(), "AFTER") };
    format!("aludel compare {before} {after} --output-dir report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_s_results_are_those_after() {
        let results = Path::new("/r/one");
        assert_eq!(after_evaluation(results, true), "aludel compare BEFORE /r/one --output-dir report");
        assert_eq!(after_evaluation(results, false), "aludel compare /r/one AFTER --output-dir report");
    }

    #[test]
    fn what_was_held_back_is_asked_and_paths_are_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let data = [folder.path().join("train.jsonl")];
        let student = Path::new("/models/my student.gguf");
        let adapter = Path::new("/runs/run/adapter");
        let [eval, merge] = after_training(student, adapter, &data);
        assert_eq!(
            eval,
            "aludel eval --model '/models/my student.gguf' --adapter /runs/run/adapter --tasks gsm8k --limit 100 --output-dir results"
        );
        assert_eq!(merge, "aludel merge --adapter /runs/run/adapter --output-dir merged");
        std::fs::write(folder.path().join(HELD_BACK), "").unwrap();
        let [eval, _] = after_training(student, adapter, &data);
        assert!(eval.contains(&format!("--tasks {}", as_typed(&folder.path().join(HELD_BACK)))), "{eval}");
    }
}
