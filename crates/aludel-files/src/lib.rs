//! The one way to open a file for reading, for every crate. Only regular files are opened, and their type is checked
//! before, since opening a pipe waits for its other end and reading a device may never end. No more is read than the
//! reader can use. Files in which the system describes itself claim to be regular and may block as well; they are read
//! in a way of their own. What the bytes mean, and the file's name in a message, are left to the callers, which quote
//! untrusted text with [`shortened`] and write counts with [`counted`]. `expression` bounds the regular expressions of
//! a file.

pub mod expression;

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::ops::ControlFlow;
use std::path::Path;

/// Larger than any recipe, config, state or line of results that is read whole, and small enough to hold without harm.
pub const SMALL: u64 = 64 << 20;

/// Larger than any file of text that is read whole (a vocabulary, a folder's answers): one that holds more is no such file.
pub const LARGE: u64 = 4 << 30;

/// What was found where a regular file is expected, and the remedy; the same words wherever a file is opened.
pub const NO_FILE: &str = "this is a pipe, a socket or a device, and a regular file is wanted";
/// See [`NO_FILE`].
pub const TO_A_FILE: &str = "write its contents to a file first";

/// A count as people read it, in messages, documents and tables: `1,234,567`. JSON and files hold plain numbers.
pub fn grouped(count: impl TryInto<u64>) -> String {
    // No count is larger than that.
    let digits = count.try_into().unwrap_or(u64::MAX).to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count with its noun, for messages: `1 row`, `2,000 rows`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), noun(count, one, many))
}

/// The noun of a count, in the singular or plural, for a count that is written otherwise.
pub fn noun<'a>(count: u64, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// Where a system shows its own state as files. Some block until there is more to report, and some never end.
#[cfg(target_os = "linux")]
const OF_SYSTEM: &[&str] = &["/proc", "/sys"];
#[cfg(not(target_os = "linux"))]
const OF_SYSTEM: &[&str] = &[];

/// Whether something exists at a path, even a dangling or circular link. Use this for files that may be absent: whatever is
/// there is read, and what cannot be read is reported.
pub fn is_there(path: impl AsRef<Path>) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(reason) => !matches!(reason.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// The metadata of a file, or of a link's target.
///
/// # Errors
/// Those of the system; a dangling link is not [`ErrorKind::NotFound`], since something exists.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<fs::Metadata> {
    let path = path.as_ref();
    fs::metadata(path).map_err(|reason| {
        if reason.kind() == ErrorKind::NotFound && is_there(path) {
            return io::Error::new(ErrorKind::InvalidInput, "this is a link, and what it leads to is not there");
        }
        reason
    })
}

/// Opens a regular file for reading.
///
/// # Errors
/// Those of the system; [`ErrorKind::IsADirectory`] for a folder and [`ErrorKind::InvalidInput`] for a pipe, a socket, a
/// device or a file in which the system describes itself, with a message that says what is expected.
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    is_regular(path)?;
    if let Some(folder) = folder_of_system(path) {
        let reason = format!(
            "this is a file of {folder}, which the system makes as it is read, and a regular file is wanted; {TO_A_FILE}"
        );
        return Err(io::Error::new(ErrorKind::InvalidInput, reason));
    }
    let file = open_at_once(path)?;
    // It may have been replaced by now.
    if !file.metadata()?.is_file() {
        return Err(no_file());
    }
    Ok(file)
}

/// Opens without waiting for the other end of a pipe.
fn open_at_once(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.open(path)
}

fn folder_of_system(path: &Path) -> Option<&'static str> {
    let whole = fs::canonicalize(path).ok()?;
    OF_SYSTEM.iter().copied().find(|folder| whole.starts_with(folder))
}

/// Bytes between two calls of `take`.
const PIECE: usize = 1 << 20;

/// Reads a regular file from its beginning to its end, chunk by chunk, until `take` breaks off.
///
/// # Errors
/// As [`open`].
pub fn read_in_pieces(
    path: impl AsRef<Path>,
    take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut file = open(path)?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(ControlFlow::Continue(())),
            Ok(read) if take(&piece[..read]).is_break() => return Ok(ControlFlow::Break(())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a file of the system's own state, such as `/proc/meminfo`.
///
/// # Errors
/// Those of the system, which include [`ErrorKind::WouldBlock`]; [`ErrorKind::InvalidData`] for what is not UTF-8.
pub fn read_of_system(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::new();
    open_at_once(path.as_ref())?.take(SMALL).read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a regular file for appending, and creates it if it does not exist.
///
/// # Errors
/// As [`open`], but that it may be absent.
pub fn append(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    if is_there(path) {
        is_regular(path)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn is_regular(path: &Path) -> io::Result<()> {
    let kind = metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "this is a folder, and a file is wanted"));
    }
    if kind.is_file() { Ok(()) } else { Err(no_file()) }
}

fn no_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("{NO_FILE}; {TO_A_FILE}"))
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`open`]; [`ErrorKind::FileTooLarge`] beyond the limit.
pub fn read(path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    if length <= limit {
        bytes.try_reserve_exact(usize::try_from(length).map_err(io::Error::other)?)?;
        // The length that the system reports may be out of date, or 0.
        file.take(limit + 1).read_to_end(&mut bytes)?;
    }
    if length > limit || bytes.len() as u64 > limit {
        let reason = format!("it is larger than {} MB, and no file of its kind is", limit >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// Reads a regular file of at most `limit` bytes as UTF-8.
///
/// # Errors
/// As [`read`]; [`ErrorKind::InvalidData`] where it is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        io::Error::new(ErrorKind::InvalidData, format!("it is not text in UTF-8 (byte {place})"))
    })
}

/// An untrusted text as a message quotes it: shortened to a readable length, with `…` at the cut.
pub fn shortened(text: &str, most_letters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most_letters) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number as u64), text);
            assert_eq!(grouped(number as usize), text);
        }
        assert_eq!(counted(1, "row", "rows"), "1 row");
        assert_eq!(counted(20_000, "row", "rows"), "20,000 rows");
    }

    fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn counts_have_their_nouns() {
        let told = [0, 1, 2].map(|count| counted(count, "row", "rows"));
        assert_eq!(told, ["0 rows", "1 row", "2 rows"]);
        assert_eq!([1, 1000].map(|count| noun(count, "refers", "refer")), ["refers", "refer"]);
    }

    #[test]
    fn a_regular_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "twelve bytes").unwrap();
        assert_eq!(read(&path, 12).unwrap(), b"twelve bytes");
        assert_eq!(kind(read(&path, 11)), ErrorKind::FileTooLarge);
        assert_eq!(read_to_string(&path, 12).unwrap(), "twelve bytes");
        fs::write(&path, b"caf\xe9").unwrap();
        assert_eq!(read_to_string(&path, 12).unwrap_err().to_string(), "it is not text in UTF-8 (byte 3)");
    }

    /// A sparse file is as long as it says, and takes no space.
    #[test]
    fn a_huge_file_is_refused_before_memory_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(kind(read(&path, SMALL)), ErrorKind::FileTooLarge);
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        for path in [Path::new("/dev/zero"), Path::new("/dev/urandom"), Path::new("/dev/null"), &socket, &link] {
            assert_eq!(kind(open(path)), ErrorKind::InvalidInput, "{}", path.display());
            assert_eq!(kind(append(path)), ErrorKind::InvalidInput, "{}", path.display());
        }
        assert_eq!(kind(open(folder.path())), ErrorKind::IsADirectory);
        assert_eq!(kind(open(folder.path().join("absent"))), ErrorKind::NotFound);
        // Opening a pipe would wait for a reader.
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!((kind(open(&pipe)), kind(append(&pipe))), (ErrorKind::InvalidInput, ErrorKind::InvalidInput));
        append(folder.path().join("made")).unwrap();
        assert!(is_there(folder.path().join("made")));
    }

    #[test]
    fn long_texts_are_quoted_in_part() {
        for (text, shown) in [("", ""), ("kürzer", "kürzer"), ("sieben!", "sieben!"), ("länger als", "länger …")]
        {
            assert_eq!(shortened(text, 7), shown);
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_nowhere_are_there_and_told() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink(at("circle"), at("circle")).unwrap();
        symlink(at("gone"), at("nowhere")).unwrap();
        fs::write(at("file"), "").unwrap();
        symlink(at("file"), at("link")).unwrap();
        for (name, is_here, said) in [
            ("file", true, None),
            ("link", true, None),
            ("circle", true, Some("symbolic link")),
            ("nowhere", true, Some("this is a link, and what it leads to is not there")),
            ("gone", false, Some("No such file")),
            ("file/inside", false, Some("Not a directory")),
        ] {
            assert_eq!(is_there(at(name)), is_here, "{name}");
            let error = open(at(name)).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), said.is_some(), "{name}: {error:?}");
            assert!(error.unwrap_or_default().contains(said.unwrap_or_default()), "{name}");
        }
        assert_ne!(kind(read(at("nowhere"), SMALL)), ErrorKind::NotFound);
    }

    /// The log of the kernel waits for its next line, and a page map never ends; both say that they are regular, and empty.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_system_tells_of_itself_has_a_way_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/proc/self/pagemap", &link).unwrap();
        for path in
            [Path::new("/proc/kmsg"), Path::new("/proc/self/status"), Path::new("/sys/kernel/mm/../notes"), &link]
        {
            if !path.exists() {
                continue;
            }
            let error = open(path).unwrap_err();
            assert_eq!((error.kind(), kind(read(path, SMALL))), (ErrorKind::InvalidInput, ErrorKind::InvalidInput));
            assert!(error.to_string().contains("which the system makes as it is read"), "{error}");
        }
        assert!(read_of_system("/proc/self/status").unwrap().contains("Pid:"));
        // Its own files are recognised by any name.
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        let file = open(&path).unwrap();
        use std::os::fd::AsRawFd;
        assert_eq!(read(format!("/proc/self/fd/{}", file.as_raw_fd()), SMALL).unwrap(), b"text");
    }
}
