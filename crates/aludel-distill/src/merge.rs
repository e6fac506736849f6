//! Merging: adapter and base become a standalone Hugging Face folder. Computed in f32 (W + s·B·A, row by row), stored in the
//! student's dtype; one tensor at a time, so that memory does not hold the model. Base weights are read from their files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use aludel_formats::hf::{CONFIG_FILE_NAME, GENERATION_CONFIG_FILE_NAME};
use aludel_formats::{Dtype, TensorSpec, atomic, manifest, safetensors};
use aludel_kernels::head::TrainedRows;
use aludel_kernels::{Context, quant};
use aludel_model::adapter::Adapter;
use aludel_model::config::Config;
use aludel_model::layout::{Role, TensorLayout};
use aludel_model::module::Module;
use aludel_model::student::{Origin, Student};
use aludel_text::TextBundle;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::trained_prompts::TrainedPrompts;
use crate::training_facts::{TrainingFacts, refuse_merged};

/// How a merged model is stored.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// The type of all weights.
    pub dtype: Dtype,
    /// Bytes of weights up to which a file is filled; a larger model has several, and an index.
    pub max_shard_bytes: u64,
}

impl Stored {
    /// In files of the usual size.
    pub fn new(dtype: Dtype) -> Stored {
        Stored { dtype, max_shard_bytes: safetensors::DEFAULT_MAX_SHARD_BYTES }
    }
}

/// The type that a merged model is stored in unless another is asked for: the student's own dtype, or bf16 where the student is quantised.
///
/// # Errors
/// The student has no weights.
pub fn default_dtype(student: &Student) -> Result<Dtype> {
    Ok(match student.weights.dtype()? {
        dtype @ (Dtype::F32 | Dtype::F16 | Dtype::BF16) => dtype,
        _ => Dtype::BF16,
    })
}

/// Writes the merged model to `folder`, which must not hold anything yet. `tell` hears how many weights of how many are merged; `complete`
/// adds what else the folder is to hold, before it appears in its place.
///
/// # Errors
/// The folder is not empty, the adapter is merged already, a tensor is missing, or the disk is full; then nothing is left behind.
pub fn merge(
    student: &Student,
    adapter_folder: &Path,
    folder: &Path,
    Stored { dtype, max_shard_bytes }: Stored,
    tell: &mut dyn FnMut(u64, u64),
    complete: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<()> {
    let target = folder;
    refuse_merged(&student.path, adapter_folder)?;
    let mut ctx = Context::cpu(1);
    let adapter = Adapter::load(&mut ctx, &student.config, adapter_folder)?;
    let text = adapter_text(student, adapter_folder)?;
    let highest =
        text.tokenizer.vocab_size().max(adapter.embedding_ids().iter().map(|&id| id as usize + 1).max().unwrap_or(0));
    let vocab_size = student.config.vocab_size.max(highest);
    let covered = adapter.embedding_ids();
    if let Some(id) = (student.config.vocab_size..vocab_size).find(|&id| !covered.contains(&(id as u32))) {
        return Err(Error::Output {
            path: adapter_folder.to_owned(),
            reason: format!(
                "its tokenizer has a token {id} for which neither the student nor the adapter has a row; use the tokenizer that \
                 the adapter was trained with"
            ),
        });
    }
    let merge = Merge { ctx: &ctx, student, adapter: &adapter, vocab_size, dtype };
    let config = merge.config()?;
    let tensors = merge.tensors();
    let specs: Vec<TensorSpec> =
        tensors.iter().map(|(name, (_, shape))| TensorSpec::new(*name, dtype, shape.as_slice())).collect();
    // The model that is merged knows what its adapter's run was trained on, and what an earlier merge was.
    let known = TrainedPrompts::of_both(&student.path, Some(adapter_folder))?;
    let facts = TrainingFacts::of_merged(&student.path, adapter_folder)?;
    let weights = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    let (mut done, total) = (0, tensors.values().map(|(_, shape)| weights(shape)).sum());
    tell(0, total);
    atomic::write_new_dir(folder, |folder| -> Result<()> {
        let metadata = safetensors::hf_metadata();
        safetensors::save_sharded(folder, &specs, max_shard_bytes, &metadata, |spec| -> Result<_> {
            let (role, shape) = &tensors[spec.name.as_str()];
            let tensor = merge.tensor(*role, shape)?;
            done += weights(shape);
            tell(done, total);
            Ok(Cow::Owned(tensor))
        })?;
        atomic::write_json(&folder.join(CONFIG_FILE_NAME), &config)?;
        atomic::write_json(&folder.join(GENERATION_CONFIG_FILE_NAME), &merge.generation_config(&text))?;
        for file in text.to_files()? {
            atomic::write_bytes(&folder.join(file.name), file.contents.as_bytes())?;
        }
        if let Some(known) = &known {
            known.write(folder)?;
        }
        facts.write(folder)?;
        complete(folder).map_err(|reason| Error::Output { path: target.to_owned(), reason })
    })
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

struct Merge<'a> {
    ctx: &'a Context,
    student: &'a Student,
    adapter: &'a Adapter,
    vocab_size: usize,
    dtype: Dtype,
}

impl Merge<'_> {
    /// Every tensor of the merged model by its name: its role and its shape, which has rows for new tokens.
    fn tensors(&self) -> BTreeMap<&str, (Role, Vec<usize>)> {
        let shape = |role: Role, tensor: &TensorLayout| match role {
            Role::Embedding | Role::Head => vec![self.vocab_size, tensor.shape[1]],
            _ => tensor.shape.clone(),
        };
        let all = self.student.weights.layout().tensors();
        all.map(|(role, tensor)| (tensor.name.as_str(), (role, shape(role, tensor)))).collect()
    }

    /// The bytes of one tensor.
    fn tensor(&self, role: Role, shape: &[usize]) -> Result<Vec<u8>> {
        let columns = shape.last().copied().unwrap_or(1);
        let mut values = vec![0f32; shape.iter().product()];
        let base = self.student.weights.tensor(role)?;
        let rows = base.shape().iter().product::<usize>() / columns;
        for (row, out) in values.chunks_exact_mut(columns).enumerate().take(rows) {
            base.folder_row(row, out)?;
        }
        match role {
            Role::Weight(layer, module) => self.add_lora(layer, module, &mut values, columns),
            Role::Bias(layer, module) => {
                if let Some(bias) = self.adapter.bias(layer, module) {
                    values.copy_from_slice(&self.ctx.download(bias));
                }
            }
            Role::Embedding => {
                self.put_rows(self.adapter.embedding_rows(), self.adapter.embedding_ids(), &mut values, columns)
            }
            Role::Head => {
                self.put_rows(self.adapter.head_rows(false), self.adapter.head_ids(false), &mut values, columns)
            }
            Role::InputNorm(_)
            | Role::FeedForwardNorm(_)
            | Role::AttentionOutputNorm(_)
            | Role::FeedForwardOutputNorm(_)
            | Role::QueryNorm(_)
            | Role::KeyNorm(_)
            | Role::OutputNorm => {}
        }
        Ok(match self.dtype {
            Dtype::F32 => quant::encode_f32(&values),
            Dtype::F16 => quant::encode_f16(&values),
            _ => quant::encode_bf16(&values),
        })
    }

    /// Rows that were trained take the place of the base's.
    fn put_rows(&self, rows: Option<TrainedRows>, ids: &[u32], values: &mut [f32], columns: usize) {
        let Some(rows) = rows else { return };
        let trained = self.ctx.download(rows.rows);
        for (&id, row) in ids.iter().zip(trained.chunks_exact(columns)) {
            values[id as usize * columns..(id as usize + 1) * columns].copy_from_slice(row);
        }
    }

    /// `W += s·B·A`; of DoRA, each row of that is then given its magnitude. A row of zeros has no direction, and stays.
    fn add_lora(&self, n: usize, module: Module, values: &mut [f32], d_in: usize) {
        let Some((lora, magnitude)) = self.adapter.factors(n, module) else { return };
        let (a, b, r) = (self.ctx.download(lora.a), self.ctx.download(lora.b), lora.a.rows());
        let mut delta = vec![0f32; d_in];
        for (out, b) in values.chunks_exact_mut(d_in).zip(b.chunks_exact(r)) {
            delta.fill(0.0);
            for (a, b) in a.chunks_exact(d_in).zip(b) {
                delta.iter_mut().zip(a).for_each(|(d, a)| *d += b * a);
            }
            out.iter_mut().zip(&delta).for_each(|(w, d)| *w += lora.scale * d);
        }
        let Some(magnitude) = magnitude else { return };
        for (row, magnitude) in values.chunks_exact_mut(d_in).zip(self.ctx.download(magnitude)) {
            let norm = row.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
            if norm > 0.0 {
                let factor = (f64::from(magnitude) / norm) as f32;
                row.iter_mut().for_each(|w| *w *= factor);
            }
        }
    }

    /// The student's own config where it has one, else one made from the GGUF.
    fn config(&self) -> Result<Value> {
        let dtype = match self.dtype {
            Dtype::F32 => "float32",
            Dtype::F16 => "float16",
            _ => "bfloat16",
        };
        let mut config = match &self.student.origin {
            Origin::Folder(folder) => folder.config().clone(),
            Origin::Gguf => {
                Config { eos_token_ids: self.eos(), ..self.student.config.clone() }.to_hf(dtype, &self.student.path)?
            }
        };
        // The folder has none of the code that this would name, and transformers has the classes by itself.
        if let Some(keys) = config.as_object_mut() {
            keys.shift_remove("auto_map");
        }
        config["vocab_size"] = json!(self.vocab_size);
        for key in ["dtype", "torch_dtype"] {
            if config.get(key).is_some() {
                config[key] = json!(dtype);
            }
        }
        Ok(config)
    }

    fn eos(&self) -> Vec<u32> {
        self.student.eos_token_ids.clone()
    }

    fn generation_config(&self, text: &TextBundle) -> Value {
        if let Origin::Folder(folder) = &self.student.origin
            && let Some(config) = folder.generation_config()
        {
            return config.clone();
        }
        let eos = match self.eos().as_slice() {
            [one] => json!(one),
            many => json!(many),
        };
        let id = |token: &Option<String>| token.as_deref().and_then(|token| text.tokenizer.token_to_id(token));
        json!({ "bos_token_id": id(&text.special.bos), "eos_token_id": eos, "pad_token_id": id(&text.special.pad) })
    }
}
