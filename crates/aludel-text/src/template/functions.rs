//! What transformers adds to Jinja2 for chat templates: `raise_exception`, and `strftime_now` with the day that it is
//! given. Its `tojson` is with the filters, its `{% generation %}` with the statements.

use aludel_files::shortened;
use minijinja::{Error, ErrorKind, Value};

/// Starts the detail of an error that a template raised itself.
pub(super) const RAISED: &str = "raised by the template: ";

/// Maximum letters shown.
const LONGEST_REASON: usize = 2_000;

pub(super) fn raise_exception(reason: String) -> Result<Value, Error> {
    let shown = shortened(&reason, LONGEST_REASON);
    Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{shown}")))
}

pub(super) fn unknown_directive(directive: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("strftime_now does not know {directive}"))
}
