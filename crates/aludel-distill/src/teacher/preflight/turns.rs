//! Where rows begin and where answers end: the beginning-of-text token, and the token after which the teacher would stop. Padding is no
//! matter here, since rows are not padded.

use std::collections::BTreeSet;

use aludel_model::student::Student;
use aludel_text::{Encoded, Part, Tokenizer};

use super::sample::{Sample, TeacherRows};
use super::{Check, Finding, named};

/// Compares the ends of answers and the beginnings of rows.
pub(super) fn check(student: &Student, teacher: &Student, sample: &Sample) -> Vec<Finding> {
    [end_of_turn(student, teacher, sample), beginning(student, teacher, sample)].into_iter().flatten().collect()
}

/// The control tokens that end answers in a row.
fn ends(tokenizer: &Tokenizer, row: &Encoded) -> BTreeSet<u32> {
    let tokens = row.ids.iter().zip(&row.parts);
    tokens.filter(|&(&id, &part)| part == Part::EndOfTurn && tokenizer.is_control(id)).map(|(&id, _)| id).collect()
}

/// The tokens after which the teacher stops, as its files say and its template writes.
pub(super) fn teacher_ends(teacher: &Student, sample: &Sample) -> BTreeSet<u32> {
    let written = sample.pairs().flat_map(|(_, _, theirs)| ends(&teacher.text.tokenizer, theirs));
    teacher.eos_token_ids.iter().copied().chain(written).collect()
}

/// The tokens that end answers in the student's rows and not for the teacher.
pub(super) fn foreign_ends(student: &Student, teacher: &Student, sample: &Sample) -> BTreeSet<u32> {
    let theirs = teacher_ends(teacher, sample);
    sample.rows().flat_map(|row| ends(&student.text.tokenizer, row)).filter(|id| !theirs.contains(id)).collect()
}

fn end_of_turn(student: &Student, teacher: &Student, sample: &Sample) -> Option<Finding> {
    let foreign = foreign_ends(student, teacher, sample);
    let &id = foreign.first()?;
    let theirs = teacher_ends(teacher, sample);
    let listed = theirs.iter().take(4).map(|&id| named(&teacher.text.tokenizer, id)).collect::<Vec<_>>().join(", ");
    let listed = if listed.is_empty() { "no token that its files name".to_owned() } else { listed };
    let what = format!(
        "answers of the rows end with {}, and the teacher's end with {listed}: the student would learn not to end",
        named(&student.text.tokenizer, id)
    );
    let mend = "choose a teacher that was trained with the student's chat template, or give the student a chat template that ends \
                answers as the teacher does"
        .to_owned();
    Some(Finding { check: Check::EndOfTurn, what, mend })
}

/// The beginning-of-text token of a row; a token that comes again begins a turn, not a text.
fn beginning_of(model: &Student, ids: &[u32]) -> Option<u32> {
    let bos = model.text.special.bos.as_deref().and_then(|token| model.text.tokenizer.token_to_id(token))?;
    let first = *ids.first()?;
    (first == bos && !ids[1..].contains(&bos)).then_some(bos)
}

/// The beginning-of-text token that a row has and the other has not: what begins so, and what does not.
pub(super) fn foreign_beginning(student: &Student, teacher: &Student, sample: &Sample) -> Option<(u32, bool)> {
    for record in &sample.records {
        let theirs: Vec<Option<&Encoded>> = match &record.teacher {
            TeacherRows::Rows(rows) if rows.len() == record.student.len() => rows.iter().map(Some).collect(),
            _ => vec![None; record.student.len()],
        };
        for (own, theirs) in record.student.iter().zip(theirs) {
            let wanted = match theirs {
                Some(theirs) => beginning_of(teacher, &theirs.ids),
                // No template tells; the files say how plain text begins.
                None => teacher.text.bos_id(),
            };
            if let Some(bos) = wanted.filter(|&bos| own.ids.first() != Some(&bos)) {
                return Some((bos, true));
            }
            let has = beginning_of(student, &own.ids);
            if let (Some(bos), Some(theirs)) = (has, theirs)
                && theirs.ids.first() != Some(&bos)
            {
                return Some((bos, false));
            }
        }
    }
    None
}

fn beginning(student: &Student, teacher: &Student, sample: &Sample) -> Option<Finding> {
    let (bos, is_teachers) = foreign_beginning(student, teacher, sample)?;
    let (what, mend) = match is_teachers {
        true => (
            format!(
                "texts of the teacher begin with {}, and the rows do not: without it the predictions of many models are noise",
                named(&teacher.text.tokenizer, bos)
            ),
            "choose a teacher whose texts begin as the student's, or give the student a chat template that writes the token",
        ),
        false => (
            format!(
                "the rows begin with {}, and texts of the teacher do not: it never met the token there",
                named(&student.text.tokenizer, bos)
            ),
            "choose a teacher whose texts begin as the student's, or give the student a chat template that does not write the token",
        ),
    };
    Some(Finding { check: Check::Beginning, what, mend: mend.to_owned() })
}
