//! The scripted teacher as a process of its own, for measurements and for trying a client by hand. It prints its address on
//! the first line, answers each line on its standard input with the number of requests so far, and runs until it is killed.
#![allow(clippy::print_stdout)]

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use aludel_scripted_teacher::{Crowd, ScriptedTeacher};

const USAGE: &str = "scripted-teacher [--port N] [--errors SHARE] [--outage-after SECONDS] [--outage-for SECONDS] \
    [--delay-ms N] [--reasoning TEXT] [--content TEXT]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut crowd = Crowd::default();
    let (mut port, mut outage_after, mut outage_for) = (0, 0.0, 0.0);
    let mut words = env::args().skip(1);
    while let Some(name) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match name.as_str() {
            "--port" => port = value.parse()?,
            "--errors" => crowd.errors = value.parse()?,
            "--outage-after" => outage_after = value.parse()?,
            "--outage-for" => outage_for = value.parse()?,
            "--delay-ms" => crowd.delay = Duration::from_millis(value.parse()?),
            "--reasoning" => crowd.reasoning = value,
            "--content" => crowd.content = value,
            _ => return Err(USAGE.into()),
        }
    }
    if outage_for > 0.0 {
        crowd.outage = Some((Duration::try_from_secs_f64(outage_after)?, Duration::try_from_secs_f64(outage_for)?));
    }
    let teacher = ScriptedTeacher::start_at(port, crowd.script())?;
    println!("{}", teacher.url());
    io::stdout().flush()?;
    for line in io::stdin().lines() {
        line?;
        println!("{}", teacher.requests());
    }
    loop {
        std::thread::park();
    }
}
