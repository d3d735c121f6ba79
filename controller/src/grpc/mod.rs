//! The gRPC services: they parse, call one operation, and convert back.

pub mod convert;
pub mod enrollment;
pub mod reports;

use bbt_proto::REASON_METADATA;
use tonic::{Code, Status, metadata::MetadataValue};

use crate::listen::refusals::Cause;

/// Largest message taken or given on any service.
pub const MESSAGE_BYTES: usize = 256 << 10;

/// A refusal: status, the machine's word beside it, and a sentence for a person.
pub(crate) fn refusal(code: Code, cause: Cause, message: impl Into<String>) -> Status {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert(REASON_METADATA, MetadataValue::from_static(cause.code()));
    status
}
