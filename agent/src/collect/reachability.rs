//! Whether gateway and controller answer, and how long the way there and back takes.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    time::Duration,
};

use bbt_proto::report::v1 as wire;

use super::{
    Collector, Section,
    source::{self, Problems, Unknown},
};
use crate::{
    decode::route,
    platform::{Method, Platform},
};

pub(super) const NAME: &str = "reachability";
/// A resolver without an answer takes up to 20 s by its own defaults.
const DEADLINE: Duration = Duration::from_secs(30);
/// A gateway is in the building.
const ECHO_DEADLINE: Duration = Duration::from_secs(2);
/// The controller may lie behind a slow line: one lost packet is sent again after 1 s, a second after 2 s more.
const CONNECT_DEADLINE: Duration = Duration::from_secs(4);
/// A name may have one address of each version; more are not tried.
const MAX_ADDRESSES: usize = 2;

pub(super) struct Reachability {
    pub(super) controller: Option<String>,
}

impl Collector for Reachability {
    fn name(&self) -> &'static str {
        NAME
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn collect(&self, platform: &dyn Platform) -> Section {
        let mut problems = Problems::default();
        let gateway = gateway(platform, &mut problems);
        let controller = match &self.controller {
            Some(address) => Some(controller(platform, address, &mut problems)),
            None => {
                let message = "No controller is known before this device is enrolled.";
                problems.note("controller", Unknown::not_offered(message));
                None
            }
        };
        Section::Reachability(wire::Reachability { gateway, controller, problems: problems.into_list() })
    }

    fn failed(&self, problem: wire::Problem) -> Section {
        Section::Reachability(wire::Reachability { problems: vec![problem], ..wire::Reachability::default() })
    }
}

fn gateway(platform: &dyn Platform, problems: &mut Problems) -> Option<wire::Peer> {
    let folder = platform.roots().proc.join("net");
    let route = source::table(&folder.join("route"));
    // A system without version 6 has no such file, and needs none.
    let ipv6_route = source::table(&folder.join("ipv6_route")).unwrap_or_default();
    let address = route::default_gateway(route.as_deref().unwrap_or_default(), &ipv6_route);
    let Some(address) = address else {
        let reason = route.err().unwrap_or_else(|| Unknown::not_offered("There is no default route."));
        problems.note("gateway", reason);
        return None;
    };
    if let IpAddr::V6(v6) = address
        && v6.is_unicast_link_local()
    {
        let message = format!("The gateway {v6} has an address of its link only, to which no echo is sent.");
        problems.note("gateway.reachable", Unknown::not_offered(message));
        return Some(wire::Peer { address: Some(v6.to_string()), ..wire::Peer::default() });
    }
    let answer = platform.echo(address, ECHO_DEADLINE);
    Some(peer("gateway", address.to_string(), answer, problems))
}

fn controller(platform: &dyn Platform, address: &str, problems: &mut Problems) -> wire::Peer {
    let resolved = match resolve(address) {
        Ok(resolved) => resolved,
        Err(error) => {
            let tried = format_args!("Looking up the controller {address}");
            problems.note("controller.reachable", Unknown::from_io(tried, &error));
            return wire::Peer { address: Some(address.to_owned()), ..wire::Peer::default() };
        }
    };
    let mut answer = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for peer in resolved.into_iter().take(MAX_ADDRESSES) {
        answer = platform.connect(peer, CONNECT_DEADLINE).map(|took| (Method::Tcp, took));
        if answer.is_ok() {
            break;
        }
    }
    peer("controller", address.to_owned(), answer, problems)
}

/// An address is taken as it is; only names go to the resolver.
fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    match address.parse() {
        Ok(literal) => Ok(vec![literal]),
        Err(_) => Ok(address.to_socket_addrs()?.collect()),
    }
}

fn peer(
    item: &str,
    address: String,
    answer: io::Result<(Method, Duration)>,
    problems: &mut Problems,
) -> wire::Peer {
    let address = Some(address);
    match answer {
        Ok((method, took)) => wire::Peer {
            address,
            reachable: Some(true),
            round_trip_micros: u64::try_from(took.as_micros()).ok(),
            method: Some(match method {
                Method::Icmp => "icmp".into(),
                Method::Tcp => "tcp".into(),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            problems.note(format_args!("{item}.reachable"), Unknown::from_io("Asking the peer", &error));
            wire::Peer { address, ..wire::Peer::default() }
        }
        Err(error) => {
            let tried = format!("Reaching the {item} {}", address.as_deref().unwrap_or_default());
            problems.note(format_args!("{item}.round_trip"), Unknown::from_io(tried, &error));
            wire::Peer { address, reachable: Some(false), ..wire::Peer::default() }
        }
    }
}
