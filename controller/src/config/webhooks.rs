//! `[webhooks]`: how contractors are told of tickets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::contractor::address::Network;

/// Messages to contractors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Addresses, beside public ones over https, that messages may go to: also over plain http, at any port.
    pub allow: Vec<Network>,
    /// The roots that receivers' certificates must lead to, as PEM.
    pub ca_file: PathBuf,
}

impl Default for Webhooks {
    fn default() -> Self {
        // Where Debian's package ca-certificates keeps the system's roots.
        Self { allow: Vec::new(), ca_file: PathBuf::from("/etc/ssl/certs/ca-certificates.crt") }
    }
}
