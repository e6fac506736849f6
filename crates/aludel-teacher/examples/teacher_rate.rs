//! What asking costs: short answers from the scripted teacher in this process, 256 at a time. Server and client share the
//! processor, so that the figure is a lower bound. `cargo run --release -p aludel-teacher --example teacher_rate -- 10000`
#![allow(clippy::print_stdout)]

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use aludel_scripted_teacher::{Crowd, ScriptedTeacher};
use aludel_teacher::client::{Dialect, Endpoint, HttpTeacher, Question, RequestParams, Teacher};
use aludel_text::message::Message;

const AT_ONCE: u64 = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let answers: u64 = env::args().nth(1).map_or(Ok(10_000), |text| text.parse())?;
    let server = ScriptedTeacher::start(Crowd::default().script())?;
    let teacher = Arc::new(HttpTeacher::new(Endpoint::new(server.url(), Dialect::OpenAi))?);
    let question = Arc::new(Question { messages: vec![Message::user("6 times 7?")] });
    let (asking, left) = (Arc::new(RequestParams::new("scripted")), Arc::new(AtomicU64::new(answers)));
    let started = Instant::now();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let asking = (0..AT_ONCE).map(|_| {
            let (teacher, question) = (Arc::clone(&teacher), Arc::clone(&question));
            let (asking, left) = (Arc::clone(&asking), Arc::clone(&left));
            tokio::spawn(async move {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    teacher.ask(&question, &asking, 0).await?;
                }
                Ok::<(), aludel_teacher::client::Failure>(())
            })
        });
        for one in asking.collect::<Vec<_>>() {
            one.await??;
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let connections = server.connections();
    println!(
        "{answers} answers in {seconds:.2} s over {connections} connections, {:.0} a second",
        answers as f64 / seconds
    );
    Ok(())
}
