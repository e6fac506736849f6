//! Splits an answer's text, LaTeX or plain, into tokens: layout commands and dollar signs are removed, Unicode signs and the words
//! for them become one sign each, and runs of letters are classified as functions, products of symbols and words. What the tokens
//! mean together is decided in `expression` and `answer`.

use super::contextual;
use super::token::{Bracket, Token};
use super::words::{self, COMMAND_SIGNS, FUNCTIONS, GREEK, LAYOUT, TEXT, WORD_SIGNS, greek_letter};
use crate::maths::values::number::{self, Number};

/// Longer texts are not final answers, and the work on one is bounded by its length.
pub(in crate::maths) const MAX_BYTES: usize = 4096;

/// Tokens of `text`, or `None` if it is too long or contains something unknown.
pub(in crate::maths) fn tokens(text: &str) -> Option<Vec<Token>> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let plain = !text.contains('\\');
    let characters: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { characters, at: 0, tokens: Vec::new(), frames: vec![Frame::default()], plain };
    while lexer.at < lexer.characters.len() {
        lexer.step()?;
    }
    let mut tokens = lexer.tokens;
    contextual::letters_as_times(&mut tokens);
    contextual::signs_of_several_meanings(&mut tokens)?;
    Some(tokens)
}

/// What a `{` or `\text{` opened.
#[derive(Clone, Copy, Default)]
struct Frame {
    /// Letters are words.
    text: bool,
    /// The braces are dropped.
    silent: bool,
    /// A list may be here: a comma between digits separates.
    list: bool,
    /// The number of arguments of a command, one digit each if unbraced, that follow.
    pending: u8,
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    tokens: Vec<Token>,
    frames: Vec<Frame>,
    plain: bool,
}

impl Lexer {
    fn step(&mut self) -> Option<()> {
        let character = self.characters[self.at];
        if character == '\\' {
            return self.command();
        }
        if let Some((name, length)) = self.number_with_base() {
            self.at += length;
            self.tokens.push(Token::Symbol { name, spaced: false });
            return Some(());
        }
        if character.is_ascii_digit() || (character == '.' && self.peek(1).is_some_and(|next| next.is_ascii_digit())) {
            return self.number();
        }
        if character.is_alphabetic() {
            return self.letters();
        }
        self.at += 1;
        match character {
            _ if character.is_whitespace() => {}
            '~' | '\u{2060}' | '\u{200b}' | '\u{feff}' => {}
            '$' => {
                // Before a digit a single dollar sign is money; elsewhere it opens or closes mathematics.
                if self.money_sign() {
                    self.tokens.push(Token::Sign('$'));
                }
            }
            '{' => self.open_group(false),
            '}' => self.close_group(),
            '(' | '⟨' => self.open(Bracket::Round),
            ')' | '⟩' => self.close(Bracket::Round),
            '[' => self.open(Bracket::Square),
            ']' => self.close(Bracket::Square),
            '&' => self.tokens.push(Token::Column),
            // Between numbers a dash is a range, not a difference.
            '–' | '—' if matches!(self.tokens.last(), Some(Token::Number(_))) => return None,
            '−' | '–' | '—' | '‐' | '‑' => self.tokens.push(Token::Sign('-')),
            '×' | '·' | '⋅' | '∙' => self.tokens.push(Token::Sign('*')),
            '*' if self.peek(0) == Some('*') => {
                self.at += 1;
                self.tokens.push(Token::Sign('^'));
                self.top().pending = 0;
            }
            '÷' | '∕' | '⁄' => self.tokens.push(Token::Sign('/')),
            '²' | '³' => {
                let digit = if character == '²' { 2 } else { 3 };
                self.tokens.extend([Token::Sign('^'), Token::Number(Number::integer(digit))]);
            }
            '½' => self.tokens.push(Token::Number(Number::half())),
            '√' => self.tokens.push(Token::Command("sqrt")),
            '∞' => self.tokens.push(Token::Command("infty")),
            '<' | '>' | '!' if self.peek(0) == Some('=') => {
                self.at += 1;
                self.tokens.push(Token::Sign(match character {
                    '<' => '≤',
                    '>' => '≥',
                    _ => '≠',
                }));
            }
            '^' => self.superscript(),
            '_' => {
                self.tokens.push(Token::Sign('_'));
                let logarithm = self.tokens.len() >= 2 && self.tokens[self.tokens.len() - 2] == Token::Command("log");
                self.top().pending = u8::from(logarithm);
            }
            '+' | '-' | '*' | '/' | '!' | '=' | '<' | '>' | ',' | ';' | '%' | '|' | '±' | '∓' | '≤' | '≥' | '≠'
            | '≈' | '∼' | '∈' | '∉' | '∪' | '∩' | '∖' | '∅' | '°' | '€' | '£' | '¥' | '₹' | '\'' | ':' => {
                self.tokens.push(Token::Sign(character))
            }
            // A full stop that does not belong to a number ends a sentence. Three points are an ellipsis.
            '.' if self.peek(0) == Some('.') => return None,
            '.' | '?' if self.rest_is_blank() => {}
            '"' | '“' | '”' | '`' => {}
            _ => return None,
        }
        Some(())
    }

    fn command(&mut self) -> Option<()> {
        self.at += 1;
        let first = self.peek(0)?;
        if !first.is_ascii_alphabetic() {
            self.at += 1;
            match first {
                '{' => self.open(Bracket::Brace),
                '}' => self.close(Bracket::Brace),
                '%' => self.tokens.push(Token::Sign('%')),
                '$' => self.tokens.push(Token::Sign('$')),
                '\\' => self.tokens.push(Token::Row),
                '|' => self.tokens.push(Token::Sign('|')),
                '_' | '&' | '#' => return None,
                // Spaces, and the delimiters of inline and displayed mathematics.
                _ => {}
            }
            return Some(());
        }
        let start = self.at;
        while self.peek(0).is_some_and(|next| next.is_ascii_alphabetic()) {
            self.at += 1;
        }
        let name: String = self.characters[start..self.at].iter().collect();
        if let Some(&(_, sign)) = COMMAND_SIGNS.iter().find(|(command, _)| *command == name) {
            self.tokens.push(Token::Sign(sign));
            return Some(());
        }
        if LAYOUT.contains(&name.as_str()) {
            let paired = matches!(name.as_str(), "left" | "right");
            if paired && self.peek(0) == Some('.') {
                self.at += 1;
            }
            return Some(());
        }
        if TEXT.contains(&name.as_str()) {
            self.skip_spaces();
            return match self.peek(0) {
                Some('{') => {
                    self.at += 1;
                    self.frames.push(Frame { text: true, silent: true, ..Frame::default() });
                    Some(())
                }
                _ => Some(()),
            };
        }
        self.named_command(&name)
    }

    fn named_command(&mut self, name: &str) -> Option<()> {
        match name {
            "dfrac" | "tfrac" | "cfrac" | "frac" => {
                self.tokens.push(Token::Command("frac"));
                self.top().pending = 2;
            }
            "binom" | "dbinom" | "tbinom" => {
                self.tokens.push(Token::Command("binom"));
                self.top().pending = 2;
            }
            "sqrt" => {
                self.tokens.push(Token::Command("sqrt"));
                self.top().pending = 1;
            }
            "overline" | "bar" | "dot" => return None,
            "lfloor" | "rfloor" | "lceil" | "rceil" => {
                self.tokens.push(Token::Command(match name {
                    "lfloor" => "lfloor",
                    "rfloor" => "rfloor",
                    "lceil" => "lceil",
                    _ => "rceil",
                }));
            }
            "langle" => self.open(Bracket::Round),
            "rangle" => self.close(Bracket::Round),
            "lbrace" => self.open(Bracket::Brace),
            "rbrace" => self.close(Bracket::Brace),
            "lbrack" => self.open(Bracket::Square),
            "rbrack" => self.close(Bracket::Square),
            "mathbb" => {
                let name = self.braced_word()?;
                self.tokens.push(Token::Symbol { name: format!("mathbb {name}"), spaced: false });
            }
            "begin" | "end" => {
                let environment = self.braced_word()?;
                if !["pmatrix", "bmatrix", "matrix", "smallmatrix"].contains(&environment.as_str()) {
                    return None;
                }
                self.tokens.push(if name == "begin" { Token::MatrixBegin } else { Token::MatrixEnd });
            }
            _ => {
                self.top().pending = self.top().pending.saturating_sub(1);
                if let Some(function) = FUNCTIONS.into_iter().find(|function| *function == name) {
                    self.tokens.push(Token::Command(function));
                } else if GREEK.contains(&name) {
                    self.tokens.push(Token::Symbol { name: name.to_string(), spaced: false });
                } else {
                    return None;
                }
            }
        }
        Some(())
    }

    /// `^`, unless it raises a circle: then the two are a degree sign.
    fn superscript(&mut self) {
        let rest: String = self.characters[self.at..].iter().take(16).filter(|next| !next.is_whitespace()).collect();
        for degree in ["\\circ", "{\\circ}", "\\degree", "{\\degree}", "∘", "{∘}"] {
            if rest.starts_with(degree) {
                let mut left = degree.chars().count();
                while left > 0 {
                    left -= usize::from(!self.characters[self.at].is_whitespace());
                    self.at += 1;
                }
                self.tokens.push(Token::Sign('°'));
                return;
            }
        }
        self.tokens.push(Token::Sign('^'));
    }

    fn number(&mut self) -> Option<()> {
        if self.top().pending > 0 && self.characters[self.at].is_ascii_digit() {
            self.top().pending -= 1;
            let digit = self.characters[self.at].to_digit(10)?;
            self.at += 1;
            self.tokens.push(Token::Number(Number::integer(digit.into())));
            return Some(());
        }
        let in_list = self.frames.iter().any(|frame| frame.list);
        let (number, length) = number::read(&self.characters[self.at..], in_list)?;
        self.at += length;
        self.tokens.push(Token::Number(number));
        Some(())
    }

    /// `0x1F` and `1F_{16}`, where no letter or digit stands before.
    fn number_with_base(&self) -> Option<(String, usize)> {
        let before = self.at.checked_sub(1).map(|before| self.characters[before]);
        let is_inside = before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '\\' | '_' | '.'));
        if is_inside { None } else { number::with_base(&self.characters[self.at..]) }
    }

    fn letters(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek(0).is_some_and(char::is_alphabetic) {
            self.at += 1;
        }
        let text = self.top().text;
        // 2πr is a product, a word of Greek letters is a word, and kΩ and μm are units.
        let is_greek = |letter: &char| !matches!(letter, 'Ω' | 'μ' | 'µ') && greek_letter(*letter).is_some();
        let run = &self.characters[start..self.at];
        if !text
            && run.iter().filter(|letter| is_greek(letter)).count() <= run.len().div_ceil(2).max(2)
            && let Some(first) = run.iter().position(is_greek)
        {
            self.at = start + first.max(1);
        }
        let run: String = self.characters[start..self.at].iter().collect();
        let lower = run.to_lowercase();
        if let Some(half) = self.half_of_day(&lower) {
            self.tokens.push(Token::Word(half.to_string()));
            return Some(());
        }
        if let Some(&(_, sign)) = WORD_SIGNS.iter().find(|(word, _)| *word == lower) {
            self.tokens.push(Token::Sign(sign));
            return Some(());
        }
        if text {
            self.tokens.push(Token::Word(run));
            return Some(());
        }
        match lower.as_str() {
            "ℝ" | "ℤ" | "ℚ" | "ℕ" | "ℂ" => {
                let name = words::number_set(run.chars().next()?)?;
                self.tokens.push(Token::Symbol { name: format!("mathbb {name}"), spaced: false });
            }
            "π" => self.tokens.push(Token::Command("pi")),
            _ if run.chars().count() == 1 && run.chars().any(|letter| greek_letter(letter).is_some()) => {
                let name = run.chars().find_map(greek_letter)?.to_string();
                self.tokens.push(Token::Symbol { name, spaced: false });
            }
            "infinity" | "inf" | "oo" => self.tokens.push(Token::Command("infty")),
            "u" | "U"
                if self.plain && self.peek(0).is_none_or(char::is_whitespace) && start > 0 && self.after_bracket() =>
            {
                self.tokens.push(Token::Sign('∪'));
            }
            _ if FUNCTIONS.contains(&run.as_str()) => {
                let function = FUNCTIONS.into_iter().find(|function| *function == run)?;
                self.tokens.push(Token::Command(function));
            }
            _ if self.plain && GREEK.contains(&run.as_str()) => {
                self.tokens.push(Token::Symbol { name: run, spaced: false });
            }
            _ if is_product(&run) => {
                let spaced = start > 0 && self.characters[start - 1].is_whitespace();
                self.top().pending = self.top().pending.saturating_sub(1);
                for (index, letter) in run.chars().enumerate() {
                    self.tokens.push(Token::Symbol { name: letter.to_string(), spaced: spaced && index == 0 });
                }
            }
            _ => self.tokens.push(Token::Word(run)),
        }
        Some(())
    }

    /// `am`, `PM`, `p.m.` after a number, rather than a product of symbols.
    fn half_of_day(&mut self, letters: &str) -> Option<&'static str> {
        if !matches!(self.tokens.last(), Some(Token::Number(_))) {
            return None;
        }
        let half = match letters {
            "am" | "a" => "am",
            "pm" | "p" => "pm",
            _ => return None,
        };
        if letters.len() == 1 {
            if !(self.peek(0) == Some('.') && matches!(self.peek(1), Some('m' | 'M'))) {
                return None;
            }
            self.at += 2;
            self.at += usize::from(self.peek(0) == Some('.'));
        }
        Some(half)
    }

    fn after_bracket(&self) -> bool {
        matches!(self.tokens.last(), Some(Token::Close(_)))
    }

    /// Whether the dollar sign just read is money: a digit follows, and no second dollar sign closes what it would open.
    fn money_sign(&self) -> bool {
        let mut next = self.at;
        while self.characters.get(next).is_some_and(|character| character.is_whitespace()) {
            next += 1;
        }
        self.characters.get(next).is_some_and(char::is_ascii_digit)
            && self.characters.iter().filter(|character| **character == '$').count() == 1
    }

    fn open_group(&mut self, text: bool) {
        let text = text || self.top().text;
        let argument =
            self.top().pending > 0 || matches!(self.tokens.last(), Some(Token::Sign('^' | '_') | Token::Command(_)));
        self.top().pending = self.top().pending.saturating_sub(1);
        self.frames.push(Frame { text, list: !argument, ..Frame::default() });
        self.tokens.push(Token::Open(Bracket::Group));
    }

    /// An unmatched closing brace is dropped, as one left over from a cut-out answer.
    fn close_group(&mut self) {
        if self.frames.len() > 1 {
            let silent = self.frames.pop().is_some_and(|frame| frame.silent);
            if !silent {
                self.tokens.push(Token::Close(Bracket::Group));
            }
        }
    }

    fn open(&mut self, bracket: Bracket) {
        let function = matches!(self.tokens.last(), Some(Token::Command(_)));
        let text = self.top().text;
        self.frames.push(Frame { text, list: !function, ..Frame::default() });
        self.tokens.push(Token::Open(bracket));
    }

    fn close(&mut self, bracket: Bracket) {
        if self.frames.len() > 1 {
            self.frames.pop();
        }
        self.tokens.push(Token::Close(bracket));
    }

    fn braced_word(&mut self) -> Option<String> {
        self.skip_spaces();
        if self.peek(0) != Some('{') {
            let letter = self.peek(0)?;
            self.at += 1;
            return Some(letter.to_string());
        }
        let length = self.characters[self.at..].iter().take(20).position(|character| *character == '}')?;
        let word = self.characters[self.at + 1..self.at + length].iter().collect();
        self.at += length + 1;
        Some(word)
    }

    fn skip_spaces(&mut self) {
        while self.peek(0).is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn rest_is_blank(&self) -> bool {
        self.characters[self.at..].iter().all(|character| character.is_whitespace() || "$.)*".contains(*character))
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn top(&mut self) -> &mut Frame {
        let last = self.frames.len() - 1; // The first frame is never popped.
        &mut self.frames[last]
    }
}

/// Whether adjacent letters are a product of symbols, and not a word. Words of the same letters must not be equal, so that only
/// letters that hardly form a word count.
pub(in crate::maths) fn is_product(run: &str) -> bool {
    let letters: Vec<char> = run.chars().collect();
    match letters.as_slice() {
        [_] => true,
        _ if crate::maths::values::unit::is_known(run) => false,
        [first, second] => {
            !"eiouEIOU".contains(*first) && !"eouEOU".contains(*second) && first.is_ascii() && second.is_ascii()
        }
        [_, _, _] => letters.iter().all(|letter| "abcxyz".contains(*letter)),
        _ => false,
    }
}
