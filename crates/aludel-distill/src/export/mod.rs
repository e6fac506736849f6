//! Export: a model, or a base with its adapter merged on the way, as files that llama.cpp and Ollama load. This file writes the GGUF file,
//! tensor by tensor and rows on all threads; `file_type` says which tensor gets which type, `metadata` and `general` what the keys are,
//! and `gate` holds the written file against its source before it is put into place.

pub mod adapter;
mod chat_formats;
pub mod file_type;
mod gate;
pub mod general;
mod metadata;
pub mod ollama;
mod options;

use std::path::Path;
use std::thread;

use aludel_formats::gguf::Writer;
use aludel_formats::{Dtype, TensorSpec, atomic, gguf};
use aludel_kernels::quant::{self, BlockType};
use aludel_model::config::Config;
use aludel_model::layout::{Role, RowOrder, TensorLayout};
use aludel_model::student::Student;
use aludel_model::weights::Files;

use crate::error::{Error, Result};
use crate::merged_weights::{MergedTensor, MergedWeights, Values};
pub use gate::Parity;
use metadata::{Described, EndTokens};
pub use options::{ExportOptions, Progress};

/// What was exported.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    /// Bytes of the file.
    pub bytes: u64,
    /// Weights of the model.
    pub parameters: u64,
    /// What the gate measured.
    pub parity: Option<Parity>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// The weights of a student, those that an adapter's tokens add included.
///
/// # Errors
/// An adapter that does not fit.
pub fn parameters(student: &Student, adapter: Option<&Path>) -> Result<u64> {
    let weights = MergedWeights::open(student, adapter)?;
    let all = student.weights.layout().tensors();
    Ok(all.map(|(role, tensor)| count(&weights.shape(role, tensor))).sum())
}

fn count(shape: &[usize]) -> u64 {
    shape.iter().product::<usize>() as u64
}

/// Writes a GGUF file, which appears at `output` when it is complete and, unless there is no gate, found equal to its source.
///
/// # Errors
/// What the file cannot hold, by name; [`Error::Parity`] from the gate; a full disk. Then nothing is left behind, and an older file is
/// untouched.
pub fn export_gguf(
    student: &Student,
    adapter: Option<&Path>,
    output: &Path,
    options: &ExportOptions,
    tell: &mut dyn FnMut(Progress),
) -> Result<Exported> {
    let weights = MergedWeights::open(student, adapter)?;
    let config = Config { vocab_size: weights.vocab_size, ..student.config.clone() };
    let of_config = config.to_gguf(&student.path)?;
    let mut export = Export { student, weights: &weights, options, tensors: Vec::new(), notes: Vec::new() };
    if let Some(window) = of_config.shortened_to {
        export.notes.push(format!(
            "GGUF files of this architecture cannot hold the model's window of {window} tokens; the file names {window} as its context, \
             within which the window changes nothing"
        ));
    }
    export.list_tensors(&config);
    let parameters = export.tensors.iter().map(|tensor| count(&tensor.spec.shape)).sum();
    let ends = EndTokens::new(student, &weights.text);
    if !ends.left_over.is_empty() {
        let names = ends
            .left_over
            .iter()
            .map(|&id| format!("{:?}", weights.text.tokenizer.id_to_token(id).unwrap_or_default()));
        export.notes.push(format!(
            "a GGUF file has places for three tokens that end an answer; {} end one too, so give them as stop texts",
            names.collect::<Vec<_>>().join(", ")
        ));
    }
    let settings = of_config.tensors.clone();
    let described = Described {
        student,
        text: &weights.text,
        config: &config,
        file_type: options.file_type,
        parameters,
        lineage: &options.lineage,
    };
    let keys = metadata::keys(&described, of_config, &ends)?;
    let scratch = atomic::Scratch::beside(output)?;
    let written = scratch.path().join(output.file_name().unwrap_or_default());
    export.write(&written, keys, &settings, parameters, tell)?;
    let parity = match options.has_gate {
        false => None,
        true => Some(gate::check(
            &gate::Compared { student, adapter, text: &weights.text, ends: &ends },
            &written,
            options,
            tell,
        )?),
    };
    let bytes = aludel_files::metadata(&written).map_or(0, |about| about.len());
    let notes = std::mem::take(&mut export.notes);
    scratch.keep(&written, output)?;
    Ok(Exported { bytes, parameters, parity, notes })
}

/// A tensor of the file: what it is, and what is stored.
struct Planned<'a> {
    role: Role,
    layout: &'a TensorLayout,
    spec: TensorSpec,
}

struct Export<'a> {
    student: &'a Student,
    weights: &'a MergedWeights<'a>,
    options: &'a ExportOptions,
    tensors: Vec<Planned<'a>>,
    notes: Vec<String>,
}

/// Weights of a part of a tensor, for all threads together: enough to keep them busy, and little beside a model.
const WEIGHTS_AT_ONCE: usize = 4 << 20;

impl<'a> Export<'a> {
    fn list_tensors(&mut self, config: &Config) {
        let (mut fallen, mut example) = (0, None);
        for (role, layout) in self.student.weights.layout().tensors() {
            let extents = self.weights.shape(role, layout);
            let shape = file_type::Shape {
                extents: &extents,
                layers: config.num_hidden_layers,
                is_tied: config.tie_word_embeddings,
            };
            let (dtype, wanted) = file_type::tensor_type(self.options.file_type, role, shape);
            if let Some(wanted) = wanted {
                fallen += 1;
                example.get_or_insert_with(|| {
                    let columns = extents.last().copied().unwrap_or(1);
                    let name = &layout.gguf_name;
                    format!("{name} is {dtype}, since its rows of {columns} do not fill blocks of {wanted}")
                });
            }
            let spec = TensorSpec::new(layout.gguf_name.as_str(), dtype, extents);
            self.tensors.push(Planned { role, layout, spec });
        }
        if let Some(example) = example {
            let all = self.tensors.len();
            self.notes.push(format!("{fallen} of {all} tensors fell back to another type: {example}"));
        }
        let source = self.student.weights.dtype().ok();
        if let Some(source) = source.filter(|source| source.is_quantised() && self.options.file_type.is_quantised()) {
            let mut quantised = self.tensors.iter().filter(|tensor| tensor.spec.dtype.is_quantised());
            if quantised.any(|tensor| self.stored(tensor).is_none()) {
                self.notes.push(format!(
                    "the weights are read from {source} and quantised a second time, which costs more than once; export from the model's \
                     unquantised folder if there is one"
                ));
            }
        }
    }

    /// The bytes of a tensor that the source holds just so.
    fn stored(&self, tensor: &Planned<'_>) -> Option<&[u8]> {
        let Files::Gguf(file) = self.student.weights.files() else { return None };
        let view = file.find_tensor(&tensor.layout.gguf_name)?;
        let is_changed = self.weights.tensor(tensor.role).ok()?.is_changed();
        (view.dtype == tensor.spec.dtype && view.shape == tensor.spec.shape && !is_changed).then_some(view.bytes)
    }

    fn write(
        &self,
        path: &Path,
        keys: Vec<(String, gguf::Value)>,
        settings: &[(&'static str, Vec<f32>)],
        total: u64,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let mut writer = keys.into_iter().fold(Writer::new(), |writer, (key, value)| writer.with(&key, value));
        for (name, values) in settings {
            writer = writer.with_tensor(TensorSpec::new(*name, Dtype::F32, [values.len()]));
        }
        for tensor in &self.tensors {
            writer = writer.with_tensor(tensor.spec.clone());
        }
        let mut done = 0;
        tell(Progress::Writing(done, total));
        writer.write_in_parts(path, |spec, put| {
            if let Some((_, values)) = settings.iter().find(|(name, _)| *name == spec.name) {
                return Ok(put(&quant::encode_f32(values))?);
            }
            let is_it = |tensor: &&Planned<'_>| tensor.spec.name == spec.name;
            let tensor = self.tensors.iter().find(is_it).ok_or_else(|| unplanned(path, &spec.name))?;
            self.put_tensor(tensor, &mut |bytes, weights| {
                put(bytes)?;
                done += weights;
                tell(Progress::Writing(done, total));
                Ok(())
            })
        })
    }

    /// Gives the bytes of a tensor to `put`, part by part, each with the number of its weights.
    fn put_tensor(&self, planned: &Planned<'_>, put: &mut dyn FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        if let Some(bytes) = self.stored(planned) {
            return put(bytes, count(&planned.spec.shape));
        }
        let merged = self.weights.tensor(planned.role)?;
        let columns = merged.columns().max(1);
        let rows = planned.spec.shape.iter().product::<usize>() / columns;
        let at_once = (WEIGHTS_AT_ONCE / columns).max(1);
        for start in (0..rows).step_by(at_once) {
            let end = rows.min(start + at_once);
            let each = (end - start).div_ceil(self.options.threads.max(1)).max(1);
            let encode = |start: usize| self.encoded(&merged, planned, start..end.min(start + each));
            let parts: Vec<Result<Vec<u8>>> = thread::scope(|scope| {
                let spawned: Vec<_> =
                    (start..end).step_by(each).map(|start| scope.spawn(move || encode(start))).collect();
                spawned
                    .into_iter()
                    .map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            });
            for (n, part) in parts.into_iter().enumerate() {
                let of_part = (end - start - n * each).min(each);
                put(&part?, (of_part * columns) as u64)?;
            }
        }
        Ok(())
    }

    /// Some rows as they are stored, in the file's order.
    fn encoded(
        &self,
        merged: &MergedTensor<'_>,
        planned: &Planned<'_>,
        rows: std::ops::Range<usize>,
    ) -> Result<Vec<u8>> {
        let columns = merged.columns().max(1);
        // A vector is one row.
        let order = if planned.spec.shape.len() < 2 { RowOrder::Same } else { planned.layout.gguf_rows };
        let mut values = vec![0f32; rows.len() * columns];
        for (stored, out) in rows.zip(values.chunks_exact_mut(columns)) {
            merged.row(order.row_of(stored), Values::Computed, out)?;
        }
        let refuse = |reason: String| Error::Output {
            path: self.student.path.clone(),
            reason: format!("tensor {}: {reason}", planned.spec.name),
        };
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(refuse(format!(
                "a merged weight is {value}; the adapter is damaged or does not belong to this model"
            )));
        }
        if planned.spec.dtype != Dtype::F32 && planned.spec.dtype != Dtype::BF16 {
            const LARGEST_F16: f32 = 65_504.0;
            if let Some(value) = values.iter().find(|value| value.abs() > LARGEST_F16) {
                let dtype = planned.spec.dtype;
                return Err(refuse(format!("{value} is beyond what {dtype} holds; export with --type bf16 or f32")));
            }
        }
        let block_type = planned.spec.dtype.ggml_type_id().and_then(BlockType::from_ggml_id);
        let block_type = block_type.ok_or_else(|| refuse(format!("{} is not encoded here", planned.spec.dtype)))?;
        Ok(quant::encode(block_type, &values, None))
    }
}

/// The writer asks for what it was told of, and nothing else.
fn unplanned(path: &Path, name: &str) -> Error {
    Error::Output { path: path.to_owned(), reason: format!("tensor {name} was not planned") }
}
