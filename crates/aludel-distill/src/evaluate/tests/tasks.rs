//! Tests of tasks: files and benchmarks as problems, their columns and right answers, and verifiers.

use super::*;

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
        "line 1: 1 of 1 row has no reference answer, and this is the first: none of the columns `gold`, `gold_answer`, ",
    );
    check(
        "{\"question\": \"?\", \"answer\": 1}\n{\"messages\": [{\"role\": \"user\", \"content\": \"?\"}]}\n{\"prompt\": \"?\", \"gold\": \"\"}",
        "line 2: 2 of 3 rows have no reference answer, and this is the first: none of the columns `gold`, `gold_answer`, ",
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

/// Fingerprints are stored with results: a verifier's part of them must not change between versions.
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
