//! How long the way to a peer and back takes.
//!
//! An ICMP echo through a datagram socket where the system allows it (`net.ipv4.ping_group_range`), else
//! through a raw socket where the agent is privileged. A peer that is silent to ICMP, or cannot be asked, is
//! tried by TCP: a refused connection has come back too.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    process,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Method;
use crate::decode::icmp;

pub(super) use crate::decode::icmp::PAYLOAD_BYTES;

/// Where a gateway most often serves its own page; which port is asked does not matter, as refusal counts.
const TCP_PORT: u16 = 80;
/// ICMP gets this share of the deadline, so that TCP still has time.
const ICMP_SHARE: u32 = 2;
/// An echo is the first of its socket.
const SEQUENCE: u16 = 1;
/// More than our reply with the longest IPv4 header; other packets may be cut.
const REPLY_BYTES: usize = 256;

pub(super) fn echo(
    peer: IpAddr,
    payload: [u8; PAYLOAD_BYTES],
    deadline: Duration,
) -> io::Result<(Method, Duration)> {
    let started = Instant::now();
    if let Ok(took) = by_icmp(peer, payload, deadline / ICMP_SHARE) {
        return Ok((Method::Icmp, took));
    }
    let left = deadline.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
    by_tcp(peer, left).map(|took| (Method::Tcp, took))
}

fn by_icmp(peer: IpAddr, payload: [u8; PAYLOAD_BYTES], deadline: Duration) -> io::Result<Duration> {
    let (domain, protocol) = match peer {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))
        .or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)))?;
    socket.connect(&SockAddr::from(SocketAddr::new(peer, 0)))?;
    // std's type has the safe `send` and `recv`; which protocol the descriptor speaks does not matter to it.
    let socket = UdpSocket::from(socket);
    let identifier = u16::try_from(process::id() & 0xffff).unwrap_or_default();
    let started = Instant::now();
    socket.send(&icmp::echo_request(peer.is_ipv6(), identifier, SEQUENCE, &payload))?;
    let mut buffer = [0; REPLY_BYTES];
    loop {
        let left = deadline.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        if icmp::is_reply(peer.is_ipv6(), &buffer[..length], SEQUENCE, &payload) {
            return Ok(started.elapsed());
        }
    }
}

fn by_tcp(peer: IpAddr, deadline: Duration) -> io::Result<Duration> {
    let started = Instant::now();
    match TcpStream::connect_timeout(&SocketAddr::new(peer, TCP_PORT), deadline) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => Err(error),
        Ok(_) | Err(_) => Ok(started.elapsed()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_own_machine_answers_by_one_of_the_two_ways() {
        let (_, took) =
            echo(Ipv4Addr::LOCALHOST.into(), [7; PAYLOAD_BYTES], Duration::from_secs(10)).unwrap();
        assert!(took > Duration::ZERO);
    }

    #[test]
    fn a_refused_connection_has_reached_its_peer() {
        // Nothing listens on port 80 of an address that only this machine has; if something does, it is reached too.
        by_tcp(Ipv4Addr::new(127, 9, 8, 7).into(), Duration::from_secs(10)).unwrap();
    }
}
