//! The power goes at any moment, and of what was not synced the disk has any part: whatever was said to be kept is
//! there, nothing is there twice, and nobody refuses to start.
//!
//! Rounds of chance on the real spool and the real store, each recorded call by call (`bbt_tests::crash_vfs`); then
//! folders are composed as a power cut may leave them, and opened as at the next start. That these tests can
//! fail is shown by two planted faults: a disk that lies about syncs, and answers given before the sync.

use std::fmt;

use anyhow::{Context, Result, bail};
use bbt_tests::{
    chance::{Chance, FIRST_SEED, first_seed, number},
    crash_vfs::{Moment, Recording},
};

mod spool;
mod store;

/// How many states are looked at, of the spool and the store together.
const STATES: &str = "BBT_TEST_CRASH_STATES";
const STATES_IN_A_CHECK: u64 = 2_000;
/// States of one recording; then another one, with the next seed.
const ROUND_STATES: u64 = 100;
/// States within which a planted fault must be found: it shows in one of some ten.
const PLANTED_STATES: u64 = 1_000;

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A sync is without effect, as with `PRAGMA synchronous=OFF`.
    LyingDisk,
    /// It is said that something is kept before it is synced.
    EarlyAnswer,
}

impl Planted {
    fn apply(self, recording: &Recording) {
        if self == Self::LyingDisk {
            recording.ignore_syncs();
        }
    }

    /// From when on something counts as kept that was just said to be.
    fn kept_from(self, recording: &Recording) -> Moment {
        if self == Self::EarlyAnswer { recording.before_last_sync() } else { recording.now() }
    }
}

/// A promise that a state breaks, as told from a fault of the test itself.
#[derive(Debug)]
struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// Runs rounds until half of the states that are asked for were looked at.
fn rounds(test: &str, round: impl Fn(&mut Chance, u64, Planted) -> Result<()>) -> Result<()> {
    let asked = number(STATES)?.unwrap_or(STATES_IN_A_CHECK);
    let mut left = asked.div_ceil(2);
    let mut seed = first_seed()?;
    println!(
        "from seed {seed}; again: {FIRST_SEED}={seed} {STATES}={asked} cargo test -p bbt-tests --test it {test}"
    );
    while left > 0 {
        let states = left.min(ROUND_STATES);
        round(&mut Chance::new(seed), states, Planted::Nothing)
            .with_context(|| format!("in the round with seed {seed}"))?;
        left -= states;
        seed += 1;
    }
    Ok(())
}

/// The same rounds with a planted fault must find a broken promise.
fn must_find(planted: Planted, round: impl Fn(&mut Chance, u64, Planted) -> Result<()>) -> Result<()> {
    let seed = first_seed()?;
    for no in 0..PLANTED_STATES / ROUND_STATES {
        match round(&mut Chance::new(seed + no), ROUND_STATES, planted) {
            Ok(()) => {}
            Err(found) if found.is::<Broken>() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    bail!("{planted:?} was not found in {PLANTED_STATES} states from seed {seed} on")
}

/// A moment for the power to go: mostly when there is something to lose.
fn moment(recording: &Recording, begun: Moment, chance: &mut Chance) -> Moment {
    /// One cut in so many comes while the database is made.
    const AT_THE_BEGINNING_ONCE_IN: u64 = 20;
    let from = if chance.once_in(AT_THE_BEGINNING_ONCE_IN) { 0 } else { begun };
    chance.within(from as u64..recording.now() as u64 + 1) as Moment
}

fn keep(promise: Result<()>) -> Result<()> {
    promise.map_err(|error| Broken(format!("{error:#}")).into())
}
