//! The one training loop. It reads top-down: prepare, then evaluate, save and step until the last step. Everything that happens at a step
//! is a function of settings and step number, so a run that was killed or stopped resumes bit for bit.

mod events;
mod setup;
mod step_rows;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use aludel_formats::atomic;
use aludel_kernels::{optim, rng};
use aludel_model::adapter::notes_on_parts;
use aludel_model::decoder::StepDropout;
use aludel_model::student::Student;
use serde_json::json;

use crate::adapter_config;
use crate::auto_max_length::ExcludedRows;
use crate::base_model::AdapterStudent;
use crate::batch::{Plan, passes};
use crate::checkpoint::{self, RunFile};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::learning_checks::{self, UntrainedModules};
use crate::lr_schedule::{learning_rate, moves_little};
use crate::metrics::{EvalRecord, Metrics, SampleRecord, StepRecord, TrainerState};
use crate::own_answers::OwnAnswers;
use crate::rows::Rows;
use crate::sample_answers::Samples;
use crate::settings::Recipe;
use crate::supervision::PassSums;
use crate::tensorboard::EventFile;
use crate::trained_prompts::TrainedPrompts;
use crate::training_facts::{TrainedOn, TrainingFacts};

pub use events::{Event, RemainingWork, SUMMARY_FILE_NAME, Stage, Started, Summary};
use events::{StepEvents, Stopwatch};
use setup::{ChosenRows, ClaimedFolder, OpenedStudent, Resumed, check_pair, load_learner, with_others};
use step_rows::{StepRows, is_on_policy};

/// Trains as the recipe says, in its output folder. `stop` asks the run to end after the present pass: the partial step is
/// discarded, the last whole one saved. Before the first step, while files are hashed, weights read or rows tokenised, it ends at once.
///
/// # Errors
/// Anything that makes the run impossible or would spoil it; checkpoints written before are still there.
pub fn train(recipe: &Recipe, resume: bool, stop: &AtomicBool, observe: &mut dyn FnMut(Event<'_>)) -> Result<Summary> {
    match train_from_start(recipe, resume, stop, observe) {
        Err(error) if error.is_stop() => Summary::before_the_first_step(recipe.output_dir()?),
        ended => ended,
    }
}

/// All of it, stage by stage; what is broken off before the first step is an error.
fn train_from_start(
    recipe: &Recipe,
    resume: bool,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Summary> {
    let began = Instant::now();
    let watch = || if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let mut claimed = ClaimedFolder::new(recipe, resume).map_err(|refused| with_others(refused, recipe))?;
    observe(Event::Stage(Stage::Opening));
    let opened = OpenedStudent::new(&claimed, &watch, observe).map_err(|refused| with_others(refused, recipe))?;
    let resumed = Resumed::find(&claimed)?;
    if let Some(summary) = resumed.complete(&claimed)? {
        observe(Event::Complete(&summary));
        return Ok(summary);
    }
    let mut pair_notes = check_pair(&claimed, &opened, observe)?;
    let mut learner = load_learner(&claimed, &opened, &resumed, &watch, observe)?;
    let mut chosen = ChosenRows::new(&mut claimed, &opened, &resumed, &mut learner, &watch, observe)?;
    pair_notes.append(&mut chosen.pair_notes);
    chosen.pair_notes = pair_notes;
    let mut trainer = Trainer::begin(&mut claimed, opened, resumed, learner, chosen, Stopwatch::since(began), observe)?;
    trainer.run(stop, observe)
}

struct Trainer<'a> {
    recipe: &'a Recipe,
    folder: &'a Path,
    trained_on: TrainedOn,
    student: Student,
    rows: Rows,
    plan: Plan,
    due: StepEvents<'a>,
    learner: Learner,
    samples: Option<Samples>,
    own_answers: Option<OwnAnswers>,
    untrained: UntrainedModules,
    metrics: Metrics,
    events: Option<EventFile>,
    state: TrainerState,
    saved_step: Option<u64>,
    session: Stopwatch,
}

/// The stop flag was raised in the middle of something.
struct StopRequested;

impl<'a> Trainer<'a> {
    /// Records the start or the resumption of the run in its folder, and announces the remaining work.
    fn begin(
        claimed: &'a mut ClaimedFolder,
        opened: OpenedStudent,
        resumed: Resumed,
        mut learner: Learner,
        chosen: ChosenRows,
        session: Stopwatch,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Trainer<'a>> {
        let begun = claimed.begun.take();
        let ClaimedFolder { folder, recipe, .. } = claimed;
        let OpenedStudent { student, keys, fingerprints, .. } = opened;
        let Resumed { checkpoint, state, events } = resumed;
        let ChosenRows { rows, plan, max_length, left_out, process_bytes, samples, own_answers, pair_notes } = chosen;
        let (total_steps, steps_per_epoch) = (plan.total_steps(), plan.steps_per_epoch());
        let due = StepEvents { settings: &recipe.train, total_steps, steps_per_epoch };
        let mut settings_changed = Vec::new();
        let run = match begun {
            None => {
                let run = RunFile::new(&fingerprints, recipe, keys.run(&student, recipe))?;
                run.begin(folder)?;
                run
            }
            Some(begun) => {
                settings_changed = begun.keep_recipe(folder, recipe)?;
                begun
            }
        };
        let metrics = Metrics::open(folder, &state)?;
        if let Some(norms) = metrics.last_gradient_norms() {
            learner.balance_by(norms);
        }
        TrainedPrompts::new(rows.train.iter().map(|&row| rows.info(row).prompt_key)).write(folder)?;
        let adapter_notes = notes_on_parts(&student.config, &adapter_config::of(&recipe.lora, &student.config))?;
        observe(Event::Started(&Started {
            adapter_notes,
            train_rows: rows.train.len(),
            eval_rows: rows.test.len(),
            outcomes: rows.outcomes().clone(),
            max_length,
            left_out: left_out.iter().map(ExcludedRows::describe).collect(),
            pair_notes: pair_notes.iter().map(ToString::to_string).collect(),
            eval_rows_known: rows.test_known,
            base: learner.adapter.config().base_model_name_or_path.clone(),
            trained_parameters: learner.adapter.parameter_count(),
            total_steps,
            steps_per_epoch,
            resumed_at: state.global_step,
            records_left_out: metrics.left_out,
            settings_changed,
            device_bytes: learner.ctx.bytes(),
            process_bytes,
            moves_little: moves_little(recipe, total_steps),
            ahead: RemainingWork::of(&due, &rows, &state),
        }));
        let events = events.map(|path| EventFile::open(&path, run.identity(), &state)).transpose()?;
        Ok(Trainer {
            recipe,
            folder,
            trained_on: TrainedOn {
                student: AdapterStudent::new(&student.path, fingerprints.student),
                facts: TrainingFacts::new(recipe.student.quantize, rows.outcomes()),
            },
            student,
            rows,
            plan,
            due,
            untrained: UntrainedModules::new(&learner),
            learner,
            samples,
            own_answers,
            metrics,
            events,
            saved_step: checkpoint.map(|_| state.global_step),
            state,
            session,
        })
    }

    fn run(&mut self, stop: &AtomicBool, observe: &mut dyn FnMut(Event<'_>)) -> Result<Summary> {
        let total = self.plan.total_steps();
        self.state.describe(&self.recipe.train, total);
        loop {
            let step = self.state.global_step;
            if self.due.evaluation(step)
                && !self.rows.test.is_empty()
                && self.state.evaluation_at(step).is_none()
                && self.evaluate(stop, observe)?.is_err()
            {
                return self.stopped(observe);
            }
            if self.due.samples(step) && !self.state.is_sampled_at(step) && self.ask_samples(stop, observe)?.is_err() {
                return self.stopped(observe);
            }
            if self.due.save(step) && self.saved_step != Some(step) {
                self.save(observe)?;
            }
            if step >= total {
                observe(Event::Stage(Stage::Saving));
                return self.finish(observe);
            }
            if stop.load(Ordering::Relaxed) || self.step(stop, observe)?.is_err() {
                return self.stopped(observe);
            }
        }
    }

    /// One optimiser step; discarded if the stop flag is raised between its passes.
    fn step(&mut self, stop: &AtomicBool, observe: &mut dyn FnMut(Event<'_>)) -> Result<Result<(), StopRequested>> {
        let settings = &self.recipe.train;
        let begun = Instant::now();
        let (done, total) = (self.state.global_step, self.plan.total_steps());
        let mut rows = StepRows::of_data(self.plan.rows(done));
        let seed = rng::mix(settings.seed, 0x6472_6f70);
        let dropout = (self.recipe.lora.dropout > 0.0)
            .then(|| StepDropout { probability: self.recipe.lora.dropout as f32, key: rng::mix(seed, done) });
        let planned = rows.tokens(&self.rows);
        observe(Event::Pass { step: done + 1, tokens: 0, of: planned, planned });
        let mut own_answers = None;
        if let Some(writer) = self.own_answers.as_mut().filter(|_| is_on_policy(self.recipe, done)) {
            let mut tell = |tokens| {
                observe(Event::Answering { step: done + 1, tokens });
                if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let seed = rng::mix(rng::mix(settings.seed, 0x616e_7377), done);
            let Some((answered, written)) = rows.answered((writer, &mut self.learner), &self.rows, seed, &mut tell)?
            else {
                return Ok(Err(StopRequested));
            };
            rows = answered;
            own_answers = Some(written);
        }
        self.learner.zero_gradients();
        let (mut sums, of) = (PassSums::default(), rows.tokens(&self.rows));
        for pass in rows.passes(&self.rows, settings.tokens_per_pass) {
            let sum = rows.accumulate(&mut self.learner, &self.rows, pass.clone(), dropout)?;
            if !sum.loss.is_finite() {
                return Err(self.not_finite(done + 1, "the loss", sum.loss, &rows.numbers[pass]));
            }
            sums.add(sum);
            observe(Event::Pass { step: done + 1, tokens: sums.tokens, of, planned });
            if stop.load(Ordering::Relaxed) {
                return Ok(Err(StopRequested));
            }
        }
        let rate = learning_rate(settings, done, total);
        let grad_norm = self.learner.step(&optim::Step {
            learning_rate: rate as f32,
            inverse_count: (1.0 / sums.supervised.max(1) as f64) as f32,
            max_grad_norm: settings.max_grad_norm as f32,
            beta1: settings.adam_beta1 as f32,
            beta2: settings.adam_beta2 as f32,
            epsilon: settings.adam_epsilon as f32,
            weight_decay: settings.weight_decay as f32,
            number: done + 1,
        });
        if !grad_norm.is_finite() {
            return Err(self.not_finite(done + 1, "the gradient's norm", grad_norm, &rows.numbers));
        }
        let gradient_norms = self.learner.gradient_norms(&sums);
        self.learner.balance_by(&gradient_norms);
        self.untrained.watch(&self.learner, done + 1, done + 1 == total)?;
        let seconds = begun.elapsed().as_secs_f64();
        self.session.tokens += sums.tokens;
        self.session.times.steps += seconds;
        let step = done + 1;
        self.state.global_step = step;
        self.state.epoch = step as f64 / self.plan.steps_per_epoch() as f64;
        self.state.num_input_tokens_seen += sums.tokens;
        let record = StepRecord {
            step,
            epoch: self.state.epoch,
            loss: sums.mean_loss(),
            terms: self.learner.unweighted_terms(&sums, rows.is_own()),
            gradient_norms,
            grad_norm,
            learning_rate: rate,
            tokens: sums.tokens,
            supervised_tokens: sums.supervised,
            seconds,
            teacher_seconds: (sums.teacher_seconds > 0.0).then_some(sums.teacher_seconds),
            own_answers,
            rows: rows.numbers.iter().map(|&row| self.rows.info(row).example).collect(),
        };
        self.metrics.step(&record)?;
        let logged = self.log(&record)?;
        observe(Event::Step { record: &record, total_steps: total, logged, planned });
        Ok(Ok(()))
    }

    /// Adds the mean loss to the log history where that is due.
    fn log(&mut self, record: &StepRecord) -> Result<Option<f64>> {
        if !self.due.log(record.step) {
            return Ok(None);
        }
        let loss = self.metrics.mean_loss_since(self.state.last_logged_step());
        self.state.log_history.push(json!({
            "epoch": record.epoch,
            "grad_norm": record.grad_norm,
            "learning_rate": record.learning_rate,
            "loss": loss,
            "step": record.step,
        }));
        if let Some(events) = &mut self.events {
            events.step(record, loss)?;
        }
        Ok(Some(loss))
    }

    /// The loss on the rows to evaluate on.
    fn evaluate(&mut self, stop: &AtomicBool, observe: &mut dyn FnMut(Event<'_>)) -> Result<Result<(), StopRequested>> {
        let begun = Instant::now();
        let (rows, total) = (&self.rows, self.rows.test.len());
        let all = passes(&rows.test, rows.lengths(), self.recipe.train.tokens_per_pass);
        let read = |pass: &[u32]| rows.pass(pass);
        let (mut told, mut tokens) = (0, 0);
        observe(Event::Evaluating { done: 0, total, tokens });
        let mut tell = |done: usize| {
            let new = &rows.test[told..done];
            tokens += new.iter().map(|&row| u64::from(rows.lengths()[row as usize])).sum::<u64>();
            told = done;
            observe(Event::Evaluating { done, total, tokens });
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let Some(sums) = self.learner.evaluate_passes(&all, read, &mut tell, &mut |_, _| {})? else {
            return Ok(Err(StopRequested));
        };
        let record = EvalRecord {
            step: self.state.global_step,
            epoch: self.state.epoch,
            eval_loss: sums.mean_loss(),
            eval_terms: self.learner.unweighted_terms(&sums, false),
            eval_supervised_tokens: sums.supervised,
            eval_seconds: begun.elapsed().as_secs_f64(),
        };
        self.session.times.evaluation += record.eval_seconds;
        self.metrics.evaluation(&record)?;
        if let Some(events) = &mut self.events {
            events.evaluation(&record)?;
        }
        self.state.log_history.push(json!({
            "epoch": record.epoch,
            "eval_loss": record.eval_loss,
            "step": record.step,
        }));
        // The best is loaded at the end from its checkpoint: a step without one cannot be it, and before the first step there is none.
        let may_be_best = self.due.save(record.step) || !self.recipe.train.load_best_model_at_end;
        if may_be_best && record.step > 0 && self.state.best_metric.is_none_or(|best| record.eval_loss < best) {
            self.state.best_metric = Some(record.eval_loss);
            self.state.best_global_step = Some(record.step);
            self.state.best_model_checkpoint = Some(format!("checkpoint-{}", record.step));
        }
        self.saved_step = None;
        observe(Event::Evaluated(&record));
        Ok(Ok(()))
    }

    /// What the student answers to the recipe's questions by now.
    fn ask_samples(
        &mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Result<(), StopRequested>> {
        let Some(samples) = &mut self.samples else { return Ok(Ok(())) };
        let begun = Instant::now();
        let mut tell = |done, total| {
            observe(Event::Sampling { done, total });
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let Some(samples) = samples.ask(&mut self.learner, &self.student, &mut tell)? else {
            return Ok(Err(StopRequested));
        };
        let (step, epoch) = (self.state.global_step, self.state.epoch);
        let record = SampleRecord { step, epoch, samples, sample_seconds: begun.elapsed().as_secs_f64() };
        self.session.times.samples += record.sample_seconds;
        self.metrics.samples(&record)?;
        if let Some(events) = &mut self.events {
            events.samples(&record)?;
        }
        self.state.log_history.push(json!({ "epoch": epoch, "sample_answers": record.samples.len(), "step": step }));
        self.saved_step = None;
        observe(Event::Sampled(&record));
        Ok(Ok(()))
    }

    fn save(&mut self, observe: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        observe(Event::Stage(Stage::Saving));
        let begun = Instant::now();
        self.metrics.sync()?;
        let recorded = self.metrics.recorded();
        let (text, trained_on) = (&self.student.text, &self.trained_on);
        let path = checkpoint::save(self.folder, &self.learner, text, trained_on, &self.state, &recorded)?;
        self.saved_step = Some(self.state.global_step);
        checkpoint::prune(self.folder, self.recipe.train.save_total_limit, self.state.best_global_step)?;
        self.session.times.saving += begun.elapsed().as_secs_f64();
        observe(Event::Saved(&path));
        Ok(())
    }

    /// Ends early: the last whole step is saved, so that nothing of it is lost.
    fn stopped(&mut self, observe: &mut dyn FnMut(Event<'_>)) -> Result<Summary> {
        if self.state.global_step > 0 && self.saved_step != Some(self.state.global_step) {
            self.save(observe)?;
        }
        Ok(self.summary(false, None, self.state.last_evaluation()))
    }

    /// Writes the final adapter: the last one, or the best.
    fn finish(&mut self, observe: &mut dyn FnMut(Event<'_>)) -> Result<Summary> {
        let target = self.folder.join(checkpoint::ADAPTER_FOLDER_NAME);
        let mut eval_loss = self.state.last_evaluation();
        if self.recipe.train.load_best_model_at_end
            && let Some(best) = self.state.best_global_step.filter(|&best| best != self.state.global_step)
        {
            checkpoint::read(self.folder, best)?;
            self.learner.load_parameters(&checkpoint::path(self.folder, best))?;
            eval_loss = self.state.best_metric;
        }
        learning_checks::check_trained(&self.learner)?;
        let begun = Instant::now();
        let mut summary = self.summary(true, Some(target.clone()), eval_loss);
        checkpoint::save_adapter(&target, &self.learner, &self.student.text, &self.trained_on, |folder| {
            let mut failed = None;
            observe(Event::AdapterFilled { folder, summary: &summary, failed: &mut failed });
            failed.map_or(Ok(()), |reason| Err(Error::Output { path: target.clone(), reason }))
        })?;
        self.session.times.saving += begun.elapsed().as_secs_f64();
        summary.times = self.session.times();
        if self.session.tokens == 0
            && let Some(Summary { tokens_per_second, times, .. }) = Summary::written(self.folder)
        {
            (summary.tokens_per_second, summary.times) = (tokens_per_second, times);
        }
        atomic::write_json(&self.folder.join(SUMMARY_FILE_NAME), &summary)?;
        Ok(summary)
    }

    fn summary(&self, finished: bool, adapter: Option<PathBuf>, eval_loss: Option<f64>) -> Summary {
        let steps = self.state.global_step;
        let mean_since = |step: u64| (steps > 0).then(|| self.metrics.mean_loss_since(step));
        Summary {
            finished,
            steps,
            total_steps: self.plan.total_steps(),
            train_loss: mean_since(0),
            final_train_loss: mean_since(steps.saturating_sub(self.plan.steps_per_epoch())),
            eval_loss,
            eval_loss_before: self.state.evaluation_at(0),
            tokens: self.state.num_input_tokens_seen,
            tokens_per_second: self.session.tokens_per_second(),
            times: self.session.times(),
            adapter,
        }
    }

    fn not_finite(&self, step: u64, what: &'static str, value: f64, rows: &[u32]) -> Error {
        const MOST: usize = 8;
        let mut places: Vec<String> = rows.iter().take(MOST).map(|&row| self.rows.place(self.recipe, row)).collect();
        if rows.len() > MOST {
            places.push(format!("and {} more", rows.len() - MOST));
        }
        let modules = match learning_checks::not_finite(&self.learner) {
            modules if modules.is_empty() => modules,
            modules => format!(" ({modules})"),
        };
        Error::NotFinite { step, what, value, modules, rows: places.join(", ") }
    }
}
