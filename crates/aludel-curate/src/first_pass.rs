//! The first pass: rows are read in order, judged one by one on all threads, and compared with the rows before them in order,
//! so that the outcome depends on no thread.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::contamination::EvalNgrams;
use super::duplicates::Comparison;
use super::near_duplicates::{BandLayout, Sketch};
use super::verdicts::{CheckedAnswer, Verdicts};
use super::{
    CountTokens, DroppedRow, JudgedRow, Options, Progress, Reason, Verify, completeness, drop_row, repetition,
};
use crate::Error;
use aludel_data::column_names::{is_among, same};
use aludel_data::dataset::{self, Content, PromptKey};
use aludel_data::trace::{Trace, TraceSource, UnusableTrace, learnt, share_read};
use aludel_verify::Verdict;

/// Maximum bytes and rows of a batch.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_ROWS: usize = 2048;

/// Number of written rows between two progress reports.
pub(super) const TOLD_ROWS: usize = 256;
/// Time between two progress reports of judging: a row takes a microsecond, or minutes.
const TOLD_APART_MS: u64 = 100;

/// What the first pass found.
pub(super) struct FirstPassResult {
    pub(super) rows: Vec<JudgedRow>,
    /// Names of the sources, in the order in which they came up.
    pub(super) sources: Vec<String>,
    /// Rows that had to be tokenised to know their length.
    pub(super) tokenised: u64,
    /// Rows that a column gives another weight in training than 1, by column.
    pub(super) weighted: BTreeMap<String, u64>,
    /// Non-empty columns that are not used.
    pub(super) columns_not_used: Vec<String>,
    /// Columns that are read.
    pub(super) columns_used: dataset::ColumnsUsed,
}

pub(super) fn judge(
    source: &dyn TraceSource,
    options: &Options,
    tokens: Option<&dyn CountTokens>,
    pool: &ThreadPool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<FirstPassResult, Error> {
    let meter = ProgressMeter::new();
    let filters = Filters::new(options, tokens)?;
    let mut comparison = Comparison::new(options);
    let mut sources = Sources::default();
    let mut rows = Vec::new();
    let (mut columns_not_used, mut columns_used) = (Vec::new(), dataset::ColumnsUsed::default());
    let mut weighted = BTreeMap::new();
    for_each_batch(
        source,
        pool,
        &meter,
        |trace| {
            let judged = filters.judge(trace);
            meter.judged(source, progress);
            judged
        },
        |trace, judged| {
            let (mut row, sketch) = judged?;
            if trace.content.is_ok() {
                let used = &mut columns_used;
                dataset::add_unused(&mut columns_not_used, used, &trace.columns, |name| is_used(options, name));
            }
            if let Some(column) = &trace.weighted_by {
                *weighted.entry(column.clone()).or_default() += 1;
            }
            row.source = sources.number_of(trace, options.source_column.as_deref());
            let number = rows.len() as u32;
            if row.is_kept() {
                comparison.compare(number, &mut row, sketch);
            }
            rows.push(row);
            Ok(())
        },
    )?;
    let tokenised = filters.tokenised.into_inner();
    Ok(FirstPassResult { rows, sources: sources.names, tokenised, weighted, columns_not_used, columns_used })
}

fn has_tools(content: &Content) -> bool {
    let messages = match content {
        Content::Messages(messages) => messages.as_slice(),
        Content::Text(_) => &[],
    };
    messages.iter().any(|message| !message.tools.is_empty() || !message.tool_calls.is_empty())
}

/// How many rows are read and judged. A batch may take minutes, where a command or a long solution is compared, so that rows are told as
/// they are judged and not batch by batch.
pub(super) struct ProgressMeter {
    read: AtomicU64,
    is_all_read: AtomicBool,
    judged: AtomicU64,
    began: Instant,
    /// Milliseconds from the beginning to the next progress report.
    told_next: AtomicU64,
}

impl ProgressMeter {
    pub(super) fn new() -> ProgressMeter {
        let none = || AtomicU64::new(0);
        ProgressMeter {
            read: none(),
            is_all_read: AtomicBool::new(false),
            judged: none(),
            began: Instant::now(),
            told_next: none(),
        }
    }

    fn judged(&self, source: &dyn TraceSource, progress: &(dyn Fn(Progress) + Sync)) {
        let rows = self.judged.fetch_add(1, Ordering::Relaxed) + 1;
        let (now, due) = (self.began.elapsed().as_millis() as u64, self.told_next.load(Ordering::Relaxed));
        let next = now + TOLD_APART_MS;
        if now < due || self.told_next.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let read = self.read.load(Ordering::Relaxed).max(1);
        let is_all_read = self.is_all_read.load(Ordering::Relaxed);
        let share_read = if is_all_read { Some(1.0) } else { share_read(source) };
        let share = share_read.map(|share| (share * rows as f64 / read as f64).min(1.0));
        progress(Progress { writing: false, rows, rows_total: is_all_read.then_some(read), share });
    }
}

/// Whether a column is what the verifier looks at, in any spelling as there, or names the sources.
fn is_used(options: &Options, name: &str) -> bool {
    let is_verified = || same(name, "verifier") || is_among(&options.gold, name) || dataset::may_be_asked(name);
    options.source_column.as_deref() == Some(name) || (options.verify != Verify::Off && is_verified())
}

/// Maps traces on all threads, the next batch being read meanwhile, and takes the outcomes in order.
pub(super) fn for_each_batch<T: Send>(
    source: &dyn TraceSource,
    pool: &ThreadPool,
    meter: &ProgressMeter,
    map: impl Fn(&Trace) -> T + Sync,
    mut take: impl FnMut(&Trace, T) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut traces = source.traces()?;
    let mut batch = read_batch(&mut traces, meter)?;
    while !batch.is_empty() {
        let (next, mapped) = pool.install(|| {
            rayon::join(|| read_batch(&mut traces, meter), || batch.par_iter().map(&map).collect::<Vec<T>>())
        });
        for (trace, outcome) in batch.iter().zip(mapped) {
            take(trace, outcome)?;
        }
        batch = next?;
    }
    Ok(())
}

fn read_batch(
    traces: &mut (dyn Iterator<Item = Result<Trace, aludel_data::Error>> + Send),
    meter: &ProgressMeter,
) -> Result<Vec<Trace>, Error> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while bytes < BATCH_BYTES && batch.len() < BATCH_ROWS {
        let Some(trace) = traces.next().transpose()? else {
            meter.is_all_read.store(true, Ordering::Relaxed);
            break;
        };
        meter.read.fetch_add(1, Ordering::Relaxed);
        bytes += trace.content.as_ref().map_or(0, |content| learnt(content).map(str::len).sum());
        batch.push(trace);
    }
    Ok(batch)
}

/// The filters that look at one row alone.
struct Filters<'a> {
    options: &'a Options,
    tokens: Option<&'a dyn CountTokens>,
    evaluations: Option<EvalNgrams>,
    verdicts: Verdicts<'a>,
    layout: Option<BandLayout>,
    tokenised: AtomicU64,
}

impl<'a> Filters<'a> {
    fn new(options: &'a Options, tokens: Option<&'a dyn CountTokens>) -> Result<Filters<'a>, Error> {
        let Options { evaluations, evaluation_ngram, evaluation_overlap, .. } = options;
        let evaluations = match evaluations.is_empty() {
            true => None,
            false => Some(EvalNgrams::read(evaluations, *evaluation_ngram, *evaluation_overlap)?),
        };
        let verdicts = Verdicts::new(&options.verifier, &options.gold)?;
        let layout = options.near_duplicates.map(BandLayout::for_threshold);
        Ok(Filters { options, tokens, evaluations, verdicts, layout, tokenised: AtomicU64::new(0) })
    }

    /// A row's judgement, and what it is compared with others by, if it is kept so far.
    ///
    /// # Errors
    /// A verifier command that cannot be started.
    fn judge(&self, trace: &Trace) -> Result<(JudgedRow, Option<Sketch>), Error> {
        let mut row = JudgedRow {
            hash: 0,
            prompt: PromptKey(0),
            verdict: None,
            learnt_bytes: 0,
            source: 0,
            hides_reasoning: trace.hides_reasoning,
            ended_by_mark: trace.ended_by_mark,
            has_tools: trace.content.as_ref().is_ok_and(has_tools),
            is_claim_untrue: false,
            dropped: None,
        };
        let content = match &trace.content {
            Ok(content) => content,
            Err(UnusableTrace::Incomplete(detail)) => {
                drop_row(&mut row, Reason::Incomplete, detail.clone());
                return Ok((row, None));
            }
            Err(UnusableTrace::ZeroWeight(detail)) => {
                drop_row(&mut row, Reason::ZeroWeight, detail.clone());
                return Ok((row, None));
            }
            Err(UnusableTrace::SetAside(mark)) => {
                drop_row(&mut row, Reason::SetAside, mark.clone());
                return Ok((row, None));
            }
            Err(UnusableTrace::Unreadable(detail)) => {
                drop_row(&mut row, Reason::Unreadable, detail.clone());
                return Ok((row, None));
            }
        };
        row.hash = hash_of(content);
        row.prompt = PromptKey::of(content);
        row.learnt_bytes = learnt(content).map(str::len).sum::<usize>().try_into().unwrap_or(u32::MAX);
        row.dropped = self.flaw(content, trace).map(Box::new);
        if row.is_kept() && self.options.verify != Verify::Off {
            let found = self.verdicts.on(content, &trace.columns)?;
            row.verdict = found.as_ref().map(|found| found.verdict);
            row.dropped = self.verdict_flaw(found).map(Box::new);
        }
        if let Some(mark) = trace.called_wrong.as_ref().filter(|_| row.is_kept()) {
            row.is_claim_untrue = row.verdict == Some(Verdict::Right);
            if !row.is_claim_untrue {
                drop_row(&mut row, Reason::SetAside, mark.clone());
            }
        }
        let layout = self.layout.filter(|_| row.is_kept());
        let sketch = layout.and_then(|layout| Sketch::of(content, self.options.near_ngram, layout));
        Ok((row, sketch))
    }

    /// The first filter that a row fails by itself.
    fn flaw(&self, content: &Content, trace: &Trace) -> Option<DroppedRow> {
        let Options { complete, loops, languages, .. } = self.options;
        let as_reason = |reason: Reason| move |detail: String| DroppedRow { reason, detail };
        let completeness = complete.then(|| completeness::flaw(content, &trace.columns)).flatten();
        completeness
            .or_else(|| loops.then(|| repetition::flaw(content)).flatten().map(as_reason(Reason::Degenerate)))
            .or_else(|| {
                let flaw = if languages.is_any() { None } else { languages.flaw(content) };
                flaw.map(as_reason(Reason::Language))
            })
            .or_else(|| self.length_flaw(content).map(as_reason(Reason::Length)))
            .or_else(|| self.evaluations.as_ref()?.flaw(content).map(as_reason(Reason::Contaminated)))
    }

    fn length_flaw(&self, content: &Content) -> Option<String> {
        let tokens = self.tokens.filter(|_| !self.options.tokens.is_any())?;
        let measured = self.options.tokens.measure(content, tokens);
        self.tokenised.fetch_add(u64::from(measured.tokenised), Ordering::Relaxed);
        measured.flaw
    }

    fn verdict_flaw(&self, found: Option<CheckedAnswer>) -> Option<DroppedRow> {
        if self.options.verify != Verify::Filter {
            return None;
        }
        let (reason, detail) = match found {
            Some(CheckedAnswer { verdict: Verdict::Wrong | Verdict::NoAnswer, detail }) => (Reason::Wrong, detail),
            Some(CheckedAnswer { verdict: Verdict::Undecided, detail }) => (Reason::Undecided, detail),
            None if self.options.require_verified => (Reason::Unverified, "no right answer is known".to_string()),
            _ => return None,
        };
        Some(DroppedRow { reason, detail })
    }
}

/// A hash of all that a row says; runs of white space count as one space.
pub(super) fn hash_of(content: &Content) -> u128 {
    let mut hasher = blake3::Hasher::new();
    let mut absorb = |tag: &str, text: &str| {
        hasher.update(tag.as_bytes()).update(&[0xff]);
        for word in text.split_ascii_whitespace() {
            hasher.update(word.as_bytes()).update(b" ");
        }
        hasher.update(&[0xff]);
    };
    match content {
        Content::Text(text) => absorb("text", text),
        Content::Messages(messages) => {
            for message in messages {
                absorb(message.role.as_str(), &message.content);
                if let Some(reasoning) = &message.reasoning {
                    absorb("reasoning", reasoning);
                }
                for call in &message.tool_calls {
                    absorb("call", &call.name);
                    absorb("arguments", call.arguments.text());
                }
                for tool in &message.tools {
                    absorb("tool definition", &tool.definition().to_string());
                }
                if message.weight != 1.0 {
                    absorb("weight", &message.weight.to_string());
                }
            }
        }
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(bytes)
}

/// Sources by name.
#[derive(Default)]
struct Sources {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Sources {
    fn number_of(&mut self, trace: &Trace, column: Option<&str>) -> u32 {
        let named = column.and_then(|column| trace.columns.get(column)?.text().ok().flatten());
        let name = named.map_or_else(|| file_source(&trace.origin.file), |name| name.into_owned());
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}

/// A file's name without what says its kind: `math` for `data/math.jsonl.gz`.
fn file_source(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kinds = [".gz", ".zst", ".jsonl", ".json", ".ndjson", ".parquet", ".db", ".sqlite"];
    let mut bare = name.as_ref();
    while let Some(shorter) = kinds.iter().find_map(|kind| bare.strip_suffix(kind)).filter(|rest| !rest.is_empty()) {
        bare = shorter;
    }
    bare.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::off;
    use super::*;

    #[test]
    fn columns_of_verdicts_are_used_in_any_spelling() {
        let gold = vec!["ground_truth".to_owned()];
        let options = Options { verify: Verify::Label, gold, source_column: Some("from".to_owned()), ..off() };
        for name in ["ground_truth", "Ground Truth", "groundTruth", "Verifier", "verifier", "from"] {
            assert!(is_used(&options, name), "{name}");
        }
        for name in ["gold", "truth", "From"] {
            assert!(!is_used(&options, name), "{name}");
        }
        assert!(!is_used(&Options { verify: Verify::Off, ..options }, "Ground Truth"));
    }
}
