//! What rows ask: read without their answers, and compared.

use super::*;

/// Whether two rows ask the same prompt.
fn check_prompts(left: Value, right: Value, same: bool) {
    let key = |row: &Value| read(row.to_string().as_bytes(), &ReadOptions::default()).0[0].as_ref().unwrap().prompt_key;
    assert_eq!(key(&left) == key(&right), same, "{left} and {right}");
}

#[test]
fn prompts_are_compared_by_what_they_ask() {
    let row = |prompt: &str, response: &str| json!({"prompt": prompt, "response": response});
    check_prompts(row("What is\n 2+2?", "4"), row("what is 2+2? ", "four"), true);
    check_prompts(row("What is 2+2?", "4"), row("What is 2+3?", "4"), false);
    check_prompts(row("q", "a"), json!({"question": "q", "answer": "b"}), true);
    check_prompts(row("q", "a"), json!({"system": " ", "prompt": "q", "response": "a"}), true);
    check_prompts(row("q", "a"), json!({"system": "s", "prompt": "q", "response": "a"}), false);
    check_prompts(json!({"text": "a"}), json!({"text": "b"}), false);
    let opening = |answer: &str| json!({"messages": [{"role": "system", "content": "s"}, {"role": "assistant", "content": answer}]});
    check_prompts(opening("a"), opening("b"), false);
    check_prompts(opening("a"), opening("a"), true);
}

/// Reads one row for what it asks: the messages, and the names of the columns that are left.
fn check_prompt(options: &ReadOptions, row: Value, wanted: &[Message], left: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    fs::write(&path, row.to_string()).unwrap();
    let prompts: Vec<_> = open_prompts(&[path], options).unwrap().collect();
    let [Ok(prompt)] = prompts.as_slice() else { panic!("{row}: {prompts:?}") };
    assert_eq!(prompt.messages, wanted, "{row}");
    assert_eq!(prompt.columns.names().collect::<Vec<_>>(), left, "{row}");
}

#[test]
fn prompts_are_read_from_every_shape_with_and_without_answers() {
    let usual = ReadOptions::default();
    let question = || vec![Message::user("q")];
    check_prompt(&usual, json!({"question": "q", "answer": "a", "id": 1}), &question(), &["answer", "id"]);
    check_prompt(&usual, json!({"question": "q"}), &question(), &[]);
    check_prompt(&usual, json!({"prompt": "q", "response": "a", "gold": "g"}), &question(), &["response", "gold"]);
    check_prompt(&usual, json!({"instruction": "q", "input": "i"}), &[Message::user("q\n\ni")], &[]);
    check_prompt(&usual, json!({"text": "q"}), &question(), &[]);
    let system = [Message::system("s"), Message::user("q")];
    check_prompt(&usual, json!({"system": "s", "prompt": "q"}), &system, &[]);
    let turns = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
    check_prompt(&usual, json!({"messages": turns, "prompt": "unused", "system": "unused"}), &system, &["prompt"]);
    let turns =
        json!([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "r"}]);
    let conversation = [Message::user("q"), Message::assistant("a"), Message::user("r")];
    check_prompt(&usual, json!({"conversations": turns}), &conversation, &[]);
    let named = columns(&[("prompt", "problem")]);
    check_prompt(
        &named,
        json!({"problem": "q", "messages": "unused", "solution": "a"}),
        &question(),
        &["messages", "solution"],
    );
}

#[test]
fn rows_that_ask_nothing_are_errors_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    fs::write(&path, "{\"prompt\": \"q\"}\n{\"prompt\": \" \"}\n{\"other\": 1}\nno JSON\n").unwrap();
    let read = |skip_bad_rows| {
        let mut prompts =
            open_prompts(&[&path].map(Clone::clone), &ReadOptions { skip_bad_rows, ..ReadOptions::default() }).unwrap();
        let read: Vec<_> = prompts.by_ref().collect();
        (read, prompts.counts().bad_rows())
    };
    let (stopped, _) = read(false);
    assert_eq!(stopped.len(), 2);
    assert!(stopped[1].as_ref().unwrap_err().to_string().contains("line 2: column `prompt` is empty"), "{stopped:?}");
    let (skipped, bad) = read(true);
    assert!(skipped.len() == 1 && skipped[0].is_ok() && bad == 3, "{skipped:?}");
}
