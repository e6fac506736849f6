//! What the products of a linear layer are computed from, packed once for all of them: a frozen weight in its precision or its file's
//! quantisation, and an input. The products themselves are `linear`'s matter, the layout of packed operands that of `gemm`.

use crate::device::{Context, Mat};
use crate::gemm::{CodedPanels, Lhs, Panels, Precision, Rhs, Rounded, pack_lhs, pack_written, round_rows};
use crate::quant::BlockType;

/// A weight that never changes, packed for the matrix kernel. Opaque: its layout is private to the kernel.
pub struct FrozenWeight {
    pub(crate) body: Body,
    pub(crate) precision: Precision,
    d_in: usize,
    d_out: usize,
}

pub(crate) enum Body {
    Dense(Panels),
    /// In the file's quantisation: for the forward alone.
    Coded(CodedPanels),
}

impl FrozenWeight {
    /// Packs a `[d_out, d_in]` weight, asking `row(n, buffer)` for one row at a time, so that no whole f32 copy exists.
    /// The first error of `row` is returned.
    pub fn pack<E>(
        precision: Precision,
        d_out: usize,
        d_in: usize,
        mut row: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<FrozenWeight, E> {
        let mut panels = Panels::zeroed(precision, d_out, d_in);
        let mut buffer = vec![0f32; d_in];
        for n in 0..d_out {
            row(n, &mut buffer)?;
            panels.set_row(n, &buffer);
        }
        Ok(FrozenWeight { body: Body::Dense(panels), precision, d_in, d_out })
    }

    /// A `[d_out, d_in]` weight of zeros, of which the system gives no page before it is touched: to plan with, and not to compute.
    pub fn outline(precision: Precision, d_out: usize, d_in: usize) -> FrozenWeight {
        FrozenWeight { body: Body::Dense(Panels::zeroed(precision, d_out, d_in)), precision, d_in, d_out }
    }

    /// Keeps a `[d_out, d_in]` weight in its file's quantisation, `row(n)` giving the stored bytes of row n. Its products round x to
    /// 8 bits; an adapter on it works in bf16. It has no backward. `None` for encodings that are not integer codes under a scale for
    /// every 32 elements: F32, F16, BF16, Q2_K, Q3_K and Q6_K.
    pub fn keep<'a>(
        block_type: BlockType,
        d_out: usize,
        d_in: usize,
        row: impl Fn(usize) -> &'a [u8],
    ) -> Option<FrozenWeight> {
        let panels = CodedPanels::pack(block_type, (d_out, d_in), row)?;
        Some(FrozenWeight { body: Body::Coded(panels), precision: Precision::Bf16, d_in, d_out })
    }

    /// Whether it was kept in its file's quantisation.
    pub fn is_kept(&self) -> bool {
        matches!(self.body, Body::Coded(_))
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

    /// Bytes of the packed weight.
    pub fn bytes(&self) -> usize {
        match &self.body {
            Body::Dense(panels) => panels.bytes(),
            Body::Coded(panels) => panels.bytes(),
        }
    }

    pub(crate) fn backward_operand(&self) -> Rhs<'_> {
        match &self.body {
            Body::Dense(panels) => Rhs::WeightTransposed { panels },
            Body::Coded(_) => panic!("a weight in its file's quantisation has no backward"),
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
    pub fn new<'a>(
        ctx: &mut Context,
        x: Mat,
        weights: impl Iterator<Item = &'a FrozenWeight> + Clone,
        is_adapted: bool,
    ) -> Input {
        let dense = weights.clone().find(|weight| is_adapted || !weight.is_kept());
        Input {
            rows: Some(x),
            packed: dense.map(|weight| pack_lhs(ctx, x, weight.precision)),
            rounded: weights.clone().any(FrozenWeight::is_kept).then(|| round_rows(ctx, x)),
        }
    }

    /// Inputs of `rows` rows and `cols` channels that exist in packed form alone: `writer` makes what writes row i of each, from
    /// `touched`. Enough for
    /// dense weights, and for adapters where nothing but a product reads the rows: no dropout, no gradient.
    pub(crate) fn written<const N: usize, W>(
        ctx: &mut Context,
        (rows, cols): (usize, usize),
        precision: Precision,
        touched: &[Mat],
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

    pub(crate) fn rows(&self) -> Mat {
        self.rows.expect("the input was kept as rows for what reads it beside the products")
    }
}
