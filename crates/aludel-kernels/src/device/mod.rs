//! The device: memory regions behind opaque handles, the bump arenas of a pass, and the worker threads. Ops take
//! handles, never slices, so that the same layer code can run on other devices; `upload` and `download` are the only
//! ways in and out. The ops decide what is computed.

mod handles;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use handles::{Indices, Mat};
pub(crate) use handles::{View, assert_apart};

use self::handles::elements;
use crate::floats::{ALIGNMENT_FLOATS, Floats};
use crate::pool::{self, Order, Pool};
use crate::profile::{Clock, Kind, Span};
use crate::simd::Isa;

/// The arenas that live from one pass or step to the next; each is one buffer with a bump allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// What the forward keeps for the backward.
    Saved,
    /// What lives within one op or one layer, taken by [`Context::mark`] and given back by [`Context::release`].
    Scratch,
    /// What crosses to and from the host within one pass: token ids, losses, logits.
    Io,
}

const REGIONS: usize = 3;

/// A place in the scratch arena to come back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// Device memory, arenas and worker threads. One context serves one training run or one generation engine.
pub struct Context {
    isa: Isa,
    threads: usize,
    pool: Option<Mutex<Pool>>,
    planning: bool,
    clock: Arc<Clock>,
    buffers: Vec<Floats>,
    arenas: [Arena; REGIONS],
}

#[derive(Clone, Copy, Default)]
struct Arena {
    used: usize,
    highest: usize,
}

impl Context {
    /// A context on the processor with `threads` workers (0 means one per logical core).
    pub fn cpu(threads: usize) -> Context {
        let available = std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = if threads == 0 { available } else { threads };
        let pool = (threads > 1).then(|| Mutex::new(Pool::new(threads)));
        Context {
            isa: Isa::detect(),
            threads,
            pool,
            planning: false,
            clock: Arc::default(),
            buffers: (0..REGIONS).map(|_| Floats::zeroed(0)).collect(),
            arenas: [Arena::default(); REGIONS],
        }
    }

    /// The same context restricted to another instruction set.
    pub fn with_isa(mut self, isa: Isa) -> Context {
        let is_there = Isa::supported().contains(&isa);
        #[cfg(test)]
        let is_there = is_there || Isa::tested().any(|tested| tested == isa);
        assert!(is_there, "this processor lacks {}", isa.name());
        self.isa = isa;
        self
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of worker threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Counts the time until the span is dropped as spent on ops of this kind, unless an enclosing span does.
    pub fn span(&self, kind: Kind) -> Span {
        self.clock.span(kind)
    }

    /// The time spent on ops of this kind so far.
    pub fn time_spent(&self, kind: Kind) -> Duration {
        self.clock.total(kind)
    }

    /// Whether the code that runs is only being counted: ops take their memory and return without computing.
    pub fn planning(&self) -> bool {
        self.planning
    }

    /// Runs `pass` without computing anything, then makes the arenas exactly as large as it needed. Matrices made before
    /// in the arenas become invalid. Arenas never shrink.
    pub fn plan<T>(&mut self, pass: impl FnOnce(&mut Context) -> T) -> T {
        self.reset();
        self.planning = true;
        let result = pass(self);
        self.planning = false;
        for (arena, buffer) in self.arenas.iter().zip(&mut self.buffers) {
            if arena.highest > buffer.len() {
                *buffer = Floats::zeroed(0); // two of them would take more memory than the pass
                *buffer = Floats::zeroed_arena(arena.highest);
            }
        }
        self.reset();
        result
    }

    /// The bytes that the arenas would need for `pass`. Like [`Context::plan`] it computes nothing; the arenas stay as they are.
    pub fn measure<T>(&mut self, pass: impl FnOnce(&mut Context) -> T) -> usize {
        let kept = std::mem::take(&mut self.arenas);
        self.planning = true;
        pass(self);
        self.planning = false;
        let needed = std::mem::replace(&mut self.arenas, kept);
        self.reset();
        needed.iter().zip(&self.buffers).map(|(arena, buffer)| 4 * arena.highest.max(buffer.len())).sum()
    }

    /// Empties all arenas: the beginning of a pass.
    pub fn reset(&mut self) {
        for arena in &mut self.arenas {
            arena.used = 0;
        }
    }

    /// Bytes held by the arenas and by everything uploaded or allocated permanently.
    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(|b| b.len() * 4).sum()
    }

    /// An uninitialised matrix in `region`. Panics if the arena is too small for it, which means that
    /// [`Context::plan`] was not run on the same pass: a programmer's mistake.
    pub fn alloc(&mut self, region: Region, rows: usize, cols: usize) -> Mat {
        let offset = self.take(region, elements(rows, cols));
        Mat { buffer: region as usize, offset, rows, cols, ld: cols }
    }

    /// An uninitialised matrix in scratch.
    pub fn scratch(&mut self, rows: usize, cols: usize) -> Mat {
        self.alloc(Region::Scratch, rows, cols)
    }

    /// One matrix per worker thread, as the rows of one scratch matrix: row `t` belongs to thread `t`.
    pub(crate) fn thread_scratch(&mut self, floats: usize) -> Mat {
        let padded = floats.next_multiple_of(ALIGNMENT_FLOATS);
        let threads = self.threads;
        self.alloc(Region::Scratch, threads, padded)
    }

    fn take(&mut self, region: Region, floats: usize) -> usize {
        let arena = &mut self.arenas[region as usize];
        let offset = arena.used;
        arena.used = elements(1, arena.used + floats.next_multiple_of(ALIGNMENT_FLOATS));
        arena.highest = arena.highest.max(arena.used);
        let capacity = self.buffers[region as usize].len();
        assert!(
            self.planning || arena.used <= capacity,
            "{region:?} arena: {} floats needed, {capacity} planned",
            arena.used
        );
        offset
    }

    /// The present top of the scratch arena.
    pub fn mark(&self) -> Mark {
        Mark(self.arenas[Region::Scratch as usize].used)
    }

    /// Gives back all scratch taken since `mark`.
    pub fn release(&mut self, mark: Mark) {
        self.arenas[Region::Scratch as usize].used = mark.0;
    }

    /// The present top of the arena of saved activations, for recompute.
    pub fn mark_saved(&self) -> Mark {
        Mark(self.arenas[Region::Saved as usize].used)
    }

    /// Gives back all saved activations taken since `mark`.
    pub fn release_saved(&mut self, mark: Mark) {
        self.arenas[Region::Saved as usize].used = mark.0;
    }

    /// A zeroed matrix that lives as long as the context (weights, adapters, optimiser state).
    pub fn persistent(&mut self, rows: usize, cols: usize) -> Mat {
        self.buffers.push(Floats::zeroed(elements(rows, cols)));
        Mat { buffer: self.buffers.len() - 1, offset: 0, rows, cols, ld: cols }
    }

    /// Copies `values` (`rows × cols`, row-major) to a matrix that lives as long as the context.
    pub fn upload_persistent(&mut self, rows: usize, cols: usize, values: &[f32]) -> Mat {
        let mat = self.persistent(rows, cols);
        self.write(mat, values);
        mat
    }

    /// Copies `values` (`rows × cols`, row-major) into `region`.
    pub fn upload(&mut self, region: Region, rows: usize, cols: usize, values: &[f32]) -> Mat {
        let mat = self.alloc(region, rows, cols);
        self.write(mat, values);
        mat
    }

    /// Copies a list of u32 into the Io arena.
    pub fn upload_indices(&mut self, values: &[u32]) -> Indices {
        let offset = self.take(Region::Io, values.len());
        let indices = Indices { buffer: Region::Io as usize, offset, len: values.len() };
        if !self.planning {
            self.buffers[indices.buffer].as_mut_slice()[offset..offset + values.len()]
                .copy_from_slice(bytemuck::cast_slice(values));
        }
        indices
    }

    /// Overwrites `mat` with `values` (row-major, as many as the matrix has elements).
    pub fn write(&mut self, mat: Mat, values: &[f32]) {
        assert_eq!(values.len(), mat.rows * mat.cols, "{}×{} matrix", mat.rows, mat.cols);
        if self.planning || values.is_empty() {
            return;
        }
        let buffer = self.buffers[mat.buffer].as_mut_slice();
        for (row, source) in values.chunks_exact(mat.cols).enumerate() {
            let start = mat.offset + row * mat.ld;
            buffer[start..start + mat.cols].copy_from_slice(source);
        }
    }

    /// Copies a matrix to the host, row-major. While planning, zeros.
    pub fn download(&self, mat: Mat) -> Vec<f32> {
        let mut out = Vec::with_capacity(mat.rows * mat.cols);
        self.download_into(mat, &mut out);
        out
    }

    /// [`Context::download`] into a buffer that is used again for each pass; what it held is gone.
    pub fn download_into(&self, mat: Mat, out: &mut Vec<f32>) {
        out.clear();
        if self.planning {
            out.resize(mat.rows * mat.cols, 0.0);
            return;
        }
        let buffer = self.buffers[mat.buffer].as_slice();
        for row in 0..mat.rows {
            let start = mat.offset + row * mat.ld;
            out.extend_from_slice(&buffer[start..start + mat.cols]);
        }
    }

    /// Sets all elements to zero.
    pub fn zero(&mut self, mat: Mat) {
        if self.planning {
            return;
        }
        let buffer = self.buffers[mat.buffer].as_mut_slice();
        for row in 0..mat.rows {
            let start = mat.offset + row * mat.ld;
            buffer[start..start + mat.cols].fill(0.0);
        }
    }

    /// Copies `source` to `target` of the same shape.
    pub fn copy(&mut self, source: Mat, target: Mat) {
        assert_eq!((source.rows, source.cols), (target.rows, target.cols), "copy between different shapes");
        if self.planning {
            return;
        }
        assert_apart(&[target], &[source]);
        let (from, to) = (self.view(source), self.view(target));
        for row in 0..source.rows {
            // SAFETY: the two matrices share no element (asserted), and `&mut self` keeps everyone else out.
            unsafe { to.row_mut(row).copy_from_slice(from.row(row)) };
        }
    }

    /// Raw access for an op. Bounds are checked here, once.
    pub(crate) fn view(&self, mat: Mat) -> View {
        let buffer = &self.buffers[mat.buffer];
        assert!(mat.end() <= buffer.len(), "matrix ends at {}, its buffer at {}", mat.end(), buffer.len());
        // SAFETY: the offset is within the allocation (asserted above; an empty matrix may sit at its very end).
        let ptr = unsafe { buffer.as_ptr().add(mat.offset.min(buffer.len())) };
        View { ptr, rows: mat.rows, cols: mat.cols, ld: mat.ld }
    }

    /// The entries of an index list, for an op.
    pub(crate) fn indices(&self, indices: Indices) -> &[u32] {
        let floats = &self.buffers[indices.buffer].as_slice()[indices.offset..indices.offset + indices.len];
        bytemuck::cast_slice(floats)
    }

    /// Runs `task(0) … task(tasks − 1)`, spread over the worker threads in any order. Tasks must write disjoint memory,
    /// and no result may depend on which thread ran which task.
    pub(crate) fn parallel(&self, tasks: usize, task: impl Fn(usize) + Send + Sync) {
        self.parallel_in(Order::ByThread, tasks, task);
    }

    /// [`Context::parallel`] for tasks of which the long ones come first.
    pub(crate) fn parallel_longest_first(&self, tasks: usize, task: impl Fn(usize) + Send + Sync) {
        self.parallel_in(Order::AsNumbered, tasks, task);
    }

    fn parallel_in(&self, order: Order, tasks: usize, task: impl Fn(usize) + Send + Sync) {
        match &self.pool {
            Some(pool) if tasks > 1 => pool.lock().unwrap_or_else(PoisonError::into_inner).run(tasks, order, &task),
            _ => (0..tasks).for_each(task),
        }
    }

    /// The number of the worker that runs the present task: an index into [`Context::thread_scratch`].
    pub(crate) fn thread_index() -> usize {
        pool::thread_index()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planned_pass_fits_exactly_and_memory_comes_back() {
        let pass = |ctx: &mut Context| {
            let kept = ctx.upload(Region::Saved, 2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            let mark = ctx.mark();
            let scratch = ctx.scratch(2, 3);
            ctx.copy(kept, scratch);
            let copy = ctx.download(scratch);
            ctx.release(mark);
            copy
        };
        let mut ctx = Context::cpu(1);
        let needed = ctx.measure(pass);
        assert_eq!((ctx.bytes(), needed), (0, 2 * 4 * ALIGNMENT_FLOATS));
        assert_eq!(ctx.plan(pass), vec![0.0; 6]);
        assert_eq!((ctx.bytes(), ctx.measure(pass)), (needed, needed));
        assert_eq!(pass(&mut ctx), vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(ctx.mark().0, 0);
    }

    #[test]
    #[should_panic(expected = "Scratch arena")]
    fn an_unplanned_pass_is_refused() {
        Context::cpu(1).scratch(1, 1);
    }

    #[test]
    fn ranges_and_sizes_do_not_wrap_around() {
        let refuses = |op: &dyn Fn(&mut Context) -> Mat| {
            let mut ctx = Context::cpu(1);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| op(&mut ctx))).is_err()
        };
        let half = 1 << (usize::BITS - 1);
        assert!(!refuses(&|ctx| ctx.persistent(4, 8).row_range(4, 0)));
        assert!(refuses(&|ctx| ctx.persistent(4, 8).row_range(usize::MAX, 2)));
        assert!(refuses(&|ctx| ctx.persistent(4, 8).col_range(usize::MAX, 2)));
        assert!(refuses(&|ctx| ctx.persistent(0, 8).reshape(half, 2)));
        assert!(refuses(&|ctx| ctx.persistent(half, 2)));
        assert!(refuses(&|ctx| ctx.plan(|ctx| ctx.scratch(half, 2))));
    }
}
