//! One file a command: its options, what it does with them, and what it prints.

pub(crate) mod schema;

// Their options are ready and wait for the engine; each joins the `Command` enum together with its body, and the line
// above it goes.
#[cfg_attr(not(test), expect(dead_code, reason = "joins the command line with its body"))]
pub(crate) mod chat;
#[cfg_attr(not(test), expect(dead_code, reason = "joins the command line with its body"))]
pub(crate) mod demo;
#[cfg_attr(not(test), expect(dead_code, reason = "joins the command line with its body"))]
pub(crate) mod gradients;
#[cfg_attr(not(test), expect(dead_code, reason = "joins the command line with its body"))]
pub(crate) mod logits;
#[cfg_attr(not(test), expect(dead_code, reason = "joins the command line with its body"))]
pub(crate) mod merge;
#[cfg_attr(not(test), expect(dead_code, reason = "joins the command line with its body"))]
pub(crate) mod train;

/// The options of one command, as they are parsed from `arguments`.
#[cfg(test)]
fn parsed<A: clap::Args>(arguments: &[&str]) -> A {
    let command = A::augment_args(clap::Command::new("command"));
    let matches = command.try_get_matches_from([&["command"], arguments].concat()).unwrap();
    A::from_arg_matches(&matches).unwrap()
}
