//! What is going on at one connection: which requests have begun and are not over.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

use super::IDLE;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    begun: u64,
    /// By number, so the first is the oldest.
    open: BTreeMap<u64, Instant>,
    quiet_since: Instant,
}

impl Activity {
    /// Nothing has been asked yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { begun: 0, open: BTreeMap::new(), quiet_since: Instant::now() })))
    }

    /// A request begins; it is over when what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        let mut state = self.lock();
        state.begun += 1;
        let no = state.begun;
        state.open.insert(no, Instant::now());
        Running { activity: Arc::clone(self), no }
    }

    /// Returns when nothing was asked for a while, or a request is not over `life` after its beginning: its body
    /// does not come, or its answer is not read.
    pub(super) async fn overstayed(&self, life: Duration) {
        loop {
            let end = self.end(life);
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    fn end(&self, life: Duration) -> Instant {
        let state = self.lock();
        match state.open.first_key_value() {
            Some((_, began)) => *began + life,
            None => state.quiet_since + IDLE,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is not over.
#[derive(Debug)]
pub(super) struct Running {
    activity: Arc<Activity>,
    no: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.open.remove(&self.no);
        state.quiet_since = Instant::now();
    }
}

/// `body`, with `held` kept until its last byte was taken or it was given up.
pub(super) fn holding<T: Send + Unpin + 'static>(body: Body, held: T) -> Body {
    Body::new(Holding { body, _held: held })
}

struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::time::{advance, timeout};

    use super::*;

    const LIFE: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_for_nothing_ends() {
        let began = Instant::now();
        Activity::new().overstayed(LIFE).await;
        assert_eq!(began.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_its_time_and_the_next_one_its_own() {
        let activity = Activity::new();
        let began = Instant::now();
        advance(IDLE / 2).await;
        let first = activity.begin();
        advance(LIFE / 2).await;
        let _second = activity.begin();
        drop(first);
        activity.overstayed(LIFE).await;
        assert_eq!(began.elapsed(), IDLE / 2 + LIFE / 2 + LIFE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_ends_with_the_body() {
        let activity = Activity::new();
        let body = holding(Body::from("page"), activity.begin());
        assert_eq!(body.size_hint().exact(), Some(4), "its length is still told");
        assert!(timeout(2 * IDLE, activity.overstayed(LIFE)).await.is_err());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "page");
        assert!(timeout(2 * IDLE, activity.overstayed(LIFE)).await.is_ok());
    }
}
