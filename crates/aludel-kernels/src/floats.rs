//! Memory: one aligned allocation of f32, or of anything of four bytes. Weights and arenas request huge pages from the
//! system, because looking up a page for each 4 KB takes a large part of the time of ops that stream through them.
//! `device` decides who uses which part of an allocation.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::{MmapMut, MmapOptions};

const ALIGNMENT_BYTES: usize = 64;
/// Floats of one cache line, and of one vector of the widest instruction set.
pub(crate) const ALIGNMENT_FLOATS: usize = ALIGNMENT_BYTES / 4;
/// A huge page of x86-64, and of most arm64 systems.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// From this size on memory is mapped: an allocator that aligns it would write its zeros, and so take all of its pages.
const MAPPED_BYTES: usize = 1 << 20;
/// What small weights are cut from. A larger one has a chunk of its own, which is given back with it.
const CHUNK_BYTES: usize = 16 << 20;

/// One aligned piece of memory. Pages are mapped by the system when first touched.
pub(crate) struct Floats {
    ptr: NonNull<f32>,
    len: usize,
    /// What it was cut from; `None` for an allocation of its own, or nothing at all.
    chunk: Option<Arc<Chunk>>,
}

/// Mapped memory that begins at a huge page, where it has them, and is unmapped when its last piece is dropped.
struct Chunk {
    _memory: MmapMut,
    /// The first byte in use.
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a chunk only keeps memory; what lies in it is reached through the pieces.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

/// The chunk that small weights are being cut from, and how many of its bytes are taken. Pieces are never given back to it, so that
/// each piece begins as zeros.
static OPEN: Mutex<(Weak<Chunk>, usize)> = Mutex::new((Weak::new(), 0));

// SAFETY: the piece is owned; access goes through `&Context` / `&mut Context` and the contracts of `View`.
unsafe impl Send for Floats {}
// SAFETY: as above.
unsafe impl Sync for Floats {}

impl Floats {
    fn layout(len: usize) -> Layout {
        Layout::array::<f32>(len)
            .and_then(|layout| layout.align_to(ALIGNMENT_BYTES))
            .map(|layout| layout.pad_to_align())
            .expect("a buffer larger than the address space")
    }

    /// `len` zeros in ordinary pages: for what may never be touched as a whole, such as a cache.
    pub(crate) fn zeroed(len: usize) -> Floats {
        if len == 0 {
            return Floats { ptr: NonNull::dangling(), len, chunk: None };
        }
        let layout = Floats::layout(len);
        if layout.size() >= MAPPED_BYTES {
            let chunk = Arc::new(Chunk::new(layout.size(), Pages::Ordinary));
            return Floats { ptr: chunk.pointer(0), len, chunk: Some(chunk) };
        }
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(raw.cast::<f32>()) else { handle_alloc_error(layout) };
        Floats { ptr, len, chunk: None }
    }

    /// `len` zeros in huge pages where the system has them: for weights.
    pub(crate) fn zeroed_huge(len: usize) -> Floats {
        if len == 0 {
            return Floats::zeroed(0);
        }
        let bytes = Floats::layout(len).size();
        let (chunk, at) = match bytes {
            ..CHUNK_BYTES => take(bytes),
            _ => (Arc::new(Chunk::new(bytes, Pages::Huge)), 0),
        };
        Floats { ptr: chunk.pointer(at), len, chunk: Some(chunk) }
    }

    /// `len` zeros for what grows and is then made anew, such as an arena: in huge pages if it fills some, and given back as a whole.
    pub(crate) fn zeroed_arena(len: usize) -> Floats {
        match len * 4 {
            ..CHUNK_BYTES => Floats::zeroed(len),
            _ => Floats::zeroed_huge(len),
        }
    }

    /// Number of floats.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first float.
    pub(crate) fn as_ptr(&self) -> *mut f32 {
        self.ptr.as_ptr()
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: `len` initialised (zeroed) floats start at `ptr`; for an empty piece a dangling pointer is allowed.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_slice`; `&mut self` makes it exclusive, and no two pieces of a chunk overlap.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl Drop for Floats {
    fn drop(&mut self) {
        if self.len > 0 && self.chunk.is_none() {
            // SAFETY: allocated in `zeroed` with this very layout.
            unsafe { dealloc(self.ptr.as_ptr().cast::<u8>(), Floats::layout(self.len)) };
        }
    }
}

/// The next `bytes` of the open chunk, or of a new one where they do not fit.
fn take(bytes: usize) -> (Arc<Chunk>, usize) {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (chunk, at) = match open.0.upgrade() {
        Some(chunk) if open.1 + bytes <= CHUNK_BYTES => (chunk, open.1),
        _ => (Arc::new(Chunk::new(CHUNK_BYTES, Pages::Huge)), 0),
    };
    *open = (Arc::downgrade(&chunk), at + bytes);
    (chunk, at)
}

/// Of what size the pages of a chunk should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    Ordinary,
    Huge,
}

impl Chunk {
    fn new(bytes: usize, pages: Pages) -> Chunk {
        // a page is aligned well enough for anything but a huge page
        let alignment = if pages == Pages::Huge { HUGE_PAGE_BYTES } else { ALIGNMENT_BYTES };
        let padded = bytes.checked_add(alignment).expect("a buffer larger than the address space");
        let memory = MmapOptions::new().len(padded).map_anon();
        let mut memory = memory.unwrap_or_else(|reason| panic!("no memory for {bytes} bytes: {reason}"));
        let offset = memory.as_ptr().align_offset(alignment);
        #[cfg(target_os = "linux")]
        if pages == Pages::Huge {
            // A system that refuses gives ordinary pages, which is slower and no error.
            let _ = memory.advise_range(memmap2::Advice::HugePage, offset, bytes);
        }
        let start = NonNull::from(&mut memory[offset..]).cast();
        Chunk { start, bytes, _memory: memory }
    }

    /// The float `at` bytes from the beginning.
    fn pointer(&self, at: usize) -> NonNull<f32> {
        assert!(at < self.bytes);
        // SAFETY: within the mapping, as just asserted.
        unsafe { self.start.add(at) }.cast()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// Bytes in memory of the mapping that holds an address.
    fn resident(address: usize) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let holds = |line: &&str| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |hex: &str| usize::from_str_radix(hex, 16).ok();
            range.and_then(|(from, to)| Some(number(from)? <= address && address < number(to)?)).unwrap_or(false)
        };
        let mut lines = maps.lines().skip_while(|line| !holds(line));
        let line = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// A cache has room for all positions of a model, and most conversations are short.
    #[test]
    fn zeros_take_memory_only_once_they_are_touched() {
        const LEN: usize = 256 << 20;
        for make in [Floats::zeroed, Floats::zeroed_huge, Floats::zeroed_arena] {
            let mut floats = make(LEN);
            assert_eq!((floats.as_ptr() as usize % ALIGNMENT_BYTES, floats.len()), (0, LEN));
            floats.as_mut_slice()[LEN / 2..LEN / 2 + 1000].fill(1.0);
            assert!(floats.as_slice()[LEN / 2 + 999..LEN / 2 + 1001] == [1.0, 0.0]);
            let resident = resident(floats.as_ptr() as usize + 2 * LEN);
            // other tests may map memory beside it
            assert!(resident < LEN as u64, "{resident} bytes");
        }
    }
}
