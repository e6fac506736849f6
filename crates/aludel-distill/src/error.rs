//! What can go wrong in a run. Each message names the file, key or step, the reason and the mend.

use std::path::PathBuf;

use crate::settings::Problems;
use crate::teacher::preflight::finding::Mismatch;

/// The result of a run's parts.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A row that asks nothing, where the student is to answer it.
    #[error(
        "{place}: the row has no prompt that the student could answer itself; give rows of a prompt and a response, with data.loss_on other \
         than \"all\", or set distill.lambda to 0"
    )]
    NoPrompt {
        /// File and line.
        place: String,
    },

    /// Settings that make no sense.
    #[error(transparent)]
    Settings(#[from] Problems),

    /// The student or an adapter.
    #[error(transparent)]
    Model(#[from] aludel_model::Error),

    /// A file of a model, an adapter or a checkpoint.
    #[error(transparent)]
    Format(#[from] aludel_formats::Error),

    /// The training data.
    #[error(transparent)]
    Data(#[from] aludel_data::Error),

    /// Curation.
    #[error(transparent)]
    Curate(#[from] aludel_curate::Error),

    /// A teacher's server, or a store of traces.
    #[error(transparent)]
    Teacher(#[from] aludel_teacher::Error),

    /// A verifier.
    #[error(transparent)]
    Verify(#[from] aludel_verify::Error),

    /// Tokenizer or template.
    #[error(transparent)]
    Text(#[from] aludel_text::Error),

    /// What is wrong beside the first of them, where all of it shows at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Error>),

    /// The caller cancelled the work before there was a result to keep.
    #[error("stopped, with nothing to keep; run the command again")]
    Stopped,

    /// A teacher that does not fit the student.
    #[error("{teacher}: it cannot teach the student {student}:{mismatch}")]
    Pair {
        /// The student.
        student: PathBuf,
        /// The teacher.
        teacher: PathBuf,
        /// What does not fit.
        mismatch: Mismatch,
    },

    /// A teacher's cache that does not fit.
    #[error("{path}: {reason}")]
    TeacherCache {
        /// The folder.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },

    /// A row that is too long for the teacher with what it sees beside the student.
    #[error(
        "a row has {tokens} tokens with what the teacher alone sees of it, and the teacher reads {limit}; shorten distill.teacher_system or the \
         texts of distill.teacher_context_column, or set train.max_length lower"
    )]
    TeacherContext {
        /// Tokens of the teacher's row.
        tokens: usize,
        /// The teacher's positions.
        limit: usize,
    },

    /// Rows longer than the teacher can read.
    #[error(
        "{path}: the teacher reads at most {limit} tokens, and train.max_length = {max_length}; set train.max_length to {limit}, or \
         choose another teacher"
    )]
    TeacherLength {
        /// The teacher.
        path: PathBuf,
        /// Tokens of a row at most.
        max_length: usize,
        /// The teacher's positions.
        limit: usize,
    },

    /// An instruction set that this processor lacks.
    #[error(
        "student.instruction_set = \"{wanted}\": this processor, or its system, does not have it; it has {has}: a run that was begun with the \
         other continues where that is there; set one of these, or \"auto\" for the best of them (the variable ALUDEL_ISA sets it too)"
    )]
    InstructionSet {
        /// What was asked for.
        wanted: &'static str,
        /// What there is.
        has: String,
    },

    /// A run folder that already holds a run.
    #[error(
        "{path}: this folder already holds a run; continue it with `aludel train --output-dir {typed} --resume`, or give another --output-dir to keep \
         both"
    )]
    RunExists {
        /// The folder.
        path: PathBuf,
        /// The folder as a shell takes it.
        typed: String,
    },

    /// A run that is resumed with another recipe.
    #[error(
        "{path}: the run was started with other settings, and would not be the same run any more:\n{differences}\n\
         resume with the old values, or start a new run in another folder"
    )]
    OtherRecipe {
        /// The run folder.
        path: PathBuf,
        /// One line for each setting: key, old value, new value.
        differences: String,
    },

    /// A run that is resumed with another student under the same name.
    #[error(
        "{path}: the files of the student, {student}, are not those that the run was started on, and would not train the same adapter; \
         restore them, or start a new run in another folder"
    )]
    OtherStudent {
        /// The run folder.
        path: PathBuf,
        /// The student.
        student: PathBuf,
    },

    /// A run that is resumed with another teacher, whose distributions it learns.
    #[error(
        "{path}: the teacher or cache {teacher} is not the one that the run was started on; resume with that one, or start a new run in \
         another folder"
    )]
    OtherTeacher {
        /// The run folder.
        path: PathBuf,
        /// The teacher.
        teacher: PathBuf,
    },

    /// A run of a version that kept its folder in another form.
    #[error(
        "{path}: this run was begun by Aludel {version}, whose run folders are of format {format}, and this version continues format \
         {known} alone; finish it with the version that began it, or start a new run in another folder{start}"
    )]
    OtherVersion {
        /// The run folder.
        path: PathBuf,
        /// The version that began it.
        version: String,
        /// The form of the folder.
        format: u64,
        /// The form that is known here.
        known: u64,
        /// How to start from its weights, if it has any.
        start: String,
    },

    /// A run that is resumed on other data.
    #[error(
        "{path}: the data, or the student's tokenizer or template, is not what the run was started on, or this version of Aludel reads rows by \
         other rules than the one that started it; restore it, or start a new run in another folder"
    )]
    OtherData {
        /// The run folder.
        path: PathBuf,
    },

    /// A damaged file of a run folder.
    #[error("{path}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would help.
        reason: String,
    },

    /// A loss or gradient that is not a number.
    #[error(
        "step {step}: {what} is {value}{modules}, so this step was not taken and nothing of it was saved; its rows: {rows}; the last \
         checkpoint is whole: look at these rows with `aludel inspect`, or lower train.learning_rate"
    )]
    NotFinite {
        /// The optimiser step, from 1.
        step: u64,
        /// "the loss" or "the gradient's norm".
        what: &'static str,
        /// NaN or infinity.
        value: f64,
        /// Where a gradient is not finite, in parentheses; else nothing.
        modules: String,
        /// Files and lines of the rows.
        rows: String,
    },

    /// Modules that cannot learn.
    #[error(
        "step {step}: the gradient of {modules} was exactly zero in each of {steps} steps, so these modules learn nothing: weights of zeros \
         behind them in the student hide them from the loss, or no row has a supervised token that could tell; leave them out of \
         lora.target_modules, give another student, or look at the rows with `aludel inspect`"
    )]
    NoGradient {
        /// The optimiser step, from 1.
        step: u64,
        /// Steps that were looked at.
        steps: u64,
        /// The modules and their layers.
        modules: String,
    },

    /// A trained adapter that does nothing.
    #[error(
        "no adapter was written: B is zero everywhere in {modules}, so that they change nothing; what was to be saved comes from before a \
         step moved them: raise train.learning_rate, lower train.warmup_steps, train longer, or leave out train.load_best_model_at_end"
    )]
    Untrained {
        /// The modules and their layers.
        modules: String,
    },

    /// A run in which no step would change anything.
    #[error(
        "train.learning_rate = {learning_rate}: the rate is 0 in each of the run's {steps} steps, {warmup} of them warm-up, so nothing would be \
         trained; train for more steps, set train.warmup_ratio=0 and train.warmup_steps=0, or raise train.learning_rate"
    )]
    NoLearningRate {
        /// The setting.
        learning_rate: f64,
        /// Steps of the run.
        steps: u64,
        /// Steps of warm-up.
        warmup: u64,
    },

    /// Training on weights that were kept in their file's quantisation.
    #[error(
        "student.dtype = \"file\": weights in their file's quantisation have no backward pass, so they cannot be trained on; set \
         student.dtype to \"bf16\" or \"f32\""
    )]
    StoredWeights,

    /// No student position for rows that long.
    #[error(
        "train.max_length = {max_length}: the student has only {limit} positions; set train.max_length to {limit} or less"
    )]
    MaxLength {
        /// The setting.
        max_length: usize,
        /// The student's positions.
        limit: usize,
    },

    /// A length that leaves out too much of the data.
    #[error("{what}: at most {percent:.0}% of the rows may be left out (data.max_rows_left_out = {allowed}){mend}")]
    RowsLeftOut {
        /// How many rows are too long, and for what.
        what: String,
        /// The share that may be left out.
        allowed: f64,
        /// The same in percent.
        percent: f64,
        /// What would keep more of them, and how to train without them, where any row is left.
        mend: String,
    },

    /// Files to evaluate on of which no row is left.
    #[error(
        "data.eval_files: no row of them can be evaluated on: {too_long} are longer than train.max_length = {max_length}; give a larger \
         --max-length, or look at the rows with `aludel inspect`"
    )]
    NothingToEvaluate {
        /// Rows that are too long.
        too_long: usize,
        /// The longest that is taken.
        max_length: usize,
    },

    /// An adapter and settings that contradict each other.
    #[error("train.init_adapter = {path}: {reason}")]
    InitAdapter {
        /// The adapter.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// An adapter that is part of the model already.
    #[error(
        "{model}: the adapter {adapter} is merged into this model already, and would be applied twice; use the model without the adapter, or \
         give the base model that the adapter was trained on{base}"
    )]
    AlreadyMerged {
        /// The model.
        model: PathBuf,
        /// The adapter.
        adapter: PathBuf,
        /// The base model, after a colon, where the adapter names it.
        base: String,
    },

    /// Results of different tasks.
    #[error(
        "{baseline} and {other}: there is no task in common, so nothing can be compared: {differences}; evaluate both on the same \
         tasks, with the same --limit"
    )]
    NothingInCommon {
        /// What the first results are called.
        baseline: String,
        /// What the others are called.
        other: String,
        /// What differs.
        differences: String,
    },

    /// A question of `train.sample_prompts` that leaves no room for an answer.
    #[error(
        "train.sample_prompts: question {number} has {tokens} tokens, and the run's rows have at most {limit}; shorten it, leave it out, or \
         raise train.max_length"
    )]
    SamplePrompt {
        /// From 1.
        number: usize,
        /// Its tokens, as the template renders it.
        tokens: usize,
        /// Positions that there are.
        limit: usize,
    },

    /// A folder that would be overwritten.
    #[error("{path}: {reason}")]
    Output {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and what would help.
        reason: String,
    },

    /// An exported file that is not equal to its source.
    #[error("{path}: the written file differs from its source, and was not kept: {what}; --no-gate keeps such a file")]
    Parity {
        /// The file.
        path: PathBuf,
        /// The first difference.
        what: String,
    },

    /// Something that cannot be evaluated.
    #[error("--tasks {task}: {reason}")]
    Task {
        /// The task's name.
        task: String,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// A served model that cannot be evaluated.
    #[error(
        "{endpoint}: the served model does not answer: {reason}; fix that, and evaluate into the same folder again: what was answered is \
         kept"
    )]
    Unanswered {
        /// The server's address.
        endpoint: String,
        /// What it says, or what is wrong with it.
        reason: String,
    },

    /// A row of an evaluation file that is no problem.
    #[error("{path}, line {line}: {reason}")]
    TaskRow {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// A folder with the results of another evaluation.
    #[error(
        "{path}: this folder holds another evaluation, and samples of both would be mixed up:\n{differences}\n\
         evaluate as before to finish it, or give another --output-dir"
    )]
    OtherEvaluation {
        /// The folder.
        path: PathBuf,
        /// One line for each difference: what, before, now.
        differences: String,
    },
}

impl Error {
    /// Whether it says only that the work was broken off.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(
            self,
            Error::Stopped | Error::Data(aludel_data::Error::Stopped) | Error::Model(aludel_model::Error::Stopped)
        )
    }
}
