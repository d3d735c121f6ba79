//! Counts the pieces in which a peer sends: TLS records, HTTP/2 frames.
//!
//! A flood of pieces that carry nothing (SETTINGS, PING, PRIORITY, RST_STREAM, CONTINUATION, one-byte records) costs
//! its sender little and us a wake-up and a look at each. The libraries below bound some kinds; counting them all at
//! the socket bounds every kind, those that nobody thought of too.

/// How a protocol cuts its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing {
    /// Bytes before the first piece.
    preface: usize,
    /// Bytes of a piece's header.
    header: usize,
    /// Bytes that follow the header.
    length: fn(&[u8; LONGEST_HEADER]) -> usize,
}

/// Of both protocols.
const LONGEST_HEADER: usize = 9;

/// RFC 8446 5.1: type, version, length.
pub(super) const TLS_RECORDS: Framing = Framing {
    preface: 0,
    header: 5,
    length: |header| usize::from(u16::from_be_bytes([header[3], header[4]])),
};

/// RFC 9113 3.4 and 4.1: the client's preface, then length, type, flags and stream of each frame.
pub(super) const HTTP2_FRAMES: Framing = Framing {
    preface: 24,
    header: 9,
    length: |header| u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize,
};

/// Where in a peer's bytes we are.
#[derive(Debug)]
pub(super) struct Pieces {
    framing: Framing,
    skip: usize,
    header: [u8; LONGEST_HEADER],
    filled: usize,
}

impl Pieces {
    /// At the beginning.
    pub(super) fn of(framing: Framing) -> Self {
        Self { framing, skip: framing.preface, header: [0; LONGEST_HEADER], filled: 0 }
    }

    /// How many pieces begin in `bytes`, which follow those of the call before.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> u32 {
        let mut begun = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let (header, rest) = bytes.split_at((self.framing.header - self.filled).min(bytes.len()));
            self.header[self.filled..self.filled + header.len()].copy_from_slice(header);
            self.filled += header.len();
            bytes = rest;
            if self.filled == self.framing.header {
                begun += 1;
                self.filled = 0;
                self.skip = (self.framing.length)(&self.header);
            }
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_counted_once_however_the_bytes_are_cut() {
        let mut bytes = vec![b'x'; 24];
        for length in [0_u8, 3, 200, 0, 1] {
            bytes.extend([0, 0, length, 6, 0, 0, 0, 0, 0]);
            bytes.extend(vec![7; usize::from(length)]);
        }
        for cut in [1, 2, 5, 9, 10, 100, bytes.len()] {
            let mut pieces = Pieces::of(HTTP2_FRAMES);
            let counted: u32 = bytes.chunks(cut).map(|chunk| pieces.count(chunk)).sum();
            assert_eq!(counted, 5, "in cuts of {cut}");
        }
    }

    #[test]
    fn records_are_counted_by_their_own_lengths() {
        let mut pieces = Pieces::of(TLS_RECORDS);
        assert_eq!(pieces.count(&[22, 3, 1, 0, 2, 9, 9, 23, 3, 3, 1, 0]), 2);
        assert_eq!(pieces.count(&[0; 256]), 0, "the second record's own bytes");
        assert_eq!(pieces.count(&[23, 3, 3, 0, 0, 23, 3, 3, 0, 0]), 2);
    }
}
