//! The rows of a run: tokenised once into the cache of the run folder, selected by length, and split into training and held-out rows. Only
//! lengths and prompt keys stay in memory. `auto_max_length` decides the maximum length.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use aludel_data::dataset::{self, PromptKey, ReadOptions};
use aludel_data::split::{Split, TestSize};
use aludel_data::token_cache::{BuildProgress, Cache, CacheKey, DataHashes, Outcomes, RowInfo, TokenRow};
use aludel_model::student::Student;

use crate::auto_max_length::Lengths;
use crate::error::{Error, Result};
use crate::prepare::Preparer;
use crate::settings::Recipe;

/// What rows are found again by.
pub struct RowKeys {
    data: DataHashes,
    reading: ReadOptions,
    fingerprint: String,
    template: String,
}

impl RowKeys {
    /// Hashes the data files, once for all keys. `watch` is called with the number of bytes of each piece, and may cancel.
    ///
    /// # Errors
    /// Data files that are missing, unreadable or of another kind; [`aludel_data::Error::Stopped`] where `watch` broke off.
    pub fn new(student: &Student, recipe: &Recipe, watch: &dyn Fn(u64) -> ControlFlow<()>) -> Result<RowKeys> {
        let (files, reading) = (recipe.data.all_files(), recipe.row_options());
        // Checks each file first, so that a wrong kind of file is reported before gigabytes are hashed.
        dataset::open(&files, &reading)?;
        Ok(RowKeys {
            fingerprint: student.text.tokenizer.fingerprint()?,
            template: student.template.as_ref().map_or("", |template| template.source()).to_owned(),
            data: DataHashes::of(&files, watch)?,
            reading,
        })
    }

    /// Of the cache, which holds rows of any length.
    pub fn cache(&self, student: &Student, recipe: &Recipe) -> CacheKey {
        self.key(&Preparer::new(student, recipe).fields(None).hash())
    }

    /// Of the rows of a run, which identifies them when the run is resumed.
    pub fn run(&self, student: &Student, recipe: &Recipe) -> CacheKey {
        let max_length = recipe.train.max_length.limit();
        let fields = Preparer::new(student, recipe).fields(Some(max_length));
        // Where the files to train on end.
        let evaluated = recipe.data.eval_files.len();
        self.key(&fields.with_unless("eval_files", &evaluated, &0).hash())
    }

    fn key(&self, options: &str) -> CacheKey {
        let parts =
            [("tokenizer", self.fingerprint.as_str()), ("template", self.template.as_str()), ("options", options)];
        self.data.key(&self.reading, &parts)
    }
}

/// Opens or builds the cache of all rows, of any length, under `folder`. `tell` is told after each batch how far it is; `watch` is
/// asked before each record, and may break it off.
///
/// # Errors
/// Unreadable or empty data, rows that training refuses; [`Error::Stopped`] where `watch` broke off.
pub fn tokenise(
    student: &Student,
    recipe: &Recipe,
    keys: &RowKeys,
    folder: &Path,
    tell: &mut dyn FnMut(BuildProgress),
    watch: &(dyn Fn() -> ControlFlow<()> + Sync),
) -> Result<Cache> {
    let threads = match recipe.student.threads {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        threads => threads,
    };
    let preparer = Preparer::new(student, recipe);
    let mut progress = |so_far| {
        tell(so_far);
        watch()
    };
    let cache = Cache::open_or_build(
        folder,
        keys.cache(student, recipe),
        threads,
        || dataset::open(&recipe.data.all_files(), &keys.reading),
        // A batch may take long: one that is broken off ends as a row that is not encoded.
        |record| match watch() {
            ControlFlow::Break(()) => Err(Error::Stopped.to_string()),
            ControlFlow::Continue(()) => preparer.token_rows(record),
        },
        &mut progress,
    );
    match watch() {
        ControlFlow::Break(()) => Err(Error::Stopped),
        ControlFlow::Continue(()) => Ok(cache?),
    }
}

/// The lengths of all rows, before any is left out for it.
pub fn lengths(cache: &Cache, recipe: &Recipe) -> Lengths {
    let mut lengths = Lengths::default();
    for info in (0..cache.len()).map(|row| cache.info(row)) {
        let place = if is_to_train(&info, recipe) { &mut lengths.train } else { &mut lengths.evaluation };
        place.push(info.tokens);
    }
    lengths
}

/// The numbers of the rows to train on, and of those to evaluate on. `told` says of a row whether it is of a file to train on, and its
/// prompt.
///
/// # Errors
/// A split that cannot be made.
pub fn divided(count: u32, told: &dyn Fn(u32) -> (bool, PromptKey), recipe: &Recipe) -> Result<(Vec<u32>, Vec<u32>)> {
    if !recipe.data.eval_files.is_empty() {
        return Ok((0..count).partition(|&row| told(row).0));
    }
    let test_size = TestSize::from_number(recipe.data.test_size)?;
    let split = Split::by_prompt((0..count).map(|row| told(row).1), test_size, recipe.train.seed)?;
    Ok((0..count).partition(|&row| !split.is_test(told(row).1)))
}

/// Whether a row is of a file to train on, and not of one to evaluate on.
fn is_to_train(info: &RowInfo, recipe: &Recipe) -> bool {
    (info.file_index as usize) < recipe.data.files.len()
}

/// The rows of a run, numbered from 0 without those that are too long.
pub struct Rows {
    cache: Cache,
    /// The place of each row in the cache.
    places: Vec<u32>,
    lengths: Vec<u32>,
    outcomes: Outcomes,
    /// Numbers of the rows that are trained on.
    pub train: Vec<u32>,
    /// Numbers of the rows held back, or of those in files to evaluate on.
    pub test: Vec<u32>,
    /// Rows among `test` whose prompt is trained on.
    pub test_known: usize,
}

impl Rows {
    /// Chooses and splits the rows of a cache; `train.max_length` is a number by now.
    ///
    /// # Errors
    /// A split that cannot be made, and no row that is short enough.
    pub fn choose(cache: Cache, recipe: &Recipe) -> Result<Rows> {
        let longest = recipe.train.max_length.limit();
        let places: Vec<u32> =
            (0..cache.len()).filter(|&row| cache.lengths()[row] as usize <= longest).map(narrow).collect();
        let lengths: Vec<u32> = places.iter().map(|&place| cache.lengths()[place as usize]).collect();
        let (too_long, outcomes) = (cache.len() - places.len(), cache.outcomes());
        let supervised = places.iter().map(|&place| u64::from(cache.info(place as usize).supervised)).sum();
        let outcomes = Outcomes {
            rows: places.len() as u64,
            too_long: too_long as u64,
            tokens: lengths.iter().copied().map(u64::from).sum(),
            supervised_tokens: supervised,
            ..outcomes.clone()
        };
        let mut rows = Rows { cache, places, lengths, outcomes, train: Vec::new(), test: Vec::new(), test_known: 0 };
        rows.split(recipe)?;
        if rows.test.is_empty() && !recipe.data.eval_files.is_empty() {
            let too_long = self::lengths(&rows.cache, recipe).evaluation.len();
            return Err(Error::NothingToEvaluate { too_long, max_length: longest });
        }
        if rows.train.is_empty() {
            let (too_long, unsupervised) = (rows.outcomes.too_long, rows.outcomes.unsupervised);
            return Err(aludel_data::Error::NothingToTrain { too_long, unsupervised }.into());
        }
        Ok(rows)
    }

    fn split(&mut self, recipe: &Recipe) -> Result<()> {
        let told = |row| {
            let info = self.info(row);
            (is_to_train(&info, recipe), info.prompt_key)
        };
        (self.train, self.test) = divided(self.len() as u32, &told, recipe)?;
        if !recipe.data.eval_files.is_empty() {
            let known: HashSet<PromptKey> = self.train.iter().map(|&row| self.info(row).prompt_key).collect();
            self.test_known = self.test.iter().filter(|&&row| known.contains(&self.info(row).prompt_key)).count();
        }
        Ok(())
    }

    /// How many rows there are, to train on and to evaluate on.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The number of tokens of each row.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Counts of all records, by outcome.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// What is known of a row without reading it.
    pub fn info(&self, row: u32) -> RowInfo {
        self.cache.info(self.places[row as usize] as usize)
    }

    /// Reads one row.
    ///
    /// # Errors
    /// The cache was damaged since it was opened.
    pub fn row(&self, row: u32) -> Result<TokenRow> {
        Ok(self.cache.row(self.places[row as usize] as usize)?)
    }

    /// The rows of a pass, each with its number.
    ///
    /// # Errors
    /// As [`Rows::row`].
    pub fn pass(&self, rows: &[u32]) -> Result<Vec<(u32, TokenRow)>> {
        rows.iter().map(|&row| Ok((row, self.row(row)?))).collect()
    }

    /// File and line of a row, for messages.
    pub fn place(&self, recipe: &Recipe, row: u32) -> String {
        let info = self.info(row);
        let files = recipe.data.all_files();
        let file = files.get(info.file_index as usize);
        format!("{}:{}", file.map_or("?".into(), |file| file.display().to_string()), info.line)
    }
}

fn narrow(row: usize) -> u32 {
    row as u32
}
