//! The device: memory regions behind opaque handles, the bump arenas of a pass, and the worker threads. Ops take
//! handles, never slices, so that the same layer code runs on every device; `transfer` has the only ways in and out. Each op
//! asks once which device it runs on, and nothing else does. The ops decide what is computed.

mod handles;
mod transfer;
mod view;

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytemuck::Pod;

pub use handles::{Indices, List, Mat};
pub(crate) use handles::{Object, Place};
pub(crate) use view::{View, assert_apart};

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

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor, by the ops of this crate.
    Cpu,
    /// The processor, by plain loops over f32 values: what other devices are compared with.
    Reference,
}

/// Device memory, arenas and worker threads. One context serves one training run or one generation engine.
pub struct Context {
    /// By which handles know their context.
    id: u32,
    device: Device,
    isa: Isa,
    threads: usize,
    pool: Option<Arc<Mutex<Pool>>>,
    planning: bool,
    clock: Arc<Clock>,
    buffers: Vec<Floats>,
    arenas: [Arena; REGIONS],
    objects: Vec<Arc<dyn Any + Send + Sync>>,
    object_bytes: usize,
}

/// The contexts so far.
static CONTEXTS: AtomicU32 = AtomicU32::new(0);

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
        let pool = (threads > 1).then(|| Arc::new(Mutex::new(Pool::new(threads))));
        Context::new(Device::Cpu, Isa::detect(), threads, pool)
    }

    /// A context whose ops are plain loops over f32 values, on one thread: slow, and for tests of the ops of other devices and of what
    /// is built on them. bf16 and quantised weights are decoded to f32, and inputs are not rounded.
    pub fn reference() -> Context {
        Context::new(Device::Reference, Isa::Portable, 1, None)
    }

    /// A context with memory of its own that runs its ops on the same device and threads, as for a teacher beside a student. Their ops
    /// take turns.
    pub fn sharing_threads(&self) -> Context {
        Context::new(self.device, self.isa, self.threads, self.pool.clone())
    }

    fn new(device: Device, isa: Isa, threads: usize, pool: Option<Arc<Mutex<Pool>>>) -> Context {
        Context {
            id: CONTEXTS.fetch_add(1, Ordering::Relaxed),
            device,
            isa,
            threads,
            pool,
            planning: false,
            clock: Arc::default(),
            buffers: (0..REGIONS).map(|_| Floats::zeroed(0)).collect(),
            arenas: [Arena::default(); REGIONS],
            objects: Vec::new(),
            object_bytes: 0,
        }
    }

    /// What the ops of this context run on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The same context restricted to another instruction set.
    ///
    /// # Panics
    /// If the processor lacks it.
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
        self.buffers.iter().map(|b| b.len() * 4).sum::<usize>() + self.object_bytes
    }

    /// An uninitialised matrix in `region`.
    ///
    /// # Panics
    /// If the arena is too small for it, which means that [`Context::plan`] was not run on the same pass.
    pub fn alloc(&mut self, region: Region, rows: usize, cols: usize) -> Mat {
        Mat::new(self.place(region, rows, cols))
    }

    /// An uninitialised matrix of packed words in `region`.
    ///
    /// # Panics
    /// As [`Context::alloc`].
    pub fn alloc_packed(&mut self, region: Region, rows: usize, cols: usize) -> Mat<u32> {
        Mat::new(self.place(region, rows, cols))
    }

    /// An uninitialised matrix in scratch.
    pub fn scratch(&mut self, rows: usize, cols: usize) -> Mat {
        self.alloc(Region::Scratch, rows, cols)
    }

    /// An uninitialised matrix of packed words in scratch.
    pub(crate) fn scratch_packed(&mut self, rows: usize, cols: usize) -> Mat<u32> {
        self.alloc_packed(Region::Scratch, rows, cols)
    }

    fn place(&mut self, region: Region, rows: usize, cols: usize) -> Place {
        let offset = self.take(region, elements(rows, cols));
        Place { owner: self.id, buffer: region as usize, offset, rows, cols, ld: cols }
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

    /// The present top of the arena of what host and device exchange.
    pub fn mark_io(&self) -> Mark {
        Mark(self.arenas[Region::Io as usize].used)
    }

    /// Gives back all that was exchanged since `mark`: passes that follow each other in one need no more than the largest of them.
    pub fn release_io(&mut self, mark: Mark) {
        self.arenas[Region::Io as usize].used = mark.0;
    }

    /// A zeroed matrix that lives as long as the context (norms, adapters, optimiser state).
    ///
    /// # Panics
    /// If no memory could hold so many elements.
    pub fn persistent(&mut self, rows: usize, cols: usize) -> Mat {
        Mat::new(self.persistent_place(rows, cols))
    }

    /// [`Context::persistent`] of packed words.
    pub fn persistent_packed(&mut self, rows: usize, cols: usize) -> Mat<u32> {
        Mat::new(self.persistent_place(rows, cols))
    }

    fn persistent_place(&mut self, rows: usize, cols: usize) -> Place {
        self.buffers.push(Floats::zeroed(elements(rows, cols)));
        Place { owner: self.id, buffer: self.buffers.len() - 1, offset: 0, rows, cols, ld: cols }
    }

    /// Takes over what an op laid out in its own way, for as long as the context lives.
    pub(crate) fn keep<T: Any + Send + Sync>(&mut self, value: T, bytes: usize) -> Object {
        self.objects.push(Arc::new(value));
        self.object_bytes += bytes;
        Object { owner: self.id, number: self.objects.len() - 1, bytes }
    }

    /// What [`Context::keep`] took over.
    pub(crate) fn object<T: Any + Send + Sync>(&self, object: Object) -> Arc<T> {
        assert_eq!(object.owner, self.id, "a weight or table of another context");
        Arc::clone(&self.objects[object.number]).downcast().expect("handles are typed by what wraps them")
    }

    /// Raw access for an op. Bounds are checked here, once.
    pub(crate) fn view<T: Pod>(&self, mat: Mat<T>) -> View<T> {
        const { assert!(size_of::<T>() == 4, "matrices are made of words") };
        let (place, buffer) = (mat.place(), self.buffer(mat.place()));
        assert!(place.end() <= buffer.len(), "matrix ends at {}, its buffer at {}", place.end(), buffer.len());
        // SAFETY: the offset is within the allocation (asserted above; an empty matrix may sit at its very end).
        let ptr = unsafe { buffer.as_ptr().add(place.offset.min(buffer.len())) };
        View { ptr: ptr.cast(), rows: place.rows, cols: place.cols, ld: place.ld }
    }

    /// The entries of a list, for an op.
    pub(crate) fn entries<T: Pod>(&self, list: List<T>) -> &[T] {
        let place = list.place();
        bytemuck::cast_slice(&self.buffer(place).as_slice()[place.offset..place.end()])
    }

    fn buffer(&self, place: Place) -> &Floats {
        assert_eq!(place.owner, self.id, "a handle of another context");
        &self.buffers[place.buffer]
    }

    fn buffer_mut(&mut self, place: Place) -> &mut [f32] {
        assert_eq!(place.owner, self.id, "a handle of another context");
        self.buffers[place.buffer].as_mut_slice()
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
    fn handles_of_another_context_are_refused() {
        let refuses = |op: &dyn Fn(&mut Context, &mut Context)| {
            let (mut ctx, mut other) = (Context::cpu(1), Context::cpu(1));
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| op(&mut ctx, &mut other))).is_err()
        };
        assert!(!refuses(&|ctx, _| {
            let own = ctx.persistent(1, 1);
            ctx.download(own);
        }));
        assert!(refuses(&|ctx, other| drop(ctx.download(other.persistent(1, 1)))));
        assert!(refuses(&|ctx, other| assert_eq!(ctx.entries(other.upload_persistent_indices(&[1])), [1])));
        assert!(refuses(&|ctx, other| drop(ctx.object::<u32>(other.keep(7u32, 4)))));
    }

    #[test]
    fn contexts_share_threads_and_nothing_else() {
        let student = Context::cpu(2);
        let mut teacher = student.sharing_threads();
        let (one, other) = (student.pool.as_ref().unwrap(), teacher.pool.as_ref().unwrap());
        assert!(Arc::ptr_eq(one, other));
        let ran = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for ctx in [&student, &teacher] {
                let ran = &ran;
                scope.spawn(move || {
                    for _ in 0..200 {
                        ctx.parallel(7, |_| {
                            ran.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(ran.into_inner(), 2 * 200 * 7);
        teacher.persistent(4, 4);
        teacher.keep(0u8, 100);
        assert_eq!((student.bytes(), teacher.bytes()), (0, 64 + 100));
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
