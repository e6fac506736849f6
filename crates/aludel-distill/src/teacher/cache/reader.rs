//! A teacher that was asked before: what a cache holds of the tokens of a pass, read into the losses of its chunks.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use aludel_data::token_cache::TokenRow;
use aludel_files::grouped;
use aludel_kernels::loss::divergence::{self, Divergence, DivergenceArgs, Samples, TopK};
use aludel_kernels::{Context, Mat, Region};
use aludel_model::student::Student;

use super::record::RecordLayout;
use super::shard::{self, RowKey, Runs, Shard};
use super::{CacheFile, TeacherContextKey, shard_path};
use crate::error::{Error, Result};
use crate::settings::{CacheTarget, DistillSettings, DivergenceKind};
use crate::supervision::SupervisedBatch;
use crate::teacher::{Loading, Teacher};

/// The least probability of all tokens that are not stored, where a record says that there is none.
const LEAST_REST: f64 = 1e-6;

/// Where the records of a row are.
struct RowRecords {
    shard: usize,
    /// The number of its first record in the shard.
    first: usize,
    runs: Runs,
}

/// A teacher's cache, open and checked.
pub struct CachedTeacher {
    folder: PathBuf,
    file: CacheFile,
    shards: Vec<Shard>,
    rows: HashMap<RowKey, RowRecords>,
    /// What is learnt of the records.
    target: CacheTarget,
    /// Of the tokens of the pass that runs: ids, and log-probabilities of the likeliest.
    ids: Vec<u32>,
    log_probs: Vec<f32>,
    /// The weights of draws, which are all the same.
    draw_weights: Vec<f32>,
}

impl CachedTeacher {
    /// Opens the cache of the settings and checks all of it.
    ///
    /// # Errors
    /// A cache that is unfinished or damaged, of another tokenizer or temperature, or without what is to be learnt.
    pub fn open(student: &Student, settings: &DistillSettings, loading: Loading<'_>) -> Result<CachedTeacher> {
        let folder = settings.cache_folder()?.to_owned();
        let file = CacheFile::read(&folder)?;
        let refuse = |reason: String| Error::TeacherCache { path: folder.clone(), reason };
        if file.tokenizer != student.text.tokenizer.fingerprint()? {
            return Err(refuse(format!(
                "its rows are of another tokenizer than that of the student {}; write a cache with this student",
                student.path.display()
            )));
        }
        file.layout.check(student.text.tokenizer.vocab_size()).map_err(refuse)?;
        let target = target(&file.layout, settings.cache_target).map_err(refuse)?;
        let asked = TeacherContextKey::of(settings);
        if file.teacher_context != asked {
            let told = |key: &Option<TeacherContextKey>| key.as_ref().map_or("nothing".to_owned(), ToString::to_string);
            return Err(refuse(format!(
                "its teacher saw {} beside what the student sees, and this run's teacher {}; set distill.teacher_system and \
                 distill.teacher_context_column as they were when the cache was written, or write another",
                told(&file.teacher_context),
                told(&asked)
            )));
        }
        if file.temperature != settings.temperature {
            let (own, asked) = (file.temperature, settings.temperature);
            return Err(refuse(format!(
                "its probabilities are of temperature {own}, and distill.temperature = {asked}; set it to {own}, or write another cache \
                 with --set distill.temperature={asked}"
            )));
        }
        if target == CacheTarget::Samples && settings.divergence != DivergenceKind::ForwardKl {
            return Err(refuse(
                "draws from the teacher tell the forward KL alone; set distill.divergence = \"forward_kl\", or write a cache with --top-k"
                    .to_owned(),
            ));
        }
        let (mut shards, mut rows, identity) = (Vec::new(), HashMap::new(), file.identity());
        for number in 0..file.shards {
            if let Loading::Read(watch) = loading
                && watch(number as u64, file.shards as u64).is_break()
            {
                return Err(Error::Stopped);
            }
            let path = shard_path(&folder, number);
            if !aludel_files::is_there(&path) {
                return Err(refuse(format!(
                    "of its {} shards number {number} is missing: it is not finished; run the same `aludel cache` again",
                    file.shards
                )));
            }
            let (shard, header) = Shard::open(&path, &file.layout)?;
            if header.cache != identity {
                return Err(shard::damaged(&path, "it belongs to another cache"));
            }
            let mut first = 0;
            for row in header.rows {
                let (tokens, key) = (row.tokens(), row.key());
                let key = key.ok_or_else(|| shard::damaged(&path, "it has a row without a key"))?;
                rows.insert(key, RowRecords { shard: number, first, runs: row.runs });
                first += tokens;
            }
            shards.push(shard);
        }
        let (ids, log_probs, draw_weights) = (Vec::new(), Vec::new(), Vec::new());
        Ok(CachedTeacher { folder, file, shards, rows, target, ids, log_probs, draw_weights })
    }

    /// Numbers that are read of a token: ids.
    fn width(&self) -> usize {
        match self.target {
            CacheTarget::Samples => self.file.layout.samples,
            CacheTarget::Auto | CacheTarget::TopK => self.file.layout.top_k,
        }
    }

    fn missing(&self, what: &str) -> Error {
        Error::TeacherCache {
            path: self.folder.clone(),
            reason: format!(
                "{what}; it was written for other rows: run `aludel cache` with the data, template and settings of this run"
            ),
        }
    }

    /// The records of a row.
    fn row(&self, ids: &[u32], context: &[u32]) -> Result<&RowRecords> {
        self.rows.get(&RowKey::of(ids, context)).ok_or_else(|| self.missing("a row of this run is not in it"))
    }
}

impl RowRecords {
    /// The number of the record of a place of the row.
    fn record(&self, place: u32) -> Option<usize> {
        let mut before = self.first;
        for &[first, count] in &self.runs {
            if (first..first + count).contains(&place) {
                return Some(before + (place - first) as usize);
            }
            before += count as usize;
        }
        None
    }
}

/// What is learnt of records, where that is left open.
fn target(layout: &RecordLayout, asked: CacheTarget) -> std::result::Result<CacheTarget, String> {
    let has = |target| match target {
        CacheTarget::TopK => layout.top_k > 0,
        CacheTarget::Samples => layout.samples > 0,
        CacheTarget::Auto => true,
    };
    match asked {
        CacheTarget::Auto if layout.top_k > 0 => Ok(CacheTarget::TopK),
        CacheTarget::Auto => Ok(CacheTarget::Samples),
        asked if has(asked) => Ok(asked),
        asked => Err(format!(
            "it does not hold what distill.cache_target = \"{}\" asks for; leave the setting out, or write a cache with it",
            asked.name()
        )),
    }
}

impl Teacher for CachedTeacher {
    fn begin(&mut self, ctx: &mut Context, batch: &SupervisedBatch) -> Result<()> {
        let (mut ids, mut log_probs) = (std::mem::take(&mut self.ids), std::mem::take(&mut self.log_probs));
        ids.clear();
        log_probs.clear();
        let width = self.width();
        self.draw_weights.resize(batch.chosen.len() * width, 1.0 / width as f32);
        if ctx.planning() {
            ids.resize(batch.chosen.len() * width, 0);
            log_probs.resize(batch.chosen.len() * width, 0.0);
        } else {
            for (number, tokens) in batch.pass.rows.iter().enumerate() {
                let row = self.row(&batch.pass.ids[tokens.clone()], batch.teacher_row(number).0)?;
                for &chosen in &batch.chosen[batch.chosen_in(tokens)] {
                    let place = chosen - tokens.start as u32;
                    let number =
                        row.record(place).ok_or_else(|| self.missing("a supervised token of this run is not in it"))?;
                    let record = self.shards[row.shard].record(number, &self.file.layout);
                    let read = match self.target {
                        CacheTarget::Samples => self.file.layout.read_samples(record, &mut ids),
                        CacheTarget::Auto | CacheTarget::TopK => {
                            self.file.layout.read_top_k(record, &mut ids, &mut log_probs)
                        }
                    };
                    read.ok_or_else(|| {
                        let path = shard_path(&self.folder, row.shard);
                        shard::damaged(&path, "it holds tokens or probabilities that there are not")
                    })?;
                }
            }
        }
        (self.ids, self.log_probs) = (ids, log_probs);
        Ok(())
    }

    fn divergence(
        &self,
        ctx: &mut Context,
        logits: Mat,
        range: Range<usize>,
        weights: Mat,
        args: DivergenceArgs,
        losses: Mat,
        gradient: bool,
    ) {
        let (rows, width) = (range.len(), self.width());
        let entries = range.start * width..range.end * width;
        let ids = ctx.upload_indices(&self.ids[entries.clone()]);
        match self.target {
            CacheTarget::Samples => {
                debug_assert_eq!(args.divergence, Divergence::ForwardKl);
                let own = ctx.upload(Region::Io, rows, width, &self.draw_weights[entries]);
                let samples = Samples { ids, weights: own };
                divergence::sampled(ctx, logits, samples, weights, args.softmax, losses, gradient);
            }
            CacheTarget::Auto | CacheTarget::TopK => {
                let log_probs = ctx.upload(Region::Io, rows, width, &self.log_probs[entries]);
                divergence::top_k(ctx, logits, TopK { ids, log_probs }, weights, args, losses, gradient);
            }
        }
    }

    fn target_losses(
        &mut self,
        ctx: &mut Context,
        batch: &SupervisedBatch,
        targets: &[&[u32]],
    ) -> Result<Option<Vec<Vec<f32>>>> {
        // Probabilities at another temperature are not how well the teacher predicts, and draws tell none.
        if self.target == CacheTarget::Samples || self.file.temperature != 1.0 {
            return Ok(None);
        }
        self.begin(ctx, batch)?;
        let width = self.width();
        let others = (self.file.layout.vocab - width).max(1) as f64;
        let loss = |place: usize, target: u32| {
            let entries = place * width..(place + 1) * width;
            let (ids, log_probs) = (&self.ids[entries.clone()], &self.log_probs[entries]);
            let mut stored = ids.iter().zip(log_probs).filter(|(_, log_prob)| log_prob.is_finite());
            if let Some((_, log_prob)) = stored.find(|(id, _)| **id == target) {
                return -log_prob;
            }
            // All that is not stored shares what is left.
            let mass: f64 = log_probs.iter().map(|&log_prob| f64::from(log_prob).exp()).sum();
            -((1.0 - mass).max(LEAST_REST) / others).ln() as f32
        };
        let losses = |list: &&[u32]| list.iter().enumerate().map(|(place, &target)| loss(place, target)).collect();
        Ok(Some(targets.iter().map(losses).collect()))
    }

    fn vocab(&self) -> usize {
        self.file.layout.vocab
    }

    fn weight_bytes(&self) -> usize {
        0
    }

    fn max_length(&self) -> Option<usize> {
        None
    }

    fn reach(&mut self, _ctx: &mut Context, _max_length: usize) {}

    fn check_rows(&mut self, rows: &mut dyn Iterator<Item = Result<TokenRow>>) -> Result<()> {
        let (mut count, mut absent) = (0u64, 0u64);
        for row in rows {
            let row = row?;
            let records = self.rows.get(&RowKey::of(&row.ids, &row.context));
            let mut supervised = (1..row.ids.len()).filter(|&t| row.weights[t] != 0.0).map(|t| t as u32 - 1);
            let is_there = records.is_some_and(|records| supervised.all(|place| records.record(place).is_some()));
            (count, absent) = (count + 1, absent + u64::from(!is_there));
        }
        match absent {
            0 => Ok(()),
            absent => {
                Err(self.missing(&format!("{} of {} rows of this run are not in it", grouped(absent), grouped(count))))
            }
        }
    }
}
