//! The command that is suggested after another one, on the way from data to a trained student. Paths are quoted for the shell.

use crate::provenance::current_provenance;
use crate::shell_path::{python_quoted, shell_quoted};
use aludel_distill::checkpoint::shell_word;
use aludel_distill::settings::{DataSettings, Quantize, Recipe, StudentSettings};
use std::path::{Path, PathBuf};

/// Tasks that every student can be asked without a network, where the data has nothing held back.
const USUAL_TASKS: &str = "ages dice --limit 50";
/// What curation writes to train on.
const TO_TRAIN_ON: &str = "train.jsonl";
/// What curation holds back, beside the rows to train on.
const HELD_BACK: &str = "eval.jsonl";

/// The student where a command was given none: small, and there for everybody.
const USUAL_STUDENT: &str = "hf:HuggingFaceTB/SmolLM2-135M-Instruct";

/// The same where rows have tools, which the template of the usual student drops.
const STUDENT_WITH_TOOLS: &str = "hf:Qwen/Qwen2.5-0.5B-Instruct";

/// What was typed, to be typed again.
pub(crate) fn as_typed() -> String {
    typed(&current_provenance().command)
}

fn typed(words: &[String]) -> String {
    words.iter().map(|word| shell_word(Path::new(word))).collect::<Vec<_>>().join(" ")
}

/// What goes on with the training that was typed, whether it has begun its folder or not.
pub(crate) fn resumed(typed_words: &[String]) -> String {
    let resume = if typed_words.iter().any(|word| word == "--resume") { "" } else { " --resume" };
    typed(typed_words) + resume
}

/// After collecting, or writing out what was collected: a training set of it.
pub(crate) fn after_collecting(store: &Path) -> String {
    format!("aludel curate --input {} --output-dir curated", shell_quoted(store))
}

/// After curating: training on what is kept, on the student that measured it, if one did. Rows with tools need a student whose template
/// renders them. What was held back is evaluated on, so that training does not divide the rest again.
pub(crate) fn after_curating(folder: &Path, student: Option<&Path>, has_tools: bool, has_held_back: bool) -> String {
    let usual = if has_tools { STUDENT_WITH_TOOLS } else { USUAL_STUDENT };
    let student = student.map_or_else(|| usual.to_owned(), shell_quoted);
    let data = shell_quoted(&folder.join(TO_TRAIN_ON));
    let held_back = match has_held_back {
        true => format!(" --eval-data {}", shell_quoted(&folder.join(HELD_BACK))),
        false => String::new(),
    };
    format!("aludel train --student {student} --data {data}{held_back} --output-dir run")
}

/// After writing the prompts of a next round: the teacher's answers to them, which only the user knows where to get.
pub(crate) fn after_failed(prompts: &Path) -> String {
    format!("aludel trace --prompts {} --teacher URL --model NAME --store traces.db", shell_quoted(prompts))
}

/// After making problems: training on them, or a score on those that are kept for testing.
pub(crate) fn after_making(problems: &Path, are_for_testing: bool) -> String {
    let problems = shell_quoted(problems);
    match are_for_testing {
        false => format!("aludel train --student {USUAL_STUDENT} --data {problems} --output-dir run"),
        true => format!("aludel eval --model {USUAL_STUDENT} --tasks {problems} --output-dir results"),
    }
}

/// After inspecting data with rows that training refuses and curation drops.
pub(crate) fn after_refusal(data: &[PathBuf]) -> String {
    let data: Vec<String> = data.iter().map(|file| shell_quoted(file)).collect();
    format!("aludel curate --input {} --output-dir curated", data.join(" "))
}

/// After inspecting: training, by the command that was typed without what only inspection knows.
pub(crate) fn after_inspecting(typed: &[String], has_folder: bool) -> String {
    let mut words = Vec::new();
    let mut is_value = false;
    for word in typed {
        let is_alone = ["--tokens", "--full", "--json"].contains(&word.as_str()) || word.starts_with("--rows=");
        if std::mem::take(&mut is_value) || is_alone {
            continue;
        }
        if word == "--rows" {
            is_value = true;
            continue;
        }
        let word = if word == "inspect" && !words.contains(&"train".to_owned()) { "train" } else { word };
        words.push(shell_word(Path::new(word)));
    }
    // A recipe may name its folder.
    words.extend((!has_folder).then(|| "--output-dir run".to_owned()));
    words.join(" ")
}

/// After planning: what was planned, which is the command that was typed without the word for planning.
pub(crate) fn after_planning(typed: &[String]) -> String {
    let plan = typed.iter().position(|word| word == "plan");
    let words = typed.iter().enumerate().filter(|(at, _)| Some(*at) != plan);
    words.map(|(_, word)| shell_word(Path::new(word))).collect::<Vec<_>>().join(" ")
}

/// After training: a score, or a model of its own. Rows that training evaluated on may have no right answer to score by, and a loss in any
/// case.
pub(crate) fn after_training(student: &StudentSettings, adapter: &Path, data: &DataSettings) -> Option<[String; 2]> {
    let held_back = data.files.iter().filter_map(|file| Some(file.parent()?.join(HELD_BACK)));
    let held_back = held_back.into_iter().find(|file| file.is_file() && !data.files.contains(file));
    let (model, adapter) = (shell_quoted(student.model.as_ref()?), shell_quoted(adapter));
    // as it was trained, so that figures can be compared
    let quantize = match student.quantize {
        Quantize::None => String::new(),
        how => format!(" --quantize {}", how.name()),
    };
    let model = format!("--model {model} --adapter {adapter}{quantize}");
    let evaluate = match (held_back, data.eval_files.as_slice()) {
        (Some(file), _) => format!("aludel eval {model} --tasks {} --output-dir results", shell_quoted(&file)),
        (None, []) => format!("aludel eval {model} --tasks {USUAL_TASKS} --output-dir results"),
        (None, files) => {
            let files: Vec<String> = files.iter().map(|file| shell_quoted(file)).collect();
            format!("aludel eval --loss {model} --data {}", files.join(" "))
        }
    };
    Some([evaluate, format!("aludel merge --adapter {adapter} --output-dir merged")])
}

/// After the loss of an adapter: a model of its own.
pub(crate) fn after_loss(adapter: &Path) -> String {
    format!("aludel merge --adapter {} --output-dir merged", shell_quoted(adapter))
}

/// After caching a teacher: training on what it said.
pub(crate) fn after_caching(recipe: &Recipe, folder: &Path) -> String {
    let student = recipe.student.model.as_deref().map_or_else(|| USUAL_STUDENT.to_owned(), shell_quoted);
    let data: Vec<String> = recipe.data.files.iter().map(|file| shell_quoted(file)).collect();
    let temperature = match recipe.distill.temperature {
        1.0 => String::new(),
        other => format!(" --set distill.temperature={other}"),
    };
    // What the teacher saw is a part of what its rows are found by.
    let context = recipe.distill.teacher_context();
    let seen = context.map(|seen| [("teacher_system", seen.system), ("teacher_context_column", seen.column)]);
    let seen: String = seen
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key, value?)))
        .map(|(key, value)| format!(" --set {}", shell_quoted(Path::new(&format!("distill.{key}={value}")))))
        .collect();
    format!(
        "aludel train --student {student} --data {} --set distill.kind=logits --set distill.cache={}{temperature}{seen} --output-dir run",
        data.join(" "),
        shell_quoted(folder)
    )
}

/// After merging: a conversation.
pub(crate) fn after_merging(merged: &Path) -> String {
    format!("aludel chat --model {}", shell_quoted(merged))
}

/// After exporting: a conversation with the written file.
pub(crate) fn after_exporting(file: &Path) -> String {
    format!("aludel chat --model {}", shell_quoted(file))
}

/// After merging: what else runs the model.
pub(crate) fn other_runtimes(merged: &Path) -> String {
    let (typed, text) = (shell_quoted(merged), python_quoted(merged));
    format!("`vllm serve {typed}`, or transformers' from_pretrained({text}); llama.cpp and Ollama: `aludel help merge`")
}

/// After an evaluation: what it is worth beside another, that of the student before its adapter or of what comes after it.
pub(crate) fn after_evaluation(results: &Path, is_adapted: bool) -> String {
    let results = shell_quoted(results);
    let (before, after) = if is_adapted { ("BEFORE", results.as_str()) } else { (results.as_str(), "AFTER") };
    format!("aludel compare {before} {after} --output-dir report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_planned_is_typed_as_it_was() {
        let typed = ["aludel", "--color", "never", "plan", "trace", "--model", "plan", "--prompts", "my prompts.jsonl"];
        assert_eq!(
            after_planning(&typed.map(str::to_owned)),
            "aludel --color never trace --model plan --prompts 'my prompts.jsonl'"
        );
        let curated = "aludel curate --input '/stores/my traces.db' --output-dir curated";
        assert_eq!(after_collecting(Path::new("/stores/my traces.db")), curated);
    }

    #[test]
    fn a_stopped_training_is_typed_with_resume() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let train = "aludel train --data a.jsonl --output-dir run --resume";
        assert_eq!(resumed(&words("aludel train --data a.jsonl --output-dir run")), train);
        assert_eq!(resumed(&words(train)), train);
        assert_eq!(typed(&["aludel".to_owned(), "my rows.jsonl".to_owned()]), "aludel 'my rows.jsonl'");
    }

    #[test]
    fn a_cache_is_learnt_from_with_what_its_teacher_saw() {
        let mut recipe = Recipe::default();
        recipe.student.model = Some("/m/student".into());
        recipe.data.files = vec!["/d/rows.jsonl".into()];
        let own =
            "aludel train --student /m/student --data /d/rows.jsonl --set distill.kind=logits --set distill.cache=/c";
        assert_eq!(after_caching(&recipe, Path::new("/c")), format!("{own} --output-dir run"));
        recipe.distill.teacher_system = Some("Be right.".to_owned());
        recipe.distill.teacher_context_column = Some("hint".to_owned());
        let seen = "--set 'distill.teacher_system=Be right.' --set distill.teacher_context_column=hint";
        assert_eq!(after_caching(&recipe, Path::new("/c")), format!("{own} {seen} --output-dir run"));
    }

    #[test]
    fn what_was_made_is_trained_on_or_asked() {
        let train =
            "aludel train --student hf:HuggingFaceTB/SmolLM2-135M-Instruct --data '/d/my dice.jsonl' --output-dir run";
        assert_eq!(after_making(Path::new("/d/my dice.jsonl"), false), train);
        let eval =
            "aludel eval --model hf:HuggingFaceTB/SmolLM2-135M-Instruct --tasks /d/dice.jsonl --output-dir results";
        assert_eq!(after_making(Path::new("/d/dice.jsonl"), true), eval);
        let train = "aludel train --student '/m/my student' --data '/my out/train.jsonl' --output-dir run";
        assert_eq!(after_curating(Path::new("/my out"), Some(Path::new("/m/my student")), true, false), train);
        let held_back = train.replace(" --output", " --eval-data '/my out/eval.jsonl' --output");
        assert_eq!(after_curating(Path::new("/my out"), Some(Path::new("/m/my student")), true, true), held_back);
        let student =
            |has_tools| after_curating(Path::new("/out"), None, has_tools, false).split(' ').nth(3).map(str::to_owned);
        assert_eq!(student(false).as_deref(), Some("hf:HuggingFaceTB/SmolLM2-135M-Instruct"));
        assert_eq!(student(true).as_deref(), Some("hf:Qwen/Qwen2.5-0.5B-Instruct"));
        let trace = "aludel trace --prompts '/next round/prompts.jsonl' --teacher URL --model NAME --store traces.db";
        assert_eq!(after_failed(Path::new("/next round/prompts.jsonl")), trace);
    }

    #[test]
    fn what_was_inspected_is_trained_on_or_curated() {
        let of = |typed: &str, has_folder| {
            let typed: Vec<String> = typed.split(' ').map(str::to_owned).collect();
            after_inspecting(&typed, has_folder)
        };
        let typed = "aludel inspect --student inspect --data r.jsonl --rows 3 --tokens --max-length 64 --rows=2 --set a={b='c'}";
        let train =
            "aludel train --student inspect --data r.jsonl --max-length 64 --set 'a={b='\\''c'\\''}' --output-dir run";
        assert_eq!(of(typed, false), train);
        assert_eq!(of("aludel inspect --recipe r.toml --full", true), "aludel train --recipe r.toml");
        assert_eq!(
            after_refusal(&["/d/my rows.jsonl".into()]),
            "aludel curate --input '/d/my rows.jsonl' --output-dir curated"
        );
    }

    #[test]
    fn an_adapter_s_results_are_those_after() {
        let results = Path::new("/r/one");
        assert_eq!(after_evaluation(results, true), "aludel compare BEFORE /r/one --output-dir report");
        assert_eq!(after_evaluation(results, false), "aludel compare /r/one AFTER --output-dir report");
    }

    #[test]
    fn what_was_held_back_is_asked_and_paths_are_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let mut data = DataSettings { files: vec![folder.path().join("train.jsonl")], ..DataSettings::default() };
        let mut student =
            StudentSettings { model: Some("/models/my student.gguf".into()), ..StudentSettings::default() };
        let adapter = Path::new("/runs/run/adapter");
        let model = "--model '/models/my student.gguf' --adapter /runs/run/adapter";
        let [eval, merge] = after_training(&student, adapter, &data).unwrap();
        assert_eq!(eval, format!("aludel eval {model} --tasks ages dice --limit 50 --output-dir results"));
        assert_eq!(merge, "aludel merge --adapter /runs/run/adapter --output-dir merged");
        data.eval_files = vec!["/data/held back.jsonl".into()];
        let [eval, _] = after_training(&student, adapter, &data).unwrap();
        assert_eq!(eval, format!("aludel eval --loss {model} --data '/data/held back.jsonl'"));
        student.quantize = Quantize::Nf4;
        let [eval, _] = after_training(&student, adapter, &data).unwrap();
        assert_eq!(eval, format!("aludel eval --loss {model} --quantize nf4 --data '/data/held back.jsonl'"));
        std::fs::write(folder.path().join(HELD_BACK), "").unwrap();
        let [eval, _] = after_training(&student, adapter, &data).unwrap();
        assert!(eval.contains(&format!("--tasks {}", shell_quoted(&folder.path().join(HELD_BACK)))), "{eval}");
    }

    #[test]
    fn a_merged_model_is_named_to_other_tools_as_it_would_be_typed() {
        let told = other_runtimes(Path::new("/models/my merged"));
        let wanted = "`vllm serve '/models/my merged'`, or transformers' from_pretrained(\"/models/my merged\"); llama.cpp and Ollama: \
                      `aludel help merge`";
        assert_eq!(told, wanted);
    }
}
