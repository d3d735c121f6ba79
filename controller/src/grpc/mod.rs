//! The gRPC services: they parse, call one operation, and convert back.

pub mod convert;
pub mod enrollment;
mod gate;
pub mod issuing;
mod nonces;
mod reattachment;
pub mod renewal;
pub mod reports;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use bbt_domain::ids::DeviceId;
use bbt_proto::REASON_METADATA;
use bbt_store::certificates::CertificateRefusal;
use tonic::{Code, Request, Status, metadata::MetadataValue};

use crate::listen::{DevicePeer, PeerAddress, refusals::Cause};

/// Largest message taken or given on any service.
pub const MESSAGE_BYTES: usize = 256 << 10;

/// A refusal: status, the machine's word beside it, and a sentence for a person.
pub(crate) fn refusal(cause: Cause, message: impl Into<String>) -> Status {
    let code = match cause {
        Cause::RequestInvalid | Cause::NonceUnknown => Code::InvalidArgument,
        Cause::ControllerTooOld => Code::FailedPrecondition,
        Cause::ClockGuard => Code::Unavailable,
        Cause::TooManyWaiting => Code::ResourceExhausted,
        _ => Code::PermissionDenied,
    };
    let mut status = Status::new(code, message);
    status.metadata_mut().insert(REASON_METADATA, MetadataValue::from_static(cause.code()));
    status
}

/// A refused certificate in the words of the wire.
fn certificate_refusal(device: DeviceId, refusal: CertificateRefusal) -> (Cause, String) {
    match refusal {
        CertificateRefusal::UnknownDevice => {
            (Cause::UnknownDevice, format!("device {device} is not in this county's records: enrol it anew"))
        }
        CertificateRefusal::Revoked => (Cause::Revoked, revoked(device)),
        CertificateRefusal::Superseded => (
            Cause::CertificateSuperseded,
            format!("a newer certificate of device {device} is in use: use that one, or re-attach"),
        ),
        CertificateRefusal::OtherRecord => (
            Cause::CertificateUnknown,
            format!("this certificate is not on record for device {device}: re-attach, or enrol it anew"),
        ),
        CertificateRefusal::Refused => (Cause::Refused, turned_away()),
        CertificateRefusal::Crowded => (Cause::TooManyWaiting, crowded()),
    }
}

fn turned_away() -> String {
    "somebody of the county looked at this PC and turned it away: ask them to take that back".to_owned()
}

fn crowded() -> String {
    "too many PCs of this school wait for somebody of the county to look at them: come again later".to_owned()
}

fn revoked(device: DeviceId) -> String {
    format!(
        "device {device} was revoked by the county: it may come again when the county gives back its access"
    )
}

fn too_new(revision: u32) -> String {
    format!(
        "protocol revision {revision} is newer than this controller's {}: update the controller first",
        bbt_proto::PROTOCOL_REVISION
    )
}

/// Where a call came from.
fn peer_of<T>(request: &Request<T>) -> Result<IpAddr, Status> {
    let peer = request.extensions().get::<PeerAddress>();
    peer.map(|peer| peer.0.ip()).ok_or_else(|| Status::internal("the connection has no address"))
}

/// The device whose certificate the connection of a call has shown.
fn device_of<T>(request: &Request<T>) -> Result<DevicePeer, Status> {
    let peer = request.extensions().get::<DevicePeer>().copied();
    peer.ok_or_else(|| Status::unauthenticated("this port needs a device's certificate"))
}
