//! Where messages may go: public addresses, and what the county's machine lists or grants.
//!
//! The list stands in the configuration file and nowhere in the console, so whoever enters a contractor's
//! address there cannot make the controller speak to the office's own network.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use bbt_domain::outbox::Refusal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::url::Scheme;

/// Ports of public receivers. Anything else may be a service that takes our bytes for its commands.
const PORTS: [u16; 2] = [443, 8443];

/// Public addresses of IPv6 (RFC 4291 2.4) all lie in here, in so far as they are given out at all.
const GLOBAL_V6: Network = Network::v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Inside of an office: opened by a grant.
const LOCAL: &[Network] = &[
    Network::v4([10, 0, 0, 0], 8),
    Network::v4([127, 0, 0, 0], 8),
    Network::v4([172, 16, 0, 0], 12),
    Network::v4([192, 168, 0, 0], 16),
    Network::v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    Network::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
];

/// Nobody's server, after IANA's registries of special-purpose addresses, and where clouds tell a machine its
/// keys. A grant does not open them: a granted *name* may lead here at any later time.
const SPECIAL: &[Network] = &[
    Network::v4([0, 0, 0, 0], 8),
    // Shared by the customers of a carrier; one cloud's keys at 100.100.100.200.
    Network::v4([100, 64, 0, 0], 10),
    // One cloud's control of its guests.
    Network::v4([168, 63, 129, 16], 32),
    // Link-local; most clouds' keys at 169.254.169.254.
    Network::v4([169, 254, 0, 0], 16),
    Network::v4([192, 0, 0, 0], 24),
    Network::v4([192, 0, 2, 0], 24),
    Network::v4([192, 88, 99, 0], 24),
    Network::v4([198, 18, 0, 0], 15),
    Network::v4([198, 51, 100, 0], 24),
    Network::v4([203, 0, 113, 0], 24),
    // Multicast, reserved, broadcast.
    Network::v4([224, 0, 0, 0], 3),
    // One cloud's keys, inside of the private range.
    Network::v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254], 128),
    // Tunnels and other protocols; with 2002::/16 they carry an IPv4 address that nobody looked at.
    Network::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    Network::v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    Network::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    Network::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// The county's rule of where messages may go.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    allow: Vec<Network>,
}

impl AddressRules {
    /// Public addresses and those of `allow`.
    pub fn new(allow: Vec<Network>) -> Self {
        Self { allow }
    }

    /// Whether a connection may be made to `address`.
    pub fn permit(&self, address: SocketAddr, scheme: Scheme, granted: bool) -> Result<(), Refusal> {
        let ip = address.ip().to_canonical();
        if self.allow.iter().any(|network| network.contains(ip)) {
            return Ok(());
        }
        match (Reach::of(ip), granted) {
            (Reach::Special, _) | (Reach::Local, false) => Err(Refusal::Range),
            (_, true) => Ok(()),
            (Reach::Public, false) => permit_public(scheme, address.port()),
        }
    }

    /// Whether a name may be entered at all, whatever it leads to.
    pub(super) fn permit_name(&self, scheme: Scheme, port: u16, granted: bool) -> Result<(), Refusal> {
        if granted || !self.allow.is_empty() { Ok(()) } else { permit_public(scheme, port) }
    }
}

fn permit_public(scheme: Scheme, port: u16) -> Result<(), Refusal> {
    match scheme {
        Scheme::Http => Err(Refusal::Plain),
        Scheme::Https if !PORTS.contains(&port) => Err(Refusal::Port),
        Scheme::Https => Ok(()),
    }
}

/// Who is reached at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Public,
    Local,
    Special,
}

impl Reach {
    fn of(ip: IpAddr) -> Self {
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(ip));
        if within(SPECIAL) {
            Self::Special
        } else if within(LOCAL) {
            Self::Local
        } else if ip.is_ipv4() || GLOBAL_V6.contains(ip) {
            Self::Public
        } else {
            Self::Special
        }
    }
}

/// A range of addresses, written as `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    const fn v4(octets: [u8; 4], bits: u8) -> Self {
        let [a, b, c, d] = octets;
        Self { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
    }

    const fn v6(segments: [u16; 8], bits: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = segments;
        Self { first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), bits }
    }

    /// Whether `ip` lies in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.first.is_ipv4() == ip.is_ipv4() && Self::around(ip, self.bits).first == self.first
    }

    /// The range of `bits` that `ip` lies in.
    fn around(ip: IpAddr, bits: u8) -> Self {
        let first = match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Self { first, bits }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address range {text:?} is not valid: write {remedy}")]
pub struct NetworkError {
    text: String,
    remedy: String,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = |remedy: String| NetworkError { text: text.to_owned(), remedy };
        let form =
            || wrong("it as 10.0.0.0/8, and a single address as 10.1.2.3/32 or fd00::1/128".to_owned());
        let (first, bits) = text.split_once('/').ok_or_else(form)?;
        let first: IpAddr = first.parse().map_err(|_| form())?;
        let bits: u8 = bits.parse().map_err(|_| form())?;
        if first != first.to_canonical() {
            return Err(wrong(format!("the IPv4 address itself, {}", first.to_canonical())));
        }
        if bits > if first.is_ipv4() { 32 } else { 128 } {
            return Err(form());
        }
        let network = Self::around(first, bits);
        if network.first == first { Ok(network) } else { Err(wrong(format!("its first address, {network}"))) }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str]) -> AddressRules {
        AddressRules::new(allow.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn https(rules: &AddressRules, ip: &str, granted: bool) -> Result<(), Refusal> {
        rules.permit(SocketAddr::new(ip.parse().unwrap(), 443), Scheme::Https, granted)
    }

    #[test]
    fn public_addresses_are_open_over_https_at_the_usual_ports_alone() {
        let rules = rules(&[]);
        for ip in ["1.2.3.4", "172.15.255.255", "172.32.0.0", "100.63.0.1", "223.255.255.255", "2400:3200::1"]
        {
            assert_eq!(https(&rules, ip, false), Ok(()), "{ip}");
        }
        let at = |port| SocketAddr::from(([1, 2, 3, 4], port));
        assert_eq!(rules.permit(at(8443), Scheme::Https, false), Ok(()));
        for port in [22, 25, 80, 6379, 9443] {
            assert_eq!(rules.permit(at(port), Scheme::Https, false), Err(Refusal::Port), "{port}");
        }
        assert_eq!(rules.permit(at(443), Scheme::Http, false), Err(Refusal::Plain));
    }

    #[test]
    fn what_is_inside_is_closed_and_opened_by_a_grant() {
        let inside = [
            "10.0.0.1",
            "127.0.0.1",
            "127.255.0.9",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "::1",
            "fc00::1",
            "fd12:3456::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
        ];
        for ip in inside {
            assert_eq!(https(&rules(&[]), ip, false), Err(Refusal::Range), "{ip}");
            assert_eq!(https(&rules(&[]), ip, true), Ok(()), "{ip} granted");
        }
    }

    #[test]
    fn what_is_nobodys_stays_closed_under_a_grant_too() {
        let special = [
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "169.254.169.254",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "198.19.0.1",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ];
        for ip in special {
            for granted in [false, true] {
                assert_eq!(https(&rules(&[]), ip, granted), Err(Refusal::Range), "{ip}");
            }
        }
    }

    #[test]
    fn what_is_listed_is_open_with_plain_http_and_any_port_and_its_neighbours_are_not() {
        let rules = rules(&["10.20.0.0/16", "169.254.1.1/32", "fd00:1::/32"]);
        let plain = |ip: &str| rules.permit(SocketAddr::new(ip.parse().unwrap(), 6000), Scheme::Http, false);
        for ip in ["10.20.0.0", "10.20.255.255", "::ffff:10.20.3.4", "169.254.1.1", "fd00:1::9"] {
            assert_eq!(plain(ip), Ok(()), "{ip}");
        }
        for ip in ["10.19.255.255", "10.21.0.0", "169.254.1.2", "fd00:2::9", "127.0.0.1"] {
            assert_eq!(plain(ip), Err(Refusal::Range), "{ip}");
        }
        assert_eq!(plain("1.2.3.4"), Err(Refusal::Plain), "a public address is not what was listed");
    }

    #[test]
    fn a_range_of_everything_holds_everything_of_its_kind() {
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains([255, 1, 2, 3].into()));
        assert!(!"0.0.0.0/0".parse::<Network>().unwrap().contains("::1".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("ff02::1".parse().unwrap()));
    }

    #[test]
    fn a_range_that_is_none_names_itself_and_the_remedy() {
        for (text, remedy) in [
            ("10.0.0.0", "10.0.0.0/8"),
            ("10.0.0.0/33", "10.0.0.0/8"),
            ("fd00::/129", "fd00::1/128"),
            ("office/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "its first address, 10.0.0.0/8"),
            ("::ffff:10.0.0.0/104", "the IPv4 address itself, 10.0.0.0"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(remedy), "{error}");
        }
    }
}
