//! The weights of a model with its adapter merged, W + s·B·A, row by row in f32: what merging to a folder and exporting to a GGUF file
//! both store. Base weights are read from their files, so that memory holds no more than the rows at hand.

use std::collections::HashMap;
use std::path::Path;

use aludel_formats::manifest;
use aludel_kernels::Context;
use aludel_kernels::head::TrainedRows;
use aludel_model::adapter::Adapter;
use aludel_model::layout::{Role, TensorLayout};
use aludel_model::module::Module;
use aludel_model::student::Student;
use aludel_model::weights::Tensor;
use aludel_text::TextBundle;

use crate::error::{Error, Result};
use crate::training_facts::refuse_merged;

/// A model, perhaps with an adapter, and the text that goes with it.
pub(crate) struct MergedWeights<'a> {
    student: &'a Student,
    adapter: Option<(Context, Adapter)>,
    /// Tokenizer and template: the adapter's where it has its own.
    pub(crate) text: TextBundle,
    /// Rows of the embedding, those of new tokens included.
    pub(crate) vocab_size: usize,
}

impl<'a> MergedWeights<'a> {
    /// Reads the adapter, and none of the base's weights.
    ///
    /// # Errors
    /// An adapter that does not fit, or is a part of the student already, or whose tokenizer has tokens without a row.
    pub(crate) fn open(student: &'a Student, adapter_folder: Option<&Path>) -> Result<MergedWeights<'a>> {
        let Some(folder) = adapter_folder else {
            let (text, vocab_size) = (student.text.clone(), student.config.vocab_size);
            return Ok(MergedWeights { student, adapter: None, text, vocab_size });
        };
        refuse_merged(&student.path, folder)?;
        let mut ctx = Context::cpu(1);
        let adapter = Adapter::load(&mut ctx, &student.config, folder)?;
        let text = adapter_text(student, folder)?;
        let highest = text
            .tokenizer
            .vocab_size()
            .max(adapter.embedding_ids().iter().map(|&id| id as usize + 1).max().unwrap_or(0));
        let vocab_size = student.config.vocab_size.max(highest);
        let covered = adapter.embedding_ids();
        if let Some(id) = (student.config.vocab_size..vocab_size).find(|&id| !covered.contains(&(id as u32))) {
            return Err(Error::Output {
                path: folder.to_owned(),
                reason: format!(
                    "its tokenizer has a token {id} for which neither the student nor the adapter has a row; use the tokenizer that \
                     the adapter was trained with"
                ),
            });
        }
        Ok(MergedWeights { student, adapter: Some((ctx, adapter)), text, vocab_size })
    }

    /// The shape of a merged tensor, which has rows for new tokens.
    pub(crate) fn shape(&self, role: Role, tensor: &TensorLayout) -> Vec<usize> {
        match role {
            Role::Embedding | Role::Head => vec![self.vocab_size, tensor.shape[1]],
            _ => tensor.shape.clone(),
        }
    }

    /// One tensor, whose rows can be computed on any thread.
    ///
    /// # Errors
    /// A tensor of another shape or of an unknown type.
    pub(crate) fn tensor(&self, role: Role) -> Result<MergedTensor<'_>> {
        let base = self.student.weights.tensor(role)?;
        let columns = base.shape().last().copied().unwrap_or(1);
        let base_rows = base.shape().iter().product::<usize>() / columns.max(1);
        let change = self.adapter.as_ref().and_then(|(ctx, adapter)| Change::of(ctx, adapter, role));
        Ok(MergedTensor { base, columns, base_rows, change })
    }
}

/// Tokenizer and template that go with an adapter: its own, or the student's where it has none.
///
/// # Errors
/// Damaged tokenizer files, and others of the folder's where it says so.
pub fn adapter_text(student: &Student, adapter_folder: &Path) -> Result<TextBundle> {
    manifest::check(adapter_folder)?;
    if aludel_files::is_there(adapter_folder.join("tokenizer.json")) {
        Ok(TextBundle::from_folder(adapter_folder)?)
    } else {
        Ok(student.text.clone())
    }
}

/// A tensor of the merged model.
pub(crate) struct MergedTensor<'a> {
    base: Tensor<'a>,
    columns: usize,
    base_rows: usize,
    change: Option<Change>,
}

/// How a stored value counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// As it is computed with, and as GGUF files hold it.
    Computed,
    /// As a Hugging Face folder holds it.
    OfFolder,
}

impl MergedTensor<'_> {
    /// Whether an adapter changes it.
    pub(crate) fn is_changed(&self) -> bool {
        self.change.is_some()
    }

    /// The length of a row.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// One row, in Hugging Face's order.
    ///
    /// # Errors
    /// Bytes that make up no rows, NaN or infinity.
    pub(crate) fn row(&self, row: usize, values: Values, out: &mut [f32]) -> Result<()> {
        if row >= self.base_rows {
            out.fill(0.0);
        } else if values == Values::OfFolder {
            self.base.folder_row(row, out)?;
        } else {
            self.base.row(row, out)?;
        }
        if let Some(change) = &self.change {
            change.apply(row, out);
        }
        Ok(())
    }
}

/// What an adapter does to a tensor.
enum Change {
    Lora {
        a: Vec<f32>,
        b: Vec<f32>,
        rank: usize,
        scale: f32,
        magnitude: Option<Vec<f32>>,
    },
    /// The bias in place of the base's.
    Bias(Vec<f32>),
    /// Rows in place of the base's, and the place of each row's id among them.
    Rows {
        places: HashMap<usize, usize>,
        rows: Vec<f32>,
    },
}

impl Change {
    fn of(ctx: &Context, adapter: &Adapter, role: Role) -> Option<Change> {
        let rows = |rows: Option<TrainedRows>, ids: &[u32]| {
            rows.map(|rows| Change::Rows {
                places: ids.iter().enumerate().map(|(place, &id)| (id as usize, place)).collect(),
                rows: ctx.download(rows.rows),
            })
        };
        match role {
            Role::Weight(layer, module) => Change::lora(ctx, adapter, layer, module),
            Role::Bias(layer, module) => adapter.bias(layer, module).map(|bias| Change::Bias(ctx.download(bias))),
            Role::Embedding => rows(adapter.embedding_rows(), adapter.embedding_ids()),
            Role::Head => rows(adapter.head_rows(false), adapter.head_ids(false)),
            Role::InputNorm(_)
            | Role::FeedForwardNorm(_)
            | Role::AttentionOutputNorm(_)
            | Role::FeedForwardOutputNorm(_)
            | Role::QueryNorm(_)
            | Role::KeyNorm(_)
            | Role::OutputNorm => None,
        }
    }

    fn lora(ctx: &Context, adapter: &Adapter, layer: usize, module: Module) -> Option<Change> {
        let (lora, magnitude) = adapter.factors(layer, module)?;
        Some(Change::Lora {
            a: ctx.download(lora.a),
            b: ctx.download(lora.b),
            rank: lora.a.rows(),
            scale: lora.scale,
            magnitude: magnitude.map(|magnitude| ctx.download(magnitude)),
        })
    }

    fn apply(&self, row: usize, out: &mut [f32]) {
        match self {
            // `W += s·B·A`; of DoRA, each row of that is then given its magnitude. A row of zeros has no direction, and stays.
            Change::Lora { a, b, rank, scale, magnitude } => {
                let mut delta = vec![0f32; out.len()];
                for (a, b) in a.chunks_exact(out.len()).zip(&b[row * rank..(row + 1) * rank]) {
                    delta.iter_mut().zip(a).for_each(|(d, a)| *d += b * a);
                }
                out.iter_mut().zip(&delta).for_each(|(w, d)| *w += scale * d);
                let Some(magnitude) = magnitude else { return };
                let norm = out.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
                if norm > 0.0 {
                    let factor = (f64::from(magnitude[row]) / norm) as f32;
                    out.iter_mut().for_each(|w| *w *= factor);
                }
            }
            Change::Bias(bias) => out.copy_from_slice(bias),
            Change::Rows { places, rows } => {
                if let Some(place) = places.get(&row) {
                    out.copy_from_slice(&rows[place * out.len()..(place + 1) * out.len()]);
                }
            }
        }
    }
}
