//! One file a command: its options, what it does with them, and what it prints.

pub(crate) mod bench;
pub(crate) mod cache;
pub(crate) mod chat;
pub(crate) mod collect;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod curate;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod gradients;
pub(crate) mod inspect;
pub(crate) mod logits;
pub(crate) mod man;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod tasks;
pub(crate) mod trace;
pub(crate) mod train;

/// The options of one command, as they are parsed from `arguments`.
#[cfg(test)]
fn parsed<A: clap::Args>(arguments: &[&str]) -> A {
    let command = crate::value_parser::allow_negative_numbers(A::augment_args(clap::Command::new("command")));
    let matches = command.try_get_matches_from([&["command"], arguments].concat()).unwrap();
    A::from_arg_matches(&matches).unwrap()
}
