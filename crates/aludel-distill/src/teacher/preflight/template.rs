//! Whether the teacher was trained on conversations that look like the rows: the control tokens of the student's template, and the
//! text around messages. The ends of answers and the beginnings of rows are checked in `turns`.

use std::collections::BTreeSet;

use aludel_files::shortened;
use aludel_model::student::Student;
use aludel_text::{Encoded, Part};

use super::sample::{Sample, TeacherRows};
use super::turns::{foreign_beginning, foreign_ends, teacher_ends};
use super::{Check, Finding, named};

/// Letters that are shown of a place where two renderings part.
const SHOWN: usize = 40;

/// Compares what both templates make of the sample's conversations.
pub(super) fn check(student: &Student, teacher: &Student, sample: &Sample) -> Vec<Finding> {
    [control_tokens(student, teacher, sample), rendering(sample)].into_iter().flatten().collect()
}

/// Control tokens that the student's template writes and the teacher's never does: at these the teacher predicts noise.
fn control_tokens(student: &Student, teacher: &Student, sample: &Sample) -> Option<Finding> {
    let tokenizer = &student.text.tokenizer;
    let mut known = teacher_ends(teacher, sample);
    known.extend(foreign_ends(student, teacher, sample));
    known.extend(foreign_beginning(student, teacher, sample).map(|(bos, _)| bos));
    let (mut own, mut theirs) = (BTreeSet::new(), BTreeSet::new());
    for (_, row, teachers) in sample.pairs().filter(|(record, ..)| !record.is_text) {
        let markup = row.ids.iter().zip(&row.parts).filter(|(_, part)| matches!(part, Part::Markup | Part::EndOfTurn));
        own.extend(markup.map(|(&id, _)| id).filter(|&id| tokenizer.is_control(id)));
        theirs.extend(teachers.ids.iter().copied().filter(|&id| teacher.text.tokenizer.is_control(id)));
    }
    let foreign: Vec<u32> = own.into_iter().filter(|id| !known.contains(id) && !theirs.contains(id)).collect();
    if foreign.is_empty() {
        return None;
    }
    let listed = |ids: &mut dyn Iterator<Item = u32>| {
        let listed: Vec<String> = ids.take(6).map(|id| named(tokenizer, id)).collect();
        if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
    };
    let what = format!(
        "the student's chat template writes {}, which the teacher's never does (its control tokens: {})",
        listed(&mut foreign.iter().copied()),
        listed(&mut theirs.iter().copied())
    );
    let mend = "choose a teacher that was trained with the student's chat template, or give the student the teacher's"
        .to_owned();
    Some(Finding { check: Check::ControlTokens, what, mend })
}

/// Where the renderings part: in words that both know, the teacher reads a form that it was not trained on.
fn rendering(sample: &Sample) -> Option<Finding> {
    let note = |what: String, mend: &str| Some(Finding { check: Check::Template, what, mend: mend.to_owned() });
    for record in sample.records.iter().filter(|record| !record.is_text) {
        match &record.teacher {
            TeacherRows::NoTemplate => {
                return note(
                    "the teacher has no chat template: it may not have been trained on conversations".to_owned(),
                    "an instruction-tuned model of the family may know the student's markup better",
                );
            }
            TeacherRows::Refused(reason) => {
                return note(
                    format!("the teacher's chat template refuses a row: {}", shortened(reason, 200)),
                    "it reads such rows as the student's template writes them, so leave them out if they are not of its kind",
                );
            }
            TeacherRows::Rows(rows) => {
                let parted = record.student.iter().zip(rows).find(|(own, theirs)| own.text != theirs.text);
                let Some((own, theirs)) = parted else { continue };
                let (before, own, theirs) = parting(own, theirs);
                return note(
                    format!(
                        "after {before:?} the student's chat template writes {own:?}, and the teacher's {theirs:?}"
                    ),
                    "the teacher reads what the student's writes, so give the student the teacher's template where that matters",
                );
            }
        }
    }
    None
}

/// The end of what two rows have in common, and the beginnings of what follows, from a token on.
fn parting<'a>(own: &'a Encoded, theirs: &'a Encoded) -> (&'a str, String, String) {
    let common = own.ids.iter().zip(&theirs.ids).position(|(own, theirs)| own != theirs);
    let token = common.unwrap_or(own.len().min(theirs.len()));
    let start = |row: &Encoded| row.spans.get(token).map_or(row.text.len(), |span| span.start);
    let at = start(own);
    let shown_from = own.text[..at].char_indices().rev().nth(SHOWN - 1).map_or(0, |(start, _)| start);
    let shown = |row: &Encoded| shortened(&row.text[start(row)..], SHOWN).into_owned();
    (&own.text[shown_from..at], shown(own), shown(theirs))
}
