//! What this machine is called and reached by: the defaults of `init --name`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Host name and addresses that are not of the loopback, without repetition.
pub fn own_names() -> Vec<String> {
    let mut names = Vec::new();
    let system = rustix::system::uname();
    if let Ok(host) = system.nodename().to_str()
        && crate::pki::issue::is_host_name(host)
        && host != "localhost"
    {
        names.push(host.to_owned());
    }
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let four = ipv4_of_fib_trie(&read("/proc/net/fib_trie")).into_iter().map(IpAddr::V4);
    let six = ipv6_of_if_inet6(&read("/proc/net/if_inet6")).into_iter().map(IpAddr::V6);
    for address in four.chain(six) {
        let name = address.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The machine's own IPv4 addresses: leaves of the kernel's routing trie marked `/32 host LOCAL`.
fn ipv4_of_fib_trie(text: &str) -> Vec<Ipv4Addr> {
    let mut found: Vec<Ipv4Addr> = Vec::new();
    let mut leaf = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf
            && !Ipv4Addr::is_loopback(&address)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// The machine's own IPv6 addresses of global scope (second column after index and length is the scope).
fn ipv6_of_if_inet6(text: &str) -> Vec<Ipv6Addr> {
    let global = |line: &str| {
        let mut words = line.split_whitespace();
        let bits = u128::from_str_radix(words.next()?, 16).ok()?;
        (words.nth(2)? == "00").then(|| Ipv6Addr::from_bits(bits))
    };
    text.lines().filter_map(global).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_read_from_the_routing_trie() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.7\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\nLocal:\n     |-- 192.0.2.7\n        /32 host LOCAL\n";
        assert_eq!(ipv4_of_fib_trie(text), [Ipv4Addr::new(192, 0, 2, 7)]);
    }

    #[test]
    fn link_local_addresses_are_left_out() {
        let text = "00000000000000000000000000000001 01 80 10 80 lo\n20010db8000000000000000000000007 02 40 00 80 eth0\nfe800000000000000000000000000001 02 40 20 80 eth0\n";
        assert_eq!(ipv6_of_if_inet6(text), ["2001:db8::7".parse::<Ipv6Addr>().unwrap()]);
    }
}
