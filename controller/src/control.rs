//! The control socket: how commands reach the running controller.
//!
//! One line of JSON in ([`Operation`]), one line out: `{"ok": …}` or `{"error": "sentence"}`. Whoever may open
//! the socket (0600, the controller's own account) acts as `local`.

use std::{io, path::Path, sync::Arc, time::Duration};

use bbt_domain::access::Actor;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
    time::timeout,
};

use crate::operation::{Operation, Operations};

/// Longest request: an operation has some hundred bytes.
const REQUEST_BYTES: u64 = 64 << 10;
/// A command that sends nothing for this long is gone.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// The answer to one operation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What was asked for.
    Ok(Json),
    /// Why not.
    Error(String),
}

/// Makes the socket at `path`. The caller holds the data folder's lock, so an old one is nobody's.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers commands until `drain` turns true.
pub async fn serve(listener: UnixListener, operations: Arc<Operations>, mut drain: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = drain.wait_for(|drain| *drain) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let operations = Arc::clone(&operations);
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &operations).await {
                        tracing::debug!(%error, "a command went away");
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "the control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, operations: &Operations) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = BufReader::new(read).take(REQUEST_BYTES);
    timeout(REQUEST_WITHIN, reader.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice::<Operation>(&line) {
        Ok(operation) => match operations.run(&Actor::Local, operation).await {
            Ok(value) => Answer::Ok(value),
            Err(error) => Answer::Error(error.to_string()),
        },
        Err(error) => Answer::Error(format!(
            "the running controller does not understand this command ({error}): use the same version of both"
        )),
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await?;
    write.shutdown().await
}

/// Asks the controller behind `path`; `None` when none is running.
pub async fn ask(path: &Path, operation: &Operation) -> io::Result<Option<Answer>> {
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = serde_json::to_vec(operation)?;
    bytes.push(b'\n');
    stream.write_all(&bytes).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.is_empty() {
        let reason = "the controller stopped before it answered: try again";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
    }
    Ok(Some(serde_json::from_slice(&answer)?))
}
