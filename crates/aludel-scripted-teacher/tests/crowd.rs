//! The crowd does what it was told.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aludel_scripted_teacher::{Crowd, ScriptedTeacher};

/// Asks once over a connection of its own; what comes until the end of the connection or of the answer.
fn ask(url: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut answer = Vec::new();
    // A reset and a wait that ends are both an end here.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_share_fails_and_the_rest_is_answered() {
    let server = ScriptedTeacher::start(Crowd { errors: 0.3, ..Crowd::default() }.script()).unwrap();
    let whole = (0..40).filter(|_| ask(&server.url(), "{\"stream\":true}").contains("[DONE]")).count();
    assert!((20..36).contains(&whole), "{whole} of 40, expected about 28");
    assert_eq!(server.requests(), 40);
    assert_eq!(server.seen().len(), 40);
}

#[test]
fn nobody_is_answered_in_an_outage() {
    let outage = Some((Duration::ZERO, Duration::from_secs(3600)));
    let server = ScriptedTeacher::start(Crowd { outage, ..Crowd::default() }.script()).unwrap();
    assert_eq!(ask(&server.url(), "{}"), "");
}

#[test]
fn whole_answers_for_those_who_want_no_stream() {
    let server = ScriptedTeacher::start(Crowd::default().script()).unwrap();
    let answer = ask(&server.url(), "{\"stream\":false}");
    assert!(answer.contains("application/json") && answer.contains("\"content\":\"42\""), "{answer}");
}
