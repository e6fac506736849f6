//! Handles of device memory, cheap to copy and valid only with the context that gave them: matrices, lists and objects, each with the
//! type of what lies there.

use std::marker::PhantomData;

use bytemuck::Pod;

/// Where a matrix or a list lies. Sizes and distances are in words of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The context.
    pub(super) owner: u32,
    pub(super) buffer: usize,
    pub(super) offset: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) ld: usize,
}

/// A matrix in device memory, of f32 unless it says otherwise. `Mat<u32>` holds words that an op packed in a layout of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mat<T = f32> {
    pub(super) place: Place,
    element: PhantomData<T>,
}

impl<T> Mat<T> {
    pub(super) fn new(place: Place) -> Mat<T> {
        Mat { place, element: PhantomData }
    }

    /// Where it lies, for [`super::assert_apart`].
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    fn with(&self, place: Place) -> Mat<T> {
        Mat { place, element: self.element }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.place.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.place.cols
    }

    /// Rows `start .. start + count` of this matrix.
    ///
    /// # Panics
    /// If the range ends beyond the last row.
    pub fn row_range(&self, start: usize, count: usize) -> Mat<T> {
        self.with(self.place.row_range(start, count))
    }

    /// Columns `start .. start + count` of this matrix; the distance between rows stays.
    ///
    /// # Panics
    /// If the range ends beyond the last column.
    pub fn col_range(&self, start: usize, count: usize) -> Mat<T> {
        self.with(self.place.col_range(start, count))
    }

    /// The same elements as `rows × cols`; only for a matrix whose rows lie end to end.
    ///
    /// # Panics
    /// If there are gaps between the rows, or the number of elements would change.
    pub fn reshape(&self, rows: usize, cols: usize) -> Mat<T> {
        let place = self.place;
        assert!(place.ld == place.cols || place.rows <= 1, "reshape of a matrix with gaps between its rows");
        assert_eq!(rows.checked_mul(cols), Some(place.rows * place.cols), "reshape changes the number of elements");
        self.with(Place { rows, cols, ld: cols, ..place })
    }

    /// Everything from the first element to the last, the gaps between the rows included: what a slice over several rows covers.
    pub(crate) fn span(&self) -> Place {
        self.place.span()
    }
}

impl Place {
    fn row_range(&self, start: usize, count: usize) -> Place {
        assert!(is_within(start, count, self.rows), "{count} rows from row {start} on, of {}", self.rows);
        Place { offset: self.offset + start * self.ld, rows: count, ..*self }
    }

    fn col_range(&self, start: usize, count: usize) -> Place {
        assert!(is_within(start, count, self.cols), "{count} columns from column {start} on, of {}", self.cols);
        Place { offset: self.offset + start, cols: count, ..*self }
    }

    /// The word after the last.
    pub(super) fn end(&self) -> usize {
        if self.rows == 0 || self.cols == 0 { self.offset } else { self.offset + (self.rows - 1) * self.ld + self.cols }
    }

    fn span(&self) -> Place {
        let cols = self.end() - self.offset;
        Place { rows: 1, cols, ld: cols, ..*self }
    }

    /// Whether no element belongs to both.
    pub(super) fn is_apart(&self, other: &Place) -> bool {
        if (self.owner, self.buffer) != (other.owner, other.buffer)
            || self.end() <= other.offset
            || other.end() <= self.offset
        {
            return true;
        }
        let is_empty = |place: &Place| place.rows == 0 || place.cols == 0;
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

/// A list in device memory, of u32 (token ids, positions, row numbers) unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct List<T = u32> {
    pub(super) place: Place,
    element: PhantomData<T>,
}

/// A list of u32.
pub type Indices = List<u32>;

impl<T: Pod> List<T> {
    /// Words of one entry.
    pub(super) const WORDS: usize = {
        assert!(
            size_of::<T>().is_multiple_of(4) && size_of::<T>() > 0 && align_of::<T>() <= 64,
            "entries are made of words"
        );
        size_of::<T>() / 4
    };

    pub(super) fn new(place: Place) -> List<T> {
        List { place, element: PhantomData }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.place.cols / List::<T>::WORDS
    }

    /// Whether the list has no entries.
    pub fn is_empty(&self) -> bool {
        self.place.cols == 0
    }

    /// Entries `start .. start + count`.
    ///
    /// # Panics
    /// If the range ends beyond the last entry.
    pub fn range(&self, start: usize, count: usize) -> List<T> {
        assert!(is_within(start, count, self.len()), "{count} entries from entry {start} on, of {}", self.len());
        let words = List::<T>::WORDS;
        List::new(Place { offset: self.place.offset + start * words, cols: count * words, ..self.place })
    }

    /// Where it lies, for [`super::assert_apart`].
    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

impl List<u32> {
    /// The list as the only row of a matrix.
    pub(crate) fn as_row(&self) -> Mat<u32> {
        Mat::new(self.place)
    }
}

/// Something that an op laid out in its own way and that lives as long as the context: a frozen weight, a table of embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(super) owner: u32,
    pub(super) number: usize,
    pub(super) bytes: usize,
}

impl Object {
    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
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
        assert!(mat.row_range(0, 2).place.is_apart(&mat.row_range(2, 2).place));
        assert!(!mat.row_range(0, 3).place.is_apart(&mat.row_range(2, 2).place));
        assert!(mat.col_range(0, 4).place.is_apart(&mat.col_range(4, 4).place));
        assert!(!mat.col_range(0, 5).place.is_apart(&mat.col_range(4, 4).place));
    }

    #[test]
    fn column_ranges_are_compared_wherever_the_matrix_begins() {
        let whole = Place { owner: 0, buffer: 0, offset: 48, rows: 4, cols: 32, ld: 32 };
        assert!(!whole.col_range(0, 20).is_apart(&whole.col_range(10, 20)));
        assert!(!whole.col_range(0, 17).is_apart(&whole.col_range(16, 16)));
        assert!(whole.col_range(0, 16).is_apart(&whole.col_range(16, 16)));
    }

    fn cells(mat: &Place) -> HashSet<usize> {
        (0..mat.rows).flat_map(|row| (0..mat.cols).map(move |col| mat.offset + row * mat.ld + col)).collect()
    }

    fn any_mat() -> impl Strategy<Value = Place> {
        (0..70usize, 0..7usize, 0..9usize, 0..9usize).prop_map(|(offset, rows, cols, gap)| {
            // Distances are drawn from few values, so that two matrices often have the same.
            Place { owner: 0, buffer: 0, offset, rows, cols, ld: (cols + gap).next_multiple_of(4).max(1) }
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
