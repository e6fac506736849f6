//! Handles of device memory: matrices and lists, valid only with their context, and the raw view that an op has of a
//! matrix while it runs.

/// A matrix of f32 in device memory: a handle, cheap to copy, meaningless without its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mat {
    pub(super) buffer: usize,
    pub(super) offset: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) ld: usize,
}

impl Mat {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Rows `start .. start + count` of this matrix.
    pub fn row_range(&self, start: usize, count: usize) -> Mat {
        assert!(is_within(start, count, self.rows), "{count} rows from row {start} on, of {}", self.rows);
        Mat { offset: self.offset + start * self.ld, rows: count, ..*self }
    }

    /// Columns `start .. start + count` of this matrix; the distance between rows stays.
    pub fn col_range(&self, start: usize, count: usize) -> Mat {
        assert!(is_within(start, count, self.cols), "{count} columns from column {start} on, of {}", self.cols);
        Mat { offset: self.offset + start, cols: count, ..*self }
    }

    /// The same elements as `rows × cols`; only for a matrix whose rows lie end to end.
    pub fn reshape(&self, rows: usize, cols: usize) -> Mat {
        assert!(self.ld == self.cols || self.rows <= 1, "reshape of a matrix with gaps between its rows");
        assert_eq!(rows.checked_mul(cols), Some(self.rows * self.cols), "reshape changes the number of elements");
        Mat { rows, cols, ld: cols, ..*self }
    }

    pub(super) fn end(&self) -> usize {
        if self.rows == 0 || self.cols == 0 { self.offset } else { self.offset + (self.rows - 1) * self.ld + self.cols }
    }

    /// Everything from the first element to the last, the gaps between the rows included: what a slice over several rows covers.
    pub(crate) fn span(&self) -> Mat {
        let cols = self.end() - self.offset;
        Mat { rows: 1, cols, ld: cols, ..*self }
    }

    /// Whether no element belongs to both.
    fn is_apart(&self, other: &Mat) -> bool {
        if self.buffer != other.buffer || self.end() <= other.offset || other.end() <= self.offset {
            return true;
        }
        let is_empty = |mat: &Mat| mat.rows == 0 || mat.cols == 0;
        if is_empty(self) || is_empty(other) {
            return true;
        }
        if self.rows > 1 && other.rows > 1 && self.ld != other.ld {
            return (0..self.rows).all(|row| self.row_range(row, 1).is_apart(other));
        }
        // The distance between the rows of both; a single row has any.
        let ld = if self.rows > 1 { self.ld } else { other.ld } as isize;
        // Elements (i, j) and (i', j') are one where (i − i')·ld + (j − j') is the distance between the first elements.
        let distance = other.offset as isize - self.offset as isize;
        let least = -(self.cols as isize - 1 - distance).div_euclid(ld);
        let most = (distance + other.cols as isize - 1).div_euclid(ld);
        least.max(1 - other.rows as isize) > most.min(self.rows as isize - 1)
    }
}

/// Whether `count` things from number `start` on are among `all`.
pub(super) fn is_within(start: usize, count: usize, all: usize) -> bool {
    start <= all && count <= all - start
}

/// The number of elements; what no memory could hold is a programming error, reported before offsets could wrap around.
pub(super) fn elements(rows: usize, cols: usize) -> usize {
    let elements = rows.checked_mul(cols).filter(|elements| *elements <= isize::MAX as usize / 8);
    elements.unwrap_or_else(|| panic!("a matrix of {rows} × {cols}"))
}

/// A list of u32 (token ids, positions, row numbers) in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indices {
    pub(super) buffer: usize,
    pub(super) offset: usize,
    pub(super) len: usize,
}

impl Indices {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the list has no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries `start .. start + count`.
    pub fn range(&self, start: usize, count: usize) -> Indices {
        assert!(is_within(start, count, self.len), "{count} entries from entry {start} on, of {}", self.len);
        Indices { offset: self.offset + start, len: count, ..*self }
    }

    /// The memory that the list lies in, for [`assert_apart`].
    pub(crate) fn memory(&self) -> Mat {
        Mat { buffer: self.buffer, offset: self.offset, rows: 1, cols: self.len, ld: self.len }
    }
}

/// Asserts that what an op writes shares no element with anything else it touches: the precondition of the raw row
/// access below. An op's own scratch is among what it writes: a handle may outlive the scratch that it was made for. What
/// is read by slices over several rows is named by its [`Mat::span`].
pub(crate) fn assert_apart(outputs: &[Mat], inputs: &[Mat]) {
    for (i, output) in outputs.iter().enumerate() {
        for other in outputs[i + 1..].iter().chain(inputs) {
            assert!(output.is_apart(other), "an op's output overlaps another operand: {output:?}, {other:?}");
        }
    }
}

/// Raw, bounds-checked access to a matrix, shared by the threads of one op.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) ptr: *mut f32,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) ld: usize,
}

// SAFETY: a view is only an address; every use of it is an unsafe call whose contract names the sharing rule.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// The address of element `index` counted from the first; a method, so that closures capture the whole (shareable) view.
    #[inline(always)]
    pub(crate) fn at(self, index: usize) -> *mut f32 {
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
    pub(crate) unsafe fn row<'a>(self, row: usize) -> &'a [f32] {
        assert!(row < self.rows);
        // SAFETY: rows lie within the buffer (checked when the view was made); the caller vouches for the sharing.
        unsafe { std::slice::from_raw_parts(self.ptr.add(row * self.ld), self.cols) }
    }

    /// # Safety
    /// No one else may touch this row while the slice lives, and the context must outlive it.
    #[inline]
    pub(crate) unsafe fn row_mut<'a>(self, row: usize) -> &'a mut [f32] {
        assert!(row < self.rows);
        // SAFETY: as in `row`, with the caller's promise of exclusivity.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(row * self.ld), self.cols) }
    }
}

impl View {
    /// Rows `row .. row + rows` from column `col` on, as one slice that also spans the gaps between them: element (i, j) is
    /// at `i·ld + j`.
    ///
    /// # Safety
    /// No one may write anything in that span while the slice lives.
    #[inline]
    pub(crate) unsafe fn block<'a>(self, row: usize, rows: usize, col: usize, cols: usize) -> &'a [f32] {
        assert!(row + rows <= self.rows && col + cols <= self.cols && rows > 0);
        // SAFETY: the span ends with the last row's last column, inside the buffer; the caller vouches for the sharing.
        unsafe { std::slice::from_raw_parts(self.ptr.add(row * self.ld + col), (rows - 1) * self.ld + cols) }
    }

    /// Columns `col .. col + cols` of one row.
    ///
    /// # Safety
    /// No one else may touch these elements while the slice lives.
    #[inline]
    pub(crate) unsafe fn part_mut<'a>(self, row: usize, col: usize, cols: usize) -> &'a mut [f32] {
        assert!(row < self.rows && col + cols <= self.cols);
        // SAFETY: inside the buffer; the caller vouches for exclusivity.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(row * self.ld + col), cols) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::device::Context;

    #[test]
    fn overlap_is_seen() {
        let mut ctx = Context::cpu(1);
        let mat = ctx.persistent(4, 8);
        assert!(mat.row_range(0, 2).is_apart(&mat.row_range(2, 2)));
        assert!(!mat.row_range(0, 3).is_apart(&mat.row_range(2, 2)));
        assert!(mat.col_range(0, 4).is_apart(&mat.col_range(4, 4)));
        assert!(!mat.col_range(0, 5).is_apart(&mat.col_range(4, 4)));
    }

    #[test]
    fn column_ranges_are_compared_wherever_the_matrix_begins() {
        let whole = Mat { buffer: 0, offset: 48, rows: 4, cols: 32, ld: 32 };
        assert!(!whole.col_range(0, 20).is_apart(&whole.col_range(10, 20)));
        assert!(!whole.col_range(0, 17).is_apart(&whole.col_range(16, 16)));
        assert!(whole.col_range(0, 16).is_apart(&whole.col_range(16, 16)));
    }

    fn cells(mat: &Mat) -> HashSet<usize> {
        (0..mat.rows).flat_map(|row| (0..mat.cols).map(move |col| mat.offset + row * mat.ld + col)).collect()
    }

    fn any_mat() -> impl Strategy<Value = Mat> {
        (0..70usize, 0..7usize, 0..9usize, 0..9usize).prop_map(|(offset, rows, cols, gap)| {
            // Distances are drawn from few values, so that two matrices often have the same.
            Mat { buffer: 0, offset, rows, cols, ld: (cols + gap).next_multiple_of(4).max(1) }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn apart_is_what_shares_no_element(a in any_mat(), b in any_mat()) {
            let shares = !cells(&a).is_disjoint(&cells(&b));
            prop_assert_eq!(a.is_apart(&b), !shares);
            prop_assert_eq!(b.is_apart(&a), !shares);
            prop_assert!(cells(&a).is_subset(&cells(&a.span())));
        }
    }
}
