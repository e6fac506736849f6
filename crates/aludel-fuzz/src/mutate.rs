//! Changes to an input that follow from a number alone: what damage and malice look like in a file of lengths, offsets, names and
//! text. Half of them are for binary formats, half for text; both are tried on either.

use aludel_kernels::rng;

/// Values at which lengths and offsets go wrong.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    7,
    0x7f,
    0xff,
    0x100,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    1 << 40,
    0x7fff_ffff_ffff_ffff,
    1 << 63,
    u64::MAX - 7,
    u64::MAX,
];

/// Texts at which parsers go wrong.
const TEXTS: [&str; 32] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    ",",
    ":",
    "null",
    "true",
    "-1",
    "1e400",
    "0.5",
    "18446744073709551616",
    "{{",
    "}}",
    "{%",
    "%}",
    "(",
    ")",
    "*",
    "|",
    "\n",
    "\r",
    "\r\n\r\n",
    "data: ",
    "[DONE]",
    "é",
    "\u{feff}",
    "\0",
];

/// Numbers by a counter, for choices.
struct Choices {
    key: u64,
    count: u64,
}

impl Choices {
    fn below(&mut self, end: usize) -> usize {
        self.count += 1;
        (rng::mix(self.key, self.count) >> 16) as usize % end.max(1)
    }

    fn range(&mut self, bytes: &[u8], longest: usize) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        start..(start + 1 + self.below(longest)).min(bytes.len())
    }
}

/// The input with one to three changes; the same for the same number.
pub fn mutated(input: &[u8], others: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut choices = Choices { key: rng::mix(0x5eed, number), count: 0 };
    let mut bytes = input.to_vec();
    for _ in 0..1 + choices.below(3) {
        change(&mut bytes, others, &mut choices);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], choices: &mut Choices) {
    if bytes.is_empty() {
        bytes.push(choices.below(256) as u8);
        return;
    }
    let at = choices.below(bytes.len());
    match choices.below(11) {
        0 => bytes[at] ^= 1 << choices.below(8),
        1 => bytes[at] = choices.below(256) as u8,
        2 => bytes.truncate(at),
        3 => write_number(bytes, at, choices),
        // Headers hold most lengths.
        4 => write_number(bytes, at % 64, choices),
        5 => {
            let tail = bytes.len().saturating_sub(1 + choices.below(64));
            write_number(bytes, tail, choices);
        }
        6 => drop(bytes.drain(choices.range(bytes, 64))),
        7 => {
            let twice = bytes[choices.range(bytes, 200)].to_vec();
            (0..1 + choices.below(8)).for_each(|_| drop(bytes.splice(at..at, twice.iter().copied())));
        }
        8 => {
            let text = TEXTS[choices.below(TEXTS.len())];
            let end = at + if choices.below(2) == 0 { 0 } else { text.len().min(bytes.len() - at) };
            bytes.splice(at..end, text.bytes());
        }
        9 => change_digits(bytes, at, choices),
        // The head of this one, the tail of another.
        _ => {
            if let Some(other) = others.get(choices.below(others.len())) {
                bytes.truncate(at);
                bytes.extend_from_slice(&other[choices.below(other.len() + 1)..]);
            }
        }
    }
}

/// Overwrites 1, 2, 4 or 8 bytes with a number, little-endian.
fn write_number(bytes: &mut [u8], at: usize, choices: &mut Choices) {
    let number = NUMBERS[choices.below(NUMBERS.len())].to_le_bytes();
    let at = at.min(bytes.len() - 1);
    let width = (1usize << choices.below(4)).min(bytes.len() - at);
    bytes[at..at + width].copy_from_slice(&number[..width]);
}

/// Another number in place of the next that is written in digits.
fn change_digits(bytes: &mut Vec<u8>, from: usize, choices: &mut Choices) {
    let Some(start) = (from..bytes.len()).find(|&at| bytes[at].is_ascii_digit()) else { return };
    let end = (start..bytes.len()).find(|&at| !bytes[at].is_ascii_digit()).unwrap_or(bytes.len());
    let number = NUMBERS[choices.below(NUMBERS.len())].to_string();
    bytes.splice(start..end, number.into_bytes());
}
