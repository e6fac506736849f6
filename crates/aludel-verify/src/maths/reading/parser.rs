//! A recursive-descent parser for expressions. It stops at the first token that cannot continue one (a unit, a comma), which
//! `answer` then interprets. Depth and size are bounded, so that recursion over a tree is safe.

use dashu_ratio::RBig;

use super::token::{Bracket, Token};
use crate::maths::values::expression::{Expression, Function};
use crate::maths::values::number::Number;

const MAX_DEPTH: usize = 48;
const MAX_NODES: usize = 1000;

/// Which sign `±` stands for; `∓` stands for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlusMinus {
    Plus,
    Minus,
}

/// An expression parsed from the front of some tokens.
pub(in crate::maths) struct Read {
    pub(in crate::maths) expression: Expression,
    /// The number of tokens that it took.
    pub(in crate::maths) length: usize,
    /// Whether it contained a `±` or `∓`.
    pub(super) plus_minus: bool,
}

/// Reads the longest expression at the front of `tokens`; `None` where there is none.
pub(in crate::maths) fn read(tokens: &[Token], sign: PlusMinus) -> Option<Read> {
    let mut parser =
        Parser { tokens, at: 0, depth: 0, nodes: 0, in_function: 0, sign, plus_minus: false, single: false };
    let expression = parser.sum()?;
    Some(Read { expression, length: parser.at, plus_minus: parser.plus_minus })
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    nodes: usize,
    /// Within a function's argument a degree sign converts; elsewhere it is a unit.
    in_function: usize,
    sign: PlusMinus,
    plus_minus: bool,
    /// An exponent or an index follows: without braces it is one number, and a fraction after it is not part of it.
    single: bool,
}

impl Parser<'_> {
    fn sum(&mut self) -> Option<Expression> {
        self.deeper(|parser| {
            let mut terms = Vec::new();
            loop {
                let mut negative = false;
                let mut signs = 0;
                while let Some(sign) = parser.addition_sign() {
                    negative ^= sign;
                    signs += 1;
                }
                if signs > 2 || (signs == 0 && !terms.is_empty()) {
                    break;
                }
                let before = parser.at;
                match parser.product() {
                    Some(term) => terms.push(if negative { term.negated() } else { term }),
                    None if terms.is_empty() => return None,
                    None => {
                        parser.at = before;
                        return None; // An operator without its right side.
                    }
                }
            }
            Some(match terms.len() {
                1 => terms.remove(0),
                _ => Expression::Sum(terms),
            })
        })
    }

    /// Reads a sign between or before terms; whether it is negative.
    fn addition_sign(&mut self) -> Option<bool> {
        let Some(Token::Sign(sign)) = self.peek() else { return None };
        let negative = match sign {
            '+' => false,
            '-' => true,
            '±' => self.sign == PlusMinus::Minus,
            '∓' => self.sign == PlusMinus::Plus,
            _ => return None,
        };
        self.plus_minus |= matches!(sign, '±' | '∓');
        self.at += 1;
        Some(negative)
    }

    fn product(&mut self) -> Option<Expression> {
        let mut factors = vec![self.power()?];
        loop {
            match self.peek() {
                Some(Token::Sign('*')) => {
                    self.at += 1;
                    factors.push(self.signed_power()?);
                }
                Some(Token::Sign('/')) => {
                    self.at += 1;
                    factors.push(self.signed_power()?.inverted());
                }
                // Two adjacent numbers are not a product.
                Some(Token::Number(_)) if matches!(factors.last(), Some(Expression::Number(_))) => break,
                _ if self.starts_primary() => match self.power() {
                    Some(factor) => factors.push(factor),
                    None => return None,
                },
                _ => break,
            }
        }
        Some(match factors.len() {
            1 => factors.remove(0),
            _ => Expression::Product(factors),
        })
    }

    fn signed_power(&mut self) -> Option<Expression> {
        self.deeper(|parser| match parser.addition_sign() {
            Some(true) => Some(parser.signed_power()?.negated()),
            Some(false) => parser.signed_power(),
            None => parser.power(),
        })
    }

    fn power(&mut self) -> Option<Expression> {
        self.deeper(|parser| {
            let base = parser.postfix()?;
            if !matches!(parser.peek(), Some(Token::Sign('^'))) {
                return Some(base);
            }
            parser.at += 1;
            parser.single = true;
            let exponent = parser.signed_power()?;
            Some(Expression::Power(Box::new((base, exponent))))
        })
    }

    fn postfix(&mut self) -> Option<Expression> {
        let mut value = self.primary()?;
        loop {
            match self.peek() {
                // 5!! is the double factorial, which is not supported; (5!)! is something else.
                Some(Token::Sign('!')) if self.tokens.get(self.at + 1) == Some(&Token::Sign('!')) => return None,
                Some(Token::Sign('!')) => value = Expression::Call(Function::Factorial, Box::new(value)),
                Some(Token::Sign('°')) if self.in_function > 0 => {
                    let degree = Expression::Number(Number::exact(RBig::from_parts(1.into(), 180u8.into())));
                    value = Expression::Product(vec![value, Expression::Pi, degree]);
                }
                _ => return Some(value),
            }
            self.at += 1;
            self.count()?;
        }
    }

    fn starts_primary(&self) -> bool {
        match self.peek() {
            Some(Token::Symbol { .. } | Token::Number(_)) => true,
            Some(Token::Open(bracket)) => *bracket != Bracket::Brace,
            Some(Token::Command(name)) => !matches!(*name, "rfloor" | "rceil"),
            _ => false,
        }
    }

    fn primary(&mut self) -> Option<Expression> {
        self.count()?;
        let token = self.peek()?.clone();
        self.at += 1;
        let single = std::mem::take(&mut self.single);
        match token {
            Token::Number(number) if single => Some(Expression::Number(number)),
            Token::Number(number) => Some(self.mixed_number(number)),
            Token::Symbol { name, .. } => Some(self.symbol(name)),
            Token::Open(Bracket::Brace) => None,
            Token::Open(bracket) => {
                let inner = self.sum()?;
                self.close(bracket)?;
                Some(inner)
            }
            Token::Sign('|') => {
                let inner = self.sum()?;
                self.expect(&Token::Sign('|'))?;
                Some(Expression::Call(Function::Abs, Box::new(inner)))
            }
            Token::Command(name) => self.command(name),
            _ => None,
        }
    }

    /// `3\frac{1}{2}` and `3 1/2` are three and a half; a subscript names the base.
    fn mixed_number(&mut self, number: Number) -> Expression {
        if matches!(self.peek(), Some(Token::Sign('_'))) {
            let digits = format!("{}", number.value);
            self.at += 1;
            let before = self.at;
            self.single = true;
            if let Some(base) = self.primary() {
                return Expression::Symbol(format!("{digits}_{}", subscript(&base)));
            }
            self.at = before - 1;
        }
        if number.decimals > 0 || !number.value.is_int() {
            return Expression::Number(number);
        }
        let fraction = match &self.tokens[self.at..] {
            [
                Token::Command("frac"),
                Token::Open(_),
                Token::Number(over),
                Token::Close(_),
                Token::Open(_),
                Token::Number(under),
                Token::Close(_),
                ..,
            ] => Some((over, under, 7)),
            [Token::Command("frac"), Token::Number(over), Token::Number(under), ..] => Some((over, under, 3)),
            [Token::Number(over), Token::Sign('/'), Token::Number(under), ..] => Some((over, under, 3)),
            _ => None,
        };
        match fraction {
            Some((over, under, length)) if !under.value.is_zero() && over.value < under.value => {
                self.at += length;
                let value = number.value + &over.value / &under.value;
                Expression::Number(Number::exact(value))
            }
            _ => Expression::Number(number),
        }
    }

    fn symbol(&mut self, mut name: String) -> Expression {
        if matches!(self.peek(), Some(Token::Sign('_'))) {
            let before = self.at;
            self.at += 1;
            match self.subscript_text() {
                Some(text) => name = format!("{name}_{text}"),
                None => self.at = before,
            }
        }
        while matches!(self.peek(), Some(Token::Sign('\''))) {
            self.at += 1;
            name.push('\'');
        }
        match name.as_str() {
            "e" => Expression::Euler,
            "i" => Expression::Imaginary,
            _ => Expression::Symbol(name),
        }
    }

    fn subscript_text(&mut self) -> Option<String> {
        if let [Token::Open(Bracket::Group), Token::Word(word), Token::Close(_), ..] = &self.tokens[self.at..] {
            self.at += 3;
            return Some(word.clone());
        }
        self.single = true;
        self.primary().map(|index| subscript(&index))
    }

    fn command(&mut self, name: &str) -> Option<Expression> {
        match name {
            "pi" => Some(Expression::Pi),
            "infty" => Some(Expression::Infinity),
            "frac" => {
                let over = self.argument()?;
                let under = self.argument()?;
                Some(Expression::Product(vec![over, under.inverted()]))
            }
            "binom" => {
                let over = self.argument()?;
                let under = self.argument()?;
                Some(Expression::Binomial(Box::new((over, under))))
            }
            "sqrt" => self.root(),
            "lfloor" => self.enclosed(Function::Floor, "rfloor"),
            "lceil" => self.enclosed(Function::Ceiling, "rceil"),
            _ => self.function(name),
        }
    }

    fn enclosed(&mut self, function: Function, end: &'static str) -> Option<Expression> {
        let inner = self.sum()?;
        self.expect(&Token::Command(end))?;
        Some(Expression::Call(function, Box::new(inner)))
    }

    fn root(&mut self) -> Option<Expression> {
        let mut degree = 2;
        if let [Token::Open(Bracket::Square), Token::Number(number), Token::Close(Bracket::Square), ..] =
            &self.tokens[self.at..]
        {
            degree = usize::try_from(number.value.numerator().clone()).ok()?;
            if !number.value.is_int() || !(2..=100).contains(&degree) {
                return None;
            }
            self.at += 3;
        }
        let inner = self.argument()?;
        Some(Expression::Root(degree, Box::new(inner)))
    }

    fn function(&mut self, name: &str) -> Option<Expression> {
        let mut exponent = None;
        let mut base = None;
        if matches!(self.peek(), Some(Token::Sign('_'))) && name == "log" {
            self.at += 1;
            base = Some(self.argument()?);
        }
        if matches!(self.peek(), Some(Token::Sign('^'))) {
            self.at += 1;
            exponent = Some(self.signed_power()?);
        }
        self.in_function += 1;
        let argument = Box::new(self.function_argument()?);
        self.in_function -= 1;
        let inverse = exponent.as_ref() == Some(&Expression::integer(-1));
        let call = |function| Some(Expression::Call(function, argument.clone()));
        let value = match (name, inverse) {
            ("sin", true) | ("arcsin" | "asin", false) => return call(Function::Arcsin),
            ("cos", true) | ("arccos" | "acos", false) => return call(Function::Arccos),
            ("tan", true) | ("arctan" | "atan", false) => return call(Function::Arctan),
            ("sin", _) => call(Function::Sin)?,
            ("cos", _) => call(Function::Cos)?,
            ("tan", _) => call(Function::Tan)?,
            ("cot", false) => call(Function::Tan)?.inverted(),
            ("sec", false) => call(Function::Cos)?.inverted(),
            ("csc", false) => call(Function::Sin)?.inverted(),
            ("sinh", false) => call(Function::Sinh)?,
            ("cosh", false) => call(Function::Cosh)?,
            ("tanh", false) => call(Function::Tanh)?,
            ("exp", _) => call(Function::Exp)?,
            ("ln", _) => call(Function::Ln)?,
            ("log" | "lg", _) => {
                let base = base.unwrap_or_else(|| Expression::integer(10));
                Expression::Logarithm(Box::new((base, *argument.clone())))
            }
            _ => return None,
        };
        Some(match exponent {
            Some(exponent) => Expression::Power(Box::new((value, exponent))),
            None => value,
        })
    }

    /// A bracketed argument, or a run of factors without operators: sin 2πx.
    fn function_argument(&mut self) -> Option<Expression> {
        if matches!(self.peek(), Some(Token::Open(_) | Token::Sign('|'))) {
            let argument = self.postfix()?;
            return Some(argument);
        }
        let negative = self.addition_sign() == Some(true);
        let mut factors = vec![self.power()?];
        while self.starts_primary() && !self.starts_function() {
            factors.push(self.power()?);
        }
        // sin π/6 means the sixth of π.
        if matches!(self.tokens[self.at..], [Token::Sign('/'), Token::Number(_), ..]) {
            self.at += 1;
            factors.push(self.power()?.inverted());
        }
        let product = Expression::Product(factors);
        Some(if negative { product.negated() } else { product })
    }

    fn starts_function(&self) -> bool {
        matches!(self.peek(), Some(Token::Command(name)) if !matches!(*name, "pi" | "frac" | "sqrt" | "infty" | "binom"))
    }

    /// A braced group, or one primary.
    fn argument(&mut self) -> Option<Expression> {
        self.deeper(Parser::primary)
    }

    /// Brackets match by kind; a group may also close what LaTeX left open.
    fn close(&mut self, open: Bracket) -> Option<()> {
        match self.peek() {
            Some(Token::Close(close)) if *close == open => {
                self.at += 1;
                Some(())
            }
            _ => None,
        }
    }

    fn expect(&mut self, wanted: &Token) -> Option<()> {
        if self.peek() != Some(wanted) {
            return None;
        }
        self.at += 1;
        Some(())
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn count(&mut self) -> Option<()> {
        self.nodes += 1;
        (self.nodes <= MAX_NODES).then_some(())
    }
}

/// The text of an index such as the n + 1 in a_{n+1}.
fn subscript(index: &Expression) -> String {
    match index {
        Expression::Number(number) => number.value.to_string(),
        Expression::Symbol(name) => name.clone(),
        Expression::Euler => "e".to_string(),
        Expression::Imaginary => "i".to_string(),
        other => format!("{other:?}"),
    }
}
