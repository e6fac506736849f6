//! How many requests a second the scripted teacher answers to 256 connections that ask one after the other: a bound on what
//! can be measured with it. `cargo run -p aludel-scripted-teacher --example rate -- 100000`
#![allow(clippy::print_stdout)]

use std::env;
use std::error::Error;
use std::time::Instant;

use aludel_scripted_teacher::{Crowd, ScriptedTeacher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: u64 = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let requests: u64 = env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let teacher = ScriptedTeacher::start(Crowd::default().script())?;
    let address = teacher.url().replace("http://", "");
    let started = Instant::now();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let share = requests.div_ceil(CONNECTIONS);
        let asking: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(ask(address.clone(), share))).collect();
        for one in asking {
            one.await??;
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{} answers in {seconds:.2} s, {:.0} a second", teacher.requests(), teacher.requests() as f64 / seconds);
    Ok(())
}

async fn ask(address: String, times: u64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let body = "{\"stream\":true}";
    let request =
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut answer = Vec::new();
    for _ in 0..times {
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        while !answer.ends_with(b"0\r\n\r\n") {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    Ok(())
}
