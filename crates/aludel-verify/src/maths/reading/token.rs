//! The tokens of an answer's text. They are produced by `lexer` and interpreted by `expression` and `answer`.

use crate::maths::values::number::Number;

/// A kind of bracket. A pair may differ, as in a half-open interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::maths) enum Bracket {
    /// `{` that only groups.
    Group,
    /// `(`, and `⟨`, which also encloses coordinates.
    Round,
    /// `[`.
    Square,
    /// `\{` of a set.
    Brace,
}

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::maths) enum Token {
    /// A number as written.
    Number(Number),
    /// A one-letter or Greek symbol. `spaced` says whether a space precedes it.
    Symbol { name: String, spaced: bool },
    /// A word of text.
    Word(String),
    /// A function or construction: `frac`, `sqrt`, `sin`, `pi`…
    Command(&'static str),
    /// An opening bracket.
    Open(Bracket),
    /// A closing bracket.
    Close(Bracket),
    /// An operator, relation or separator.
    Sign(char),
    /// `\begin` of a matrix.
    MatrixBegin,
    /// `\end` of a matrix.
    MatrixEnd,
    /// `\\`.
    Row,
    /// `&`.
    Column,
}
