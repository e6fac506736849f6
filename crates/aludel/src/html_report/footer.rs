//! The last section of the page: when, where and how the models were evaluated, and the version that made the page. Lists of facts are
//! laid out here for all sections.

use super::html::{Html, classed, element, join, text};
use super::{Report, grouped, section};
use crate::humanize::duration;
use aludel_distill::checkpoint::shell_word;
use aludel_distill::evaluate::compare::Evaluated;
use aludel_distill::evaluate::results::{Sample, TaskResult};
use aludel_distill::provenance::Provenance;
use std::path::Path;

/// The foot of the page.
pub(super) fn part(report: &Report<'_>) -> Html {
    let lead = "Differences are paired: both models answer the same problems. Intervals hold 95%: Wilson's for scores, a normal one for \
                differences, over problems with all of their wordings and samples; p is that of a sign-flip test. A task is called gained \
                or forgotten only if it is after Holm's correction for the number of tasks, and that is the p that stands beside it.";
    let rows = report.evaluated.iter().map(asked);
    let [processor, program] = made_by(report.made_by);
    let facts = [
        ("command", command_line(&report.made_by.command)),
        processor,
        ("date", Some(report.made_by.date.clone()).filter(|date| !date.is_empty())),
        program,
    ];
    let own = join([element("h3", &[], text("This page")), facts_list(&facts)]);
    let own = classed("div", "card", own);
    section("How it was measured", lead, classed("div", "cards", rows.chain([own]).collect()))
}

fn asked(evaluated: &Evaluated) -> Html {
    let results = &evaluated.results;
    let model = &results.model;
    let settings = &results.settings;
    let sampling = match settings.temperature {
        0.0 => "greedy".to_owned(),
        temperature => format!("temperature {temperature}, top-p {}", settings.top_p),
    };
    // The folder of a file is not shown; its name is enough.
    let name_of = |path: &String| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    let facts = [
        ("model", model.path.as_ref().and_then(name_of).or_else(|| model.served.clone())),
        ("server", model.endpoint.clone()),
        ("adapter", model.adapter.as_ref().and_then(name_of)),
        ("samples", Some(format!("{} of each problem, {sampling}", settings.samples))),
        ("seed", Some(settings.seed.to_string())),
        ("at most", Some(format!("{} new tokens", grouped(settings.max_new_tokens as u64)))),
        ("dtype", settings.dtype.clone()),
        ("tokens", tokens(evaluated)),
        ("time", time(evaluated)),
        ("processor", results.machine.clone()),
        ("command", command_line(&results.command)),
        ("date", Some(results.date.clone())),
        ("aludel", Some(version(&results.version, results.commit.as_deref()))),
    ];
    classed("div", "card", join([element("h3", &[], text(&evaluated.label)), facts_list(&facts)]))
}

/// Tokens of all questions and answers, where they were counted.
fn tokens(evaluated: &Evaluated) -> Option<String> {
    let sum = |of: fn(&Sample) -> u64| evaluated.samples.iter().map(of).sum::<u64>();
    let (asked, answered) = (sum(|sample| sample.prompt_tokens), sum(|sample| sample.completion_tokens));
    (answered > 0).then(|| format!("{} asked, {} answered", grouped(asked), grouped(answered)))
}

/// How long the answers took, at the speed of the last session: a resumed evaluation does not know the others'.
fn time(evaluated: &Evaluated) -> Option<String> {
    let of_task = |task: &TaskResult| {
        let samples = evaluated.samples.iter().filter(|sample| sample.task == task.name);
        let tokens: u64 = samples.map(|sample| sample.completion_tokens).sum();
        Some(tokens as f64 / task.tokens_per_second.filter(|rate| *rate > 0.0)?)
    };
    let seconds: Option<f64> = evaluated.results.tasks.iter().map(of_task).sum();
    Some(format!("{} for the answers", duration(seconds?)))
}

/// The machine, and the program.
pub(super) fn made_by(by: &Provenance) -> [(&'static str, Option<String>); 2] {
    let threads = by.threads.map(|threads| format!("{threads} threads"));
    let machine = [by.processor.clone(), threads].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let program = version(&by.version, by.commit.as_deref());
    [
        ("processor", Some(machine).filter(|words| !words.is_empty())),
        ("aludel", Some(program).filter(|words| !words.is_empty())),
    ]
}

fn version(version: &str, commit: Option<&str>) -> String {
    match commit {
        Some(commit) => format!("{version}, commit {commit}"),
        None => version.to_owned(),
    }
}

/// A command quoted for a shell, with the names of files without their folders; `None` if it was not recorded.
pub(super) fn command_line(words: &[String]) -> Option<String> {
    let name = |word: &str| match Path::new(word).file_name() {
        Some(name) if Path::new(word).is_absolute() => name.to_string_lossy().into_owned(),
        _ => word.to_owned(),
    };
    let shown = |word: &String| match word.split_once('=') {
        Some((key, value)) => format!("{key}={}", name(value)),
        None => name(word),
    };
    let words: Vec<String> = words.iter().map(|word| shell_word(Path::new(&shown(word)))).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Names and values, those that are known; commands as they are typed.
pub(super) fn facts_list(facts: &[(&str, Option<String>)]) -> Html {
    let known = facts.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
    let pairs = known.map(|(name, value)| {
        let is_typed = matches!(name, "command" | "resumed by");
        // A line ends between words, and not in the dashes of an option.
        let words = || value.split(' ').map(|word| join([element("span", &[], text(word)), text(" ")])).collect();
        let value = if is_typed { element("code", &[], words()) } else { text(value) };
        element("div", &[], join([element("dt", &[], text(name)), element("dd", &[], value)]))
    });
    classed("dl", "facts", pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_tell_names_and_not_places() {
        let words = |line: &str| line.split('|').map(str::to_owned).collect::<Vec<_>>();
        for (given, expected) in [
            (
                "aludel|train|--student|/home/me/student.gguf|--max-steps|3",
                "aludel train --student student.gguf --max-steps 3",
            ),
            ("aludel|train|--set|data.files=/home/me/a b.jsonl", "aludel train --set 'data.files=a b.jsonl'"),
            ("aludel|eval|--endpoint|http://host:8000/v1", "aludel eval --endpoint http://host:8000/v1"),
        ] {
            assert_eq!(command_line(&words(given)).as_deref(), Some(expected));
        }
        assert_eq!(command_line(&[]), None);
    }
}
