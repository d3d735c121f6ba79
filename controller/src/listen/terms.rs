//! On what terms each port serves.

use std::time::Duration;

use super::{
    CONNECTION_AGE,
    places::{Caps, Requests},
};
use crate::config::Limits;

/// What a device may send ahead of what was read: one full message and its frame headers.
const DEVICE_WINDOW: u32 = 320 << 10;
/// What others may: HTTP/2's own beginning, four of the largest forms and enrolments.
const OTHERS_WINDOW: u32 = 64 << 10;
/// Connections a second from one address: at this speed a school of hundreds is back within its burst.
const ARRIVALS_PER_SEC: u32 = 32;
/// Requests a second from one address: some pages a second for each of a school's offices.
const REQUESTS_PER_SEC: u32 = 50;

/// The terms of one port.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// HTTP/1.1 as well.
    pub http1: bool,
    /// What it takes at once.
    pub caps: Caps,
    /// What one HTTP/2 connection may send ahead of what was read.
    pub window_bytes: u32,
    /// How long a request and its answer may take.
    pub request_life: Duration,
}

impl Terms {
    /// For devices with a certificate. Their requests are streams that last, and their speed is the certificate's.
    pub const fn agents(limits: &Limits) -> Self {
        Self {
            http1: false,
            caps: Caps {
                connections: limits.agent_connections as usize,
                per_address: limits.connections_per_address,
                arrivals_per_sec: ARRIVALS_PER_SEC,
                requests: None,
            },
            window_bytes: DEVICE_WINDOW,
            request_life: CONNECTION_AGE,
        }
    }
}

/// For devices that enrol: a computer room at once; an answer is there within seconds.
pub const ENROLLMENT: Terms = Terms {
    http1: false,
    caps: Caps {
        connections: 512,
        per_address: 128,
        arrivals_per_sec: ARRIVALS_PER_SEC,
        requests: Some(Requests { at_once: 256, per_address: 128, per_sec: REQUESTS_PER_SEC }),
    },
    window_bytes: OTHERS_WINDOW,
    request_life: Duration::from_secs(30),
};

/// For people: each county has some dozens at its desks, schools some hundreds, and a browser has up to six
/// connections. A request lasts as long as the longest file of a list, some megabytes, on a line of 100 kbit/s; forms
/// are given less by the console itself.
pub const CONSOLE: Terms = Terms {
    http1: true,
    caps: Caps {
        connections: 2_048,
        per_address: 256,
        arrivals_per_sec: ARRIVALS_PER_SEC,
        requests: Some(Requests { at_once: 256, per_address: 64, per_sec: REQUESTS_PER_SEC }),
    },
    window_bytes: OTHERS_WINDOW,
    request_life: Duration::from_secs(300),
};

/// For monitoring, all of it from this machine; metrics are there at once.
pub const ADMIN: Terms = Terms {
    http1: true,
    caps: Caps { connections: 64, per_address: 64, arrivals_per_sec: 1_000, requests: None },
    window_bytes: OTHERS_WINDOW,
    request_life: Duration::from_secs(30),
};
