//! What the products of a linear layer are computed from, packed once for all of them: a frozen weight in its precision or its file's
//! quantisation, and an input. The products themselves are `linear`'s matter, the layout of packed operands that of `gemm`.

use std::sync::Arc;

use crate::device::{Context, Device, Mat, Object, Place};
use crate::gemm::{CodedPanels, Lhs, Panels, Precision, Rhs, Rounded, pack_lhs, pack_written, round_rows};
use crate::quant::{self, BlockType};

/// A weight that never changes, held by its context in the layout that the context's device multiplies: a handle, cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct FrozenWeight {
    object: Object,
    precision: Precision,
    d_in: usize,
    d_out: usize,
    storage: Storage,
}

/// How a weight is held, and so how it is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    /// As it is multiplied.
    Packed,
    /// Quantised, and decoded in each product.
    Decoded,
    /// In its file's quantisation, and multiplied as integers.
    Integers,
}

/// How a frozen weight is quantised when it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantization {
    /// The 4-bit NormalFloat with double quantisation, as bitsandbytes has it.
    Nf4,
    /// 8-bit integers with one scale a row.
    Int8,
}

impl Quantization {
    /// Inputs that share a scale, of which a row has whole ones.
    pub fn block(self) -> usize {
        match self {
            Quantization::Nf4 => quant::nf4::BLOCK,
            Quantization::Int8 => quant::CODES,
        }
    }
}

/// What a context holds of a weight.
pub(crate) enum Body {
    /// Packed for the matrix kernel.
    Dense(Panels),
    /// In the file's quantisation: for the forward alone.
    Coded(CodedPanels),
    /// As it is, [d_out, d_in]: for the reference.
    Rows(Vec<f32>),
}

impl FrozenWeight {
    /// Packs a `[d_out, d_in]` weight, asking `row(n, buffer)` for one row at a time, so that no whole f32 copy exists.
    /// The first error of `row` is returned.
    pub fn pack<E>(
        ctx: &mut Context,
        precision: Precision,
        d_out: usize,
        d_in: usize,
        mut row: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<FrozenWeight, E> {
        let body = match ctx.device() {
            Device::Cpu => {
                let mut panels = Panels::zeroed(precision, d_out, d_in);
                let mut buffer = vec![0f32; d_in];
                for n in 0..d_out {
                    row(n, &mut buffer)?;
                    panels.set_row(n, &buffer);
                }
                Body::Dense(panels)
            }
            Device::Reference => {
                let mut rows = vec![0f32; d_out * d_in];
                rows.chunks_exact_mut(d_in.max(1)).enumerate().try_for_each(|(n, out)| row(n, out))?;
                Body::Rows(rows)
            }
        };
        Ok(FrozenWeight::new(ctx, body, Storage::Packed, precision, (d_out, d_in)))
    }

    /// Quantises a `[d_out, d_in]` weight as its rows come, and decodes it in each product: with a backward, in less memory than bf16.
    /// The first error of `row` is returned. `None` if a value is beyond what 8-bit codes under an f16 scale hold, some 65,000.
    ///
    /// # Panics
    /// If `d_in` is not a multiple of [`Quantization::block`].
    pub fn quantize<E>(
        ctx: &mut Context,
        how: Quantization,
        precision: Precision,
        (d_out, d_in): (usize, usize),
        mut row: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<Option<FrozenWeight>, E> {
        assert!(d_in.is_multiple_of(how.block()), "{d_in} inputs are no whole blocks of {}", how.block());
        let panels = match how {
            Quantization::Nf4 => Panels::nf4(ctx.isa(), precision, (d_out, d_in), row)?,
            Quantization::Int8 => {
                let bytes = BlockType::Q8_0.bytes_for(d_in).unwrap_or(0) * d_out;
                let (mut values, mut blocks) = (vec![0f32; d_in], Vec::with_capacity(bytes));
                for n in 0..d_out {
                    row(n, &mut values)?;
                    quant::encode_int8_row(&values, &mut blocks);
                }
                let row_bytes = blocks.len() / d_out.max(1);
                let row = |n: usize| &blocks[n * row_bytes..(n + 1) * row_bytes];
                let Some(coded) = CodedPanels::pack(BlockType::Q8_0, (d_out, d_in), row) else { return Ok(None) };
                Panels::coded(precision, coded)
            }
        };
        Ok(Some(FrozenWeight::of_panels(ctx, panels, precision, (d_out, d_in))))
    }

    /// A weight that is decoded in each product, or for the reference at once.
    fn of_panels(
        ctx: &mut Context,
        panels: Panels,
        precision: Precision,
        (d_out, d_in): (usize, usize),
    ) -> FrozenWeight {
        let body = match ctx.device() {
            Device::Cpu => Body::Dense(panels),
            Device::Reference => Body::Rows(panels.decoded_rows()),
        };
        FrozenWeight::new(ctx, body, Storage::Decoded, precision, (d_out, d_in))
    }

    /// As [`FrozenWeight::keep`], but decoded in each product: no input is rounded to 8 bits, and there is a backward.
    pub fn keep_decoded<'a>(
        ctx: &mut Context,
        block_type: BlockType,
        precision: Precision,
        (d_out, d_in): (usize, usize),
        row: impl Fn(usize) -> &'a [u8],
    ) -> Option<FrozenWeight> {
        let panels = Panels::coded(precision, CodedPanels::pack(block_type, (d_out, d_in), row)?);
        Some(FrozenWeight::of_panels(ctx, panels, precision, (d_out, d_in)))
    }

    /// A `[d_out, d_in]` weight of zeros, of which the system gives no page before it is touched: to plan with, and not to compute.
    pub fn outline(ctx: &mut Context, precision: Precision, d_out: usize, d_in: usize) -> FrozenWeight {
        let panels = Panels::zeroed(precision, d_out, d_in);
        FrozenWeight::of_zeros(ctx, panels, Storage::Packed, precision, (d_out, d_in))
    }

    /// [`FrozenWeight::outline`] of what [`FrozenWeight::quantize`] would make.
    ///
    /// # Panics
    /// As there.
    pub fn outline_quantized(
        ctx: &mut Context,
        how: Quantization,
        precision: Precision,
        (d_out, d_in): (usize, usize),
    ) -> FrozenWeight {
        let panels = match how {
            Quantization::Nf4 => Panels::nf4_outline(precision, d_out, d_in),
            Quantization::Int8 => {
                let coded = CodedPanels::zeroed(BlockType::Q8_0, (d_out, d_in));
                Panels::coded(precision, coded.unwrap_or_else(|| panic!("{d_in} inputs are no whole blocks")))
            }
        };
        FrozenWeight::of_zeros(ctx, panels, Storage::Decoded, precision, (d_out, d_in))
    }

    /// [`FrozenWeight::outline`] of what [`FrozenWeight::keep_decoded`] would make.
    pub fn outline_kept(
        ctx: &mut Context,
        block_type: BlockType,
        precision: Precision,
        (d_out, d_in): (usize, usize),
    ) -> Option<FrozenWeight> {
        let panels = Panels::coded(precision, CodedPanels::zeroed(block_type, (d_out, d_in))?);
        Some(FrozenWeight::of_zeros(ctx, panels, Storage::Decoded, precision, (d_out, d_in)))
    }

    fn of_zeros(
        ctx: &mut Context,
        panels: Panels,
        storage: Storage,
        precision: Precision,
        (d_out, d_in): (usize, usize),
    ) -> FrozenWeight {
        let body = match ctx.device() {
            Device::Cpu => Body::Dense(panels),
            Device::Reference => Body::Rows(vec![0f32; d_out * d_in]),
        };
        FrozenWeight::new(ctx, body, storage, precision, (d_out, d_in))
    }

    /// Keeps a `[d_out, d_in]` weight in its file's quantisation, `row(n)` giving the stored bytes of row n. Its products round x to
    /// 8 bits; an adapter on it works in bf16. It has no backward. `None` for encodings that are not integer codes under a scale for
    /// every 32 elements: F32, F16, BF16, Q2_K, Q3_K and Q6_K.
    #[expect(clippy::missing_panics_doc, reason = "sizes were checked when the panels were made")]
    pub fn keep<'a>(
        ctx: &mut Context,
        block_type: BlockType,
        d_out: usize,
        d_in: usize,
        row: impl Fn(usize) -> &'a [u8],
    ) -> Option<FrozenWeight> {
        if !quant::has_whole_scales(block_type) {
            return None;
        }
        let panels = CodedPanels::pack(block_type, (d_out, d_in), &row)?;
        let body = match ctx.device() {
            Device::Cpu => Body::Coded(panels),
            Device::Reference => {
                let mut rows = vec![0f32; d_out * d_in];
                for (n, out) in rows.chunks_exact_mut(d_in.max(1)).enumerate() {
                    quant::decode(block_type, row(n), out).expect("the panels have the same rows");
                }
                Body::Rows(rows)
            }
        };
        Some(FrozenWeight::new(ctx, body, Storage::Integers, Precision::Bf16, (d_out, d_in)))
    }

    fn new(
        ctx: &mut Context,
        body: Body,
        storage: Storage,
        precision: Precision,
        (d_out, d_in): (usize, usize),
    ) -> FrozenWeight {
        let bytes = match &body {
            Body::Dense(panels) => panels.bytes(),
            Body::Coded(panels) => panels.bytes(),
            Body::Rows(rows) => size_of_val(&rows[..]),
        };
        FrozenWeight { object: ctx.keep(body, bytes), precision, d_in, d_out, storage }
    }

    /// Whether it was kept in its file's quantisation, and is multiplied as integers.
    pub fn is_kept(&self) -> bool {
        self.storage == Storage::Integers
    }

    /// Whether it is held quantised, and decoded in each product.
    pub fn is_decoded(&self) -> bool {
        self.storage == Storage::Decoded
    }

    /// Input channels.
    pub fn d_in(&self) -> usize {
        self.d_in
    }

    /// Output channels.
    pub fn d_out(&self) -> usize {
        self.d_out
    }

    /// How the inputs of its products are rounded.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Bytes that the context holds.
    pub fn bytes(&self) -> usize {
        self.object.bytes()
    }

    /// What the context holds.
    pub(crate) fn body(&self, ctx: &Context) -> Arc<Body> {
        ctx.object(self.object)
    }
}

impl Body {
    /// The weight as the right-hand side of the product that the backward is.
    pub(crate) fn backward_operand(&self) -> Rhs<'_> {
        match self {
            Body::Dense(panels) => Rhs::WeightTransposed { panels },
            Body::Coded(_) => panic!("a weight in its file's quantisation has no backward"),
            Body::Rows(_) => unreachable!("held by the reference alone"),
        }
    }
}

/// An input of one or several linears, or the gradient of an output, packed once for all products with it. Lives in scratch.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// None if it was packed while it was computed.
    rows: Option<Mat>,
    packed: Option<Lhs>,
    pub(crate) rounded: Option<Rounded>,
}

impl Input {
    /// Prepares the rows of x for products with these weights, and with adapters or trained rows beside them if there are any.
    pub fn new(
        ctx: &mut Context,
        x: Mat,
        weights: impl Iterator<Item = FrozenWeight> + Clone,
        is_adapted: bool,
    ) -> Input {
        match ctx.device() {
            Device::Cpu => {}
            Device::Reference => return Input::unpacked(x),
        }
        let dense = weights.clone().find(|weight| is_adapted || !weight.is_kept());
        Input {
            rows: Some(x),
            packed: dense.map(|weight| pack_lhs(ctx, x, weight.precision)),
            rounded: weights.clone().any(|weight| weight.is_kept()).then(|| round_rows(ctx, x)),
        }
    }

    /// The rows of x as they are: for the reference.
    pub(crate) fn unpacked(x: Mat) -> Input {
        Input { rows: Some(x), packed: None, rounded: None }
    }

    /// Inputs of `rows` rows and `cols` channels that exist in packed form alone: `writer` makes what writes row i of each, from
    /// `touched`. Enough for
    /// dense weights, and for adapters where nothing but a product reads the rows: no dropout, no gradient.
    pub(crate) fn written<const N: usize, W>(
        ctx: &mut Context,
        (rows, cols): (usize, usize),
        precision: Precision,
        touched: &[Place],
        writer: impl FnOnce(&Context) -> W,
    ) -> [Input; N]
    where
        W: Fn(usize, [&mut [f32]; N]) + Send + Sync,
    {
        let packed = pack_written(ctx, (rows, cols), precision, touched, writer);
        packed.map(|packed| Input { rows: None, packed: Some(packed), rounded: None })
    }

    pub(crate) fn packed(&self) -> Lhs {
        self.packed.expect("the input was prepared for this weight and its adapter")
    }

    /// The rows as they are.
    ///
    /// # Panics
    /// If they exist in packed form alone.
    pub fn rows(&self) -> Mat {
        self.rows.expect("the input was kept as rows for what reads it beside the products")
    }
}
