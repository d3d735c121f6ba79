//! The audit: one line per change, each bound to the one before by its hash.

use ring::digest;
use serde::Serialize;

use crate::time::UtcMicros;

/// Actions of lines that say somebody was turned away: at the door, at enrolment, in the middle of a stream.
pub const REFUSALS: [&str; 3] = ["connection.refused", "enrollment.refused", "reports.refused"];

/// The hash of one line; the first line follows [`ChainHash::START`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// Before the first line.
    pub const START: Self = Self([0; 32]);

    /// Lower-case hex.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_hex())
    }
}

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

impl Line {
    /// The hash that binds this line to `previous`: SHA-256 over the previous hash and every field with its
    /// length before it, so that no two different lines have the same bytes.
    pub fn chain(&self, previous: ChainHash) -> ChainHash {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"bbt audit v1\0");
        hash.update(&previous.0);
        hash.update(&self.no.to_be_bytes());
        hash.update(&self.at.as_micros().to_be_bytes());
        for field in [&self.actor, &self.action, &self.subject, &self.detail] {
            hash.update(&(field.len() as u64).to_be_bytes());
            hash.update(field.as_bytes());
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.finish().as_ref());
        ChainHash(bytes)
    }
}

/// Where a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A number is missing or out of order.
    #[error("audit line {expected} is missing: the next one found is {found}")]
    Hole {
        /// The number that should follow.
        expected: i64,
        /// The number that does.
        found: i64,
    },
    /// A line is not what was hashed.
    #[error("audit line {no} was changed after it was written: its hash does not fit its content")]
    Changed {
        /// The first bad line.
        no: i64,
    },
}

/// Walks a chain from its start.
#[derive(Debug)]
pub struct Verifier {
    previous: ChainHash,
    lines: i64,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { previous: ChainHash::START, lines: 0 }
    }
}

impl Verifier {
    /// Takes the next line with the hash stored beside it.
    pub fn next(&mut self, line: &Line, stored: ChainHash) -> Result<(), Broken> {
        let expected = self.lines + 1;
        if line.no != expected {
            return Err(Broken::Hole { expected, found: line.no });
        }
        if line.chain(self.previous) != stored {
            return Err(Broken::Changed { no: line.no });
        }
        self.previous = stored;
        self.lines = expected;
        Ok(())
    }

    /// Lines walked, and the hash of the last.
    pub fn head(&self) -> (i64, ChainHash) {
        (self.lines, self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(broken, Some(Broken::Changed { no: 3 }));
    }

    #[test]
    fn names_a_missing_line() {
        let mut verifier = Verifier::default();
        let first = line(1);
        verifier.next(&first, first.chain(ChainHash::START)).unwrap();
        assert_eq!(verifier.next(&line(3), ChainHash::START), Err(Broken::Hole { expected: 2, found: 3 }));
    }

    #[test]
    fn moving_text_from_one_field_to_the_next_changes_the_hash() {
        let one = Line { actor: "ab".into(), action: "c".into(), ..line(1) };
        let two = Line { actor: "a".into(), action: "bc".into(), ..line(1) };
        assert_ne!(one.chain(ChainHash::START), two.chain(ChainHash::START));
    }
}
