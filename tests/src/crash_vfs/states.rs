//! From notes to states: what is durable, and which of the rest is there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Act, Moment, Note, Recording, locked};
use crate::chance::Chance;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A folder after a power cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashState {
    /// The files by their names.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

/// Which of the changes that were not synced are on the disk. A change is a sector of a write, or a truncation;
/// they are counted in the order of the calls.
#[derive(Clone, Copy, Debug)]
enum Selection {
    None,
    All,
    /// The first so many: the rest was still to be written.
    First(u64),
    /// All but the first so many: later ones overtook earlier ones.
    AllButFirst(u64),
    /// Each by chance.
    Some,
}

impl Selection {
    fn by_chance(changes: u64, chance: &mut Chance) -> Self {
        match chance.within(0..5) {
            0 => Self::None,
            1 => Self::All,
            2 => Self::First(chance.within(0..changes + 1)),
            3 => Self::AllButFirst(chance.within(0..changes + 1)),
            _ => Self::Some,
        }
    }

    fn takes(self, change: u64, chance: &mut Chance) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::First(count) => change < count,
            Self::AllButFirst(count) => change >= count,
            Self::Some => chance.once_in(2),
        }
    }
}

impl Recording {
    /// The folder as a power cut at `moment` may leave it.
    pub fn crash(&self, moment: Moment, chance: &mut Chance) -> CrashState {
        let log = locked(&self.log);
        let notes = &log.notes[..moment];
        let folder_synced = last_folder_sync(notes);
        let mut files: BTreeMap<&str, Vec<&Act>> = BTreeMap::new();
        for (at, note) in notes.iter().enumerate() {
            let act = match &note.act {
                Act::Delete { .. } if at < folder_synced => &Act::Delete { durable: true },
                other => other,
            };
            files.entry(&note.file).or_default().push(act);
        }
        let files = files
            .into_iter()
            .filter_map(|(name, acts)| file_after(&acts, chance).map(|content| (name.to_owned(), content)));
        CrashState { files: files.collect() }
    }
}

/// Where the folder was synced last. SQLite does it with the first sync of a log or journal, for all names in it.
fn last_folder_sync(notes: &[Note]) -> Moment {
    let mut last = 0;
    let mut fresh = BTreeSet::new();
    for (at, note) in notes.iter().enumerate() {
        let logs = note.file.ends_with("-wal") || note.file.ends_with("-journal");
        match note.act {
            Act::Begin(_) if logs => drop(fresh.insert(&note.file)),
            Act::Sync if fresh.remove(&note.file) => last = at,
            _ => {}
        }
    }
    last
}

/// One file, or none where it may not be there.
fn file_after(acts: &[&Act], chance: &mut Chance) -> Option<Vec<u8>> {
    // A name may have had several files one after the other. The newest that was synced or durably deleted is where
    // the disk stands at least; of later ones it may have seen any.
    let mut lives: Vec<&[&Act]> = Vec::new();
    let mut began = 0;
    for (at, act) in acts.iter().enumerate() {
        if matches!(act, Act::Begin(_)) && at > began {
            lives.push(&acts[began..at]);
            began = at;
        }
    }
    lives.push(&acts[began..]);
    let settled =
        |life: &&[&Act]| life.iter().any(|act| matches!(act, Act::Sync | Act::Delete { durable: true }));
    // The first life begins with what was there before the recording.
    let least = lives.iter().rposition(settled).unwrap_or(0);
    let life = lives[chance.within(least as u64..lives.len() as u64) as usize];
    match life.last() {
        Some(Act::Delete { durable: true }) => None,
        Some(Act::Delete { durable: false }) if chance.once_in(2) => None,
        _ => Some(content_after(life, chance)),
    }
}

fn content_after(life: &[&Act], chance: &mut Chance) -> Vec<u8> {
    let synced = life.iter().rposition(|act| matches!(act, Act::Sync)).map_or(0, |at| at + 1);
    let mut content = Vec::new();
    for act in &life[..synced] {
        apply(act, &mut content, &mut |_| true);
    }
    let changes = life[synced..].iter().map(|act| changes_of(act)).sum();
    let selection = Selection::by_chance(changes, chance);
    let mut no = 0;
    for act in &life[synced..] {
        apply(act, &mut content, &mut |count| {
            no += count;
            selection.takes(no - count, chance)
        });
    }
    content
}

fn changes_of(act: &Act) -> u64 {
    match act {
        Act::Write(offset, bytes) => sectors(*offset as usize, bytes.len()).count() as u64,
        Act::Truncate(_) => 1,
        Act::Begin(_) | Act::Sync | Act::Delete { .. } => 0,
    }
}

/// Makes those changes of a call that `takes` wants; it is told how many it decides about, always one.
fn apply(act: &Act, content: &mut Vec<u8>, takes: &mut impl FnMut(u64) -> bool) {
    match act {
        Act::Begin(bytes) => content.clone_from(bytes),
        Act::Truncate(length) => {
            if takes(1) {
                content.resize(*length as usize, 0);
            }
        }
        Act::Write(offset, bytes) => {
            let offset = *offset as usize;
            for (from, to) in sectors(offset, bytes.len()) {
                if takes(1) {
                    content.resize(content.len().max(to), 0);
                    content[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
                }
            }
        }
        Act::Sync | Act::Delete { .. } => {}
    }
}

/// The parts of a write that lie in one sector each, as offsets in the file.
fn sectors(offset: usize, length: usize) -> impl Iterator<Item = (usize, usize)> {
    let end = offset + length;
    (offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES))
        .map(move |sector| (offset.max(sector * SECTOR_BYTES), end.min((sector + 1) * SECTOR_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(acts: &[Act]) -> BTreeSet<Option<Vec<u8>>> {
        let acts: Vec<&Act> = acts.iter().collect();
        (0..200).map(|seed| file_after(&acts, &mut Chance::new(seed))).collect()
    }

    #[test]
    fn what_was_synced_is_always_there_and_the_rest_in_any_selection_of_sectors() {
        let acts = [
            Act::Begin(vec![]),
            Act::Write(0, vec![1; SECTOR_BYTES]),
            Act::Sync,
            Act::Write(SECTOR_BYTES as u64, vec![2; 2 * SECTOR_BYTES]),
        ];
        let sector = |byte| vec![byte; SECTOR_BYTES];
        let wanted = [
            sector(1),
            [sector(1), sector(2)].concat(),
            [sector(1), sector(0), sector(2)].concat(),
            [sector(1), sector(2), sector(2)].concat(),
        ];
        assert_eq!(many(&acts), wanted.into_iter().map(Some).collect());
    }

    #[test]
    fn a_deleted_file_may_come_back_and_one_that_was_durably_deleted_does_not() {
        let acts = |durable| [Act::Begin(vec![7]), Act::Sync, Act::Delete { durable }];
        assert_eq!(many(&acts(true)), BTreeSet::from([None]));
        assert_eq!(many(&acts(false)), BTreeSet::from([None, Some(vec![7])]));
        let anew = [acts(false).as_slice(), &[Act::Begin(vec![]), Act::Write(0, vec![8])]].concat();
        assert!(many(&anew).contains(&Some(vec![7])) && many(&anew).contains(&Some(vec![8])));
        let synced = [anew.as_slice(), &[Act::Sync]].concat();
        assert_eq!(many(&synced), BTreeSet::from([Some(vec![8])]));
    }
}
