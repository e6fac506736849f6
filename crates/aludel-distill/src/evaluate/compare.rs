//! Two evaluations on the same problems: what they have in common, which problems were won and lost, which tasks were gained and
//! forgotten, and the one sentence to take away. The statistics are those of `paired`; pages and tables are the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aludel_files::grouped;
use serde::Serialize;

use super::paired::{self, Difference, LEVEL, Pair};
use super::problem_clusters;
use super::results::{self, Results, Sample, Settings};
use crate::error::{Error, Result};

/// A folder of results, read whole.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The folder.
    pub folder: PathBuf,
    /// What to call it: the model's name.
    pub label: String,
    /// The scores.
    pub results: Results,
    /// Every answer.
    pub samples: Vec<Sample>,
}

/// A model against the baseline.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What the baseline is called.
    pub baseline: String,
    /// What the model is called.
    pub model: String,
    /// What to take away.
    pub verdict: Verdict,
    /// All problems in common.
    pub pooled: Difference,
    /// The tasks in common, in the baseline's order.
    pub tasks: Vec<TaskComparison>,
    /// What is not the same in both evaluations, a sentence each; tasks of one only and settings.
    pub differs: Vec<String>,
}

/// One task of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct TaskComparison {
    /// Its name.
    pub name: String,
    /// The difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// p after Holm's correction for the number of tasks.
    pub p_holm: f64,
    /// What can be said of it.
    pub change: Change,
    /// Ids of problems with a larger share of right samples than before.
    pub won: Vec<String>,
    /// Ids of problems with a smaller one.
    pub lost: Vec<String>,
    /// Problems with the same share, above 0.
    pub as_before: usize,
    /// Their ids.
    pub both_right: Vec<String>,
    /// Ids of problems that neither model solved in any sample.
    pub both_wrong: Vec<String>,
    /// Answers of the baseline and of the model that could not be compared with the right one; they count as not right.
    pub undecided: [usize; 2],
}

/// What can be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It got better.
    Gain,
    /// It got worse.
    Loss,
    /// Nothing: chance alone makes such differences.
    NotMeasurable,
}

/// What to take away from a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Of all problems together.
    pub change: Change,
    /// In words, with the figures.
    pub sentence: String,
    /// Tasks that got better, a clause with figures each.
    pub gained: Vec<String>,
    /// Tasks that got worse, a clause with figures each.
    pub forgotten: Vec<String>,
}

impl Evaluated {
    /// Reads a folder.
    ///
    /// # Errors
    /// It holds no finished evaluation, or damaged files.
    pub fn read(folder: &Path) -> Result<Evaluated> {
        let results = Results::read(folder)?;
        let samples = results::read_samples(folder)?;
        Ok(Evaluated { folder: folder.to_owned(), label: results.model.name.clone(), results, samples })
    }

    /// Whether both hold the same answers to the same problems, letter for letter.
    pub fn has_the_answers_of(&self, other: &Evaluated) -> bool {
        let answers = |of: &Evaluated| {
            let answer = |sample: &Sample| {
                let Sample { task, problem, sample, reasoning, content, .. } = sample.clone();
                (task, problem, sample, reasoning, content)
            };
            of.samples.iter().map(answer).collect::<BTreeSet<_>>()
        };
        !self.samples.is_empty() && self.samples.len() == other.samples.len() && answers(self) == answers(other)
    }

    /// How many answers to a task could not be compared with the right one.
    fn undecided(&self, task: &str) -> usize {
        self.samples.iter().filter(|sample| sample.task == task && sample.undecided).count()
    }

    /// The share of right samples of each problem of a task, by id.
    pub fn shares(&self, task: &str) -> BTreeMap<&str, f64> {
        let mut counts: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.task == task) {
            let (right, all) = counts.entry(&sample.problem).or_default();
            *right += u32::from(sample.correct);
            *all += 1;
        }
        counts.into_iter().map(|(id, (right, all))| (id, f64::from(right) / f64::from(all))).collect()
    }
}

/// Compares a model with the baseline on the tasks whose problems, prompts and verifier are the same.
///
/// # Errors
/// There is no such task.
pub fn compare(baseline: &Evaluated, other: &Evaluated, seed: u64) -> Result<Comparison> {
    let (names, mut differs) = common_tasks(baseline, other);
    let found = names.iter().map(|name| matched(&baseline.shares(name), &other.shares(name))).collect::<Vec<_>>();
    let found: Vec<_> = names.into_iter().zip(found).filter(|(_, matched)| !matched.pairs.is_empty()).collect();
    if found.is_empty() {
        let differences = if differs.is_empty() { "neither holds any sample".to_owned() } else { differs.join("; ") };
        return Err(Error::NothingInCommon {
            baseline: baseline.label.clone(),
            other: other.label.clone(),
            differences,
        });
    }
    for (name, matched) in &found {
        if matched.unmatched > 0 {
            differs.push(format!(
                "{name}: {} problems have samples in one of the folders only",
                grouped(matched.unmatched)
            ));
        }
    }
    differs.extend(differing_settings(&baseline.results.settings, &other.results.settings));
    let differences: Vec<Difference> =
        found.iter().map(|(_, matched)| paired::difference(&matched.pairs, &matched.problem_of, seed)).collect();
    let p_holm = paired::holm(&differences.iter().map(|difference| difference.p).collect::<Vec<_>>());
    let pooled = pooled(found.iter().map(|(_, matched)| matched), seed);
    let tasks: Vec<TaskComparison> = (found.into_iter().zip(differences).zip(p_holm))
        .map(|(((name, matched), difference), p_holm)| TaskComparison {
            change: Change::of(&difference, p_holm),
            difference,
            p_holm,
            won: matched.won,
            lost: matched.lost,
            as_before: matched.both_right.len(),
            both_right: matched.both_right,
            both_wrong: matched.both_wrong,
            undecided: [baseline.undecided(&name), other.undecided(&name)],
            name,
        })
        .collect();
    let verdict = Verdict::new(&pooled, &tasks);
    let (baseline, model) = (baseline.label.clone(), other.label.clone());
    Ok(Comparison { baseline, model, verdict, pooled, tasks, differs })
}

/// Names of the tasks that can be compared, and why others cannot.
fn common_tasks(baseline: &Evaluated, other: &Evaluated) -> (Vec<String>, Vec<String>) {
    let (mut common, mut differs) = (Vec::new(), Vec::new());
    for task in &baseline.results.tasks {
        match other.results.tasks.iter().find(|candidate| candidate.name == task.name) {
            Some(same) if same.n == task.n && same.fingerprint == task.fingerprint => common.push(task.name.clone()),
            Some(same) if same.n != task.n => {
                let (name, one, two) = (&task.name, grouped(task.n), grouped(same.n));
                differs.push(format!("{name}: {one} problems in {}, {two} in {}", baseline.label, other.label));
            }
            Some(_) => differs.push(format!(
                "{}: its problems, prompts or verifier are not the same (fingerprints differ)",
                task.name
            )),
            None => differs.push(format!("{}: only in {}", task.name, baseline.label)),
        }
    }
    let is_new = |name: &str| baseline.results.tasks.iter().all(|task| task.name != name);
    for task in other.results.tasks.iter().filter(|task| is_new(&task.name)) {
        differs.push(format!("{}: only in {}", task.name, other.label));
    }
    (common, differs)
}

/// All tasks together; no two of them share a problem.
fn pooled<'a>(found: impl Iterator<Item = &'a MatchedProblems>, seed: u64) -> Difference {
    let (mut pairs, mut problem_of) = (Vec::new(), Vec::new());
    let mut first = 0;
    for matched in found {
        pairs.extend_from_slice(&matched.pairs);
        problem_of.extend(matched.problem_of.iter().map(|problem| first + problem));
        first = problem_of.iter().max().map_or(0, |last| last + 1);
    }
    paired::difference(&pairs, &problem_of, seed)
}

/// The problems of one task, in order of their ids.
#[derive(Default)]
struct MatchedProblems {
    pairs: Vec<Pair>,
    /// Which problem each is a wording of.
    problem_of: Vec<usize>,
    won: Vec<String>,
    lost: Vec<String>,
    both_right: Vec<String>,
    both_wrong: Vec<String>,
    unmatched: usize,
}

fn matched(before: &BTreeMap<&str, f64>, after: &BTreeMap<&str, f64>) -> MatchedProblems {
    let mut matched = MatchedProblems::default();
    let mut ids = Vec::new();
    for (id, &before) in before {
        let Some(&after) = after.get(id) else { continue };
        ids.push(*id);
        matched.pairs.push(Pair { before, after });
        match after.total_cmp(&before) {
            std::cmp::Ordering::Greater => matched.won.push((*id).to_owned()),
            std::cmp::Ordering::Less => matched.lost.push((*id).to_owned()),
            std::cmp::Ordering::Equal if after > 0.0 => matched.both_right.push((*id).to_owned()),
            std::cmp::Ordering::Equal => matched.both_wrong.push((*id).to_owned()),
        }
    }
    matched.problem_of = problem_clusters::problems(&ids);
    matched.unmatched = before.len() + after.len() - 2 * matched.pairs.len();
    matched
}

/// Settings that are not the same. The seed is none of them: other samples of the same model are as good.
fn differing_settings(before: &Settings, after: &Settings) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".to_owned());
    let rows = [
        ("samples", before.samples.to_string(), after.samples.to_string()),
        ("temperature", before.temperature.to_string(), after.temperature.to_string()),
        ("top_p", before.top_p.to_string(), after.top_p.to_string()),
        ("max_new_tokens", before.max_new_tokens.to_string(), after.max_new_tokens.to_string()),
        ("dtype", text(&before.dtype), text(&after.dtype)),
    ];
    let differing = rows.into_iter().filter(|(_, before, after)| before != after);
    differing.map(|(name, before, after)| format!("the setting {name}: {before} before, {after} after")).collect()
}

impl Change {
    /// Measured are differences whose interval leaves out 0 and whose p (corrected where several are looked at) is below 5%.
    fn of(difference: &Difference, p: f64) -> Change {
        let [low, high] = difference.ci95;
        match () {
            () if p < LEVEL && low > 0.0 => Change::Gain,
            () if p < LEVEL && high < 0.0 => Change::Loss,
            () => Change::NotMeasurable,
        }
    }
}

impl Verdict {
    fn new(pooled: &Difference, tasks: &[TaskComparison]) -> Verdict {
        let what = match tasks {
            [task] => task.name.clone(),
            tasks => format!("{} tasks together", tasks.len()),
        };
        let change = Change::of(pooled, pooled.p);
        let clauses = |change: Change| {
            let changed = tasks.iter().filter(|task| task.change == change);
            changed
                .map(|task| {
                    format!("{}, {}", scores(&task.name, &task.difference), points(&task.difference, task.p_holm))
                })
                .collect()
        };
        let sentence = match change {
            Change::Gain => scores(&what, pooled),
            Change::Loss => format!("it got worse: {}", scores(&what, pooled)),
            Change::NotMeasurable => {
                format!("no measurable gain: {}, {}", scores(&what, pooled), points(pooled, pooled.p))
            }
        };
        Verdict { change, sentence, gained: clauses(Change::Gain), forgotten: clauses(Change::Loss) }
    }
}

/// "two-dice: 3% → 71% [64, 77], n = 200": before, after with its interval, problems.
pub fn scores(what: &str, difference: &Difference) -> String {
    let [before, after] = percents(difference);
    format!("{what}: {before} → {after} {}, n = {}", percent_interval(difference), difference.n)
}

/// "3%" and "71%": before and after.
pub fn percents(difference: &Difference) -> [String; 2] {
    let decimals = decimals_of_percents(difference);
    [difference.before, difference.after].map(|share| format!("{:.decimals$}%", 100.0 * share))
}

/// "[64, 77]": the interval of the score after.
pub fn percent_interval(difference: &Difference) -> String {
    let decimals = decimals_of_percents(difference);
    let [low, high] = difference.after_ci95.map(|share| format!("{:.decimals$}", 100.0 * share));
    format!("[{low}, {high}]")
}

/// Where whole percents would hide the difference, tenths show it.
fn decimals_of_percents(difference: &Difference) -> usize {
    usize::from((difference.difference * 100.0).abs() < 2.0 && difference.n >= 100)
}

/// "+68 points [61, 75], p < 0.001": the difference itself, with its p or the corrected one.
pub fn points(difference: &Difference, p: f64) -> String {
    let (points, interval) = points_of(difference);
    format!("{points} points {interval}, {}", p_value(p))
}

/// "+68" and "[+61, +75]": the difference in points, and its interval.
pub fn points_of(difference: &Difference) -> (String, String) {
    let decimals = usize::from((difference.difference * 100.0).abs() < 10.0);
    let [low, high] = difference.ci95.map(|share| format!("{:+.decimals$}", 100.0 * share));
    (format!("{:+.decimals$}", 100.0 * difference.difference), format!("[{low}, {high}]"))
}

/// "p = 0.03" or "p < 0.001".
pub fn p_value(p: f64) -> String {
    match p {
        p if p < 0.001 => "p < 0.001".to_owned(),
        p if p < 0.1 => format!("p = {p:.3}"),
        p => format!("p = {p:.2}"),
    }
}

#[cfg(test)]
mod tests;
