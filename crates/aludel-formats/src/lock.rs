//! One writer per folder: an advisory lock on `.aludel.lock` that the system releases with the process, however it
//! ends. What is written to the folder, and whether it may be replaced, is left to the caller.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The lock's file name inside of the folder.
pub const LOCK_FILE_NAME: &str = ".aludel.lock";

/// The exclusive right to write in a folder, until it is dropped.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    file: File,
    created_folder: bool,
}

impl FolderLock {
    /// Takes the lock, creating the folder where it is missing.
    ///
    /// # Errors
    /// [`Error::Locked`] with the holder's process number if another process (or this one) has it, [`Error::Io`] if the
    /// folder or the lock file cannot be made.
    pub fn acquire(folder: &Path) -> Result<FolderLock> {
        let path = folder.join(LOCK_FILE_NAME);
        // The holder removes the file on release, so the opened file may no longer be the one at the path.
        const ATTEMPTS: usize = 16;
        for _ in 0..ATTEMPTS {
            let (file, created_folder) = open(folder, &path)?;
            match file.try_lock() {
                Ok(()) if is_still_at(&file, &path) => return claim(folder, file, created_folder),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Locked { path: folder.to_owned(), holder: read_holder(&path) });
                }
                Err(TryLockError::Error(reason)) => return Err(Error::io(&path, "lock the folder")(reason)),
            }
        }
        Err(Error::Locked { path: folder.to_owned(), holder: None })
    }

    /// Waits for the lock: for folders that several processes fill with the same files, where the first one does the work and the others
    /// find it done.
    ///
    /// A file system without locks is no reason to refuse here: two processes may then do the same work, no more, if each
    /// file is put into place complete.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder or the lock file cannot be made.
    pub fn wait(folder: &Path) -> Result<FolderLock> {
        let path = folder.join(LOCK_FILE_NAME);
        loop {
            let (file, created_folder) = open(folder, &path)?;
            match file.lock() {
                Err(reason) if reason.kind() != ErrorKind::Unsupported => {
                    return Err(Error::io(&path, "lock the folder")(reason));
                }
                _ if is_still_at(&file, &path) => return claim(folder, file, created_folder),
                _ => {}
            }
        }
    }

    /// The locked folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        let path = self.folder.join(LOCK_FILE_NAME);
        // Removed while still locked, and only if it is ours: the folder may have been replaced meanwhile.
        if is_still_at(&self.file, &path) && cfg!(unix) {
            // A lock file that remains is harmless, so a failure here is not reported.
            let _ = fs::remove_file(&path);
        }
        let _ = self.file.unlock();
        if self.created_folder {
            // Succeeds only on an empty folder: no result was written, so the folder is removed.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// Opens the lock file, creating the folder if it is missing; returns whether it was.
fn open(folder: &Path, path: &Path) -> Result<(File, bool)> {
    // A holder removes a folder that it leaves empty, possibly between two of the calls below, and another process may create it again.
    const ATTEMPTS: usize = 1_000;
    let mut created_folder = false;
    let mut attempt = 0;
    loop {
        attempt += 1;
        created_folder |= !folder.exists();
        let is_race = |reason: &std::io::Error| {
            let vanished = matches!(reason.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) && !folder.is_file();
            vanished && attempt < ATTEMPTS
        };
        match fs::create_dir_all(folder) {
            Err(reason) if is_race(&reason) => continue,
            made => made.map_err(Error::io(folder, "create the folder"))?,
        }
        // Never truncated on open: it may be the holder's, with its process number inside.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        match options.open(path) {
            Err(reason) if is_race(&reason) => {}
            opened => return Ok((opened.map_err(Error::io(path, "create the folder's lock file"))?, created_folder)),
        }
    }
}

fn claim(folder: &Path, mut file: File, created_folder: bool) -> Result<FolderLock> {
    let path = folder.join(LOCK_FILE_NAME);
    file.set_len(0).map_err(Error::io(&path, "write the folder's lock file"))?;
    writeln!(file, "{}", std::process::id()).map_err(Error::io(&path, "write the folder's lock file"))?;
    Ok(FolderLock { folder: folder.to_owned(), file, created_folder })
}

fn read_holder(path: &Path) -> Option<u32> {
    let mut text = String::new();
    aludel_files::open(path).ok()?.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(unix)]
pub(crate) fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(opened), Ok(there)) => opened.dev() == there.dev() && opened.ino() == there.ino(),
        _ => false,
    }
}

#[cfg(not(unix))]
pub(crate) fn is_still_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::acquire(folder.path()).unwrap();
        let error = FolderLock::acquire(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Locked { holder: Some(pid), .. } if pid == std::process::id()), "{error}");
        assert!(error.to_string().contains("wait until it ends"), "{error}");
        drop(first);
        drop(FolderLock::acquire(folder.path()).unwrap());
    }

    #[test]
    fn nothing_stays_behind_on_release() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("new");
        let lock = FolderLock::acquire(&folder).unwrap();
        assert!(folder.join(LOCK_FILE_NAME).exists());
        drop(lock);
        assert!(!folder.exists());

        let lock = FolderLock::acquire(&folder).unwrap();
        fs::write(folder.join("result"), "kept").unwrap();
        drop(lock);
        assert!(folder.join("result").exists() && !folder.join(LOCK_FILE_NAME).exists());
    }

    #[test]
    fn releasing_leaves_the_lock_of_a_replaced_folder_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("out");
        let old = FolderLock::acquire(&folder).unwrap();
        fs::rename(&folder, parent.path().join("aside")).unwrap();
        let new = FolderLock::acquire(&folder).unwrap();
        drop(old);
        assert!(folder.join(LOCK_FILE_NAME).exists());
        assert!(matches!(FolderLock::acquire(&folder), Err(Error::Locked { .. })));
        drop(new);
    }

    #[test]
    fn whoever_waits_comes_in_one_after_another() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("cache");
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let lock = FolderLock::wait(&folder).unwrap();
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0, "two have the lock");
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(lock);
                });
            }
        });
        assert!(!folder.join(LOCK_FILE_NAME).exists());
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_an_error() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(FolderLock::acquire(&path), Err(Error::Io { .. })));
    }
}
