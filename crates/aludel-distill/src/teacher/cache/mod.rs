//! What a teacher says of every supervised token, on disk: computed once, and learnt from as often as one likes without the teacher in
//! memory. `record` is what is stored of a token, `shard` a file of them, `build` writes a cache, and `reader` is the teacher that
//! reads one.
//! Records are found by row and place in it, never by step: another order, split or batch size reads the same cache.

mod build;
mod reader;
mod record;
mod shard;
mod stored_kl;

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use aludel_formats::atomic;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evaluate::identity as model_identity;
use crate::settings::{DistillSettings, Recipe, TeacherContext};

pub use build::{CacheOptions, CacheSummary, build};
pub use reader::CachedTeacher;
pub use record::RecordLayout;

/// What a build tells.
#[derive(Clone, Debug, PartialEq)]
pub enum CacheEvent {
    /// Files are hashed.
    Hashing,
    /// Rows become ids.
    Tokenising,
    /// So many of the teacher's weights are read.
    Loading {
        /// Read.
        done: u64,
        /// Of all.
        total: u64,
    },
    /// The teacher is compared with the student, and asked about a few rows.
    CheckingTeacher,
    /// All that is to be done is known.
    Planned {
        /// Rows, without repetitions.
        rows: usize,
        /// Their supervised tokens.
        tokens: usize,
        /// What the cache takes on disk, about.
        bytes: u64,
        /// Supervised tokens in shards that are there already.
        done: usize,
    },
    /// So many supervised tokens of all are done.
    Asked {
        /// In finished and open shards.
        done: usize,
        /// Of all rows.
        total: usize,
    },
}

/// What a cache is, beside its shards.
const CACHE_FILE_NAME: &str = "cache.json";

/// The form of caches. It rises when what an older one holds no longer means what it meant.
const FORMAT: u64 = 1;

/// `cache.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CacheFile {
    /// The form of the folder.
    pub format: u64,
    /// The version that began it.
    pub aludel_version: String,
    /// The teacher, as it was given.
    pub teacher: PathBuf,
    /// Identifies the teacher's files, its adapter's and how its weights were held.
    pub teacher_fingerprint: String,
    /// Identifies the tokenizer that made ids of the rows.
    pub tokenizer: String,
    /// Identifies the rows: data, tokenizer, template and options.
    pub rows_key: String,
    /// What is stored of a token.
    pub layout: RecordLayout,
    /// The temperature of the distributions.
    pub temperature: f64,
    /// What the teacher saw that the student does not see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_context: Option<TeacherContextKey>,
    /// The seed of draws.
    pub seed: u64,
    /// Rows, without repetitions.
    pub rows: usize,
    /// Supervised tokens.
    pub tokens: usize,
    /// Files that hold them.
    pub shards: usize,
}

/// What a teacher saw that the student does not see, to compare and to name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeacherContextKey {
    /// The hash of the system prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The column of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

impl TeacherContextKey {
    /// Of the settings; none where teacher and student see the same.
    fn of(settings: &DistillSettings) -> Option<TeacherContextKey> {
        let TeacherContext { system, column } = settings.teacher_context()?;
        let system = system.map(|system| blake3::hash(system.as_bytes()).to_hex()[..16].to_owned());
        Some(TeacherContextKey { system, column })
    }
}

impl fmt::Display for TeacherContextKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = self.system.as_ref().map(|hash| format!("a system prompt (hash {hash})"));
        let column = self.column.as_ref().map(|column| format!("the column `{}`", column.escape_debug()));
        formatter.write_str(&system.into_iter().chain(column).collect::<Vec<_>>().join(" and "))
    }
}

impl CacheFile {
    /// The cache that was begun in a folder; `None` where none was.
    fn find(folder: &Path) -> Result<Option<CacheFile>> {
        let path = folder.join(CACHE_FILE_NAME);
        if !aludel_files::is_there(&path) {
            return Ok(None);
        }
        let damaged = |reason: String| Error::Damaged {
            path: path.clone(),
            reason: format!("{reason}; write the cache again in another folder"),
        };
        let bytes = aludel_files::read(&path, aludel_files::SMALL).map_err(|error| damaged(error.to_string()))?;
        let file: CacheFile = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if file.format != FORMAT {
            return Err(damaged(format!("it is a cache of format {}, and this version reads {FORMAT}", file.format)));
        }
        Ok(Some(file))
    }

    /// The cache in a folder.
    ///
    /// # Errors
    /// There is none.
    fn read(folder: &Path) -> Result<CacheFile> {
        CacheFile::find(folder)?.ok_or_else(|| Error::TeacherCache {
            path: folder.to_owned(),
            reason: "there is no teacher cache in this folder; write one with `aludel cache --output-dir`".to_owned(),
        })
    }

    fn write(&self, folder: &Path) -> Result<()> {
        Ok(atomic::write_json(&folder.join(CACHE_FILE_NAME), self)?)
    }

    /// Which cache this is.
    fn identity(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&json).to_hex()[..16].to_owned()
    }
}

/// What identifies the cache in a folder with all that its shards hold, for a run that learns from it.
///
/// # Errors
/// There is none, or a shard cannot be read.
pub fn identity(folder: &Path) -> Result<String> {
    let file = CacheFile::read(folder)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(file.identity().as_bytes());
    // One that is missing is told when the cache is opened.
    let shards =
        (0..file.shards).map(|number| shard_path(folder, number)).take_while(|path| aludel_files::is_there(path));
    for shard in shards {
        hasher.update(&shard::hash(&shard)?);
    }
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}

/// Identifies the teacher's files, its adapter's, and how its weights are held.
fn teacher_fingerprint(recipe: &Recipe, watch: &dyn Fn() -> ControlFlow<()>) -> Result<String> {
    let settings = &recipe.distill;
    let adapter = settings.teacher_adapter.as_deref();
    let files = model_identity::fingerprint_watched(settings.teacher_model()?, adapter, &|_| watch())?;
    Ok(format!("{files} {:?} {}", settings.teacher_dtype, settings.teacher_quantize.name()).to_lowercase())
}

/// Where a shard lies.
fn shard_path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("shard-{number:05}.bin"))
}
