//! What follows a value in Jinja2's grammar: names, items, slices, calls, filters and tests. `expression` handles
//! values and operators.

use std::collections::HashSet;

use super::expression::Parser;
use super::globals::OF_MACRO;
use super::methods::is_method_name;
use super::scan::{Token, is_operator};

impl Parser<'_> {
    pub(super) fn postfix(&mut self, value: String) -> Result<String, String> {
        let mut value = value;
        loop {
            self.link()?;
            if self.skip(".") {
                value = match self.peek() {
                    Some(Token::Number(number)) => {
                        self.at += 1;
                        format!("{value}[{number}]")
                    }
                    _ => {
                        let name = self.name()?;
                        let is_called = is_operator(self.peek(), "(");
                        match name.as_str() {
                            "changed" | "cycle" if is_called => self.of_loop(&value, &name)?,
                            name if (is_method_name(name) || OF_MACRO.contains(&name)) && !is_called => {
                                format!("__attr({value}, \"{name}\")")
                            }
                            name => format!("{value}.{name}"),
                        }
                    }
                };
            } else if self.skip("[") {
                value = self.subscript(value)?;
            } else if self.skip("(") {
                value = format!("{value}({})", self.arguments()?.join(", "));
            } else {
                self.links -= 1;
                return Ok(value);
            }
        }
    }

    /// The two methods of a loop. The engine compares all that `changed` is given, and `cycle` needs something to choose from.
    fn of_loop(&mut self, value: &str, name: &str) -> Result<String, String> {
        self.expect("(")?;
        let from = self.at;
        let arguments = self.arguments()?;
        let is_plain = |token: &Token| !matches!(token, Token::Operator("*" | "**" | "="));
        if arguments.is_empty() || !self.tokens[from..self.at].iter().all(is_plain) {
            return Err(format!("`{name}` takes one value or more, written one by one, here"));
        }
        let weighed: Vec<String> = arguments.iter().map(|argument| format!("__weighed({argument})")).collect();
        Ok(format!("{value}.{name}({})", weighed.join(", ")))
    }

    /// What is in square brackets behind a value.
    fn subscript(&mut self, value: String) -> Result<String, String> {
        let mut bounds: Vec<Option<String>> = Vec::new();
        let from = self.at;
        loop {
            let is_given = !is_operator(self.peek(), ":") && !is_operator(self.peek(), "]");
            bounds.push(if is_given { Some(self.expression()?) } else { None });
            if !self.skip(":") {
                break;
            }
        }
        let is_constant = self.at == from + 1
            && match &self.tokens[from] {
                Token::Text(text) => !is_method_name(text) && !OF_MACRO.contains(&text.as_str()),
                Token::Number(number) => number.bytes().all(|byte| byte.is_ascii_digit()),
                _ => false,
            };
        self.expect("]")?;
        match bounds.as_slice() {
            [Some(key)] if is_constant && !key.starts_with('"') => Ok(format!("{value}[{key}]")),
            [Some(key)] => Ok(format!("__item({value}, {key})")),
            [None] => Err("an item lacks its key".to_owned()),
            _ if bounds.len() > 3 => Err("a slice has more than three parts".to_owned()),
            _ => {
                let bound = |at: usize| bounds.get(at).cloned().flatten().unwrap_or_else(|| "none".to_owned());
                Ok(format!("__slice({value}, {}, {}, {})", bound(0), bound(1), bound(2)))
            }
        }
    }

    /// Arguments behind the opening bracket, and the closing one.
    fn arguments(&mut self) -> Result<Vec<String>, String> {
        let mut parts = Vec::new();
        let mut names = HashSet::new();
        while !self.skip(")") {
            if !parts.is_empty() {
                self.expect(",")?;
                if self.skip(")") {
                    break;
                }
            }
            let is_named =
                matches!(self.peek(), Some(Token::Name(_))) && is_operator(self.tokens.get(self.at + 1), "=");
            parts.push(if self.skip("**") {
                format!("**__named({})", self.expression()?)
            } else if self.skip("*") {
                format!("*{}", self.expression()?)
            } else if is_named {
                let name = self.name()?;
                if !names.insert(name.clone()) {
                    return Err(format!("the argument `{name}` is given twice"));
                }
                self.at += 1;
                format!("{name}={}", self.expression()?)
            } else {
                self.expression()?
            });
        }
        Ok(parts)
    }

    /// Filters, tests and calls behind a value.
    pub(super) fn filtered(&mut self, value: String) -> Result<String, String> {
        let mut value = value;
        loop {
            self.link()?;
            if is_operator(self.peek(), "|") {
                value.push_str(&self.filters()?);
            } else if self.skip_name("is") {
                let not = if self.skip_name("not") { "not " } else { "" };
                let name = self.name()?;
                let arguments = self.test_arguments()?;
                value = format!("({value} is {not}{name}{arguments})");
            } else if self.skip("(") {
                // What a filter gives is called, and not the filter once more.
                value = format!("({value})({})", self.arguments()?.join(", "));
            } else {
                self.links -= 1;
                return Ok(value);
            }
        }
    }

    fn test_arguments(&mut self) -> Result<String, String> {
        let takes_one = match self.peek() {
            Some(Token::Name(name)) => {
                !matches!(name.as_str(), "else" | "or" | "and" | "is" | "if" | "in" | "not" | "recursive")
            }
            Some(Token::Text(_) | Token::Number(_)) => true,
            Some(Token::Operator(operator)) => matches!(*operator, "(" | "[" | "{"),
            None => false,
        };
        if self.is_name("is") {
            return Err("tests cannot be chained with `is`".to_owned());
        }
        if self.skip("(") {
            return Ok(format!("({})", self.arguments()?.join(", ")));
        }
        if !takes_one {
            return Ok(String::new());
        }
        let argument = self.primary()?;
        Ok(format!("({})", self.postfix(argument)?))
    }

    /// `| filter(…) | filter …`.
    pub(super) fn filters(&mut self) -> Result<String, String> {
        let mut written = String::new();
        while self.skip("|") {
            self.link()?;
            written.push_str(&format!(" | {}", self.filter()?));
        }
        Ok(written)
    }

    /// `filter(…) | filter …`.
    pub(super) fn filter_chain(&mut self) -> Result<String, String> {
        Ok(self.filter()? + &self.filters()?)
    }

    fn filter(&mut self) -> Result<String, String> {
        let mut name = self.name()?;
        while self.skip(".") {
            name = format!("{name}.{}", self.name()?);
        }
        let arguments = if self.skip("(") { format!("({})", self.arguments()?.join(", ")) } else { String::new() };
        Ok(name + &arguments)
    }
}
