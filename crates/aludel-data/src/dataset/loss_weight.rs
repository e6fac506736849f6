//! The weight of a turn or a row in training, under the names that other tools use. What a weight does to tokens is decided where
//! rows are encoded.

use aludel_files::shortened;

use super::Columns;
use super::problem::says;
use super::row_marks::NOTES;
use crate::column_names::{is_among, same};
use crate::json::{Fields, Json, Kind};

/// The weight of a turn: OpenAI, mistral-finetune and Together (`weight`), axolotl (`train`, `training`), ms-swift (`loss`,
/// `loss_scale`) and others.
const WEIGHTS: &[&str] = &[
    "weight",
    "weights",
    "loss_weight",
    "loss_scale",
    "loss",
    "loss_mask",
    "train",
    "training",
    "trainable",
    "learn",
    "train_on_turn",
];
/// That a turn has no weight: torchtune (`masked`) and others.
const MASKS: &[&str] = &["masked", "mask", "ignore", "ignore_loss", "no_loss", "context_only"];
/// Where axolotl says so for parts of a text.
const DETAILS: &[&str] = &["train_detail", "training_detail"];

/// The weight of a row.
const ROW_WEIGHTS: &[&str] = &["weight", "weights", "loss_weight", "sample_weight", "example_weight", "loss_mask"];
/// That a row was deleted, or rejected by its reviewers.
const ROW_TAKEN_BACK: [(&str, bool); 2] = [("deleted", true), ("review_result", false)];

/// A larger one is rather a size, a mass or an id; and beyond it a row would be all that a step learns.
const LARGEST: f32 = 10.0;

/// Whether a member of a message is a weight.
pub(super) fn is_name(name: &str) -> bool {
    [WEIGHTS, MASKS, DETAILS].iter().any(|names| is_among(names, name))
}

/// The weight of a message, if it has one; the least of several.
///
/// # Errors
/// A value that is not a weight, with its name.
pub(super) fn weight_in(fields: &Fields<'_>) -> Result<Option<f32>, String> {
    if let Some((name, _)) = fields.iter().find(|(name, value)| is_among(DETAILS, name) && !value.is_empty()) {
        return Err(format!(
            "`{name}` weighs parts of a text, which is not known here; weigh the whole turn with `weight`"
        ));
    }
    let mut least: Option<f32> = None;
    for (names, is_mask) in [(WEIGHTS, false), (MASKS, true)] {
        for (name, value) in fields.iter().filter(|(name, value)| is_among(names, name) && !value.is_null()) {
            let weight = number(name, value)?;
            let weight = match (is_mask, weight) {
                (false, weight) => weight,
                (true, 0.0) => 1.0,
                (true, 1.0) => 0.0,
                (true, _) => return Err(format!("`{name}` is {}, and true or false is wanted", value.written())),
            };
            least = Some(least.map_or(weight, |least| least.min(weight)));
        }
    }
    for (name, value) in noted(fields.iter()) {
        let weight = noted_weight(&name, value)?;
        least = Some(least.map_or(weight, |least| least.min(weight)));
    }
    Ok(least)
}

/// The weight of a row and the column that says it, where one does; the least of several.
///
/// # Errors
/// What is no weight, with the column's name.
pub(super) fn weight_of_row(columns: &Columns) -> Result<Option<(f32, String)>, String> {
    let mut weights: Vec<(f32, String)> = Vec::new();
    for (name, value) in columns.iter().filter(|(name, value)| is_among(ROW_WEIGHTS, name) && !value.is_null()) {
        if value.kind() == Kind::List {
            return Err(format!(
                "column `{name}` holds a list, and parts of a row are not weighed; weigh its turns with `weight`"
            ));
        }
        let weight = number(name, value).map_err(|reason| {
            format!("column {reason}; give the column another name if it is no weight in training")
        })?;
        weights.push((weight, one_line(name)));
    }
    for (name, value) in noted(columns.iter()) {
        let weight = noted_weight(&name, value)?;
        weights.push((weight, one_line(&name)));
    }
    // A row that is not to be learnt is counted by what says so.
    weights.extend(unlearnt(columns).map(|mark| (0.0, mark)));
    Ok(weights.into_iter().min_by(|one, other| one.0.total_cmp(&other.0)))
}

/// Weights among the notes of a row or a message, with their names.
fn noted<'a>(members: impl Iterator<Item = (&'a str, Json<'a>)>) -> Vec<(String, Json<'a>)> {
    let mut found = Vec::new();
    for (notes, value) in members.filter(|(name, _)| is_among(&NOTES, name)) {
        for (own, value) in value.fields().iter().filter(|(own, value)| is_among(ROW_WEIGHTS, own) && !value.is_null())
        {
            found.push((format!("{notes}.{own}"), value));
        }
    }
    found
}

/// A weight among notes; a larger number may be something else.
fn noted_weight(name: &str, value: Json<'_>) -> Result<f32, String> {
    number(name, value).ok().filter(|weight| *weight <= 1.0).ok_or_else(|| {
        format!(
            "`{}` is {}, and a weight in training that stands there is true, false or a number from 0 to 1; give a larger one outside of it as \
             `weight`, or take it out if it is no weight in training",
            name.escape_debug(),
            shortened(value.written(), 40)
        )
    })
}

/// Whether a column is the row's weight.
pub(super) fn is_read(name: &str, value: Json<'_>) -> bool {
    let is_weight = |name: &str| is_among(ROW_WEIGHTS, name);
    let takes_truth = [WEIGHTS, MASKS].iter().any(|names| is_among(names, name))
        || ROW_TAKEN_BACK.iter().any(|(known, _)| same(known, name));
    is_weight(name)
        || (takes_truth && value.truth().is_some())
        || (is_among(&NOTES, name) && value.fields().iter().any(|(own, _)| is_weight(own)))
}

/// The column that excludes a row from the loss, and its value.
pub(super) fn unlearnt(columns: &Columns) -> Option<String> {
    let is_zero = |(name, value): &(&str, Json<'_>)| is_among(ROW_WEIGHTS, name) && number(name, *value) == Ok(0.0);
    // Names that are weights of messages count here only with a boolean: such a column may be the row's split, a masked text or a
    // measured loss.
    let against = |name: &str| match () {
        () if is_among(ROW_WEIGHTS, name) => None,
        () if is_among(WEIGHTS, name) => Some(false),
        () if is_among(MASKS, name) => Some(true),
        () => ROW_TAKEN_BACK.iter().find(|(known, _)| same(known, name)).map(|(_, against)| *against),
    };
    let is_against =
        |(name, value): &(&str, Json<'_>)| against(name).is_some_and(|against| value.truth() == Some(against));
    if let Some((name, value)) = columns.iter().find(is_zero).or_else(|| columns.iter().find(is_against)) {
        return Some(says(name, value));
    }
    let (name, value) = noted(columns.iter()).into_iter().find(|(name, value)| number(name, *value) == Ok(0.0))?;
    Some(says(&name, value))
}

/// A name as it is told.
fn one_line(name: &str) -> String {
    shortened(name, 40).escape_debug().to_string()
}

fn number(name: &str, value: Json<'_>) -> Result<f32, String> {
    let text = value.scalar().map_err(|no_text| format!("`{name}` holds {no_text}"))?;
    let found = match value.truth() {
        Some(truth) => Some(f32::from(u8::from(truth))),
        None => text.and_then(|text| text.trim().parse::<f32>().ok()),
    };
    found.filter(|weight| (0.0..=LARGEST).contains(weight)).ok_or_else(|| {
        let shown = shortened(value.written(), 40);
        format!("`{name}` is {shown}, and a weight is true, false or a number from 0 to {LARGEST}")
    })
}
