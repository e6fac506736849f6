//! `aludel chat` through the binary, on a student of one layer: a conversation and its commands, the JSON of one answer, and Ctrl-C.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use common::{Workshop, train_args};
use serde_json::Value;

const GREEDY: &[&str] = &["chat", "--model", "student", "--temperature", "0", "--dtype", "f32"];

/// A student with room for a long answer.
fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let config = fs::read_to_string(workshop.path("student/config.json")).unwrap();
    let config = config.replace("\"max_position_embeddings\":512", "\"max_position_embeddings\":8192");
    assert!(config.contains("8192"));
    workshop.write("student/config.json", &config);
    workshop
}

fn start(workshop: &Workshop, arguments: &[&str]) -> Child {
    let mut command = workshop.command(&[GREEDY, arguments].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Exit code, standard output and standard error of a conversation in which `typed` was typed.
fn converse(workshop: &Workshop, arguments: &[&str], typed: &str) -> (Option<i32>, String, String) {
    let mut child = start(workshop, arguments);
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn commands_change_what_is_said_and_mistakes_end_nothing() {
    let workshop = workshop();
    let typed = "/set max_new_tokens=2\nhello\n/set temprature=1\n/set temperature=-1\n/set\n/foo\n/quit\nunread\n";
    let (code, out, errors) = converse(&workshop, &["--max-new-tokens", "5"], typed);
    assert_eq!(code, Some(0), "{errors}");
    for part in [
        "[cut after max_new_tokens = 2]",
        "did you mean generate.temperature?",
        "generate.temperature = -1.0 (/set)",
        "max_new_tokens = 2\ntemperature = 0.0\n",
        "no command /foo",
    ] {
        assert!(errors.contains(part), "lacks {part:?}:\n{errors}");
    }
    // A pipe gets only the answer.
    let answer = workshop.run(&[GREEDY, &["--prompt", "hello", "--max-new-tokens", "2"]].concat());
    assert!(answer.ends_with(&format!("----- stdout -----\n{out}")), "{out:?} is not all of {answer:?}");
}

#[test]
fn a_conversation_in_json_remembers_forgets_and_says_nothing_else() {
    let workshop = workshop();
    let typed = "one\ntwo\n/reset\none\n/system Be brief.\n/reset\none\n/system\n/reset\none\n";
    let (code, out, errors) = converse(&workshop, &["--max-new-tokens", "3", "--json"], typed);
    assert_eq!(code, Some(0), "{errors}");
    let answers = json_lines(&out);
    let prompt_tokens: Vec<u64> = answers.iter().map(|a| a["usage"]["prompt_tokens"].as_u64().unwrap()).collect();
    let [first, second, forgotten, system, without] = prompt_tokens[..] else { panic!("{out}") };
    assert!(second > first && forgotten == first && system > first && without == first, "{prompt_tokens:?}");
    assert_eq!(answers[0], answers[2], "what was forgotten has no influence");
}

#[test]
fn a_full_context_ends_no_conversation() {
    let workshop = Workshop::with_student();
    let long = "long ".repeat(200);
    let typed = format!("{long}\nshort\n");
    let (code, out, errors) = converse(&workshop, &["--max-new-tokens", "3", "--json"], &typed);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(json_lines(&out).len(), 1, "the short message is answered");
    assert!(errors.contains("context of 512 tokens") && errors.contains("/reset"), "{errors}");
    // a single question has no conversation to reset
    let refused = workshop.run(&[GREEDY, &["--prompt", &long]].concat());
    assert!(refused.contains("exit code: 1\n") && refused.contains("context of 512"), "{refused}");
    // an answer that reaches the end of the context was cut
    let one_shot = [GREEDY, &["--prompt", "hello", "--max-new-tokens", "5000", "--json"]].concat();
    let answer = workshop.json(&one_shot);
    assert_eq!(answer["finish_reason"], "length");
    let usage = &answer["usage"];
    let [prompt, completion] = ["prompt_tokens", "completion_tokens"].map(|key| usage[key].as_u64().unwrap());
    assert_eq!(prompt + completion, 512);
}

#[test]
fn one_answer_in_json_has_the_agreed_shape() {
    let workshop = workshop();
    let ask = |more: &[&str]| workshop.json(&[GREEDY, &["--prompt", "hello", "--json"], more].concat());
    let answer = ask(&["--max-new-tokens", "9"]);
    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["reasoning", "content", "finish_reason", "usage"]);
    assert_eq!((&answer["finish_reason"], &answer["usage"]["completion_tokens"]), (&"length".into(), &9.into()));
    let content = answer["content"].as_str().unwrap();
    // a text that stops the answer is no part of it
    let stop: String = content.chars().skip(2).take(1).collect();
    let stopped = ask(&["--max-new-tokens", "9", "--stop", "nowhere", "--stop", &stop]);
    assert_eq!(stopped["finish_reason"], "stop");
    let cut = content.split(stop.as_str()).next().unwrap();
    assert_eq!(stopped["content"], cut.trim());
    let again = ask(&["--max-new-tokens", "9", "--repetition-penalty", "50"]);
    assert_ne!(again["content"], answer["content"], "a penalty changes an answer that repeats itself");
}

/// Its template opens the tags of reasoning, and the student never closes them.
#[test]
fn a_pipe_gets_the_answer_and_standard_error_the_reasoning() {
    let workshop = workshop();
    let template = fs::read_to_string(workshop.path("student/chat_template.jinja")).unwrap();
    let opens = template.replace("'<|im_start|>assistant\\n'", "'<|im_start|>assistant\\n<think>\\n'");
    assert_ne!(opens, template);
    workshop.write("student/chat_template.jinja", &opens);
    let ask = |more: &[&str]| {
        let usual = ["--prompt", "hello", "--max-new-tokens", "9"];
        workshop.command(&[GREEDY, &usual, more].concat()).output().unwrap()
    };
    let json: Value = serde_json::from_slice(&ask(&["--json"]).stdout).unwrap();
    let reasoning = json["reasoning"].as_str().unwrap();
    assert!(!reasoning.is_empty() && json["content"] == "", "{json}");
    let output = ask(&[]);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, errors) = (text(output.stdout), text(output.stderr));
    assert_eq!(out, "\n");
    let shown = |c: char| match c.is_control() && !"\n\t".contains(c) {
        true => c.escape_unicode().to_string(),
        false => c.to_string(),
    };
    assert_eq!(errors.trim(), reasoning.chars().map(shown).collect::<String>());
    assert!(errors.ends_with('\n'));
}

#[test]
fn a_template_that_asks_for_the_date_is_told_it() {
    let workshop = workshop();
    let template = fs::read_to_string(workshop.path("student/chat_template.jinja")).unwrap();
    workshop.write("student/chat_template.jinja", &format!("{{{{ strftime_now('%Y-%m-%d') }}}}{template}"));
    let answer = workshop.json(&[GREEDY, &["--prompt", "hello", "--max-new-tokens", "1", "--json"]].concat());
    let with_date = answer["usage"]["prompt_tokens"].as_u64().unwrap();
    workshop.write("student/chat_template.jinja", &template);
    let answer = workshop.json(&[GREEDY, &["--prompt", "hello", "--max-new-tokens", "1", "--json"]].concat());
    assert_eq!(with_date, answer["usage"]["prompt_tokens"].as_u64().unwrap() + 10, "ten letters, each a token");
}

#[test]
fn an_adapter_may_end_answers_with_another_token() {
    let workshop = workshop();
    workshop
        .write("rows.jsonl", "{\"prompt\": \"1\", \"response\": \"2\"}\n{\"prompt\": \"3\", \"response\": \"4\"}\n");
    let settings = ["--max-steps", "2", "--set", "data.test_size=0", "--set", "train.eval_strategy=no"];
    let trained = workshop.run(&train_args("run", &settings));
    assert!(trained.contains("exit code: 0"), "{trained}");
    let ask = || {
        workshop
            .json(&[GREEDY, &["--adapter", "run/adapter", "--prompt", "2", "--max-new-tokens", "4", "--json"]].concat())
    };
    assert_eq!(ask()["finish_reason"], "length");
    let every_token = serde_json::json!({"eos_token_id": (0..258).collect::<Vec<u32>>()}).to_string();
    workshop.write("run/adapter/generation_config.json", &every_token);
    // As the refusal of a folder that was added to says.
    std::fs::remove_file(workshop.path("run/adapter/aludel_manifest.json")).unwrap();
    let answer = ask();
    assert_eq!((&answer["finish_reason"], &answer["usage"]["completion_tokens"]), (&"stop".into(), &1.into()));
    workshop.write("run/adapter/generation_config.json", "{\"eos_token_id\": \"end\"}");
    let refused = workshop.run(&[GREEDY, &["--adapter", "run/adapter", "--prompt", "2"]].concat());
    assert!(refused.contains("exit code: 1") && refused.contains("eos_token_id"), "{refused}");
}

/// Reads standard output until the answer has begun.
fn begun(out: &mut impl Read) -> Vec<u8> {
    let mut seen = vec![0; 200];
    out.read_exact(&mut seen).unwrap();
    seen
}

#[test]
fn an_interrupted_question_ends_with_130() {
    let workshop = workshop();
    let mut child = start(&workshop, &["--prompt", "hello", "--max-new-tokens", "8000"]);
    begun(child.stdout.as_mut().unwrap());
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.ends_with(b"\n"));
}

#[test]
fn an_interrupted_answer_leaves_the_conversation_open() {
    let workshop = workshop();
    let mut child = start(&workshop, &["--max-new-tokens", "8000"]);
    let mut input = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut notes = BufReader::new(child.stderr.take().unwrap());
    notes.read_line(&mut String::new()).unwrap();
    input.write_all(b"hello\n").unwrap();
    begun(&mut out);
    interrupt(&child);
    input.write_all(b"/set max_new_tokens=2\nhello\n/quit\n").unwrap();
    out.read_to_end(&mut Vec::new()).unwrap();
    let mut rest = Vec::new();
    notes.read_to_end(&mut rest).unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("[stopped]\n") && rest.contains("[cut after max_new_tokens = 2]"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // while no answer is being generated, Ctrl-C ends the conversation
    let mut child = start(&workshop, &[]);
    let input = child.stdin.take();
    let mut notes = BufReader::new(child.stderr.take().unwrap());
    notes.read_line(&mut String::new()).unwrap();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(input);
}

/// A line that is being typed has changed how the terminal behaves: whoever types there next must find it as it was.
#[cfg(unix)]
#[test]
fn sigterm_ends_a_conversation_and_leaves_the_terminal_as_it_was() {
    use rustix::termios::LocalModes;
    let workshop = workshop();
    let mut terminal = common::terminal::Terminal::run_typing(workshop.command(GREEDY));
    let before = terminal.modes();
    assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO));
    while terminal.modes().contains(LocalModes::ICANON) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(terminal.terminate(), Some(143));
    assert_eq!(terminal.modes(), before);
    // In the middle of an answer, too.
    let mut child = start(&workshop, &["--prompt", "hello", "--max-new-tokens", "8000"]);
    begun(child.stdout.as_mut().unwrap());
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
}
