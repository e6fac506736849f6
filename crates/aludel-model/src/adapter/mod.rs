//! A LoRA adapter on the device: every trained number of it lies in one flat f32 buffer, in a fixed order, so that the optimiser
//! and (on many machines) one all-reduce see one array. `targets` says which linears have
//! one, `create` makes new ones, `load` reads PEFT's folders, `parts` has those on parts of a linear; `base` is what they need of
//! the model, `biases` and `rows` say which biases and vocabulary rows can be trained. What a linear does with A and B is the kernels'
//! business.

mod base;
mod biases;
mod create;
mod load;
mod parts;
mod rows;
mod targets;

use std::borrow::Cow;
use std::path::Path;

use aludel_formats::peft::{self, AdapterConfig, Rows};
use aludel_formats::{Dtype, TensorSpec};
use aludel_kernels::dora::Dora;
use aludel_kernels::head::TrainedRows;
use aludel_kernels::linear::{Lora, LoraGradient};
use aludel_kernels::rowwise::dropout::Dropout;
use aludel_kernels::{Context, Mat, quant};

use crate::config::Config;
use crate::error::Result;
use crate::layout::{linear_shape, module_path};
use crate::module::{MODULES, Module};

pub use base::Base;
pub use create::{AdapterInit, AdapterOptions, NewRows};
pub use targets::{Target, notes_on_parts, targets};

/// One trained tensor: its PEFT name, its shape, its place in the flat buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// PEFT's name.
    pub name: String,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// First element in the flat buffer.
    pub offset: usize,
    /// Whether PEFT has it as a vector.
    is_vector: bool,
}

impl Entry {
    /// This tensor inside a flat buffer of parameters, gradients or moments.
    pub fn view(&self, flat: Mat) -> Mat {
        flat.col_range(self.offset, self.rows * self.cols).reshape(self.rows, self.cols)
    }

    /// Its shape in PEFT's files.
    pub fn shape(&self) -> Vec<usize> {
        if self.is_vector { vec![self.cols] } else { vec![self.rows, self.cols] }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    a: usize,
    b: usize,
    scale: f32,
    dora: Option<SlotOfDora>,
    /// Where only parts of the linear are trained.
    blocks: Option<parts::Blocks>,
}

/// What DoRA has of a linear.
#[derive(Clone, Copy, Debug)]
struct SlotOfDora {
    /// The magnitude's place among the entries.
    magnitude: usize,
    /// The sum of squares of each row of the weight, unless the base was given by its config alone.
    squares: Option<Mat>,
    /// For what the kernels make of them.
    scales: Mat,
}

/// An adapter whose parameters are on the device.
#[derive(Debug)]
pub struct Adapter {
    config: AdapterConfig,
    entries: Vec<Entry>,
    slots: Vec<[Option<Slot>; MODULES]>,
    /// The places of trained biases among the entries.
    biases: Vec<[Option<usize>; MODULES]>,
    parameters: Mat,
    embedding_rows: Option<VocabularyRows>,
    head_rows: Option<VocabularyRows>,
}

/// Rows of a vocabulary matrix that are trained.
#[derive(Debug)]
struct VocabularyRows {
    ids: Vec<u32>,
    /// Their place among the entries.
    entry: usize,
    trained: TrainedRows,
}

impl Adapter {
    /// Names the base for other tools. A revision belongs to the name that it came with.
    pub fn set_base(&mut self, name: &str) {
        if self.config.base_model_name_or_path.as_deref() != Some(name) {
            self.config.base_model_name_or_path = Some(name.to_owned());
            self.config.revision = None;
        }
    }

    /// PEFT's description of this adapter.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// Every trained tensor, in the order of the flat buffer.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The flat buffer, [1, P].
    pub fn parameters(&self) -> Mat {
        self.parameters
    }

    /// P, the number of trained parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters.cols()
    }

    /// Vocabulary rows that replace or extend those of the embedding.
    pub fn embedding_rows(&self) -> Option<TrainedRows> {
        self.embedding_rows.as_ref().map(|rows| rows.trained)
    }

    /// The token ids of [`Adapter::embedding_rows`].
    pub fn embedding_ids(&self) -> &[u32] {
        self.embedding_rows.as_ref().map_or(&[], |rows| &rows.ids)
    }

    /// Vocabulary rows that take part in the head: those of the embedding where the head is tied to it.
    pub fn head_rows(&self, tied: bool) -> Option<TrainedRows> {
        self.rows_of_head(tied).map(|rows| rows.trained)
    }

    /// The token ids of [`Adapter::head_rows`].
    pub fn head_ids(&self, tied: bool) -> &[u32] {
        self.rows_of_head(tied).map_or(&[], |rows| &rows.ids)
    }

    fn rows_of_head(&self, tied: bool) -> Option<&VocabularyRows> {
        if tied { self.embedding_rows.as_ref() } else { self.head_rows.as_ref() }
    }

    /// The gradient of [`Adapter::embedding_rows`] in a flat gradient buffer.
    pub fn embedding_rows_gradient(&self, gradients: Mat) -> Option<Mat> {
        self.embedding_rows.as_ref().map(|rows| self.entries[rows.entry].view(gradients))
    }

    /// The gradient of [`Adapter::head_rows`] in a flat gradient buffer: the same matrix as the embedding's when tied.
    pub fn head_rows_gradient(&self, gradients: Mat, tied: bool) -> Option<Mat> {
        self.rows_of_head(tied).map(|rows| self.entries[rows.entry].view(gradients))
    }

    /// Every linear that is adapted: its layer, and where its A and B are among the entries.
    pub fn linears(&self) -> impl Iterator<Item = (usize, Module, [usize; 2])> {
        self.slots.iter().enumerate().flat_map(|(layer, slots)| {
            let of_layer = Module::ALL.into_iter().zip(slots);
            of_layer.filter_map(move |(module, slot)| slot.map(|slot| (layer, module, [slot.a, slot.b])))
        })
    }

    /// The adapter of one linear.
    ///
    /// # Panics
    /// If it is DoRA's, and the base was given by its config alone.
    pub fn lora(&self, layer: usize, module: Module, dropout: Option<Dropout>) -> Option<Lora> {
        let slot = self.slots[layer][module as usize]?;
        let dora = slot.dora.map(|dora| Dora {
            magnitude: self.entries[dora.magnitude].view(self.parameters),
            squares: dora.squares.expect("DoRA computes with the weights of the base that the adapter was loaded for"),
            scales: dora.scales,
            has_scales: false,
        });
        Some(Lora {
            a: self.entries[slot.a].view(self.parameters),
            b: self.entries[slot.b].view(self.parameters),
            scale: slot.scale,
            dropout,
            dora,
        })
    }

    /// Whether anything of a linear is trained.
    pub fn is_trained(&self, layer: usize, module: Module) -> bool {
        self.slots[layer][module as usize].is_some() || self.biases[layer][module as usize].is_some()
    }

    /// What the weight of one linear becomes: its adapter, and its magnitude, [1, d_out], where it is DoRA's. Its base may have been
    /// given by a config alone.
    pub fn factors(&self, layer: usize, module: Module) -> Option<(Lora, Option<Mat>)> {
        let slot = self.slots[layer][module as usize]?;
        let magnitude = slot.dora.map(|dora| self.entries[dora.magnitude].view(self.parameters));
        let [a, b] = [slot.a, slot.b].map(|entry| self.entries[entry].view(self.parameters));
        Some((Lora { a, b, scale: slot.scale, dropout: None, dora: None }, magnitude))
    }

    /// The gradients of one linear's adapter in a flat gradient buffer.
    pub fn lora_gradient(&self, layer: usize, module: Module, gradients: Mat) -> Option<LoraGradient> {
        let slot = self.slots[layer][module as usize]?;
        let gradient = |entry: usize| self.entries[entry].view(gradients);
        let magnitude = slot.dora.map(|dora| gradient(dora.magnitude));
        Some(LoraGradient { a: gradient(slot.a), b: gradient(slot.b), magnitude })
    }

    /// The trained bias of one linear, [1, d_out], in place of the base's.
    pub fn bias(&self, layer: usize, module: Module) -> Option<Mat> {
        self.biases[layer][module as usize].map(|entry| self.entries[entry].view(self.parameters))
    }

    /// How many parameters at the end of the flat buffer are those of biases, which no weight decay is for.
    pub fn bias_parameters(&self) -> usize {
        self.biases.iter().flatten().flatten().map(|&entry| self.entries[entry].cols).sum()
    }

    /// The gradient of [`Adapter::bias`] in a flat gradient buffer.
    pub fn bias_gradient(&self, layer: usize, module: Module, gradients: Mat) -> Option<Mat> {
        self.biases[layer][module as usize].map(|entry| self.entries[entry].view(gradients))
    }

    /// Writes the PEFT folder, in f32.
    ///
    /// # Errors
    /// Format errors of writing; the folder appears only whole if the caller writes it inside `atomic::write_dir`.
    #[expect(clippy::missing_panics_doc, reason = "the specs are made from the entries")]
    pub fn save(&self, ctx: &Context, folder: &Path) -> Result<()> {
        let values = ctx.download(self.parameters);
        let specs: Vec<TensorSpec> =
            self.entries.iter().map(|e| TensorSpec::new(e.name.clone(), Dtype::F32, e.shape())).collect();
        peft::write(folder, &self.config, &specs, |spec| {
            let entry = self.entries.iter().find(|e| e.name == spec.name).expect("specs were made from the entries");
            let slice = &values[entry.offset..entry.offset + entry.rows * entry.cols];
            Ok(Cow::Owned(quant::encode_f32(slice)))
        })
    }

    /// A flat gradient (or any flat buffer) as named tensors, for parity checks.
    pub fn named<'a>(&'a self, flat: &'a [f32]) -> impl Iterator<Item = (&'a Entry, &'a [f32])> {
        self.entries.iter().map(|e| (e, &flat[e.offset..e.offset + e.rows * e.cols]))
    }
}

/// The flat buffer while it is being laid out.
struct Buffer {
    entries: Vec<Entry>,
    slots: Vec<[Option<Slot>; MODULES]>,
    biases: Vec<[Option<usize>; MODULES]>,
    rows: [Option<(usize, Vec<u32>)>; 2],
    len: usize,
}

impl Buffer {
    fn new(config: &Config) -> Buffer {
        let layers = config.num_hidden_layers;
        let (slots, biases) = (vec![[None; MODULES]; layers], vec![[None; MODULES]; layers]);
        Buffer { entries: Vec::new(), slots, biases, rows: [None, None], len: 0 }
    }

    fn push(&mut self, name: String, rows: usize, cols: usize) -> usize {
        self.entries.push(Entry { name, rows, cols, offset: self.len, is_vector: false });
        self.len += rows * cols;
        self.entries.len() - 1
    }

    fn push_vector(&mut self, name: String, len: usize) -> usize {
        let entry = self.push(name, 1, len);
        self.entries[entry].is_vector = true;
        entry
    }

    fn push_dora(&mut self, ctx: &mut Context, base: &impl Base, layer: usize, module: Module) -> SlotOfDora {
        let (_, d_out) = linear_shape(base.config(), module);
        SlotOfDora {
            magnitude: self.push_vector(peft::magnitude_name(&module_path(layer, module)), d_out),
            squares: base.row_squares(ctx, layer, module),
            scales: ctx.persistent(2, d_out),
        }
    }

    /// After all else.
    fn push_bias(&mut self, layer: usize, module: Module, is_adapted: bool, len: usize) {
        let name = peft::bias_name(&module_path(layer, module), is_adapted);
        self.biases[layer][module as usize] = Some(self.push_vector(name, len));
    }

    fn has_biases(&self) -> bool {
        self.biases.iter().flatten().any(Option::is_some)
    }

    fn push_rows(&mut self, kind: Rows, ids: &[u32], channels: usize) {
        let entry = self.push(peft::trained_rows_name(kind).to_owned(), ids.len(), channels);
        self.rows[usize::from(kind == Rows::Head)] = Some((entry, ids.to_vec()));
    }

    fn into_adapter(self, ctx: &mut Context, config: AdapterConfig, values: &[f32]) -> Adapter {
        let parameters = ctx.upload_persistent(1, values.len(), values);
        let [embedding_rows, head_rows] = self.rows.map(|rows| {
            rows.map(|(entry, ids)| {
                let trained = TrainedRows::new(ctx, &ids, self.entries[entry].view(parameters));
                VocabularyRows { ids, entry, trained }
            })
        });
        Adapter {
            config,
            entries: self.entries,
            slots: self.slots,
            biases: self.biases,
            parameters,
            embedding_rows,
            head_rows,
        }
    }
}
