//! Reads the first bytes of a GGUF file, before the rest is available. They are untrusted: every length is checked, and
//! what they do not determine is not returned. `reader` reads a complete file.

/// `general.architecture`, where it is in these first bytes of a file.
pub fn architecture(head: &[u8]) -> Option<&str> {
    let mut head = HeadReader(head);
    if head.take(4)? != b"GGUF" {
        return None;
    }
    let _version = head.number(4)?;
    let _tensors = head.number(8)?;
    for _ in 0..head.number(8)? {
        let key = head.text()?;
        let kind = head.number(4)?;
        if key == b"general.architecture" && kind == STRING {
            return std::str::from_utf8(head.text()?).ok();
        }
        head.skip(kind)?;
    }
    None
}

const STRING: u64 = 8;
const ARRAY: u64 = 9;

struct HeadReader<'a>(&'a [u8]);

impl<'a> HeadReader<'a> {
    fn take(&mut self, bytes: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// An integer of 4 or 8 bytes.
    fn number(&mut self, bytes: u64) -> Option<u64> {
        let mut whole = [0; 8];
        whole[..bytes as usize].copy_from_slice(self.take(bytes)?);
        Some(u64::from_le_bytes(whole))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let bytes = self.number(8)?;
        self.take(bytes)
    }

    /// Passes over a value of a kind.
    fn skip(&mut self, kind: u64) -> Option<()> {
        match kind {
            STRING => self.text().map(|_| ()),
            ARRAY => {
                let (inner, count) = (self.number(4)?, self.number(8)?);
                match inner {
                    STRING => (0..count).try_for_each(|_| self.text().map(|_| ())),
                    inner => self.take(size(inner)?.checked_mul(count)?).map(|_| ()),
                }
            }
            kind => self.take(size(kind)?).map(|_| ()),
        }
    }
}

/// The bytes of a value of fixed size; none for an array in an array, which no model has.
fn size(kind: u64) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::gguf::Writer;
    use crate::{Dtype, TensorSpec};

    #[test]
    fn the_architecture_is_told_from_the_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let writer = Writer::new()
            .with("general.file_type", 1_u32)
            .with("tokens", vec!["a".to_owned(), "b".to_owned()])
            .with("scores", vec![0.5_f32, 1.0])
            .with("general.architecture", "qwen2")
            .with_tensor(TensorSpec::new("x", Dtype::F32, [2]));
        writer.write(&path, |_| Ok::<_, crate::Error>(Cow::Owned(vec![0; 8]))).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(architecture(&bytes), Some("qwen2"));
        let end = bytes.windows(5).position(|window| window == b"qwen2").unwrap() + 5;
        assert_eq!(architecture(&bytes[..end]), Some("qwen2"));
        for cut in 0..end {
            assert_eq!(architecture(&bytes[..cut]), None);
        }
        // No length in the file is trusted.
        for at in 0..end {
            let mut other = bytes.clone();
            other[at] = 0xff;
            architecture(&other);
        }
    }
}
