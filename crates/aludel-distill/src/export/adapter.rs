//! An adapter by itself as a GGUF file, which llama.cpp puts onto its base when that is loaded. Of what adapters can hold such files have
//! place for A and B of linear layers.

use std::borrow::Cow;
use std::path::Path;

use aludel_formats::gguf::{File, Writer};
use aludel_formats::{Dtype, TensorSpec};
use aludel_kernels::{Context, quant};
use aludel_model::adapter::Adapter;
use aludel_model::layout::Role;
use aludel_model::student::Student;

use super::general::Lineage;
use crate::error::{Error, Result};

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedAdapter {
    /// Bytes of the file.
    pub bytes: u64,
    /// Linear layers that it adapts.
    pub linears: usize,
    /// Trained weights.
    pub parameters: u64,
}

/// A matrix of the file.
struct Matrix {
    spec: TensorSpec,
    values: Vec<f32>,
}

/// Writes an adapter as a GGUF file in f32.
///
/// # Errors
/// [`Error::Output`] for an adapter with magnitudes, biases or rows of the vocabulary, and what keeps it from being read or written; then
/// nothing is left behind.
pub fn export_adapter(student: &Student, folder: &Path, output: &Path, lineage: &Lineage) -> Result<ExportedAdapter> {
    let mut ctx = Context::cpu(1);
    let adapter = Adapter::load(&mut ctx, &student.config, folder)?;
    let refuse = |what: &str| Error::Output {
        path: folder.to_owned(),
        reason: format!(
            "a GGUF adapter has no place for {what}; export the model with the adapter merged: --format gguf --adapter"
        ),
    };
    if adapter.embedding_rows().is_some() || adapter.head_rows(false).is_some() {
        return Err(refuse("trained rows of the vocabulary"));
    }
    if adapter.bias_parameters() > 0 {
        return Err(refuse("trained biases"));
    }
    let linears: Vec<_> = adapter.linears().map(|(layer, module, _)| (layer, module)).collect();
    let (mut matrices, mut alpha) = (Vec::new(), None);
    for &(layer, module) in &linears {
        let Some((lora, magnitude)) = adapter.factors(layer, module) else { continue };
        if magnitude.is_some() {
            return Err(refuse("the magnitudes of DoRA"));
        }
        let tensor = student.weights.layout().tensor(Role::Weight(layer, module));
        let (rank, columns) = (lora.a.rows(), lora.a.cols());
        // There is one alpha in a file, by which each B is multiplied over its rank. What of a layer's scale that is not goes into its B.
        let of_layer = lora.scale * rank as f32;
        let alpha = *alpha.get_or_insert(of_layer);
        let factor = if of_layer == alpha { 1.0 } else { of_layer / alpha };
        let b = ctx.download(lora.b);
        let rows = b.len() / rank;
        let of_row = |stored: usize| {
            let row = tensor.gguf_rows.row_of(stored);
            b[row * rank..(row + 1) * rank].iter().map(move |b| b * factor)
        };
        let b: Vec<f32> = (0..rows).flat_map(of_row).collect();
        let name = &tensor.gguf_name;
        let matrix = |suffix: &str, shape: [usize; 2], values: Vec<f32>| Matrix {
            spec: TensorSpec::new(format!("{name}.{suffix}"), Dtype::F32, shape),
            values,
        };
        matrices.push(matrix("lora_a", [rank, columns], ctx.download(lora.a)));
        matrices.push(matrix("lora_b", [rows, rank], b));
    }
    let Some(alpha) = alpha else { return Err(refuse("an adapter of no linear layer")) };
    let mut writer = Writer::new()
        .with("general.architecture", student.config.family.gguf)
        .with("general.type", "adapter")
        .with("general.name", lineage.name.as_str())
        .with("adapter.type", "lora")
        .with("adapter.lora.alpha", alpha);
    if let Some(base) = &lineage.base_model {
        writer = writer
            .with("general.base_model.count", 1u32)
            .with("general.base_model.0.name", base.rsplit('/').next().unwrap_or(base));
    }
    for matrix in &matrices {
        writer = writer.with_tensor(matrix.spec.clone());
    }
    writer.write(output, |spec| -> Result<_> {
        let values =
            matrices.iter().find(|matrix| matrix.spec.name == spec.name).map(|matrix| matrix.values.as_slice());
        Ok(Cow::Owned(quant::encode_f32(values.unwrap_or_default())))
    })?;
    let written = File::open(output)?;
    let bytes = written.tensors().map(|tensor| tensor.bytes.len() as u64).sum();
    let parameters = matrices.iter().map(|matrix| matrix.values.len() as u64).sum();
    Ok(ExportedAdapter { bytes, linears: linears.len(), parameters })
}
