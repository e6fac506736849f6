//! A file mapped read-only into memory: the one place of this crate with `unsafe`. What the bytes mean is left to the
//! readers.
#![allow(unsafe_code)] // Mapping a file is unsafe by nature: see the SAFETY line.

use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// A file in memory, for readers of other crates.
pub struct MappedFile(Mmap);

impl MappedFile {
    /// Maps a whole regular file.
    ///
    /// # Errors
    /// It is absent, no regular file, or empty.
    pub fn open(path: &Path) -> Result<MappedFile> {
        Ok(MappedFile(map_file(path)?))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Maps a whole regular file. An empty file is refused, as no format here allows one.
pub(crate) fn map_file(path: &Path) -> Result<Mmap> {
    let about = aludel_files::metadata(path).map_err(Error::io(path, "open the file"))?;
    if about.is_dir() {
        let wanted = "give the file inside of it";
        return Err(Error::WrongKind { path: path.to_owned(), found: "this is a folder", wanted });
    }
    if !about.is_file() {
        let (found, wanted) = (aludel_files::NO_FILE, aludel_files::TO_A_FILE);
        return Err(Error::WrongKind { path: path.to_owned(), found, wanted });
    }
    let file = aludel_files::open(path).map_err(Error::io(path, "open the file"))?;
    if about.len() == 0 {
        let wanted = "download or copy it again";
        return Err(Error::WrongKind { path: path.to_owned(), found: "this file is empty", wanted });
    }
    // SAFETY: the map is private to this process and read-only, and only `&[u8]` is ever made of it. A file that
    // another process cuts short or rewrites while it is mapped would break the promise of `&[u8]`; our own writers
    // never do so (they rename a new file into place), and no system has a portable way to exclude others.
    unsafe { Mmap::map(&file) }.map_err(Error::io(path, "map the file into memory"))
}
