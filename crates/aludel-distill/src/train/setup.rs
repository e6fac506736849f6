//! From a recipe to a run that can take its first step, in typed stages: a folder is claimed, its files are opened and identified, a
//! checkpoint is found, the learner is loaded, and rows are selected. Each stage refuses what it can already check, and a refusal here
//! leaves no files behind. The training itself is in the loop.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use aludel_data::dataset;
use aludel_formats::{atomic, lock::FolderLock};
use aludel_model::student::Student;

use super::{Event, Stage, Summary};
use crate::auto_max_length::ExcludedRows;
use crate::batch::{MaxPassTokens, Plan};
use crate::checkpoint::{self, Fingerprints, RunFile};
use crate::error::{Error, Result};
use crate::evaluate::identity;
use crate::init_adapter;
use crate::learner::{Learner, check_to_train};
use crate::lr_schedule::check_rates;
use crate::memory::TrainingMemory;
use crate::metrics::{self, TrainerState};
use crate::objective;
use crate::own_answers::{OwnAnswers, has_prompt};
use crate::rows::{self, RowKeys, Rows, tokenise};
use crate::sample_answers::Samples;
use crate::settings::{MaxLength, Recipe};
use crate::teacher;
use crate::teacher::preflight::{self, Finding, RowsToCheck};
use crate::tensorboard;
use crate::token_init;

/// Asked now and then whether the run is still wanted.
pub(super) type StopCheck<'a> = &'a (dyn Fn() -> ControlFlow<()> + Sync);

/// The locked output folder, and the recipe that applies to it.
pub(super) struct ClaimedFolder {
    pub(super) folder: PathBuf,
    _lock: FolderLock,
    /// The run that was begun in the folder, where it is resumed.
    pub(super) begun: Option<RunFile>,
    pub(super) recipe: Recipe,
    /// Whether the data decides how long a row may be.
    is_auto: bool,
}

impl ClaimedFolder {
    /// # Errors
    /// A folder of somebody else's, one that another process writes to, and one that holds a run which is not to be resumed.
    pub(super) fn new(recipe: &Recipe, resume: bool) -> Result<ClaimedFolder> {
        let folder = recipe.output_dir()?.to_owned();
        // Looked at before it is locked, too: in a folder of somebody else's not even a lock is made.
        checkpoint::is_begun(&folder)?;
        let lock = FolderLock::acquire(&folder)?;
        atomic::recover(&folder);
        // A run that was killed before it began leaves nothing: resuming it is starting it.
        let begun = match checkpoint::is_begun(&folder)? {
            true if !resume => return Err(Error::RunExists { typed: checkpoint::shell_word(&folder), path: folder }),
            true => Some(RunFile::read(&folder)?),
            false => None,
        };
        let mut recipe = recipe.clone();
        let is_auto = recipe.train.max_length == MaxLength::AUTO;
        if let Some(begun) = checkpoint::begun_with(&folder).filter(|_| is_auto) {
            // What the data decided when the run began.
            recipe.train.max_length = begun.train.max_length;
        }
        Ok(ClaimedFolder { folder, _lock: lock, begun, recipe, is_auto })
    }

    fn rows_folder(&self) -> PathBuf {
        self.folder.join(checkpoint::ROWS_FOLDER_NAME)
    }
}

/// A refusal with whatever else is wrong and shows before weights and rows are read, so that all of it is mended at once.
pub(super) fn with_others(first: Error, recipe: &Recipe) -> Error {
    if first.is_stop() {
        return first;
    }
    let student = |path: &Path| {
        let student = Student::open(path)?;
        check_to_train(&student, recipe)
    };
    let reading = recipe.data.read_options();
    let data =
        recipe.data.all_files().into_iter().map(|file| dataset::open(&[file], &reading).map(drop).map_err(Error::from));
    let mut found = vec![first];
    for other in recipe.student.model.as_deref().map(student).into_iter().chain(data).filter_map(Result::err) {
        if found.iter().all(|known| known.to_string() != other.to_string()) {
            found.push(other);
        }
    }
    match found.len() {
        1 => found.remove(0),
        _ => Error::Several(found),
    }
}

/// The student without its weights, and what identifies it and the data.
pub(super) struct OpenedStudent {
    pub(super) student: Student,
    /// Ids of the tokens that the recipe adds.
    added: Vec<u32>,
    pub(super) keys: RowKeys,
    pub(super) fingerprints: Fingerprints,
}

impl OpenedStudent {
    /// # Errors
    /// Files that cannot be read, or that are not those which the run was begun on.
    pub(super) fn new(
        claimed: &ClaimedFolder,
        watch: StopCheck<'_>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<OpenedStudent> {
        let ClaimedFolder { folder, begun, recipe, .. } = claimed;
        let mut student = Student::open(recipe.student_model()?)?;
        let added = student.text.tokenizer.add_tokens(&recipe.student.add_tokens)?;
        observe(Event::Stage(Stage::Hashing));
        let distill = &recipe.distill;
        let teacher = distill.teacher.as_deref().filter(|_| distill.has_teacher());
        let total = identity::bytes(&student.path)?
            + teacher.map_or(Ok(0), identity::bytes)?
            + dataset::open(&recipe.data.all_files(), &recipe.row_options())?.bytes_total();
        observe(Event::Hashing { done: 0, total });
        let progress = RefCell::new((0, observe));
        let watch = |bytes: u64| {
            let (done, observe) = &mut *progress.borrow_mut();
            *done += bytes;
            observe(Event::Hashing { done: *done, total });
            watch()
        };
        let keys = RowKeys::new(&student, recipe, &watch)?;
        let fingerprints = Fingerprints {
            student: identity::fingerprint_watched(&student.path, None, &watch)?,
            teacher: match (teacher, &distill.cache) {
                (Some(path), _) => {
                    Some(identity::fingerprint_watched(path, distill.teacher_adapter.as_deref(), &watch)?)
                }
                (None, Some(folder)) if distill.has_teacher() => Some(teacher::cache::identity(folder)?),
                (None, _) => None,
            },
        };
        if let Some(begun) = begun {
            begun.check(folder, recipe, &RunFile::new(&fingerprints, recipe, keys.run(&student, recipe))?)?;
            checkpoint::check_replaced(folder)?;
        }
        Ok(OpenedStudent { student, added, keys, fingerprints })
    }
}

/// The state from which the run resumes.
pub(super) struct Resumed {
    /// The last checkpoint; none where the run starts.
    pub(super) checkpoint: Option<PathBuf>,
    pub(super) state: TrainerState,
    /// The event file for TensorBoard, where the recipe wants one.
    pub(super) events: Option<PathBuf>,
}

impl Resumed {
    /// # Errors
    /// A checkpoint, or an event file, that is damaged or of another run.
    pub(super) fn find(claimed: &ClaimedFolder) -> Result<Resumed> {
        let ClaimedFolder { folder, begun, recipe, .. } = claimed;
        let events = tensorboard::path(recipe, folder);
        if let Some(path) = &events {
            tensorboard::check(path, begun.as_ref().map(RunFile::identity))?;
        }
        let latest = checkpoint::list(folder).last().copied();
        let state = match latest {
            Some(step) => checkpoint::read(folder, step)?,
            None => TrainerState::default(),
        };
        if let Some(step) = latest {
            checkpoint::check_recorded(folder, step, &state)?;
        }
        if recipe.train.load_best_model_at_end
            && let Some(best) = state.best_global_step
        {
            // It is needed at the end; damage is reported now.
            checkpoint::read(folder, best)?;
        }
        Ok(Resumed { checkpoint: latest.map(|step| checkpoint::path(folder, step)), state, events })
    }

    /// How the run ended, where nothing is left to do: all steps are done, and adapter, summary, recipe and metrics are what they would be
    /// written as. Its student and data were found to be the same, and the adapter to be as it was written.
    ///
    /// # Errors
    /// A file of the run cannot be read.
    pub(super) fn complete(&self, claimed: &ClaimedFolder) -> Result<Option<Summary>> {
        let ClaimedFolder { folder, begun: Some(begun), recipe, .. } = claimed else { return Ok(None) };
        let (adapter, state) = (folder.join(checkpoint::ADAPTER_FOLDER_NAME), &self.state);
        let Some(summary) = Summary::written(folder) else { return Ok(None) };
        let is_complete = summary.finished
            && self.checkpoint.is_some()
            && (summary.steps, summary.total_steps) == (state.global_step, state.global_step)
            && aludel_files::is_there(&adapter)
            && begun.has_kept(folder, recipe)?
            && metrics::surplus(folder, state)? == 0;
        // The folder may have been moved since.
        Ok(is_complete.then_some(Summary { adapter: Some(adapter), ..summary }))
    }
}

/// Checks of a new run, before any weights are read, that its teacher's texts are the student's; returns what is only told. A run that
/// goes on was checked when it began.
pub(super) fn check_pair(
    claimed: &ClaimedFolder,
    opened: &OpenedStudent,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<Finding>> {
    let ClaimedFolder { begun, recipe, .. } = claimed;
    // The texts of a cache's teacher were checked when the cache was written.
    if begun.is_some() || !recipe.distill.has_teacher() || recipe.distill.teacher.is_none() {
        return Ok(Vec::new());
    }
    objective::check_layers(&opened.student, recipe)?;
    observe(Event::Stage(Stage::CheckingTeacher));
    let mut notes = preflight::check_texts(&opened.student, recipe)?;
    let Fingerprints { student, teacher } = &opened.fingerprints;
    let sees_the_same = recipe.distill.teacher_context().is_none();
    if teacher.as_ref() == Some(student) && recipe.train.init_adapter.is_none() && sees_the_same {
        notes.push(Finding::same_model());
    }
    Ok(notes)
}

/// Asks the teacher of a new run about a few of its rows; returns what is only told.
fn check_teacher(
    student: &Student,
    recipe: &Recipe,
    rows: &Rows,
    learner: &mut Learner,
    watch: StopCheck<'_>,
) -> Result<Vec<Finding>> {
    let read = |row: usize| rows.row(row as u32);
    let rows = RowsToCheck { count: rows.len(), read: &read };
    let checked = learner
        .ask_teacher(|ctx, teacher| preflight::check_teacher(ctx, teacher, student, recipe, rows, &mut || watch()));
    Ok(checked.transpose()?.unwrap_or_default())
}

/// Reads the weights. Done before the data is tokenised: a weight or a target that does not fit is told in a second.
pub(super) fn load_learner(
    claimed: &ClaimedFolder,
    opened: &OpenedStudent,
    resumed: &Resumed,
    watch: StopCheck<'_>,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Learner> {
    let (recipe, checkpoint) = (&claimed.recipe, resumed.checkpoint.as_deref());
    observe(Event::Stage(Stage::Loading));
    let observe = RefCell::new(observe);
    let watch = |done, total| {
        observe.borrow_mut()(Event::Loading { done, total });
        watch()
    };
    let mut learner = Learner::load_watched(&opened.student, &opened.added, recipe, checkpoint, &watch)?;
    match (checkpoint, &recipe.train.init_adapter) {
        (Some(path), _) => checkpoint::restore(path, &mut learner)?,
        (None, Some(folder)) => init_adapter::check(&learner.adapter, &opened.student.config, folder, &recipe.lora)?,
        (None, None) => {}
    }
    Ok(learner)
}

/// The rows of the run, and the order in which steps take them.
pub(super) struct ChosenRows {
    pub(super) rows: Rows,
    pub(super) plan: Plan,
    /// Tokens of a row at most.
    pub(super) max_length: usize,
    pub(super) left_out: Vec<ExcludedRows>,
    /// Peak memory of the process; `None` if the system does not report it.
    pub(super) process_bytes: Option<u64>,
    pub(super) samples: Option<Samples>,
    /// Writes the student's own answers, where some steps learn from them.
    pub(super) own_answers: Option<OwnAnswers>,
    /// What is told of the teacher.
    pub(super) pair_notes: Vec<Finding>,
}

impl ChosenRows {
    /// Tokenises the data, settles how long a row may be, and makes room for the largest pass. The recipe then holds the length.
    ///
    /// # Errors
    /// Rows that cannot be trained on, and too few of them.
    pub(super) fn new(
        claimed: &mut ClaimedFolder,
        opened: &OpenedStudent,
        resumed: &Resumed,
        learner: &mut Learner,
        watch: StopCheck<'_>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<ChosenRows> {
        let chosen = ChosenRows::choose(claimed, opened, resumed, learner, watch, observe);
        if chosen.as_ref().is_err_and(|error| claimed.begun.is_none() && !error.is_stop()) {
            // What cannot be trained leaves nothing behind; rows that were only stopped are found again.
            let _ = std::fs::remove_dir_all(claimed.rows_folder());
        }
        chosen
    }

    fn choose(
        claimed: &mut ClaimedFolder,
        opened: &OpenedStudent,
        resumed: &Resumed,
        learner: &mut Learner,
        watch: StopCheck<'_>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<ChosenRows> {
        let rows_folder = claimed.rows_folder();
        let ClaimedFolder { begun, recipe, is_auto, .. } = claimed;
        let (student, is_restored) = (&opened.student, resumed.checkpoint.is_some());
        let mut tell = |progress| observe(Event::Tokenising(progress));
        let cache = tokenise(student, recipe, &opened.keys, &rows_folder, &mut tell, watch)?;
        let lengths = rows::lengths(&cache, recipe);
        let own = student.config.max_position_embeddings;
        let positions = learner.max_judged_length().map_or(own, |judged| judged.min(own));
        let mut growth = TrainingMemory::of_loaded(learner, is_restored, recipe);
        let (max_length, bounds) = growth.settle(recipe.train.max_length, &lengths, positions);
        recipe.train.max_length = MaxLength::Tokens(max_length);
        let left_out = ExcludedRows::all(&lengths, max_length, *is_auto, bounds);
        if begun.is_none() {
            left_out.iter().try_for_each(|left_out| left_out.check(recipe))?;
        }
        let rows = Rows::choose(cache, recipe)?;
        let longest = rows.lengths().iter().copied().max().unwrap_or(0) as usize;
        let mut plan = Plan::new(&recipe.train, &rows.train, rows.lengths());
        check_rates(recipe, plan.total_steps())?;
        let mut largest = MaxPassTokens::of(&recipe.train, &mut plan, &rows.test, resumed.state.global_step);
        let mut most = recipe.train.tokens_per_pass.max(longest);
        if recipe.distill.is_on_policy() {
            (largest, most) = (largest.with_own_answers(&recipe.train), most.max(max_length));
        }
        // What a teacher reads of the rows is known only now.
        learner.check_rows(&mut rows.train.iter().chain(&rows.test).map(|&row| rows.row(row)))?;
        let process_bytes = TrainingMemory::of_loaded(learner, is_restored, recipe).process_bytes(largest);
        if recipe.distill.is_on_policy() {
            for &number in &rows.train {
                if !has_prompt(&rows.row(number)?) {
                    return Err(Error::NoPrompt { place: rows.place(recipe, number) });
                }
            }
        }
        // Sample answers may be longer than any row.
        let answers = if recipe.train.sample_prompts.is_empty() { 0 } else { recipe.train.sample_max_new_tokens };
        learner.reach(max_length.saturating_add(answers));
        learner.plan(most);
        let pair_notes = match begun {
            None if recipe.distill.has_teacher() => {
                observe(Event::Stage(Stage::CheckingTeacher));
                check_teacher(student, recipe, &rows, learner, watch)?
            }
            _ => Vec::new(),
        };
        let samples = Samples::new(learner, student, recipe)?;
        let own_answers = recipe.distill.is_on_policy().then(|| {
            let rows = recipe.train.rows_per_step();
            OwnAnswers::new(learner, student, recipe, max_length, rows)
        });
        if !is_restored && recipe.train.init_adapter.is_none() {
            let mut tell = |done, total| {
                observe(Event::PlacingTokens { done, total });
                watch()
            };
            if token_init::by_place(learner, student, &rows, &mut tell)?.is_break() {
                return Err(Error::Stopped);
            }
        }
        Ok(ChosenRows { rows, plan, max_length, left_out, process_bytes, samples, own_answers, pair_notes })
    }
}
