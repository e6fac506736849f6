//! Contamination with evaluation prompts: the share of an evaluation prompt's word n-grams that a row's prompt contains.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::word_hashes::{distinct_runs, mixed};
use crate::Error;
use aludel_data::dataset::{self, Content, ReadOptions, Row};
use aludel_data::trace::questions;

/// An n-gram in more evaluation prompts than this is a common phrase and no evidence.
const COMMON_PROMPTS: usize = 10;

/// The columns that hold what is asked, where a row of an evaluation has no answer.
const PROMPT_COLUMNS: [&str; 5] = ["prompt", "question", "problem", "instruction", "input"];

/// The n-grams of evaluation prompts.
pub(super) struct EvalNgrams {
    ngram: usize,
    overlap: f64,
    /// The prompts that hold an n-gram.
    holders: HashMap<u64, Vec<u32>>,
    prompts: Vec<Prompt>,
    /// Hashes of whole prompts: one that is asked many times over counts once.
    seen: HashSet<u64>,
}

struct Prompt {
    /// How many of its n-grams count.
    ngrams: u32,
    /// Where it stands, for the reason.
    place: String,
}

impl EvalNgrams {
    /// Reads the prompts of evaluation files, of any shape that data files may have; answers are not needed.
    ///
    /// # Errors
    /// Files that cannot be read, and rows that hold no prompt.
    pub(super) fn read(paths: &[PathBuf], ngram: usize, overlap: f64) -> Result<EvalNgrams, Error> {
        let mut records = dataset::open(paths, &ReadOptions::default())?;
        let (holders, seen) = (HashMap::new(), HashSet::new());
        let mut evaluations = EvalNgrams { ngram, overlap, holders, prompts: Vec::new(), seen };
        while let Some(row) = records.next_row()? {
            let file = row.provenance.file.file_name().unwrap_or_default().display();
            let place = format!("{file}:{}", row.provenance.line);
            evaluations.add(&prompt_of(row)?, place);
        }
        evaluations.forget_common();
        Ok(evaluations)
    }

    /// Which evaluation prompt a row's prompt repeats, or `None`.
    pub(super) fn flaw(&self, content: &Content) -> Option<String> {
        let mut shared: HashMap<u32, u32> = HashMap::new();
        for ngram in distinct_runs(questions(content), self.ngram) {
            for holder in self.holders.get(&ngram).into_iter().flatten() {
                *shared.entry(*holder).or_default() += 1;
            }
        }
        let share = |holder: u32, count: u32| f64::from(count) / f64::from(self.prompts[holder as usize].ngrams.max(1));
        // The first of equals, so that the reason does not depend on the order of a map.
        let best = shared.into_iter().max_by(|(a, x), (b, y)| share(*a, *x).total_cmp(&share(*b, *y)).then(b.cmp(a)));
        let (holder, count) = best.filter(|(holder, count)| share(*holder, *count) >= self.overlap)?;
        let percent = 100.0 * share(holder, count);
        Some(format!("its prompt holds {percent:.0}% of {}", self.prompts[holder as usize].place))
    }

    fn add(&mut self, prompt: &str, place: String) {
        let number = self.prompts.len() as u32;
        let ngrams = distinct_runs([prompt], self.ngram);
        if !self.seen.insert(ngrams.iter().fold(0, |hash, ngram| mixed(hash ^ ngram))) {
            return;
        }
        self.prompts.push(Prompt { ngrams: ngrams.len() as u32, place });
        for ngram in ngrams {
            self.holders.entry(ngram).or_default().push(number);
        }
    }

    fn forget_common(&mut self) {
        let prompts = &mut self.prompts;
        self.holders.retain(|_, holders| {
            let is_common = holders.len() > COMMON_PROMPTS;
            if is_common {
                holders.iter().for_each(|holder| prompts[*holder as usize].ngrams -= 1);
            }
            !is_common
        });
    }
}

fn prompt_of(row: Row) -> Result<String, Error> {
    match row.content {
        Ok(content) => Ok(questions(&content).collect::<Vec<_>>().join("\n")),
        Err(unusable) => {
            let column = PROMPT_COLUMNS.iter().find_map(|name| row.columns.get(name)?.text().ok().flatten());
            column.map(|text| text.into_owned()).ok_or_else(|| unusable.into_error(&row.provenance).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use aludel_text::message::Message;
    use serde_json::json;

    use super::*;

    const QUESTION: &str = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. \
        How many clips did Natalia sell altogether in April and May?";

    fn evaluations(prompts: &[&str]) -> Result<EvalNgrams, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eval.jsonl");
        let rows: String = prompts.iter().map(|prompt| format!("{}\n", json!({"question": prompt}))).collect();
        fs::write(&path, rows).unwrap();
        EvalNgrams::read(&[path], 8, 0.5)
    }

    fn check(evaluation: &[&str], prompt: &str, contaminated: bool) {
        let content = Content::Messages(vec![Message::user(prompt), Message::assistant("72")]);
        let found = evaluations(evaluation).unwrap().flaw(&content);
        assert_eq!(found.is_some(), contaminated, "{prompt}: {found:?}");
    }

    #[test]
    fn the_same_question_is_found_in_other_clothes() {
        check(&[QUESTION], QUESTION, true);
        check(&["2+2?", QUESTION], &format!("Solve this. {} Put the answer in a box.", QUESTION.to_uppercase()), true);
        check(&[QUESTION], &QUESTION.replace("Natalia", "Maria"), true);
        check(&["What is 2+2?"], "what is 2 + 2", true);
    }

    #[test]
    fn another_question_is_none() {
        check(&[QUESTION], "Natalia sold clips to 48 of her friends in April. How tall is she?", false);
        check(&["What is 2+2?"], "What is 2+3?", false);
        check(&["…"], "Anything", false);
    }

    #[test]
    fn forms_of_words_tell_nothing() {
        let form = "Select the correct answer from the list below and enclose its number in the tag, as shown";
        let prompts: Vec<String> = (0..20).map(|number| format!("Question {number}. {form}")).collect();
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        check(&prompts, &format!("Another one. {form}"), false);
        // Yet a question asked twenty times over is a question.
        check(&[QUESTION; 20], QUESTION, true);
    }

    #[test]
    fn a_row_without_a_prompt_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eval.jsonl");
        fs::write(&path, "{\"question\": \"2+2?\"}\n{\"id\": 3}\n").unwrap();
        let message = EvalNgrams::read(&[path], 8, 0.5).err().unwrap().to_string();
        assert!(message.contains("eval.jsonl, line 2: ") && message.contains("`id`"), "{message}");
    }
}
