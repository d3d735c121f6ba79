//! The contract between device and county.
//!
//! The `.proto` files under `proto/bbt` are the source; `src/gen` is generated from them and committed, so
//! that a build needs no protobuf compiler. `tests/generated.rs` regenerates and compares.

pub mod codec;

/// The protocol revision that this build speaks. A controller accepts every revision up to its own.
pub const PROTOCOL_REVISION: u32 = 1;

/// Metadata key of the machine-readable reason beside a gRPC status.
pub const REASON_METADATA: &str = "bbt-reason";

/// `bbt.enrollment.v1`: how a device becomes known and stays so.
pub mod enrollment {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
    pub mod v1 {
        include!("gen/bbt.enrollment.v1.rs");
    }
}

/// `bbt.report.v1`: what a device reports and what the county answers.
pub mod report {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
    pub mod v1 {
        include!("gen/bbt.report.v1.rs");

        /// A secret is not printed, wherever the message around it is.
        impl std::fmt::Debug for Secret {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("Secret").field("name", &self.name).finish_non_exhaustive()
            }
        }
    }
}
