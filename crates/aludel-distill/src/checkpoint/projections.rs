//! The projections of a loss on hidden states in a checkpoint: weights and moments in a file of their own, so that the adapter beside it
//! stays one that any tool reads. The final adapter comes without them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use aludel_formats::{Dtype, TensorSpec, safetensors};
use aludel_kernels::{Context, Mat, quant};

use super::read_f32;
use crate::error::{Error, Result};
use crate::objective::Projections;

/// Weights, named by the student's layer, and both moments of all of them.
const FILE_NAME: &str = "projections.safetensors";

/// Each tensor of the file, with its shape and where it lies.
fn tensors(projections: &Projections) -> Vec<(TensorSpec, Mat)> {
    let state = &projections.state;
    let weights = projections.layers.iter().enumerate().map(|(number, layer)| {
        let name = format!("layers.{layer}.weight");
        (TensorSpec::new(name, Dtype::F32, projections.shape), projections.part(state.parameters, number))
    });
    let moments = [("first", state.first), ("second", state.second)];
    weights.chain(moments.map(|(name, mat)| (TensorSpec::new(name, Dtype::F32, [mat.cols()]), mat))).collect()
}

/// Writes them into a checkpoint that is being made.
pub(super) fn save(folder: &Path, ctx: &Context, projections: &Projections) -> Result<()> {
    let tensors = tensors(projections);
    let specs: Vec<TensorSpec> = tensors.iter().map(|(spec, _)| spec.clone()).collect();
    safetensors::save_file(&folder.join(FILE_NAME), &specs, &BTreeMap::new(), |spec| -> Result<_> {
        let values = tensors.iter().find(|(own, _)| own.name == spec.name).map(|(_, mat)| ctx.download(*mat));
        Ok(Cow::Owned(quant::encode_f32(&values.unwrap_or_default())))
    })
}

/// Loads them from a checkpoint of a run with the same recipe.
pub(super) fn restore(checkpoint: &Path, ctx: &mut Context, projections: &Projections) -> Result<()> {
    let path = checkpoint.join(FILE_NAME);
    if !aludel_files::is_there(&path) {
        let reason =
            "it is missing, and the projections of distill.kind = \"hidden\" were in it; delete this checkpoint"
                .to_owned();
        return Err(Error::Damaged { path, reason });
    }
    let weights = safetensors::Weights::open_file(&path)?;
    for (spec, mat) in tensors(projections) {
        let values = read_f32(&path, &weights, &spec)?;
        ctx.write(mat, &values);
    }
    Ok(())
}
