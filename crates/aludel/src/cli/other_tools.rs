//! Subcommands and options of other tools that have no counterpart in Aludel, each with what does that work here. Names that are settings
//! are in the list of `aludel_distill::settings` instead.

/// What a name of other tools leads to.
type Answers = &'static [(&'static [&'static str], &'static str)];

const COMMANDS: Answers = &[
    (
        &["sft", "finetune", "fine-tune", "fine_tune", "finetuning", "tune", "lora", "qlora", "fit", "learn"],
        "`aludel train` trains a LoRA adapter on traces",
    ),
    (
        &["distill", "distil", "distillation", "pipeline", "quickstart", "example"],
        "`aludel demo` runs the whole pipeline; its steps are `aludel trace`, `aludel curate`, `aludel train` and `aludel eval`",
    ),
    (
        &["generate", "gen", "sample", "predict", "infer", "inference"],
        "`aludel chat --prompt TEXT` has a model answer one question, and `aludel trace` has a teacher answer many",
    ),
    (&["run", "ask", "complete", "completion", "prompt", "talk", "cli"], "`aludel chat` answers questions"),
    (
        &["convert", "save", "fuse", "merge-lora", "merge_lora", "to-gguf", "gguf"],
        "`aludel merge` writes a Hugging Face model folder, `aludel export` a GGUF file, and `aludel trace export` the traces of a store",
    ),
    (
        &["quantize", "quantise", "quantization", "quant"],
        "`aludel export --type q4_k_m` writes a quantised GGUF file; `aludel train --quantize nf4` trains on weights that are quantised when \
         they are loaded",
    ),
    (
        &["server", "api", "webui", "webchat", "deploy", "launch"],
        "`aludel serve` answers over HTTP, with a page; vLLM also serves the folder that `aludel merge` writes",
    ),
    (
        &["dpo", "orpo", "kto", "ppo", "grpo", "rlhf", "rloo", "reward", "rm", "pretrain", "pt"],
        "students are trained by supervised fine-tuning alone, with `aludel train`",
    ),
    (
        &["evaluate", "evaluation", "score", "test", "lm_eval", "lm-eval", "validate", "perplexity", "ppl"],
        "`aludel eval` scores a model on tasks, and with --loss computes its loss",
    ),
    (
        &["benchmark", "speed", "throughput"],
        "`aludel bench` measures speed, and `aludel eval` scores a model on benchmarks",
    ),
    (&["report", "diff", "plot"], "`aludel compare` compares evaluations and writes a report"),
    (&["collect", "teacher", "query", "annotate", "label"], "`aludel trace` collects answers of a teacher"),
    (
        &["filter", "dedup", "dedupe", "deduplicate", "clean", "split", "verify", "prepare", "data", "dataset"],
        "`aludel curate` verifies, filters, deduplicates and splits traces",
    ),
    (
        &["preprocess", "tokenize", "tokenise", "show", "view", "preview"],
        "`aludel inspect` shows how rows are templated and tokenised; training does it by itself",
    ),
    (&["estimate", "cost", "price", "budget"], "`aludel plan` estimates tokens, time and cost of collecting traces"),
    (
        &["download", "pull", "fetch", "get"],
        "there is nothing to download beforehand: every command takes a model of the Hugging Face Hub as hf:owner/name",
    ),
    (
        &["login", "upload", "push"],
        "nothing is uploaded; models of the Hugging Face Hub that need an account are read with HF_TOKEN",
    ),
    (
        &["init", "config", "configure", "settings", "recipe", "recipes"],
        "`aludel schema` prints all settings of a recipe with their defaults",
    ),
    (&["resume", "continue"], "`aludel train --output-dir DIR --resume` resumes a run"),
    (&["status", "list", "ls"], "`aludel trace status` shows a store, and `aludel tasks list` the built-in tasks"),
    (&["manual", "docs"], "`aludel help COMMAND` explains a command"),
    (&["completion-script", "autocomplete"], "`aludel completions` prints shell completions"),
];

const ON_THE_PROCESSOR: &str = "leave it out: this version computes on the processor, on no GPU";

const OPTIONS: Answers = &[
    (
        &[
            "gpu",
            "gpus",
            "gpu_id",
            "gpu_ids",
            "gpu_layers",
            "n_gpu_layers",
            "ngl",
            "num_gpus",
            "cuda",
            "use_cuda",
            "use_gpu",
            "device",
            "devices",
            "mps",
            "rocm",
            "metal",
            "tensor_parallel_size",
        ],
        ON_THE_PROCESSOR,
    ),
    (&["dora", "lora_dora"], "give --set lora.use_dora=true"),
    (&["qlora"], "give --quantize nf4"),
];

/// What does the work of another tool's subcommand. The commands below the first level have no such names.
pub(super) fn command(name: &str) -> Option<&'static str> {
    answer(COMMANDS, &name.to_ascii_lowercase())
}

/// What to do without another tool's option, of which the name is given without hyphens.
pub(super) fn option(name: &str) -> Option<&'static str> {
    answer(OPTIONS, name)
}

fn answer(answers: Answers, name: &str) -> Option<&'static str> {
    Some(answers.iter().find(|(names, _)| names.contains(&name))?.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// A name that becomes a command of ours must leave the list, and commands in the answers must exist.
    #[test]
    fn foreign_commands_are_none_of_ours_and_lead_to_commands_that_exist() {
        let root = crate::cli::command();
        let mut seen = HashSet::new();
        for (names, answer) in COMMANDS {
            for name in *names {
                assert!(root.find_subcommand(name).is_none(), "{name} is a command");
                assert!(seen.insert(*name), "{name} is listed twice");
            }
            for typed in answer.split('`').skip(1).step_by(2) {
                let mut command = &root;
                for word in typed.split(' ').skip(1) {
                    if let Some(long) = word.strip_prefix("--") {
                        assert!(command.get_arguments().any(|arg| arg.get_long() == Some(long)), "{typed}");
                    } else if word != "help" && word.chars().all(|letter| letter.is_ascii_lowercase()) {
                        command = command.find_subcommand(word).unwrap_or_else(|| panic!("{typed}: no {word}"));
                    }
                }
            }
        }
    }

    #[test]
    fn foreign_options_are_none_of_ours() {
        let mut longs = HashSet::new();
        crate::cli::walk(&crate::cli::command(), "aludel", &mut |command, _| {
            longs.extend(command.get_arguments().filter_map(|arg| Some(arg.get_long()?.replace('-', "_"))));
        });
        for name in OPTIONS.iter().flat_map(|(names, _)| *names) {
            assert!(!longs.contains(*name), "{name} is an option");
        }
    }
}
