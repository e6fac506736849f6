//! Memory: the total of a run, and the available memory. Arenas and weights are planned, the rest of the process is measured if the system
//! reports it; otherwise nothing is predicted and nothing is bounded.

use crate::auto_max_length::{self, Bounds, Lengths};
use crate::batch::MaxPassTokens;
use crate::learner::Learner;
use crate::own_answers;
use crate::settings::{MaxLength, Recipe};

/// Of the memory that is there, what a run may plan with.
const USABLE_SHARE: f64 = 0.9;

/// The resident memory of this process, in bytes.
pub fn resident() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// The most resident memory that this process ever held, in bytes.
pub fn peak() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// The memory that is there for more, in bytes: the system's, or what is left of a limit on the process's group.
pub fn available() -> Option<u64> {
    let system = kilobytes("/proc/meminfo", "MemAvailable:");
    let group = left_of_group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current").or_else(|| {
        left_of_group("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes")
    });
    system.into_iter().chain(group).min()
}

/// What is left below a limit; none where there is no limit.
fn left_of_group(limit: &str, used: &str) -> Option<u64> {
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    Some(number(limit)?.saturating_sub(number(used)?))
}

fn kilobytes(path: &str, key: &str) -> Option<u64> {
    let text = read(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? * 1024)
}

fn read(path: &str) -> Option<String> {
    aludel_files::read_of_system(path).ok()
}

/// What is held of the adapter while a checkpoint is written: once as numbers and once as bytes.
const COPIES: u64 = 2;

/// What training adds to the memory of a process in which a learner was loaded, or outlined, and not used yet.
pub struct TrainingMemory<'a> {
    learner: &'a mut Learner,
    /// Of weights that were only outlined, in bytes. Their files do not count: each tensor's memory is given back once it was read.
    weights: u64,
    tokens_per_pass: usize,
    /// Rows of which the student writes the answers itself at a time; none where it does not.
    rows_answered: usize,
}

impl<'a> TrainingMemory<'a> {
    /// Of a learner that is loaded, and whose moments are restored if the run goes on.
    pub fn of_loaded(learner: &'a mut Learner, is_restored: bool, recipe: &Recipe) -> TrainingMemory<'a> {
        learner.touch(is_restored);
        TrainingMemory::new(learner, 0, recipe)
    }

    /// Of a learner that is outlined: its weights will be there too.
    pub fn of_outlined(learner: &'a mut Learner, recipe: &Recipe) -> TrainingMemory<'a> {
        learner.touch(false);
        let weights = learner.weight_bytes() as u64;
        TrainingMemory::new(learner, weights, recipe)
    }

    fn new(learner: &'a mut Learner, weights: u64, recipe: &Recipe) -> TrainingMemory<'a> {
        let (settings, is_on_policy) = (&recipe.train, recipe.distill.is_on_policy());
        let rows_answered = if is_on_policy { settings.rows_per_step() } else { 0 };
        TrainingMemory { learner, weights, tokens_per_pass: settings.tokens_per_pass, rows_answered }
    }

    /// Bytes that a run adds to the memory of the process if these are its largest passes.
    pub fn bytes(&mut self, largest: MaxPassTokens) -> u64 {
        let parameters = self.learner.trained_count() as u64;
        let arenas = self.learner.pass_bytes(largest) as u64;
        let answers = match self.rows_answered {
            0 => 0,
            rows => self.learner.cache_bytes(own_answers::cache_tokens(largest.train, rows)) as u64,
        };
        self.weights + arenas + answers + COPIES * 4 * parameters
    }

    /// Bytes that the process will hold at its peak if these are its largest passes; none where the system does not tell what it holds.
    pub fn process_bytes(&mut self, largest: MaxPassTokens) -> Option<u64> {
        let growth = self.bytes(largest);
        resident().map(|resident| resident + growth).max(peak())
    }

    /// Whether the available memory suffices for rows of `longest` tokens; true where the system does not tell.
    pub fn fits(&mut self, longest: usize) -> bool {
        let most = longest.max(self.tokens_per_pass);
        let needed = self.bytes(MaxPassTokens { train: most, evaluation: 0 });
        available().is_none_or(|available| needed as f64 <= USABLE_SHARE * available as f64)
    }

    /// What `train.max_length` becomes for rows of these lengths, and what bounds it.
    pub fn settle(&mut self, max_length: MaxLength, lengths: &Lengths, positions: usize) -> (usize, Bounds) {
        let settled = auto_max_length::settle(max_length, lengths, positions, &mut |tokens| self.fits(tokens));
        let memory = if self.fits(positions) {
            None
        } else {
            Some(auto_max_length::longest_that_fits(positions, &mut |tokens| self.fits(tokens)))
        };
        (settled, Bounds { positions, memory })
    }
}
