//! Where work waits for the threads of the pool: what is about one subject is done one after the other, in the
//! order in which it came; all else goes to whoever is free.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Subject, error::StoreError};

/// A queue of `J`.
pub(super) struct Desk<J> {
    waiting: Mutex<Waiting<J>>,
    come: Condvar,
    room: Arc<Semaphore>,
}

struct Waiting<J> {
    ready: VecDeque<Task<J>>,
    /// For each subject that has a turn or is ready for one, what waits behind it.
    behind: HashMap<Subject, VecDeque<Task<J>>>,
    open: bool,
}

struct Task<J> {
    job: J,
    subject: Option<Subject>,
    room: OwnedSemaphorePermit,
}

/// A thread's turn at a job. When it ends, the next job about the same subject is ready.
pub(super) struct Turn<'a, J> {
    desk: &'a Desk<J>,
    subject: Option<Subject>,
    _room: OwnedSemaphorePermit,
}

impl<J> Desk<J> {
    /// With room for `room` jobs, those that are being done included.
    pub(super) fn new(room: usize) -> Self {
        let waiting = Waiting { ready: VecDeque::new(), behind: HashMap::new(), open: true };
        Self { waiting: Mutex::new(waiting), come: Condvar::new(), room: Arc::new(Semaphore::new(room)) }
    }

    /// Queues a job as soon as there is room.
    pub(super) async fn put(&self, subject: Option<Subject>, job: J) -> Result<(), StoreError> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let mut waiting = self.waiting();
        let task = Task { job, subject, room };
        match subject {
            Some(subject) if waiting.behind.contains_key(&subject) => {
                waiting.behind.entry(subject).or_default().push_back(task);
            }
            _ => {
                waiting.behind.extend(subject.map(|subject| (subject, VecDeque::new())));
                waiting.ready.push_back(task);
                self.come.notify_one();
            }
        }
        Ok(())
    }

    /// Waits for a job; `None` when the desk is closed and nothing is ready.
    pub(super) fn take(&self) -> Option<(J, Turn<'_, J>)> {
        let mut waiting = self.waiting();
        loop {
            if let Some(Task { job, subject, room }) = waiting.ready.pop_front() {
                return Some((job, Turn { desk: self, subject, _room: room }));
            }
            if !waiting.open {
                return None;
            }
            waiting = self.come.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes no more; what is queued is still done.
    pub(super) fn close(&self) {
        self.room.close();
        self.waiting().open = false;
        self.come.notify_all();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<J>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> Drop for Turn<'_, J> {
    fn drop(&mut self) {
        let Some(subject) = self.subject else { return };
        let mut waiting = self.desk.waiting();
        match waiting.behind.get_mut(&subject).and_then(VecDeque::pop_front) {
            Some(next) => {
                waiting.ready.push_back(next);
                self.desk.come.notify_one();
            }
            None => {
                waiting.behind.remove(&subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<Subject> = Some([1; 16]);
    const B: Option<Subject> = Some([2; 16]);

    #[tokio::test]
    async fn a_second_job_about_a_subject_waits_for_the_first_and_nobody_else_does() {
        let desk = Desk::new(8);
        for (subject, job) in [(A, "a1"), (A, "a2"), (B, "b1"), (None, "free"), (A, "a3")] {
            desk.put(subject, job).await.unwrap();
        }
        desk.close();
        let (first, turn) = desk.take().unwrap();
        let others: Vec<_> = std::iter::from_fn(|| desk.take()).map(|(job, _)| job).collect();
        assert_eq!((first, others), ("a1", vec!["b1", "free"]));
        drop(turn);
        let rest: Vec<_> = std::iter::from_fn(|| desk.take()).map(|(job, _)| job).collect();
        assert_eq!(rest, ["a2", "a3"], "a closed desk still gives out what was queued");
        assert!(desk.waiting().behind.is_empty());
    }

    #[tokio::test]
    async fn a_full_desk_takes_the_next_job_when_one_was_done() {
        let desk = Desk::new(1);
        desk.put(A, 1).await.unwrap();
        let mut second = Box::pin(desk.put(A, 2));
        tokio::select! {
            biased;
            _ = &mut second => panic!("there was no room"),
            () = std::future::ready(()) => {}
        }
        drop(desk.take());
        second.await.unwrap();
        assert_eq!(desk.take().map(|(job, _)| job), Some(2));
    }
}
