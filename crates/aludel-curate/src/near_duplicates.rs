//! Near duplicates: rows whose prompt and reasoning share most of their word 5-grams. MinHash with locality-sensitive
//! hashing (Broder 1997) finds candidates without comparing all pairs; candidates are then compared by their n-grams
//! themselves, so that the threshold is one on the real Jaccard similarity.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::word_hashes::{distinct_runs, mixed};
use aludel_data::dataset::Content;
use aludel_data::trace::{learnt, questions, replies};

/// MinHash values of a row.
const BINS: usize = 256;

/// N-grams kept of a row for comparing; of longer rows a sample, chosen by hash and so the same in all rows.
const KEPT_NGRAMS: usize = 512;

/// A pair at the threshold is missed less often than this.
const MISS_PROBABILITY: f64 = 0.005;

/// What is remembered of a row.
pub(super) struct Sketch {
    bands: Vec<u64>,
    ngrams: Ngrams,
}

/// Hashes of n-grams in order, each once: those divisible by 2^`level`.
struct Ngrams {
    hashes: Box<[u32]>,
    level: u32,
}

/// The rows kept so far, to be searched for near duplicates of the next.
pub(super) struct MinHashIndex {
    threshold: f64,
    layout: BandLayout,
    /// The entry last made for a band's hash; an entry is a kept row times the number of bands, plus the band.
    last: HashMap<u64, u32, BuildHasherDefault<IdentityHasher>>,
    /// The entry before, for each entry.
    before: Vec<u32>,
    kept: Vec<KeptRow>,
}

struct KeptRow {
    row: u32,
    ngrams: Ngrams,
    /// The search that looked at it last.
    looked_at: u32,
}

/// How MinHash values are grouped: rows that agree in all values of one band are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BandLayout {
    bands: usize,
    values: usize,
}

const NONE: u32 = u32::MAX;

impl BandLayout {
    /// As many values in a band as the threshold permits: with s the similarity, b bands of r values agree somewhere
    /// with probability 1 − (1 − s^r)^b.
    pub(super) fn for_threshold(threshold: f64) -> BandLayout {
        let misses = |values: usize| (1.0 - threshold.powi(values as i32)).powi((BINS / values) as i32);
        let values = (1..=32).rev().find(|values| misses(*values) <= MISS_PROBABILITY).unwrap_or(1);
        BandLayout { bands: BINS / values, values }
    }
}

impl Sketch {
    /// The sketch of a row's prompt and reasoning (its answer where there is no reasoning), or `None` where it has no words.
    pub(super) fn of(content: &Content, ngram: usize, layout: BandLayout) -> Option<Sketch> {
        let reasoning: Vec<&str> = replies(content).filter_map(|turn| turn.reasoning.as_deref()).collect();
        let texts: Vec<&str> = match reasoning.is_empty() {
            true => questions(content).chain(learnt(content)).collect(),
            false => questions(content).chain(reasoning).collect(),
        };
        let ngrams = distinct_runs(texts, ngram);
        (!ngrams.is_empty())
            .then(|| Sketch { bands: bands(&min_hashes(&ngrams), layout), ngrams: Ngrams::sample(&ngrams) })
    }
}

impl MinHashIndex {
    pub(super) fn new(threshold: f64, layout: BandLayout) -> MinHashIndex {
        MinHashIndex { threshold, layout, last: HashMap::default(), before: Vec::new(), kept: Vec::new() }
    }

    /// The first kept row that is at least as similar as the threshold, and how similar it is; otherwise this row is kept.
    pub(super) fn find_or_keep(&mut self, row: u32, sketch: Sketch) -> Option<(u32, f64)> {
        for band in &sketch.bands {
            let mut entry = self.last.get(band).copied().unwrap_or(NONE);
            while entry != NONE {
                let other = &mut self.kept[entry as usize / self.layout.bands];
                entry = self.before[entry as usize];
                if std::mem::replace(&mut other.looked_at, row) == row {
                    continue;
                }
                let similarity = sketch.ngrams.jaccard(&other.ngrams);
                if similarity >= self.threshold {
                    return Some((other.row, similarity));
                }
            }
        }
        for band in &sketch.bands {
            let entry = self.before.len() as u32;
            self.before.push(self.last.insert(*band, entry).unwrap_or(NONE));
        }
        self.kept.push(KeptRow { row, ngrams: sketch.ngrams, looked_at: NONE });
        None
    }
}

impl Ngrams {
    fn sample(sorted: &[u64]) -> Ngrams {
        let level = (sorted.len() / KEPT_NGRAMS).checked_ilog2().map_or(0, |doublings| doublings + 1);
        let divides = |hash: &u32| *hash & ((1 << level) - 1) == 0;
        let mut hashes: Vec<u32> = sorted.iter().map(|hash| *hash as u32).filter(divides).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Ngrams { hashes: hashes.into(), level }
    }

    /// |A ∩ B| / |A ∪ B| of the n-grams that both samples would hold.
    fn jaccard(&self, other: &Ngrams) -> f64 {
        let mask = (1_u32 << self.level.max(other.level)) - 1;
        let mut left = self.hashes.iter().filter(|hash| **hash & mask == 0).peekable();
        let mut right = other.hashes.iter().filter(|hash| **hash & mask == 0).peekable();
        let (mut both, mut all) = (0_u32, 0_u32);
        loop {
            all += 1;
            match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if a == b => {
                    both += 1;
                    left.next();
                    right.next();
                }
                (Some(a), Some(b)) if a > b => _ = right.next(),
                (Some(_), _) => _ = left.next(),
                (None, Some(_)) => _ = right.next(),
                (None, None) => return f64::from(both) / f64::from((all - 1).max(1)),
            }
        }
    }
}

/// One permutation hashing with optimal densification (Shrivastava 2017): n-grams fall into bins, each keeps its least hash,
/// and an empty one borrows from the first that is not, tried in an order that depends on the bin alone.
fn min_hashes(ngrams: &[u64]) -> [u64; BINS] {
    let mut least = [u64::MAX; BINS];
    for &ngram in ngrams {
        let hash = mixed(ngram ^ 0x5851_f42d_4c95_7f2d);
        let bin = &mut least[hash as usize % BINS];
        *bin = (*bin).min(hash);
    }
    let mut values = least;
    for (bin, value) in values.iter_mut().enumerate().filter(|(_, value)| **value == u64::MAX) {
        let lenders = (1_u64..).map(|attempt| mixed(bin as u64 ^ (attempt << 32)) as usize % BINS);
        // There is at least one n-gram, so that some bin is full.
        *value = lenders.map(|lender| least[lender]).find(|lent| *lent != u64::MAX).unwrap_or(u64::MAX);
    }
    values
}

fn bands(values: &[u64; BINS], layout: BandLayout) -> Vec<u64> {
    let band =
        |(number, values): (usize, &[u64])| values.iter().fold(mixed(number as u64), |hash, value| mixed(hash ^ value));
    values.chunks_exact(layout.values).take(layout.bands).enumerate().map(band).collect()
}

/// Band hashes are spread already.
#[derive(Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mixed(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use aludel_text::message::Message;

    use super::*;

    const NGRAM: usize = 5;

    /// Numbers that look random.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 += 1;
            mixed(self.0) % bound
        }
    }

    fn random_words(random: &mut Random, count: usize) -> Vec<u64> {
        (0..count).map(|_| random.below(5_000)).collect()
    }

    fn content(words: &[u64]) -> Content {
        let text: Vec<String> = words.iter().map(|word| format!("w{word}")).collect();
        Content::Messages(vec![Message::user("?"), Message::assistant("42").with_reasoning(text.join(" "))])
    }

    /// The real similarity, without hashes.
    fn similarity(left: &[u64], right: &[u64]) -> f64 {
        let set = |words: &[u64]| words.windows(NGRAM).map(<[u64]>::to_vec).collect::<HashSet<_>>();
        let (left, right) = (set(left), set(right));
        left.intersection(&right).count() as f64 / left.union(&right).count() as f64
    }

    /// Plants edited copies and gives the share of those at least as similar as the threshold that are found, and the
    /// number that is found among those that are less similar by a margin.
    fn planted(threshold: f64, length: usize, edits: usize) -> (f64, usize) {
        let mut random = Random(7);
        let layout = BandLayout::for_threshold(threshold);
        let mut near = MinHashIndex::new(threshold, layout);
        let (mut wanted, mut found, mut wrong) = (0, 0, 0);
        for pair in 0..400 {
            let original = random_words(&mut random, length);
            let mut copy = original.clone();
            for _ in 0..random.below(edits as u64 + 1) {
                let place = random.below(length as u64) as usize;
                copy[place] = 10_000 + random.below(1_000);
            }
            let search = |near: &mut MinHashIndex, row, words| {
                near.find_or_keep(row, Sketch::of(&content(words), NGRAM, layout).unwrap())
            };
            assert_eq!(search(&mut near, 2 * pair, &original), None, "unrelated texts");
            let hit = search(&mut near, 2 * pair + 1, &copy).is_some_and(|(row, _)| row == 2 * pair);
            let similarity = similarity(&original, &copy);
            wanted += usize::from(similarity >= threshold);
            found += usize::from(hit && similarity >= threshold);
            wrong += usize::from(hit && similarity < threshold - 0.05);
        }
        assert!(wanted > 100, "{wanted} pairs above {threshold}");
        (found as f64 / wanted as f64, wrong)
    }

    #[test]
    fn planted_pairs_are_found_and_others_are_not() {
        for (threshold, length, edits) in
            [(0.8, 400, 15), (0.5, 400, 60), (0.9, 400, 10), (0.8, 40, 3), (0.7, 2_000, 125)]
        {
            let (recall, wrong) = planted(threshold, length, edits);
            assert!(recall >= 0.97, "recall {recall} at {threshold}, {length} words");
            assert_eq!(wrong, 0, "below {threshold}, {length} words");
        }
    }

    #[test]
    fn bands_fit_the_threshold() {
        for threshold in [0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0] {
            let BandLayout { bands, values } = BandLayout::for_threshold(threshold);
            let misses = (1.0 - threshold.powi(values as i32)).powi(bands as i32);
            assert!(misses <= MISS_PROBABILITY && bands * values <= BINS, "{threshold}: {bands} × {values}");
        }
        assert_eq!(BandLayout::for_threshold(0.8), BandLayout { bands: 32, values: 8 });
    }

    #[test]
    fn a_row_of_few_words_equals_itself_only() {
        let layout = BandLayout::for_threshold(0.8);
        let mut near = MinHashIndex::new(0.8, layout);
        let row = |text: &str| {
            Sketch::of(&Content::Messages(vec![Message::user(text), Message::assistant("4")]), NGRAM, layout)
        };
        assert_eq!(near.find_or_keep(0, row("two and two").unwrap()), None);
        assert_eq!(near.find_or_keep(1, row("two and three").unwrap()), None);
        assert_eq!(near.find_or_keep(2, row("Two, and two!").unwrap()), Some((0, 1.0)));
        assert!(Sketch::of(&Content::Text("…".into()), NGRAM, layout).is_none());
    }
}
