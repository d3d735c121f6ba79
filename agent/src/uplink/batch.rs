//! What may be sent now, and what an answer means. No network, no clock: values in, decisions out.

use std::collections::VecDeque;

use bbt_proto::report::v1 as wire;

use crate::spool::{BATCH_MAX_BYTES, Fate, FrameKey};

/// Used until a controller names its own.
const DEFAULT_BATCHES: usize = 4;
/// Used until a controller names its own.
const DEFAULT_BYTES: usize = 256 * 1024;
/// With less room than this it is better to wait for the next verdict than to send crumbs.
const ROOM_MIN_BYTES: usize = 4 * 1024;

/// What an answer means for the frame it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The frame is decided.
    Decided(Fate),
    /// This program does not know the answer: the frame stays, and is sent again on a later stream.
    Unknown,
}

/// The table of answers.
pub fn meaning(code: i32) -> Meaning {
    use wire::GapReason;
    match wire::Code::try_from(code) {
        Ok(wire::Code::Committed | wire::Code::Duplicate | wire::Code::Quarantined) => {
            Meaning::Decided(Fate::Keep)
        }
        Ok(wire::Code::Stale) => Meaning::Decided(Fate::Drop(GapReason::Stale)),
        Ok(wire::Code::Rejected) => Meaning::Decided(Fate::Drop(GapReason::Rejected)),
        Ok(wire::Code::OtherIdentity) => Meaning::Decided(Fate::Drop(GapReason::OtherIdentity)),
        Ok(wire::Code::Unspecified) | Err(_) => Meaning::Unknown,
    }
}

/// Batches under way without a verdict.
#[derive(Debug)]
pub struct Window {
    max_batches: usize,
    max_bytes: usize,
    under_way: VecDeque<Batch>,
    resume_mono_micros: i64,
    returned: bool,
}

#[derive(Debug)]
struct Batch {
    frames: Vec<FrameKey>,
    bytes: usize,
}

/// Whether more may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Up to this many bytes.
    Bytes(usize),
    /// Not before this moment: the controller asked for a pause.
    PausedUntil(i64),
    /// Not before the next verdict.
    Full,
}

impl Window {
    /// The window of a new stream, as the welcome sets it; zero means that the controller names no bound.
    pub fn new(welcome: &wire::Welcome) -> Window {
        let or = |named: u32, default: usize| if named == 0 { default } else { named as usize };
        Window {
            max_batches: or(welcome.max_undecided_batches, DEFAULT_BATCHES),
            max_bytes: or(welcome.max_undecided_bytes, DEFAULT_BYTES),
            under_way: VecDeque::new(),
            resume_mono_micros: i64::MIN,
            returned: false,
        }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether the last answer gave everything back undecided; asked once.
    pub fn take_returned(&mut self) -> bool {
        std::mem::take(&mut self.returned)
    }

    /// Whether more may be sent now.
    pub fn room(&self, mono_micros: i64) -> Room {
        if mono_micros < self.resume_mono_micros {
            return Room::PausedUntil(self.resume_mono_micros);
        }
        let used: usize = self.under_way.iter().map(|batch| batch.bytes).sum();
        let free = self.max_bytes.saturating_sub(used);
        if self.under_way.is_empty() {
            return Room::Bytes(self.max_bytes.min(BATCH_MAX_BYTES));
        }
        if self.under_way.len() >= self.max_batches || free < ROOM_MIN_BYTES {
            return Room::Full;
        }
        Room::Bytes(free.min(BATCH_MAX_BYTES))
    }

    /// A batch went out.
    pub fn sent(&mut self, frames: Vec<FrameKey>, bytes: usize) {
        self.under_way.push_back(Batch { frames, bytes });
    }

    /// Notes an answer and returns what it decides. An answer that only asks for a pause gives back all that is
    /// under way: the controller could not store it, and gets it again on this stream. A verdict about frames that are not under way decides
    /// nothing. Frames with an answer that is not understood leave the window undecided.
    pub fn answered(&mut self, ack: &wire::Ack, mono_micros: i64) -> Vec<(FrameKey, Fate)> {
        if ack.retry_after_ms > 0 {
            self.resume_mono_micros = mono_micros.saturating_add(i64::from(ack.retry_after_ms) * 1_000);
            if ack.verdicts.is_empty() {
                self.under_way.clear();
                self.returned = true;
            }
        }
        let mut decided = Vec::new();
        for verdict in &ack.verdicts {
            let meaning = meaning(verdict.code);
            for batch in &mut self.under_way {
                batch.frames.retain(|key| {
                    let meant = verdict.run_id == key.run_id
                        && (verdict.first_seq..=verdict.last_seq).contains(&key.seq);
                    if let (true, Meaning::Decided(fate)) = (meant, meaning) {
                        decided.push((*key, fate));
                    }
                    !meant
                });
            }
        }
        self.under_way.retain(|batch| !batch.frames.is_empty());
        decided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(batches: u32, bytes: u32) -> Window {
        Window::new(&wire::Welcome {
            max_undecided_batches: batches,
            max_undecided_bytes: bytes,
            ..wire::Welcome::default()
        })
    }

    fn keys(seqs: std::ops::RangeInclusive<u64>) -> Vec<FrameKey> {
        seqs.map(|seq| FrameKey { run_id: [1; 16], seq }).collect()
    }

    fn verdict(first_seq: u64, last_seq: u64, code: wire::Code) -> wire::Verdict {
        wire::Verdict { run_id: vec![1; 16], first_seq, last_seq, code: code as i32, reason: String::new() }
    }

    #[test]
    fn every_answer_of_the_contract_has_its_meaning() {
        use wire::{Code, GapReason};
        let table = [
            (Code::Unspecified, Meaning::Unknown),
            (Code::Committed, Meaning::Decided(Fate::Keep)),
            (Code::Duplicate, Meaning::Decided(Fate::Keep)),
            (Code::Quarantined, Meaning::Decided(Fate::Keep)),
            (Code::Stale, Meaning::Decided(Fate::Drop(GapReason::Stale))),
            (Code::Rejected, Meaning::Decided(Fate::Drop(GapReason::Rejected))),
            (Code::OtherIdentity, Meaning::Decided(Fate::Drop(GapReason::OtherIdentity))),
        ];
        for (code, expected) in table {
            assert_eq!(meaning(code as i32), expected, "{code:?}");
        }
        assert_eq!(meaning(99), Meaning::Unknown);
    }

    #[test]
    fn a_window_without_named_bounds_takes_the_contracts() {
        let mut window = window(0, 0);
        for batch in 0..4 {
            assert!(matches!(window.room(0), Room::Bytes(_)), "batch {batch}");
            window.sent(keys(batch..=batch), 10);
        }
        assert_eq!(window.room(0), Room::Full);
    }

    #[test]
    fn bytes_under_way_bound_the_next_batch() {
        let mut window = window(4, 100_000);
        window.sent(keys(1..=1), 60_000);
        assert_eq!(window.room(0), Room::Bytes(40_000));
        window.sent(keys(2..=2), 39_000);
        assert_eq!(window.room(0), Room::Full);
    }

    #[test]
    fn an_answer_opens_the_window_when_the_whole_batch_is_answered() {
        let mut window = window(1, 0);
        window.sent(keys(1..=3), 100);
        let ack = |verdicts| wire::Ack { verdicts, ..wire::Ack::default() };
        let decided = window.answered(&ack(vec![verdict(1, 2, wire::Code::Committed)]), 0);
        assert_eq!(decided.iter().map(|(key, _)| key.seq).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(window.room(0), Room::Full);
        window.answered(&ack(vec![verdict(3, 3, wire::Code::Rejected)]), 0);
        assert!(matches!(window.room(0), Room::Bytes(_)));
    }

    #[test]
    fn frames_that_were_not_sent_are_not_decided() {
        let mut window = window(0, 0);
        window.sent(keys(5..=5), 100);
        let ack = wire::Ack { verdicts: vec![verdict(1, 9, wire::Code::Committed)], ..wire::Ack::default() };
        assert_eq!(window.answered(&ack, 0).len(), 1);
        assert!(window.answered(&ack, 0).is_empty());
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept() {
        let mut window = window(0, 0);
        window.answered(&wire::Ack { retry_after_ms: 1_500, ..wire::Ack::default() }, 1_000);
        assert_eq!(window.room(2_000), Room::PausedUntil(1_501_000));
        assert!(matches!(window.room(1_501_000), Room::Bytes(_)));
    }

    #[test]
    fn a_bare_pause_gives_everything_back() {
        let mut window = window(1, 0);
        window.sent(keys(1..=2), 100);
        assert!(window.answered(&wire::Ack { retry_after_ms: 1, ..wire::Ack::default() }, 0).is_empty());
        assert!(window.take_returned());
        assert!(!window.take_returned());
        assert!(window.is_idle());
    }
}
