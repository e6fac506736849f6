//! Usage errors in the three lines that all errors have: what, reason, help. clap decides what is wrong; this file only words it. The
//! messages quote the command line, which the console escapes.

use super::{aliases, help, other_tools, own_options, walk};
use crate::report::UsageError;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// The usage error for a parsing error; `typed` is the command line, with the name of the program first.
pub(crate) fn usage_error(error: &Error, root: &Command, typed: &[String]) -> UsageError {
    let (command, path) = meant(error, root, typed);
    let of = |kind: ContextKind| words(error.get(kind));
    let one = |kind: ContextKind| of(kind).into_iter().next().unwrap_or_default();
    let listed = format!("`{path} --help` lists what there is");
    let (arg, value) = (one(ContextKind::InvalidArg), one(ContextKind::InvalidValue));
    let wrong = |what: String, reason: String, mend: String| UsageError { what, reason, mend };
    match error.kind() {
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            let mut near: Vec<String> = of(ContextKind::SuggestedArg);
            near.iter_mut().for_each(|name| *name = aliases::shown_name(&command, std::mem::take(name)));
            near.retain(|name| is_near(&arg, name));
            let misspelt = near.iter().filter(|name| strsim::damerau_levenshtein(&arg, name) <= 1).cloned().collect();
            let given = |names: Vec<String>| (!names.is_empty()).then(|| format!("give {}", names.join(" or ")));
            // What the command itself has comes before what others have.
            let known = own_options::instead(root, &path, &arg)
                .or_else(|| aliases::replacement(&command, &path, &arg))
                .or_else(|| did_you_mean(misspelt))
                .or_else(|| given(own_options::of_the_command(&command, &arg)))
                .or_else(|| own_options::elsewhere(root, &path, &arg))
                .or_else(|| did_you_mean(near));
            let known = known.map(|known| if known.ends_with('?') { known + " " } else { known + "; " });
            let mend = known.unwrap_or_default() + &listed;
            wrong(arg, format!("`{path}` has no such option"), mend)
        }
        ErrorKind::UnknownArgument => {
            let example = help::first_example(&command).map(|example| format!(", as in: {example}"));
            let mend = format!("give it behind the option that it belongs to{}; {listed}", example.unwrap_or_default());
            wrong(arg, format!("`{path}` takes nothing here"), mend)
        }
        ErrorKind::InvalidSubcommand => {
            let typed = one(ContextKind::InvalidSubcommand);
            let foreign =
                other_tools::command(&typed).filter(|_| path == root.get_name()).map(|known| format!("{known}; "));
            let near = || did_you_mean(nearest(&typed, of(ContextKind::SuggestedSubcommand))).map(|near| near + " ");
            let mend = format!("{}`{path} --help` lists the commands", foreign.or_else(near).unwrap_or_default());
            wrong(typed, "there is no such command".to_owned(), mend)
        }
        ErrorKind::InvalidValue if value.is_empty() => wrong(
            arg,
            "its value is missing".to_owned(),
            format!("give one{}; {listed}", choices(&of(ContextKind::ValidValue))),
        ),
        ErrorKind::InvalidValue => {
            let known = did_you_mean(of(ContextKind::SuggestedValue)).map(|known| format!("{known} "));
            let (known, valid) = (known.unwrap_or_default(), of(ContextKind::ValidValue));
            let mend = format!("{known}give {}", valid.join(" or "));
            wrong(format!("{arg} = {value}"), "this cannot be chosen".to_owned(), mend)
        }
        ErrorKind::ValueValidation => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            let reason = source.unwrap_or_else(|| "this cannot be taken here".to_owned());
            wrong(format!("{arg} = {value}"), reason, format!("`{path} --help` says what it stands for"))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = of(ContextKind::InvalidArg);
            // One of several options is written "<--one|--other <VALUE>>".
            let choices = |missing: &String| -> Option<Vec<String>> {
                let inner = missing.strip_prefix("<--")?.strip_suffix('>')?;
                Some(inner.split("|--").map(|name| format!("--{name}")).collect())
            };
            let one_of = missing.iter().find_map(choices);
            let needed = match one_of {
                Some(_) => "one of them",
                None if missing.len() == 1 => "it",
                None => "them",
            };
            let told: Vec<String> =
                missing.iter().map(|name| choices(name).map_or(name.clone(), |names| names.join(" or "))).collect();
            let names: Vec<String> = missing
                .iter()
                .map(|name| choices(name).and_then(|names| names.into_iter().next()).unwrap_or(name.clone()))
                .collect();
            let example = help::example_with(&command, &names).map(|example| format!("for example: {example}"));
            wrong(told.join(", "), format!("`{path}` needs {needed}"), example.unwrap_or(listed))
        }
        ErrorKind::ArgumentConflict => {
            let others = of(ContextKind::PriorArg);
            let (reason, mend) = match others.as_slice() {
                [] => ("it cannot be given with the others".to_owned(), "leave it out, or the others".to_owned()),
                [other] if *other == arg => ("it was given more than once".to_owned(), "give it once".to_owned()),
                others => {
                    (format!("it cannot be given with {}", others.join(", ")), "leave one of them out".to_owned())
                }
            };
            wrong(if arg.is_empty() { one(ContextKind::InvalidSubcommand) } else { arg }, reason, mend)
        }
        ErrorKind::TooFewValues | ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues => {
            let what = if value.is_empty() { arg } else { format!("{arg} = {value}") };
            wrong(what, "it does not take this number of values".to_owned(), format!("`{path} --help` says how many"))
        }
        ErrorKind::InvalidUtf8 => {
            let (what, reason) = ("the command line".to_owned(), "a word of it is not text in UTF-8".to_owned());
            wrong(what, reason, "give names and values in UTF-8".to_owned())
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            wrong(first, format!("`{path}` cannot be run like this"), listed)
        }
    }
}

/// The command that the error is about, and how it is typed: its usage names it, or else the words that name commands.
fn meant(error: &Error, root: &Command, typed: &[String]) -> (Command, String) {
    let usage = words(error.get(ContextKind::Usage)).join(" ");
    let usage = usage.trim_start_matches("Usage:").trim();
    let named = if usage.is_empty() { by_words(root, typed) } else { usage.to_owned() };
    let mut found = (root.clone(), root.get_name().to_owned());
    walk(root, root.get_name(), &mut |command, path| {
        if format!("{named} ").starts_with(&format!("{path} ")) && path.len() >= found.1.len() {
            found = (command.clone(), path.to_owned());
        }
    });
    found
}

/// The commands among the words, each below the one before it.
fn by_words(root: &Command, typed: &[String]) -> String {
    let (mut command, mut path) = (root, root.get_name().to_owned());
    for word in typed.iter().skip(1) {
        if let Some(below) = command.find_subcommand(word) {
            command = below;
            path.push_str(&format!(" {}", below.get_name()));
        }
    }
    path
}

/// Of the names that clap suggests, those closest to what was typed.
fn nearest(typed: &str, suggested: Vec<String>) -> Vec<String> {
    let distance = |name: &String| strsim::damerau_levenshtein(typed, name);
    let least = suggested.iter().map(distance).min();
    suggested.into_iter().filter(|name| Some(distance(name)) == least).collect()
}

/// Whether an option may be meant: clap also suggests what has only some letters in common.
fn is_near(typed: &str, name: &str) -> bool {
    const NEAR: f64 = 0.6;
    name.starts_with(typed) || strsim::normalized_damerau_levenshtein(typed, name) >= NEAR
}

fn did_you_mean(suggested: Vec<String>) -> Option<String> {
    (!suggested.is_empty()).then(|| format!("did you mean {}?", suggested.join(" or ")))
}

fn choices(valid: &[String]) -> String {
    if valid.is_empty() { String::new() } else { format!(": {}", valid.join(" or ")) }
}

fn words(value: Option<&ContextValue>) -> Vec<String> {
    match value {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::StyledStr(text)) => vec![text.to_string()],
        Some(ContextValue::StyledStrs(texts)) => texts.iter().map(ToString::to_string).collect(),
        Some(ContextValue::Number(number)) => vec![number.to_string()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;
    use crate::value_parser::is_number;

    fn check(arguments: &[&str], what: &str, reason: &str, mend: &str) {
        let root = command();
        let typed = [&["aludel"], arguments].concat();
        let error = root.clone().try_get_matches_from(&typed).unwrap_err();
        let typed: Vec<String> = typed.into_iter().map(str::to_owned).collect();
        let wanted = UsageError { what: what.to_owned(), reason: reason.to_owned(), mend: mend.to_owned() };
        assert_eq!(usage_error(&error, &root, &typed), wanted, "{arguments:?}");
    }

    #[test]
    fn each_kind_of_mistake_has_its_words() {
        let inspect = "`aludel inspect --help` lists what there is";
        check(
            &["inspect", "--studnet", "x"],
            "--studnet",
            "`aludel inspect` has no such option",
            &format!("did you mean --student? {inspect}"),
        );
        check(
            &["tasks", "make", "dice", "--count", "-5", "--output", "x"],
            "--count <N> = -5",
            "it must be a whole number from 1 to 1,000,000",
            "`aludel tasks make --help` says what it stands for",
        );
        check(
            &["eval", "--model", "m", "--data", "d"],
            "--loss or --kl-to <TEACHER>",
            "`aludel eval` needs one of them",
            "for example: aludel eval --loss --model student.gguf --adapter run/adapter --data held-back.jsonl",
        );
        let eval = "`aludel eval --help` lists what there is";
        for (typed, known) in [
            ("--batch-size", "give --batch"),
            ("--per-device-eval-batch-size", "give --batch"),
            ("--max-tokens", "give --max-new-tokens"),
            (
                "--max-length",
                "give --max-new-tokens for the length of an answer; with --loss or --kl-to, --set train.max_length=VALUE for that of rows",
            ),
            ("--sample", "did you mean --samples?"),
        ] {
            let end = if known.ends_with('?') { " " } else { "; " };
            check(&["eval", typed, "9"], typed, "`aludel eval` has no such option", &format!("{known}{end}{eval}"));
        }
        let chat = "give --max-new-tokens; `aludel chat --help` lists what there is";
        check(&["chat", "--max-tokens", "9"], "--max-tokens", "`aludel chat` has no such option", chat);
        let batch = "`aludel chat --help` lists what there is";
        check(&["chat", "--batch-size", "9"], "--batch-size", "`aludel chat` has no such option", batch);
        let curate = "give --input; `aludel curate --help` lists what there is";
        check(&["curate", "--data", "a"], "--data", "`aludel curate` has no such option", curate);
        let train = "`aludel train --help` lists what there is";
        let no_gpu = format!("leave it out: this version computes on the processor, on no GPU; {train}");
        check(&["train", "--device", "cuda"], "--device", "`aludel train` has no such option", &no_gpu);
        check(&["train", "--gpu"], "--gpu", "`aludel train` has no such option", &no_gpu);
        let dora = format!("give --set lora.use_dora=true; {train}");
        check(&["train", "--dora"], "--dora", "`aludel train` has no such option", &dora);
        check(
            &["train", "--cutoff-len", "9"],
            "--cutoff-len",
            "`aludel train` has no such option",
            "give --max-length; longer rows are left out, and only data.long_rows = \"truncate\" cuts them; \
             `aludel train --help` lists what there is",
        );
        check(
            &["inspect", "rows.jsonl"],
            "rows.jsonl",
            "`aludel inspect` takes nothing here",
            &format!(
                "give it behind the option that it belongs to, as in: aludel inspect --student student.gguf --data \
                 traces.jsonl; {inspect}"
            ),
        );
        check(
            &["inspekt"],
            "inspekt",
            "there is no such command",
            "did you mean inspect? `aludel --help` lists the commands",
        );
        check(
            &["trace", "statsu"],
            "statsu",
            "there is no such command",
            "did you mean status? `aludel trace --help` lists the commands",
        );
        check(&["tran"], "tran", "there is no such command", "did you mean train? `aludel --help` lists the commands");
        check(
            &["sft", "--student", "s"],
            "sft",
            "there is no such command",
            "`aludel train` trains a LoRA adapter on traces; `aludel --help` lists the commands",
        );
        check(
            &["webui"],
            "webui",
            "there is no such command",
            "`aludel serve` answers over HTTP, with a page; vLLM also serves the folder that `aludel merge` writes; \
             `aludel --help` lists the commands",
        );
        check(
            &["merge", "--adapter", "a", "--output-dir", "b", "--dtype", "f64"],
            "--dtype <DTYPE> = f64",
            "this cannot be chosen",
            "give bf16 or f16 or f32",
        );
        check(
            &["inspect", "--rows", "many"],
            "--rows <N> = many",
            "it must be a whole number of 0 or more",
            "`aludel inspect --help` says what it stands for",
        );
        check(&["inspect", "--student"], "--student <PATH>", "its value is missing", &format!("give one; {inspect}"));
        check(
            &["merge"],
            "--adapter <DIR>, --output-dir <DIR>",
            "`aludel merge` needs them",
            "for example: aludel merge --adapter run/adapter --output-dir merged",
        );
        check(
            &["chat", "--model", "a", "--model", "b"],
            "--model <PATH>",
            "it was given more than once",
            "give it once",
        );
    }

    /// No number of any command falls back on the words of the standard library or of clap.
    #[test]
    fn every_number_says_what_it_may_be() {
        let root = crate::cli::command();
        let mut seen = 0;
        walk(&root, "aludel", &mut |command, path| {
            for argument in command.get_arguments().filter(|argument| is_number(argument)) {
                let Some(name) = argument.get_long() else { continue };
                let mut typed: Vec<String> = path.split(' ').map(str::to_owned).collect();
                for value in ["x", "--"] {
                    typed.push(format!("--{name}={value}"));
                    let error = root.clone().try_get_matches_from(&typed).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ValueValidation, "{typed:?}: {error}");
                    let reason = super::usage_error(&error, &root, &typed).reason;
                    assert!(reason.starts_with("it must be a "), "{typed:?}: {reason}");
                    typed.pop();
                }
                // For a number below its range, the error states the range; it is not read as an option.
                typed.extend([format!("--{name}"), "-5".to_owned()]);
                if let Err(error) = root.clone().try_get_matches_from(&typed) {
                    assert_ne!(error.kind(), ErrorKind::UnknownArgument, "{typed:?}: {error}");
                }
                seen += 1;
            }
        });
        assert!(seen > 20, "{seen}");
    }
}
