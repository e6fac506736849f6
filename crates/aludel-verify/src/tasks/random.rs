//! A small generator of random numbers (SplitMix64, Steele, Lea and Flood 2014), so that a seed names the same problems
//! on every machine and in every version.

/// A stream of random numbers.
pub(super) struct Random(u64);

impl Random {
    /// A stream that depends on a seed and a name, so that families with the same seed are not correlated.
    pub(super) fn new(seed: u64, name: &str) -> Random {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Random(u64::from_le_bytes(bytes))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            // The remainder's bias is below 2⁻⁴⁰ for decks of any size that fits in memory.
            let chosen = (self.next() % (last as u64 + 1)) as usize;
            items.swap(last, chosen);
        }
    }
}

/// Choices of wording that hang on one number: each draw uses up a part of it.
pub(super) struct Choices(u64);

impl Choices {
    pub(super) fn new(wording: u64) -> Choices {
        Choices(wording)
    }

    /// Consecutive wordings differ in their first choice, the later ones are scattered.
    pub(super) fn pick<'a, T>(&mut self, options: &'a [T]) -> &'a T {
        let chosen = (self.0 % options.len() as u64) as usize;
        self.0 = mix(self.0);
        &options[chosen]
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
