//! The tensors of a student by their roles, whatever file they come from: `layout` says what each is called there and in which order
//! its rows are stored; rows are decoded to f32 one at a time. Which tensors a file may hold is in `inventory`.

use std::path::{Path, PathBuf};

use aludel_formats::{Dtype, TensorView};
use aludel_kernels::Context;
use aludel_kernels::linear::{FrozenWeight, Precision};
use aludel_kernels::quant::{self, BlockType};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::inventory;
use crate::layout::{Layout, Role, RowOrder};

pub use crate::files::{Files, ROPE_DIVISORS};

/// The tensors of a model.
#[derive(Debug)]
pub struct Weights {
    files: Files,
    layout: Layout,
}

impl Weights {
    /// The tensors that a model of this config has in these files.
    ///
    /// # Errors
    /// If one is missing, or if there is one that is neither used nor harmless.
    pub fn new(files: Files, config: &Config) -> Result<Weights> {
        let weights = Weights { files, layout: Layout::new(config) };
        inventory::check(&weights.files, &weights.layout, config)?;
        Ok(weights)
    }

    /// Which tensors there are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The files themselves.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The file or folder.
    pub fn path(&self) -> PathBuf {
        self.files.path()
    }

    /// The tensor in a role, which must be one of the layout. When it is dropped, the memory of its bytes is given back.
    ///
    /// # Errors
    /// If it has another shape than the config asks for, or a type that is not decoded here.
    pub fn tensor(&self, role: Role) -> Result<Tensor<'_>> {
        let wanted = self.layout.tensor(role);
        let name = self.files.stored_name(wanted);
        let (order, offset, folder_offset) = match &self.files {
            Files::Folder(_) => (RowOrder::Same, wanted.folder_offset, 0.0),
            Files::Gguf(_) => (wanted.gguf_rows, 0.0, -wanted.folder_offset),
        };
        let tensor = Tensor::new(self.files.path_of(name), self.files.view(name)?, &wanted.shape, order)?;
        Ok(Tensor { offset, folder_offset, _pages: Some(Pages { files: &self.files, name }), ..tensor })
    }

    /// Gives the memory of the files back once a model was read: each tensor gives its own, but not what was read of its neighbours.
    pub(crate) fn release_all(&self) {
        self.files.release_all();
    }

    /// How most of the weights are stored: the type of the first linear of the first layer.
    ///
    /// # Errors
    /// If there is no such tensor.
    #[expect(clippy::missing_panics_doc, reason = "every model has linears in its first layer")]
    pub fn dtype(&self) -> Result<Dtype> {
        let first = self.layout.tensors().find(|(role, _)| matches!(role, Role::Weight(0, _)));
        let (_, tensor) = first.expect("a layer has linears");
        Ok(self.files.view(self.files.stored_name(tensor))?.dtype)
    }
}

fn shift(values: &mut [f32], offset: f32) {
    if offset != 0.0 {
        values.iter_mut().for_each(|value| *value += offset);
    }
}

fn is_decoded(dtype: Dtype) -> bool {
    dtype.ggml_type_id().and_then(BlockType::from_ggml_id).is_some()
}

/// A tensor of the file, read row by row.
#[derive(Debug)]
pub struct Tensor<'a> {
    path: &'a Path,
    view: TensorView<'a>,
    block_type: BlockType,
    order: RowOrder,
    /// What is added to stored values before they are computed with.
    offset: f32,
    /// What is added to stored values where a Hugging Face folder holds them.
    folder_offset: f32,
    _pages: Option<Pages<'a>>,
}

/// Gives a tensor's memory back when whoever read it is done: a model is read once, and its mapped file would count as memory of the
/// process, beside what was made of it.
#[derive(Debug)]
struct Pages<'a> {
    files: &'a Files,
    name: &'a str,
}

impl Drop for Pages<'_> {
    fn drop(&mut self) {
        self.files.release(self.name);
    }
}

impl<'a> Tensor<'a> {
    /// A tensor of the file at `path`, of this shape, whose rows are stored in this order.
    pub(crate) fn new(path: &'a Path, view: TensorView<'a>, shape: &[usize], order: RowOrder) -> Result<Tensor<'a>> {
        let wrong = |reason: String| Error::Tensor { path: path.to_owned(), name: view.name.to_owned(), reason };
        if view.shape != shape {
            return Err(wrong(format!(
                "has shape {:?}, but the config asks for {shape:?}; config and weights are of different models, so get both from one place",
                view.shape
            )));
        }
        let block_type = view.dtype.ggml_type_id().and_then(BlockType::from_ggml_id).ok_or_else(|| {
            let known: Vec<&str> = Dtype::all().filter(|d| is_decoded(*d)).map(Dtype::name).collect();
            wrong(format!(
                "is stored as {}, which is not decoded here; store it as one of {}",
                view.dtype,
                known.join(", ")
            ))
        })?;
        Ok(Tensor { path, view, block_type, order, offset: 0.0, folder_offset: 0.0, _pages: None })
    }

    /// The shape, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.view.shape
    }

    /// Decodes one row (of the last dimension) to f32, as it is computed with.
    ///
    /// # Errors
    /// If the bytes do not make up whole rows, or hold NaN or infinity.
    pub fn row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        self.stored_row(row, out)?;
        shift(out, self.offset);
        Ok(())
    }

    /// Decodes one row as a Hugging Face folder holds it.
    ///
    /// # Errors
    /// As [`Tensor::row`].
    pub fn folder_row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        self.stored_row(row, out)?;
        shift(out, self.folder_offset);
        Ok(())
    }

    fn stored_row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        quant::decode_row(self.block_type, self.view.bytes, self.order.stored_row(row), out)
            .map_err(|e| self.error(&e))?;
        // all of them, without a way out, so that it is one pass of vector instructions
        if out.iter().fold(true, |finite, x| finite & x.is_finite()) {
            return Ok(());
        }
        Err(self.error(&"holds NaN or infinity; the file is damaged or was badly converted, so load another copy"))
    }

    /// Decodes each row once, for what reads the stored bytes.
    fn check_finite(&self) -> Result<()> {
        let mut row = vec![0f32; self.view.shape.last().copied().unwrap_or(1)];
        let rows = self.view.elements() / row.len().max(1);
        (0..rows).try_for_each(|n| self.row(n, &mut row))
    }

    /// Decodes everything to f32.
    ///
    /// # Errors
    /// As [`Tensor::row`].
    pub fn values(&self) -> Result<Vec<f32>> {
        let columns = self.view.shape.last().copied().unwrap_or(1);
        let mut values = vec![0f32; self.view.elements()];
        for (row, out) in values.chunks_exact_mut(columns.max(1)).enumerate() {
            self.row(row, out)?;
        }
        Ok(values)
    }

    /// The stored bytes and how to decode them; only for tensors whose rows are in order. Those of an outline are not looked at: pages that
    /// were read would count as memory of the process.
    ///
    /// # Errors
    /// If they hold NaN or infinity.
    pub(crate) fn stored(&self, is_outline: bool) -> Result<(BlockType, &[u8])> {
        assert!(
            self.order == RowOrder::Same && self.offset == 0.0,
            "{} is not computed with as it is stored",
            self.view.name
        );
        if !is_outline {
            self.check_finite()?;
        }
        Ok((self.block_type, self.view.bytes))
    }

    /// The weight in the file's own quantisation, where products can read it.
    ///
    /// # Errors
    /// If it holds NaN or infinity.
    pub(crate) fn keep(&self, ctx: &mut Context) -> Result<Option<FrozenWeight>> {
        let kept = self.kept(ctx);
        if kept.is_some() {
            self.check_finite()?;
        }
        Ok(kept)
    }

    /// The weight in the file's own quantisation, decoded in products, where that can be; of an outline, its size alone.
    ///
    /// # Errors
    /// If it holds NaN or infinity.
    pub(crate) fn keep_decoded(
        &self,
        ctx: &mut Context,
        precision: Precision,
        is_outline: bool,
    ) -> Result<Option<FrozenWeight>> {
        if self.offset != 0.0 {
            return Ok(None); // it is not computed with as it is stored
        }
        let Some((shape, row_bytes)) = self.rows_in_blocks() else { return Ok(None) };
        if is_outline {
            return Ok(FrozenWeight::outline_kept(ctx, self.block_type, precision, shape));
        }
        let kept =
            FrozenWeight::keep_decoded(ctx, self.block_type, precision, shape, |row| self.bytes_of(row, row_bytes));
        if kept.is_some() {
            self.check_finite()?;
        }
        Ok(kept)
    }

    /// Outputs and inputs of a matrix, and the bytes of a row, where they are those of the file.
    fn rows_in_blocks(&self) -> Option<((usize, usize), usize)> {
        let &[d_out, d_in] = &self.view.shape[..] else { return None };
        let row_bytes = self.block_type.bytes_for(d_in)?;
        (self.view.bytes.len() == row_bytes.checked_mul(d_out)?).then_some(((d_out, d_in), row_bytes))
    }

    fn bytes_of(&self, row: usize, row_bytes: usize) -> &'a [u8] {
        let row = self.order.stored_row(row);
        &self.view.bytes[row * row_bytes..(row + 1) * row_bytes]
    }

    fn kept(&self, ctx: &mut Context) -> Option<FrozenWeight> {
        assert!(self.offset == 0.0, "{} is not computed with as it is stored", self.view.name);
        let ((d_out, d_in), row_bytes) = self.rows_in_blocks()?;
        FrozenWeight::keep(ctx, self.block_type, d_out, d_in, |row| self.bytes_of(row, row_bytes))
    }

    pub(crate) fn error(&self, reason: &dyn std::fmt::Display) -> Error {
        Error::Tensor { path: self.path.to_owned(), name: self.view.name.to_owned(), reason: reason.to_string() }
    }
}
