//! Adapters on parts of a fused linear, kept as one adapter of it: the rows of A belong to one part after the other, and B is zero where
//! the outputs of a part meet the rows of another. It is exact, and PEFT loads it. B starts at zero there and its gradient is kept at zero,
//! so that no optimiser moves it.

use std::path::Path;

use aludel_kernels::{Context, Mat};

use super::{Adapter, Target};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::layout::{linear_shape, module_path};
use crate::module::{MOST_PARTS, Module};

/// The outputs of each part of a fused linear, and the rows of A that belong to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    outputs: [usize; MOST_PARTS],
    ranks: [usize; MOST_PARTS],
}

impl Blocks {
    pub(super) fn new(config: &Config, module: Module, ranks: [usize; MOST_PARTS]) -> Blocks {
        let mut outputs = [0; MOST_PARTS];
        for (outputs, &part) in outputs.iter_mut().zip(module.parts()) {
            *outputs = linear_shape(config, part).1;
        }
        Blocks { outputs, ranks }
    }

    /// What lies outside of the blocks, of a matrix of the shape of B.
    fn outside(self, b: Mat) -> impl Iterator<Item = Mat> {
        let (mut row, mut col) = (0, 0);
        self.outputs.into_iter().zip(self.ranks).flat_map(move |(outputs, rank)| {
            let rows = b.row_range(row, outputs);
            let around = [rows.col_range(0, col), rows.col_range(col + rank, b.cols() - col - rank)];
            (row, col) = (row + outputs, col + rank);
            around.into_iter().filter(|mat| mat.rows() * mat.cols() > 0)
        })
    }
}

impl Adapter {
    /// Trains the parts that `targets` name, and nothing else, of an adapter that was loaded: an adapter does not record which parts it is
    /// for.
    ///
    /// # Errors
    /// [`Error::Adapter`] if more than these parts was trained before. Adapters of another rank than a target's are left alone.
    pub fn set_parts(&mut self, ctx: &Context, config: &Config, targets: &[Target], folder: &Path) -> Result<()> {
        for &Target { layer, module, r, part_ranks, .. } in targets {
            let (Some(ranks), Some(slot)) = (part_ranks, &mut self.slots[layer][module as usize]) else { continue };
            let (a, b) = (&self.entries[slot.a], &self.entries[slot.b]);
            if a.rows != r {
                continue;
            }
            let blocks = Blocks::new(config, module, ranks);
            let b = b.view(self.parameters);
            if blocks.outside(b).any(|mat| ctx.download(mat).iter().any(|&value| value != 0.0)) {
                return Err(Error::Adapter {
                    path: folder.to_owned(),
                    reason: format!(
                        "its B of {} is for more outputs than those of the parts that lora.target_modules names; name {} there, with rank {r}, \
                         to continue it as it is",
                        module_path(layer, module),
                        module.name()
                    ),
                });
            }
            slot.blocks = Some(blocks);
        }
        Ok(())
    }

    /// Takes out of a flat gradient buffer what is not trained of one linear's adapter.
    pub(crate) fn mask_gradient(&self, ctx: &mut Context, layer: usize, module: Module, gradients: Mat) {
        if let Some(slot) = self.slots[layer][module as usize]
            && let Some(blocks) = slot.blocks
        {
            blocks.outside(self.entries[slot.b].view(gradients)).for_each(|mat| ctx.zero(mat));
        }
    }
}
