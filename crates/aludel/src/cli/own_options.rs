//! Options of one command that are given to another: which command has them, or which option does the same here. Names of other tools
//! belong in `aliases`.

use super::walk;
use clap::Command;

/// More commands than these have an option that is no help to name.
const MOST: usize = 3;

/// What does the same at a command, as it is typed without the program's name.
const INSTEAD: &[(&str, &str, &str)] = &[
    ("trace", "limit", FEWER_PROMPTS),
    ("plan trace", "limit", FEWER_PROMPTS),
    ("trace", "max-prompts", FEWER_PROMPTS),
    ("trace", "num-prompts", FEWER_PROMPTS),
];
const FEWER_PROMPTS: &str = "give a file of fewer prompts to --prompts (`head -n 100 prompts.jsonl > few.jsonl`); --max-cost and --max-total-tokens stop \
     a run early";

/// What to do in place of an option that the command at `path` does not have, as typed (`--limit`).
pub(super) fn hint(root: &Command, path: &str, typed: &str) -> Option<String> {
    let name = typed.trim_start_matches('-').replace('_', "-");
    let below = path.strip_prefix(root.get_name()).unwrap_or(path).trim_start();
    if let Some((.., instead)) = INSTEAD.iter().find(|(command, option, _)| *command == below && *option == name) {
        return Some((*instead).to_owned());
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_command_has_is_told() {
        let root = super::super::command();
        let check = |path: &str, typed: &str, wanted: Option<&str>| {
            assert_eq!(hint(&root, path, typed).as_deref(), wanted, "{path} {typed}");
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
}
