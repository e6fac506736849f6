//! Cache folders, which several runs may want to fill at once: the first does the work and the others wait for it. That
//! each file appears whole or not at all is seen to by `aludel-formats`.

use std::fs::{self, File};
use std::io;
use std::path::Path;

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
