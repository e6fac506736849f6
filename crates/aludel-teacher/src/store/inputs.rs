//! The inputs of `--input`: data files and stores of traces, in any mixture, as one source of traces.

use std::path::{Path, PathBuf};

use aludel_data::dataset::ReadOptions;
use aludel_data::trace::{Files, Trace, TraceSource};

use super::{Rows, is_sqlite};
use crate::Error;

/// Data files and stores of traces, distinguished by their first bytes, in the given order.
pub struct Inputs(Vec<Box<dyn TraceSource>>);

impl Inputs {
    /// Looks at each file.
    ///
    /// # Errors
    /// As [`Files::open`] and [`super::Snapshot::open`]; [`Error::Store`] for a store without traces.
    pub fn open(paths: &[PathBuf], options: &ReadOptions) -> Result<Inputs, Error> {
        let mut sources: Vec<Box<dyn TraceSource>> = Vec::new();
        let mut rest = paths;
        while let Some(first) = rest.first() {
            if is_store(first) {
                let rows = Rows::open(first, false)?;
                if rows.is_empty() {
                    return Err(Error::Store {
                        path: first.clone(),
                        reason: "this store holds no traces yet".to_string(),
                        mend: "collect some with `aludel trace --prompts FILE --teacher URL --model NAME --store FILE`; `aludel trace status` \
                               tells what was asked for",
                    });
                }
                sources.push(Box::new(rows.with_tags_of(options)));
                rest = &rest[1..];
                continue;
            }
            let files = rest.iter().position(|path| is_store(path)).unwrap_or(rest.len());
            sources.push(Box::new(Files::open(&rest[..files], options)?));
            rest = &rest[files..];
        }
        match sources.is_empty() {
            true => Err(aludel_data::Error::NoFiles.into()),
            false => Ok(Inputs(sources)),
        }
    }
}

/// Unreadable files are left to the reader of data files, which reports the reason.
fn is_store(path: &Path) -> bool {
    is_sqlite(path).unwrap_or(false)
}

impl TraceSource for Inputs {
    fn traces(
        &self,
    ) -> Result<Box<dyn Iterator<Item = Result<Trace, aludel_data::Error>> + Send + '_>, aludel_data::Error> {
        let sources = self.0.iter().map(|source| source.traces()).collect::<Result<Vec<_>, aludel_data::Error>>()?;
        Ok(Box::new(sources.into_iter().flatten()))
    }

    fn bytes_read(&self) -> Option<(u64, u64)> {
        self.0.iter().try_fold((0, 0), |(read, all), source| {
            let of_source = source.bytes_read()?;
            Some((read + of_source.0, all + of_source.1))
        })
    }
}
