//! Folders that several runs may fill at once: one writer at a time, and files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// Makes the folder and waits until no other process holds it; held until dropped.
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    pub(crate) fn acquire(folder: &Path) -> Result<FolderLock, Error> {
        let write_error = |path: &Path, reason| Error::Write { path: path.to_path_buf(), reason };
        fs::create_dir_all(folder).map_err(|reason| write_error(folder, reason))?;
        let path = folder.join(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|reason| write_error(&path, reason))?;
        match file.lock() {
            Ok(()) => {}
            // Some network file systems know no locks. Two runs may then do the same work twice, no more: what they
            // rename into place is complete either way.
            Err(reason) if reason.kind() == io::ErrorKind::Unsupported => {}
            Err(reason) => return Err(write_error(&path, reason)),
        }
        Ok(FolderLock { _file: file })
    }
}

/// A file under construction beside its final place. Dropped unfinished, it leaves nothing behind.
pub(crate) struct Partial {
    path: PathBuf,
    temporary: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl Partial {
    /// Begins a file; the folder's lock must be held, so that what an interrupted run left can be overwritten.
    pub(crate) fn create(path: &Path, _lock: &FolderLock) -> Result<Partial, Error> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".partial");
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(|reason| Error::Write { path: path.to_path_buf(), reason })?;
        Ok(Partial { path: path.to_path_buf(), temporary, writer: Some(BufWriter::with_capacity(1 << 20, file)) })
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = match &mut self.writer {
            Some(writer) => writer.write_all(bytes),
            None => Err(io::Error::other("already finished")),
        };
        written.map_err(|reason| self.error(reason))
    }

    /// Overwrites the beginning of the file once its end is known.
    pub(crate) fn finish_with_header(mut self, header: &[u8]) -> Result<(), Error> {
        let finished = self.place(Some(header));
        finished.map_err(|reason| self.error(reason))
    }

    /// Brings the file to disk and gives it its name.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let finished = self.place(None);
        finished.map_err(|reason| self.error(reason))
    }

    fn place(&mut self, header: Option<&[u8]>) -> io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        if let Some(header) = header {
            use std::os::unix::fs::FileExt;
            file.write_all_at(header, 0)?;
        }
        file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        // The new name is on disk only when its folder is.
        match self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    fn error(&self, reason: io::Error) -> Error {
        Error::Write { path: self.path.clone(), reason }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After a rename there is nothing under this name, and a failed clean-up must not hide the error that led here.
        let _ = fs::remove_file(&self.temporary);
    }
}
