//! Whether both tokenizers make the same ids of a text. With the same tokens, merges, splitting into words or added tokens can still
//! differ; the teacher would then read sequences that it never met in training.

use std::ops::Range;

use aludel_files::shortened;
use aludel_model::student::Student;
use aludel_text::{Tokenized, Tokenizer};

use super::sample::Sample;
use super::{Check, Finding};

/// Of each text: differences show early, and texts may be long.
const MOST_BYTES: usize = 8 * 1024;

/// Encodes the texts of the sample's rows with both tokenizers.
pub(super) fn check(student: &Student, teacher: &Student, sample: &Sample) -> Option<Finding> {
    let (own, theirs) = (&student.text.tokenizer, &teacher.text.tokenizer);
    // A row with a token that the teacher lacks is a finding of its own.
    let shared = sample.rows().filter(|row| row.ids.iter().all(|&id| (id as usize) < theirs.vocab_size()));
    let mut texts = shared.map(|row| &row.text[..row.text.floor_char_boundary(MOST_BYTES)]);
    texts.find_map(|text| difference(own, theirs, text))
}

fn difference(own: &Tokenizer, theirs: &Tokenizer, text: &str) -> Option<Finding> {
    let of_student = own.encode_protected(text, &[]).ok()?;
    let of_teacher = match theirs.encode_protected(text, &[]) {
        Ok(tokenized) => tokenized,
        Err(error) => {
            return Some(Finding {
                check: Check::Tokenisation,
                what: format!("the teacher's tokenizer cannot encode a row: {error}"),
                mend: "choose a teacher with the student's tokenizer".to_owned(),
            });
        }
    };
    let (span, a, b) = first_difference(&of_student, &of_teacher)?;
    let text = &text[span];
    let listed = |tokenizer: &Tokenizer, ids: &[u32]| {
        let mut tokens: Vec<String> =
            ids.iter().take(8).map(|&id| format!("{:?}", tokenizer.id_to_token(id).unwrap_or_default())).collect();
        if ids.len() > tokens.len() {
            tokens.push("…".to_owned());
        }
        tokens.join(" ")
    };
    let what = format!(
        "the text {:?} is {} for the student and {} for the teacher, though the tokens are the same",
        shortened(text, 60),
        listed(own, &of_student.ids[a]),
        listed(theirs, &of_teacher.ids[b.clone()])
    );
    // A tag that is one token for the teacher alone can be one for the student, too.
    let mend = match of_teacher.ids[b] {
        [id] if theirs.is_control(id) && own.token_to_id(text).is_none() => {
            format!("add the token to the student (student.add_tokens = [{text:?}])")
        }
        _ => "their merges, splitting into words or added tokens differ, so that the teacher would read what it never met: \
              choose a teacher whose tokenizer.json is the student's"
            .to_owned(),
    };
    Some(Finding { check: Check::Tokenisation, what, mend })
}

/// The first piece of the text that the two tokenise otherwise, up to where both have a boundary again: its bytes, and its tokens in
/// each.
fn first_difference(a: &Tokenized, b: &Tokenized) -> Option<(Range<usize>, Range<usize>, Range<usize>)> {
    let first = a.ids.iter().zip(&b.ids).position(|(a, b)| a != b);
    let first = first.or_else(|| (a.ids.len() != b.ids.len()).then(|| a.ids.len().min(b.ids.len())))?;
    let start = [a, b].iter().filter_map(|tokens| tokens.spans.get(first)).map(|span| span.start).min().unwrap_or(0);
    let (mut i, mut j) = (first, first);
    let end = |tokens: &Tokenized, next: usize| match next {
        next if next == first => start,
        next => tokens.spans[next - 1].end,
    };
    loop {
        let (at, other) = (end(a, i), end(b, j));
        let is_moved = i > first && j > first;
        if (is_moved && at == other) || (i == a.ids.len() && j == b.ids.len()) {
            return Some((start..at.max(other), first..i, first..j));
        }
        if (at <= other && i < a.ids.len()) || j == b.ids.len() {
            i += 1;
        } else {
            j += 1;
        }
    }
}
