//! Jinja2's grammar of expressions: reads tokens and writes them again for the engine, with calls in place of what it
//! does differently. Nothing is evaluated here.

use super::parameters::{Parameter, Parameters};
use super::scan::{Token, is_operator, written};

/// Deeper nesting than any template has; the engine's own parser ends near it.
const DEEPEST: usize = 60;
/// How many links the chains within one tag may have together (`.name`, `| filter`, `and`): the engine compiles each chain by going down
/// it, and every link writes what is before it once more.
const MOST_LINKS: usize = 1000;
const MOST_PARAMETERS: usize = 50;
const COMPARISONS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];
/// Operators from those that bind least to those that bind most.
const LEVELS: [&[&str]; 4] = [&["+", "-"], &["~"], &["*", "/", "//", "%"], &["**"]];

pub(super) struct Parser<'a> {
    pub(super) tokens: &'a [Token],
    pub(super) at: usize,
    depth: usize,
    pub(super) links: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(tokens: &'a [Token]) -> Parser<'a> {
        Parser { tokens, at: 0, depth: 0, links: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(other)) if other == name)
    }

    pub(super) fn skip(&mut self, operator: &str) -> bool {
        let is_it = is_operator(self.peek(), operator);
        self.at += usize::from(is_it);
        is_it
    }

    pub(super) fn expect(&mut self, operator: &str) -> Result<(), String> {
        if self.skip(operator) { Ok(()) } else { Err(self.unexpected(&format!("`{operator}`"))) }
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let is_it = self.is_name(name);
        self.at += usize::from(is_it);
        is_it
    }

    pub(super) fn skip_all_names(&mut self) {
        while matches!(self.peek(), Some(Token::Name(_))) {
            self.at += 1;
        }
    }

    pub(super) fn expect_name(&mut self, name: &str) -> Result<(), String> {
        if self.skip_name(name) { Ok(()) } else { Err(self.unexpected(&format!("`{name}`"))) }
    }

    pub(super) fn name(&mut self) -> Result<String, String> {
        match self.peek() {
            Some(Token::Name(name)) => {
                self.at += 1;
                Ok(name.clone())
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    pub(super) fn done(&self) -> Result<(), String> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(self.unexpected("the end of the tag")) }
    }

    pub(super) fn unexpected(&self, wanted: &str) -> String {
        match self.peek() {
            None => format!("the tag ends where {wanted} should stand"),
            Some(Token::Name(name)) => format!("unexpected `{name}`, expected {wanted}"),
            Some(Token::Text(_)) => format!("unexpected text, expected {wanted}"),
            Some(Token::Number(number)) => format!("unexpected `{number}`, expected {wanted}"),
            Some(Token::Operator(operator)) => format!("unexpected `{operator}`, expected {wanted}"),
        }
    }

    pub(super) fn link(&mut self) -> Result<(), String> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(format!("a tag chains more than {MOST_LINKS} names, filters and conditions"));
        }
        Ok(())
    }

    /// Whether the tokens from `from` on name nothing, so that their value is in the template itself.
    pub(super) fn is_constant(&self, from: usize) -> bool {
        let is_word = |name: &str| matches!(name, "true" | "false" | "none" | "True" | "False" | "None");
        self.tokens[from..self.at].iter().all(|token| !matches!(token, Token::Name(name) if !is_word(name)))
    }

    /// A list, tuple or mapping that was written from token `from` on.
    pub(super) fn collection(&self, from: usize, written: String) -> String {
        if self.is_constant(from) { written } else { format!("__nest({written})") }
    }

    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        if self.depth >= DEEPEST {
            return Err(format!("an expression is nested more than {DEEPEST} deep"));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// One expression, or several with commas, which make a tuple.
    pub(super) fn tuple(&mut self) -> Result<String, String> {
        self.listed(true)
    }

    pub(super) fn tuple_without_condition(&mut self) -> Result<String, String> {
        self.listed(false)
    }

    fn listed(&mut self, with_condition: bool) -> Result<String, String> {
        let from = self.at;
        let mut parts = Vec::new();
        let mut is_tuple = false;
        loop {
            let is_at_end = match self.peek() {
                None | Some(Token::Operator(")")) => true,
                Some(Token::Name(name)) => !with_condition && name == "recursive",
                _ => false,
            };
            if is_at_end && is_tuple {
                break;
            }
            parts.push(if with_condition { self.expression()? } else { self.nested(Self::or)? });
            if !self.skip(",") {
                break;
            }
            is_tuple = true;
        }
        Ok(match (is_tuple, parts.as_slice()) {
            (false, [only]) => only.clone(),
            (_, [only]) => self.collection(from, format!("({only},)")),
            _ => self.collection(from, format!("({})", parts.join(", "))),
        })
    }

    /// What a `for` or `set` assigns to.
    pub(super) fn targets(&mut self) -> Result<String, String> {
        self.nested(|parser| parser.unpacked(false))
    }

    /// A name, or several that a value is unpacked into; those in brackets are unpacked once more, and can be no attributes.
    fn unpacked(&mut self, is_inner: bool) -> Result<String, String> {
        let mut parts = Vec::new();
        let mut is_tuple = false;
        if is_inner && is_operator(self.peek(), ")") {
            return Ok("()".to_owned());
        }
        loop {
            self.link()?;
            parts.push(if self.skip("(") {
                let inner = self.nested(|parser| parser.unpacked(true))?;
                self.expect(")")?;
                inner
            } else {
                let name = self.name()?;
                if !is_inner && self.skip(".") { format!("{name}.{}", self.name()?) } else { name }
            });
            if !self.skip(",") {
                break;
            }
            is_tuple = true;
            // Only in brackets may the last name have a comma behind it.
            if is_inner && is_operator(self.peek(), ")") {
                break;
            }
        }
        Ok(match parts.as_slice() {
            [only] if !is_tuple => only.clone(),
            [only] => format!("({only},)"),
            _ => format!("({})", parts.join(", ")),
        })
    }

    /// What `with` assigns. The engine lets a value see the names before it, and Jinja2 does not.
    pub(super) fn assignments(&mut self) -> Result<String, String> {
        let mut parts = Vec::new();
        let mut names: Vec<String> = Vec::new();
        while self.peek().is_some() {
            self.link()?;
            let name = self.name()?;
            self.expect("=")?;
            let from = self.at;
            let value = self.expression()?;
            let mentions = |token: &Token| matches!(token, Token::Name(other) if names.contains(other));
            if self.tokens[from..self.at].iter().any(mentions) {
                return Err(
                    "a value in `with` has the name of another one beside it, which is not known here".to_owned()
                );
            }
            parts.push(format!("{name} = {value}"));
            names.push(name);
            if !self.skip(",") {
                break;
            }
        }
        Ok(parts.join(", "))
    }

    /// Parameters of a macro or call, behind the opening bracket.
    pub(super) fn parameters(&mut self) -> Result<Parameters, String> {
        let mut parameters: Vec<Parameter> = Vec::new();
        while !self.skip(")") {
            if !parameters.is_empty() {
                self.expect(",")?;
            }
            if parameters.len() >= MOST_PARAMETERS {
                return Err(format!("a macro has more than {MOST_PARAMETERS} parameters"));
            }
            let name = self.name()?;
            if parameters.iter().any(|other| other.name == name) {
                return Err(format!("a macro has two parameters `{name}`"));
            }
            let from = self.at;
            let default = if self.skip("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.last().is_some_and(|before| before.default.is_some()) {
                return Err(format!("the parameter `{name}` has no default, and stands behind one that has"));
            }
            let mentioned = self.tokens[from..self.at].iter().filter_map(|token| match token {
                Token::Name(name) => Some(name.clone()),
                _ => None,
            });
            parameters.push(Parameter { name, default, mentioned: mentioned.collect() });
        }
        Ok(Parameters(parameters))
    }

    /// `a if b else c`, or anything simpler.
    pub(super) fn expression(&mut self) -> Result<String, String> {
        self.nested(|parser| {
            let mut value = parser.or()?;
            while parser.skip_name("if") {
                parser.link()?;
                let condition = parser.or()?;
                let otherwise =
                    if parser.skip_name("else") { format!(" else {}", parser.expression()?) } else { String::new() };
                value = format!("({value} if {condition}{otherwise})");
            }
            Ok(value)
        })
    }

    fn or(&mut self) -> Result<String, String> {
        let mut value = self.and()?;
        while self.skip_name("or") {
            self.link()?;
            value = format!("{value} or {}", self.and()?);
        }
        Ok(value)
    }

    fn and(&mut self) -> Result<String, String> {
        let mut value = self.not()?;
        while self.skip_name("and") {
            self.link()?;
            value = format!("{value} and {}", self.not()?);
        }
        Ok(value)
    }

    fn not(&mut self) -> Result<String, String> {
        if self.skip_name("not") {
            return self.nested(|parser| Ok(format!("not {}", parser.not()?)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<String, String> {
        let mut written = self.level(0)?;
        let mut has_operator = false;
        loop {
            let operator = match self.peek() {
                Some(Token::Operator(operator)) if COMPARISONS.contains(operator) => *operator,
                Some(Token::Name(name)) if name == "in" => "in",
                Some(Token::Name(name)) if name == "not" => {
                    let is_in = matches!(self.tokens.get(self.at + 1), Some(Token::Name(next)) if next == "in");
                    if !is_in {
                        break;
                    }
                    self.at += 1;
                    "not in"
                }
                _ => break,
            };
            self.at += 1;
            has_operator = true;
            written.push_str(&format!(", \"{operator}\", {}", self.level(0)?));
        }
        Ok(if has_operator { format!("__compare({written})") } else { written })
    }

    fn level(&mut self, level: usize) -> Result<String, String> {
        let Some(operators) = LEVELS.get(level) else { return self.unary(true) };
        let mut written = self.level(level + 1)?;
        let mut has_operator = false;
        while let Some(Token::Operator(operator)) = self.peek()
            && operators.contains(operator)
        {
            self.at += 1;
            has_operator = true;
            written.push_str(&format!(", \"{operator}\", {}", self.level(level + 1)?));
        }
        Ok(if has_operator { format!("__fold({written})") } else { written })
    }

    fn unary(&mut self, with_filters: bool) -> Result<String, String> {
        let mut value = if self.skip("-") {
            format!("__neg({})", self.nested(|parser| parser.unary(false))?)
        } else if self.skip("+") {
            format!("__fold(0, \"+\", {})", self.nested(|parser| parser.unary(false))?)
        } else {
            self.primary()?
        };
        value = self.postfix(value)?;
        if with_filters { self.filtered(value) } else { Ok(value) }
    }

    pub(super) fn primary(&mut self) -> Result<String, String> {
        let token = self.peek().ok_or_else(|| self.unexpected("a value"))?;
        let from = self.at;
        self.at += 1;
        match token {
            Token::Name(name) => match name.as_str() {
                "self" | "super" => Err(format!("the chat template uses `{name}`, which Aludel does not know")),
                "true" | "false" | "none" | "True" | "False" | "None" => Ok(name.to_lowercase()),
                "and" | "or" | "if" | "else" | "in" | "is" | "not" => {
                    self.at -= 1;
                    Err(self.unexpected("a value"))
                }
                name if name.starts_with("__") => {
                    Err(format!("the chat template uses `{name}`, which Aludel does not know"))
                }
                _ => Ok(name.clone()),
            },
            Token::Text(text) => {
                let mut text = text.clone();
                while let Some(Token::Text(more)) = self.peek() {
                    text.push_str(more);
                    self.at += 1;
                }
                Ok(written(&text))
            }
            Token::Number(number) => Ok(number.clone()),
            Token::Operator("(") => {
                if self.skip(")") {
                    return Ok("()".to_owned());
                }
                let inner = self.tuple()?;
                self.expect(")")?;
                Ok(format!("({inner})"))
            }
            Token::Operator("[") => {
                let mut items = Vec::new();
                while !self.skip("]") {
                    if !items.is_empty() {
                        self.expect(",")?;
                        if self.skip("]") {
                            break;
                        }
                    }
                    items.push(self.expression()?);
                }
                Ok(self.collection(from, format!("[{}]", items.join(", "))))
            }
            Token::Operator("{") => {
                let mut items = Vec::new();
                while !self.skip("}") {
                    if !items.is_empty() {
                        self.expect(",")?;
                        if self.skip("}") {
                            break;
                        }
                    }
                    let key_from = self.at;
                    let mut key = self.expression()?;
                    if !self.is_constant(key_from) {
                        key = format!("__key({key})");
                    }
                    self.expect(":")?;
                    items.push(format!("{key}: {}", self.expression()?));
                }
                Ok(self.collection(from, format!("{{{}}}", items.join(", "))))
            }
            Token::Operator(_) => {
                self.at -= 1;
                Err(self.unexpected("a value"))
            }
        }
    }
}
