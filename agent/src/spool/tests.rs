//! The spool against its promises, and against a model.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use bbt_proto::report::v1 as wire;
use proptest::prelude::*;
use prost::Message;
use tempfile::TempDir;

use super::{open::FILE_NAME, *};
use crate::identity::clock::Stamp;

const RUN: RunId = [1; 16];
const ROOMY: Limits = Limits { max_bytes: 64 * 1024 * 1024, max_age_micros: i64::MAX };
const SEC: i64 = 1_000_000;

fn origin(run: u8) -> Origin {
    Origin { run_id: [run; 16], device_id: [9; 16], os_boot: wire::OsBoot::default() }
}

fn at(secs: i64) -> Stamp {
    let micros = secs * SEC;
    Stamp { wall_micros: micros, mono_micros: micros, guarded_micros: micros, signed: true }
}

fn draft(class: Class, bytes: usize) -> Draft {
    Draft { class, kind: wire::Kind::Samples, body: vec![7; bytes].into() }
}

fn open(folder: &Path, run: u8, limits: Limits) -> Spool {
    Spool::open(folder, origin(run), limits, &at(0))
}

fn key(seq: u64) -> FrameKey {
    FrameKey { run_id: RUN, seq }
}

fn batch(spool: &mut Spool, now: &Stamp) -> Vec<(FrameKey, wire::Frame)> {
    spool.next_batch(None, BATCH_MAX_BYTES, now)
}

fn seqs(batch: &[(FrameKey, wire::Frame)]) -> Vec<u64> {
    batch.iter().map(|(key, _)| key.seq).collect()
}

fn gaps(batch: &[(FrameKey, wire::Frame)]) -> Vec<wire::Gap> {
    batch
        .iter()
        .filter(|(_, frame)| frame.kind() == wire::Kind::Gap)
        .map(|(_, frame)| wire::Gap::decode(frame.body.clone()).unwrap())
        .collect()
}

/// The files as a crash of the process leaves them: copied while the database is open.
fn crashed(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // The index of the log is rebuilt after a crash.
        if !path.to_string_lossy().ends_with("-shm") {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

#[test]
fn urgent_goes_before_state_before_history_each_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    for class in [Class::History, Class::State, Class::Urgent, Class::History, Class::State] {
        spool.append(draft(class, 10), &at(0)).unwrap();
    }
    spool.commit(&at(0));
    assert_eq!(seqs(&batch(&mut spool, &at(0))), [3, 2, 5, 1, 4]);
    assert!(batch(&mut spool, &at(0)).is_empty(), "all is under way");
    spool.release();
    assert_eq!(spool.next_batch(Some(key(5)), BATCH_MAX_BYTES, &at(0))[0].0, key(5));
}

#[test]
fn a_batch_keeps_to_its_size_and_a_large_frame_goes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    for bytes in [60_000, 60_000, 60_000, 65_000] {
        spool.append(draft(Class::State, bytes), &at(0)).unwrap();
    }
    spool.commit(&at(0));
    assert_eq!(seqs(&batch(&mut spool, &at(0))), [1, 2]);
    assert_eq!(seqs(&spool.next_batch(None, 62_000, &at(0))), [3]);
    assert!(spool.next_batch(None, 62_000, &at(0)).is_empty(), "no room for the large one now");
    spool.release();
    spool.decide(&[], None, &at(0));
    assert_eq!(spool.next_batch(Some(key(4)), 1_000, &at(0))[0].0, key(4), "alone it always goes");
}

#[test]
fn history_waits_for_company_and_state_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    assert_eq!(spool.commit_within(&at(0)), None);
    spool.append(draft(Class::History, 10), &at(0)).unwrap();
    assert_eq!(spool.commit_within(&at(2)), Some(Duration::from_secs(3)));
    assert!(batch(&mut spool, &at(2)).is_empty(), "not sent before it is on disk");
    spool.append(draft(Class::State, 10), &at(2)).unwrap();
    assert_eq!(spool.commit_within(&at(2)), Some(Duration::ZERO));
    spool.commit(&at(2));
    for _ in 0..HISTORY_COMMIT_FRAMES {
        assert_ne!(spool.commit_within(&at(2)), Some(Duration::ZERO));
        spool.append(draft(Class::History, 10), &at(2)).unwrap();
    }
    assert_eq!(spool.commit_within(&at(2)), Some(Duration::ZERO));
}

#[test]
fn what_was_committed_is_there_after_a_crash_with_its_number_and_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(draft(Class::State, 10), &at(0)).unwrap();
    spool.commit(&at(0));
    let sent = batch(&mut spool, &at(0));
    spool.append(draft(Class::History, 10), &at(0)).unwrap();
    let copy = crashed(folder.path());
    let mut again = open(copy.path(), 2, ROOMY);
    assert_eq!(batch(&mut again, &at(1)), sent, "the undecided one again, the uncommitted one lost");
    assert_eq!(again.append(draft(Class::State, 10), &at(1)).unwrap(), 1, "numbers begin anew with each run");
}

#[test]
fn a_decided_frame_leaves_the_backlog_and_comes_back_for_a_new_incarnation() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.welcomed(vec![1], 0, None, &at(0));
    spool.append(draft(Class::State, 10), &at(0)).unwrap();
    spool.commit(&at(0));
    batch(&mut spool, &at(0));
    spool.decide(&[(key(1), Fate::Keep)], None, &at(0));
    assert_eq!((spool.summary().backlog_total().frames, spool.summary().kept.frames), (0, 1));
    drop(spool);
    let mut spool = open(folder.path(), 2, ROOMY);
    spool.welcomed(vec![1], 60, None, &at(0));
    assert!(batch(&mut spool, &at(0)).is_empty());
    spool.welcomed(vec![2], 60, None, &at(0));
    assert_eq!(seqs(&batch(&mut spool, &at(0))), [1]);
    assert_eq!(spool.contact().window_secs, 60);
}

#[test]
fn kept_frames_go_after_a_day_and_a_half_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(draft(Class::State, 10), &at(0)).unwrap();
    spool.commit(&at(0));
    batch(&mut spool, &at(0));
    spool.decide(&[(key(1), Fate::Keep)], None, &at(0));
    spool.append(draft(Class::State, 10), &at(37 * 3600)).unwrap();
    spool.commit(&at(37 * 3600));
    assert_eq!(spool.summary().kept, Amount::default());
    assert_eq!(spool.summary().dropped_untold, 0);
}

#[test]
fn a_refused_frame_becomes_a_gap_and_a_refused_gap_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    for _ in 0..3 {
        spool.append(draft(Class::History, 10), &at(5)).unwrap();
    }
    spool.commit(&at(5));
    batch(&mut spool, &at(5));
    let drop = Fate::Drop(wire::GapReason::Stale);
    spool.decide(&[(key(1), drop), (key(2), Fate::Keep), (key(3), drop)], None, &at(6));
    let told = batch(&mut spool, &at(6));
    let gap = &gaps(&told)[0];
    assert_eq!((gap.first_seq, gap.last_seq, gap.count), (1, 3, 2));
    assert_eq!((gap.class(), gap.reason()), (wire::Class::History, wire::GapReason::Stale));
    assert_eq!(seqs(&told), [4], "the gap has a number of its own");
    spool.decide(&[(key(4), drop)], None, &at(7));
    assert!(batch(&mut spool, &at(7)).is_empty());
    assert_eq!(spool.summary().backlog_total(), Amount::default());
}

#[test]
fn a_full_spool_drops_the_oldest_history_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, Limits { max_bytes: 5_000, max_age_micros: i64::MAX });
    spool.append(draft(Class::State, 1_000), &at(0)).unwrap();
    for second in 1..=9 {
        spool.append(draft(Class::History, 1_000), &at(second)).unwrap();
        spool.commit(&at(second));
    }
    let told = batch(&mut spool, &at(10));
    let gap = &gaps(&told)[0];
    assert_eq!(gap.reason(), wire::GapReason::SpoolFull);
    assert_eq!((gap.from_wall_micros, gap.first_seq), (SEC, 2));
    let sent = seqs(&told);
    assert!(sent.contains(&1), "state outlives history");
    assert!(sent.contains(&10), "the newest history stays");
    assert_eq!(gap.count as usize + sent.len() - 1, 10);
}

#[test]
fn an_old_frame_is_dropped_only_by_a_clock_that_was_signed() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, Limits { max_bytes: u64::MAX, max_age_micros: 10 * SEC });
    spool.append(draft(Class::State, 10), &at(0)).unwrap();
    spool.commit(&at(0));
    spool.append(draft(Class::State, 10), &at(60)).unwrap();
    spool.commit(&Stamp { signed: false, ..at(60) });
    assert_eq!(spool.summary().backlog_total().frames, 2);
    spool.append(draft(Class::State, 10), &at(61)).unwrap();
    spool.commit(&at(61));
    assert_eq!(spool.summary().dropped_untold, 1);
    assert_eq!(gaps(&batch(&mut spool, &at(61)))[0].reason(), wire::GapReason::TooOld);
}

/// The device's own clock stands there, and no county has told another time.
fn unsigned(mono_secs: i64, clock_secs: i64) -> Stamp {
    let micros = clock_secs * SEC;
    Stamp { wall_micros: micros, mono_micros: mono_secs * SEC, guarded_micros: micros, signed: false }
}

#[test]
fn wherever_an_unsigned_clock_stood_a_frame_ages_from_when_it_was_made() {
    const DAY: i64 = 86_400;
    let limits = Limits { max_bytes: u64::MAX, max_age_micros: 30 * DAY * SEC };
    for clock_days in [0, 10_000 - 400, 10_000, 10_000 + 3_650, 49_710] {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path(), 1, limits);
        spool.append(draft(Class::State, 10), &unsigned(0, clock_days * DAY)).unwrap();
        spool.commit(&unsigned(0, clock_days * DAY));
        // The county tells the time; each commit applies the limits.
        let signed = |days: i64| Stamp { mono_micros: days * DAY * SEC, ..at((10_000 + days) * DAY) };
        for (days, dropped) in [(1, 0), (30, 0), (31, 1)] {
            spool.append(draft(Class::Urgent, 10), &signed(days)).unwrap();
            spool.commit(&signed(days));
            assert_eq!(
                spool.summary().dropped_untold,
                dropped,
                "made on day {clock_days}, now {days} days on"
            );
        }
    }
}

#[test]
fn a_frame_of_a_run_that_never_knew_the_time_ages_from_the_first_signed_time_of_a_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_bytes: u64::MAX, max_age_micros: 10 * SEC };
    let mut spool = open(folder.path(), 1, limits);
    spool.append(draft(Class::State, 10), &unsigned(500, 0)).unwrap();
    spool.commit(&unsigned(500, 0));
    drop(spool);
    let mut spool = open(folder.path(), 2, limits);
    for (secs, dropped) in [(100_000, 0), (100_010, 0), (100_011, 1)] {
        spool.welcomed(vec![1], secs as u32, None, &at(secs));
        assert_eq!(spool.summary().dropped_untold, dropped, "{secs}");
    }
}

#[test]
fn a_frame_that_waited_unsigned_for_company_is_dated_though_others_were_dated_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, Limits { max_bytes: u64::MAX, max_age_micros: 10 * SEC });
    spool.append(draft(Class::History, 10), &unsigned(0, 0)).unwrap();
    // Something else is written by a signed clock first.
    spool.welcomed(vec![1], 0, None, &at(1));
    spool.commit(&at(2));
    spool.append(draft(Class::State, 10), &at(11)).unwrap();
    spool.commit(&at(11));
    assert_eq!(spool.summary().dropped_untold, 1, "made eleven seconds ago");
}

#[test]
fn a_frame_decided_without_a_signed_clock_is_kept_for_a_day_and_a_half_from_the_next_one_on() {
    const HOUR: i64 = 3_600;
    for clock_secs in [0, 200_000 * HOUR] {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path(), 1, ROOMY);
        spool.append(draft(Class::State, 10), &unsigned(0, clock_secs)).unwrap();
        spool.commit(&unsigned(0, clock_secs));
        spool.next_batch(None, BATCH_MAX_BYTES, &unsigned(0, clock_secs));
        spool.decide(&[(key(1), Fate::Keep)], None, &unsigned(0, clock_secs));
        let listed = Inspector::open(folder.path()).unwrap().list().unwrap();
        assert_eq!((listed[0].decided, listed[0].decided_micros), (true, None));
        for (hours, kept) in [(100_000, 1), (100_035, 1), (100_037, 0)] {
            spool.append(draft(Class::State, 10), &at(hours * HOUR)).unwrap();
            spool.commit(&at(hours * HOUR));
            assert_eq!(spool.summary().kept.frames, kept, "{hours}");
        }
    }
}

#[test]
fn a_frame_that_fits_no_batch_is_refused_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    let result = spool.append(draft(Class::State, FRAME_MAX_BYTES), &at(0));
    assert!(matches!(result, Err(SpoolError::TooLarge { .. })));
    spool.commit(&at(0));
    assert_eq!(gaps(&batch(&mut spool, &at(0)))[0].reason(), wire::GapReason::Rejected);
}

#[test]
fn a_damaged_database_is_set_aside_and_the_spool_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(draft(Class::State, 10), &at(0)).unwrap();
    spool.commit(&at(0));
    drop(spool);
    let path = folder.path().join(FILE_NAME);
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() / 2);
    bytes[..100].fill(0xAA);
    fs::write(&path, &bytes).unwrap();
    let mut spool = open(folder.path(), 2, ROOMY);
    let trouble = spool.summary().trouble.unwrap();
    assert!(trouble.contains("damaged"), "{trouble}");
    assert_eq!(fs::read(folder.path().join(open::DAMAGED_NAME)).unwrap(), bytes);
    spool.append(draft(Class::State, 10), &at(1)).unwrap();
    spool.commit(&at(1));
    let sent = batch(&mut spool, &at(1));
    assert_eq!(seqs(&sent), [1, 2]);
    assert_eq!(gaps(&sent)[0].reason(), wire::GapReason::Damaged, "something was lost, which is said");
}

/// Overwrites each page of the database for which `chosen` is true; the first holds the tables' names.
fn overwrite_pages(path: &Path, chosen: impl Fn(usize) -> bool) {
    let mut bytes = fs::read(path).unwrap();
    for (no, page) in bytes.chunks_mut(4_096).enumerate().skip(1).filter(|(no, _)| chosen(*no)) {
        page.fill(no as u8);
    }
    fs::write(path, bytes).unwrap();
}

/// The frames of a spool with 300 of them, of which every third is decided, and where it lies.
fn spool_of_300() -> (TempDir, BTreeMap<u64, wire::Frame>) {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.welcomed(vec![1], 30, None, &at(0));
    for no in 0..300 {
        spool.append(draft(Class::State, 100 + no), &at(no as i64)).unwrap();
    }
    spool.commit(&at(300));
    let frames: BTreeMap<u64, wire::Frame> =
        batch(&mut spool, &at(300)).into_iter().map(|(key, frame)| (key.seq, frame)).collect();
    assert_eq!(frames.len(), 300);
    let third: Vec<_> = (1..=100).map(|no| (key(no * 3), Fate::Keep)).collect();
    spool.decide(&third, None, &at(300));
    (folder, frames)
}

#[test]
fn of_a_damaged_database_is_saved_what_can_be_read_and_the_rest_is_counted() {
    let (folder, made) = spool_of_300();
    overwrite_pages(&folder.path().join(FILE_NAME), |no| no > 8 && no % 4 == 3);
    let mut spool = open(folder.path(), 2, ROOMY);
    let said = spool.summary().trouble.unwrap();
    assert!(said.contains("frames were saved"), "{said}");
    let kept = spool.summary().kept.frames;
    let mut sent = batch(&mut spool, &at(400));
    // A gap is told in a frame of the run that found it.
    let told: u64 = gaps(&sent).iter().map(|gap| gap.count).sum();
    assert!(gaps(&sent).iter().all(|gap| gap.reason() == wire::GapReason::Damaged));
    sent.retain(|(key, _)| key.run_id == RUN);
    assert!(sent.len() > 20 && kept > 10, "much is saved: {} and {kept}", sent.len());
    for (key, frame) in &sent {
        assert_eq!(frame, &made[&key.seq]);
        assert_ne!(key.seq % 3, 0, "what was decided is not backlog again");
    }
    let lost = 300 - sent.len() as u64 - kept;
    assert!(told >= lost, "{told} told, {lost} lost");
    assert_eq!(spool.contact().window_secs, 30, "what was learnt is kept");
    drop(spool);
    assert_eq!(open(folder.path(), 3, ROOMY).summary().trouble, None, "once");
}

#[test]
fn wherever_the_damage_is_the_spool_starts_and_doubles_nothing() {
    let (folder, made) = spool_of_300();
    let pages = fs::metadata(folder.path().join(FILE_NAME)).unwrap().len() as usize / 4_096;
    for damaged in 0..pages {
        let copy = crashed(folder.path());
        overwrite_pages(&copy.path().join(FILE_NAME), |no| no == damaged);
        let mut spool = open(copy.path(), 2, ROOMY);
        let sent = batch(&mut spool, &at(400));
        let of_run: Vec<_> = sent.iter().filter(|(key, _)| key.run_id == RUN).collect();
        let keys: BTreeSet<_> = of_run.iter().map(|(key, _)| key.seq).collect();
        assert_eq!(keys.len(), of_run.len(), "page {damaged}");
        assert!(of_run.iter().all(|(key, frame)| frame == &made[&key.seq]), "page {damaged}");
        let told: u64 = gaps(&sent).iter().map(|gap| gap.count).sum();
        let found = of_run.len() as u64 + spool.summary().kept.frames;
        assert!(found + told >= 300, "page {damaged}: {found} found, {told} told");
    }
}

#[test]
fn a_salvage_that_was_cut_off_is_begun_anew_or_taken() {
    let (folder, _) = spool_of_300();
    overwrite_pages(&folder.path().join(FILE_NAME), |no| no > 8 && no % 4 == 3);
    let expected = {
        let copy = crashed(folder.path());
        open(copy.path(), 2, ROOMY).summary()
    };
    // Cut before the damaged one went aside: what was built is no spool yet.
    fs::write(folder.path().join(salvage::FILE_NAME), b"half of it").unwrap();
    let again = open(folder.path(), 2, ROOMY);
    assert_eq!((again.summary().backlog, again.summary().kept), (expected.backlog, expected.kept));
    drop(again);
    // Cut before the new one took its place.
    fs::rename(folder.path().join(FILE_NAME), folder.path().join(salvage::FILE_NAME)).unwrap();
    let again = open(folder.path(), 2, ROOMY);
    assert_eq!((again.summary().backlog, again.summary().kept), (expected.backlog, expected.kept));
}

#[test]
fn a_newer_database_is_set_aside_whole() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), 1, ROOMY));
    let path = folder.path().join(FILE_NAME);
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 7").unwrap();
    let spool = open(folder.path(), 2, ROOMY);
    assert!(spool.summary().trouble.unwrap().contains("newer version (schema 7)"));
    let kept = rusqlite::Connection::open(folder.path().join(open::NEWER_NAME)).unwrap();
    let version: i64 = kept.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 7);
}

#[test]
fn without_a_disk_frames_wait_in_memory_and_are_sent_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let missing: PathBuf = folder.path().join("gone");
    let mut spool = open(&missing, 1, ROOMY);
    assert!(spool.summary().trouble.is_some());
    for _ in 0..3 {
        spool.append(draft(Class::State, 10), &at(0)).unwrap();
    }
    spool.commit(&at(0));
    assert_eq!(seqs(&batch(&mut spool, &at(0))), [1, 2, 3]);
    spool.decide(&[(key(1), Fate::Keep), (key(2), Fate::Drop(wire::GapReason::Rejected))], None, &at(0));
    assert_eq!(spool.summary().backlog_total().frames, 1);
    fs::create_dir(&missing).unwrap();
    spool.commit(&at(60));
    assert_eq!(spool.summary().trouble, None);
    spool.release();
    let told = batch(&mut spool, &at(60));
    assert!(seqs(&told).contains(&3));
    assert_eq!(gaps(&told)[0].count, 1);
}

#[test]
fn an_answer_that_the_disk_did_not_take_is_noted_when_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(draft(Class::State, 10), &at(0)).unwrap();
    spool.commit(&at(0));
    assert_eq!(seqs(&batch(&mut spool, &at(0))), [1]);

    let other = rusqlite::Connection::open(folder.path().join(FILE_NAME)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    spool.decide(&[(key(1), Fate::Keep)], None, &at(1));
    assert!(spool.summary().trouble.is_some());
    other.execute_batch("ROLLBACK").unwrap();

    let wait = spool.commit_within(&at(1)).unwrap();
    assert!(!wait.is_zero(), "the disk is left alone for a while");
    let later = at(1 + wait.as_secs() as i64);
    assert_eq!(spool.commit_within(&later), Some(Duration::ZERO));
    spool.commit(&later);
    let summary = spool.summary();
    assert_eq!((summary.backlog_total().frames, summary.kept.frames, summary.trouble), (0, 1, None));
    assert_eq!(spool.commit_within(&later), None);
}

#[test]
fn a_disk_that_refused_a_greeting_is_asked_again_for_what_lies_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(draft(Class::State, 10), &at(0)).unwrap();
    spool.commit(&at(0));
    assert_eq!(spool.commit_within(&at(0)), None);

    let other = rusqlite::Connection::open(folder.path().join(FILE_NAME)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    spool.welcomed(vec![1], 60, None, &at(1));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(seqs(&batch(&mut spool, &at(1))), [0_u64; 0], "the disk is left alone for a while");

    let wait = spool.commit_within(&at(1)).expect("it is asked again by itself");
    let later = at(1 + wait.as_secs() as i64);
    spool.commit(&later);
    assert_eq!(spool.commit_within(&later), None);
    assert_eq!(seqs(&batch(&mut spool, &later)), [1]);
}

#[test]
fn memory_is_bounded_while_there_is_no_disk() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("gone");
    let mut spool = open(&missing, 1, ROOMY);
    for _ in 0..200 {
        spool.append(draft(Class::History, 60_000), &at(0)).unwrap();
    }
    let summary = spool.summary();
    assert!(summary.backlog_total().bytes <= MEMORY_MAX_BYTES);
    assert_eq!(summary.backlog_total().frames + summary.dropped_untold, 200);
}

#[test]
fn the_spool_can_be_looked_into_while_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(draft(Class::State, 10), &at(0)).unwrap();
    spool.commit(&at(0));
    let inspector = Inspector::open(folder.path()).unwrap();
    assert_eq!(inspector.list().unwrap().len(), 1);
    assert_eq!(inspector.check().unwrap().findings, Vec::<String>::new());
    spool.append(draft(Class::Urgent, 10), &at(0)).unwrap();
    spool.commit(&at(0));
    assert_eq!(spool.summary().trouble, None, "a reader does not hold up the writer");
    assert_eq!(inspector.list().unwrap()[0].class, Class::Urgent);
}

/// What may happen to a spool.
#[derive(Clone, Debug)]
enum Step {
    Append(Class, usize),
    Commit,
    Send,
    /// Answers the frame under way at this index with this code.
    Answer(usize, wire::Code),
    StreamLost,
    Crash,
    Restore,
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Urgent), Just(Class::State), Just(Class::History)]
}

fn code() -> impl Strategy<Value = wire::Code> {
    use wire::Code::{Committed, Duplicate, OtherIdentity, Quarantined, Rejected, Stale};
    prop_oneof![
        5 => Just(Committed), 1 => Just(Duplicate), 1 => Just(Quarantined),
        1 => Just(Stale), 1 => Just(Rejected), 1 => Just(OtherIdentity),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (class(), 1usize..1_500).prop_map(|(class, bytes)| Step::Append(class, bytes)),
        4 => Just(Step::Commit),
        4 => Just(Step::Send),
        6 => (0usize..64, code()).prop_map(|(index, code)| Step::Answer(index, code)),
        1 => Just(Step::StreamLost),
        1 => Just(Step::Crash),
        1 => Just(Step::Restore),
    ]
}

/// What must have become of each frame, told from outside: only what was appended, sent and answered.
#[derive(Default)]
struct Model {
    appended: BTreeMap<FrameKey, Class>,
    durable: BTreeSet<FrameKey>,
    under_way: Vec<FrameKey>,
    decided: BTreeSet<FrameKey>,
    /// Decided under this or an earlier incarnation.
    ever_decided: BTreeSet<FrameKey>,
    refused: BTreeSet<FrameKey>,
    /// What the gap frames said that were sent.
    told: BTreeMap<FrameKey, wire::Gap>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_unsaid_and_nothing_is_said_twice(steps in prop::collection::vec(step(), 1..120)) {
        let limits = Limits { max_bytes: 12_000, max_age_micros: i64::MAX };
        let mut folder = tempfile::tempdir().unwrap();
        let mut run = 1;
        let mut incarnation = 1;
        let mut spool = open(folder.path(), run, limits);
        spool.welcomed(vec![incarnation], 0, None, &at(0));
        let mut model = Model::default();
        for (now, step) in (1..).zip(steps) {
            let now = at(now);
            match step {
                Step::Append(class, bytes) => {
                    let seq = spool.append(draft(class, bytes), &now).unwrap();
                    model.appended.insert(FrameKey { run_id: [run; 16], seq }, class);
                }
                Step::Commit => {
                    spool.commit(&now);
                    model.durable.extend(model.appended.keys());
                }
                Step::Send => {
                    for (key, frame) in batch(&mut spool, &now) {
                        prop_assert!(!model.under_way.contains(&key), "{key:?} twice");
                        prop_assert!(!model.decided.contains(&key), "{key:?} after its decision");
                        prop_assert!(!model.refused.contains(&key), "{key:?} after its refusal");
                        if frame.kind() == wire::Kind::Gap {
                            model.told.insert(key, wire::Gap::decode(frame.body.clone()).unwrap());
                        } else {
                            prop_assert!(model.durable.contains(&key), "{key:?} before it was on disk");
                        }
                        model.under_way.push(key);
                    }
                }
                Step::Answer(index, code) => {
                    if model.under_way.is_empty() {
                        continue;
                    }
                    let key = model.under_way.remove(index % model.under_way.len());
                    let crate::uplink::batch::Meaning::Decided(fate) = crate::uplink::batch::meaning(code as i32)
                    else { unreachable!("the strategy makes no unknown code") };
                    spool.decide(&[(key, fate)], None, &now);
                    match fate {
                        Fate::Keep => model.decided.insert(key) | model.ever_decided.insert(key),
                        Fate::Drop(_) => model.refused.insert(key),
                    };
                }
                Step::StreamLost => {
                    spool.release();
                    model.under_way.clear();
                }
                Step::Crash => {
                    let copy = crashed(folder.path());
                    drop(spool);
                    folder = copy;
                    run += 1;
                    spool = open(folder.path(), run, limits);
                    let durable = &model.durable;
                    model.appended.retain(|key, _| durable.contains(key));
                    model.under_way.clear();
                }
                Step::Restore => {
                    incarnation += 1;
                    spool.welcomed(vec![incarnation], 0, None, &now);
                    model.decided.clear();
                }
            }
            prop_assert!(spool.summary().trouble.is_none());
        }
        // The end: everything goes up and is decided.
        let end = at(100_000);
        spool.commit(&end);
        spool.release();
        let mut last = BTreeSet::new();
        loop {
            let frames = batch(&mut spool, &end);
            if frames.is_empty() {
                break;
            }
            for (key, frame) in &frames {
                prop_assert!(last.insert(*key), "{key:?} twice in one drain");
                prop_assert!(!model.refused.contains(key));
                prop_assert!(!model.decided.contains(key));
                if frame.kind() == wire::Kind::Gap {
                    model.told.insert(*key, wire::Gap::decode(frame.body.clone()).unwrap());
                }
                model.ever_decided.insert(*key);
            }
            let decided: Vec<_> = frames.iter().map(|(key, _)| (*key, Fate::Keep)).collect();
            spool.decide(&decided, None, &end);
        }
        prop_assert_eq!(spool.summary().backlog_total(), Amount::default());
        prop_assert_eq!(spool.summary().dropped_untold, 0);
        let answered: BTreeSet<_> = model.ever_decided.iter().chain(&model.refused).copied().collect();
        let arrived: Vec<_> =
            model.told.iter().filter(|(key, _)| answered.contains(key)).map(|(_, gap)| gap).collect();
        for (key, class) in &model.appended {
            let in_gap = arrived.iter().any(|gap| {
                gap.class == *class as i32
                    && gap.run_id == key.run_id
                    && (gap.first_seq..=gap.last_seq).contains(&key.seq)
            });
            prop_assert!(model.ever_decided.contains(key) || in_gap, "{:?} vanished", key);
        }
        if incarnation == 1 {
            let counted: u64 = arrived.iter().map(|gap| gap.count).sum();
            let dropped = model.appended.keys().filter(|key| !model.ever_decided.contains(key)).count();
            prop_assert_eq!(counted, dropped as u64, "each dropped frame is counted once");
        }
    }
}
