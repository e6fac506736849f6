//! Evaluation without a model: a respondent that answers by rote.

mod reopened;

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

/// Scores problems that are given as the answers of their samples; "1" is right.
fn scored(problems: &[&[&str]], k: u32) -> score::Score {
    let samples: Vec<Vec<Sample>> = problems
        .iter()
        .map(|answers| answers.iter().map(|&a| sample(a == "1", Some(a).filter(|a| !a.is_empty()))).collect())
        .collect();
    let samples: Vec<Vec<&Sample>> = samples.iter().map(|samples| samples.iter().collect()).collect();
    score(&samples, k, &|_, left, right| left == right)
}

/// From the definition: C(n, k) choices of k samples, of which C(n − c, k) hold none that is right.
fn pass_at_by_counting(n: usize, c: usize, k: usize) -> f64 {
    let choose = |n: usize, k: usize| (0..k).fold(1.0, |all, i| all * (n as f64 - i as f64) / (i + 1) as f64);
    1.0 - if n - c < k { 0.0 } else { choose(n - c, k) / choose(n, k) }
}

#[test]
fn pass_at_k_is_the_unbiased_estimator() {
    for n in 1..=12 {
        for c in 0..=n {
            for k in 1..=n {
                let difference = (pass_at(n, c, k) - pass_at_by_counting(n, c, k)).abs();
                assert!(difference <= 1e-12, "n {n}, c {c}, k {k}: {difference}");
            }
        }
    }
    assert_eq!((pass_at(4, 1, 2), pass_at(16, 0, 16), pass_at(0, 0, 1)), (0.5, 0.0, 0.0));
}

#[test]
fn pass_at_1_does_not_change_with_the_number_of_samples() {
    // every problem is solved by half of its samples, however many there are
    for k in [2, 4, 8, 16, 64] {
        let answers: Vec<&str> = (0..k).map(|at| if at % 2 == 0 { "1" } else { "2" }).collect();
        let score = scored(&[&answers, &answers, &answers], k);
        assert_eq!((score.pass_at_1, score.pass_at_k), (0.5, 1.0), "k {k}");
    }
    // one right sample among k in one problem of two
    for k in [1u32, 8, 16] {
        let mut answers = vec!["2"; k as usize];
        answers[0] = "1";
        let wrong = vec!["2"; k as usize];
        let score = scored(&[&answers, &wrong], k);
        assert_eq!((score.pass_at_1, score.pass_at_k), (0.5 / f64::from(k), 0.5), "k {k}");
    }
}

#[test]
fn the_most_frequent_answer_counts_and_ties_are_shared() {
    let maj = |answers: &[&str]| scored(&[answers], answers.len() as u32).maj_at_k;
    assert_eq!(maj(&["1", "2", "1"]), 1.0);
    assert_eq!(maj(&["2", "2", "1"]), 0.0);
    assert_eq!(maj(&["2", "1"]), 0.5, "a draw between the two");
    assert_eq!(maj(&["3", "2", "1"]), 1.0 / 3.0);
    assert_eq!(maj(&["", "", "1"]), 1.0, "no answer, no vote");
    assert_eq!(maj(&["", ""]), 0.0);
    assert_eq!(maj(&["2", "1", "2", "1", "3"]), 0.5);
}

#[test]
fn answers_vote_together_when_they_have_one_value() {
    let samples = [sample(true, Some("0.5")), sample(false, Some("2")), sample(true, Some("\\frac{1}{2}"))];
    let checker = Verifier::maths().checker().unwrap();
    let score = score(&[samples.iter().collect()], 3, &|_, left, right| checker.is_same(left, right));
    assert_eq!(score.maj_at_k, 1.0);
}

#[test]
fn no_score_is_a_certainty() {
    let all = |right: bool| {
        let problem = |number: usize| Sample { problem: number.to_string(), ..sample(right, Some("1")) };
        let samples: Vec<Sample> = (0..10).map(problem).collect();
        let problems: Vec<Vec<&Sample>> = samples.iter().map(|sample| vec![sample]).collect();
        score(&problems, 1, &|_, left, right| left == right).ci95
    };
    let ([low, high], [least, most]) = (all(true), all(false));
    assert!((0.72..0.73).contains(&low) && high == 1.0 && least == 0.0 && (0.27..0.28).contains(&most));
}

#[test]
fn percentiles_are_values_that_occurred() {
    let found = percentiles(1..=100);
    assert_eq!((found.p50, found.p90, found.p99), (50, 90, 99));
    let found = percentiles([7, 3].into_iter());
    assert_eq!((found.p50, found.p90, found.p99), (3, 7, 7));
    assert_eq!(percentiles(std::iter::empty()).p50, 0);
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

#[test]
fn a_file_is_a_task() {
    let folder = tempfile::tempdir().unwrap();
    let task = task_of(folder.path(), SUMS).unwrap();
    assert_eq!(task.name, "sums");
    let found: Vec<_> = task.problems.iter().map(|p| (p.id.as_str(), p.messages.len(), p.gold.as_str())).collect();
    assert_eq!(found, [("1", 1, "2"), ("2", 2, "4"), ("six", 1, "6")]);
    let choice = r#"{"question": "Which?", "choices": ["red", "blue"], "answer": "blue"}"#;
    let task = task_of(folder.path(), choice).unwrap();
    assert_eq!(task.problems[0].gold, "B");
    assert!(task.problems[0].messages[0].content.starts_with("Which?\n\nA. red\nB. blue\n"), "{:?}", task.problems[0]);
    assert_eq!(task.checker(0).verdict("It is \\boxed{B}.", "B").unwrap(), Verdict::Right);
    let judge = |content: &str| {
        let answer = Answer { content: content.to_owned(), ..Answer::default() };
        let sample = judged(&task, &FinishedSample { task: 0, problem: 0, sample: 0, answer }, 0).unwrap();
        (sample.correct, sample.extracted, sample.no_answer)
    };
    assert_eq!(judge("It is \\boxed{blue}."), (true, Some("B".to_owned()), false), "an option by its value");
    assert_eq!(judge("It is \\boxed{red}."), (false, Some("A".to_owned()), false));
    assert_eq!(judge("It is \\boxed{green}."), (false, None, true));
}

#[test]
fn what_is_no_task_says_what_would_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let check = |row: &str, wanted: &str| {
        let error = task_of(folder.path(), row).map(|task| task.name).unwrap_err().to_string();
        assert!(error.contains(wanted), "{row}: {error}");
    };
    check(
        r#"{"question": "1+1?"}"#,
        "line 1: the row has no right answer, and has `question`; put the answer in a column `answer` or `gold`, or leave such rows out",
    );
    check(
        "{\"question\": \"?\", \"answer\": 1}\n{\"messages\": [{\"role\": \"user\", \"content\": \"?\"}]}\n{\"prompt\": \"?\", \"gold\": \"\"}",
        "line 2: the row has no right answer, and neither has 1 more of the 3 rows, and has ",
    );
    check(r#"{"text": "1+1? 2", "gold": "2"}"#, "line 1: the row asks nothing");
    check(r#"{"answer": 2}"#, "line 1: the row asks nothing");
    check(r#"{"question": "?", "answer": "x", "choices": ["a", "b"]}"#, "is none of the choices");
    check(r#"{"question": "?", "answer": "x", "verifier": "magic"}"#, "`verifier` is none");
    check(
        r#"{"question": "?", "answer": "x", "verifier": {"kind": "command", "argv": ["rm"]}}"#,
        "a file cannot say that a command is to be run",
    );
    check("", "holds no row");
    let unknown = named("gsm9k").unwrap_err().to_string();
    assert!(unknown.contains("gsm8k, math500, aime24, gpqa-diamond") && unknown.contains("dice"), "{unknown}");
    for (typed, meant) in [
        ("gsm8", "did you mean gsm8k? give"),
        ("gsm9k", "did you mean gsm8k? give"),
        ("math", "did you mean math500? give"),
        ("fractoins", "did you mean fractions? give"),
        ("gsm8k:test", "did you mean gsm8k? give"),
        (
            "dice:hrad",
            "did you mean dice? It has easy problems: `aludel tasks make dice --split test --difficulty hard",
        ),
    ] {
        let told = named(typed).unwrap_err().to_string();
        assert!(told.starts_with(&format!("--tasks {typed}: there is no such task; {meant}")), "{told}");
    }
    assert!(named("nonsense").unwrap_err().to_string().contains("no such task; give"));
    let path = folder.path().join("sums.jsonl");
    fs::write(&path, SUMS).unwrap();
    let empty = Task::load("sums", &Source::Files(vec![path]), Some(0), None).map(|task| task.name).unwrap_err();
    assert!(empty.to_string().contains("it has no problem"), "{empty}");
}

/// As in training data, columns are known in any spelling; two that could be the right answer are refused by their names.
#[test]
fn columns_of_a_task_have_many_spellings() {
    let folder = tempfile::tempdir().unwrap();
    for row in [
        r#"{"Question": "Which?", "Answer": "blue", "Choices": ["red", "blue"], "ID": "q"}"#,
        r#"{"PROMPT": "Which?", "Gold": "blue", "Options": ["red", "blue"], "Id": "q"}"#,
        r#"{"Problem": "Which?", "ground_truth": "B", "options": ["red", "blue"], "id": "q"}"#,
        r#"{"question": "Which?", "CorrectAnswer": "B", "answer": "It is blue, since…", "choices": ["red", "blue"], "id": "q"}"#,
    ] {
        let task = task_of(folder.path(), row).unwrap();
        let problem = &task.problems[0];
        assert_eq!(
            (problem.id.as_str(), problem.gold.as_str(), problem.question.as_str()),
            ("q", "B", "Which?"),
            "{row}"
        );
        assert_eq!(task.checker(0).verdict("It is \\boxed{B}.", "B").unwrap(), Verdict::Right);
    }
    let named = r#"{"question": "?", "answer": "7", "Verifier": {"kind": "numeric", "absolute": 1}}"#;
    let task = task_of(folder.path(), named).unwrap();
    assert_eq!(task.checker(0).verdict("8", "7").unwrap(), Verdict::Right);
    for (row, names) in [
        (r#"{"question": "?", "gold": "4", "ground_truth": "5"}"#, "line 1: the row has `gold` and `ground_truth`"),
        (r#"{"question": "?", "answer": "4", "Answer": "5"}"#, "line 1: the row has `answer` and `Answer`"),
    ] {
        let refused = task_of(folder.path(), row).map(|task| task.name).unwrap_err().to_string();
        assert!(refused.contains(names) && refused.contains("leave the right answer in one of them"), "{refused}");
    }
}

/// In the shapes that data files have, with what curation writes beside them.
#[test]
fn rows_to_train_on_are_problems_where_their_right_answer_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let turns = r#"[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "3"}, {"role": "user", "content": "No."}, {"role": "assistant", "reasoning": "so", "content": "2"}]"#;
    let rows = [
        format!(
            r#"{{"messages": {turns}, "gold": 2, "verified": true, "verdict": "right", "prompt_id": "a1", "hash": "b", "origin": "t:1"}}"#
        ),
        r#"{"prompt": "2+2?", "reasoning": "so", "response": "4", "gold": "4", "answer": "four"}"#.to_owned(),
        r#"{"instruction": "Add.", "input": "3, 3", "output": "It is 6.", "answer": 6, "id": "six"}"#.to_owned(),
        r#"{"problem": "4+4?", "system": "Be brief.", "answer": 8}"#.to_owned(),
    ];
    let task = task_of(folder.path(), &rows.join("\n")).unwrap();
    let told = |problem: &task::Problem| {
        let roles: String = problem.messages.iter().map(|message| &message.role.as_str()[..1]).collect();
        format!("{} {roles} {:?} {}", problem.id, problem.question, problem.gold)
    };
    let told: Vec<_> = task.problems.iter().map(told).collect();
    assert_eq!(told, ["a1 suau \"No.\" 2", "2 u \"2+2?\" 4", "six u \"Add.\\n\\n3, 3\" 6", "4 su \"4+4?\" 8"]);
}

#[test]
fn other_answers_to_one_prompt_are_no_other_problem() {
    let folder = tempfile::tempdir().unwrap();
    let row = |prompt: &str, said: &str, gold: u32, id: &str| {
        format!(r#"{{"prompt": "{prompt}", "response": "{said}", "gold": {gold}, "prompt_id": "{id}"}}"#)
    };
    let rows =
        [row("1+1?", "2", 2, "a"), row("2+2?", "4", 4, "b"), row("1+1?", "two", 2, "a"), row("1+1?", "10", 10, "a")];
    let task = task_of(folder.path(), &rows.join("\n")).unwrap();
    let found: Vec<_> = task.problems.iter().map(|problem| (problem.id.as_str(), problem.gold.as_str())).collect();
    assert_eq!(
        (found, task.repeated),
        (vec![("a", "2"), ("b", "4"), ("a#2", "10")], 1),
        "another right answer is told"
    );
}

#[test]
fn right_answers_keep_their_digits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.jsonl");
    let rows = ["1180591620717411303424", "100000000000000000007", "0.12345678901234567891", "1.10"];
    fs::write(
        &path,
        rows.map(|gold| format!("{{\"id\": {gold}, \"question\": \"?\", \"answer\": {gold}}}\n")).concat(),
    )
    .unwrap();
    let task = Task::load("large", &Source::Files(vec![path]), None, None).unwrap();
    assert_eq!(task.problems.iter().map(|problem| problem.gold.as_str()).collect::<Vec<_>>(), rows);
    assert_eq!(task.problems.iter().map(|problem| problem.id.as_str()).collect::<Vec<_>>(), rows);
    let verdict = |said: &str| task.checker(1).verdict(said, &task.problems[1].gold).unwrap();
    assert_eq!(verdict("\\boxed{100000000000000000007}"), Verdict::Right);
    assert_eq!(verdict("\\boxed{100000000000000000000}"), Verdict::Wrong);
}

/// Whether it is the row or the command that names the verifier.
#[test]
fn a_list_is_a_right_answer_where_lists_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists.jsonl");
    let load = |row: &str, instead: Option<&Verifier>| {
        fs::write(&path, row).unwrap();
        Task::load("lists", &Source::Files(vec![path.clone()]), None, instead)
    };
    let plain = r#"{"question": "?", "answer": [1, 2]}"#;
    let named = r#"{"question": "?", "answer": [1, 2], "verifier": "json"}"#;
    for (row, instead, is_taken) in [
        (plain, None, false),
        (named, None, true),
        (plain, Some(Verifier::Json {}), true),
        (named, Some(Verifier::maths()), false),
    ] {
        let loaded = load(row, instead.as_ref()).map(|task| task.checker(0).verdict("[1, 2]", &task.problems[0].gold));
        match loaded {
            Ok(verdict) => assert!(is_taken && matches!(verdict, Ok(Verdict::Right)), "{row} {instead:?}"),
            Err(error) => assert!(!is_taken && error.to_string().contains("no answer equals one"), "{row} {instead:?}"),
        }
    }
}

#[test]
fn benchmarks_are_read_from_their_own_columns() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, file: &str, text: &str| {
        let path = folder.path().join(file);
        fs::write(&path, text).unwrap();
        let (name, source) = named(&format!("{name}={}", path.display())).unwrap();
        Task::load(&name, &source, None, None)
    };
    let gsm8k =
        load("gsm8k", "g.jsonl", r#"{"question": "How many?", "answer": "6 * 7 = <<6*7=42>>42\n#### 1,042"}"#).unwrap();
    assert_eq!((gsm8k.name.as_str(), gsm8k.problems[0].gold.as_str()), ("gsm8k", "1,042"));
    assert!(gsm8k.problems[0].messages[0].content.ends_with("put your final answer within \\boxed{}."));
    assert_eq!(gsm8k.checker(0).verdict("so \\boxed{1042}", "1,042").unwrap(), Verdict::Right);
    let aime = load("aime24", "a.jsonl", r#"{"ID": "2024-I-1", "Problem": "?", "Answer": 204}"#).unwrap();
    assert_eq!((aime.problems[0].id.as_str(), aime.problems[0].gold.as_str()), ("2024-I-1", "204"));
    let table = "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3\n\
                 r1,\"Which, then?\",right,w1,w2,w3\n";
    let gpqa = load("gpqa-diamond", "g.csv", table).unwrap();
    let problem = &gpqa.problems[0];
    assert!(problem.messages[0].content.contains(&format!("\n{}. right", problem.gold)), "{problem:?}");
    let missing = load("math500", "m.jsonl", r#"{"question": "?", "answer": "1"}"#).map(|task| task.name).unwrap_err();
    assert!(
        missing.to_string().contains("a row of math500 has a column `problem`, and this one has question"),
        "{missing}"
    );
}

/// Knows the answers of even samples, and stops after so many.
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

/// One session that asks for at most so many samples; the results, and how many were asked for.
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

#[test]
fn seeds_depend_on_names_alone() {
    assert_eq!(problem_seed(1, "t", "p"), problem_seed(1, "t", "p"));
    let seeds: HashSet<u64> = [(1, "t", "p"), (2, "t", "p"), (1, "u", "p"), (1, "t", "q")]
        .map(|(seed, t, p)| problem_seed(seed, t, p))
        .into();
    assert_eq!(seeds.len(), 4);
    assert!(seeds.into_iter().all(|seed| seed < 1 << 53));
}

/// Fingerprints stand in results on disks: what a verifier adds to them must not change with the version.
#[test]
fn a_verifier_is_known_by_what_it_was_written_as() {
    for verifier in [
        Verifier::maths(),
        Verifier::Choice { letters: "ABCD".to_owned() },
        Verifier::Exact { ignore_case: true },
        Verifier::Regex { pattern: "a(b)".to_owned() },
        Verifier::Numeric { absolute: 0.5, relative: 1e-9 },
        Verifier::Json {},
        Verifier::Command { argv: vec!["check".to_owned()], timeout_ms: 7 },
    ] {
        assert_eq!(task::known_by(&verifier).to_string(), serde_json::to_string(&verifier).unwrap());
    }
}
