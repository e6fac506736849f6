//! Reads text as letters with their positions, with escapes undone, and as the bytes that base64 and hexadecimal digits in it
//! encode. What is searched for is described in `mask`.

use std::collections::VecDeque;
use std::ops::Range;

use super::Piece;

/// A letter, and the bytes of the text that stand for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Letter {
    pub(super) letter: char,
    pub(super) at: Range<usize>,
}

/// The letters of a text. Full-width letters are read as their ordinary forms.
pub(super) fn letters(text: &str) -> impl Iterator<Item = Letter> + '_ {
    text.char_indices().map(|(start, letter)| {
        let usual = match letter {
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(letter as u32 - 0xfee0).unwrap_or(letter),
            _ => letter,
        };
        Letter { letter: usual, at: start..start + letter.len_utf8() }
    })
}

/// Letters with escapes undone: `%2D`, `\u002d`, `\x2d`, `\u{2d}`, `&#45;`, `&#x2d;` and the names of a few signs.
pub(super) fn unescaped<I: Iterator<Item = Letter>>(letters: I) -> impl Iterator<Item = Letter> {
    let mut ahead = Ahead { letters, held: VecDeque::new() };
    std::iter::from_fn(move || {
        let first = ahead.take()?;
        let (letter, length) = match first.letter {
            '%' => ahead.number(0, 2, 2, 16),
            '\\' => match ahead.peek(0) {
                Some('u') if ahead.peek(1) == Some('{') => ahead.closed(2, 6, 16, '}'),
                Some('u') => ahead.number(1, 4, 4, 16),
                Some('x') => ahead.number(1, 2, 2, 16),
                // `\n` and similar escapes: not letters of a key.
                Some('n' | 'r' | 't' | 'b' | 'f' | 'v') => Some((' ', 1)),
                _ => None,
            },
            '&' if ahead.peek(0) == Some('#') => match ahead.peek(1) {
                Some('x' | 'X') => ahead.closed(2, 6, 16, ';'),
                _ => ahead.closed(1, 7, 10, ';'),
            },
            '&' => ahead.name(),
            _ => None,
        }
        .unwrap_or((first.letter, 0));
        let end = ahead.skip(length).unwrap_or(first.at.end);
        Some(Letter { letter, at: first.at.start..end })
    })
}

/// Letters that were read ahead.
struct Ahead<I> {
    letters: I,
    held: VecDeque<Letter>,
}

impl<I: Iterator<Item = Letter>> Ahead<I> {
    fn take(&mut self) -> Option<Letter> {
        self.held.pop_front().or_else(|| self.letters.next())
    }

    fn peek(&mut self, index: usize) -> Option<char> {
        while self.held.len() <= index {
            self.held.push_back(self.letters.next()?);
        }
        Some(self.held[index].letter)
    }

    /// Takes this number of letters; returns the end of the last.
    fn skip(&mut self, count: usize) -> Option<usize> {
        let mut end = None;
        for _ in 0..count {
            end = self.take().map(|letter| letter.at.end);
        }
        end
    }

    /// A number of `least` to `most` digits from index `from` on, as the letter with that number; and how many digits it has.
    fn number(&mut self, from: usize, least: usize, most: usize, radix: u32) -> Option<(char, usize)> {
        let (mut number, mut count) = (0, 0);
        while count < most
            && let Some(digit) = self.peek(from + count).and_then(|digit| digit.to_digit(radix))
        {
            number = number * radix + digit;
            count += 1;
        }
        (count >= least).then(|| (char::from_u32(number).unwrap_or(' '), from + count))
    }

    /// As [`Ahead::number`], up to a closing character.
    fn closed(&mut self, from: usize, most: usize, radix: u32, close: char) -> Option<(char, usize)> {
        let (letter, used) = self.number(from, 1, most, radix)?;
        (self.peek(used) == Some(close)).then_some((letter, used + 1))
    }

    /// Character references of HTML by name.
    fn name(&mut self) -> Option<(char, usize)> {
        const NAMES: [(&str, char); 9] = [
            ("amp;", '&'),
            ("lt;", '<'),
            ("gt;", '>'),
            ("quot;", '"'),
            ("apos;", '\''),
            ("nbsp;", ' '),
            ("percnt;", '%'),
            ("num;", '#'),
            ("bsol;", '\\'),
        ];
        let fits = |ahead: &mut Self, name: &str| name.chars().enumerate().all(|(i, c)| ahead.peek(i) == Some(c));
        NAMES.into_iter().find(|(name, _)| fits(self, name)).map(|(name, sign)| (sign, name.len()))
    }
}

/// Base64 digits that contain eight bytes at any alignment.
const DIGITS: usize = 12;

/// Consecutive base64 digits, without white space and quotes, and the bytes that they encode.
#[derive(Default)]
pub(super) struct Base64 {
    bits: u128,
    at: [Range<usize>; DIGITS],
    count: usize,
}

impl Base64 {
    /// Adds a letter. Returns the eight bytes that end with it, for each alignment.
    pub(super) fn next(&mut self, letter: &Letter) -> Option<[(Piece, Range<usize>); 3]> {
        let digit = match letter.letter {
            c @ 'A'..='Z' => c as u128 - 'A' as u128,
            c @ 'a'..='z' => c as u128 - 'a' as u128 + 26,
            c @ '0'..='9' => c as u128 - '0' as u128 + 52,
            '+' | '-' => 62,
            '/' | '_' => 63,
            c if may_split(c) => return None,
            _ => {
                self.count = 0;
                return None;
            }
        };
        self.bits = self.bits << 6 | digit;
        self.at[self.count % DIGITS] = letter.at.clone();
        self.count += 1;
        // 64 bits take eleven digits, and twelve if they begin late in the first.
        let piece = |late: usize| {
            let digits = if late > 2 { DIGITS } else { DIGITS - 1 };
            let start = self.count.checked_sub(digits).map_or(usize::MAX, |first| self.at[first % DIGITS].start);
            ((self.bits >> late) as u64, start.min(letter.at.start)..letter.at.end)
        };
        (self.count >= DIGITS - 1).then(|| [piece(0), piece(2), piece(4)])
    }
}

/// Consecutive hexadecimal digits, and the eight bytes that the last sixteen encode.
#[derive(Default)]
pub(super) struct Hex {
    bits: u64,
    at: [Range<usize>; 16],
    count: usize,
}

impl Hex {
    /// Adds a letter. Returns the bytes that end with it.
    pub(super) fn next(&mut self, letter: &Letter) -> Option<(Piece, Range<usize>)> {
        let Some(digit) = letter.letter.to_digit(16) else {
            if !may_split(letter.letter) && !matches!(letter.letter, ':' | ',') {
                self.count = 0;
            }
            return None;
        };
        self.bits = self.bits << 4 | u64::from(digit);
        self.at[self.count % 16] = letter.at.clone();
        self.count += 1;
        (self.count >= 16).then(|| (self.bits, self.at[self.count % 16].start..letter.at.end))
    }
}

/// Whether a letter may occur between two digits of encoded data.
fn may_split(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(letter, '"' | '\'' | '`' | '\\' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}
