//! A file mapped read-only into memory: the one place of this crate with `unsafe`. What the bytes mean is left to the
//! readers.
#![allow(unsafe_code)] // Mapping a file is unsafe by nature: see the SAFETY line.

use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// A file in memory, for readers of other crates.
pub struct MappedFile(Mapped);

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

    /// Gives its memory back to the system. The bytes can be read again, from the system's cache or the file.
    pub fn release(&self) {
        self.0.release(&(0..self.0.len()));
    }
}

/// The bytes of a file.
#[derive(Debug)]
pub(crate) struct Mapped(Mmap);

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Mapped {
    /// Gives the memory of these bytes back to the system. They can be read again, from the system's cache or the file.
    pub(crate) fn release(&self, bytes: &Range<usize>) {
        #[cfg(unix)]
        if !bytes.is_empty() {
            // SAFETY: these are pages of a file that are never written to; the system reads what is dropped from the file
            // again, so that every `&[u8]` keeps its bytes.
            let released =
                unsafe { self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, bytes.start, bytes.len()) };
            // Advice that is not taken costs memory and nothing else.
            drop(released);
        }
    }
}

/// Maps a whole regular file. An empty file is refused, as no format here allows one.
pub(crate) fn map_file(path: &Path) -> Result<Mapped> {
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
    unsafe { Mmap::map(&file) }.map(Mapped).map_err(Error::io(path, "map the file into memory"))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// Kilobytes of the mapped file that are in this process's memory.
    fn resident(path: &Path) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.ends_with(path.to_str().unwrap()));
        let line = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn released_bytes_take_no_memory_and_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        let bytes: Vec<u8> = (0..4_000_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let map = map_file(&path).unwrap();
        assert!(*map == *bytes);
        assert!(resident(&path) > 3_900);
        // neither end is that of a page
        map.release(&(1_000_001..3_999_999));
        assert!(resident(&path) < 1_100, "{} kB", resident(&path));
        assert!(*map == *bytes);
        map.release(&(0..0));
        map.release(&(0..bytes.len()));
        assert_eq!(resident(&path), 0);
    }
}
