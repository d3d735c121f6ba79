//! Chance that can be repeated: the same seed gives the same numbers.

use std::{env, ops::Range, time::Duration};

use anyhow::{Context, Result};

/// The variable that names the seed to begin with.
pub const FIRST_SEED: &str = "BBT_TEST_FIRST_SEED";
/// Without that variable any seed below this one: short enough to be typed again.
const SEEDS: u64 = 1_000_000;

/// The seed to begin with: the one that is asked for, else one that nobody chose.
pub fn first_seed() -> Result<u64> {
    Ok(match number(FIRST_SEED)? {
        Some(seed) => seed,
        None => uuid::Uuid::new_v4().as_u64_pair().1 % SEEDS,
    })
}

/// The number in an environment variable, if it is set.
pub fn number(variable: &str) -> Result<Option<u64>> {
    let Some(text) = env::var_os(variable) else { return Ok(None) };
    let parsed = text.to_str().and_then(|text| text.parse().ok());
    parsed.map(Some).with_context(|| format!("{variable} is {text:?}; set it to a whole number"))
}

/// A stream of numbers, by SplitMix64: one word of state, and every seed is a good one.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for the part `no` of a test, which runs beside others.
    pub fn part(seed: u64, no: usize) -> Self {
        let mut chance = Self(seed ^ (no as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03));
        Self(chance.draw())
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of the range, which is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start)
    }

    /// A span from the range of milliseconds.
    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_micros(self.within(range.start * 1_000..range.end * 1_000))
    }

    /// True once in `of` times.
    pub fn once_in(&mut self, of: u64) -> bool {
        self.within(0..of) == 0
    }

    /// 16 bytes for an id.
    pub fn id(&mut self) -> [u8; 16] {
        (u128::from(self.draw()) << 64 | u128::from(self.draw())).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_its_parts_differ() {
        let first = |mut chance: Chance| [chance.draw(), chance.within(5..9), chance.draw()];
        assert_eq!(first(Chance::new(7)), first(Chance::new(7)));
        assert_ne!(first(Chance::part(7, 0)), first(Chance::part(7, 1)));
        assert_ne!(first(Chance::part(7, 0)), first(Chance::part(8, 0)));
    }

    #[test]
    fn a_number_lies_within_its_range() {
        let mut chance = Chance::new(1);
        assert!((0..1_000).all(|_| (50..60).contains(&chance.within(50..60))));
    }
}
