//! What both engines queue: an operation with its result type erased.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::Tx;
use crate::error::StoreError;

/// An operation that waits for its turn.
pub(super) trait Job: Send {
    /// Runs the operation, anew if it ran before; whether it is to be kept.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Releases the result of the last run; `end` says how its transaction ended.
    fn finish(self: Box<Self>, end: Result<(), StoreError>);
}

/// An operation, its result and who waits for it.
struct Pending<T, F> {
    operation: F,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

/// A job that does `operation`, and where its result will be.
pub(super) fn job<T, F>(operation: F) -> (Box<dyn Job>, Receipt<T>)
where
    T: Send + 'static,
    F: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
{
    let (reply, result) = oneshot::channel();
    (Box::new(Pending { operation, result: None, reply }), Receipt { result })
}

impl<T, F> Job for Pending<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let result = catch_unwind(AssertUnwindSafe(|| (self.operation)(tx)));
        let mut result = result.unwrap_or_else(|panic| Err(StoreError::Bug(panic_text(panic.as_ref()))));
        if let (Ok(_), Some(failure)) = (&result, tx.failure()) {
            result = Err(failure.clone());
        }
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn finish(self: Box<Self>, end: Result<(), StoreError>) {
        let result = match (self.result, end) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // A caller that went away wants no answer.
        let _ = self.reply.send(result);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// An operation that is queued.
pub struct Receipt<T> {
    result: oneshot::Receiver<Result<T, StoreError>>,
}

impl<T> Receipt<T> {
    /// The result, once its commit is on disk.
    pub async fn committed(self) -> Result<T, StoreError> {
        self.result.await.map_err(|_| StoreError::Closed)?
    }
}
