//! Builds a cache: reads the next batch of records while the present one is tokenised on all threads, and writes rows in the order
//! of the data. Memory is bounded by two batches, whatever the size of the data.

use std::fmt::Display;
use std::ops::ControlFlow;

use aludel_formats::atomic::Output;
use rayon::prelude::*;

use super::file::RowWriter;
use super::{BuildProgress, CacheKey, DropReason, EncodedRow, Outcomes, RowInfo};
use crate::Error;
use crate::dataset::{ProblemKind, Record, Records};

/// A batch ends at this number of bytes of text or of records, whichever comes first.
const BATCH_TEXT_BYTES: usize = 4 << 20;
const BATCH_RECORDS: usize = 2048;

pub(super) fn build<E: Display + Send>(
    output: &mut Output,
    key: CacheKey,
    threads: usize,
    mut records: Records,
    encode: &(impl Fn(&Record) -> Result<Vec<EncodedRow>, E> + Sync),
    progress: &mut dyn FnMut(BuildProgress) -> ControlFlow<()>,
) -> Result<(), Error> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .build()
        .map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
    let mut building = Building {
        writer: RowWriter::new(output),
        outcomes: Outcomes::default(),
        skip_bad_rows: records.skips_bad_rows(),
        examples: 0,
    };
    let so_far = |building: &Building<'_>, bytes_read: u64, bytes_total: u64| BuildProgress {
        records: building.examples,
        tokens: building.outcomes.tokens,
        bytes_read,
        bytes_total,
    };
    let bytes_total = records.bytes_total();
    if progress(so_far(&building, 0, bytes_total)).is_break() {
        return Err(Error::Stopped);
    }
    let mut batch = read_batch(&mut records)?;
    // Where the present batch ends: the next one is read while it is tokenised, and does not count as done.
    let mut read = records.bytes_read();
    while !batch.is_empty() {
        let (next, encoded) = pool.install(|| {
            rayon::join(|| read_batch(&mut records), || batch.par_iter().map(encode).collect::<Vec<Result<_, E>>>())
        });
        for (record, rows) in batch.iter().zip(encoded) {
            building.take(record, rows)?;
        }
        batch = next?;
        // The reader's buffer may hold several batches: while there is another, the file does not count as done.
        let done = if batch.is_empty() { read } else { read.min(bytes_total.saturating_sub(1)) };
        if progress(so_far(&building, done, bytes_total)).is_break() {
            return Err(Error::Stopped);
        }
        read = records.bytes_read();
    }
    building.finish(key, &records)
}

struct Building<'a> {
    writer: RowWriter<'a>,
    outcomes: Outcomes,
    skip_bad_rows: bool,
    examples: u64,
}

impl Building<'_> {
    fn take<E: Display>(&mut self, record: &Record, rows: Result<Vec<EncodedRow>, E>) -> Result<(), Error> {
        let example = self.examples;
        self.examples += 1;
        let place = &record.provenance;
        match rows {
            Ok(rows) => rows.into_iter().try_for_each(|row| self.take_row(record, example, row)),
            Err(reason) if self.skip_bad_rows => {
                self.outcomes.records.add_bad(ProblemKind::Encode, &place.file, place.line, reason.to_string());
                Ok(())
            }
            Err(reason) => {
                Err(Error::NotEncoded { path: place.file.to_path_buf(), line: place.line, reason: reason.to_string() })
            }
        }
    }

    fn take_row(&mut self, record: &Record, example: u64, row: EncodedRow) -> Result<(), Error> {
        let (ids, weights, context, truncated, reasoning) = match row {
            EncodedRow::Kept { ids, weights, context, truncated, reasoning } => {
                (ids, weights, context, truncated, reasoning)
            }
            EncodedRow::Dropped(DropReason::Unsupervised) => {
                self.outcomes.unsupervised += 1;
                return Ok(());
            }
        };
        assert_eq!(ids.len(), weights.len(), "an encoded row has one weight for each token");
        let supervised = weights.iter().filter(|weight| **weight != 0.0).count();
        if supervised == 0 {
            self.outcomes.unsupervised += 1;
            return Ok(());
        }
        let info = RowInfo {
            tokens: ids.len() as u32,
            supervised: supervised as u32,
            example,
            prompt_key: record.prompt_key,
            file_index: record.provenance.file_index,
            line: record.provenance.line,
        };
        self.writer.push(&ids, &weights, &context, info)?;
        self.outcomes.rows += 1;
        self.outcomes.truncated += u64::from(truncated);
        self.outcomes.reasoning += u64::from(reasoning);
        self.outcomes.tokens += ids.len() as u64;
        self.outcomes.supervised_tokens += supervised as u64;
        Ok(())
    }

    fn finish(mut self, key: CacheKey, records: &Records) -> Result<(), Error> {
        // The reader's reasons come first, since its rows never reached the encoder.
        let not_encoded = std::mem::take(&mut self.outcomes.records);
        self.outcomes.records = records.counts().clone();
        self.outcomes.records.rows -= not_encoded.bad_rows();
        self.outcomes.records.bad.extend(not_encoded.bad);
        if let Some(error) = self.outcomes.records.nothing_left() {
            return Err(error);
        }
        if self.outcomes.rows == 0 {
            return Err(Error::NothingToTrain { too_long: 0, unsupervised: self.outcomes.unsupervised });
        }
        self.writer.finish(key, &self.outcomes)
    }
}

fn read_batch(records: &mut Records) -> Result<Vec<Record>, Error> {
    let mut batch = Vec::new();
    let mut text_bytes = 0;
    while text_bytes < BATCH_TEXT_BYTES && batch.len() < BATCH_RECORDS {
        let Some(record) = records.next() else { break };
        let record = record?;
        text_bytes += record.text_bytes();
        batch.push(record);
    }
    Ok(batch)
}
