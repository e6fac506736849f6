//! Writes a cache: one pass of the teacher over all rows, shard by shard. A shard that is there is not computed again, so that a build
//! which was killed goes on with the one that was open.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use aludel_data::token_cache::{Cache, TokenRow};
use aludel_formats::{atomic, lock::FolderLock};
use aludel_kernels::loss::divergence::{self, Draws, Samples, Softmax, TopK};
use aludel_kernels::{Context, Region};
use aludel_model::student::Student;
use serde::Serialize;

use super::record::RecordLayout;
use super::shard::{self, RowKey, Shard, ShardHeader, ShardRow};
use super::stored_kl::{MEASURED_TOKENS, Stored, measure};
use super::{CacheEvent, CacheFile, FORMAT, TeacherContextKey, shard_path, teacher_fingerprint};
use crate::checkpoint::{self, ROWS_FOLDER_NAME};
use crate::error::{Error, Result};
use crate::learner::context;
use crate::rows::{RowKeys, tokenise};
use crate::settings::{Problem, Problems, Recipe};
use crate::supervision::SupervisedBatch;
use crate::teacher::online::read_by_teacher;
use crate::teacher::preflight::{self, RowsToCheck};
use crate::teacher::{Loading, OnlineTeacher, Teacher as _};

/// Supervised tokens of a shard, unless one row has more: what a kill can lose, and what is checked at once.
const SHARD_TOKENS: usize = 8192;

/// What is stored of each supervised token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// The likeliest tokens, beside the probability of all others; 0 for none.
    pub top_k: usize,
    /// Draws; 0 for none.
    pub samples: usize,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheSummary {
    /// Whether all shards are there.
    pub finished: bool,
    /// Rows, without repetitions.
    pub rows: usize,
    /// Rows left out as longer than teacher or student read, or than `train.max_length`.
    pub too_long: usize,
    /// Supervised tokens.
    pub tokens: usize,
    /// Files.
    pub shards: usize,
    /// Of these, files that were there before.
    pub shards_found: usize,
    /// Bytes of a token.
    pub bytes_per_token: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// KL between the teacher's distribution and what is stored of it, nats a token, over some tokens of each shard.
    pub stored_kl: f64,
    /// Wall time of this build, seconds.
    pub seconds: f64,
    /// In what the teacher differs from the student, in words.
    #[serde(skip)]
    pub pair_notes: Vec<String>,
}

/// A row to ask the teacher about.
struct WantedRow {
    /// Its number in the token cache.
    number: usize,
    key: RowKey,
    places: Vec<u32>,
    /// Tokens that the teacher reads.
    tokens: usize,
}

/// Writes the cache of the recipe's data for its student, by `distill.teacher`. `observe` may break off: then what is finished stays, and
/// before the first shard there is nothing to tell.
///
/// # Errors
/// Models that do not load or do not fit together, rows that training would refuse, a folder with another cache.
pub fn build(
    recipe: &Recipe,
    options: CacheOptions,
    folder: &Path,
    observe: &(dyn Fn(CacheEvent) -> ControlFlow<()> + Sync),
) -> Result<Option<CacheSummary>> {
    match build_shards(recipe, options, folder, observe) {
        Err(error) if error.is_stop() => Ok(None),
        built => built.map(Some),
    }
}

fn build_shards(
    recipe: &Recipe,
    options: CacheOptions,
    folder: &Path,
    observe: &(dyn Fn(CacheEvent) -> ControlFlow<()> + Sync),
) -> Result<CacheSummary> {
    let mut student = Student::open(recipe.student_model()?)?;
    student.text.tokenizer.add_tokens(&recipe.student.add_tokens)?;
    // Looked at before it is locked: in a folder of somebody else's not even a lock is made.
    if CacheFile::find(folder)?.is_none() && checkpoint::is_begun(folder)? {
        let reason = "it holds a training run; give another --output-dir".to_owned();
        return Err(Error::TeacherCache { path: folder.to_owned(), reason });
    }
    let _lock = FolderLock::acquire(folder)?;
    atomic::recover(folder);
    let built = build_locked(&student, recipe, options, folder, observe);
    if built.as_ref().is_err_and(|error| !error.is_stop()) && CacheFile::find(folder)?.is_none() {
        // A cache that is refused leaves nothing behind; rows that were only stopped are found again.
        let _ = std::fs::remove_dir_all(folder.join(ROWS_FOLDER_NAME));
    }
    built
}

fn build_locked(
    student: &Student,
    recipe: &Recipe,
    options: CacheOptions,
    folder: &Path,
    observe: &(dyn Fn(CacheEvent) -> ControlFlow<()> + Sync),
) -> Result<CacheSummary> {
    let began = Instant::now();
    let stopped = |told: ControlFlow<()>| if told.is_break() { Err(Error::Stopped) } else { Ok(()) };
    stopped(observe(CacheEvent::Hashing))?;
    let keys = RowKeys::new(student, recipe, &|_| observe(CacheEvent::Hashing))?;
    let fingerprint = teacher_fingerprint(recipe, &|| observe(CacheEvent::Hashing))?;
    stopped(observe(CacheEvent::CheckingTeacher))?;
    let mut pair_notes = preflight::check_texts(student, recipe)?;
    let watch = || observe(CacheEvent::Tokenising);
    let rows = tokenise(student, recipe, &keys, &folder.join(ROWS_FOLDER_NAME), &mut |_| {}, &watch)?;
    let longest = longest_row(recipe, student)?;
    let (wanted, too_long) = wanted_rows(&rows, longest)?;
    let cut = cut(&wanted);

    let mut ctx = context(&recipe.student)?;
    let loading = |done, total| observe(CacheEvent::Loading { done, total });
    let longest = rows.lengths().iter().map(|&length| length as usize).filter(|&length| length <= longest).max();
    let mut teacher =
        OnlineTeacher::load(&mut ctx, student, &recipe.distill, longest.unwrap_or(1), Loading::Read(&loading))?;
    if options.top_k > teacher.vocab() {
        let problem = Problem::new(
            "--top-k",
            Some(options.top_k.to_string()),
            format!("teacher and student share {} tokens", teacher.vocab()),
            format!("give {} or fewer", teacher.vocab()),
        );
        return Err(Problems::one(problem).into());
    }
    let layout = RecordLayout { vocab: teacher.vocab(), top_k: options.top_k, samples: options.samples };
    let file = CacheFile {
        format: FORMAT,
        aludel_version: env!("CARGO_PKG_VERSION").to_owned(),
        teacher: recipe.distill.teacher_model()?.to_owned(),
        teacher_fingerprint: fingerprint,
        tokenizer: student.text.tokenizer.fingerprint()?,
        rows_key: keys.cache(student, recipe).to_string(),
        layout,
        temperature: recipe.distill.temperature,
        teacher_context: TeacherContextKey::of(&recipe.distill),
        seed: recipe.train.seed,
        rows: wanted.len(),
        tokens: wanted.iter().map(|row| row.places.len()).sum(),
        shards: cut.len(),
    };
    let read = |row: usize| Ok(rows.row(wanted[row].number)?);
    teacher.check_rows(&mut (0..wanted.len()).map(read))?;
    let longest = wanted.iter().map(|row| row.tokens).max().or(longest);
    teacher.reach(&mut ctx, longest.unwrap_or(1));
    let of_rows = RowsToCheck { count: wanted.len(), read: &read };
    let mut checking = || observe(CacheEvent::CheckingTeacher);
    pair_notes.extend(preflight::check_teacher(&mut ctx, &mut teacher, student, recipe, of_rows, &mut checking)?);
    let file = claim(folder, file)?;

    let mut build = Builder {
        file: &file,
        identity: file.identity(),
        ctx: &mut ctx,
        teacher: &mut teacher,
        asked: SupervisedBatch::default(),
    };
    let largest = longest.unwrap_or(1).max(recipe.distill.teacher_tokens_per_pass);
    build.plan(largest)?;
    let found: Vec<Option<f64>> = (0..cut.len()).map(|number| build.found(folder, number)).collect::<Result<_>>()?;
    let tokens_of = |rows: &[WantedRow]| rows.iter().map(|row| row.places.len()).sum::<usize>();
    let there = found.iter().zip(&cut).filter(|(found, _)| found.is_some());
    let mut done = there.map(|(_, rows)| tokens_of(rows)).sum();
    let bytes = (file.tokens * layout.bytes()) as u64;
    stopped(observe(CacheEvent::Planned { rows: file.rows, tokens: file.tokens, bytes, done }))?;
    let (mut stored_kl, mut finished) = (0.0, true);
    for (number, (wanted, found)) in cut.iter().zip(&found).enumerate() {
        let kl = match found {
            Some(kl) => *kl,
            None => {
                let mut tell = |asked: usize| observe(CacheEvent::Asked { done: done + asked, total: file.tokens });
                match build.shard(&rows, wanted, &shard_path(folder, number), &mut tell)? {
                    Some(kl) => {
                        done += tokens_of(wanted);
                        kl
                    }
                    None => {
                        finished = false;
                        break;
                    }
                }
            }
        };
        stored_kl += kl * tokens_of(wanted) as f64 / file.tokens as f64;
    }
    Ok(CacheSummary {
        finished,
        rows: file.rows,
        too_long,
        tokens: file.tokens,
        shards: file.shards,
        shards_found: found.iter().flatten().count(),
        bytes_per_token: layout.bytes(),
        bytes: disk_bytes(folder, file.shards),
        stored_kl,
        seconds: began.elapsed().as_secs_f64(),
        pair_notes: pair_notes.iter().map(ToString::to_string).collect(),
    })
}

/// The longest row that is asked about.
fn longest_row(recipe: &Recipe, student: &Student) -> Result<usize> {
    let positions = student.config.max_position_embeddings;
    let judged = OnlineTeacher::positions(&recipe.distill)?;
    Ok(recipe.train.max_length.tokens().unwrap_or(positions).min(positions).min(judged))
}

/// The rows to ask about, each once, and how many are too long. A row that comes again with other supervised tokens has all of them.
fn wanted_rows(rows: &Cache, longest: usize) -> Result<(Vec<WantedRow>, usize)> {
    let (mut wanted, mut seen, mut too_long) = (Vec::<WantedRow>::new(), HashMap::new(), 0);
    for number in 0..rows.len() {
        if rows.lengths()[number] as usize > longest {
            too_long += 1;
            continue;
        }
        let row = rows.row(number)?;
        let key = RowKey::of(&row.ids, &row.context);
        let places = (1..row.ids.len()).filter(|&t| row.weights[t] != 0.0).map(|t| t as u32 - 1);
        match seen.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(wanted.len());
                wanted.push(WantedRow { number, key, places: places.collect(), tokens: read_by_teacher(&row) });
            }
            Entry::Occupied(entry) => {
                let all = &mut wanted[*entry.get()].places;
                all.extend(places);
                all.sort_unstable();
                all.dedup();
            }
        }
    }
    match wanted.is_empty() {
        true => Err(aludel_data::Error::NothingToTrain { too_long: too_long as u64, unsupervised: 0 }.into()),
        false => Ok((wanted, too_long)),
    }
}

/// Whole rows, shard by shard.
fn cut(rows: &[WantedRow]) -> Vec<&[WantedRow]> {
    let (mut shards, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (number, row) in rows.iter().enumerate() {
        if tokens > 0 && tokens + row.places.len() > SHARD_TOKENS {
            shards.push(&rows[start..number]);
            (start, tokens) = (number, 0);
        }
        tokens += row.places.len();
    }
    shards.push(&rows[start..]);
    shards
}

/// Begins the cache in a folder, or goes on with it; returns what it was begun with.
fn claim(folder: &Path, file: CacheFile) -> Result<CacheFile> {
    let Some(begun) = CacheFile::find(folder)? else {
        file.write(folder)?;
        return Ok(file);
    };
    let reason = if begun.teacher_fingerprint != file.teacher_fingerprint {
        let (has, now) = (begun.teacher.display(), file.teacher.display());
        format!(
            "it was begun with the teacher {has}, and now {now} has other files, or its weights are held in another way"
        )
    } else if begun.tokenizer != file.tokenizer {
        "it was begun with another student's tokenizer".to_owned()
    } else if begun.teacher_context != file.teacher_context {
        "it was begun with another distill.teacher_system or distill.teacher_context_column".to_owned()
    } else if begun.rows_key != file.rows_key || begun.rows != file.rows || begun.tokens != file.tokens {
        "it was begun with other rows: other data, template or settings".to_owned()
    } else if begun.layout != file.layout || begun.temperature != file.temperature || begun.seed != file.seed {
        "it was begun with another --top-k, --sample, temperature or seed".to_owned()
    } else {
        return Ok(begun);
    };
    Err(Error::TeacherCache {
        path: folder.to_owned(),
        reason: format!("{reason}; give what it was begun with, or another --output-dir"),
    })
}

fn disk_bytes(folder: &Path, shards: usize) -> u64 {
    (0..shards)
        .filter_map(|number| aludel_files::metadata(shard_path(folder, number)).ok())
        .map(|about| about.len())
        .sum()
}

struct Builder<'a> {
    file: &'a CacheFile,
    identity: String,
    ctx: &'a mut Context,
    teacher: &'a mut OnlineTeacher,
    asked: SupervisedBatch,
}

impl Builder<'_> {
    /// What a shard that is there says of what storing lost; `None` where it is to be written. One that is damaged is refused: somebody
    /// should know.
    fn found(&self, folder: &Path, number: usize) -> Result<Option<f64>> {
        let path = shard_path(folder, number);
        if !aludel_files::is_there(&path) {
            return Ok(None);
        }
        let (_, header) = Shard::open(&path, &self.file.layout)?;
        match header.cache == self.identity {
            true => Ok(Some(header.stored_kl)),
            false => Err(shard::damaged(&path, "it belongs to another cache")),
        }
    }

    fn plan(&mut self, largest: usize) -> Result<()> {
        self.asked.fill_largest(largest);
        let Builder { file, ctx, teacher, asked, .. } = self;
        ctx.plan(|ctx| ask(ctx, teacher, asked, file, &[], &mut Vec::new(), &mut Stored::default()))
    }

    /// Asks about the rows of a shard and writes it; `None` where `tell` broke off.
    fn shard(
        &mut self,
        rows: &Cache,
        wanted: &[WantedRow],
        path: &Path,
        tell: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<f64>> {
        let (mut records, mut stored, mut next, mut asked) = (Vec::new(), Stored::default(), 0, 0);
        while next < wanted.len() {
            let count = self.rows_of_pass(&wanted[next..]);
            let (some, of_pass) = (&wanted[next..next + count], &mut self.asked);
            let read = some.iter().map(|row| {
                let mut tokens = rows.row(row.number)?;
                // all places at which any of its repetitions is supervised
                tokens.weights.fill(0.0);
                row.places.iter().for_each(|&place| tokens.weights[place as usize + 1] = 1.0);
                Ok((row.key.number(), tokens))
            });
            of_pass.fill(&read.collect::<Result<Vec<(u32, TokenRow)>>>()?);
            let examples: Vec<u32> =
                some.iter().flat_map(|row| std::iter::repeat_n(row.key.number(), row.places.len())).collect();
            ask(self.ctx, self.teacher, of_pass, self.file, &examples, &mut records, &mut stored)?;
            (next, asked) = (next + count, asked + of_pass.chosen.len());
            if tell(asked).is_break() {
                return Ok(None);
            }
        }
        let stored_kl = stored.kl / stored.tokens.max(1) as f64;
        let rows = wanted.iter().map(|row| ShardRow::new(row.key, row.places.iter().copied())).collect();
        let header = ShardHeader { cache: self.identity.clone(), rows, tokens: asked, stored_kl };
        shard::write(path, &header, &records)?;
        Ok(Some(stored_kl))
    }

    /// How many rows the teacher reads at once.
    fn rows_of_pass(&self, wanted: &[WantedRow]) -> usize {
        let mut tokens = 0;
        let fitting = wanted.iter().take_while(|row| {
            tokens += row.tokens;
            tokens <= self.teacher.tokens_per_pass()
        });
        fitting.count().max(1)
    }
}

/// Asks the teacher about the chosen tokens of a pass and appends their records. `examples` has the number of each token's row.
fn ask(
    ctx: &mut Context,
    teacher: &mut OnlineTeacher,
    asked: &SupervisedBatch,
    file: &CacheFile,
    examples: &[u32],
    records: &mut Vec<u8>,
    stored: &mut Stored,
) -> Result<()> {
    let layout = &file.layout;
    ctx.reset();
    teacher.begin(ctx, asked)?;
    let softmax = Softmax { vocab: layout.vocab, temperature: file.temperature as f32 };
    let (mut ids, mut log_probs, mut drawn) = (Vec::new(), Vec::new(), Vec::new());
    for start in (0..asked.chosen.len()).step_by(teacher.chunk_rows()) {
        let range = start..asked.chosen.len().min(start + teacher.chunk_rows());
        let (mark, rows) = (ctx.mark(), range.len());
        let logits = teacher.logits(ctx, range.clone());
        if layout.top_k > 0 {
            let top_k =
                TopK { ids: ctx.alloc_list(rows * layout.top_k), log_probs: ctx.alloc(Region::Io, rows, layout.top_k) };
            divergence::top_k_of(ctx, logits, softmax, top_k);
            ctx.download_list_into(top_k.ids, &mut ids);
            ctx.download_into(top_k.log_probs, &mut log_probs);
            if log_probs.iter().any(|log_prob| log_prob.is_nan()) {
                return Err(not_finite(file));
            }
        }
        if layout.samples > 0 {
            let places = asked.chosen[range.clone()].iter().map(|&chosen| asked.pass.positions[chosen as usize]);
            let places = ctx.upload_list(places);
            let examples = ctx.upload_list(range.clone().map(|i| examples.get(i).copied().unwrap_or_default()));
            let samples = Samples {
                ids: ctx.alloc_list(rows * layout.samples),
                weights: ctx.alloc(Region::Io, rows, layout.samples),
            };
            let draws = Draws { proposal: 1.0, key: file.seed, examples, positions: places };
            divergence::sample_of(ctx, logits, softmax, draws, samples);
            ctx.download_list_into(samples.ids, &mut drawn);
            if ctx.download(samples.weights).iter().any(|weight| weight.is_nan()) {
                return Err(not_finite(file));
            }
        }
        if !ctx.planning() {
            let first = records.len();
            for row in 0..rows {
                if layout.top_k > 0 {
                    let of_row = row * layout.top_k..(row + 1) * layout.top_k;
                    layout.write_top_k(&ids[of_row.clone()], &log_probs[of_row], records);
                }
                if layout.samples > 0 {
                    layout.write_samples(&drawn[row * layout.samples..(row + 1) * layout.samples], records);
                }
            }
            let left = MEASURED_TOKENS.saturating_sub(stored.tokens).min(rows);
            if left > 0 {
                measure(ctx, logits, softmax, layout, &records[first..], left, stored);
            }
        } else {
            measure(ctx, logits, softmax, layout, &[], MEASURED_TOKENS.min(rows), stored);
        }
        ctx.release(mark);
    }
    Ok(())
}

fn not_finite(file: &CacheFile) -> Error {
    Error::TeacherCache {
        path: file.teacher.clone(),
        reason: "the teacher's logits are not numbers; check it with `aludel chat`, and leave out distill.teacher_adapter if that is another \
                 model's"
            .to_owned(),
    }
}
