//! Merging: adapter and base become a standalone Hugging Face folder, stored in the student's dtype; one tensor at a time, so that memory
//! does not hold the model. What the merged weights are is in `merged_weights`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use aludel_formats::hf::{CONFIG_FILE_NAME, GENERATION_CONFIG_FILE_NAME};
use aludel_formats::{Dtype, TensorSpec, atomic, safetensors};
use aludel_kernels::quant;
use aludel_model::config::Config;
use aludel_model::layout::Role;
use aludel_model::student::{Origin, Student};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::merged_weights::{MergedWeights, Values};
use crate::trained_prompts::TrainedPrompts;
use crate::training_facts::TrainingFacts;

pub use crate::merged_weights::adapter_text;

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
    let weights = MergedWeights::open(student, Some(adapter_folder))?;
    let merge = Merge { student, weights: &weights, dtype };
    let config = merge.config()?;
    let tensors = merge.tensors();
    let specs: Vec<TensorSpec> =
        tensors.iter().map(|(name, (_, shape))| TensorSpec::new(*name, dtype, shape.as_slice())).collect();
    // The model that is merged knows what its adapter's run was trained on, and what an earlier merge was.
    let known = TrainedPrompts::of_both(&student.path, Some(adapter_folder))?;
    let facts = TrainingFacts::of_merged(&student.path, adapter_folder)?;
    let count = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    let (mut done, total) = (0, tensors.values().map(|(_, shape)| count(shape)).sum());
    tell(0, total);
    atomic::write_new_dir(folder, |folder| -> Result<()> {
        let metadata = safetensors::hf_metadata();
        safetensors::save_sharded(folder, &specs, max_shard_bytes, &metadata, |spec| -> Result<_> {
            let (role, shape) = &tensors[spec.name.as_str()];
            let tensor = merge.tensor(*role, shape)?;
            done += count(shape);
            tell(done, total);
            Ok(Cow::Owned(tensor))
        })?;
        atomic::write_json(&folder.join(CONFIG_FILE_NAME), &config)?;
        atomic::write_json(&folder.join(GENERATION_CONFIG_FILE_NAME), &merge.generation_config())?;
        for file in weights.text.to_files()? {
            atomic::write_bytes(&folder.join(file.name), file.contents.as_bytes())?;
        }
        if let Some(known) = &known {
            known.write(folder)?;
        }
        facts.write(folder)?;
        complete(folder).map_err(|reason| Error::Output { path: target.to_owned(), reason })
    })
}

struct Merge<'a> {
    student: &'a Student,
    weights: &'a MergedWeights<'a>,
    dtype: Dtype,
}

impl Merge<'_> {
    /// Every tensor of the merged model by its name: its role and its shape.
    fn tensors(&self) -> BTreeMap<&str, (Role, Vec<usize>)> {
        let all = self.student.weights.layout().tensors();
        all.map(|(role, tensor)| (tensor.name.as_str(), (role, self.weights.shape(role, tensor)))).collect()
    }

    /// The bytes of one tensor.
    fn tensor(&self, role: Role, shape: &[usize]) -> Result<Vec<u8>> {
        let tensor = self.weights.tensor(role)?;
        let mut values = vec![0f32; shape.iter().product()];
        for (row, out) in values.chunks_exact_mut(tensor.columns()).enumerate() {
            tensor.row(row, Values::OfFolder, out)?;
        }
        Ok(match self.dtype {
            Dtype::F32 => quant::encode_f32(&values),
            Dtype::F16 => quant::encode_f16(&values),
            _ => quant::encode_bf16(&values),
        })
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
        config["vocab_size"] = json!(self.weights.vocab_size);
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

    fn generation_config(&self) -> Value {
        let text = &self.weights.text;
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
