//! The cache of Hugging Face's tools: `blobs` by their hash, `snapshots/COMMIT/FILE` as links to them, `refs/main` with the commit
//! that was fetched last. Files appear in it completely or not at all; an interrupted download is kept and resumed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use aludel_formats::atomic;
use aludel_formats::lock::FolderLock;
use ring::digest;

use super::Kind;
use super::client::{Body, Client, Failure};
use crate::Error;

/// A repository's folder in the cache.
pub(super) struct Repository {
    folder: PathBuf,
}

impl Repository {
    pub(super) fn new(cache: &Path, kind: Kind, name: &str) -> Repository {
        let kind = match kind {
            Kind::DataSet => "datasets",
            Kind::Model => "models",
        };
        Repository { folder: cache.join(format!("{kind}--{}", name.replace('/', "--"))) }
    }

    /// The path of a file of a commit, if it was fetched.
    pub(super) fn file(&self, commit: &str, file: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit).join(file)
    }

    /// The commit that was fetched last, and its files in the cache.
    pub(super) fn cached(&self) -> Option<(String, Vec<String>)> {
        let commit =
            aludel_files::read_to_string(self.folder.join("refs/main"), aludel_files::SMALL).ok()?.trim().to_string();
        let snapshot = self.folder.join("snapshots").join(&commit);
        let mut files = Vec::new();
        list(&snapshot, &mut String::new(), &mut files);
        files.sort();
        (!files.is_empty()).then_some((commit, files))
    }

    /// Records the commit that was fetched last.
    pub(super) fn remember(&self, commit: &str) -> Result<(), Error> {
        let folder = self.folder.join("refs");
        fs::create_dir_all(&folder).map_err(|reason| Error::io(&folder, "write", reason))?;
        Ok(atomic::write_bytes(&folder.join("main"), commit.as_bytes())?)
    }

    /// Fetches a file and links it into the snapshot.
    pub(super) fn fetch(
        &self,
        client: &Client<'_>,
        address: &str,
        commit: &str,
        file: &str,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), Failure> {
        if !is_plain(file) || !is_plain(commit) {
            return Err(Failure::refused(format!("{file:?} is no name of a file in a repository")));
        }
        let snapshot = self.file(commit, file);
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(|error| self.failed(&error))?;
        if let Some(parent) = snapshot.parent() {
            fs::create_dir_all(parent).map_err(|error| self.failed(&error))?;
        }
        let _lock = FolderLock::wait(&blobs).map_err(|error| Failure::refused(error.to_string()))?;
        let name = client.hash_of(address)?;
        let blob = blobs.join(&name);
        if !blob.exists() {
            self.fetch_blob(client, address, &blob, progress)?;
        }
        link(&blob, &snapshot, file).map_err(|error| self.failed(&error))
    }

    /// Fetches a blob, resuming an interrupted download.
    fn fetch_blob(
        &self,
        client: &Client<'_>,
        address: &str,
        blob: &Path,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), Failure> {
        let partial = blob.with_extension("incomplete");
        let mut attempt = 1;
        let mut is_resumed = false;
        loop {
            let mut file = aludel_files::append(&partial).map_err(|error| self.failed(&error))?;
            let have = file.metadata().map_err(|error| self.failed(&error))?.len();
            is_resumed |= have > 0;
            let mut fetched = client.get(address, have).and_then(|body| self.copy(body, have, &mut file, progress));
            if let Err(Failure { past_end: Some(past_end), .. }) = fetched
                && have > 0
            {
                // The earlier attempt had all of it, or of another file more than this one has.
                fetched = match past_end.bytes_total {
                    Some(total) if total != have => self.restart(&file, &format!("it has {have} bytes of {total}")),
                    _ => Ok(()),
                };
            }
            if fetched.is_ok() && is_resumed && !self.has_hash(&partial, blob)? {
                fetched = self.restart(&file, "its bytes are not those that the Hub's hash is of");
            }
            match fetched {
                Ok(()) => {
                    file.sync_all().map_err(|error| self.failed(&error))?;
                    return fs::rename(&partial, blob).map_err(|error| self.failed(&error));
                }
                Err(failure) if failure.is_unreachable && attempt < client.attempts() => {
                    client.pause(attempt);
                    attempt += 1;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn copy(
        &self,
        mut body: Body,
        have: u64,
        file: &mut File,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), Failure> {
        let mut done = have;
        match body.starts_at {
            Some(start) if start == have => {}
            Some(0) => {
                // The server sent the whole of it, whatever was asked for.
                file.set_len(0).map_err(|error| self.failed(&error))?;
                done = 0;
            }
            _ => {
                return self
                    .restart(file, &format!("the server was asked for the bytes from {have} on, and sent others"));
            }
        }
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = body.stream.read(&mut buffer).map_err(|error| Failure::reading(&error))?;
            if read == 0 {
                break;
            }
            file.write_all(&buffer[..read]).map_err(|error| self.failed(&error))?;
            done += read as u64;
            progress(done, body.bytes_total);
        }
        match body.bytes_total {
            Some(total) if done < total => {
                Err(Failure::unreachable(format!("the connection ended after {done} of {total} bytes")))
            }
            Some(total) if done > total => {
                self.restart(file, &format!("{done} bytes came where {total} were announced"))
            }
            _ => Ok(()),
        }
    }

    /// What was fetched so far cannot be used: the next attempt begins at the start.
    fn restart(&self, file: &File, reason: &str) -> Result<(), Failure> {
        file.set_len(0).map_err(|error| self.failed(&error))?;
        Err(Failure::unreachable(format!("{reason}; try again, and it is fetched from its start")))
    }

    /// Whether a file has the hash by which its blob is named. Hashes of unknown kinds are taken as they are.
    fn has_hash(&self, file: &Path, blob: &Path) -> Result<bool, Failure> {
        let name = blob.file_name().unwrap_or_default().to_string_lossy();
        is_hashed_as(file, &name).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::refused(format!(
            "the cache {} cannot be written ({error}); free some space there, or name another with HF_HUB_CACHE",
            self.folder.display()
        ))
    }
}

/// Whether a file's content has a hash of the Hub: SHA-256 of large files, git's SHA-1 of others.
fn is_hashed_as(path: &Path, hash: &str) -> io::Result<bool> {
    let mut file = aludel_files::open(path)?;
    let mut context = match hash.len() {
        64 => digest::Context::new(&digest::SHA256),
        40 => {
            let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
            context.update(format!("blob {}\0", file.metadata()?.len()).as_bytes());
            context
        }
        _ => return Ok(true),
    };
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
    }
    let found: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(found.eq_ignore_ascii_case(hash))
}

/// Whether a name stays below its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// A link as Hugging Face's tools make it; a copy where the system has no links.
fn link(blob: &Path, snapshot: &Path, file: &str) -> io::Result<()> {
    let depth = Path::new(file).components().count() + 1;
    let target: PathBuf =
        (0..depth).map(|_| "..").collect::<PathBuf>().join("blobs").join(blob.file_name().unwrap_or_default());
    if fs::symlink_metadata(snapshot).is_ok() {
        fs::remove_file(snapshot)?;
    }
    #[cfg(unix)]
    return std::os::unix::fs::symlink(target, snapshot);
    #[cfg(not(unix))]
    return fs::copy(blob, snapshot).map(|_| drop(target));
}

fn list(folder: &Path, inside: &mut String, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let length = inside.len();
        inside.push_str(&name);
        // A link whose blob is gone counts as absent.
        if entry.path().is_dir() {
            inside.push('/');
            list(&entry.path(), inside, files);
        } else if entry.path().exists() {
            files.push(inside.clone());
        }
        inside.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `git hash-object` and `sha256sum` write them.
    #[test]
    fn hashes_are_those_of_the_hub() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "hello\n").unwrap();
        for (hash, wanted) in [
            ("ce013625030ba8dba906f756967f9e9ca394464a", true),
            ("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", true),
            ("ce013625030ba8dba906f756967f9e9ca394464b", false),
            ("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be04", false),
            ("a-hash-of-another-kind", true),
        ] {
            assert_eq!(is_hashed_as(&path, hash).unwrap(), wanted, "{hash}");
        }
    }
}
