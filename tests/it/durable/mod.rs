//! Each k-th call by which the programs make things durable fails: by a kill, an I/O error, a full disk, a short
//! write. Whatever fails, a device stays the same one, nothing that was committed is lost or counted twice, and no
//! start needs a hand.
//!
//! A walk that is not disturbed lists the calls in their order (`bbt_tests::failing_calls`); then each chosen one
//! fails once, on a walk of its own.

use std::{
    fmt::Display,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use bbt_tests::{
    chance::{FIRST_SEED, first_seed, number},
    failing_calls::Failure,
};

mod agent;
mod controller;

/// Every how many calls one fails, in each way; a variable of this name chooses otherwise.
const EVERY: &str = "BBT_TEST_DURABLE_EVERY";
/// Walks side by side: most of them wait, for a disk to be tried again or for a program's start.
const WALKERS: usize = 4;

/// A place to fail at, and how.
type Chosen<Point> = (Point, Failure);

/// The k-th calls, from one that the seed chooses; without a k in the environment as many for each failure as
/// `walks` says.
fn choose<Point: Clone>(points: &[Point], walks: [usize; 4], test: &str) -> Result<Vec<Chosen<Point>>> {
    let seed = first_seed()?;
    let asked = number(EVERY)?.map(|every| usize::try_from(every).unwrap_or(usize::MAX).max(1));
    let mut chosen = Vec::new();
    for (failure, count) in Failure::ALL.into_iter().zip(walks) {
        let every = asked.unwrap_or_else(|| points.len().div_ceil(count));
        println!("{failure:?} at every {every}. of {} durable calls", points.len());
        let first = (seed as usize).wrapping_add(failure as usize) % every;
        chosen.extend(points.iter().skip(first).step_by(every).map(|point| (point.clone(), failure)));
    }
    println!(
        "seed {seed}; again: {FIRST_SEED}={seed} cargo test -p bbt-tests --test it {test}, with {EVERY}=1 all of them"
    );
    Ok(chosen)
}

/// Makes a walk for each of the chosen, some at a time; what came of them, in no order.
fn walk_all<Point, Walked>(
    chosen: &[Chosen<Point>],
    walk: impl Fn(usize, &Point, Failure) -> Result<Walked> + Sync,
) -> Result<Vec<(Failure, String, Walked)>>
where
    Point: Display + Sync,
    Walked: Send,
{
    let next = AtomicUsize::new(0);
    let walked = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let walkers: Vec<_> = (0..WALKERS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let no = next.fetch_add(1, Ordering::Relaxed);
                        let Some((point, failure)) = chosen.get(no) else { return anyhow::Ok(()) };
                        let place = format!("{failure:?} at {point}");
                        let one = walk(no, point, *failure).with_context(|| place.clone())?;
                        walked.lock().expect("a walker panicked").push((*failure, place, one));
                    }
                })
            })
            .collect();
        walkers.into_iter().try_for_each(|walker| walker.join().expect("a walker panicked"))
    })?;
    Ok(walked.into_inner().expect("a walker panicked"))
}
