//! Whether each id means the same token for both models, and whether the teacher has all tokens of the rows. How texts become ids is
//! checked in `tokenisation`.

use std::collections::BTreeSet;

use aludel_files::{counted, grouped};
use aludel_model::student::Student;
use aludel_text::Tokenizer;

use super::{Check, Finding, named};

/// Compares the tokens of all ids that both have: the columns of the logits that are compared.
pub(super) fn check(student: &Tokenizer, teacher: &Tokenizer) -> Vec<Finding> {
    let both = student.vocab_size().min(teacher.vocab_size()) as u32;
    let mut differing = (0..both).filter(|&id| student.id_to_token(id) != teacher.id_to_token(id));
    let Some(id) = differing.next() else { return Vec::new() };
    let more = differing.count();
    let token = |tokenizer: &Tokenizer| {
        tokenizer.id_to_token(id).map_or_else(|| "no token".to_owned(), |token| format!("{token:?}"))
    };
    let what = format!(
        "token {id} is {} for the student and {} for the teacher: {} of {} ids that both have mean other tokens",
        token(student),
        token(teacher),
        grouped(more as u64 + 1),
        grouped(u64::from(both))
    );
    let mend = match student.is_new(id) {
        true => format!("leave {} out of student.add_tokens", token(student)),
        false => "choose a teacher with the student's tokenizer".to_owned(),
    };
    vec![Finding { check: Check::Ids, what, mend }]
}

/// Looks in rows for tokens of the student that the teacher, which has the first `vocab`, lacks.
pub(super) fn missing_tokens<'a>(
    student: &Student,
    vocab: usize,
    rows: impl Iterator<Item = &'a [u32]>,
) -> Option<Finding> {
    let tokenizer = &student.text.tokenizer;
    let (mut ids, mut count) = (BTreeSet::new(), 0u64);
    for row in rows {
        let mut lacked = row.iter().copied().filter(|&id| id as usize >= vocab).peekable();
        count += u64::from(lacked.peek().is_some());
        ids.extend(lacked);
    }
    let first = *ids.first()?;
    let what = format!(
        "the teacher has {} tokens, and {} with a token beyond them: {}",
        grouped(vocab as u64),
        counted(count, "row was found", "rows were found"),
        ids.iter().take(8).map(|&id| named(tokenizer, id)).collect::<Vec<_>>().join(", ")
    );
    let mend = match tokenizer.is_new(first) {
        true => "leave it out of student.add_tokens, so that its text is written with tokens that both have".to_owned(),
        false => "choose a teacher that has it".to_owned(),
    };
    Some(Finding { check: Check::MissingTokens, what, mend })
}
