//! One benchmark case: an op at one size, its arithmetic and memory traffic, and operands that come from memory.

use aludel_kernels::linear::Precision;
use aludel_kernels::{Context, Mat};

/// SmolLM2-135M.
pub(crate) const HIDDEN: usize = 576;
pub(crate) const INNER: usize = 1536;
pub(crate) const HEADS: usize = 9;
pub(crate) const KEY_HEADS: usize = 3;
pub(crate) const HEAD_DIM: usize = 64;
pub(crate) const VOCAB: usize = 49_152;
/// Tokens of a training pass.
pub(crate) const TOKENS: usize = 1024;

/// What an op does, at the least: each operand is read or written once.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    /// Floating-point operations of its products, a multiply-add being two; 0 for an op without products.
    pub(crate) operations: f64,
    /// How the factors of its products are rounded.
    pub(crate) precision: Precision,
    /// Bytes read and written.
    pub(crate) bytes: f64,
}

impl Work {
    /// An op whose arithmetic does not count beside what it moves: the given number of floats.
    pub(crate) fn moving(floats: usize) -> Work {
        Work { operations: 0.0, precision: Precision::F32, bytes: 4.0 * floats as f64 }
    }
}

/// Runs an op once, each time on other operands.
pub(crate) type Run = Box<dyn FnMut(&mut Context)>;

/// One op at one size.
pub(crate) struct Case {
    pub(crate) op: &'static str,
    pub(crate) shape: String,
    pub(crate) work: Work,
    pub(crate) prepare: Box<dyn FnOnce(&mut Context) -> Run>,
}

/// Sets of operands are gone through in turn and exceed, together, this many bytes: no cache holds them until they are used again, as
/// in a step of training or generation, which goes through a whole model.
const BEYOND_CACHES: f64 = 400e6;

/// A case whose operands `make(ctx)` allocates, `work.bytes` of them, for `op(ctx, operands)`.
pub(crate) fn case<T: 'static>(
    op: &'static str,
    shape: String,
    work: Work,
    make: impl Fn(&mut Context) -> T + 'static,
    run: impl Fn(&mut Context, &T) + 'static,
) -> Case {
    let prepare = Box::new(move |ctx: &mut Context| -> Run {
        let count = (BEYOND_CACHES / work.bytes).ceil() as usize;
        let sets: Vec<T> = (0..count.max(2)).map(|_| make(ctx)).collect();
        ctx.plan(|ctx| run(ctx, &sets[0]));
        let mut turn = 0;
        Box::new(move |ctx| {
            ctx.reset();
            run(ctx, &sets[turn]);
            turn = (turn + 1) % sets.len();
        })
    });
    Case { op, shape, work, prepare }
}

/// A matrix of ordinary values.
pub(crate) fn values(ctx: &mut Context, rows: usize, cols: usize) -> Mat {
    let mat = ctx.persistent(rows, cols);
    // any values do, as long as none is slow: no denormals, nothing that overflows
    let row: Vec<f32> = (0..cols).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect();
    (0..rows).for_each(|i| ctx.write(mat.row_range(i, 1), &row));
    mat
}
