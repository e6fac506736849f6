//! What is stored of a teacher for one token: packed bits, as many for every token of a cache, so that a token is found by its number.
//!
//! - The k likeliest tokens: k ids, each of as many bits as the vocabulary takes; k log-probabilities below 0 in steps of 1/512 nat, of
//!   14 bits, where the largest value stands for a token that is absent; and the probability of all other tokens as f32. Read back,
//!   the probabilities are scaled so that they and the rest sum to 1, which undoes most of the rounding of the likely ones. With a
//!   vocabulary of 2^18 tokens and k = 64 these are 260 bytes.
//! - N draws: their ids. They are drawn as often as the teacher would say them, so that each weighs 1/N.

use serde::{Deserialize, Serialize};

/// The most tokens, and draws, that are stored of a token.
const MOST_LISTED: usize = 256;
/// See [`MOST_LISTED`].
const MOST_DRAWS: usize = 1024;

/// Bits of a log-probability, and its steps in a nat.
const LOG_PROB_BITS: u32 = 14;
const STEPS: f32 = 512.0;
const ABSENT: u64 = (1 << LOG_PROB_BITS) - 1;

/// Which parts a record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLayout {
    /// Tokens that ids are of: the vocabulary that teacher and student share.
    pub vocab: usize,
    /// The likeliest tokens; 0 for none.
    pub top_k: usize,
    /// Draws; 0 for none.
    pub samples: usize,
}

impl RecordLayout {
    /// Refuses a layout that no build writes for a student with `student_vocab` tokens.
    ///
    /// # Errors
    /// Why.
    pub fn check(&self, student_vocab: usize) -> Result<(), String> {
        let RecordLayout { vocab, top_k, samples } = *self;
        let is_sound = (1..=student_vocab).contains(&vocab)
            && top_k <= MOST_LISTED.min(vocab)
            && samples <= MOST_DRAWS
            && (top_k, samples) != (0, 0);
        match is_sound {
            true => Ok(()),
            false => Err(format!(
                "it says that {top_k} of {vocab} tokens and {samples} draws are stored of each token, which this version does not \
                 write for this student; write the cache again in another folder"
            )),
        }
    }

    fn id_bits(&self) -> u32 {
        usize::BITS - self.vocab.saturating_sub(1).leading_zeros()
    }

    fn top_k_bytes(&self) -> usize {
        let bits = self.top_k * (self.id_bits() + LOG_PROB_BITS) as usize;
        if self.top_k == 0 { 0 } else { bits.div_ceil(8) + size_of::<f32>() }
    }

    fn samples_bytes(&self) -> usize {
        (self.samples * self.id_bits() as usize).div_ceil(8)
    }

    /// Bytes of a record.
    pub fn bytes(&self) -> usize {
        self.top_k_bytes() + self.samples_bytes()
    }

    /// Appends the likeliest tokens with the logarithms of their probabilities.
    pub fn write_top_k(&self, ids: &[u32], log_probs: &[f32], record: &mut Vec<u8>) {
        let mass: f64 = log_probs.iter().map(|&log_prob| f64::from(log_prob).exp()).sum();
        let mut bits = BitWriter::new(record);
        ids.iter().for_each(|&id| bits.put(u64::from(id), self.id_bits()));
        for &log_prob in log_probs {
            let steps = (-log_prob * STEPS).round().max(0.0);
            bits.put(if steps < ABSENT as f32 { steps as u64 } else { ABSENT }, LOG_PROB_BITS);
        }
        bits.finish();
        record.extend(((1.0 - mass).max(0.0) as f32).to_le_bytes());
    }

    /// Appends drawn tokens.
    pub fn write_samples(&self, ids: &[u32], record: &mut Vec<u8>) {
        let mut bits = BitWriter::new(record);
        ids.iter().for_each(|&id| bits.put(u64::from(id), self.id_bits()));
        bits.finish();
    }

    /// Appends the likeliest tokens of a record to two lists. An id outside the vocabulary gives `None`.
    pub fn read_top_k(&self, record: &[u8], ids: &mut Vec<u32>, log_probs: &mut Vec<f32>) -> Option<()> {
        let (packed, rest) = record[..self.top_k_bytes()].split_at(self.top_k_bytes() - size_of::<f32>());
        let mut bits = BitReader::new(packed);
        self.read_ids(&mut bits, self.top_k, ids)?;
        let first = log_probs.len();
        for _ in 0..self.top_k {
            let steps = bits.take(LOG_PROB_BITS);
            log_probs.push(if steps == ABSENT { f32::NEG_INFINITY } else { -(steps as f32) / STEPS });
        }
        let rest = f64::from(f32::from_le_bytes(rest.try_into().ok()?));
        let read = &mut log_probs[first..];
        let mass: f64 = read.iter().map(|&log_prob| f64::from(log_prob).exp()).sum();
        let factor = ((1.0 - rest) / mass).ln();
        read.iter_mut().for_each(|log_prob| *log_prob = (f64::from(*log_prob) + factor).min(0.0) as f32);
        ((0.0..=1.0).contains(&rest) && factor.is_finite()).then_some(())
    }

    /// Appends the drawn tokens of a record to a list. An id outside the vocabulary gives `None`.
    pub fn read_samples(&self, record: &[u8], ids: &mut Vec<u32>) -> Option<()> {
        let start = self.top_k_bytes();
        self.read_ids(&mut BitReader::new(&record[start..start + self.samples_bytes()]), self.samples, ids)
    }

    fn read_ids(&self, bits: &mut BitReader<'_>, count: usize, ids: &mut Vec<u32>) -> Option<()> {
        for _ in 0..count {
            let id = bits.take(self.id_bits());
            ids.push(u32::try_from(id).ok().filter(|&id| (id as usize) < self.vocab)?);
        }
        Some(())
    }
}

/// Values of some bits each, the lowest bit first.
struct BitWriter<'a> {
    into: &'a mut Vec<u8>,
    held: u64,
    count: u32,
}

impl BitWriter<'_> {
    fn new(into: &mut Vec<u8>) -> BitWriter<'_> {
        BitWriter { into, held: 0, count: 0 }
    }

    /// Appends the lowest `bits` of a value, up to 32.
    fn put(&mut self, value: u64, bits: u32) {
        self.held |= value << self.count;
        self.count += bits;
        while self.count >= 8 {
            self.into.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    fn finish(self) {
        if self.count > 0 {
            self.into.push(self.held as u8);
        }
    }
}

struct BitReader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    held: u64,
    count: u32,
}

impl BitReader<'_> {
    fn new(bytes: &[u8]) -> BitReader<'_> {
        BitReader { bytes: bytes.iter(), held: 0, count: 0 }
    }

    /// The next value; zeros follow the last byte.
    fn take(&mut self, bits: u32) -> u64 {
        while self.count < bits {
            self.held |= u64::from(self.bytes.next().copied().unwrap_or(0)) << self.count;
            self.count += 8;
        }
        let value = self.held & ((1 << bits) - 1);
        self.held >>= bits;
        self.count -= bits;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: RecordLayout = RecordLayout { vocab: 151_936, top_k: 64, samples: 12 };

    #[test]
    fn a_token_takes_as_many_bytes_as_it_may() {
        let of = |layout: RecordLayout| layout.bytes();
        assert_eq!(of(RecordLayout { samples: 0, ..LAYOUT }), 260);
        assert_eq!(of(RecordLayout { top_k: 0, ..LAYOUT }), 27);
        assert_eq!(of(LAYOUT), 287);
    }

    #[test]
    fn what_is_written_is_read_back_to_its_precision() {
        let ids: Vec<u32> = (0..64).map(|i| (i * 2_371 + 7) % 151_936).collect();
        for likeliest in [0.3f64, 0.999_99, 0.016] {
            // The rest halves from token to token.
            let probabilities: Vec<f64> =
                std::iter::once(likeliest).chain((1..64).map(|i| (1.0 - likeliest) * 0.5f64.powi(i))).collect();
            let log_probs: Vec<f32> = probabilities.iter().map(|p| p.ln() as f32).collect();
            let mut record = Vec::new();
            LAYOUT.write_top_k(&ids, &log_probs, &mut record);
            LAYOUT.write_samples(&ids[..12], &mut record);
            assert_eq!(record.len(), LAYOUT.bytes());
            let (mut read_ids, mut read, mut samples) = (vec![], vec![], vec![]);
            LAYOUT.read_top_k(&record, &mut read_ids, &mut read).unwrap();
            LAYOUT.read_samples(&record, &mut samples).unwrap();
            assert_eq!((&read_ids, &samples[..]), (&ids, &ids[..12]));
            let present = probabilities.iter().zip(&read).filter(|(_, log_prob)| log_prob.is_finite());
            let kl: f64 = present.clone().map(|(p, &log_prob)| p * (p.ln() - f64::from(log_prob))).sum();
            assert!(kl.abs() < 2e-6, "{likeliest}: {kl}");
            let tail = 1.0 - present.map(|(_, &log_prob)| f64::from(log_prob).exp()).sum::<f64>();
            let expected = 1.0 - probabilities.iter().sum::<f64>();
            assert!((tail - expected).abs() < 1e-6, "{likeliest}: {tail} {expected}");
        }
    }

    #[test]
    fn ids_outside_the_vocabulary_are_damage() {
        let mut record = vec![0xff; LAYOUT.bytes()];
        assert!(LAYOUT.read_samples(&record, &mut vec![]).is_none());
        assert!(LAYOUT.read_top_k(&record, &mut vec![], &mut vec![]).is_none());
        record.fill(0);
        assert!(LAYOUT.read_samples(&record, &mut vec![]).is_some());
    }
}
