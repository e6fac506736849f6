//! Memory: one aligned allocation of f32, or of anything that four bytes hold. Who uses which part of it is `device`'s business.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

const ALIGNMENT_BYTES: usize = 64;
/// Floats of one cache line, and of one vector of the widest instruction set.
pub(crate) const ALIGNMENT_FLOATS: usize = ALIGNMENT_BYTES / 4;

/// One aligned allocation. Pages are mapped by the system when first touched.
pub(crate) struct Floats {
    ptr: NonNull<f32>,
    len: usize,
}

// SAFETY: the buffer owns its memory; access goes through `&Context` / `&mut Context` and the contracts of `View`.
unsafe impl Send for Floats {}
// SAFETY: as above.
unsafe impl Sync for Floats {}

impl Floats {
    fn layout(len: usize) -> Layout {
        Layout::array::<f32>(len)
            .and_then(|l| l.align_to(ALIGNMENT_BYTES))
            .expect("a buffer larger than the address space")
    }

    pub(crate) fn zeroed(len: usize) -> Floats {
        if len == 0 {
            return Floats { ptr: NonNull::dangling(), len };
        }
        let layout = Floats::layout(len);
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(raw.cast::<f32>()) else { handle_alloc_error(layout) };
        Floats { ptr, len }
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
        // SAFETY: `len` initialised (zeroed) floats start at `ptr`; for an empty buffer a dangling pointer is allowed.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_slice`; `&mut self` makes it exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl Drop for Floats {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `zeroed` with this very layout.
            unsafe { dealloc(self.ptr.as_ptr().cast::<u8>(), Floats::layout(self.len)) };
        }
    }
}
