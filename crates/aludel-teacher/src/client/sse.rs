//! From chunks of bytes to lines, and from lines to server-sent events (WHATWG HTML, "Server-sent events"). Text that is not UTF-8
//! is an error and never replaced; what a line means is decided by the dialects.

/// Why bytes cannot be read as lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadBytes {
    /// Not UTF-8.
    Encoding,
    /// One event or line is longer than the limit.
    TooLong,
}

/// Maximum bytes of one line, and of one event: a token with many alternatives takes some thousands.
pub(super) const LINE_BYTES: usize = 4 << 20;

/// Cuts bytes into lines, which end with CR LF, LF or CR.
#[derive(Debug, Default)]
pub(super) struct Lines {
    held: Vec<u8>,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_return: bool,
}

impl Lines {
    /// Reads the next bytes and passes on each line that ends in them.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), BadBytes>,
    ) -> Result<(), BadBytes> {
        if std::mem::take(&mut self.after_return) {
            match bytes.first() {
                Some(b'\n') => bytes = &bytes[1..],
                None => self.after_return = true,
                Some(_) => {}
            }
        }
        while let Some(at) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.hold(&bytes[..at])?;
            take(&self.held)?;
            self.held.clear();
            let is_return = bytes[at] == b'\r';
            bytes = &bytes[at + 1..];
            match bytes.first() {
                Some(b'\n') if is_return => bytes = &bytes[1..],
                None => self.after_return = is_return,
                Some(_) => {}
            }
        }
        self.hold(bytes)
    }

    /// The bytes after the last line break.
    pub(super) fn rest(&self) -> &[u8] {
        &self.held
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), BadBytes> {
        if self.held.len() + bytes.len() > LINE_BYTES {
            return Err(BadBytes::TooLong);
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }
}

/// Gathers lines into events. Only the fields that servers of answers use are kept: `data`, and `id` to detect an event that is
/// sent twice in a row. An event without a closing empty line is dropped.
#[derive(Debug, Default)]
pub(super) struct Events {
    data: Vec<u8>,
    has_data: bool,
    id: Option<Vec<u8>>,
    last_id: Option<Vec<u8>>,
    is_past_start: bool,
}

impl Events {
    /// Reads a line, and passes on the event's data if the line ends one.
    pub(super) fn line(&mut self, line: &[u8], take: &mut dyn FnMut(&str)) -> Result<(), BadBytes> {
        let line = match std::mem::replace(&mut self.is_past_start, true) {
            true => line,
            false => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
        };
        if line.is_empty() {
            return self.end(take);
        }
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                if self.data.len() + value.len() > LINE_BYTES {
                    return Err(BadBytes::TooLong);
                }
                self.data.extend_from_slice(value);
            }
            b"id" => self.id = Some(value.to_vec()),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, take: &mut dyn FnMut(&str)) -> Result<(), BadBytes> {
        let id = self.id.take();
        let is_repeated = id.is_some() && id == self.last_id;
        if std::mem::take(&mut self.has_data) && !is_repeated {
            take(std::str::from_utf8(&self.data).map_err(|_| BadBytes::Encoding)?);
            self.last_id = id;
        }
        self.data.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(pieces: &[&[u8]]) -> Result<Vec<String>, BadBytes> {
        let (mut lines, mut events, mut found) = (Lines::default(), Events::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, &mut |line| events.line(line, &mut |data| found.push(data.to_owned())))?;
        }
        Ok(found)
    }

    #[test]
    fn events_are_those_of_the_standard() {
        let check =
            |text: &str, expected: &[&str]| assert_eq!(events(&[text.as_bytes()]).unwrap(), expected, "{text:?}");
        check("data: a\n\n", &["a"]);
        check("data:a\r\n\r\ndata: b\r\rdata:  c\n\n", &["a", "b", " c"]);
        check(": a comment\n\ndata: a\n: another\ndata: b\n\n", &["a\nb"]);
        check("event: message\nretry: 3\ndata\n\n", &[""]);
        check("\u{feff}data: a\n\n", &["a"]);
        check("data: never ended\n", &[]);
        check("id: 1\ndata: a\n\nid: 1\ndata: a\n\nid: 2\ndata: a\n\n", &["a", "a"]);
        check("data: a\n\ndata: a\n\n", &["a", "a"]);
    }

    #[test]
    fn bad_bytes_are_an_error() {
        assert_eq!(events(&[b"data: \xff\n\n"]), Err(BadBytes::Encoding));
        assert_eq!(events(&[b"data: \xe4\xb8\n\n"]), Err(BadBytes::Encoding));
        let long = vec![b'x'; LINE_BYTES / 2 + 1];
        assert_eq!(events(&[&long, &long]), Err(BadBytes::TooLong));
    }

    proptest! {
        /// However the bytes are cut, also inside characters and line breaks, the events are the same.
        #[test]
        fn cuts_do_not_matter(text in "(data: ?[a中😀]{0,4}|:|id: [12]|\r\n|\n|\r){0,16}",
            cuts in proptest::collection::vec(0usize..80, 0..8)) {
            let bytes = text.as_bytes();
            let mut bounds: Vec<usize> = cuts.into_iter().filter(|&cut| cut <= bytes.len()).collect();
            bounds.extend([0, bytes.len()]);
            bounds.sort_unstable();
            let pieces: Vec<&[u8]> = bounds.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(events(&pieces), events(&[bytes]));
        }
    }
}
