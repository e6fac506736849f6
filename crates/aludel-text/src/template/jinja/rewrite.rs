//! Rewrites a Jinja2 template into one that the engine runs as Jinja2 would: operators, slices and lookups that the
//! engine does differently become calls, and statements that it lacks become others. The order of tags, and the white
//! space around them, stay as they are; `expression` handles expressions.

use super::expression::Parser;
use super::scan::inside;

/// Deeper nesting than any template has; the engine goes down it when it reads, compiles and runs one.
const DEEPEST: usize = 100;
const MOST_MACROS: usize = 8;
const VARIABLE_ENDS: [&str; 2] = ["}}", "-}}"];
const BLOCK_ENDS: [&str; 3] = ["%}", "-%}", "+%}"];

/// The rewritten template.
///
/// # Errors
/// What Jinja2 would not parse, or what cannot be run here, with its line.
pub(in crate::template) fn rewrite(source: &str) -> Result<String, String> {
    // As Jinja2 reads it.
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut rewriter = Rewriter {
        source: &source,
        at: 0,
        out: String::with_capacity(source.len() * 2),
        macros: Vec::new(),
        open: Vec::new(),
    };
    match rewriter.run() {
        Ok(()) => Ok(rewriter.out),
        Err(reason) => {
            let line = 1 + source[..rewriter.at].matches('\n').count();
            Err(format!("{reason} (line {line} of the template)"))
        }
    }
}

struct Rewriter<'a> {
    source: &'a str,
    at: usize,
    out: String,
    /// For each macro that is open, what follows its end.
    macros: Vec<String>,
    /// For each statement that is open, its name and how deep it nests: each `elif` lies within the one before it.
    open: Vec<(String, usize)>,
}

impl Rewriter<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(found) = self.next_tag() {
            self.out.push_str(&self.source[self.at..found]);
            self.at = found;
            let rest = &self.source[found..];
            if rest.starts_with("{#") {
                let end = rest.find("#}").ok_or("a comment has no end")? + 2;
                self.copy(end);
            } else if let Some(length) = raw_length(rest) {
                self.raw(length)?;
            } else {
                self.tag(if rest.starts_with("{{") { "{{" } else { "{%" })?;
            }
        }
        self.out.push_str(&self.source[self.at..]);
        Ok(())
    }

    fn next_tag(&self) -> Option<usize> {
        let rest = &self.source[self.at..];
        let mut from = 0;
        while let Some(at) = rest[from..].find('{').map(|at| from + at) {
            if rest[at..].starts_with("{{") || rest[at..].starts_with("{%") || rest[at..].starts_with("{#") {
                return Some(self.at + at);
            }
            from = at + 1;
        }
        None
    }

    fn copy(&mut self, length: usize) {
        self.out.push_str(&self.source[self.at..self.at + length]);
        self.at += length;
    }

    /// Raw text. The engine takes a line's end away behind its first tag, and Jinja2 leaves it.
    fn raw(&mut self, length: usize) -> Result<(), String> {
        let keeps_blanks = !self.source[self.at..self.at + length].ends_with("-%}");
        self.copy(length);
        let rest = &self.source[self.at..];
        if keeps_blanks && rest.starts_with('\n') {
            self.out.push('\n');
        }
        let mut from = 0;
        while let Some(at) = rest[from..].find("{%").map(|at| from + at) {
            let word = rest[at + 2..].trim_start_matches(['-', '+']).trim_start();
            if let Some(after) = word.strip_prefix("endraw")
                && let Some(end) = BLOCK_ENDS.iter().find_map(|end| after.trim_start().strip_prefix(end))
            {
                self.copy(rest.len() - end.len());
                return Ok(());
            }
            from = at + 2;
        }
        Err("raw text has no end".to_owned())
    }

    fn tag(&mut self, open: &str) -> Result<(), String> {
        let start = self.at;
        let is_signed = self.source[start + 2..].starts_with(['-', '+']);
        let sign = &self.source[start + 2..start + 2 + usize::from(is_signed)];
        let ends: &[&'static str] = if open == "{{" { &VARIABLE_ENDS } else { &BLOCK_ENDS };
        let inside = inside(self.source, start + 2 + sign.len(), ends)?;
        let end = inside.end + inside.close.len();
        let lines = "\n".repeat(self.source[start..end].matches('\n').count());
        let mut parser = Parser::new(&inside.tokens);
        let tag = if open == "{{" {
            let printed = parser.tuple()?;
            parser.done()?;
            format!("{{{{{sign} {printed} {lines}{}", inside.close)
        } else {
            self.block(&mut parser, sign, inside.close, &lines, end)?
        };
        self.out.push_str(&tag);
        self.at = end;
        Ok(())
    }

    /// A statement; `end` is where its tag ends.
    fn block(
        &mut self,
        parser: &mut Parser<'_>,
        sign: &str,
        close: &str,
        lines: &str,
        end: usize,
    ) -> Result<String, String> {
        let name = parser.name()?;
        self.count(&name)?;
        let whole = |body: String| format!("{{%{sign} {body} {lines}{close}");
        let body = match name.as_str() {
            "if" | "elif" => format!("{name} {}", parser.tuple()?),
            "for" => {
                let targets = parser.targets()?;
                parser.expect_name("in")?;
                let items = parser.tuple_without_condition()?;
                let condition =
                    if parser.skip_name("if") { format!(" if {}", parser.expression()?) } else { String::new() };
                let recursive = if parser.skip_name("recursive") { " recursive" } else { "" };
                format!("for {targets} in __iter({items}){condition}{recursive}")
            }
            "set" => {
                let targets = parser.targets()?;
                // What a namespace is given must not come to contain it.
                let is_attribute = targets.contains('.');
                if parser.skip("=") {
                    let value = parser.tuple()?;
                    format!("set {targets} = {}", if is_attribute { format!("__assigned({value})") } else { value })
                } else {
                    self.open.push((name, 1));
                    self.check_depth()?;
                    let filters = parser.filters()?;
                    format!("set {targets}{filters}{}", if is_attribute { " | __assigned" } else { "" })
                }
            }
            "with" => format!("with {}", parser.assignments()?),
            "macro" => return self.begin_macro(parser, sign, close, lines, end),
            "endmacro" => {
                let after = self.macros.pop().ok_or("unexpected `endmacro`")?;
                if after.is_empty() {
                    "endmacro".to_owned()
                } else {
                    parser.skip_all_names();
                    parser.done()?;
                    return Ok(format!("{{%{sign} endmacro %}}{{% set {after} {lines}{close}"));
                }
            }
            "call" => {
                let parameters =
                    if parser.skip("(") { format!("({})", parser.parameters()?.written()) } else { String::new() };
                format!("call{parameters} {}", parser.expression()?)
            }
            "filter" => format!("filter {}", parser.filter_chain()?),
            "generation" => "if true".to_owned(),
            "endgeneration" => "endif".to_owned(),
            "else" | "break" | "continue" | "endif" | "endfor" | "endset" | "endwith" | "endcall" | "endfilter" => name,
            "block" => format!("block {}", parser.name()?),
            "endblock" => {
                parser.skip_all_names();
                name
            }
            other => return Err(format!("the chat template uses the statement `{other}`, which Aludel does not know")),
        };
        if matches!(body.as_str(), "endcall" | "endmacro") {
            parser.skip_all_names();
        }
        parser.done()?;
        Ok(whole(body))
    }

    /// Keeps account of the statements that are open. Which end belongs to which is left to the engine.
    fn count(&mut self, name: &str) -> Result<(), String> {
        match name {
            "if" | "for" | "with" | "macro" | "call" | "filter" | "generation" | "block" => {
                self.open.push((name.to_owned(), 1));
            }
            "elif" => {
                if let Some((_, depth)) = self.open.last_mut() {
                    *depth += 1;
                }
            }
            _ if name.starts_with("end") => {
                self.open.pop();
            }
            _ => {}
        }
        self.check_depth()
    }

    fn check_depth(&self) -> Result<(), String> {
        if self.open.iter().map(|(_, depth)| depth).sum::<usize>() > DEEPEST {
            return Err(format!("statements are nested more than {DEEPEST} deep, or have as many `elif`"));
        }
        // The names that each uses are collected, including those of everything nested in it.
        if self.open.iter().filter(|(name, _)| matches!(name.as_str(), "macro" | "call")).count() > MOST_MACROS {
            return Err(format!("macros and calls are nested more than {MOST_MACROS} deep"));
        }
        Ok(())
    }

    /// A macro. One that takes more arguments than it names, or has a default that reads another argument, is defined under
    /// another name, and its own name becomes a value that binds the arguments as Jinja2 does.
    fn begin_macro(
        &mut self,
        parser: &mut Parser<'_>,
        sign: &str,
        close: &str,
        lines: &str,
        end: usize,
    ) -> Result<String, String> {
        let name = parser.name()?;
        if !parser.skip("(") {
            return Err("a macro lacks its parameters".to_owned());
        }
        let parameters = parser.parameters()?;
        parser.done()?;
        let body = &self.source[end..];
        let body = &body[..body.find("endmacro").unwrap_or(body.len())];
        let (takes_more, takes_named) = (has_word(body, "varargs"), has_word(body, "kwargs"));
        if !takes_more && !takes_named && !parameters.has_entangled_default() {
            self.macros.push(String::new());
            return Ok(format!("{{%{sign} macro {name}({}) {lines}{close}", parameters.written()));
        }
        let names: Vec<String> = parameters.names().map(|name| format!("{name:?}")).collect();
        let takes_caller = has_word(body, "caller");
        self.macros.push(format!(
            "{name} = __macro(__macro_{name}, {name:?}, [{}], [{takes_more}, {takes_named}, {takes_caller}])",
            names.join(", ")
        ));
        let all: Vec<&str> = parameters.names().chain(["varargs", "kwargs"]).collect();
        let mut tag = format!("{{%{sign} macro __macro_{name}({}) %}}", all.join(", "));
        for parameter in parameters.names() {
            let default = parameters.default_of(parameter).unwrap_or("__undefined");
            tag.push_str(&format!("{{% if __missing({parameter}) %}}{{% set {parameter} = {default} %}}{{% endif %}}"));
        }
        tag.push_str(&format!("{{% if true {lines}%}}{{% endif {close}"));
        Ok(tag)
    }
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let is_part = |letter: Option<char>| letter.is_some_and(|letter| letter == '_' || letter.is_alphanumeric());
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next())
    })
}

/// The length of a tag that begins raw text.
fn raw_length(text: &str) -> Option<usize> {
    let word = text.strip_prefix("{%")?.trim_start_matches(['-', '+']).trim_start();
    let after = word.strip_prefix("raw")?.trim_start();
    let rest = BLOCK_ENDS.iter().find_map(|end| after.strip_prefix(end))?;
    Some(text.len() - rest.len())
}
