//! The spool without its thread: every operation is a plain call, time an argument.
//!
//! No operation fails because of the disk. What cannot be written waits in memory, the reason stands in
//! [`Summary::trouble`], and the next call after a pause tries again.

use std::{
    collections::{HashSet, VecDeque},
    path::{Path, PathBuf},
    time::Duration,
};

use bbt_proto::report::v1 as wire;
use bytes::Bytes;
use prost::Message;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::{
    BATCH_MAX_BYTES, Class, Contact, Draft, FRAME_MAX_BYTES, Fate, FrameKey, HISTORY_COMMIT_FRAMES,
    HISTORY_COMMIT_WITHIN, Limits, MEMORY_MAX_BYTES, Origin, SpoolError, Summary,
    db::{self, Row},
    gaps::{self, Gaps},
    limits::{Sacrifice, Totals, UNDATED, dated, kept_too_long_before, too_old_before},
    open,
};
use crate::identity::clock::Stamp;

/// After the disk refused, it is asked again no sooner than this.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The spool of one run.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    origin: Origin,
    limits: Limits,
    last_seq: u64,
    database: Option<Database>,
    /// Not on disk yet, in the order of appending.
    waiting: VecDeque<Row>,
    /// Drops from memory, not on disk yet.
    untold: Gaps,
    under_way: HashSet<FrameKey>,
    /// What the controller decided while the disk refused to note it; still under way.
    unnoted: Vec<(FrameKey, Fate)>,
    contact: Contact,
    trouble: Option<Trouble>,
    set_aside: Option<String>,
    /// Rows on disk may wait for a signed clock to date them.
    undated: bool,
}

#[derive(Debug)]
struct Database {
    connection: Connection,
    totals: Totals,
    dropped_untold: u64,
}

#[derive(Debug)]
struct Trouble {
    sentence: String,
    retry_mono_micros: i64,
}

impl Spool {
    /// Opens the spool in `folder`. A disk that refuses is trouble, not an error.
    pub fn open(folder: &Path, origin: Origin, limits: Limits, now: &Stamp) -> Spool {
        let mut spool = Spool {
            folder: folder.to_owned(),
            origin,
            limits,
            last_seq: 0,
            database: None,
            waiting: VecDeque::new(),
            untold: Gaps::default(),
            under_way: HashSet::new(),
            unnoted: Vec::new(),
            contact: Contact::default(),
            trouble: None,
            set_aside: None,
            undated: true,
        };
        spool.reopen(now);
        spool
    }

    /// What was learnt from the controller so far.
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Takes a frame and returns its number. It is on disk after the next [`Spool::commit`].
    pub fn append(&mut self, draft: Draft, now: &Stamp) -> Result<u64, SpoolError> {
        self.last_seq += 1;
        let row = number(&self.origin, self.last_seq, draft, now);
        if row.bytes.len() > FRAME_MAX_BYTES {
            self.untold.note(row.key, row.class, row.wall_micros, wire::GapReason::Rejected);
            return Err(SpoolError::TooLarge { class: row.class.name(), bytes: row.bytes.len() });
        }
        self.waiting.push_back(row);
        self.bound_memory();
        Ok(self.last_seq)
    }

    /// How long the next [`Spool::commit`] may wait for company; none when nothing waits. What lies on a disk that
    /// refused waits too: for the disk.
    pub fn commit_within(&self, now: &Stamp) -> Option<Duration> {
        if self.waiting.is_empty() && self.unnoted.is_empty() && self.database.is_some() {
            return None;
        }
        if let Some(trouble) = &self.trouble {
            let micros = trouble.retry_mono_micros.saturating_sub(now.mono_micros);
            return Some(Duration::from_micros(micros.max(0) as u64));
        }
        let Some(oldest) = self.waiting.front().filter(|_| self.unnoted.is_empty()) else {
            return Some(Duration::ZERO);
        };
        let at_once = self.waiting.len() >= HISTORY_COMMIT_FRAMES
            || self.waiting.iter().any(|row| row.class != Class::History);
        if at_once {
            return Some(Duration::ZERO);
        }
        let waited_micros = now.mono_micros.saturating_sub(oldest.mono_micros).max(0);
        Some(HISTORY_COMMIT_WITHIN.saturating_sub(Duration::from_micros(waited_micros as u64)))
    }

    /// Brings to disk what waits, and applies the limits.
    pub fn commit(&mut self, now: &Stamp) {
        self.come_back(now);
        if !self.unnoted.is_empty() && !self.rests(now) {
            self.decide(&[], None, now);
        }
        let Some((waiting, untold)) = self.take_waiting(now) else { return };
        self.undated |= waiting.iter().any(|row| row.guarded_micros == UNDATED);
        let written = self.write(now, "cannot write to", |work| {
            for row in &waiting {
                if db::frame_insert(work.db, row)? {
                    work.totals.of(row.class).add(row.size_bytes());
                }
            }
            work.gaps = untold.clone();
            Ok(())
        });
        if written.is_none() {
            self.waiting = waiting;
            self.untold = untold;
        }
    }

    /// Hands out the next frames, at most `max_bytes` of them and at most one batch; `first` goes in front.
    pub fn next_batch(
        &mut self,
        first: Option<FrameKey>,
        max_bytes: usize,
        now: &Stamp,
    ) -> Vec<(FrameKey, wire::Frame)> {
        self.come_back(now);
        self.tell_gaps(now);
        let mut batch = BatchBuilder::new(max_bytes.min(BATCH_MAX_BYTES), self.under_way.is_empty());
        match self.fill(&mut batch, first) {
            Ok(()) => (),
            Err(error) => self.fail("cannot read", &error, now),
        }
        self.under_way.extend(batch.frames.iter().map(|(key, _)| *key));
        self.drop_unreadable(&batch.unreadable, now);
        batch.frames
    }

    /// Applies what the controller decided. Frames that were not under way are left alone.
    pub fn decide(&mut self, decided: &[(FrameKey, Fate)], signed_micros: Option<i64>, now: &Stamp) {
        let mut decided: Vec<_> = std::mem::take(&mut self.unnoted)
            .into_iter()
            .chain(decided.iter().copied())
            .filter(|(key, _)| self.under_way.contains(key))
            .collect();
        let kept = decided.iter().any(|(_, fate)| *fate == Fate::Keep);
        // What still waits in memory was sent from there because the disk refuses: it ends there.
        decided.retain(|(key, fate)| {
            let Some(position) = self.waiting.iter().position(|row| row.key == *key) else { return true };
            if let (Some(row), Fate::Drop(reason)) = (self.waiting.remove(position), fate)
                && row.kind != wire::Kind::Gap
            {
                self.untold.note(row.key, row.class, row.wall_micros, *reason);
            }
            self.under_way.remove(key);
            false
        });
        let mut contact = self.contact.clone();
        if kept {
            contact.committed_micros = Some(now.guarded_micros);
        }
        contact.signed_micros = contact.signed_micros.max(signed_micros);
        if decided.is_empty() && contact == self.contact {
            return;
        }
        self.undated |= kept && !now.signed;
        let written = self.write(now, "cannot note the controller's answer in", |work| {
            for (key, fate) in &decided {
                let Some(row) = db::backlog_find(work.db, *key)? else { continue };
                work.totals.of(row.class).remove(row.size_bytes);
                match fate {
                    Fate::Keep => {
                        db::frame_decide(work.db, row.id, dated(now))?;
                        work.totals.kept.add(row.size_bytes);
                    }
                    Fate::Drop(reason) => {
                        if row.kind != wire::Kind::Gap as i32 {
                            work.gaps.note(row.key, row.class, row.wall_micros, *reason);
                        }
                        db::frame_delete(work.db, row.id)?;
                    }
                }
            }
            db::contact_store(work.db, &contact)
        });
        match written {
            Some(()) => {
                for (key, _) in &decided {
                    self.under_way.remove(key);
                }
            }
            // Noted with the next commit, or else sent again on a later stream.
            None => self.unnoted = decided,
        }
        self.contact = contact;
    }

    /// The stream is gone: nothing is under way any more.
    pub fn release(&mut self) {
        self.under_way.clear();
        self.unnoted.clear();
    }

    /// Other limits hold from the next commit on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The controller introduced itself. A new incarnation gets everything again that is still kept.
    pub fn welcomed(
        &mut self,
        incarnation: Vec<u8>,
        window_secs: u32,
        signed_micros: Option<i64>,
        now: &Stamp,
    ) {
        let restored = self.contact.incarnation.as_ref().is_some_and(|known| *known != incarnation);
        let contact = Contact {
            incarnation: Some(incarnation),
            window_secs,
            committed_micros: self.contact.committed_micros,
            signed_micros: self.contact.signed_micros.max(signed_micros),
        };
        if contact == self.contact {
            return;
        }
        let written = self.write(now, "cannot note the controller's greeting in", |work| {
            if restored {
                db::kept_recall(work.db)?;
                *work.totals = db::totals(work.db)?;
            }
            db::contact_store(work.db, &contact)
        });
        if written.is_some() || !restored {
            self.contact = contact;
        }
    }

    /// How the spool stands.
    pub fn summary(&self) -> Summary {
        let mut totals = self.database.as_ref().map(|database| database.totals).unwrap_or_default();
        for row in &self.waiting {
            totals.of(row.class).add(row.size_bytes());
        }
        let on_disk = self.database.as_ref().map_or(0, |database| database.dropped_untold);
        let trouble = self.trouble.as_ref().map(|trouble| trouble.sentence.clone());
        Summary {
            backlog: totals.backlog,
            kept: totals.kept,
            dropped_untold: on_disk + self.untold.dropped(),
            trouble: trouble.or_else(|| self.set_aside.clone()),
        }
    }

    /// Whether the disk refused and is left alone for a while.
    fn rests(&self, now: &Stamp) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| now.mono_micros < trouble.retry_mono_micros)
    }

    /// Takes what waits, unless nothing does or the disk is being left alone.
    fn take_waiting(&mut self, now: &Stamp) -> Option<(VecDeque<Row>, Gaps)> {
        if self.waiting.is_empty() && self.untold.dropped() == 0 {
            return None;
        }
        if self.rests(now) {
            return None;
        }
        Some((std::mem::take(&mut self.waiting), std::mem::take(&mut self.untold)))
    }

    /// One transaction: the work, the limits, the gaps, the commit. None if the disk refused; nothing of the
    /// work is then in force.
    fn write<T>(
        &mut self,
        now: &Stamp,
        doing: &str,
        work: impl FnOnce(&mut Work<'_>) -> rusqlite::Result<T>,
    ) -> Option<T> {
        if self.database.is_none() {
            self.reopen(now);
        }
        let database = self.database.as_mut()?;
        let mut totals = database.totals;
        let date = self.undated && now.signed;
        let result = (|| {
            let tx = database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut state = Work { db: &tx, totals: &mut totals, gaps: Gaps::default() };
            let value = work(&mut state)?;
            if date {
                db::undated_date(&tx, self.origin.run_id, now)?;
            }
            state.enforce(&self.limits, now, &self.under_way)?;
            let gaps = state.gaps;
            db::gap_merge(&tx, &gaps)?;
            let dropped_untold = db::gap_list(&tx)?.iter().map(|(_, span)| span.count).sum();
            tx.commit()?;
            Ok((value, dropped_untold))
        })();
        match result {
            Ok((value, dropped_untold)) => {
                database.totals = totals;
                database.dropped_untold = dropped_untold;
                self.undated &= !date;
                if self.trouble.take().is_some() {
                    tracing::info!(spool = %self.folder.display(), "the spool is written to disk again");
                }
                Some(value)
            }
            Err(error) => {
                self.fail(doing, &error, now);
                None
            }
        }
    }

    /// The gap rows become frames with numbers of this run.
    fn tell_gaps(&mut self, now: &Stamp) {
        if self.database.as_ref().is_none_or(|database| database.dropped_untold == 0) {
            return;
        }
        let origin = self.origin.clone();
        let mut seq = self.last_seq;
        let told = self.write(now, "cannot write a gap to", |work| {
            for (key, span) in db::gap_list(work.db)? {
                seq += 1;
                let draft = Draft {
                    class: Class::State,
                    kind: wire::Kind::Gap,
                    body: gaps::message(&key, &span).encode_to_vec().into(),
                };
                let row = number(&origin, seq, draft, now);
                db::frame_insert(work.db, &row)?;
                work.totals.of(row.class).add(row.size_bytes());
            }
            db::gap_clear(work.db)?;
            Ok(seq)
        });
        // A commit whose end was not seen may have used the numbers: they are never given again.
        self.last_seq = told.unwrap_or(seq);
    }

    fn fill(&mut self, batch: &mut BatchBuilder, first: Option<FrameKey>) -> rusqlite::Result<()> {
        let disk = self.database.as_ref().map(|database| &database.connection);
        if let Some(key) = first.filter(|key| !self.under_way.contains(key)) {
            let waiting = self.waiting.iter().find(|row| row.key == key && self.trouble.is_some());
            if let Some(row) = waiting {
                batch.push(key, &row.bytes);
            } else if let Some(bytes) = disk.map(|db| db::backlog_bytes(db, key)).transpose()?.flatten() {
                batch.push(key, &bytes);
            }
        }
        for class in Class::ALL {
            if let Some(db) = disk {
                db::backlog_each(db, class, |key, bytes| {
                    self.under_way.contains(&key) || batch.has(key) || batch.push(key, bytes)
                })?;
            }
            // What the disk does not take may be sent from memory; what merely waits for company may not.
            if self.trouble.is_some() {
                for row in self.waiting.iter().filter(|row| row.class == class) {
                    if self.under_way.contains(&row.key) || batch.has(row.key) {
                        continue;
                    }
                    if !batch.push(row.key, &row.bytes) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn drop_unreadable(&mut self, keys: &[FrameKey], now: &Stamp) {
        if keys.is_empty() {
            return;
        }
        tracing::warn!(frames = keys.len(), "frames in the spool are not readable and were dropped");
        self.write(now, "cannot delete from", |work| {
            for key in keys {
                if let Some(row) = db::backlog_find(work.db, *key)? {
                    work.totals.of(row.class).remove(row.size_bytes);
                    work.gaps.note(row.key, row.class, row.wall_micros, wire::GapReason::Damaged);
                    db::frame_delete(work.db, row.id)?;
                }
            }
            Ok(())
        });
    }

    /// Keeps what waits in memory within its bound.
    fn bound_memory(&mut self) {
        let mut bytes: u64 = self.waiting.iter().map(Row::size_bytes).sum();
        while bytes > MEMORY_MAX_BYTES {
            let oldest_of = |class| {
                self.waiting.iter().position(|row| row.class == class && !self.under_way.contains(&row.key))
            };
            let Some(position) = Class::ALL.into_iter().rev().find_map(oldest_of) else { return };
            let Some(row) = self.waiting.remove(position) else { return };
            bytes -= row.size_bytes();
            match (row.kind, db::gap_of_bytes(&row.bytes)) {
                (wire::Kind::Gap, Some(gap)) => self.untold.take_back(&gap),
                _ => self.untold.note(row.key, row.class, row.wall_micros, wire::GapReason::SpoolFull),
            }
        }
    }

    /// Opens the database anew that was closed because the disk refused, unless the disk is being left alone.
    fn come_back(&mut self, now: &Stamp) {
        if self.database.is_none() && !self.rests(now) {
            self.reopen(now);
        }
    }

    fn reopen(&mut self, now: &Stamp) {
        let opened = open::open(&self.folder).and_then(|opened| {
            let totals = db::totals(&opened.connection)?;
            let contact = db::contact_load(&opened.connection)?;
            let dropped_untold = db::gap_list(&opened.connection)?.iter().map(|(_, span)| span.count).sum();
            Ok((opened, totals, contact, dropped_untold))
        });
        match opened {
            Ok((opened, totals, contact, dropped_untold)) => {
                if let Some(sentence) = opened.set_aside {
                    tracing::warn!("{sentence}");
                    self.set_aside = Some(sentence);
                }
                if self.contact == Contact::default() {
                    self.contact = contact;
                }
                self.database = Some(Database { connection: opened.connection, totals, dropped_untold });
            }
            Err(error) => {
                let sentence = format!("cannot open the spool in {}: {error}", self.folder.display());
                self.trouble(sentence, now);
            }
        }
    }

    /// Poisons the connection, unless the disk is merely full: then it can still be read.
    fn fail(&mut self, doing: &str, error: &rusqlite::Error, now: &Stamp) {
        if error.sqlite_error_code() != Some(ErrorCode::DiskFull) {
            self.database = None;
        }
        self.trouble(format!("{doing} the spool in {}: {error}", self.folder.display()), now);
    }

    fn trouble(&mut self, sentence: String, now: &Stamp) {
        if self.trouble.as_ref().is_none_or(|known| known.sentence != sentence) {
            tracing::error!("{sentence}; frames wait in memory until the disk takes them");
        }
        let retry_mono_micros = now.mono_micros.saturating_add(RETRY_AFTER.as_micros() as i64);
        self.trouble = Some(Trouble { sentence, retry_mono_micros });
    }
}

fn number(origin: &Origin, seq: u64, draft: Draft, now: &Stamp) -> Row {
    let frame = wire::Frame {
        run_id: Bytes::copy_from_slice(&origin.run_id),
        seq,
        class: draft.class as i32,
        device_id: Bytes::copy_from_slice(&origin.device_id),
        os_boot: Some(origin.os_boot.clone()),
        wall_micros: now.wall_micros,
        mono_micros: now.mono_micros,
        kind: draft.kind as i32,
        body: draft.body,
    };
    Row {
        key: FrameKey { run_id: origin.run_id, seq },
        class: draft.class,
        kind: draft.kind,
        device_id: origin.device_id,
        wall_micros: now.wall_micros,
        mono_micros: now.mono_micros,
        guarded_micros: dated(now),
        bytes: frame.encode_to_vec().into(),
    }
}

/// An open transaction: its statements, the sums after it, the drops it causes.
struct Work<'a> {
    db: &'a Connection,
    totals: &'a mut Totals,
    gaps: Gaps,
}

impl Work<'_> {
    fn enforce(
        &mut self,
        limits: &Limits,
        now: &Stamp,
        under_way: &HashSet<FrameKey>,
    ) -> rusqlite::Result<()> {
        if let Some(moment) = kept_too_long_before(now) {
            for row in db::kept_before(self.db, moment)? {
                self.let_go(&row)?;
            }
        }
        if let Some(moment) = too_old_before(limits, now) {
            for class in Class::ALL {
                for row in db::backlog_before(self.db, class, moment)? {
                    if !under_way.contains(&row.key) {
                        self.sacrifice(&row, wire::GapReason::TooOld)?;
                    }
                }
            }
        }
        while let Some(next) = self.totals.next_sacrifice(limits) {
            let row = match next {
                Sacrifice::Kept => db::kept_oldest(self.db)?,
                Sacrifice::Backlog(class) => {
                    db::backlog_oldest(self.db, class, |key| under_way.contains(key))?
                }
            };
            match (row, next) {
                (Some(row), Sacrifice::Kept) => self.let_go(&row)?,
                (Some(row), Sacrifice::Backlog(_)) => self.sacrifice(&row, wire::GapReason::SpoolFull)?,
                // All that is left of the class is under way; its verdict comes soon.
                (None, _) => break,
            }
        }
        Ok(())
    }

    /// A decided frame goes without a word.
    fn let_go(&mut self, row: &db::Found) -> rusqlite::Result<()> {
        self.totals.kept.remove(row.size_bytes);
        db::frame_delete(self.db, row.id)
    }

    /// An undecided frame goes and is counted; a gap frame gives back what it told.
    fn sacrifice(&mut self, row: &db::Found, reason: wire::GapReason) -> rusqlite::Result<()> {
        let told = if row.kind == wire::Kind::Gap as i32 { db::gap_of_frame(self.db, row.id)? } else { None };
        match told {
            Some(gap) => self.gaps.take_back(&gap),
            None => self.gaps.note(row.key, row.class, row.wall_micros, reason),
        }
        self.totals.of(row.class).remove(row.size_bytes);
        db::frame_delete(self.db, row.id)
    }
}

/// Collects frames up to a size. When nothing is under way the first always fits, so that nothing waits for
/// ever.
struct BatchBuilder {
    room_bytes: usize,
    first_fits: bool,
    frames: Vec<(FrameKey, wire::Frame)>,
    unreadable: Vec<FrameKey>,
}

impl BatchBuilder {
    fn new(room_bytes: usize, first_fits: bool) -> BatchBuilder {
        BatchBuilder { room_bytes, first_fits, frames: Vec::new(), unreadable: Vec::new() }
    }

    fn has(&self, key: FrameKey) -> bool {
        self.frames.iter().any(|(known, _)| *known == key)
    }

    /// False when the batch is full.
    fn push(&mut self, key: FrameKey, bytes: &[u8]) -> bool {
        if bytes.len() > self.room_bytes && !(self.first_fits && self.frames.is_empty()) {
            return false;
        }
        match wire::Frame::decode(bytes) {
            Ok(frame) => {
                self.room_bytes = self.room_bytes.saturating_sub(bytes.len());
                self.frames.push((key, frame));
            }
            Err(_) => self.unreadable.push(key),
        }
        true
    }
}
