//! Another program as a child, which has its answer in time or is killed.

use std::{
    io::{self, Read},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Between two looks whether the child has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What a child's answer may be at most; a pipe holds as much, so a child never waits for us to read.
const ANSWER_MAX_BYTES: u64 = 64 << 10;

/// What `program` prints, if it ends well within the deadline. It gets nothing of our environment but a path.
pub(super) fn answer(program: &str, arguments: &[&str], deadline: Duration) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let ended = end(&mut child, Instant::now() + deadline);
    if !matches!(ended, Ok(true)) {
        // One that has ended meanwhile cannot be killed, and is waited for all the same.
        child.kill().ok();
        child.wait()?;
    }
    if !ended? {
        return Err(io::Error::other(format!("{program} refused")));
    }
    let mut text = String::new();
    if let Some(output) = child.stdout.take() {
        output.take(ANSWER_MAX_BYTES).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// Whether it ended well; an error if it did not end.
fn end(child: &mut Child, latest: Instant) -> io::Result<bool> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= latest {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it gave no answer in time and was stopped"));
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_child_that_ends_well_has_its_answer() {
        assert_eq!(answer("echo", &["IdleHint=no"], LONG).unwrap(), "IdleHint=no\n");
    }

    #[test]
    fn one_that_refuses_hangs_or_is_not_there_is_an_error() {
        assert_eq!(answer("false", &[], LONG).unwrap_err().kind(), io::ErrorKind::Other);
        let began = Instant::now();
        let hung = answer("sleep", &["60"], Duration::from_millis(20)).unwrap_err();
        assert_eq!(hung.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < LONG, "it was not waited for");
        assert_eq!(answer("no-such-program", &[], LONG).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
