//! How the protocols are spoken: every limit that hyper and h2 have is set here, none left to its default.

use std::time::Duration;

use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};

use super::{PING_AFTER, PING_ANSWER};

/// Streams at once in one HTTP/2 connection: a device uses one or two, a browser a few.
const STREAMS: u32 = 16;
/// Largest list of headers; ours have some hundred bytes. Of larger ones h2 reads, without keeping them, as many
/// CONTINUATION frames as four such lists would need, and then ends the connection.
const HEADER_BYTES: u32 = 8 << 10;
/// Largest HTTP/2 frame.
const FRAME_BYTES: u32 = 16 << 10;
/// What is kept for one stream's answer: a page or an ack.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// HTTP/1.1 requests must have all their headers by then.
const HEADERS: Duration = Duration::from_secs(10);
/// Headers of an HTTP/1.1 request; browsers send some twenty.
const HEADERS_MOST: usize = 64;
/// What is kept of an HTTP/1.1 connection unread or unwritten: twice the largest list of headers.
const HTTP1_BUFFER_BYTES: usize = 16 << 10;
/// Streams opened and reset by a peer before we looked at them, until it is cut off (CVE-2023-44487).
const RESET_STREAMS: usize = 20;
/// Streams that we had to reset for a peer's mistakes, until it is cut off (CVE-2025-8671).
const ERROR_RESET_STREAMS: usize = 100;

/// HTTP/2, with `window` bytes that a peer may send ahead of what was read.
pub(super) fn http2(window: u32) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_ANSWER)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(window)
        .initial_connection_window_size(window)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(ERROR_RESET_STREAMS);
    builder.http2_only()
}

/// HTTP/1.1.
pub(super) fn http1() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(HEADERS_MOST)
        .max_buf_size(HTTP1_BUFFER_BYTES);
    builder.http1_only()
}
