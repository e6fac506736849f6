//! A LoRA adapter on the device: every trained number of it lies in one flat f32 buffer, in a fixed order, so that the optimiser
//! and (on many machines) one all-reduce see one array. `load` reads PEFT's folders, `rows` says which vocabulary rows can be trained;
//! what a linear does with A and B is the kernels' business.

mod load;
mod rows;

use std::borrow::Cow;
use std::path::Path;

use aludel_formats::peft::{self, AdapterConfig, Rows, TargetModules, TrainedTokens};
use aludel_formats::{Dtype, TensorSpec};
use aludel_kernels::head::TrainedRows;
use aludel_kernels::linear::{Lora, LoraGradient};
use aludel_kernels::rowwise::dropout::Dropout;
use aludel_kernels::{Context, Mat, quant, rng};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::layout::{linear_shape, module_path};
use crate::module::{MODULES, Module};

/// How A of a new adapter starts; B starts at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Uniform within ±1/√d_in, PEFT's default.
    Kaiming,
    /// Normal with standard deviation 1/r.
    Gaussian,
}

/// What a new adapter is made from.
#[derive(Clone, Debug)]
pub struct AdapterOptions {
    /// Rank.
    pub r: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Dropout on the adapter's inputs, in training.
    pub dropout: f64,
    /// Whether the scale is alpha/√r.
    pub use_rslora: bool,
    /// The linears that get an adapter.
    pub targets: Vec<Module>,
    /// How A starts.
    pub init: Init,
    /// For the random start.
    pub seed: u64,
    /// Vocabulary rows to train, if any.
    pub rows: Option<NewRows>,
}

/// Vocabulary rows to train and where they start.
#[derive(Clone, Debug)]
pub struct NewRows {
    /// Token ids, distinct; ids beyond the vocabulary extend it.
    pub ids: Vec<u32>,
    /// Initial embedding rows, [ids, C].
    pub embedding: Vec<f32>,
    /// Initial rows of an untied head, [ids, C].
    pub head: Option<Vec<f32>>,
}

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
}

impl Entry {
    /// This tensor inside a flat buffer of parameters, gradients or moments.
    pub fn view(&self, flat: Mat) -> Mat {
        flat.col_range(self.offset, self.rows * self.cols).reshape(self.rows, self.cols)
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    a: usize,
    b: usize,
    scale: f32,
}

/// An adapter whose parameters are on the device.
#[derive(Debug)]
pub struct Adapter {
    config: AdapterConfig,
    entries: Vec<Entry>,
    slots: Vec<[Option<Slot>; MODULES]>,
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

/// The linears of a model that a list of target names means; `all-linear` means all of them.
///
/// # Errors
/// [`Error::Target`] for a name that matches nothing.
pub fn resolve_targets(config: &Config, names: &[String]) -> Result<Vec<Module>> {
    let mut targets = Vec::new();
    for name in names {
        if name == "all-linear" {
            targets.extend(config.modules());
            continue;
        }
        let found = Module::from_name(name).filter(|module| config.modules().contains(module));
        targets.push(found.ok_or_else(|| Error::Target { name: name.clone(), known: known(config) })?);
    }
    targets.sort_by_key(|m| *m as usize);
    targets.dedup();
    Ok(targets)
}

/// The names of a model's linears, for messages.
fn known(config: &Config) -> String {
    config.modules().iter().map(|module| module.name()).collect::<Vec<_>>().join(", ")
}

impl Adapter {
    /// A new adapter: A random, B zero, trained rows as given. Draws depend on the seed and on each tensor's name only.
    ///
    /// # Errors
    /// [`Error::Target`] if there is no target, [`Error::Adapter`] for rows that the vocabulary has no place for.
    ///
    /// # Panics
    /// If there are not as many initial rows as tokens to train.
    pub fn new(ctx: &mut Context, config: &Config, options: &AdapterOptions, base: &str) -> Result<Adapter> {
        if options.targets.is_empty() {
            return Err(Error::Target { name: String::new(), known: known(config) });
        }
        if let Some(rows) = &options.rows {
            let head = if rows.head.is_some() { &rows.ids[..] } else { &[] };
            rows::check(config, &rows.ids, head)
                .map_err(|reason| Error::Adapter { path: base.into(), reason: format!("a new adapter: {reason}") })?;
        }
        let scale = if options.use_rslora { (options.r as f64).sqrt() } else { options.r as f64 };
        let scale = (options.alpha / scale) as f32;
        let trained = options.rows.as_ref().map(|rows| {
            if rows.head.is_some() {
                let by_module = ["embed_tokens", "lm_head"].map(|name| (name.to_owned(), rows.ids.clone()));
                TrainedTokens::ByModule(by_module.into_iter().collect())
            } else {
                TrainedTokens::Embedding(rows.ids.clone())
            }
        });
        let peft = AdapterConfig {
            base_model_name_or_path: Some(base.to_owned()),
            r: options.r,
            lora_alpha: options.alpha,
            lora_dropout: options.dropout,
            use_rslora: options.use_rslora,
            target_modules: Some(TargetModules::Names(options.targets.iter().map(|m| m.name().to_owned()).collect())),
            trainable_token_indices: trained,
            ..AdapterConfig::default()
        };
        let mut buffer = Buffer::default();
        let mut values: Vec<f32> = Vec::new();
        for layer in 0..config.num_hidden_layers {
            let mut slots = [None; MODULES];
            for &module in &options.targets {
                let (d_in, d_out) = linear_shape(config, module);
                let path = module_path(layer, module);
                let a = buffer.push(peft::lora_a_name(&path), options.r, d_in);
                let b = buffer.push(peft::lora_b_name(&path), d_out, options.r);
                let key = buffer.entries[a].name.bytes().fold(options.seed, |key, byte| rng::mix(key, u64::from(byte)));
                let bound = 1.0 / (d_in as f32).sqrt();
                values.extend((0..(options.r * d_in) as u64).map(|i| match options.init {
                    Init::Kaiming => (2.0 * rng::uniform(key, i) - 1.0) * bound,
                    Init::Gaussian => rng::normal(key, i) / options.r as f32,
                }));
                values.resize(values.len() + d_out * options.r, 0.0);
                slots[module as usize] = Some(Slot { a, b, scale });
            }
            buffer.slots.push(slots);
        }
        if let Some(rows) = &options.rows {
            buffer.push_rows(Rows::Embedding, &rows.ids, config.hidden_size);
            values.extend(&rows.embedding);
            if let Some(head) = &rows.head {
                buffer.push_rows(Rows::Head, &rows.ids, config.hidden_size);
                values.extend(head);
            }
        }
        assert_eq!(values.len(), buffer.len, "initial rows of the wrong size");
        Ok(buffer.into_adapter(ctx, peft, &values))
    }

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
    pub fn lora(&self, layer: usize, module: Module, dropout: Option<Dropout>) -> Option<Lora> {
        let slot = self.slots[layer][module as usize]?;
        Some(Lora {
            a: self.entries[slot.a].view(self.parameters),
            b: self.entries[slot.b].view(self.parameters),
            scale: slot.scale,
            dropout,
        })
    }

    /// The gradients of one linear's adapter in a flat gradient buffer.
    pub fn lora_gradient(&self, layer: usize, module: Module, gradients: Mat) -> Option<LoraGradient> {
        let slot = self.slots[layer][module as usize]?;
        Some(LoraGradient { a: self.entries[slot.a].view(gradients), b: self.entries[slot.b].view(gradients) })
    }

    /// Writes the PEFT folder, in f32.
    ///
    /// # Errors
    /// Format errors of writing; the folder appears only whole if the caller writes it inside `atomic::write_dir`.
    #[expect(clippy::missing_panics_doc, reason = "the specs are made from the entries")]
    pub fn save(&self, ctx: &Context, folder: &Path) -> Result<()> {
        let values = ctx.download(self.parameters);
        let specs: Vec<TensorSpec> =
            self.entries.iter().map(|e| TensorSpec::new(e.name.clone(), Dtype::F32, [e.rows, e.cols])).collect();
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
#[derive(Default)]
struct Buffer {
    entries: Vec<Entry>,
    slots: Vec<[Option<Slot>; MODULES]>,
    rows: [Option<(usize, Vec<u32>)>; 2],
    len: usize,
}

impl Buffer {
    fn push(&mut self, name: String, rows: usize, cols: usize) -> usize {
        self.entries.push(Entry { name, rows, cols, offset: self.len });
        self.len += rows * cols;
        self.entries.len() - 1
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
        Adapter { config, entries: self.entries, slots: self.slots, parameters, embedding_rows, head_rows }
    }
}
