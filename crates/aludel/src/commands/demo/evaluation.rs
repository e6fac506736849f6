//! How the demo is scored: problems of the families that are trained on, from the test split, before and after training.

use super::training_data::FAMILIES;
use crate::commands::eval::{LocalModel, usual_name};
use crate::progress::Phase;
use aludel_distill::evaluate::compare::{Comparison, Evaluated, compare};
use aludel_distill::evaluate::results::Settings;
use aludel_distill::evaluate::task::{Task, named};
use aludel_distill::settings::StudentSettings;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Problems of each family; more than 200 in all, so that chance moves a score by few points.
const PROBLEMS: usize = 40;

/// The problems and how they are asked.
pub(super) struct DemoEvaluation {
    tasks: Vec<Task>,
    settings: Settings,
}

impl DemoEvaluation {
    /// Greedy answers of at most `longest_answer` tokens.
    pub(super) fn new(longest_answer: usize, seed: u64) -> anyhow::Result<DemoEvaluation> {
        let task = |(family, _): (&str, usize)| {
            let (name, source) = named(family)?;
            Task::load(&name, &source, Some(PROBLEMS), None)
        };
        let tasks = FAMILIES.into_iter().map(task).collect::<Result<_, _>>()?;
        let dtype = Some(StudentSettings::default().computed_in());
        let settings = Settings {
            samples: 1,
            temperature: 0.0,
            top_p: 1.0,
            max_new_tokens: longest_answer,
            seed,
            dtype,
            template_date: None,
            template_variables: serde_json::Map::new(),
        };
        Ok(DemoEvaluation { tasks, settings })
    }

    /// Evaluates the student, with or without its adapter, into the folder `when`; none if it was stopped.
    pub(super) fn run(
        &self,
        student: &Path,
        adapter: Option<&Path>,
        when: &str,
        folder: &Path,
        part: Phase,
        stop: &AtomicBool,
    ) -> anyhow::Result<Option<Evaluated>> {
        let problems = self.tasks.iter().map(|task| task.problems.len()).sum::<usize>();
        tracing::info!("evaluating {when} training: {problems} problems that are never trained on");
        let name = format!("{}, {when}", usual_name(student, None));
        let model = LocalModel::new(student, adapter, Some(&name))?;
        let results = folder.join(when);
        let student = StudentSettings::default();
        let done = model.evaluate(&self.tasks, self.settings.clone(), &student, None, &results, part, stop)?;
        Ok(done.map(|_| Evaluated::read(&results)).transpose()?)
    }

    /// The second evaluation against the first.
    pub(super) fn compare(&self, [before, after]: &[Evaluated; 2]) -> anyhow::Result<Comparison> {
        Ok(compare(before, after, self.settings.seed)?)
    }
}
