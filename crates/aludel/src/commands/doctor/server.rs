//! A teacher's server: whether it answers, its models, and one token of an answer.

use super::Finding;
use crate::humanize::grouped;
use aludel_teacher::client::{
    Answer, Dialect, Endpoint, HttpTeacher, Question, RequestParams, Secret, Teacher, Timeouts,
};
use aludel_teacher::collect::{End, ListedQuestion, Options, ask_list, listed_models};
use aludel_teacher::settings::TraceSettings;
use aludel_text::message::Message;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long a server may take for a token, its queue included.
const PATIENCE: Duration = Duration::from_secs(60);
/// Models that are named.
const NAMED: usize = 8;

/// All that is asked of it.
pub(super) fn findings(url: &str, model: Option<&str>, key: Option<Secret>) -> Vec<Finding> {
    let timeouts = Timeouts { idle: PATIENCE, request: PATIENCE, ..Timeouts::default() };
    let endpoint = Endpoint { key, timeouts, ..Endpoint::new(url, Dialect::OpenAi) };
    let teacher = match HttpTeacher::new(endpoint) {
        Ok(teacher) => teacher,
        // The message names the address without what may be a password.
        Err(error) => {
            let mend = "write it as http://host:8000/v1, and give a key by --api-key-env or --api-key-file";
            return vec![Finding::error("teacher", "an address that cannot be asked", error.to_string(), mend)];
        }
    };
    let name = teacher.name().to_owned();
    let models = match listed_models(&teacher) {
        Ok(models) => models,
        Err(failure) => {
            let mend = "start the server, and give its address with the path of its API, such as http://host:8000/v1";
            return vec![Finding::error("teacher", name, failure.to_string(), mend)];
        }
    };
    let named: Vec<&str> = models.iter().take(NAMED).map(String::as_str).collect();
    let listed = match models.len() {
        0 => "does not list its models".to_owned(),
        count if count > NAMED => format!("{} models: {}, and others", grouped(count), named.join(", ")),
        _ => format!("models: {}", named.join(", ")),
    };
    let mut findings = vec![Finding::ok("teacher", format!("{name} answers; {listed}"))];
    let model = match (model, models.as_slice()) {
        (Some(model), _) => model.to_owned(),
        (None, [only]) => only.clone(),
        (None, _) => {
            findings.push(Finding::ok("answer", "not asked for: name a model with --teacher-model"));
            return findings;
        }
    };
    findings.push(answer(Arc::new(teacher), model));
    findings
}

/// Asks for one token.
fn answer(teacher: Arc<dyn Teacher>, model: String) -> Finding {
    let asking = RequestParams { max_tokens: Some(1), temperature: 0.0, ..RequestParams::new(model.clone()) };
    let question = Question { messages: vec![Message::user("Say yes.")] };
    let list = [ListedQuestion { question: Arc::new(question), seed: None, sample: 0 }];
    let options = Options { asking, max_attempts: 1, give_up_after: PATIENCE, ..TraceSettings::default().options() };
    let mut came: Option<Result<Answer, String>> = None;
    let mut take = |_, answer| {
        came = Some(answer);
        Ok::<(), aludel_teacher::Error>(())
    };
    let end = ask_list(&teacher, list.into_iter(), &options, &AtomicBool::new(false), &mut |_| {}, &mut take);
    let mend = "if the model or the key is refused, give them with --teacher-model and --api-key-env; if the server is busy, ask again later";
    let failed = |reason: String| Finding::error("answer", format!("none of {model}"), reason, mend);
    match (came, end) {
        (Some(Ok(answer)), _) => {
            let counts = match answer.completion_tokens {
                Some(_) => "tokens are counted",
                None => "the server does not count tokens",
            };
            let reasoning = match (&answer.reasoning, answer.hides_reasoning) {
                (Some(_), _) => ", reasoning comes in a field of its own",
                (None, true) => ", reasoning is hidden",
                (None, false) => "",
            };
            Finding::ok(
                "answer",
                format!("{model}: a token after {} ms, {counts}{reasoning}", grouped(answer.elapsed_ms)),
            )
        }
        (Some(Err(reason)), _) => failed(reason),
        (None, Ok(End::Silent { words })) => failed(words),
        (None, Ok(End::Refused { words })) => failed(words.join("; ")),
        (None, Ok(end)) => failed(format!("{end:?}")),
        (None, Err(error)) => failed(error.to_string()),
    }
}
