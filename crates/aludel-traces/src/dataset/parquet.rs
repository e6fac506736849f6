//! Parquet as rows of JSON, both ways: read batch by batch as lines of text, where a row counts as a line, and written from a
//! file of JSON lines, whose columns tell their types.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_json::LineDelimitedWriter;
use arrow_json::reader::{ReaderBuilder, infer_json_schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::properties::WriterProperties;

use crate::Error;

/// Rows in a batch: few, since one may be long.
const BATCH_ROWS: usize = 128;

/// The rows of a Parquet file as lines of JSON; columns that are null are left out.
pub(super) struct ParquetLines {
    batches: ParquetRecordBatchReader,
    lines: Vec<u8>,
    /// How much of the lines is taken.
    taken: usize,
    rows: u64,
    rows_total: u64,
    file_bytes: u64,
    bytes_read: Arc<AtomicU64>,
}

impl ParquetLines {
    /// Reads a file's footer; `bytes_read` is told in proportion to the rows.
    ///
    /// # Errors
    /// What is wrong with the footer.
    pub(super) fn open(file: File, file_bytes: u64, bytes_read: Arc<AtomicU64>) -> Result<ParquetLines, String> {
        let opened = guarded(|| ParquetRecordBatchReaderBuilder::try_new(file))?;
        let builder = opened.map_err(|error| error.to_string())?;
        check_places(builder.metadata(), file_bytes)?;
        let rows_total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let batches = guarded(|| builder.with_batch_size(BATCH_ROWS).build())?.map_err(|error| error.to_string())?;
        Ok(ParquetLines { batches, lines: Vec::new(), taken: 0, rows: 0, rows_total, file_bytes, bytes_read })
    }

    /// Turns the next batch into lines; `false` at the end.
    fn next_batch(&mut self) -> io::Result<bool> {
        let Some(batch) = guarded(|| self.batches.next()).map_err(io::Error::other)? else { return Ok(false) };
        let batch = batch.map_err(io::Error::other)?;
        self.lines.clear();
        self.taken = 0;
        let mut writer = LineDelimitedWriter::new(&mut self.lines);
        writer.write(&batch).and_then(|()| writer.finish()).map_err(io::Error::other)?;
        self.rows += batch.num_rows() as u64;
        let share = self.rows as f64 / self.rows_total.max(1) as f64;
        self.bytes_read.store((share.min(1.0) * self.file_bytes as f64) as u64, Ordering::Relaxed);
        Ok(true)
    }
}

/// Whether all columns lie inside of the file, which the reader takes for granted.
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

/// The reader asserts what it expects of a file; of a file from outside that is no mistake of a programmer's.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| "its parts contradict each other".to_string())
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

/// Writes the rows of a file of JSON lines as Parquet, compressed with zstd. Columns get the types that all their values fit:
/// texts, numbers, truth values, lists and objects; a column of numbers and texts becomes text. No rows make no file.
///
/// # Errors
/// [`Error::Read`], [`Error::Write`], and [`Error::Parquet`] for rows whose values of one column have no type in common.
pub fn write_parquet(lines: &Path, to: &Path, shown_as: &Path) -> Result<(), Error> {
    let read_error = |reason| Error::Read { path: lines.to_path_buf(), reason };
    let refused = |reason: String| Error::Parquet { path: shown_as.to_path_buf(), reason };
    let mut file = BufReader::new(aludel_files::open(lines).map_err(read_error)?);
    let (schema, rows) = infer_json_schema(&mut file, None).map_err(|error| refused(error.to_string()))?;
    if rows == 0 {
        return Ok(());
    }
    file.rewind().map_err(read_error)?;
    let schema = Arc::new(schema);
    let rows =
        ReaderBuilder::new(Arc::clone(&schema)).with_coerce_primitive(true).with_batch_size(BATCH_ROWS).build(file);
    let rows = rows.map_err(|error| refused(error.to_string()))?;
    let target = File::create(to).map_err(|reason| Error::Write { path: shown_as.to_path_buf(), reason })?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default()));
    let written = ArrowWriter::try_new(target, schema, Some(properties.build())).and_then(|mut writer| {
        for batch in rows {
            writer.write(&batch?)?;
            // Rows wait in memory until their group is whole: it ends by bytes and not only by rows.
            if writer.in_progress_size() > GROUP_BYTES {
                writer.flush()?;
            }
        }
        writer.close().map(|_| ())
    });
    written.map_err(|error| match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(reason) => Error::Write { path: shown_as.to_path_buf(), reason: *reason },
            Err(error) => refused(error.to_string()),
        },
        error => refused(error.to_string()),
    })
}

/// Bytes of a row group.
const GROUP_BYTES: usize = 64 << 20;
