//! Whether a teacher's probabilities are of the student's tokens.

use aludel_model::student::Student;

use crate::error::{Error, Result};

/// Refuses a teacher whose token ids mean other text than the student's.
///
/// # Errors
/// [`Error::Pair`], with the first token that differs.
pub fn check_pair(student: &Student, teacher: &Student) -> Result<()> {
    let (own, theirs) = (&student.text.tokenizer, &teacher.text.tokenizer);
    let both = own.vocab_size().min(theirs.vocab_size()) as u32;
    let other = (0..both).find(|&id| own.id_to_token(id) != theirs.id_to_token(id));
    let Some(id) = other else { return Ok(()) };
    let named = |token: Option<String>| token.map_or("no token".to_owned(), |token| format!("{token:?}"));
    let reason = format!(
        "token {id} is {} for the student and {} for the teacher",
        named(own.id_to_token(id)),
        named(theirs.id_to_token(id))
    );
    Err(Error::Pair { student: student.path.clone(), teacher: teacher.path.clone(), reason })
}
