//! Access to device memory that ops have while they run, on processors: raw views, whose bounds are checked once, and the check that
//! what an op writes overlaps nothing else.

use super::handles::Place;

/// Asserts that what an op writes shares no element with anything else it touches: the precondition of the raw row
/// access below. An op's own scratch is among what it writes: a handle may outlive the scratch that it was made for. What
/// is read by slices over several rows is named by its [`super::Mat::span`].
pub(crate) fn assert_apart(outputs: &[Place], inputs: &[Place]) {
    for (i, output) in outputs.iter().enumerate() {
        for other in outputs[i + 1..].iter().chain(inputs) {
            assert!(output.is_apart(other), "an op's output overlaps another operand: {output:?}, {other:?}");
        }
    }
}

/// Raw, bounds-checked access to a matrix, shared by the threads of one op.
#[derive(Clone, Copy)]
pub(crate) struct View<T = f32> {
    pub(crate) ptr: *mut T,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) ld: usize,
}

// SAFETY: a view is only an address; every use of it is an unsafe call whose contract names the sharing rule.
unsafe impl<T> Send for View<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for View<T> {}

impl<T: bytemuck::Pod> View<T> {
    /// The address of element `index` counted from the first; a method, so that closures capture the whole (shareable) view.
    #[inline(always)]
    pub(crate) fn at(self, index: usize) -> *mut T {
        self.ptr.wrapping_add(index)
    }

    /// Distance between rows.
    #[inline(always)]
    pub(crate) fn ld(self) -> usize {
        self.ld
    }

    /// # Safety
    /// No other thread may write this row while the slice lives, and the context must outlive it.
    #[inline]
    pub(crate) unsafe fn row<'a>(self, row: usize) -> &'a [T] {
        assert!(row < self.rows);
        // SAFETY: rows lie within the buffer (checked when the view was made); the caller vouches for the sharing.
        unsafe { std::slice::from_raw_parts(self.ptr.add(row * self.ld), self.cols) }
    }

    /// # Safety
    /// No one else may touch this row while the slice lives, and the context must outlive it.
    #[inline]
    pub(crate) unsafe fn row_mut<'a>(self, row: usize) -> &'a mut [T] {
        assert!(row < self.rows);
        // SAFETY: as in `row`, with the caller's promise of exclusivity.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(row * self.ld), self.cols) }
    }
}

impl<T: bytemuck::Pod> View<T> {
    /// Rows `row .. row + rows` from column `col` on, as one slice that also spans the gaps between them: element (i, j) is
    /// at `i·ld + j`.
    ///
    /// # Safety
    /// No one may write anything in that span while the slice lives.
    #[inline]
    pub(crate) unsafe fn block<'a>(self, row: usize, rows: usize, col: usize, cols: usize) -> &'a [T] {
        assert!(row + rows <= self.rows && col + cols <= self.cols && rows > 0);
        // SAFETY: the span ends with the last row's last column, inside the buffer; the caller vouches for the sharing.
        unsafe { std::slice::from_raw_parts(self.ptr.add(row * self.ld + col), (rows - 1) * self.ld + cols) }
    }

    /// Columns `col .. col + cols` of one row.
    ///
    /// # Safety
    /// No one else may touch these elements while the slice lives.
    #[inline]
    pub(crate) unsafe fn part_mut<'a>(self, row: usize, col: usize, cols: usize) -> &'a mut [T] {
        assert!(row < self.rows && col + cols <= self.cols);
        // SAFETY: inside the buffer; the caller vouches for exclusivity.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(row * self.ld + col), cols) }
    }
}
