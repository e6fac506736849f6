//! The rows of a run: tokenised once into the cache of the run folder, and split into those that are trained on and those held
//! back. Only lengths and prompt keys stay in memory.

use std::ops::ControlFlow;
use std::path::Path;

use aludel_model::student::Student;
use aludel_traces::cache::{BuildProgress, Cache, CacheKey};
use aludel_traces::dataset;
use aludel_traces::split::{Split, TestSize};

use crate::error::Result;
use crate::prepare::Preparer;
use crate::settings::Recipe;

/// The tokenised rows of a run.
pub struct Rows {
    /// All rows.
    pub cache: Cache,
    /// Numbers of the rows that are trained on.
    pub train: Vec<u32>,
    /// Numbers of the rows held back.
    pub test: Vec<u32>,
}

impl Rows {
    /// What the rows depend on: data, tokenizer, template and options.
    ///
    /// # Errors
    /// Data files that are missing, unreadable or of another kind.
    pub fn key(student: &Student, recipe: &Recipe) -> Result<CacheKey> {
        let reading = recipe.data.read_options();
        // Looks at each file, so that one of another kind is told before gigabytes are hashed.
        dataset::open(&recipe.data.files, &reading)?;
        let fingerprint = student.text.tokenizer.fingerprint()?;
        let template = student.template.as_ref().map_or("", |template| template.source());
        let options = Preparer::new(student, recipe).fields().hash();
        let parts = [("tokenizer", fingerprint.as_str()), ("template", template), ("options", options.as_str())];
        Ok(CacheKey::of(&recipe.data.files, &reading, &parts)?)
    }

    /// Opens or builds the cache under `folder` and splits its rows.
    ///
    /// # Errors
    /// Unreadable or empty data, rows that training refuses, a split that cannot be made.
    pub fn open(
        student: &Student,
        recipe: &Recipe,
        key: CacheKey,
        folder: &Path,
        threads: usize,
        progress: &mut dyn FnMut(BuildProgress) -> ControlFlow<()>,
    ) -> Result<Rows> {
        let reading = recipe.data.read_options();
        let preparer = Preparer::new(student, recipe);
        let cache = Cache::open_or_build(
            folder,
            key,
            threads,
            || dataset::open(&recipe.data.files, &reading),
            |record| preparer.token_rows(record),
            progress,
        )?;
        let numbers = 0..cache.len();
        let test_size = TestSize::from_number(recipe.data.test_size)?;
        let prompts = numbers.clone().map(|row| cache.info(row).prompt_key);
        let split = Split::by_prompt(prompts, test_size, recipe.train.seed)?;
        let (test, train) = numbers.partition::<Vec<usize>, _>(|&row| split.is_test(cache.info(row).prompt_key));
        let narrow = |rows: Vec<usize>| rows.into_iter().map(|row| row as u32).collect();
        Ok(Rows { cache, train: narrow(train), test: narrow(test) })
    }

    /// File and line of a row, for messages.
    pub fn place(&self, recipe: &Recipe, row: u32) -> String {
        let info = self.cache.info(row as usize);
        let file = recipe.data.files.get(info.file_index as usize);
        format!("{}:{}", file.map_or("?".into(), |file| file.display().to_string()), info.line)
    }
}
