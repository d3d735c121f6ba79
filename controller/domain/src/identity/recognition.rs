//! Who comes there: a device that was restarted, one that changed a part, or another PC with the same image.
//!
//! Two questions, which weigh alike and ask differently. A *newcomer* has no key that we know, so only what agrees
//! speaks for it ([`likeness`]). Whoever opens a *stream* has the device's key, which a copied disk has too; so
//! agreement confirms it, and it takes contradiction to call it a clone ([`judge`]). Where there is too little
//! evidence on either side, as on boards with nothing but placeholders, nobody is locked out: it counts as a
//! restart until both PCs are seen at once ([`two_at_once`]).

use serde::{Deserialize, Serialize};

use super::evidence::{Comparison, Policy};
use crate::ids::{BootId, RunId};

/// How alike a newcomer and a known device are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// Not the same, or nothing to tell it by.
    Other,
    /// A person has to say.
    Ask,
    /// One device.
    Same,
}

/// What `score` says of a newcomer.
pub const fn likeness(policy: &Policy, score: u32) -> Likeness {
    if score >= policy.same_from {
        Likeness::Same
    } else if score >= policy.ask_from {
        Likeness::Ask
    } else {
        Likeness::Other
    }
}

/// What the evidence says of somebody who has a device's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The device; disks and cards may have been replaced.
    Same,
    /// A person has to say; until then it goes on.
    Ask,
    /// Another PC with the same identity.
    Clone,
    /// Too little evidence to tell; it counts as the device.
    Unknown,
}

/// Judges somebody who shows the key of a device whose evidence is on record.
pub const fn judge(policy: &Policy, found: &Comparison) -> Verdict {
    let same_board = found.board_agrees && !found.board_differs;
    if found.score >= policy.same_from || same_board {
        return Verdict::Same;
    }
    if found.against == 0 {
        return if found.score == 0 { Verdict::Unknown } else { Verdict::Same };
    }
    if found.score >= policy.ask_from {
        return Verdict::Ask;
    }
    // One disk or one card against nothing is a repair as likely as a clone.
    if found.against >= policy.ask_from { Verdict::Clone } else { Verdict::Unknown }
}

/// The start of an agent that holds a device's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Of the agent.
    pub run: RunId,
    /// Of the operating system.
    pub boot: BootId,
}

/// Whether somebody comes back whose place was taken by another start of another system. A run lives only in
/// memory, so its PC was on all the time and the one that took its place is another PC.
pub fn two_at_once(holder: Holder, comes: Holder, seen_before: bool) -> bool {
    seen_before && holder.run != comes.run && holder.boot != comes.boot
}

#[cfg(test)]
mod tests {
    use super::{
        super::evidence::{Evidence, EvidenceKind, Weighed, compare, weigh},
        *,
    };

    const POLICY: Policy = Policy::STANDARD;

    /// A PC as `uuid serial disk mac`, `-` where it has nothing usable.
    fn pc(text: &str) -> Vec<Weighed> {
        use EvidenceKind::{BoardSerial, BoardUuid, DiskSerial, PermanentMac};
        let kinds = [BoardUuid, BoardSerial, DiskSerial, PermanentMac];
        let shown = kinds.into_iter().zip(text.split(' ')).filter(|(_, value)| *value != "-");
        let evidence = |kind, value: &str| {
            let start = if kind == PermanentMac { "00:E0:4C:36:12:" } else { "PF0A1B2" };
            Evidence { kind, value: format!("{start}{value}"), junk: false }
        };
        shown.map(|(kind, value)| weigh(&POLICY, evidence(kind, value), 1)).collect()
    }

    fn judged(known: &str, shown: &str) -> Verdict {
        judge(&POLICY, &compare(&POLICY, &pc(known), &pc(shown)))
    }

    #[test]
    fn a_restart_is_the_same_device() {
        for whole in ["1 1 1 1", "1 - 1 1", "- - 1 1", "- - - 1", "- - 1 -"] {
            assert_eq!(judged(whole, whole), Verdict::Same, "{whole}");
        }
    }

    #[test]
    fn a_replaced_disk_or_card_stays_the_same_device() {
        for (known, shown) in [
            ("1 1 1 1", "1 1 2 1"),
            ("1 1 1 1", "1 1 2 2"),
            ("1 - 1 1", "1 - 2 1"),
            ("1 - 1 1", "1 - 1 2"),
            ("1 - 1 1", "1 - 2 2"),
            ("- 1 1 1", "- 1 2 2"),
        ] {
            assert_eq!(judged(known, shown), Verdict::Same, "{known} -> {shown}");
        }
    }

    #[test]
    fn a_replaced_board_with_the_disk_kept_asks_a_person() {
        assert_eq!(judged("1 - 1 1", "2 - 1 1"), Verdict::Ask);
        assert_eq!(judged("1 1 1 1", "2 2 1 1"), Verdict::Ask);
    }

    #[test]
    fn another_pc_with_the_same_image_is_a_clone() {
        for (known, shown) in [("1 1 1 1", "2 2 2 2"), ("1 - - -", "2 - - -"), ("- - 1 1", "- - 2 2")] {
            assert_eq!(judged(known, shown), Verdict::Clone, "{known} -> {shown}");
        }
        assert_eq!(judged("1 1 1 1", "2 2 1 2"), Verdict::Clone, "a disk that was put into another PC");
    }

    #[test]
    fn too_little_evidence_locks_nobody_out() {
        for (known, shown) in [
            ("- - - -", "- - - -"),
            ("- - - -", "1 1 1 1"),
            ("1 1 1 1", "- - - -"),
            ("- - 1 -", "- - 2 -"),
            ("- - 1 1", "- - 2 1"),
            ("1 - - -", "- - 1 1"),
        ] {
            assert_eq!(judged(known, shown), Verdict::Unknown, "{known} -> {shown}");
        }
    }

    #[test]
    fn a_newcomer_is_told_by_what_agrees() {
        let like = |known, shown| likeness(&POLICY, compare(&POLICY, &pc(known), &pc(shown)).score);
        assert_eq!(like("1 1 1 1", "1 1 2 2"), Likeness::Same);
        assert_eq!(like("1 - 1 1", "1 - 2 2"), Likeness::Ask);
        assert_eq!(like("1 1 1 1", "2 2 1 2"), Likeness::Other);
        assert_eq!(like("- - - -", "- - - -"), Likeness::Other);
    }

    #[test]
    fn who_comes_back_after_another_system_was_on_all_the_time() {
        let at =
            |run, boot| Holder { run: RunId::from_bytes([run; 16]), boot: BootId::from_bytes([boot; 16]) };
        assert!(two_at_once(at(2, 2), at(1, 1), true));
        assert!(!two_at_once(at(1, 1), at(2, 2), false), "a restart");
        assert!(!two_at_once(at(1, 1), at(1, 1), true), "a stream that broke");
        assert!(!two_at_once(at(2, 1), at(1, 1), true), "one system has two agents, which is no clone");
    }
}
