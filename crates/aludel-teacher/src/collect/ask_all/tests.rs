//! A list against a teacher within the process, some of whose questions never get an answer.

use std::sync::Mutex;

use aludel_text::message::Message;

use super::*;
use crate::client::BoxFuture;
use crate::collect::{Budget, Rates};
use aludel_data::finish_reason::Finish;

/// Answers with the question, but for those whose words it has: these fail each time.
struct Echo {
    broken: &'static [&'static str],
    asked: Mutex<Vec<String>>,
}

impl Teacher for Echo {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
        _: &'a RequestParams,
        _: u32,
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        let content = question.messages[0].content.clone();
        self.asked.lock().unwrap().push(content.clone());
        Box::pin(async move {
            match content.as_str() {
                "long" => Err(Failure::Question { status: Some(400), words: "too long".to_owned() }),
                said if self.broken.contains(&said) => {
                    Err(Failure::Broken { words: "the connection broke".to_owned() })
                }
                _ => Ok(Answer {
                    hides_reasoning: false,
                    unread: Vec::new(),
                    reasoning: None,
                    content,
                    finish: Finish::Stop,
                    prompt_tokens: None,
                    completion_tokens: None,
                    model: None,
                    logprobs: None,
                    first_token_ms: 0,
                    elapsed_ms: 0,
                }),
            }
        })
    }

    fn name(&self) -> &str {
        "echo"
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
}

type Came = Vec<(usize, Result<String, String>)>;

/// Asks these questions, one place only; how it ended, what came, and how often was asked.
fn asked(broken: &'static [&'static str], questions: &[&str], give_up_after: Duration) -> (End, Came, usize) {
    asked_at(Rates::default(), broken, questions, give_up_after)
}

/// The same with limits a minute.
fn asked_at(
    rates: Rates,
    broken: &'static [&'static str],
    questions: &[&str],
    give_up_after: Duration,
) -> (End, Came, usize) {
    let echo = Arc::new(Echo { broken, asked: Mutex::default() });
    let options = Options {
        asking: RequestParams::new("echo"),
        samples: 1,
        concurrency: 1,
        rates,
        price: None,
        budget: Budget::default(),
        max_attempts: 2,
        give_up_after,
        grace: Duration::from_secs(1),
    };
    let listed = |words: &&str| ListedQuestion {
        question: Arc::new(Question { messages: vec![Message::user(*words)] }),
        seed: None,
        sample: 0,
    };
    let mut came = Came::new();
    let teacher: Arc<dyn Teacher> = Arc::clone(&echo) as _;
    let list = questions.iter().map(listed);
    let end = ask_list(&teacher, list, &options, &AtomicBool::new(false), &mut |_| {}, &mut |place, answer| {
        came.push((place, answer.map(|answer| answer.content)));
        Ok::<(), Error>(())
    });
    let times = echo.asked.lock().unwrap().len();
    (end.unwrap(), came, times)
}

#[test]
fn a_question_that_always_fails_is_left_and_holds_no_other_up() {
    let (end, mut came, times) = asked(&["bad"], &["bad", "a", "long", "b"], Duration::from_secs(60));
    came.sort();
    let not_taken = "the teacher does not take this question (400): too long".to_owned();
    assert_eq!(came, [(1, Ok("a".to_owned())), (2, Err(not_taken)), (3, Ok("b".to_owned()))]);
    assert_eq!(end, End::Incomplete { left: 1 });
    assert!((5..=6).contains(&times), "{times}");
}

#[test]
fn where_nobody_is_answered_the_questions_are_not_at_fault() {
    let (end, came, times) = asked(&["a", "b"], &["a", "b"], Duration::from_secs(5));
    assert_eq!((end, came), (End::Silent { words: "the connection broke".to_owned() }, Vec::new()));
    assert!(times > 4, "both are asked more often than two times: {times}");
}

#[test]
fn a_limit_a_minute_delays_and_ends_nothing() {
    let rates = Rates { requests_per_minute: Some(600), tokens_per_minute: None };
    let (end, came, times) = asked_at(rates, &[], &["a", "b", "c"], Duration::from_secs(60));
    assert_eq!((end, came.len(), times), (End::Finished, 3, 3));
}
