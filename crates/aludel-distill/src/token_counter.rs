//! How long a trace is in the student's tokens, for curation: by the very rows that training would make of it, and without
//! tokenising where the bytes of the rendered text suffice.

use aludel_curate::CountTokens;
use aludel_data::dataset::{Content, Provenance, Record};
use aludel_model::student::Student;
use aludel_text::render;

use crate::prepare::{Preparer, RowStatus};
use crate::settings::Recipe;

/// Counts a student's tokens.
pub struct TokenCounter<'a> {
    student: &'a Student,
    recipe: &'a Recipe,
    preparer: Preparer<'a>,
    /// Characters of the longest token.
    longest_token: usize,
}

/// Maximum expansion of a byte by normalisation (NFKC is the worst).
const BYTES_OF_ONE: usize = 11;
/// A tokenizer may put a word separator before the text; plain text gets a token before it and one after it.
const AROUND: usize = 3;

impl<'a> TokenCounter<'a> {
    /// For a student (with its added tokens, if any) and a recipe, as training takes them.
    pub fn new(student: &'a Student, recipe: &'a Recipe) -> TokenCounter<'a> {
        let tokenizer = &student.text.tokenizer;
        let tokens = (0..tokenizer.vocab_size() as u32).filter_map(|id| tokenizer.id_to_token(id));
        let longest_token = tokens.map(|token| token.chars().count()).max().unwrap_or(1).max(1);
        TokenCounter { student, recipe, preparer: Preparer::new(student, recipe), longest_token }
    }

    fn bounds_of(&self, text: &str) -> (usize, usize) {
        // Characters beyond ASCII may melt into others when they are normalised; those of ASCII do so at most one into each
        // of what is left, and no token covers more than its own characters.
        let ascii = text.bytes().filter(u8::is_ascii).count();
        (ascii / self.longest_token, ascii + BYTES_OF_ONE * (text.len() - ascii) + AROUND)
    }
}

impl CountTokens for TokenCounter<'_> {
    fn bounds(&self, content: &Content) -> Result<(usize, usize), String> {
        let texts = match content {
            Content::Text(text) => return Ok(self.bounds_of(text)),
            Content::Messages(messages) => {
                let template = self.student.chat_template().map_err(|error| error.to_string())?;
                let options = self.recipe.encode_options();
                render(template, &self.student.text.tokenizer, messages, &options).map_err(|error| error.to_string())?
            }
        };
        let bounds = texts.iter().map(|text| self.bounds_of(text));
        Ok(bounds.fold((0, 0), |(fewest, most), (low, high)| (fewest.max(low), most.max(high))))
    }

    fn count(&self, content: &Content) -> Result<usize, String> {
        let nowhere = Provenance { file: std::path::Path::new("").into(), file_index: 0, line: 0 };
        let rows = self.preparer.prepare(&Record::new(content.clone(), nowhere)).map_err(|error| error.to_string())?;
        let mut longest = 0;
        for row in rows {
            match (&row.fate, &row.encoded) {
                (RowStatus::Refused(reason), None) => return Err(reason.clone()),
                _ => longest = longest.max(row.tokens()),
            }
        }
        Ok(longest)
    }
}
