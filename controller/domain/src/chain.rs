//! Hash chains: rows that are only ever appended, each bound to the one before.
//!
//! The audit and the ledger are such chains. A row's hash covers every field of it and the hash of the row
//! before, so that a changed, missing or moved row is found by walking from the start. A chain whose end was cut
//! off is still a chain: whoever keeps its [`Head`] elsewhere can tell.

use ring::digest;

/// The hash of one row; the first row follows [`ChainHash::START`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// Before the first row.
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

/// The hash of one row under way: SHA-256 over the kind of chain, the previous hash and every field, each text
/// with its length before it, so that no two different rows have the same bytes.
pub struct Link(digest::Context);

impl Link {
    /// A row of the chain `kind` that follows `previous`.
    pub fn new(kind: &str, previous: ChainHash) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(kind.as_bytes());
        hash.update(b"\0");
        hash.update(&previous.0);
        Self(hash)
    }

    /// Takes a field of fixed length.
    #[must_use]
    pub fn number(mut self, number: i64) -> Self {
        self.0.update(&number.to_be_bytes());
        self
    }

    /// Takes a field of any length.
    #[must_use]
    pub fn field(mut self, bytes: &[u8]) -> Self {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// The hash.
    pub fn finish(self) -> ChainHash {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        ChainHash(bytes)
    }
}

/// A row of a chain.
pub trait Linked {
    /// What such a row is called: `audit line`.
    const NOUN: &'static str;

    /// 1, 2, 3 … without holes.
    fn no(&self) -> i64;

    /// The hash that binds this row to `previous`.
    fn chain(&self, previous: ChainHash) -> ChainHash;
}

/// How far a chain goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its rows.
    pub rows: i64,
    /// The hash of the last.
    pub hash: ChainHash,
}

impl Head {
    /// Of an empty chain.
    pub const START: Self = Self { rows: 0, hash: ChainHash::START };
}

/// Where a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A number is missing or out of order.
    #[error("{noun} {expected} is missing: the next one found is {found}")]
    Hole {
        /// What a row is called.
        noun: &'static str,
        /// The number that should follow.
        expected: i64,
        /// The number that does.
        found: i64,
    },
    /// A row is not what was hashed.
    #[error("{noun} {no} was changed after it was written: its hash does not fit its content")]
    Changed {
        /// What a row is called.
        noun: &'static str,
        /// The first bad row.
        no: i64,
    },
    /// The end is missing.
    #[error("{noun} {expected} is missing, and every one after it up to {last}: the end was cut off")]
    CutOff {
        /// What a row is called.
        noun: &'static str,
        /// The first that is missing.
        expected: i64,
        /// The last that was written.
        last: i64,
    },
    /// There is more than was ever written.
    #[error("{noun} {no} was never written by the controller: it follows the last one that was")]
    Foreign {
        /// What a row is called.
        noun: &'static str,
        /// The first such row.
        no: i64,
    },
    /// Every hash fits, but not the one that was kept aside: rows were changed and all hashes made anew.
    #[error(
        "{noun} {no} ends a chain that was written anew: it fits itself, but not the head that was kept beside it"
    )]
    Rewritten {
        /// What a row is called.
        noun: &'static str,
        /// The last row.
        no: i64,
    },
}

/// Walks a chain from its start.
#[derive(Debug)]
pub struct Verifier {
    head: Head,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { head: Head::START }
    }
}

impl Verifier {
    /// Takes the next row with the hash stored beside it.
    pub fn next<R: Linked>(&mut self, row: &R, stored: ChainHash) -> Result<(), Broken> {
        self.follows::<R>(row.no())?;
        if row.chain(self.head.hash) != stored {
            return Err(Broken::Changed { noun: R::NOUN, no: row.no() });
        }
        self.head = Head { rows: row.no(), hash: stored };
        Ok(())
    }

    /// Whether a row numbered `no` may come next.
    pub fn follows<R: Linked>(&self, no: i64) -> Result<(), Broken> {
        let expected = self.head.rows + 1;
        if no == expected { Ok(()) } else { Err(Broken::Hole { noun: R::NOUN, expected, found: no }) }
    }

    /// Rows walked, and the hash of the last.
    pub fn head(&self) -> Head {
        self.head
    }

    /// At the end of the walk: whether it ends where `kept`, which was written with the last row, says.
    pub fn finish<R: Linked>(&self, kept: Head) -> Result<Head, Broken> {
        let Head { rows, hash } = self.head;
        if rows < kept.rows {
            return Err(Broken::CutOff { noun: R::NOUN, expected: rows + 1, last: kept.rows });
        }
        if rows > kept.rows {
            return Err(Broken::Foreign { noun: R::NOUN, no: kept.rows + 1 });
        }
        if hash != kept.hash {
            return Err(Broken::Rewritten { noun: R::NOUN, no: rows });
        }
        Ok(self.head)
    }
}
