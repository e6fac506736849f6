//! Warnings and advice of a training run, printed beside its progress. The summary at its end is in the command's file.

use crate::console::harmless;
use crate::humanize::grouped;
use crate::shell_path::shell_quoted;
use aludel_data::dataset::{BadRows, classes_told, columns_not_used, columns_used_in_part};
use aludel_data::token_cache::Outcomes;
use aludel_distill::checkpoint::RECIPE_FILE_NAME;
use aludel_distill::metrics::SampleAnswer;
use aludel_distill::settings::Recipe;
use aludel_distill::train::Started;
use aludel_distill::training_facts::TrainingFacts;
use aludel_formats::peft;
use aludel_model::hub_name::is_hub_name;
use std::path::Path;

/// Prints which data is not trained on, and other warnings at the start of a run.
pub(super) fn warn_of_start(started: &Started) {
    if started.total_steps > 0 && started.resumed_at >= started.total_steps {
        tracing::info!(
            "all {} steps of this run were done before; its adapter is written once more",
            grouped(started.total_steps)
        );
    }
    for changed in &started.settings_changed {
        tracing::info!("{RECIPE_FILE_NAME} keeps what is other now: {}", harmless(changed));
    }
    if started.records_left_out > 0 {
        tracing::warn!(
            "metrics.jsonl: lines that do not belong to the {} steps of the checkpoint were taken out: {}; steps that were done after \
             it are done again",
            grouped(started.resumed_at),
            grouped(started.records_left_out)
        );
    }
    let Started { outcomes, max_length, .. } = started;
    for bad in BadRows::by_rows(&outcomes.records.bad) {
        let (rows, kind, file, line) = (grouped(bad.rows), bad.kind, &bad.first_file, bad.first_line);
        tracing::warn!("bad rows skipped: {rows} ({kind}); the first is {file}, line {line}: {}", bad.first_reason);
    }
    let records = &outcomes.records;
    for line in [records.set_aside_told(), records.turn_marks_told(), records.weighted_told()].into_iter().flatten() {
        tracing::warn!("{line}");
    }
    let (unused, in_part) = (&records.columns_not_used, &records.columns_used.in_part);
    let columns = [columns_not_used(unused), columns_used_in_part(in_part), classes_told(unused, in_part)];
    for line in [records.end_marks_told()].into_iter().chain(columns).flatten() {
        tracing::info!("{line}");
    }
    let hidden = records.without_reasoning;
    if hidden > 0 {
        tracing::warn!(
            "rows without reasoning: {} say that their model reasoned, and hold none of it",
            grouped(hidden)
        );
    }
    let Outcomes { truncated, unsupervised, .. } = outcomes;
    started.left_out.iter().for_each(|left_out| tracing::warn!("{left_out}"));
    started.adapter_notes.iter().for_each(|note| tracing::info!("{note}"));
    started.pair_notes.iter().for_each(|note| tracing::warn!("distill.teacher: {}", harmless(note)));
    if started.eval_rows_known > 0 {
        tracing::warn!(
            "{} of {} rows to evaluate on have a prompt that is trained on: their loss says little of what is new",
            grouped(started.eval_rows_known),
            grouped(started.eval_rows)
        );
    }
    if let Some(moves_little) = &started.moves_little {
        tracing::warn!("{moves_little}");
    }
    if *truncated > 0 {
        tracing::warn!("rows cut: {}, longer than train.max_length = {max_length}", grouped(*truncated));
    }
    if *unsupervised > 0 {
        tracing::warn!(
            "rows left out: {}, without a token to train on; look at them with `aludel inspect`",
            grouped(*unsupervised)
        );
    }
}

/// Warns at the end where sample answers have no reasoning, and the rows have.
pub(super) fn warn_of_lost_reasoning(recipe: &Recipe, started: &Started, samples: &[SampleAnswer]) {
    let facts = TrainingFacts::new(recipe.student.quantize, &started.outcomes);
    let with = samples.iter().filter(|sample| sample.reasoning.is_some()).count();
    if let Some(told) = facts.lost_reasoning(with, samples.len()) {
        tracing::warn!("sample answers: {told}");
    }
}

/// Says at the start what the adapter names as its base.
pub(super) fn log_base_model(started: &Started) {
    if let Some(told) = started.base.as_deref().and_then(base_told) {
        tracing::info!("{told}");
    }
}

/// Reminds at the end of a base that other tools will not find.
pub(super) fn warn_of_unnamed_base(adapter: &Path, run: &Path) -> anyhow::Result<()> {
    let base = peft::read(adapter)?.config.base_model_name_or_path.unwrap_or_default();
    if let Some(told) = unnamed_base_told(&base, run) {
        tracing::info!("{told}");
    }
    Ok(())
}

/// The text for a base that PEFT can find. If it cannot, the end of the run warns, with the remedy.
fn base_told(base: &str) -> Option<String> {
    is_found_by_peft(base).then(|| format!("the adapter's base: {}", harmless(base)))
}

/// A base that PEFT does not find, and how to name it.
fn unnamed_base_told(base: &str, run: &Path) -> Option<String> {
    (!is_found_by_peft(base)).then(|| {
        let run = shell_quoted(run);
        format!(
            "the adapter's base is named by its file, which PEFT and vLLM cannot load; to name it as the Hub does, without training again: \
             aludel train --output-dir {run} --resume --set student.base_model=owner/name"
        )
    })
}

/// PEFT takes the base from where the adapter names it, and a GGUF file is none that it can load.
fn is_found_by_peft(base: &str) -> bool {
    is_hub_name(base) || Path::new(base).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_told_once_in_a_run() {
        let folder = tempfile::tempdir().unwrap();
        for (base, is_found) in
            [("owner/name", true), (folder.path().to_str().unwrap(), true), ("/models/a.gguf", false)]
        {
            assert_eq!(base_told(base).is_some(), is_found, "{base}");
            assert_eq!(unnamed_base_told(base, Path::new("run")).is_some(), !is_found, "{base}");
        }
    }
}
