//! A teacher in this process: any model that loads, run forward on the rows of each pass. Its last hidden states are kept, C numbers for
//! each supervised token; its logits exist for one chunk of tokens at a time, beside the student's.

use std::ops::{ControlFlow, Range};

use aludel_data::token_cache::TokenRow;
use aludel_kernels::loss::divergence::{self, DivergenceArgs};
use aludel_kernels::{Context, Indices, Mat, Region, loss, rowwise};
use aludel_model::adapter::Adapter;
use aludel_model::config::Config;
use aludel_model::decoder::{Active, Attention, Decoder, PackedBatch, ResidualTap};
use aludel_model::student::Student;

use super::Teacher;
use super::preflight::check_ids;
use crate::error::{Error, Result};
use crate::learner::weight_format;
use crate::settings::DistillSettings;
use crate::supervision::SupervisedBatch;

/// Supervised tokens whose logits exist at once where given tokens are scored: no more than in a pass of training.
const SCORED_AT_ONCE: usize = 64;

/// A teacher in the student's context: it shares its threads, and the memory of passes, since the teacher's forward ends before the
/// student's begins.
pub struct OnlineTeacher {
    decoder: Decoder,
    adapter: Option<Adapter>,
    /// Tokens of a pass of the teacher, unless one row has more.
    tokens_per_pass: usize,
    /// The columns of logits that mean the same token for both.
    shared_vocab: usize,
    /// What the teacher's head reads at each supervised token of the pass that runs, [chosen, C].
    states: Option<Mat>,
    /// The layers after which the residual stream is kept, too, and what is kept of the pass that runs, [chosen, C] each.
    layers: Vec<usize>,
    layer_states: Vec<Mat>,
    /// The rows that the teacher reads at once, and the chosen tokens among them.
    pass: PackedBatch,
    chosen: Vec<u32>,
    /// A row that begins otherwise than the student's.
    reading: Vec<u32>,
    /// The longest such row that was announced.
    longest: usize,
    /// Whether rows may begin otherwise.
    has_context: bool,
}

/// Whether weights are read, or only outlined to plan with.
#[derive(Clone, Copy)]
pub enum Loading<'a> {
    /// Read; told how many weights of how many are read, and asked whether to go on.
    Read(&'a dyn Fn(u64, u64) -> ControlFlow<()>),
    /// Not read.
    Outline,
}

impl OnlineTeacher {
    /// Opens the teacher of the settings beside a student.
    ///
    /// # Errors
    /// A teacher that does not load, or whose tokens are not the student's.
    pub fn load(
        ctx: &mut Context,
        student: &Student,
        settings: &DistillSettings,
        max_length: usize,
        loading: Loading<'_>,
    ) -> Result<OnlineTeacher> {
        let path = settings.teacher_model()?;
        let teacher = Student::open(path)?;
        check_ids(student, &teacher, settings)?;
        let limit = teacher.config.max_position_embeddings;
        if max_length > limit {
            return Err(Error::TeacherLength { path: path.to_owned(), max_length, limit });
        }
        let format = weight_format(settings.teacher_dtype, settings.teacher_quantize);
        let decoder = match loading {
            Loading::Read(watch) => {
                Decoder::load_watched(ctx, &teacher.config, &teacher.weights, format, max_length, watch)?
            }
            Loading::Outline => Decoder::outline(ctx, &teacher.config, &teacher.weights, format)?,
        };
        let adapter = match &settings.teacher_adapter {
            Some(folder) => Some(Adapter::load(ctx, &decoder, folder)?),
            None => None,
        };
        let shared_vocab = student.text.tokenizer.vocab_size().min(teacher.text.tokenizer.vocab_size());
        let teacher = OnlineTeacher::new(decoder, adapter, settings.teacher_tokens_per_pass, shared_vocab);
        Ok(OnlineTeacher { has_context: settings.teacher_context().is_some(), ..teacher })
    }

    /// The longest row that the teacher of the settings can read.
    ///
    /// # Errors
    /// A teacher that does not open.
    pub fn positions(settings: &DistillSettings) -> Result<usize> {
        Ok(Student::open(settings.teacher_model()?)?.config.max_position_embeddings)
    }

    /// Tokens of a pass of the teacher.
    pub fn tokens_per_pass(&self) -> usize {
        self.tokens_per_pass
    }

    /// Tokens whose logits are computed at once.
    pub fn chunk_rows(&self) -> usize {
        self.decoder.head_chunk_rows(self.adapter.as_ref())
    }

    /// The teacher's logits of the supervised tokens `range` of the pass, [range, V] in scratch.
    ///
    /// # Panics
    /// Before the pass began.
    pub fn logits(&self, ctx: &mut Context, range: Range<usize>) -> Mat {
        let states = self.states.expect("a chunk before its pass began").row_range(range.start, range.len());
        let logits = ctx.scratch(range.len(), self.decoder.vocab_size(self.adapter.as_ref()));
        self.decoder.head_logits(ctx, states, self.adapter.as_ref(), logits);
        logits
    }

    /// A teacher that is loaded. The first `shared_vocab` columns of its logits, and of the student's, are compared.
    pub fn new(
        decoder: Decoder,
        adapter: Option<Adapter>,
        tokens_per_pass: usize,
        shared_vocab: usize,
    ) -> OnlineTeacher {
        OnlineTeacher {
            decoder,
            adapter,
            tokens_per_pass,
            shared_vocab,
            states: None,
            layers: Vec::new(),
            layer_states: Vec::new(),
            pass: PackedBatch::default(),
            chosen: Vec::new(),
            reading: Vec::new(),
            longest: 0,
            has_context: true,
        }
    }

    /// Keeps the residual stream after these layers, counted from 1, in this order.
    pub fn keep_layers(&mut self, layers: Vec<usize>) {
        self.layer_states = Vec::with_capacity(layers.len());
        self.layers = layers;
    }

    /// The teacher's config.
    pub fn config(&self) -> &Config {
        self.decoder.config()
    }

    /// The rows of one pass of the teacher, from row `first` on: as many whole ones as fit, and one at least.
    fn next_rows(&self, batch: &SupervisedBatch, first: usize) -> Range<usize> {
        let mut tokens = 0;
        let fitting = (first..batch.pass.rows.len()).take_while(|&row| {
            let (context, start) = batch.teacher_row(row);
            tokens += context.len() + batch.pass.rows[row].end - start;
            tokens <= self.tokens_per_pass
        });
        first..first + fitting.count().max(1)
    }

    /// Runs the teacher on some rows of the pass and keeps what its head reads.
    fn run(&mut self, ctx: &mut Context, batch: &SupervisedBatch, rows: Range<usize>, states: Mat) {
        let among = batch.chosen_in(&(batch.pass.rows[rows.start].start..batch.pass.rows[rows.end - 1].end));
        self.pass.clear();
        self.chosen.clear();
        for number in rows {
            let tokens = &batch.pass.rows[number];
            let ((context, start), before) = (batch.teacher_row(number), self.pass.len());
            match context.is_empty() {
                true => self.pass.push(0, &batch.pass.ids[tokens.clone()]),
                false => {
                    self.reading.clear();
                    self.reading.extend_from_slice(context);
                    self.reading.extend_from_slice(&batch.pass.ids[start..tokens.end]);
                    self.pass.push(0, &self.reading);
                }
            }
            // The token before the first supervised one is the last of the context.
            let chosen = batch.chosen[batch.chosen_in(tokens)].iter();
            self.chosen.extend(chosen.map(|&place| (before + context.len() + place as usize - start) as u32));
        }
        self.keep_states(ctx, among, states);
    }

    /// Runs the teacher on `self.pass` and keeps what its head reads at `self.chosen`, which are `among` of those of the batch.
    fn keep_states(&mut self, ctx: &mut Context, among: Range<usize>, states: Mat) {
        if among.is_empty() {
            return;
        }
        let (mark, saved, io) = (ctx.mark(), ctx.mark_saved(), ctx.mark_io());
        let active = self.adapter.as_ref().map(|adapter| Active { adapter, dropout: None });
        let places = ctx.upload_indices(&self.chosen);
        let mut tap = KeptLayers { layers: &self.layers, states: &self.layer_states, places, first: among.start };
        let forward = self.decoder.forward_tapped(ctx, &self.pass, Attention::Rows, active, None, &mut tap);
        let gathered = ctx.scratch(among.len(), states.cols());
        rowwise::gather_rows(ctx, forward.hidden, places, gathered);
        self.decoder.head_inputs(ctx, gathered, states.row_range(among.start, among.len()));
        ctx.release(mark);
        ctx.release_saved(saved);
        ctx.release_io(io);
    }

    /// Writes −ln p of the given tokens to `losses` [lists, chosen], chunk by chunk.
    fn score(&mut self, ctx: &mut Context, batch: &SupervisedBatch, targets: &[&[u32]]) -> Result<Mat> {
        ctx.reset();
        self.begin(ctx, batch)?;
        let (count, ones) = (batch.chosen.len(), vec![1.0; SCORED_AT_ONCE]);
        let losses = ctx.alloc(Region::Io, targets.len(), count);
        for start in (0..count).step_by(SCORED_AT_ONCE) {
            let length = SCORED_AT_ONCE.min(count - start);
            let mark = ctx.mark();
            let shared = self.logits(ctx, start..start + length).col_range(0, self.shared_vocab);
            let weights = ctx.upload(Region::Io, 1, length, &ones[..length]);
            for (number, list) in targets.iter().enumerate() {
                let ids = ctx.upload_indices(&list[start..start + length]);
                let losses = losses.row_range(number, 1).col_range(start, length);
                loss::cross_entropy(ctx, shared, ids, weights, losses, false);
            }
            ctx.release(mark);
        }
        Ok(losses)
    }

    /// Plans the largest passes that can come: the batch that memory is planned with is one long row, which the teacher would not see.
    fn plan(&mut self, ctx: &mut Context, batch: &SupervisedBatch, states: Mat) {
        // The length of rows may not be settled yet.
        let longest = self.decoder.config().max_position_embeddings;
        let most = self.tokens_per_pass.max(longest.min(batch.pass.len()));
        for start in (0..batch.pass.len()).step_by(most) {
            let tokens = start..(start + most).min(batch.pass.len());
            let among = batch.chosen_in(&tokens);
            self.chosen.clear();
            self.chosen.extend(batch.chosen[among.clone()].iter().map(|&place| place - tokens.start as u32));
            // With a context, the teacher reads more than the student.
            let read = match self.has_context {
                true => tokens.len().max(self.longest).max(self.tokens_per_pass),
                false => tokens.len(),
            };
            self.reading.clear();
            self.reading.resize(read, 0);
            self.pass.clear();
            self.pass.push(0, &self.reading);
            self.keep_states(ctx, among, states);
        }
    }
}

/// Tokens of a row as a teacher reads it.
pub(super) fn read_by_teacher(row: &TokenRow) -> usize {
    match row.context.is_empty() {
        true => row.ids.len(),
        false => {
            // The first token is never supervised.
            let first = row.weights.iter().skip(1).position(|&weight| weight != 0.0).map_or(0, |at| at + 1);
            row.context.len() + row.ids.len() - first
        }
    }
}

/// Keeps the residual stream after some layers, at some places of a pass of the teacher.
struct KeptLayers<'a> {
    layers: &'a [usize],
    /// Of all supervised tokens of the student's pass, for each layer.
    states: &'a [Mat],
    places: Indices,
    /// The supervised token at the first of these places.
    first: usize,
}

impl ResidualTap for KeptLayers<'_> {
    fn read(&mut self, ctx: &mut Context, layer: usize, hidden: Mat) {
        for (_, states) in self.layers.iter().zip(self.states).filter(|(own, _)| **own == layer) {
            rowwise::gather_rows(ctx, hidden, self.places, states.row_range(self.first, self.places.len()));
        }
    }
}

impl Teacher for OnlineTeacher {
    fn begin(&mut self, ctx: &mut Context, batch: &SupervisedBatch) -> Result<()> {
        let states = ctx.alloc(Region::Saved, batch.chosen.len(), self.decoder.config().hidden_size);
        self.states = Some(states);
        self.layer_states.clear();
        let (rows, width) = (states.rows(), states.cols());
        self.layer_states.extend(self.layers.iter().map(|_| ctx.alloc(Region::Saved, rows, width)));
        if ctx.planning() {
            self.plan(ctx, batch, states);
            return Ok(());
        }
        let mut next = 0;
        while next < batch.pass.rows.len() {
            let rows = self.next_rows(batch, next);
            next = rows.end;
            self.run(ctx, batch, rows, states);
        }
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
        let mark = ctx.mark();
        let teacher = self.logits(ctx, range);
        divergence::dense(ctx, logits, teacher, weights, args, losses, gradient);
        ctx.release(mark);
    }

    fn layer_states(&self) -> &[Mat] {
        &self.layer_states
    }

    fn target_losses(
        &mut self,
        ctx: &mut Context,
        batch: &SupervisedBatch,
        targets: &[&[u32]],
    ) -> Result<Option<Vec<Vec<f32>>>> {
        if batch.chosen.is_empty() {
            return Ok(Some(vec![Vec::new(); targets.len()]));
        }
        ctx.plan(|ctx| self.score(ctx, batch, targets))?;
        let losses = self.score(ctx, batch, targets)?;
        Ok(Some(ctx.download(losses).chunks_exact(batch.chosen.len()).map(<[f32]>::to_vec).collect()))
    }

    fn vocab(&self) -> usize {
        self.shared_vocab
    }

    fn weight_bytes(&self) -> usize {
        self.decoder.weight_bytes()
    }

    fn max_length(&self) -> Option<usize> {
        Some(self.decoder.config().max_position_embeddings)
    }

    fn check_rows(&mut self, rows: &mut dyn Iterator<Item = Result<TokenRow>>) -> Result<()> {
        if !self.has_context {
            return Ok(());
        }
        let limit = self.decoder.config().max_position_embeddings;
        for row in rows {
            let tokens = read_by_teacher(&row?);
            if tokens > limit {
                return Err(Error::TeacherContext { tokens, limit });
            }
            self.longest = self.longest.max(tokens);
        }
        Ok(())
    }

    fn reach(&mut self, ctx: &mut Context, max_length: usize) {
        let max_length = max_length.max(self.longest);
        if self.decoder.max_positions() < max_length {
            self.decoder.set_positions(ctx, max_length);
        }
    }
}
