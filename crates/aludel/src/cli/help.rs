//! The layout of help: which options only `--help` shows, the usage of commands whose options may be in a recipe, and examples that can be
//! copied at any width. The texts themselves are with each command's options.

use clap::Command;

/// Options, by their ids, that most people never need: `-h` leaves them out.
pub(super) const RARE: [&str; 24] = [
    "all",
    "api_key_file",
    "assignments",
    "batch",
    "color",
    "dtype",
    "init_adapter",
    "logprobs",
    "lora_dropout",
    "min_p",
    "packing",
    "parquet",
    "repetition_penalty",
    "replace_damaged",
    "requests_per_minute",
    "skip_bad_rows",
    "skip_damaged",
    "stop",
    "threads",
    "tokens_per_minute",
    "top_k",
    "top_p",
    "verifier",
    "watch",
];

/// How the program itself is typed.
pub(super) const ROOT: &str = "aludel";
/// Examples that `-h` shows of one command.
const FEW_EXAMPLES: usize = 3;
/// Longer examples and usages are continued on further lines.
const WIDTH: usize = 78;

/// What has to be given to a command, where options alone do not tell it, since most of them may stand in a recipe instead, and where
/// it is too long for a line.
const USAGES: [(&str, &[&str]); 9] = [
    (
        "aludel train",
        &[
            "--student <PATH> --data <FILE>... --output-dir <DIR>",
            "--recipe <FILE.toml>",
            "--output-dir <DIR> --resume",
        ],
    ),
    ("aludel inspect", &["--student <PATH> --data <FILE>...", "--recipe <FILE.toml>"]),
    (
        "aludel curate",
        &[
            "--input <FILE>... --output-dir <DIR>",
            "--only-failed <RESULT_DIR>... --output-dir <DIR>",
            "--recipe <FILE.toml>",
        ],
    ),
    (
        "aludel eval",
        &[
            "--model <PATH> --tasks <NAME|FILE>... --output-dir <DIR>",
            "--endpoint <URL> --model <NAME> --tasks <NAME|FILE>... --output-dir <DIR>",
            "--loss --model <PATH> --data <FILE>...",
            "--kl-to <TEACHER> --model <PATH> --data <FILE>...",
        ],
    ),
    (
        "aludel cache",
        &[
            "--teacher <PATH> --student <PATH> --data <FILE>... --output-dir <DIR>",
            "--recipe <FILE.toml> --output-dir <DIR>",
        ],
    ),
    ("aludel trace", &[PROMPTS_AND_TEACHER, "--recipe <FILE.toml>"]),
    ("aludel plan trace", &[PROMPTS_AND_TEACHER, "--recipe <FILE.toml>"]),
    ("aludel logits", &["--model <PATH> --ids <ID,ID,...> --output <FILE.safetensors>"]),
    ("aludel gradients", &["--model <PATH> --adapter <DIR> --ids <ID,ID,...> --output <FILE.safetensors>"]),
];
const PROMPTS_AND_TEACHER: &str = "--prompts <FILE>... --teacher <URL>... --model <NAME> --store <FILE.db>";

/// Shapes the help of a command and of all below it. `path` is how it is typed.
pub(super) fn with_layout(command: Command, path: &str) -> Command {
    let mut command = command.mut_args(|arg| {
        let is_rare = RARE.contains(&arg.get_id().as_str());
        arg.hide_short_help(is_rare)
    });
    if let Some((_, forms)) = USAGES.iter().find(|(of, _)| *of == path) {
        let usage = usage(path, forms, command.has_subcommands());
        command = command.override_usage(usage);
    }
    if let Some(after) = command.get_after_help().map(ToString::to_string) {
        // The examples of all commands together are the way from data to a student: none of them is left out.
        let shown = if path == ROOT { usize::MAX } else { FEW_EXAMPLES };
        command = command.after_help(first_examples(&after, shown)).after_long_help(laid_out(&after));
    }
    command.mut_subcommands(|below| {
        let path = format!("{path} {}", below.get_name());
        with_layout(below, &path)
    })
}

/// The text below the options: examples and other lists of commands as they can be typed, and paragraphs whose lines are left to the terminal.
fn laid_out(after: &str) -> String {
    let is_list = |part: &str| part.contains(":\n  ");
    let part = |part: &str| match is_list(part) {
        true => part.lines().map(folded).collect::<Vec<_>>().join("\n"),
        false => part.replace('\n', " "),
    };
    after.split("\n\n").map(part).collect::<Vec<_>>().join("\n\n")
}

/// At most this number of examples, without the text after them.
fn first_examples(after: &str, most: usize) -> String {
    let examples = after.split("\n\n").find(|part| part.starts_with("Examples:")).unwrap_or_default();
    let mut lines = Vec::new();
    let mut shown = 0;
    for line in examples.lines() {
        let is_new = line.starts_with("  aludel");
        shown += usize::from(is_new);
        if shown > most {
            break;
        }
        lines.push(folded(line));
    }
    lines.join("\n")
}

/// The forms of a command below each other, behind the word that clap puts before them.
fn usage(path: &str, forms: &[&str], has_commands: bool) -> String {
    const BEFORE: &str = "       ";
    let further = format!("{BEFORE}{}", " ".repeat(path.len() + 1));
    let form = |form: &&str| broken(&format!("{path} [OPTIONS] {form}"), BEFORE.len(), "", &further);
    let commands = has_commands.then(|| format!("{path} <COMMAND>"));
    forms.iter().map(form).chain(commands).collect::<Vec<_>>().join(&format!("\n{BEFORE}"))
}

/// A command that is too long for a line on several, which a shell takes as one.
fn folded(line: &str) -> String {
    broken(line, 0, " \\", "    ")
}

/// Lines that fit, each but the first beginning with an option. The first stands behind so many columns of something else.
fn broken(line: &str, before: usize, end: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for (index, part) in line.split(" --").enumerate() {
        let part = if index == 0 { part.to_owned() } else { format!(" --{part}") };
        let last = lines.len() - 1;
        let column = lines[last].len() + if last == 0 { before } else { 0 };
        if index > 0 && column + part.len() + end.len() > WIDTH {
            lines[last].push_str(end);
            lines.push(format!("{indent}{}", part.trim_start()));
        } else {
            lines[last].push_str(&part);
        }
    }
    lines.join("\n")
}

/// The first example of a command, on one line.
pub(super) fn first_example(command: &Command) -> Option<String> {
    examples(command).into_iter().next()
}

/// The first example of a command that has these options, which are written as usages write them; without one, its first.
pub(super) fn example_with(command: &Command, options: &[String]) -> Option<String> {
    let all = examples(command);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let names: Vec<String> = options.iter().filter_map(|option| words(option).into_iter().next()).collect();
    let names: Vec<&String> = names.iter().filter(|name| name.starts_with("--")).collect();
    let has_all = |example: &&String| names.iter().all(|name| words(example).contains(name));
    all.iter().find(has_all).or(all.first()).cloned()
}

/// The examples of a command, each on one line.
fn examples(command: &Command) -> Vec<String> {
    let of = |after: &clap::builder::StyledStr| after.to_string();
    let after = command.get_after_long_help().map(of).or_else(|| command.get_after_help().map(of)).unwrap_or_default();
    let mut examples: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in after.split("\n\n").find(|part| part.starts_with("Examples:")).unwrap_or_default().lines().skip(1) {
        let bare = line.trim().trim_end_matches('\\').trim_end();
        match examples.last_mut().filter(|_| goes_on) {
            Some(last) => last.push_str(&format!(" {bare}")),
            None => examples.push(bare.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    examples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_examples_stay_one_command() {
        let line = "  aludel eval --model student.gguf --adapter run/adapter --tasks questions.jsonl --samples 4 --output-dir results";
        let folded = folded(line);
        assert!(folded.lines().all(|line| line.len() <= WIDTH), "{folded}");
        assert_eq!(folded.replace(" \\\n    ", " "), line);
        assert_eq!(super::folded("  aludel demo"), "  aludel demo");
    }

    #[test]
    fn every_rare_option_and_every_usage_is_of_a_command() {
        let (mut ids, mut paths) = (Vec::new(), Vec::new());
        super::super::walk(&super::super::command(), "aludel", &mut |command, path| {
            paths.push(path.to_owned());
            ids.extend(command.get_arguments().map(|arg| arg.get_id().to_string()));
        });
        for rare in RARE {
            assert!(ids.iter().any(|id| id == rare), "no option is called {rare}");
        }
        for (usage, _) in USAGES {
            assert!(paths.iter().any(|path| path == usage), "no command is called {usage}");
        }
    }
}
