//! Parquet files as JSON lines: read here, in batches of rows, each of which counts as a line (`cells` formats values), and written
//! from a file of JSON lines by `write`.

mod cells;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

pub use write::write_parquet;

use cells::Cells;

/// Rows in a batch: few, since one may be long.
const BATCH_ROWS: usize = 128;

/// Why a Parquet file cannot be read.
pub(super) enum ParquetFault {
    /// It is inconsistent.
    Damaged(String),
    /// All of its columns have an unsupported compression.
    Packing(&'static str),
}

/// The rows of a Parquet file as lines of JSON; columns that are null are left out, and those with an unsupported compression hold
/// a marker string.
pub(super) struct ParquetLines {
    batches: ParquetRecordBatchReader,
    /// The members of each line for columns that cannot be decompressed.
    sealed: Vec<u8>,
    lines: Vec<u8>,
    /// How much of the lines was consumed.
    taken: usize,
    rows: u64,
    rows_total: u64,
    file_bytes: u64,
    bytes_read: Arc<AtomicU64>,
}

impl ParquetLines {
    /// Reads a file's footer; `bytes_read` is updated in proportion to the rows.
    ///
    /// # Errors
    /// An invalid footer.
    pub(super) fn open(file: File, file_bytes: u64, bytes_read: Arc<AtomicU64>) -> Result<ParquetLines, ParquetFault> {
        // The file's own types suffice: those that Arrow records beside them (dictionaries, large lists, time zones) hold the same.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let opened = guarded(|| ParquetRecordBatchReaderBuilder::try_new_with_options(file, options));
        let builder =
            opened.map_err(ParquetFault::Damaged)?.map_err(|error| ParquetFault::Damaged(error.to_string()))?;
        check_places(builder.metadata(), file_bytes).map_err(ParquetFault::Damaged)?;
        let sealed = sealed_columns(builder.metadata());
        let roots = builder.metadata().file_metadata().schema_descr().root_schema().get_fields().len();
        if let (Some(packing), true) = (sealed.values().next(), sealed.len() == roots) {
            return Err(ParquetFault::Packing(packing));
        }
        let mut sealed_text = Vec::new();
        for (column, packing) in &sealed {
            let name = builder.metadata().file_metadata().schema_descr().root_schema().get_fields()[*column].name();
            cells::push_name(name, &mut sealed_text);
            let what = format!("what cannot be unpacked: the column is packed with {packing}, which is not supported");
            cells::push_no_text(&what, &mut sealed_text);
            sealed_text.push(b',');
        }
        let open = (0..roots).filter(|column| !sealed.contains_key(column));
        let mask = ProjectionMask::roots(builder.metadata().file_metadata().schema_descr(), open);
        let rows_total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let batches = guarded(|| builder.with_projection(mask).with_batch_size(BATCH_ROWS).build());
        let batches =
            batches.map_err(ParquetFault::Damaged)?.map_err(|error| ParquetFault::Damaged(error.to_string()))?;
        let (lines, sealed) = (Vec::new(), sealed_text);
        Ok(ParquetLines { batches, sealed, lines, taken: 0, rows: 0, rows_total, file_bytes, bytes_read })
    }

    /// Turns the next batch into lines; `false` at the end.
    fn next_batch(&mut self) -> io::Result<bool> {
        let Some(batch) = guarded(|| self.batches.next()).map_err(io::Error::other)? else { return Ok(false) };
        let batch = batch.map_err(io::Error::other)?;
        self.lines.clear();
        self.taken = 0;
        let cells = Cells::of(&batch).map_err(io::Error::other)?;
        for row in 0..batch.num_rows() {
            cells.push_row(row, &self.sealed, &mut self.lines);
        }
        self.rows += batch.num_rows() as u64;
        let share = self.rows as f64 / self.rows_total.max(1) as f64;
        self.bytes_read.store((share.min(1.0) * self.file_bytes as f64) as u64, Ordering::Relaxed);
        Ok(true)
    }
}

/// The indices of columns with an unsupported compression in any part, and the name of that.
fn sealed_columns(metadata: &ParquetMetaData) -> BTreeMap<usize, &'static str> {
    let mut sealed = BTreeMap::new();
    for group in metadata.row_groups() {
        for (leaf, column) in group.columns().iter().enumerate() {
            let packing = match column.compression() {
                Compression::BROTLI(_) => "brotli",
                Compression::LZO => "LZO",
                _ => continue,
            };
            sealed.insert(metadata.file_metadata().schema_descr().get_column_root_idx(leaf), packing);
        }
    }
    sealed
}

/// Whether all columns are within the file, which the reader assumes.
fn check_places(metadata: &ParquetMetaData, file_bytes: u64) -> Result<(), String> {
    let lies_inside = |column: &ColumnChunkMetaData| {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = u64::try_from(start).ok()?.checked_add(u64::try_from(column.compressed_size()).ok()?)?;
        (end <= file_bytes).then_some(())
    };
    let mut columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    match columns.find(|column| lies_inside(column).is_none()) {
        Some(column) => Err(format!("column {} does not lie inside of the file", column.column_path())),
        None => Ok(()),
    }
}

/// The reader asserts what it expects of a file; a violation by an untrusted file is not a bug.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    aludel_text::catch_panic::catch_panic(read).map_err(|_| "its parts contradict each other".to_string())
}

impl Read for ParquetLines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.lines.len() {
            if !self.next_batch()? {
                return Ok(0);
            }
        }
        let read = (&self.lines[self.taken..]).read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}
