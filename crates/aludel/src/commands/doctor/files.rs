//! A model and data files that the user names: what they are, and what is wrong with them.

use super::Finding;
use crate::hub;
use crate::humanize::{bytes, grouped};
use aludel_data::dataset::{self, ReadOptions};
use aludel_distill::evaluate::identity;
use aludel_files::counted;
use aludel_model::student::{Origin, Student};
use std::path::{Path, PathBuf};

/// A model.
pub(super) fn model(path: &Path) -> Vec<Finding> {
    let opened = hub::local_model(path).and_then(|path| Ok(Student::open(&path)?));
    let student = match opened {
        Ok(student) => student,
        Err(error) => return vec![Finding::failure("model", path.display().to_string(), &error)],
    };
    let config = &student.config;
    let kind = match student.origin {
        Origin::Folder(_) => "a Hugging Face folder",
        Origin::Gguf => "a GGUF file",
    };
    let stored = identity::bytes(&student.path).unwrap_or(0);
    let found = format!(
        "{}: {kind}, {} of {} channels, {} tokens of vocabulary, up to {} positions, {} of weights",
        path.display(),
        counted(config.num_hidden_layers as u64, "layer", "layers"),
        grouped(config.hidden_size),
        grouped(config.vocab_size),
        grouped(config.max_position_embeddings),
        bytes(stored),
    );
    let mut findings = vec![Finding::ok("model", found)];
    if student.template.is_none() {
        findings.push(Finding::warning(
            "chat template",
            "the model has none",
            "rows with messages cannot be turned into its tokens, and it cannot be asked",
            "use the instruction-tuned version of the model, or put a chat_template.jinja into its folder",
        ));
    }
    if student.eos_token_ids.is_empty() {
        findings.push(Finding::warning(
            "end of answers",
            "the model names no token that ends an answer",
            "answers would go on until they are cut",
            "name it in generation_config.json: \"eos_token_id\"",
        ));
    }
    findings
}

/// Data files, all rows of them.
pub(super) fn data(paths: &[PathBuf]) -> Vec<Finding> {
    let names = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let read = || -> anyhow::Result<(dataset::Counts, u64)> {
        let mut local = Vec::new();
        for path in paths {
            local.extend(hub::local_data(path)?);
        }
        let mut records = dataset::open(&local, &ReadOptions { skip_bad_rows: true, ..ReadOptions::default() })?;
        let mut letters = 0;
        for record in records.by_ref() {
            letters += record?.text_bytes() as u64;
        }
        Ok((records.counts().clone(), letters))
    };
    let (counts, letters) = match read() {
        Ok(read) => read,
        Err(error) => return vec![Finding::failure("data", names, &error)],
    };
    let found = format!("{names}: {}, {} of text", counted(counts.rows, "row", "rows"), bytes(letters));
    let mut findings = match counts.rows {
        0 => vec![Finding::error(
            "data",
            found,
            "there is nothing to train on",
            "give rows of messages, or of a prompt and a response",
        )],
        _ => vec![Finding::ok("data", found)],
    };
    for bad in &counts.bad {
        findings.push(Finding::error(
            "rows that cannot be read",
            format!("{}, the first in {}:{}", counted(bad.rows, "row", "rows"), bad.first_file, bad.first_line),
            bad.first_reason.clone(),
            "mend them, or leave them out: --skip-bad-rows",
        ));
    }
    if counts.without_reasoning > 0 {
        findings.push(Finding::warning(
            "reasoning",
            format!("{} rows say that the model reasoned, and do not have it", grouped(counts.without_reasoning)),
            "a student learns to answer without reasoning from them",
            "ask the teacher with its reasoning shown, or leave these rows out",
        ));
    }
    if let Some(told) = counts.set_aside_told() {
        findings.push(Finding::ok("rows set aside", told));
    }
    if !counts.columns_not_used.is_empty() {
        let names: Vec<&str> = counts.columns_not_used.iter().take(20).map(String::as_str).collect();
        findings.push(Finding::ok("columns not read", names.join(", ")));
    }
    findings
}
