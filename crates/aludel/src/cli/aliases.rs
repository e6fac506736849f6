//! Aliases of options: names of transformers, TRL, LLaMA-Factory and Axolotl that mean an option of ours, and underscores in place of
//! hyphens. The list of names is in `aludel_distill::settings`.

use super::other_tools;
use crate::settings::scope::is_read_by;
use aludel_distill::settings::{
    ForeignName, Verdict, foreign_name, foreign_names_of, section_names, setting_names, top_level_name,
};
use clap::{Arg, Command};
use std::collections::HashSet;

/// Gives the options of a command, and of all below it, their further names. None of them shows in help.
pub(super) fn with_aliases(command: Command) -> Command {
    let longs = |arg: &Arg| {
        arg.get_long_and_visible_aliases().unwrap_or_default().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut taken: HashSet<String> = command.get_arguments().flat_map(longs).collect();
    taken.extend(["help", "version", "color"].map(str::to_owned));
    let has = |id: &str| command.get_arguments().any(|arg| arg.get_id() == id);
    let asks_a_teacher = has("teacher");
    let names_of = |arg: &Arg| {
        let (id, Some(long)) = (arg.get_id().as_str(), arg.get_long()) else { return Vec::new() };
        let mut names = vec![long.replace('-', "_")];
        match id {
            // Where a teacher is named, the model is the teacher's.
            "model" if asks_a_teacher => return names,
            "model" => names.push("student".to_owned()),
            "student" => names.push("model".to_owned()),
            _ => {}
        }
        for setting in settings_of(id) {
            names.extend(foreign_names_of(&setting).flat_map(|name| [name.to_owned(), name.replace('_', "-")]));
        }
        names
    };
    let mut further = Vec::new();
    for arg in command.get_arguments() {
        let names: Vec<String> = names_of(arg).into_iter().filter(|name| taken.insert(name.clone())).collect();
        further.push((arg.get_id().clone(), names));
    }
    let command =
        further.into_iter().fold(command, |command, (id, names)| command.mut_arg(id, |arg| arg.aliases(names)));
    command.mut_subcommands(with_aliases)
}

/// The settings that an option of this id may be: its key, with or without its section before it.
fn settings_of(id: &str) -> Vec<String> {
    match id {
        "student" | "model" => return vec!["student.model".to_owned()],
        "data" => return vec!["data.files".to_owned()],
        _ => {}
    }
    let of = |section: String| {
        let is_it = |name: &String| *name == id || format!("{section}_{name}") == id;
        setting_names(&section).into_iter().filter(is_it).map(|name| format!("{section}.{name}")).collect::<Vec<_>>()
    };
    section_names().into_iter().flat_map(of).collect()
}

/// The option of a command by which a setting is given.
fn option_of(command: &Command, setting: &str) -> Option<String> {
    let is_it = |arg: &&Arg| settings_of(arg.get_id().as_str()).iter().any(|own| own == setting);
    Some(format!("--{}", command.get_arguments().find(is_it)?.get_long()?))
}

/// What to do in place of an option that another tool has, as typed (`--cutoff-len`), at the command of this path. None where the list knows
/// nothing of it, or nothing that this command has or reads.
pub(super) fn replacement(command: &Command, path: &str, typed: &str) -> Option<String> {
    let name = typed.trim_start_matches('-').replace('-', "_");
    if let Some(answer) = other_tools::option(&name) {
        return Some(answer.to_owned());
    }
    let takes_settings = takes_settings(command);
    let reads = |setting: &str| takes_settings && is_read_by(path, setting);
    let way = |setting: &str| {
        let by_set = || reads(setting).then(|| format!("--set {setting}=VALUE"));
        option_of(command, setting).or_else(by_set)
    };
    let elsewhere = match top_level_name(&name).map(|foreign| foreign.verdict) {
        // A name of ours that means another setting in other tools: either may be meant.
        Some(Verdict::ReadAs(ours)) if !settings_of(&name).is_empty() => way(ours),
        _ => None,
    };
    let own = settings_of(&name);
    let ours: Vec<String> = elsewhere.into_iter().chain(own.iter().filter_map(|setting| way(setting))).collect();
    if !ours.is_empty() {
        return Some(format!("give {}", ours.join(" or ")));
    }
    let ForeignName { verdict, instead, .. } = foreign_name(&name)?;
    match verdict {
        Verdict::ReadAs(ours) => Some(format!("give {}", way(ours)?)),
        Verdict::Switch(ours, value) => match option_of(command, ours) {
            Some(option) => Some(format!("give {option} {value}")),
            None => reads(ours).then(|| format!("give --set {ours}={value}")),
        },
        Verdict::Accepted | Verdict::Only(_) => takes_settings.then(|| format!("leave it out: {instead}")),
        Verdict::Refused => match instead.strip_prefix("write ").and_then(first_setting) {
            // What is said beside it may be of settings that this command does not read.
            Some((setting, rest)) => {
                let is_of_here = settings_in(rest).all(|setting| way(setting).is_some());
                Some(format!("give {}{}", way(setting)?, if is_of_here { rest } else { "" }))
            }
            None => takes_settings.then(|| (*instead).to_owned()),
        },
    }
}

/// Whether a command has `--set`.
fn takes_settings(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == "assignments")
}

/// An option as help shows it, where a further name of it is given.
pub(super) fn shown_name(command: &Command, name: String) -> String {
    let bare = name.trim_start_matches('-');
    let has = |arg: &&Arg| arg.get_all_aliases().unwrap_or_default().contains(&bare);
    match command.get_arguments().find(has).and_then(Arg::get_long) {
        Some(long) => format!("--{long}"),
        None => name,
    }
}

/// The settings that a sentence names.
fn settings_in(sentence: &str) -> impl Iterator<Item = &str> {
    let words = sentence.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c)));
    words.map(|word| word.trim_end_matches('.')).filter(|word| {
        word.split_once('.').is_some_and(|(section, name)| setting_names(section).iter().any(|own| own == name))
    })
}

/// The setting that a sentence begins with, and what follows it.
fn first_setting(sentence: &str) -> Option<(&str, &str)> {
    let end = sentence.find(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c))).unwrap_or(sentence.len());
    let (setting, rest) = sentence.split_at(end);
    setting.contains('.').then_some((setting, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(name: &str) -> Command {
        super::super::command().find_subcommand(name).unwrap().clone()
    }

    #[test]
    fn names_of_other_tools_are_options_where_they_mean_the_same() {
        let train = [
            ("--lr", "learning_rate"),
            ("--learning_rate", "learning_rate"),
            ("--epochs", "num_train_epochs"),
            ("--num-epochs", "num_train_epochs"),
            ("--micro-batch-size", "per_device_train_batch_size"),
            ("--per_device_train_batch_size", "per_device_train_batch_size"),
            ("--sequence-len", "max_length"),
            ("--model", "student"),
            ("--model_name_or_path", "student"),
            ("--output", "output_dir"),
            ("--lora-rank", "lora_r"),
            ("--lora_alpha", "lora_alpha"),
        ];
        for (typed, id) in train {
            let matches = below("train").try_get_matches_from(["train", typed, "7"]).unwrap();
            let raw = matches.get_raw(id).and_then(|mut values| values.next());
            assert_eq!(raw, Some("7".as_ref()), "{typed}");
        }
        let chat = below("chat").try_get_matches_from(["chat", "--student", "s"]).unwrap();
        assert_eq!(chat.get_raw("model").and_then(|mut values| values.next()), Some("s".as_ref()));
    }

    #[test]
    fn a_teacher_s_model_is_no_student() {
        assert!(below("trace").try_get_matches_from(["trace", "--student", "s"]).is_err());
        assert!(below("trace").try_get_matches_from(["trace", "--base-model", "s"]).is_err());
    }

    #[test]
    fn what_means_something_else_is_answered_with_the_option_of_the_command() {
        let check = |command: &str, typed: &str, wanted: Option<&str>| {
            assert_eq!(
                replacement(&below(command), &format!("aludel {command}"), typed).as_deref(),
                wanted,
                "{command} {typed}"
            );
        };
        let longer = "; longer rows are left out, and only data.long_rows = \"truncate\" cuts them";
        check("train", "--warmup-steps", Some("give --set train.warmup_steps=VALUE"));
        check("train", "--base-model", Some("give --student or --set student.base_model=VALUE"));
        check("train", "--cutoff_len", Some(&format!("give --max-length{longer}")));
        check("train", "--val-size", Some("give --set data.test_size=VALUE"));
        check("curate", "--val-size", Some("give --test-size"));
        let batch = "give --per-device-train-batch-size for the rows of a micro-batch; a step takes that many times \
                     train.gradient_accumulation_steps";
        check("train", "--batch-size", Some(batch));
        check("train", "--load-in-4bit", Some("give --quantize nf4"));
        check("train", "--nonsense", None);
        // Settings of training, which it does not read.
        check("eval", "--per-device-eval-batch-size", None);
        check("chat", "--warmup-steps", None);
        // It has no such option, and takes no settings.
        check("merge", "--lr", None);
        check("tasks", "--fp16", None);
    }
}
