//! Notations that mean one thing to one writer and another to the next. Where the result of a comparison depends on which was meant, it is
//! undecided.

pub(super) mod doubt;
pub(super) mod notation;
pub(super) mod readings;
