//! The pilot: randomly chosen prompts are asked once each, and their cost predicts the cost of the rest. Their answers are stored
//! like any others. The arithmetic is in `cost_estimate`.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::cost_estimate::{Load, Pilot, predict};
use super::progress::{Event, Progress};
use super::{Collection, End, Prediction, Summary, ask};
use crate::Error;
use aludel_data::dataset::{Content, Prompt, PromptKey};

/// Prompts of a pilot.
const PILOT: usize = 20;

/// What a pilot showed.
#[derive(Debug, Clone, PartialEq)]
pub struct PilotResult {
    /// Why the pilot ended.
    pub end: End,
    /// Its progress; what was stored before is not asked again.
    pub progress: Progress,
    /// The predicted cost of the rest; `None` where the pilot has too few answers.
    pub prediction: Option<Prediction>,
}

/// Runs a pilot of 20 prompts, one answer each, and predicts the cost of all other answers.
///
/// # Errors
/// As [`super::collect`].
pub fn plan(collection: &Collection<'_>, stop: &AtomicBool, told: &mut dyn FnMut(Event)) -> Result<PilotResult, Error> {
    let Collection { store, options, .. } = collection;
    let pilot = chosen(collection)?;
    let missing = store.register(pilot.iter().cloned().map(Ok), &options.asking, 1)?;
    let Summary { end, progress } = ask(collection, missing, stop, told)?;
    let taken: Vec<Pilot> = store.taken_by(&pilot, &options.asking)?.into_iter().map(Pilot::from).collect();
    let missing = store.lacks(collection.prompts.read()?, &options.asking, options.samples)?;
    let teachers = collection.teachers.len();
    // The load under which earlier answers were collected is unknown.
    let pilot_seconds = (progress.done == taken.len() as u64).then_some(progress.seconds);
    let load = Load { at_once: options.concurrency, teachers, pilot_seconds };
    let prediction = predict(&taken, missing, options.price, options.rates, load);
    Ok(PilotResult { end, progress, prediction })
}

/// The prompts with the lowest hashes: a random sample that is the same each time, so that no pilot is paid for twice.
fn chosen(collection: &Collection<'_>) -> Result<Vec<Prompt>, Error> {
    let mut lowest = BTreeMap::new();
    for prompt in collection.prompts.read()? {
        let prompt = prompt?;
        lowest.entry(PromptKey::of(&Content::Messages(prompt.messages.clone()))).or_insert(prompt);
        if lowest.len() > PILOT {
            lowest.pop_last();
        }
    }
    Ok(lowest.into_values().collect())
}
