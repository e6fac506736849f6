//! How an adapter was trained, as far as its use depends on that: a small file in its folder, which a model that is merged from it gets, too.
//! What is warned of is decided here; how it is told is the caller's matter.

use std::ops::ControlFlow;
use std::path::Path;

use aludel_data::token_cache::Outcomes;
use aludel_formats::{atomic, peft};
use serde::{Deserialize, Serialize};

use crate::base_model::AdapterStudent;
use crate::error::{Error, Result};
use crate::settings::Quantize;

/// The file. PEFT and transformers pass over it.
pub const TRAINING_FILE_NAME: &str = "aludel_training.json";

/// From this share of rows with reasoning on, a student is to learn to reason.
const REASONS: f64 = 0.5;
/// With this share of answers that have reasoning or fewer, it does not.
const HARDLY: f64 = 0.1;

/// `aludel_training.json`. A field that is added needs a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingFacts {
    /// How the base's weights were held.
    pub quantize: Quantize,
    /// Tokenised rows of the run.
    pub rows: u64,
    /// Rows among them with reasoning that is trained on.
    pub rows_with_reasoning: u64,
    /// Of a merged model: the hashes of the weights of all adapters that are merged into it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merged_adapters: Vec<String>,
}

/// What an adapter was trained on: its student, and how.
#[derive(Debug, Clone)]
pub(crate) struct TrainedOn {
    pub(crate) student: AdapterStudent,
    pub(crate) facts: TrainingFacts,
}

impl TrainedOn {
    pub(crate) fn write(&self, adapter: &Path) -> Result<()> {
        self.student.write(adapter)?;
        self.facts.write(adapter)
    }
}

impl TrainingFacts {
    /// Those of a run.
    pub fn new(quantize: Quantize, outcomes: &Outcomes) -> TrainingFacts {
        TrainingFacts {
            quantize,
            rows: outcomes.rows,
            rows_with_reasoning: outcomes.reasoning,
            merged_adapters: Vec::new(),
        }
    }

    /// Writes them into the folder of an adapter or of a merged model.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        Ok(atomic::write_json(&folder.join(TRAINING_FILE_NAME), self)?)
    }

    /// Those in the folder of an adapter or of a merged model; `None` where it does not tell, as PEFT's adapters and files do not.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a file that holds anything else.
    pub fn read(folder: &Path) -> Result<Option<TrainingFacts>> {
        let path = folder.join(TRAINING_FILE_NAME);
        if !folder.is_dir() || !aludel_files::is_there(&path) {
            return Ok(None);
        }
        let bytes = aludel_files::read(&path, aludel_files::SMALL)
            .map_err(aludel_formats::Error::io(&path, "read how the adapter was trained"))?;
        let damaged = |error: serde_json::Error| Error::Damaged {
            path: path.clone(),
            reason: format!("it does not say how the adapter was trained ({error}); restore it, or remove it"),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Those of what was trained last: of the adapter, else of the model below it.
    ///
    /// # Errors
    /// As [`TrainingFacts::read`].
    pub fn of(model: &Path, adapter: Option<&Path>) -> Result<Option<TrainingFacts>> {
        match adapter {
            Some(adapter) => TrainingFacts::read(adapter),
            None => TrainingFacts::read(model),
        }
    }

    /// Those of a model that an adapter is merged into: what the adapter tells of its training, and all that the model then contains.
    ///
    /// # Errors
    /// As [`TrainingFacts::read`], and the adapter's weights cannot be read.
    pub(crate) fn of_merged(model: &Path, adapter: &Path) -> Result<TrainingFacts> {
        let earlier = TrainingFacts::read(model)?.unwrap_or_default().merged_adapters;
        let merged_adapters = earlier.into_iter().chain([weights_hash(adapter)?]).collect();
        Ok(TrainingFacts { merged_adapters, ..TrainingFacts::read(adapter)?.unwrap_or_default() })
    }

    /// What an adapter has to do with weights that are held in this way, where it was trained on others.
    pub fn other_weights(&self, used: Quantize) -> Option<String> {
        let trained = self.quantize;
        (!trained.has_weights_of(used)).then(|| {
            format!(
                "the adapter was trained on weights with --quantize {}, and these are with --quantize {}: answers may be worse than those of the \
                 training; --quantize {} uses the adapter as it was trained",
                trained.name(),
                used.name(),
                trained.name()
            )
        })
    }

    /// What merging an adapter does that was trained on quantised weights.
    pub fn merged_weights(&self) -> Option<String> {
        let trained = self.quantize;
        (!trained.has_weights_of(Quantize::None)).then(|| {
            format!(
                "the adapter was trained on weights with --quantize {}, and is merged into those of the file (--quantize none): what was measured \
                 before need not hold for the merged model; `aludel chat` and `aludel eval` with --adapter and --quantize {} use it as it was trained",
                trained.name(),
                trained.name()
            )
        })
    }

    /// That a model which was to learn to reason does not, and what helps; of so many answers, so many have reasoning.
    pub fn lost_reasoning(&self, with: usize, answers: usize) -> Option<String> {
        let is_to_reason = self.rows > 0 && self.rows_with_reasoning as f64 >= REASONS * self.rows as f64;
        if !is_to_reason || answers == 0 || with as f64 > HARDLY * answers as f64 {
            return None;
        }
        let have = match with {
            0 => format!("none of {} has", aludel_files::counted(answers as u64, "answer", "answers")),
            _ => format!(
                "{} of {} answers have",
                aludel_files::grouped(with as u64),
                aludel_files::grouped(answers as u64)
            ),
        };
        let share = (100.0 * self.rows_with_reasoning as f64 / self.rows as f64).round();
        Some(format!(
            "{have} reasoning, and {share}% of the rows that were trained on have: the student has not learnt to reason; what helps is more steps \
             (--num-train-epochs), a higher --learning-rate, or the tags of reasoning as tokens of its own \
             (--set 'student.add_tokens=[\"<think>\", \"</think>\"]')"
        ))
    }
}

/// Refuses a model that an adapter was merged into already: with the adapter on it, what was learnt would count twice.
///
/// # Errors
/// [`Error::AlreadyMerged`], and what cannot be read of either.
pub fn refuse_merged(model: &Path, adapter: &Path) -> Result<()> {
    let merged = TrainingFacts::read(model)?.unwrap_or_default().merged_adapters;
    if merged.is_empty() || !merged.contains(&weights_hash(adapter)?) {
        return Ok(());
    }
    let base = AdapterStudent::read(adapter)?.map(|student| student.model().display().to_string());
    let base = base.or(peft::read(adapter)?.config.base_model_name_or_path);
    Err(Error::AlreadyMerged {
        model: model.to_owned(),
        adapter: adapter.to_owned(),
        base: base.map(|base| format!(": {base}")).unwrap_or_default(),
    })
}

/// Of the weights alone: whatever an adapter is called, it adds the same.
fn weights_hash(adapter: &Path) -> Result<String> {
    let path = adapter.join(peft::WEIGHTS_FILE_NAME);
    let mut hasher = blake3::Hasher::new();
    let mut take = |piece: &[u8]| {
        hasher.update(piece);
        ControlFlow::Continue(())
    };
    // It never breaks off.
    let _ = aludel_files::read_in_pieces(&path, &mut take)
        .map_err(aludel_formats::Error::io(&path, "read the adapter's weights"))?;
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_come_back_and_a_folder_without_them_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(TrainingFacts::read(folder.path()).unwrap(), None);
        let facts = TrainingFacts {
            quantize: Quantize::AsIs,
            rows: 7,
            rows_with_reasoning: 3,
            merged_adapters: vec!["0123456789abcdef".to_owned()],
        };
        facts.write(folder.path()).unwrap();
        let path = folder.path().join(TRAINING_FILE_NAME);
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"as-is\""));
        assert_eq!(TrainingFacts::read(folder.path()).unwrap(), Some(facts.clone()));
        assert_eq!(TrainingFacts::of(Path::new("/nowhere"), Some(folder.path())).unwrap(), Some(facts));
        assert_eq!(TrainingFacts::of(Path::new("/nowhere"), None).unwrap(), None);
        std::fs::write(&path, "{\"later\": 1}").unwrap();
        assert_eq!(
            TrainingFacts::read(folder.path()).unwrap(),
            Some(TrainingFacts::default()),
            "fields may come and go"
        );
        std::fs::write(&path, "{\"quantize\": \"nf3\"}").unwrap();
        let error = TrainingFacts::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("aludel_training.json: it does not say how") && error.contains("remove it"), "{error}");
    }

    #[test]
    fn other_weights_are_told_with_both_and_the_option() {
        let trained = |quantize| TrainingFacts { quantize, ..TrainingFacts::default() };
        for (own, used, is_told) in [
            (Quantize::Nf4, Quantize::None, true),
            (Quantize::Nf4, Quantize::Nf4, false),
            (Quantize::Int8, Quantize::Nf4, true),
            (Quantize::None, Quantize::Int8, true),
            (Quantize::AsIs, Quantize::Nf4, true),
            // Both are the file's own weights.
            (Quantize::AsIs, Quantize::None, false),
            (Quantize::None, Quantize::AsIs, false),
        ] {
            let told = trained(own).other_weights(used);
            assert_eq!(told.is_some(), is_told, "{own:?} {used:?}");
            let (own, used) = (own.name(), used.name());
            let words = format!("trained on weights with --quantize {own}, and these are with --quantize {used}");
            assert!(
                told.is_none_or(|told| told.contains(&words) && told.contains(&format!("; --quantize {own} uses")))
            );
        }
        let merged = |quantize| trained(quantize).merged_weights();
        assert!(merged(Quantize::Nf4).unwrap().contains("--quantize nf4") && merged(Quantize::Int8).is_some());
        assert_eq!((merged(Quantize::None), merged(Quantize::AsIs)), (None, None));
    }

    #[test]
    fn answers_without_reasoning_are_told_where_rows_have_it() {
        let facts = |rows_with_reasoning| TrainingFacts { rows: 10, rows_with_reasoning, ..TrainingFacts::default() };
        for (rows, with, answers, is_told) in [
            (10, 0, 1, true),
            (10, 1, 10, true),
            (10, 2, 10, false),
            (5, 0, 4, true),
            (4, 0, 4, false),
            (10, 0, 0, false),
        ] {
            assert_eq!(facts(rows).lost_reasoning(with, answers).is_some(), is_told, "{rows} {with} {answers}");
        }
        assert_eq!(TrainingFacts::default().lost_reasoning(0, 5), None, "no rows are known");
        let told = facts(9).lost_reasoning(0, 40).unwrap();
        assert!(told.starts_with("none of 40 answers has reasoning, and 90% of the rows"), "{told}");
        assert!(facts(10).lost_reasoning(3, 1000).unwrap().starts_with("3 of 1,000 answers have reasoning, and 100%"));
    }
}
