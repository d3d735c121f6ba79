//! HTTP/2 and gRPC as bytes: RFC 9113 4.1, RFC 7541 6.2.2 (literals without Huffman), and gRPC's five bytes before a
//! message.

/// DATA.
pub(super) const DATA: u8 = 0;
/// HEADERS.
pub(super) const HEADERS: u8 = 1;
/// PRIORITY.
pub(super) const PRIORITY: u8 = 2;
/// RST_STREAM.
pub(super) const RST_STREAM: u8 = 3;
/// SETTINGS.
pub(super) const SETTINGS: u8 = 4;
/// PING.
pub(super) const PING: u8 = 6;
/// WINDOW_UPDATE.
pub(super) const WINDOW_UPDATE: u8 = 8;
/// CONTINUATION.
pub(super) const CONTINUATION: u8 = 9;

/// END_STREAM.
pub(super) const END_STREAM: u8 = 1;
/// END_HEADERS.
pub(super) const END_HEADERS: u8 = 4;
/// PADDED.
pub(super) const PADDED: u8 = 8;

/// One frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The preface, and SETTINGS of these numbers and values.
pub(super) fn hello(settings: &[(u16, u32)]) -> Vec<u8> {
    let settings =
        settings.iter().flat_map(|(no, value)| [&no.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let settings: Vec<u8> = settings.collect();
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &settings)].concat()
}

/// A header field, kept in no table.
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&length(text.len(), 0x7f)[..], text.as_bytes()].concat();
    [&[0][..], &text(name), &text(value)].concat()
}

/// A number of RFC 7541 5.1 in the low bits of its first byte.
fn length(mut number: usize, most: usize) -> Vec<u8> {
    if number < most {
        return vec![number as u8];
    }
    let mut bytes = vec![most as u8];
    number -= most;
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The fields of a request.
pub(super) fn request(method: &str, path: &str) -> Vec<u8> {
    let fields = [
        (":method", method),
        (":scheme", "https"),
        (":path", path),
        (":authority", "county.example"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A request whose body follows.
pub(super) fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", path))
}

/// A request without a body.
pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path))
}

/// The numbers of the streams that a client opens.
pub(super) fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// A message of gRPC.
pub(super) fn message(bytes: &[u8]) -> Vec<u8> {
    [&[0][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// A message in DATA frames.
pub(super) fn data(stream: u32, message: &[u8]) -> Vec<u8> {
    message.chunks(16 << 10).flat_map(|chunk| frame(DATA, 0, stream, chunk)).collect()
}
