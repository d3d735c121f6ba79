//! ICMP echo (RFC 792, RFC 4443): the question and whether a packet is its answer.

/// Random bytes by which an answer is known as ours. A datagram socket's identifier is chosen by the kernel,
/// so it cannot serve.
pub const PAYLOAD_BYTES: usize = 16;

const HEADER_BYTES: usize = 8;
const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;

/// The bytes to send. The checksum of version 6 needs the addresses, so the kernel fills it in.
#[must_use]
pub fn echo_request(
    v6: bool,
    identifier: u16,
    sequence: u16,
    payload: &[u8; PAYLOAD_BYTES],
) -> [u8; HEADER_BYTES + PAYLOAD_BYTES] {
    let mut packet = [0; HEADER_BYTES + PAYLOAD_BYTES];
    packet[0] = if v6 { REQUEST_V6 } else { REQUEST_V4 };
    packet[4..6].copy_from_slice(&identifier.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    packet[HEADER_BYTES..].copy_from_slice(payload);
    if !v6 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// Whether `packet`, with an IPv4 header before it or without, answers the request.
#[must_use]
pub fn is_reply(v6: bool, packet: &[u8], sequence: u16, payload: &[u8; PAYLOAD_BYTES]) -> bool {
    let message = if v6 { Some(packet) } else { without_ipv4_header(packet) };
    let Some(message) = message else { return false };
    let reply = if v6 { REPLY_V6 } else { REPLY_V4 };
    message.first() == Some(&reply)
        && message.get(6..8) == Some(&sequence.to_be_bytes())
        && message.get(HEADER_BYTES..) == Some(payload)
}

/// A raw socket of version 4 gives the header too; no ICMP echo begins with its 0x4n.
fn without_ipv4_header(packet: &[u8]) -> Option<&[u8]> {
    match packet.first()? {
        first if first >> 4 == 4 => packet.get(usize::from(first & 0x0f) * 4..),
        _ => Some(packet),
    }
}

/// RFC 1071, of an even number of bytes.
fn checksum(packet: &[u8]) -> u16 {
    let mut sum: u32 =
        packet.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAYLOAD: [u8; PAYLOAD_BYTES] = *b"sixteen bytes ..";

    #[test]
    fn a_request_with_its_checksum_sums_to_zero() {
        assert_eq!(checksum(&echo_request(false, 0x1234, 1, &PAYLOAD)), 0);
    }

    #[test]
    fn an_answer_is_known_with_and_without_its_ip_header() {
        let mut reply = echo_request(false, 9, 1, &PAYLOAD);
        reply[0] = REPLY_V4;
        assert!(is_reply(false, &reply, 1, &PAYLOAD));
        let mut with_header = vec![0x45; 20];
        with_header.extend(reply);
        assert!(is_reply(false, &with_header, 1, &PAYLOAD));
        assert!(!is_reply(false, &reply, 2, &PAYLOAD), "another sequence number");
        assert!(!is_reply(false, &reply, 1, &[0; PAYLOAD_BYTES]), "another asker's payload");
        assert!(!is_reply(false, &echo_request(false, 9, 1, &PAYLOAD), 1, &PAYLOAD), "our own request");
    }

    proptest! {
        #[test]
        fn any_packet_is_judged_without_a_panic(packet in prop::collection::vec(any::<u8>(), 0..80), v6: bool) {
            let _ = is_reply(v6, &packet, 1, &PAYLOAD);
        }
    }
}
