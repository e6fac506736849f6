//! The `precompiled_charsmap` of a tokenizer.json, written by SentencePiece: a tree of what is replaced, and the
//! replacement texts. The library follows it without checks, so it is followed here first.

/// The longest text that a map replaces something by.
///
/// It is a length, that many bytes of a double array, and texts that end with a zero. An entry of the array has the index of its children,
/// by exclusive or with their byte; a leaf has the start of its text.
pub(super) fn longest_replacement(map: &str) -> Result<u64, String> {
    let damaged = |what: &str| format!("precompiled_charsmap is damaged: {what}");
    let bytes = from_base64(map).ok_or_else(|| damaged("it is not written in base64"))?;
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| damaged("it has no length"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let (array, texts) =
        rest.split_at_checked(length - length % 4).ok_or_else(|| damaged("it ends within its tree"))?;
    let texts = std::str::from_utf8(texts).map_err(|_| damaged("its texts are not UTF-8"))?;
    let units: Vec<usize> = array.as_chunks().0.iter().map(|unit| u32::from_le_bytes(*unit) as usize).collect();
    let offset = |unit: usize| (unit >> 10) << ((unit & (1 << 9)) >> 6);
    let root = *units.first().ok_or_else(|| damaged("its tree is empty"))?;
    let mut seen = vec![false; units.len()];
    let mut open = vec![offset(root)];
    while let Some(node) = open.pop() {
        let is_seen = seen.get_mut(node).ok_or_else(|| damaged("its tree leads out of itself"))?;
        if std::mem::replace(is_seen, true) {
            continue;
        }
        // The library looks up every character of a text here and does not check the bounds of the array.
        for letter in 1..=255 {
            let unit = *units.get(node ^ letter).ok_or_else(|| damaged("its tree leads out of itself"))?;
            if unit & ((1 << 31) | 0xFF) != letter {
                continue;
            }
            let next = (node ^ letter) ^ offset(unit);
            if (unit >> 8) & 1 == 1 {
                let leaf = *units.get(next).ok_or_else(|| damaged("its tree leads out of itself"))?;
                let start = leaf & ((1 << 31) - 1);
                if !texts.is_char_boundary(start) {
                    return Err(damaged("a leaf of its tree points at no text"));
                }
            }
            open.push(next);
        }
    }
    Ok(texts.split('\0').map(str::len).max().unwrap_or_default().max(1) as u64)
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut number = 0_u32;
        for &digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            number = number << 6 | u32::from(value);
        }
        number <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&number.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}
