//! How help looks: what `-h` leaves out and `--help` tells, the usage of commands whose options may stand in a recipe, and examples that
//! can be copied at any width. The words themselves stand with each command's options.

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

/// Examples that `-h` shows.
const FEW_EXAMPLES: usize = 3;
/// Longer examples go on further lines.
const EXAMPLE_WIDTH: usize = 78;

/// What has to be given to a command, where options alone do not tell it: most of them may stand in a recipe instead.
const USAGES: [(&str, &[&str]); 6] = [
    (
        "aludel train",
        &[
            "aludel train [OPTIONS] --student <PATH> --data <FILE>... --output-dir <DIR>",
            "aludel train [OPTIONS] --recipe <FILE.toml>",
            "aludel train [OPTIONS] --output-dir <DIR> --resume",
        ],
    ),
    (
        "aludel inspect",
        &[
            "aludel inspect [OPTIONS] --student <PATH> --data <FILE>...",
            "aludel inspect [OPTIONS] --recipe <FILE.toml>",
        ],
    ),
    (
        "aludel curate",
        &[
            "aludel curate [OPTIONS] --input <FILE>... --output-dir <DIR>",
            "aludel curate [OPTIONS] --only-failed <RESULT_DIR>... --output-dir <DIR>",
            "aludel curate [OPTIONS] --recipe <FILE.toml>",
        ],
    ),
    (
        "aludel eval",
        &[
            "aludel eval [OPTIONS] --model <PATH> --tasks <NAME|FILE>... --output-dir <DIR>",
            "aludel eval [OPTIONS] --endpoint <URL> --model <NAME> --tasks <NAME|FILE>...",
            "                      --output-dir <DIR>",
            "aludel eval [OPTIONS] --loss --model <PATH> --data <FILE>...",
        ],
    ),
    (
        "aludel trace",
        &[
            "aludel trace [OPTIONS] --prompts <FILE>... --teacher <URL>... --model <NAME>",
            "                       --store <FILE.db>",
            "aludel trace [OPTIONS] --recipe <FILE.toml>",
            "aludel trace <COMMAND>",
        ],
    ),
    (
        "aludel plan trace",
        &[
            "aludel plan trace [OPTIONS] --prompts <FILE>... --teacher <URL>... --model <NAME>",
            "                            --store <FILE.db>",
            "aludel plan trace [OPTIONS] --recipe <FILE.toml>",
        ],
    ),
];

/// Shapes the help of a command and of all below it. `path` is how it is typed.
pub(super) fn shaped(command: Command, path: &str) -> Command {
    let mut command = command.mut_args(|arg| {
        let is_rare = RARE.contains(&arg.get_id().as_str());
        arg.hide_short_help(is_rare)
    });
    if let Some((_, lines)) = USAGES.iter().find(|(of, _)| *of == path) {
        command = command.override_usage(lines.join("\n       "));
    }
    if let Some(after) = command.get_after_help().map(ToString::to_string) {
        command = command.after_help(examples_alone(&after)).after_long_help(laid_out(&after));
    }
    command.mut_subcommands(|below| {
        let path = format!("{path} {}", below.get_name());
        shaped(below, &path)
    })
}

/// The text below the options: examples as they can be typed, and paragraphs whose lines are left to the terminal.
fn laid_out(after: &str) -> String {
    let part = |part: &str| match part.starts_with("Examples:") {
        true => part.lines().map(folded).collect::<Vec<_>>().join("\n"),
        false => part.replace('\n', " "),
    };
    after.split("\n\n").map(part).collect::<Vec<_>>().join("\n\n")
}

/// The first examples.
fn examples_alone(after: &str) -> String {
    let examples = after.split("\n\n").find(|part| part.starts_with("Examples:")).unwrap_or_default();
    let mut lines = Vec::new();
    let mut shown = 0;
    for line in examples.lines() {
        let is_new = line.starts_with("  aludel");
        shown += usize::from(is_new);
        if shown > FEW_EXAMPLES {
            break;
        }
        lines.push(folded(line));
    }
    lines.join("\n")
}

/// A command that is too long for a line on several, which a shell takes as one.
fn folded(line: &str) -> String {
    let mut lines = vec![String::new()];
    for (index, part) in line.split(" --").enumerate() {
        let part = if index == 0 { part.to_owned() } else { format!(" --{part}") };
        let last = lines.len() - 1;
        // Two columns are kept for the backslash.
        if index > 0 && lines[last].len() + part.len() + 2 > EXAMPLE_WIDTH {
            lines[last].push_str(" \\");
            lines.push(format!("    {}", part.trim_start()));
        } else {
            lines[last].push_str(&part);
        }
    }
    lines.join("\n")
}

/// The first example of a command, on one line.
pub(super) fn first_example(command: &Command) -> Option<String> {
    let after = command.get_after_help()?.to_string();
    let lines: Vec<&str> = after.lines().skip(1).map(str::trim).collect();
    let end = lines.iter().position(|line| !line.ends_with('\\'))?;
    Some(lines[..=end].iter().map(|line| line.trim_end_matches('\\').trim_end()).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_examples_stay_one_command() {
        let line = "  aludel eval --model student.gguf --adapter run/adapter --tasks questions.jsonl --samples 4 --output-dir results";
        let folded = folded(line);
        assert!(folded.lines().all(|line| line.len() <= EXAMPLE_WIDTH), "{folded}");
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
        for (usage, lines) in USAGES {
            assert!(paths.iter().any(|path| path == usage), "no command is called {usage}");
            assert!(lines.iter().all(|line| line.len() + 7 <= 88), "{lines:?}");
        }
    }
}
