//! Whether a controller lets this device in, asked without reporting anything.
//!
//! With TLS 1.3 a client certificate is refused only after the handshake, so a handshake alone proves nothing. The
//! report service is called with a stream that ends before its first word: who gets as far as to be told that the
//! word is missing is let in. The stream of an agent that runs goes on undisturbed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bbt_proto::report::v1::{StreamRequest, report_service_client::ReportServiceClient};
use rustls::ClientConfig;
use tokio::time::timeout;
use tonic::Code;

use super::{address::Address, connect::Connection, refusal::Refusal};

/// A controller under load answers in a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The address that answered, or why the device is not let in.
pub async fn knock(address: &Address, tls: Arc<ClientConfig>) -> Result<SocketAddr, Refusal> {
    let connection = Connection::open(address, tls).await.map_err(|error| Refusal::of_connect(&error))?;
    let mut client = ReportServiceClient::new(connection.channel.clone());
    let silence = tokio_stream::empty::<StreamRequest>();
    let answer =
        timeout(ANSWER_WITHIN, async { client.stream(silence).await?.into_inner().message().await }).await;
    match (answer, connection.tls_error()) {
        (_, Some(error)) => Err(Refusal::of_tls(address, &error)),
        (Ok(Ok(_)), None) => Ok(connection.peer),
        (Ok(Err(status)), None) if status.code() == Code::InvalidArgument => Ok(connection.peer),
        (Ok(Err(status)), None) => Err(Refusal::of_status(address, &status)),
        (Err(_), None) => Err(Refusal::passing(
            "silent",
            format!("the controller {address} lets this device in and then does not answer"),
            "see whether the controller is overloaded: `bbt-controller status`",
        )),
    }
}
