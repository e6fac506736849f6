//! Tests of evaluations without a model: a scripted backend answers.

mod reopened;
mod scores;
mod tasks;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use aludel_verify::Verifier;

use super::results::{PLAN_FILE_NAME, RESULTS_FILE_NAME, Results, SAMPLES_FILE_NAME, read_samples};
use super::score::{pass_at, percentiles, score};
use super::task::{Source, named};
use super::*;

pub(super) fn sample(correct: bool, extracted: Option<&str>) -> Sample {
    Sample {
        task: "t".into(),
        problem: "p".into(),
        sample: 0,
        seed: 0,
        question: "?".into(),
        gold: "1".into(),
        reasoning: None,
        content: String::new(),
        extracted: extracted.map(str::to_owned),
        correct,
        undecided: false,
        truncated: false,
        looping: false,
        no_answer: extracted.is_none(),
        prompt_tokens: 1,
        thinking_tokens: 0,
        completion_tokens: 1,
        finish_reason: "stop".into(),
        failure: None,
    }
}

/// A file of two sums and a task of it.
fn task_of(folder: &Path, text: &str) -> Result<Task> {
    let path = folder.join("sums.jsonl");
    fs::write(&path, text).unwrap();
    let (name, source) = named(path.to_str().unwrap())?;
    Task::load(&name, &source, None, None)
}

const SUMS: &str = "{\"question\": \"1+1?\", \"answer\": 2}\n{\"prompt\": \"2+2?\", \"answer\": \"4\", \"system\": \"Be brief.\"}\n\
                    {\"question\": \"3+3?\", \"answer\": \"6\", \"id\": \"six\"}\n";

/// Answers even samples rightly, and stops after `most` samples.
struct ScriptedBackend<'a> {
    tasks: &'a [Task],
    most: usize,
    asked: &'a Cell<usize>,
}

impl EvalBackend for ScriptedBackend<'_> {
    fn answer(
        &mut self,
        asks: &[SampleRequest<'_>],
        _is_resumed: bool,
        stop: &AtomicBool,
        meter: &mut Meter,
        take: &mut dyn FnMut(Option<FinishedSample>, &Meter) -> Result<()>,
    ) -> Result<()> {
        for ask in asks {
            for sample in ask.samples.clone() {
                if self.asked.get() == self.most {
                    stop.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                self.asked.set(self.asked.get() + 1);
                let gold = &self.tasks[ask.task].problems[ask.problem].gold;
                let content = if sample % 2 == 0 { format!("\\boxed{{{gold}}}") } else { "Who knows?".to_owned() };
                let answer =
                    Answer { content, finish_reason: "stop".into(), completion_tokens: 3, ..Answer::default() };
                meter.count(ask.task, 3);
                meter.tick();
                take(Some(FinishedSample { task: ask.task, problem: ask.problem, sample, answer }), meter)?;
            }
        }
        Ok(())
    }
}

fn evaluation(tasks: &[Task], samples: u32) -> Evaluation<'_> {
    let settings = Settings {
        samples,
        temperature: 0.6,
        top_p: 0.95,
        max_new_tokens: 9,
        seed: 1,
        dtype: Some("f32".into()),
        template_date: None,
        template_variables: serde_json::Map::new(),
    };
    let model = ModelName { path: Some("m".into()), name: "m".into(), ..ModelName::default() };
    let made_by = Provenance { date: "2026-01-01T00:00:00Z".into(), ..Provenance::default() };
    Evaluation { tasks, model, settings, made_by }
}

/// One session with at most `most` samples: its results, and the number of samples requested.
fn session(tasks: &[Task], folder: &Path, samples: u32, most: usize) -> Result<(Option<Results>, usize)> {
    let asked = Cell::new(0);
    let open = || Ok(Box::new(ScriptedBackend { tasks, most, asked: &asked }) as Box<dyn EvalBackend>);
    let results = evaluate(&evaluation(tasks, samples), folder, open, &AtomicBool::new(false), &mut |_| {})?;
    Ok((results, asked.get()))
}

/// Everything but the speed.
fn numbers(results: Option<Results>) -> Vec<TaskResult> {
    let tasks = results.unwrap().tasks.into_iter();
    tasks.map(|task| TaskResult { tokens_per_second: None, ..task }).collect()
}

#[test]
fn what_was_stopped_goes_on_without_asking_twice() {
    let home = tempfile::tempdir().unwrap();
    let tasks = [task_of(home.path(), SUMS).unwrap()];
    let (whole, stopped) = (home.path().join("whole"), home.path().join("stopped"));
    let (results, asked) = session(&tasks, &whole, 4, usize::MAX).unwrap();
    let wanted = numbers(results);
    assert_eq!((asked, wanted[0].n, wanted[0].k), (12, 3, 4));
    assert_eq!(
        (wanted[0].pass_at_1, wanted[0].maj_at_k, wanted[0].pass_at_k, wanted[0].no_answer),
        (0.5, 1.0, 1.0, 0.5)
    );

    assert_eq!(session(&tasks, &stopped, 4, 5).unwrap(), (None, 5));
    assert!(Results::read(&stopped).unwrap_err().to_string().contains("was not finished"));
    // the kill came in the middle of a line, and something was lost before it
    let path = stopped.join(SAMPLES_FILE_NAME);
    let text = fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = text.lines().enumerate().filter(|(at, _)| *at != 1).map(|(_, line)| line).collect();
    fs::write(&path, format!("{}\n{}", kept.join("\n"), &text[..40])).unwrap();
    let (results, asked) = session(&tasks, &stopped, 4, usize::MAX).unwrap();
    assert_eq!((numbers(results), asked), (wanted, 12 - 4));
    assert_eq!(fs::read(&path).unwrap(), fs::read(whole.join(SAMPLES_FILE_NAME)).unwrap());
    assert_eq!(read_samples(&stopped).unwrap().len(), 12);
    assert_eq!(session(&tasks, &stopped, 4, usize::MAX).unwrap().1, 0, "nothing is left to ask");
}

#[test]
fn another_evaluation_is_refused_with_what_differs() {
    let home = tempfile::tempdir().unwrap();
    let tasks = [task_of(home.path(), SUMS).unwrap()];
    let folder = home.path().join("results");
    session(&tasks, &folder, 1, 2).unwrap();
    let refused = session(&tasks, &folder, 2, 9).unwrap_err().to_string();
    assert!(refused.contains("settings.samples: 1 → 2"), "{refused}");
    let others = [task_of(home.path(), &SUMS.replace("3+3", "3 + 3")).unwrap()];
    let refused = session(&others, &folder, 1, 9).unwrap_err().to_string();
    assert!(refused.contains("tasks.sums: 3 problems with fingerprint"), "{refused}");
    let foreign = home.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("results.json"), "{}").unwrap();
    let refused = session(&tasks, &foreign, 1, 9).unwrap_err().to_string();
    assert!(refused.contains("it holds a results.json of something else"), "{refused}");
    let twice = [task_of(home.path(), SUMS).unwrap(), task_of(home.path(), SUMS).unwrap()];
    let refused = session(&twice, &home.path().join("twice"), 1, 9).unwrap_err().to_string();
    assert!(refused.contains("two tasks have this name"), "{refused}");
    assert!(!home.path().join("twice").exists(), "a refusal leaves nothing");
}

#[test]
fn a_verifier_that_hangs_leaves_answers_undecided() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sums.jsonl");
    fs::write(&path, SUMS).unwrap();
    let hanging = Verifier::Command { argv: vec!["sleep".into(), "600".into()], timeout_ms: 50 };
    let tasks = [Task::load("sums", &Source::Files(vec![PathBuf::from(&path)]), Some(2), Some(&hanging)).unwrap()];
    let (results, _) = session(&tasks, &home.path().join("results"), 1, usize::MAX).unwrap();
    let task = &numbers(results)[0];
    assert_eq!((task.undecided, task.pass_at_1), (1.0, 0.0));
}

/// A text that was cut off is right by what it settles on, and never by its last number; the question says what more is asked.
#[test]
fn answers_are_judged_by_where_they_end_and_by_the_question() {
    let home = tempfile::tempdir().unwrap();
    let rows = "{\"question\": \"6 × 7?\", \"answer\": 42}\n{\"question\": \"Reduce 18/15.\", \"answer\": \"6/5\"}\n\
                {\"question\": \"Evaluate $\\\\dbinom{5}{3}$\", \"answer\": \"10\"}\n";
    let task = task_of(home.path(), rows).unwrap();
    let judge = |problem: usize, content: &str, truncated: bool| {
        let answer = Answer { content: content.to_owned(), truncated, ..Answer::default() };
        let sample = judged(&task, &FinishedSample { task: 0, problem, sample: 0, answer }, 0).unwrap();
        (sample.correct, sample.undecided, sample.no_answer, sample.extracted)
    };
    let found = |correct: bool, text: &str| (correct, false, false, Some(text.to_owned()));
    let none = (false, false, true, None);
    assert_eq!(judge(0, "7 × 6 is 42", false), found(true, "42"));
    assert_eq!(judge(0, "7 × 6 is 42", true), none);
    assert_eq!(judge(0, "The answer is 42", true), none);
    assert_eq!(judge(0, "The answer is 42. Let me check: 6 ×", true), found(true, "42"));
    assert_eq!(judge(0, "It is \\boxed{42}", true), found(true, "42"));
    assert_eq!(judge(0, "It is \\boxed{41}. No, 42", true), found(false, "41"));
    assert_eq!(judge(1, "18/15 cannot be reduced", false), found(false, "18/15 cannot be reduced"));
    assert_eq!(judge(1, "\\boxed{36/30}", false), found(false, "36/30"));
    assert_eq!(judge(1, "\\boxed{6/5}", false), found(true, "6/5"));
    assert_eq!(judge(2, "\\boxed{\\dbinom{5}{3}}", false), found(false, "\\dbinom{5}{3}"));
    assert_eq!(judge(2, "\\boxed{2 × 5}", false), (false, true, false, Some("2 × 5".to_owned())));
    assert_eq!(judge(2, "\\boxed{10}", false), found(true, "10"));
}

#[test]
fn seeds_depend_on_names_alone() {
    assert_eq!(problem_seed(1, "t", "p"), problem_seed(1, "t", "p"));
    let seeds: HashSet<u64> = [(1, "t", "p"), (2, "t", "p"), (1, "u", "p"), (1, "t", "q")]
        .map(|(seed, t, p)| problem_seed(seed, t, p))
        .into();
    assert_eq!(seeds.len(), 4);
    assert!(seeds.into_iter().all(|seed| seed < 1 << 53));
}
