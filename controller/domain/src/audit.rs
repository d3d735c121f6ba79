//! The audit: one line per change, each bound to the one before by its hash.

use serde::Serialize;

use crate::{
    chain::{ChainHash, Link, Linked},
    time::UtcMicros,
};

/// Actions of lines that say somebody was turned away: at the door, at enrolment, in the middle of a stream.
pub const REFUSALS: [&str; 3] = ["connection.refused", "enrollment.refused", "reports.refused"];

/// One audit line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// 1, 2, 3 … without holes.
    pub no: i64,
    /// When, on the controller's clock.
    pub at: UtcMicros,
    /// [`crate::access::Actor::label`].
    pub actor: String,
    /// Noun and verb: `device.revoke`, `connection.refused`.
    pub action: String,
    /// What it was done to: `school:2153000123`, `device:…`, a peer's address.
    pub subject: String,
    /// Typed arguments as a JSON object.
    pub detail: String,
}

impl Linked for Line {
    const NOUN: &'static str = "audit line";

    fn no(&self) -> i64 {
        self.no
    }

    fn chain(&self, previous: ChainHash) -> ChainHash {
        Link::new("bbt audit v1", previous)
            .number(self.no)
            .number(self.at.as_micros())
            .field(self.actor.as_bytes())
            .field(self.action.as_bytes())
            .field(self.subject.as_bytes())
            .field(self.detail.as_bytes())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Broken, Verifier};

    fn line(no: i64) -> Line {
        Line {
            no,
            at: UtcMicros::from_secs(no),
            actor: "local".into(),
            action: "school.add".into(),
            subject: format!("school:{no}"),
            detail: "{}".into(),
        }
    }

    #[test]
    fn names_the_first_changed_line() {
        let mut previous = ChainHash::START;
        let mut chain = Vec::new();
        for no in 1..=5 {
            previous = line(no).chain(previous);
            chain.push((line(no), previous));
        }
        chain[2].0.subject = "school:9".into();
        let mut verifier = Verifier::default();
        let broken = chain.iter().find_map(|(line, hash)| verifier.next(line, *hash).err());
        assert_eq!(broken, Some(Broken::Changed { noun: Line::NOUN, no: 3 }));
    }

    #[test]
    fn names_a_missing_line() {
        let mut verifier = Verifier::default();
        let first = line(1);
        verifier.next(&first, first.chain(ChainHash::START)).unwrap();
        let hole = Broken::Hole { noun: Line::NOUN, expected: 2, found: 3 };
        assert_eq!(verifier.next(&line(3), ChainHash::START), Err(hole));
    }

    #[test]
    fn moving_text_from_one_field_to_the_next_changes_the_hash() {
        let one = Line { actor: "ab".into(), action: "c".into(), ..line(1) };
        let two = Line { actor: "a".into(), action: "bc".into(), ..line(1) };
        assert_ne!(one.chain(ChainHash::START), two.chain(ChainHash::START));
    }

    /// Chains of released versions must be read for ever: the bytes that are hashed may not change.
    #[test]
    fn the_hash_of_a_line_is_what_it_was() {
        let hash = line(1).chain(ChainHash::START).to_hex();
        assert_eq!(hash, "79668a03d579e9c750d6ed1107c2e1743c24f99004327db818b9d5b3d92926e1");
    }
}
