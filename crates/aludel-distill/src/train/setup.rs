//! From a recipe to a run that can take its first step, in typed stages: a folder is claimed, its files are opened and identified, a
//! checkpoint is found, the learner loaded, and rows are chosen. Each stage refuses what it can know to be wrong, and what is refused
//! here leaves nothing behind. The training itself is the loop's matter.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::PathBuf;

use aludel_data::dataset;
use aludel_formats::{atomic, lock::FolderLock};
use aludel_model::student::Student;

use super::{Event, Stage};
use crate::auto_max_length::ExcludedRows;
use crate::batch::{MaxPassTokens, Plan};
use crate::checkpoint::{self, RunFile};
use crate::error::{Error, Result};
use crate::evaluate::identity;
use crate::init_adapter;
use crate::learner::Learner;
use crate::lr_schedule::check_rates;
use crate::memory::{self, TrainingMemory};
use crate::metrics::TrainerState;
use crate::rows::{self, RowKeys, Rows, tokenise};
use crate::sample_answers::Samples;
use crate::settings::{MaxLength, Recipe};
use crate::tensorboard;
use crate::token_init;

/// Asked now and then whether the run is still wanted.
pub(super) type StopCheck<'a> = &'a (dyn Fn() -> ControlFlow<()> + Sync);

/// The output folder, which nobody else writes to, and the recipe as it holds there.
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
            true if !resume => return Err(Error::RunExists { path: folder }),
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

/// The student without its weights, and what identifies it and the data.
pub(super) struct OpenedStudent {
    pub(super) student: Student,
    /// Ids of the tokens that the recipe adds.
    added: Vec<u32>,
    pub(super) keys: RowKeys,
    pub(super) fingerprint: String,
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
        let total = identity::bytes(&student.path)?
            + dataset::open(&recipe.data.all_files(), &recipe.data.read_options())?.bytes_total();
        observe(Event::Hashing { done: 0, total });
        let progress = RefCell::new((0, observe));
        let watch = |bytes: u64| {
            let (done, observe) = &mut *progress.borrow_mut();
            *done += bytes;
            observe(Event::Hashing { done: *done, total });
            watch()
        };
        let keys = RowKeys::new(&student, recipe, &watch)?;
        let fingerprint = identity::fingerprint_watched(&student.path, None, &watch)?;
        if let Some(begun) = begun {
            begun.check(folder, recipe, &RunFile::new(&fingerprint, recipe, keys.run(&student, recipe))?)?;
            checkpoint::check_replaced(folder)?;
        }
        Ok(OpenedStudent { student, added, keys, fingerprint })
    }
}

/// Where the run goes on.
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
            // It is wanted at the end; now is the time to tell that it is damaged.
            checkpoint::read(folder, best)?;
        }
        Ok(Resumed { checkpoint: latest.map(|step| checkpoint::path(folder, step)), state, events })
    }
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
        (Some(path), _) => checkpoint::restore_moments(path, &mut learner)?,
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
    /// What the process takes of memory at most; none where the system does not tell.
    pub(super) process_bytes: Option<u64>,
    pub(super) samples: Option<Samples>,
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
        let (lengths, positions) = (rows::lengths(&cache, recipe), student.config.max_position_embeddings);
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
        let largest = MaxPassTokens::of(&recipe.train, &mut plan, &rows.test, resumed.state.global_step);
        let process_bytes = memory::resident().map(|resident| resident + growth.bytes(largest)).max(memory::peak());
        // Sample answers may be longer than any row.
        let answers = if recipe.train.sample_prompts.is_empty() { 0 } else { recipe.train.sample_max_new_tokens };
        learner.reach(max_length.saturating_add(answers));
        learner.plan(recipe.train.tokens_per_pass.max(longest));
        let samples = Samples::new(learner, student, recipe)?;
        if !is_restored && recipe.train.init_adapter.is_none() {
            let mut tell = |done, total| {
                observe(Event::PlacingTokens { done, total });
                watch()
            };
            if token_init::by_place(learner, student, &rows, &mut tell)?.is_break() {
                return Err(Error::Stopped);
            }
        }
        Ok(ChosenRows { rows, plan, max_length, left_out, process_bytes, samples })
    }
}
