//! Shares of the sources in the output: the largest set in which each source has its share. It leaves out rows of the other sources and
//! repeats none.

use std::collections::BTreeMap;

use super::{JudgedRow, Reason, drop_row, shuffled};
use crate::Error;

/// Leaves rows out until the sources stand to each other as their weights do.
///
/// # Errors
/// [`Error::Curate`] for a source without a weight, and for a weight whose source has no row.
pub(super) fn apply(
    rows: &mut [JudgedRow],
    sources: &[String],
    weights: &BTreeMap<String, f64>,
    seed: u64,
) -> Result<(), Error> {
    if weights.is_empty() {
        return Ok(());
    }
    let mut rows_of: Vec<Vec<usize>> = vec![Vec::new(); sources.len()];
    for (number, row) in rows.iter().enumerate().filter(|(_, row)| row.is_kept()) {
        rows_of[row.source as usize].push(number);
    }
    check(&rows_of, sources, weights)?;
    // The source that is scarcest for its weight is used whole.
    let weight_of = |source: usize| weights.get(&sources[source]).copied().unwrap_or_default();
    let positive = (0..sources.len()).filter(|source| weight_of(*source) > 0.0);
    let per_weight =
        positive.map(|source| rows_of[source].len() as f64 / weight_of(source)).fold(f64::INFINITY, f64::min);
    for (source, mut numbers) in rows_of.into_iter().enumerate() {
        let wanted = (per_weight * weight_of(source) + 1e-9) as usize;
        let detail = format!("{wanted} of the {} rows of {:?} are its share", numbers.len(), sources[source]);
        numbers.sort_by_key(|number| shuffled(rows[*number].hash, seed));
        for number in numbers.iter().skip(wanted) {
            drop_row(&mut rows[*number], Reason::Mixture, detail.clone());
        }
    }
    Ok(())
}

fn check(rows_of: &[Vec<usize>], sources: &[String], weights: &BTreeMap<String, f64>) -> Result<(), Error> {
    let refuse = |reason: String| Err(Error::Curate { setting: "mixture", reason });
    let known = || sources.iter().map(|source| format!("{source:?}")).collect::<Vec<_>>().join(", ");
    if let Some(source) =
        sources.iter().zip(rows_of).find(|(source, rows)| !rows.is_empty() && !weights.contains_key(*source))
    {
        let reason =
            format!("source {:?} has no weight; give one, or 0 to leave it out. The sources are {}", source.0, known());
        return refuse(reason);
    }
    let has_rows = |name: &String| sources.iter().zip(rows_of).any(|(source, rows)| source == name && !rows.is_empty());
    match weights.iter().find(|(name, weight)| **weight > 0.0 && !has_rows(name)) {
        Some((name, _)) => refuse(format!("source {name:?} has no row that is kept. The sources are {}", known())),
        None => Ok(()),
    }
}
