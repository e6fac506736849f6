//! Pairs that fit, and what is told of them.

use aludel_distill::settings::Quantize;
use aludel_distill::supervision::LossTerm;

use crate::model::{CHATML, Model};
use crate::{Pair, shared, teacher};

#[test]
fn the_same_tokenizer_and_template() {
    assert_eq!(Pair::of(&teacher()).run().unwrap(), [""; 0]);
}

/// Embeddings are padded to sizes that suit a machine, of teacher and student differently.
#[test]
fn padded_vocabularies() {
    for (own, theirs) in [(268, 320), (320, 268), (288, 320)] {
        let pair = Pair::new(&shared().student.clone().with_rows(own), &teacher().with_rows(theirs));
        assert_eq!(pair.run().unwrap(), [""; 0], "{own} and {theirs}");
    }
}

#[test]
fn a_teacher_with_further_tokens() {
    let mut other = teacher().with_rows(270);
    other.control.extend(["<tool>".to_owned(), "</tool>".to_owned()]);
    assert_eq!(Pair::of(&other).run().unwrap(), [""; 0]);
}

/// A token that no row has does no harm.
#[test]
fn a_student_with_a_further_token_that_no_row_has() {
    let pair = Pair::of(&teacher()).with(|recipe| recipe.student.add_tokens = vec!["<think>".to_owned()]);
    assert_eq!(pair.run().unwrap(), [""; 0]);
}

#[test]
fn a_template_of_other_words_is_told() {
    let template = CHATML.replace("'<|im_start|>'", "'<|im_start|>' + ('the ' if loop.first else '')");
    let notes = Pair::of(&teacher().with_template(Some(&template), "<|im_end|>")).run().unwrap();
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(note.starts_with("after \"<|im_start|>\" the student's chat template writes \"user\\nwhat is"), "{note}");
    assert!(note.contains("and the teacher's \"the user\\nwhat is"), "{note}");
}

#[test]
fn a_base_model_with_the_same_end_is_told() {
    let notes = Pair::of(&teacher().with_template(None, "<|im_end|>")).run().unwrap();
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(note.starts_with("the teacher has no chat template"), "{note}");
}

#[test]
fn a_teacher_in_eight_bits() {
    let pair = Pair::of(&teacher()).with(|recipe| recipe.distill.teacher_quantize = Quantize::Int8);
    assert_eq!(pair.run().unwrap(), [""; 0]);
}

/// The adapter belongs to the base that it was trained on.
#[test]
fn a_teacher_with_its_adapter() {
    let pair = Pair::of(&Model::new(2)).with(|recipe| {
        recipe.distill.teacher_adapter = Some(shared().folder.path().join("learnt/adapter"));
    });
    assert_eq!(pair.run().unwrap(), [""; 0]);
}

#[test]
fn the_student_itself_is_told() {
    let pair = Pair::of(&teacher());
    let model = pair.recipe.distill.teacher.clone();
    let pair = pair.with(|recipe| {
        recipe.student.model = model;
        recipe.distill.kind = vec![LossTerm::Ce, LossTerm::Logits];
    });
    let notes = pair.run().unwrap();
    assert!(notes.len() == 1 && notes[0].starts_with("the teacher is the student itself"), "{notes:?}");
}
