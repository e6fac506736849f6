//! Evaluation: problems become samples, samples become scores. It reads top-down: missing samples are requested, each is judged and stored
//! as it ends, and the stored ones are scored. A backend generates the answers; `verify` decides whether they are right.

pub mod benchmarks;
pub mod compare;
pub mod divergence;
pub mod failures;
mod folder;
pub mod identity;
pub mod interval;
pub mod local;
pub mod loss;
pub mod overall;
pub mod paired;
mod problem_clusters;
mod problem_row;
pub mod results;
pub mod score;
pub mod served;
pub mod task;
#[cfg(test)]
mod tests;
mod truncation;

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use aludel_curate::loop_flaw;
use aludel_kernels::rng;
use aludel_text::Message;
use aludel_verify::Verdict;

use crate::error::{Error, Result};
use crate::provenance::Provenance;
use folder::Folder;
use results::{ModelName, Plan, PlannedTask, Results, Sample, Settings, TaskResult};
use task::Task;

/// A model that generates answers.
pub trait EvalBackend {
    /// Answers, in any order, until all is answered or `stop` is set; `take` stores an answer, or with none hears that answers have
    /// become longer. Tokens and time go into the meter.
    /// `is_resumed` says that others of these questions were answered before.
    ///
    /// # Errors
    /// What makes going on pointless, and whatever `take` fails with.
    fn answer(
        &mut self,
        asks: &[SampleRequest<'_>],
        is_resumed: bool,
        stop: &AtomicBool,
        meter: &mut Meter,
        take: &mut dyn FnMut(Option<FinishedSample>, &Meter) -> Result<()>,
    ) -> Result<()>;

    /// How many tokens a question and its answer may have together, where that is known.
    fn context(&self) -> Option<usize> {
        None
    }
}

/// Samples of a problem that are wanted.
pub struct SampleRequest<'a> {
    /// Which task.
    pub task: usize,
    /// Which of its problems.
    pub problem: usize,
    /// Which samples.
    pub samples: Range<u32>,
    /// The problem's seed.
    pub seed: u64,
    /// What is asked.
    pub messages: &'a [Message],
}

/// A sample that has ended.
pub struct FinishedSample {
    /// Which task.
    pub task: usize,
    /// Which of its problems.
    pub problem: usize,
    /// Which sample.
    pub sample: u32,
    /// What was said.
    pub answer: Answer,
}

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What was thought, if anything.
    pub reasoning: Option<String>,
    /// What was said.
    pub content: String,
    /// `stop`, `length`, or in a server's own words.
    pub finish_reason: String,
    /// Whether it was cut.
    pub truncated: bool,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the reasoning.
    pub thinking_tokens: u64,
    /// Tokens of reasoning and answer.
    pub completion_tokens: u64,
    /// Why it failed before its end, if it did; then it is no answer.
    pub failure: Option<String>,
}

/// Tokens and seconds of each task: tasks that are answered at once share the time by their tokens.
pub struct Meter {
    tasks: Vec<(u64, f64)>,
    uncounted: Vec<u64>,
    since: Instant,
    tokens: u64,
    tokens_left: Option<f64>,
}

impl Meter {
    fn new(tasks: usize) -> Meter {
        let since = Instant::now();
        Meter { tasks: vec![(0, 0.0); tasks], uncounted: vec![0; tasks], since, tokens: 0, tokens_left: None }
    }

    /// Tokens were written for a task.
    pub fn count(&mut self, task: usize, tokens: u64) {
        self.uncounted[task] += tokens;
        self.tokens += tokens;
    }

    /// The number of tokens that are still to be generated, if it can be estimated.
    pub fn expect(&mut self, tokens_left: Option<f64>) {
        self.tokens_left = tokens_left;
    }

    /// The time since the last tick goes to the tokens that were counted since then; without any it waits for the next.
    pub fn tick(&mut self) {
        let all: u64 = self.uncounted.iter().sum();
        if all == 0 {
            return;
        }
        let seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        for ((tokens, spent), new) in self.tasks.iter_mut().zip(&mut self.uncounted) {
            *tokens += *new;
            *spent += seconds * *new as f64 / all as f64;
            *new = 0;
        }
    }

    /// Tokens a second over all tasks.
    pub fn rate(&self) -> f64 {
        let (tokens, seconds) =
            self.tasks.iter().fold((0, 0.0), |(tokens, seconds), task| (tokens + task.0, seconds + task.1));
        tokens as f64 / f64::max(seconds, 1e-9)
    }

    fn task_rate(&self, task: usize) -> Option<f64> {
        let (tokens, seconds) = self.tasks[task];
        (tokens > 0).then(|| tokens as f64 / seconds.max(1e-9))
    }
}

/// What is evaluated, how, and the metadata of its results.
pub struct Evaluation<'a> {
    /// What is asked.
    pub tasks: &'a [Task],
    /// Who answers.
    pub model: ModelName,
    /// How it is asked.
    pub settings: Settings,
    /// The provenance of the results.
    pub made_by: Provenance,
}

/// The progress of an evaluation.
pub struct Progress {
    /// Samples that are there.
    pub done: usize,
    /// Samples that were there before.
    pub resumed: usize,
    /// Samples in all.
    pub total: usize,
    /// Tokens written a second.
    pub tokens_per_second: f64,
    /// Tokens written so far.
    pub tokens: u64,
    /// Tokens that are still to be generated, if that can be estimated.
    pub tokens_left: Option<f64>,
}

/// Evaluates into a folder, going on where an equal evaluation stopped there. `open` is called if anything is left to ask. `None` if
/// `stop` was set before the end: the folder can be resumed.
///
/// # Errors
/// A folder of another evaluation, a model that cannot be loaded, a full disk. Samples that ended before are stored.
pub fn evaluate<'r>(
    evaluation: &Evaluation<'_>,
    path: &Path,
    open: impl FnOnce() -> Result<Box<dyn EvalBackend + 'r>>,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Progress),
) -> Result<Option<Results>> {
    let Evaluation { tasks, settings, .. } = evaluation;
    check_names(tasks)?;
    let mut plan = evaluation.plan();
    let mut folder = Folder::open(path, &plan)?;
    let total: usize = tasks.iter().map(|task| task.problems.len()).sum::<usize>() * settings.samples as usize;
    let asks = missing(evaluation, &folder);
    let mut left: usize = asks.iter().map(|ask| ask.samples.len()).sum();
    let resumed = total - left;
    if left == 0 && aludel_files::is_there(path.join(results::RESULTS_FILE_NAME)) {
        return Results::read(path).map(Some);
    }
    let mut meter = Meter::new(tasks.len());
    if left > 0 {
        let mut backend = match open() {
            Err(error) if error.is_stop() => return Ok(None),
            opened => opened?,
        };
        plan.context = backend.context();
        let told = |left: usize, meter: &Meter| Progress {
            done: total - left,
            resumed,
            total,
            tokens_per_second: meter.rate(),
            tokens: meter.tokens,
            tokens_left: meter.tokens_left,
        };
        observe(told(left, &meter));
        meter.since = Instant::now();
        backend.answer(&asks, resumed > 0, stop, &mut meter, &mut |answered, meter| {
            let Some(answered) = answered else {
                observe(told(left, meter));
                return Ok(());
            };
            // Not earlier: if the server does not respond, the folder must stay as it was for a corrected command.
            folder.begin(&plan)?;
            folder.add(judged(&tasks[answered.task], &answered, settings.seed)?)?;
            left -= 1;
            observe(told(left, meter));
            Ok(())
        })?;
        folder.sync()?;
    }
    if left > 0 {
        debug_assert!(stop.load(Ordering::Relaxed), "a respondent answers all unless it is stopped");
        return Ok(None);
    }
    let context = plan.context.or(folder.context());
    let results = evaluation.results(&folder, &meter, context)?;
    results.write(path)?;
    Ok(Some(results))
}

fn check_names(tasks: &[Task]) -> Result<()> {
    let mut names = HashSet::new();
    match tasks.iter().find(|task| !names.insert(&task.name)) {
        None => Ok(()),
        Some(task) => {
            let reason = "two tasks have this name; tell them apart with NAME=FILE".to_owned();
            Err(Error::Task { task: task.name.clone(), reason })
        }
    }
}

/// What is not there yet: for each problem, in order, its stretches of missing samples.
fn missing<'a>(evaluation: &Evaluation<'a>, folder: &Folder) -> Vec<SampleRequest<'a>> {
    let mut asks: Vec<SampleRequest<'a>> = Vec::new();
    for (task, Task { name, problems, .. }) in evaluation.tasks.iter().enumerate() {
        for (problem, asked) in problems.iter().enumerate() {
            let seed = problem_seed(evaluation.settings.seed, name, &asked.id);
            for sample in (0..evaluation.settings.samples).filter(|&sample| !folder.has(name, &asked.id, sample)) {
                match asks.last_mut() {
                    Some(last) if (last.task, last.problem, last.samples.end) == (task, problem, sample) => {
                        last.samples.end += 1;
                    }
                    _ => {
                        let samples = sample..sample + 1;
                        asks.push(SampleRequest { task, problem, samples, seed, messages: &asked.messages });
                    }
                }
            }
        }
    }
    asks
}

/// The seed of a problem's draws: a function of names, so that neither the order of tasks nor a limit moves it. 53 bits, which JSON's
/// readers keep.
fn problem_seed(seed: u64, task: &str, problem: &str) -> u64 {
    let hash = blake3::hash(format!("{task}\n{problem}").as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    rng::mix(seed, u64::from_le_bytes(bytes)) >> 11
}

/// Extracts the answer, compares it and looks for loops. Reasoning is not searched for an answer.
fn judged(task: &Task, answered: &FinishedSample, seed: u64) -> Result<Sample> {
    let (problem, answer) = (&task.problems[answered.problem], answered.answer.clone());
    let checker = task.checker(answered.problem);
    let question = Some(problem.question.as_str());
    let verdict = checker.verdict_among(&answer.content, &problem.gold, question, problem.options.as_ref())?;
    // What was said before a failure is kept to be read, but it is no answer; and the last number of a text that was cut off is not one
    // that it settled on.
    let is_unsettled = answer.truncated && !checker.is_settled(&answer.content);
    let verdict = if answer.failure.is_some() || is_unsettled { Verdict::NoAnswer } else { verdict };
    // An option that is named by its value has no letter to be found.
    let said = || problem.options.as_ref().and_then(|options| options.named_in(&answer.content));
    let extracted = checker.extract(&answer.content).or_else(said).filter(|_| verdict != Verdict::NoAnswer);
    let looping = answer.reasoning.iter().chain([&answer.content]).any(|text| loop_flaw(text).is_some());
    Ok(Sample {
        task: task.name.clone(),
        problem: problem.id.clone(),
        sample: answered.sample,
        seed: problem_seed(seed, &task.name, &problem.id),
        question: problem.question.clone(),
        gold: problem.gold.clone(),
        no_answer: extracted.is_none(),
        extracted,
        correct: verdict == Verdict::Right,
        undecided: verdict == Verdict::Undecided,
        truncated: answer.truncated,
        looping,
        prompt_tokens: answer.prompt_tokens,
        thinking_tokens: answer.thinking_tokens,
        completion_tokens: answer.completion_tokens,
        finish_reason: answer.finish_reason,
        failure: answer.failure,
        reasoning: answer.reasoning,
        content: answer.content,
    })
}

impl Evaluation<'_> {
    fn plan(&self) -> Plan {
        let planned = |task: &Task| PlannedTask {
            name: task.name.clone(),
            n: task.problems.len(),
            fingerprint: task.fingerprint(),
        };
        Plan {
            model: self.model.clone(),
            settings: self.settings.clone(),
            tasks: self.tasks.iter().map(planned).collect(),
            context: None,
        }
    }

    /// Scores what is there, which is all, and puts the samples in order.
    fn results(&self, folder: &Folder, meter: &Meter, context: Option<usize>) -> Result<Results> {
        let (mut scored, mut in_order) = (Vec::new(), Vec::new());
        for (at, task) in self.tasks.iter().enumerate() {
            let samples = |id: &String| {
                (0..self.settings.samples).filter_map(|sample| folder.get(&task.name, id, sample)).collect()
            };
            let problems: Vec<Vec<&Sample>> = task.problems.iter().map(|problem| samples(&problem.id)).collect();
            let mut result = task_result(task, &problems, &self.settings, meter.task_rate(at));
            result.warnings.extend(truncation::warning(&problems, self.settings.max_new_tokens, context));
            scored.push(result);
            in_order.extend(problems.into_iter().flatten());
        }
        folder.put_in_order(&in_order)?;
        Ok(Results {
            version: self.made_by.version.clone(),
            date: self.made_by.date.clone(),
            machine: self.made_by.processor.clone(),
            commit: self.made_by.commit.clone(),
            command: self.made_by.command.clone(),
            model: self.model.clone(),
            settings: self.settings.clone(),
            tasks: scored,
        })
    }
}

fn task_result(task: &Task, problems: &[Vec<&Sample>], settings: &Settings, rate: Option<f64>) -> TaskResult {
    let is_same = |problem: usize, left: &str, right: &str| task.checker(problem).is_same(left, right);
    let score = score::score(problems, settings.samples, &is_same);
    let all = || problems.iter().flatten();
    let counted = || all().filter(|sample| sample.is_counted());
    let share = |is: &dyn Fn(&Sample) -> bool| score::mean(all().map(|sample| f64::from(u8::from(is(sample)))));
    TaskResult {
        name: task.name.clone(),
        n: problems.len(),
        k: settings.samples,
        pass_at_1: score.pass_at_1,
        ci95: score.ci95,
        maj_at_k: score.maj_at_k,
        pass_at_k: score.pass_at_k,
        truncated: share(&|sample| sample.truncated),
        looping: share(&|sample| sample.looping),
        no_answer: share(&|sample| sample.no_answer),
        undecided: share(&|sample| sample.undecided),
        failed: share(&|sample| sample.failure.is_some()),
        mean_thinking_tokens: score::mean(counted().map(|sample| sample.thinking_tokens as f64)),
        thinking_tokens_percentiles: score::percentiles(counted().map(|sample| sample.thinking_tokens)),
        mean_completion_tokens: score::mean(counted().map(|sample| sample.completion_tokens as f64)),
        tokens_per_second: rate,
        fingerprint: task.fingerprint(),
        warnings: Vec::new(),
    }
}
