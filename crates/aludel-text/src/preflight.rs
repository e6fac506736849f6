//! The checks that a training row must pass before the first step. They look at the tokens and weights that training
//! will use, not at how they were made. What happens to long rows is decided by the caller.

use std::ops::Range;

use crate::encode::{Encoded, LossOn, Turn};
use crate::error::Error;
use crate::message::Message;

/// What [`preflight`] checks against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreflightOptions {
    /// Rows are truncated to this length; `None` if they are not truncated.
    pub max_length: Option<usize>,
    /// A truncation inside the reasoning is allowed.
    pub allow_cut_reasoning: bool,
    /// Which tokens are meant to be supervised.
    pub loss_on: LossOn,
}

/// Checks a row (before it is truncated) against the messages that it was made from: some tokens are supervised; the reasoning of
/// each supervised turn is in the text and among the supervised tokens; so is its end; and a truncation to `max_length` does not
/// remove the end of the reasoning.
///
/// # Errors
/// [`Error::NothingSupervised`], [`Error::ReasoningLost`], [`Error::ReasoningNotSupervised`],
/// [`Error::EndOfTurnNotSupervised`] or [`Error::CutInsideReasoning`].
pub fn preflight(encoded: &Encoded, messages: &[Message], options: &PreflightOptions) -> Result<(), Error> {
    if encoded.supervised() == 0 {
        return Err(Error::NothingSupervised);
    }
    for turn in &encoded.turns {
        check_reasoning(encoded, messages, turn, options)?;
        let end = tokens_in(encoded, &turn.end_of_turn);
        if end.is_empty() || end.iter().any(|&token| encoded.weights[token] <= 0.0) {
            let text = encoded.text[turn.end_of_turn.clone()].to_owned();
            return Err(Error::EndOfTurnNotSupervised { text });
        }
        check_cut(encoded, turn, options)?;
    }
    Ok(())
}

fn check_reasoning(
    encoded: &Encoded,
    messages: &[Message],
    turn: &Turn,
    options: &PreflightOptions,
) -> Result<(), Error> {
    let given = messages.get(turn.message).and_then(|message| message.reasoning.as_deref()).unwrap_or_default().trim();
    if given.is_empty() {
        return Ok(());
    }
    let rendered = &encoded.text[turn.reasoning.clone()];
    if !rendered.contains(given) {
        let bytes = rendered.len().min(given.len());
        return Err(Error::ReasoningLost { index: turn.message, given: given.len(), rendered: bytes });
    }
    let tokens = tokens_in(encoded, &turn.reasoning);
    let missing = tokens.iter().filter(|&&token| encoded.weights[token] <= 0.0).count();
    if tokens.is_empty() || (options.loss_on != LossOn::Answer && missing > 0) {
        return Err(Error::ReasoningNotSupervised { missing, total: tokens.len() });
    }
    Ok(())
}

fn check_cut(encoded: &Encoded, turn: &Turn, options: &PreflightOptions) -> Result<(), Error> {
    let Some(max_length) = options.max_length else { return Ok(()) };
    if options.allow_cut_reasoning || turn.close.is_empty() || encoded.len() <= max_length {
        return Ok(());
    }
    let starts_inside = tokens_in(encoded, &turn.reasoning).first().is_some_and(|&token| token < max_length);
    let close_at = tokens_in(encoded, &turn.close).last().copied().unwrap_or(encoded.len());
    if starts_inside && close_at >= max_length {
        return Err(Error::CutInsideReasoning {
            length: encoded.len(),
            max_length,
            close: encoded.text[turn.close.clone()].to_owned(),
            close_at,
        });
    }
    Ok(())
}

/// The tokens that begin in a byte range.
fn tokens_in(encoded: &Encoded, range: &Range<usize>) -> Vec<usize> {
    (0..encoded.len()).filter(|&token| range.contains(&encoded.spans[token].start)).collect()
}
