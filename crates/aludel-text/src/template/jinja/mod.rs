//! Jinja2 as Python runs it, on an engine that differs from it in places: operators, methods of Python's values, and
//! Jinja2's own filters, tests and globals. Each gives what Jinja2 gives, or an error that names it. `functions` has
//! what transformers adds to Jinja2.
//!
//! `scan`, `expression` and `rewrite` read the text of a template. The files that compute with values (`items`, `methods`, `operators`,
//! `filters`, `format`, `print` and those beside them) call each other in circles, as the language does: a lookup may give a method, a
//! method iterates over items, an operator formats a text, and formatting looks items up.

mod arguments;
mod budget;
mod checks;
mod expression;
mod filters;
mod format;
mod globals;
mod items;
mod methods;
mod nesting;
mod operators;
mod parameters;
mod print;
mod rewrite;
mod scan;
mod sequences;
mod suffix;
mod text_methods;
mod texts;

pub(super) use budget::within;
pub(super) use methods::owners;
pub(super) use rewrite::rewrite;

use minijinja::{Environment, Error, ErrorKind};

/// Gives an environment what rewritten templates call, and takes from it what Jinja2 does not have.
pub(super) fn register(environment: &mut Environment<'_>) {
    for name in ["bool", "chain", "zip", "lines", "split"] {
        environment.remove_filter(name);
    }
    for name in ["int", "safe", "startingwith", "endingwith"] {
        environment.remove_test(name);
    }
    environment.remove_global("debug");
    environment.set_formatter(print::formatter);
    environment.set_unknown_method_callback(methods::call);
    operators::register(environment);
    nesting::register(environment);
    filters::register(environment);
    sequences::register(environment);
    texts::register(environment);
    checks::register(environment);
    globals::register(environment);
}

/// An error that a template's own doing has brought about.
fn wrong(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}
