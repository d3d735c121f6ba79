//! `/proc/net/route` and `/proc/net/ipv6_route`: the default gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const RTF_UP: u32 = 0x1;
const RTF_GATEWAY: u32 = 0x2;

/// The gateway of the default route with the lowest metric. Version 4 comes first: school networks have it.
#[must_use]
pub fn default_gateway(route: &str, ipv6_route: &str) -> Option<IpAddr> {
    let v4 = route.lines().filter_map(gateway_v4).min().map(|(_, gateway)| gateway.into());
    v4.or_else(|| ipv6_route.lines().filter_map(gateway_v6).min().map(|(_, gateway)| gateway.into()))
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`; addresses as the machine's own 32-bit number.
fn gateway_v4(line: &str) -> Option<(u32, Ipv4Addr)> {
    let fields: Vec<&str> = line.split_whitespace().take(8).collect();
    let hex = |index: usize| u32::from_str_radix(fields.get(index)?, 16).ok();
    let default = hex(1)? == 0 && hex(7)? == 0;
    let usable = hex(3)? & (RTF_UP | RTF_GATEWAY) == RTF_UP | RTF_GATEWAY;
    let metric = fields.get(6)?.parse().ok()?;
    (default && usable).then_some((metric, Ipv4Addr::from(hex(2)?.to_ne_bytes())))
}

/// `destination prefix source prefix next-hop metric references uses flags interface`
fn gateway_v6(line: &str) -> Option<(u32, Ipv6Addr)> {
    let fields: Vec<&str> = line.split_whitespace().take(10).collect();
    let hex = |index: usize| u32::from_str_radix(fields.get(index)?, 16).ok();
    let address = |index: usize| u128::from_str_radix(fields.get(index)?, 16).ok();
    let default = address(0)? == 0 && hex(1)? == 0;
    let usable = hex(8)? & (RTF_UP | RTF_GATEWAY) == RTF_UP | RTF_GATEWAY;
    (default && usable).then_some((hex(5)?, Ipv6Addr::from(address(4)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROUTE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
";
    const IPV6: &str = "\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_default_route_with_the_lowest_metric_wins() {
        assert_eq!(default_gateway(ROUTE, IPV6), Some(Ipv4Addr::new(192, 168, 1, 1).into()));
    }

    #[test]
    fn version_six_serves_where_there_is_no_other() {
        assert_eq!(default_gateway("", IPV6), Some("fd00::1".parse().unwrap()));
        assert_eq!(default_gateway("", ""), None);
    }

    proptest! {
        #[test]
        fn any_table_is_read_without_a_panic(a in "[0-9a-fxg \t\n]{0,200}", b in ".{0,200}") {
            let _ = default_gateway(&a, &b);
            let _ = default_gateway(&b, &a);
        }
    }
}
