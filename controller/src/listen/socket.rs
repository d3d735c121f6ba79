//! A peer's socket: read no faster than anything honest sends, and given up when nothing is read at its other end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{
    bucket::Bucket,
    pieces::{Framing, Pieces},
};

/// Records or frames a second that one connection may send for long: a device sends some in a minute, a browser some
/// dozens for a page, the fastest device of a load test three hundred.
const PIECES_PER_SEC: u32 = 500;
/// And at once: 4 MiB of a spool in frames of 16 KiB, with all that goes along, has a third of it.
const PIECES_AT_ONCE: u32 = 2_000;
/// A socket that takes nothing for this long belongs to a peer that does not read. The kernel calls a full socket
/// writable again only when a third of its buffer is free, so reading a byte now and then does not help.
pub(super) const WRITE_STALL: Duration = Duration::from_secs(30);

/// Reads pieces at the speed of honest peers. A flood is slowed down, not cut off: whoever is cut off comes back
/// with a new handshake, which costs a thousand times what its slow frames do.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    pieces: Pieces,
    bucket: Bucket,
    rest: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S, framing: Framing) -> Self {
        let bucket = Bucket::new(PIECES_PER_SEC, PIECES_AT_ONCE, Instant::now().into_std());
        Self { inner, pieces: Pieces::of(framing), bucket, rest: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(rest) = &mut this.rest {
            ready!(rest.as_mut().poll(cx));
            this.rest = None;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let begun = this.pieces.count(&buf.filled()[before..]);
        let pause = this.bucket.take(begun, Instant::now().into_std());
        this.rest = (!pause.is_zero()).then(|| Box::pin(sleep(pause)));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Fails a write that waits for longer than [`WRITE_STALL`].
#[derive(Debug)]
pub(super) struct Prompt<S> {
    inner: S,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Prompt<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, stalled: None }
    }

    fn within_deadline<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_STALL)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.within_deadline(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.within_deadline(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::listen::pieces::HTTP2_FRAMES;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_frames_is_read_at_the_speed_of_honest_ones() {
        let (ours, mut theirs) = duplex(1 << 20);
        let mut paced = Paced::new(ours, HTTP2_FRAMES);
        let pings = 3 * PIECES_AT_ONCE as usize;
        let mut flood = vec![b'x'; 24];
        flood.extend([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(pings));
        theirs.write_all(&flood).await.unwrap();
        drop(theirs);

        let began = Instant::now();
        let mut read = Vec::new();
        paced.read_to_end(&mut read).await.unwrap();

        assert_eq!(read, flood, "slowed down, and nothing lost");
        // What the last read brought is owed when the flood is over.
        let least = Duration::from_secs(u64::from(2 * PIECES_AT_ONCE / PIECES_PER_SEC) / 2);
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_given_up() {
        let (ours, _theirs) = duplex(1_024);
        let began = Instant::now();
        let error = Prompt::new(ours).write_all(&[0; 4_096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), WRITE_STALL);
    }
}
