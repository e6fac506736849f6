//! Files and folders that appear completely or not at all: written under a temporary name beside their final one,
//! synced, and renamed. Keeping two writers apart is left to [`crate::lock`]; choosing what may be replaced, to the
//! caller.
//!
//! A temporary file is locked while its writer lives. One whose lock is free was left by a crash and can be removed.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::lock::is_still_at;

const TEMPORARY_PREFIX: &str = ".aludel-tmp-";
const ASIDE_PREFIX: &str = ".aludel-old-";
const BUFFER_BYTES: usize = 1 << 20;

/// Where the content of a file goes until it is complete.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Output {
    /// Appends bytes; an error names the file that is being written.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk for one.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.path, "write the file"))
    }

    /// The file that is being written, under its final name.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a file: `fill` puts the content, which takes the place of an older version only once it is safely on disk.
///
/// If `path` is a symbolic link to a file, the link is replaced and not what it points to. What is there and no file (a folder, a
/// pipe, a device) is never replaced.
///
/// # Errors
/// Those of `fill`, [`Error::WrongKind`] for what is no file, and [`Error::Io`]. After any of them the older version is untouched and the temporary is gone.
pub fn write_file<E: From<Error>>(path: &Path, fill: impl FnOnce(&mut Output) -> Result<(), E>) -> Result<(), E> {
    let (parent, name) = split(path)?;
    refuse_other_than_file(path)?;
    clear_abandoned(&parent, Some(&name));
    let temporary = Temporary::file(&parent, &name)?;
    let handle = temporary.lock.try_clone().map_err(Error::io(path, "create the file"))?;
    let mut output = Output { path: path.to_owned(), file: BufWriter::with_capacity(BUFFER_BYTES, handle) };
    fill(&mut output)?;
    output.flush().map_err(Error::io(path, "write the file"))?;
    if let Ok(older) = fs::symlink_metadata(path)
        && older.is_file()
    {
        fs::set_permissions(&temporary.path, older.permissions())
            .map_err(Error::io(path, "carry over the file's permissions"))?;
    }
    temporary.lock.sync_all().map_err(Error::io(path, "write the file"))?;
    let mut living = living();
    fs::rename(&temporary.path, path).map_err(Error::io(path, "put the new file into place"))?;
    temporary.keep(&mut living);
    drop(living);
    Ok(sync_folder(&parent)?)
}

/// Writes a file of these bytes.
///
/// # Errors
/// As [`write_file`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_file(path, |output| output.put(bytes))
}

/// Writes a file of indented JSON that ends with a line break, as Hugging Face's tools write theirs.
///
/// # Errors
/// As [`write_file`], and [`Error::Json`] for a value that JSON cannot hold.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|reason| Error::Json { path: path.to_owned(), reason: reason.to_string() })?;
    bytes.push(b'\n');
    write_bytes(path, &bytes)
}

/// Writes a whole folder: `fill` gets an empty temporary folder, which then takes the place of `path`.
///
/// An existing folder at `path` is moved aside first and removed last, **with all that is in it**: ask before calling
/// whether it may be replaced, or call [`write_new_dir`]. Missing parents are made. If `path` is a symbolic link to a
/// folder, that folder is replaced. [`recover`] repairs a crash between the two moves.
///
/// # Errors
/// Those of `fill`, and [`Error::Io`]. After any of them the existing folder is back in its place.
pub fn write_dir<E: From<Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let path = follow_link(path)?;
    let (parent, name) = split(&path)?;
    fs::create_dir_all(&parent).map_err(Error::io(&parent, "create the folder"))?;
    clear_abandoned(&parent, Some(&name));
    if path.exists() && !path.is_dir() {
        let wanted = "remove it or choose another output folder";
        return Err(Error::WrongKind { path, found: "a file is in the place of the output folder", wanted }.into());
    }
    let temporary = Temporary::folder(&parent, &name)?;
    fill(&temporary.path)?;
    sync_tree(&temporary.path)?;
    move_into_place(temporary, &path, &parent, &name)?;
    Ok(sync_folder(&parent)?)
}

/// As [`write_dir`], but refuses a `path` where a folder with anything but a lock file is.
///
/// # Errors
/// As [`write_dir`], and [`Error::WrongKind`] for a folder that is in use.
pub fn write_new_dir<E: From<Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let is_kept = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with(".aludel"))
    };
    if fs::read_dir(path).is_ok_and(|mut entries| entries.any(is_kept)) {
        let wanted = "empty it or choose another output folder";
        let found = "this folder already holds files";
        return Err(Error::WrongKind { path: path.to_owned(), found, wanted }.into());
    }
    write_dir(path, fill)
}

/// A folder for intermediate files, beside the file that is written. It is removed when this is dropped, when [`abandon`] ends the process,
/// and after a crash by [`recover`].
pub struct Scratch(Temporary);

impl Scratch {
    /// An empty folder beside `target`.
    ///
    /// # Errors
    /// [`Error::Io`], a missing parent for one.
    pub fn beside(target: &Path) -> Result<Scratch> {
        let (parent, name) = split(target)?;
        clear_abandoned(&parent, Some(&name));
        Temporary::folder(&parent, &name).map(Scratch)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Moves a finished file of the folder to `target`, in the place of an older one, and removes the folder.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if there is something at `target` that is no file, and [`Error::Io`].
    pub fn keep(self, file: &Path, target: &Path) -> Result<()> {
        refuse_other_than_file(target)?;
        let (parent, _) = split(target)?;
        let guard = living();
        fs::rename(file, target).map_err(Error::io(target, "put the new file into place"))?;
        drop(guard);
        sync_folder(&parent)
    }
}

/// Refuses to replace what is there and no file.
fn refuse_other_than_file(path: &Path) -> Result<()> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let (found, wanted) = ("there is a folder, a pipe or a device here", "give the name of a file to write");
        return Err(Error::WrongKind { path: path.to_owned(), found, wanted });
    }
    Ok(())
}

/// Removes the remains of interrupted writes in `folder`: abandoned temporaries are deleted, and a folder that was moved
/// aside is moved back if its replacement is missing. Returns what was removed or put back.
///
/// Safe at any time: files of running processes are locked and kept. What cannot be removed is kept, too.
pub fn recover(folder: &Path) -> Vec<PathBuf> {
    clear_abandoned(folder, None)
}

/// What this process is writing and has not put into place. It is locked while something is put there.
static LIVING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn living() -> MutexGuard<'static, Vec<PathBuf>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While this exists, the process moves no file or folder into place; see [`abandon`].
#[derive(Debug)]
pub struct AbandonGuard {
    _living: MutexGuard<'static, Vec<PathBuf>>,
}

/// Removes all unfinished files of this process and prevents it from moving more into place: for a process that is about to end. Finished
/// files are kept.
pub fn abandon() -> AbandonGuard {
    // Another file may appear in a folder that is still written to after the last one was removed.
    const ATTEMPTS: usize = 100;
    let living = living();
    for path in living.iter() {
        let remove = || if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        for _ in 0..ATTEMPTS {
            let _ = remove();
            if fs::symlink_metadata(path).is_err() {
                break;
            }
        }
    }
    AbandonGuard { _living: living }
}

/// Something on disk that is removed unless it is kept, and locked so that [`recover`] knows it is in use.
struct Temporary {
    path: PathBuf,
    lock: File,
    is_folder: bool,
    is_kept: bool,
}

impl Temporary {
    fn file(parent: &Path, name: &OsStr) -> Result<Temporary> {
        Temporary::create(parent, name, false, |path| OpenOptions::new().write(true).create_new(true).open(path))
    }

    fn folder(parent: &Path, name: &OsStr) -> Result<Temporary> {
        Temporary::create(parent, name, true, |path| {
            fs::create_dir(path)?;
            open_folder(path)
        })
    }

    fn create(
        parent: &Path,
        name: &OsStr,
        is_folder: bool,
        make: impl Fn(&Path) -> io::Result<File>,
    ) -> Result<Temporary> {
        // A recovery may come between creating and locking, so a new name is tried when what was made is gone; a
        // filesystem without locks is fine, as nothing there is ever taken for abandoned.
        const ATTEMPTS: usize = 16;
        let target = parent.join(name);
        for _ in 0..ATTEMPTS {
            let path = parent.join(hidden_name(TEMPORARY_PREFIX, name));
            let mut living = living();
            let lock = match make(&path) {
                Err(reason) if reason.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(Error::io(&target, "create a temporary beside it"))?,
            };
            let _ = lock.try_lock();
            if is_still_at(&lock, &path) {
                living.push(path.clone());
                return Ok(Temporary { path, lock, is_folder, is_kept: false });
            }
        }
        let reason = io::Error::other("temporaries vanish as soon as they are made");
        Err(Error::io(&target, "create a temporary beside it")(reason))
    }

    fn keep(mut self, living: &mut Vec<PathBuf>) {
        self.is_kept = true;
        living.retain(|path| *path != self.path);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_kept {
            living().retain(|path| *path != self.path);
            // The error that led here is the one to report; a later recovery tries again.
            let _ = if self.is_folder { fs::remove_dir_all(&self.path) } else { fs::remove_file(&self.path) };
        }
    }
}

fn move_into_place(temporary: Temporary, path: &Path, parent: &Path, name: &OsStr) -> Result<()> {
    let action = "put the new folder into place";
    if !path.exists() {
        let mut living = living();
        fs::rename(&temporary.path, path).map_err(Error::io(path, action))?;
        temporary.keep(&mut living);
        return Ok(());
    }
    let older = open_folder(path).map_err(Error::io(path, "open the older folder"))?;
    let _ = older.try_lock();
    let aside = parent.join(hidden_name(ASIDE_PREFIX, name));
    let mut living = living();
    fs::rename(path, &aside).map_err(Error::io(path, "move the older folder aside"))?;
    if let Err(reason) = fs::rename(&temporary.path, path) {
        // If even this fails, the next recovery puts it back.
        let _ = fs::rename(&aside, path);
        return Err(Error::io(path, action)(reason));
    }
    temporary.keep(&mut living);
    drop(living);
    // The new folder is in place: the next recovery removes what remains of the older one.
    let _ = fs::remove_dir_all(&aside);
    Ok(())
}

/// Clears the leftovers of one target, or of all of them.
fn clear_abandoned(folder: &Path, target: Option<&OsStr>) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| clear_if_abandoned(folder, &entry.path(), target)).collect()
}

fn clear_if_abandoned(folder: &Path, path: &Path, target: Option<&OsStr>) -> Option<PathBuf> {
    let file_name = path.file_name()?;
    let is_aside = target_of(file_name, ASIDE_PREFIX).is_some();
    let own_target = target_of(file_name, ASIDE_PREFIX).or_else(|| target_of(file_name, TEMPORARY_PREFIX))?;
    if target.is_some_and(|target| target != own_target) {
        return None;
    }
    let is_folder = fs::symlink_metadata(path).ok()?.is_dir();
    let lock = if is_folder { open_folder(path) } else { aludel_files::open(path) }.ok()?;
    lock.try_lock().ok()?;
    let place = folder.join(&own_target);
    if is_aside && !place.exists() {
        return fs::rename(path, &place).ok().map(|()| place);
    }
    let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.ok().map(|()| path.to_owned())
}

/// `.aludel-tmp-<process>-<counter>-<target>`: unique at this moment, and it names its target.
fn hidden_name(prefix: &str, target: &OsStr) -> OsString {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(format!("{prefix}{}-{counter}-", std::process::id()));
    name.push(target);
    name
}

fn target_of(file_name: &OsStr, prefix: &str) -> Option<OsString> {
    // Our own names are text up to the target; a target that is not text is kept, which only costs disk space.
    let rest = file_name.to_str()?.strip_prefix(prefix)?;
    let mut parts = rest.splitn(3, '-');
    let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u64>().is_ok());
    if !is_number(parts.next()) || !is_number(parts.next()) {
        return None;
    }
    parts.next().filter(|target| !target.is_empty()).map(OsString::from)
}

fn split(path: &Path) -> Result<(PathBuf, OsString)> {
    let Some(name) = path.file_name() else {
        let wanted = "end it with the name of what is to be written";
        return Err(Error::WrongKind { path: path.to_owned(), found: "this path has no name at its end", wanted });
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((parent.to_owned(), name.to_owned()))
}

fn follow_link(path: &Path) -> Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_symlink() => fs::canonicalize(path).map_err(Error::io(path, "follow the link")),
        _ => Ok(path.to_owned()),
    }
}

fn sync_tree(folder: &Path) -> Result<()> {
    let action = "save the folder";
    for entry in fs::read_dir(folder).map_err(Error::io(folder, action))? {
        let entry = entry.map_err(Error::io(folder, action))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io(&path, action))?;
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            aludel_files::open(&path).and_then(|file| file.sync_all()).map_err(Error::io(&path, action))?;
        }
    }
    sync_folder(folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> Result<()> {
    open_folder(folder).and_then(|file| file.sync_all()).map_err(Error::io(folder, "save the folder"))
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> Result<()> {
    Ok(()) // Such systems open no folder as a file, and keep renames in order by themselves.
}

#[expect(clippy::disallowed_methods, reason = "a folder is opened to be locked or synced, and never read")]
fn open_folder(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(test)]
mod tests;
