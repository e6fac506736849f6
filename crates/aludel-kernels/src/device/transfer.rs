//! The ways into device memory and out of it: uploads, downloads, and copies from one matrix to another.

use bytemuck::Pod;

use super::{Context, Indices, List, Mat, Region, assert_apart};

impl Context {
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
        self.upload_list(values.iter().copied())
    }

    /// Copies a list into the Io arena.
    pub fn upload_list<T: Pod>(&mut self, values: impl ExactSizeIterator<Item = T>) -> List<T> {
        let list = self.alloc_list(values.len());
        self.write_list(list, values);
        list
    }

    /// An uninitialised list of `len` entries in the Io arena.
    pub fn alloc_list<T: Pod>(&mut self, len: usize) -> List<T> {
        List::new(self.place(Region::Io, 1, len * List::<T>::WORDS))
    }

    /// A list of `len` zeroed entries that lives as long as the context.
    pub(crate) fn persistent_list<T: Pod>(&mut self, len: usize) -> List<T> {
        List::new(self.persistent_place(1, len * List::<T>::WORDS))
    }

    /// Copies a list of u32 to memory that lives as long as the context.
    pub fn upload_persistent_indices(&mut self, values: &[u32]) -> Indices {
        let list = self.persistent_list(values.len());
        self.write_list(list, values.iter().copied());
        list
    }

    /// Overwrites the entries of a list.
    ///
    /// # Panics
    /// If there are more or fewer values than entries.
    pub fn write_list<T: Pod>(&mut self, list: List<T>, values: impl ExactSizeIterator<Item = T>) {
        assert_eq!(values.len(), list.len(), "a list of another length");
        if self.planning {
            return;
        }
        let place = list.place();
        let entries = bytemuck::cast_slice_mut(&mut self.buffer_mut(place)[place.offset..place.end()]);
        entries.iter_mut().zip(values).for_each(|(entry, value)| *entry = value);
    }

    /// Overwrites `mat` with `values` (row-major, as many as the matrix has elements).
    ///
    /// # Panics
    /// If there are more or fewer values than elements.
    pub fn write<T: Pod>(&mut self, mat: Mat<T>, values: &[T]) {
        let place = mat.place();
        assert_eq!(values.len(), place.rows * place.cols, "{}×{} matrix", place.rows, place.cols);
        if self.planning || values.is_empty() {
            return;
        }
        let buffer = self.buffer_mut(place);
        for (row, source) in values.chunks_exact(place.cols).enumerate() {
            let start = place.offset + row * place.ld;
            buffer[start..start + place.cols].copy_from_slice(bytemuck::cast_slice(source));
        }
    }

    /// Copies a matrix to the host, row-major. While planning, zeros.
    pub fn download<T: Pod>(&self, mat: Mat<T>) -> Vec<T> {
        let mut out = Vec::with_capacity(mat.rows() * mat.cols());
        self.download_into(mat, &mut out);
        out
    }

    /// [`Context::download`] into a buffer that is used again for each pass; what it held is gone.
    pub fn download_into<T: Pod>(&self, mat: Mat<T>, out: &mut Vec<T>) {
        out.clear();
        if self.planning {
            out.resize(mat.rows() * mat.cols(), T::zeroed());
            return;
        }
        let place = mat.place();
        let buffer = self.buffer(place).as_slice();
        for row in 0..place.rows {
            let start = place.offset + row * place.ld;
            out.extend_from_slice(bytemuck::cast_slice(&buffer[start..start + place.cols]));
        }
    }

    /// Copies a list to the host, into a buffer that is used again for each pass. While planning, zeros.
    pub fn download_list_into<T: Pod>(&self, list: List<T>, out: &mut Vec<T>) {
        out.clear();
        match self.planning {
            true => out.resize(list.len(), T::zeroed()),
            false => out.extend_from_slice(self.entries(list)),
        }
    }

    /// The only element of a matrix. While planning, zero.
    ///
    /// # Panics
    /// If there are more or none.
    pub fn download_value(&self, mat: Mat) -> f32 {
        assert_eq!((mat.rows(), mat.cols()), (1, 1), "a matrix of one element");
        if self.planning {
            return 0.0;
        }
        self.buffer(mat.place()).as_slice()[mat.place().offset]
    }

    /// Sets all elements to zero.
    pub fn zero(&mut self, mat: Mat) {
        if self.planning {
            return;
        }
        let place = mat.place();
        let buffer = self.buffer_mut(place);
        for row in 0..place.rows {
            let start = place.offset + row * place.ld;
            buffer[start..start + place.cols].fill(0.0);
        }
    }

    /// Copies `source` to `target` of the same shape.
    ///
    /// # Panics
    /// If the shapes differ, or if the matrices share elements.
    pub fn copy(&mut self, source: Mat, target: Mat) {
        assert_eq!((source.rows(), source.cols()), (target.rows(), target.cols()), "copy between different shapes");
        if self.planning {
            return;
        }
        assert_apart(&[target.place()], &[source.place()]);
        let (from, to) = (self.view(source), self.view(target));
        for row in 0..source.rows() {
            // SAFETY: the two matrices share no element (asserted), and `&mut self` keeps everyone else out.
            unsafe { to.row_mut(row).copy_from_slice(from.row(row)) };
        }
    }
}
