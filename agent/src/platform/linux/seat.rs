//! Whether somebody sits at the set: what systemd-logind writes down, and, once a minute while somebody is
//! signed in, what it says about idleness.
//!
//! A desktop tells logind when it is left alone; one that never does counts as in use for as long as somebody is
//! signed in. Who that is, is neither asked nor kept.

use std::{
    fs, io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{super::Seat, child};
use crate::decode::logind;

/// An answer about idleness is used this long: to ask costs a process, and desktops call nobody idle sooner.
const IDLE_ASK_EVERY: Duration = Duration::from_secs(60);
/// `loginctl` answers in 10 ms; a bus that hangs must not hold up the readings.
const IDLE_WITHIN: Duration = Duration::from_secs(2);
/// Sessions in front at one time that are asked about; a PC has one seat, and so one.
const SESSIONS: usize = 4;

/// Remembers what was last heard about idleness.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    heard: Mutex<Option<Heard>>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    sessions: Vec<String>,
    seat: Result<Seat, (io::ErrorKind, String)>,
}

impl Watcher {
    /// What goes on at the seat, by the files below `run`. Idleness only the machine itself can answer; where
    /// `own_machine` is an error, that is the answer.
    pub(super) fn look(&self, run: &Path, own_machine: io::Result<()>) -> io::Result<Seat> {
        let sessions = at_seat(&run.join("systemd/sessions"))?;
        if sessions.is_empty() {
            return Ok(Seat::Nobody);
        }
        own_machine?;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = heard.as_ref()
            && heard.at.elapsed() < IDLE_ASK_EVERY
            && heard.sessions == sessions
        {
            return heard.seat.clone().map_err(|(kind, text)| io::Error::new(kind, text));
        }
        let seat = seat_of(&sessions, is_idle);
        let kept = seat.as_ref().copied().map_err(|error| (error.kind(), error.to_string()));
        *heard = Some(Heard { at: Instant::now(), sessions, seat: kept });
        seat
    }
}

/// The sessions of people at the seat, by name.
fn at_seat(folder: &Path) -> io::Result<Vec<String>> {
    let mut sessions = Vec::new();
    for entry in fs::read_dir(folder).map_err(without_logind)? {
        let entry = entry?;
        // Beside the files lie pipes (`2.ref`), which nobody may read from.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !entry.file_type()?.is_file() || !name.chars().all(|letter| letter.is_ascii_alphanumeric()) {
            continue;
        }
        match fs::read_to_string(entry.path()) {
            Ok(file) if logind::is_at_seat(&file) => sessions.push(name),
            Ok(_) => {}
            // It ended between the two looks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sessions.sort();
    sessions.truncate(SESSIONS);
    Ok(sessions)
}

fn without_logind(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            io::ErrorKind::Unsupported,
            "systemd-logind does not run here, and nothing else tells whether somebody is signed in",
        ),
        _ => error,
    }
}

/// In use if one of them is; idle only if all are known to be.
fn seat_of(sessions: &[String], is_idle: impl Fn(&str) -> io::Result<bool>) -> io::Result<Seat> {
    let mut unknown = None;
    for session in sessions {
        match is_idle(session) {
            Ok(false) => return Ok(Seat::Active),
            Ok(true) => {}
            Err(error) => unknown = Some(error),
        }
    }
    unknown.map_or(Ok(Seat::Idle), Err)
}

fn is_idle(session: &str) -> io::Result<bool> {
    let answer = child::answer("loginctl", &["show-session", session, "-p", "IdleHint"], IDLE_WITHIN)?;
    logind::idle_hint(&answer).ok_or_else(|| io::Error::other("loginctl tells no idle hint"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    fn refused() -> io::Result<bool> {
        Err(io::ErrorKind::TimedOut.into())
    }

    #[test]
    fn one_session_in_use_is_enough_and_idle_are_only_all() {
        let second_is_used = |session: &str| Ok(session != "1");
        assert_eq!(seat_of(&sessions(2), second_is_used).unwrap(), Seat::Active);
        assert_eq!(seat_of(&sessions(2), |_| Ok(true)).unwrap(), Seat::Idle);
    }

    #[test]
    fn what_is_not_answered_is_never_idle() {
        let second_is_silent = |session: &str| if session == "1" { refused() } else { Ok(true) };
        assert!(seat_of(&sessions(2), second_is_silent).is_err());
        let first_is_silent = |session: &str| if session == "0" { refused() } else { Ok(false) };
        assert_eq!(seat_of(&sessions(2), first_is_silent).unwrap(), Seat::Active);
    }
}
