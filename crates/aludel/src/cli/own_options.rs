//! Options that a command does not have: which of its own does the same, or which command has them. Names of other tools belong in
//! `aliases`.

use super::walk;
use clap::Command;
use std::collections::HashSet;

/// More commands than these have an option that is no help to name.
const MOST: usize = 3;

/// What does the same at a command, as it is typed without the program's name.
const INSTEAD: &[(&str, &str, &str)] = &[
    ("trace", "limit", FEWER_PROMPTS),
    ("plan trace", "limit", FEWER_PROMPTS),
    ("trace", "max-prompts", FEWER_PROMPTS),
    ("trace", "num-prompts", FEWER_PROMPTS),
    ("eval", "max-length", LONGEST_OF_WHAT),
];
const FEWER_PROMPTS: &str = "give a file of fewer prompts to --prompts (`head -n 100 prompts.jsonl > few.jsonl`); --max-cost and --max-total-tokens stop \
     a run early";

const LONGEST_OF_WHAT: &str = "give --max-new-tokens for the length of an answer; with --loss or --kl-to, --set train.max_length=VALUE for that of rows";

/// Names of one thing at several commands.
const SAME: &[&[&str]] = &[
    &["data", "input", "prompts", "tasks"],
    &["decontaminate", "eval-data"],
    &["limit", "rows", "count", "num-samples", "max-samples"],
    &["endpoint", "teacher", "base-url", "api-base", "url", "server"],
    &["output", "output-dir", "store"],
    &["max-length", "max-new-tokens", "sequence-length", "n-predict"],
    &["adapter", "init-adapter", "run"],
    &["student", "base", "tokenizer"],
];

/// What to do in place of an option that the command at `path` does not have, as typed (`--limit`).
pub(super) fn instead(root: &Command, path: &str, typed: &str) -> Option<String> {
    let below = path.strip_prefix(root.get_name()).unwrap_or(path).trim_start();
    let name = bare(typed);
    INSTEAD
        .iter()
        .find(|(command, option, _)| *command == below && *option == name)
        .map(|(.., told)| (*told).to_owned())
}

/// The options of a command itself that say the same in other words: `--max-new-tokens` for `--max-tokens`, `--input` for `--data`.
pub(super) fn of_the_command(command: &Command, typed: &str) -> Vec<String> {
    let name = bare(typed);
    let longs: Vec<&str> =
        command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(clap::Arg::get_long).collect();
    let words = |name: &str| name.split('-').map(str::to_owned).collect::<HashSet<String>>();
    let typed = words(&name);
    // One names all that the other does, and more.
    let by_words = longs.iter().filter(|long| {
        let own = words(long);
        typed.len() > 1 && (own.is_subset(&typed) || typed.is_subset(&own))
    });
    let found: Vec<String> = by_words.map(|long| format!("--{long}")).collect();
    if !found.is_empty() {
        return found;
    }
    let group = SAME.iter().find(|group| group.contains(&name.as_str())).copied().unwrap_or_default();
    longs.iter().filter(|long| group.contains(long)).map(|long| format!("--{long}")).collect()
}

/// Which other commands have an option.
pub(super) fn elsewhere(root: &Command, path: &str, typed: &str) -> Option<String> {
    let name = bare(typed);
    let mut others = Vec::new();
    walk(root, root.get_name(), &mut |command, other| {
        let has = command.get_arguments().any(|arg| !arg.is_hide_set() && arg.get_long() == Some(name.as_str()));
        if has && other != path {
            others.push(format!("`{other}`"));
        }
    });
    let have = match others.as_slice() {
        [] => return None,
        others if others.len() > MOST => return None,
        [other] => format!("{other} has it"),
        others => format!("{} have it", others.join(" and ")),
    };
    Some(have)
}

fn bare(typed: &str) -> String {
    typed.trim_start_matches('-').replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_command_has_is_told() {
        let root = super::super::command();
        let check = |path: &str, typed: &str, wanted: Option<&str>| {
            let found = instead(&root, path, typed).or_else(|| elsewhere(&root, path, typed));
            assert_eq!(found.as_deref(), wanted, "{path} {typed}");
        };
        check("aludel curate", "--prompt-suffix", Some("`aludel trace` and `aludel plan trace` have it"));
        check("aludel curate", "--prompt_suffix", Some("`aludel trace` and `aludel plan trace` have it"));
        check("aludel trace", "--limit", Some(FEWER_PROMPTS));
        check("aludel plan trace", "--limit", Some(FEWER_PROMPTS));
        check("aludel curate", "--watch", Some("`aludel trace` has it"));
        // Most commands have it, and its name says nothing of what was wanted.
        check("aludel gradients", "--json", None);
        check("aludel curate", "--nonsense", None);
    }

    #[test]
    fn what_the_command_itself_has_is_told() {
        let root = super::super::command();
        let check = |path: &str, typed: &str, wanted: &[&str]| {
            let below = path.split(' ').fold(&root, |command, name| command.find_subcommand(name).unwrap());
            assert_eq!(of_the_command(below, typed), wanted, "{path} {typed}");
        };
        check("eval", "--batch-size", &["--batch"]);
        check("eval", "--per-device-eval-batch-size", &["--batch"]);
        check("eval", "--max_tokens", &["--max-new-tokens"]);
        check("chat", "--max-tokens", &["--max-new-tokens"]);
        check("curate", "--data", &["--input"]);
        check("eval", "--input", &["--data", "--tasks"]);
        check("train", "--input", &["--data"]);
        check("chat", "--max-length", &["--max-new-tokens"]);
        check("curate", "--eval-data", &["--decontaminate"]);
        check("merge", "--run", &["--adapter"]);
        check("merge", "--base", &["--student"]);
        check("chat", "--n-predict", &["--max-new-tokens"]);
        check("merge", "--watch", &[]);
    }
}
