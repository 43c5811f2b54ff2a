//! Classifies IP addresses: public ones, and the kinds of special-purpose ones.
//!
//! Source: IANA's registries of special-purpose addresses,
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>. An address is public here if the registry calls it
//! "globally reachable". IPv6 addresses that embed an IPv4 address are never public, because they would bypass the
//! rules for IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The kind of an address that is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NonPublicKind {
    /// A phrase for error messages: "10.0.0.1 is a private address (RFC 1918)".
    pub(super) what: &'static str,
    /// Whether the IPv6 address embeds an IPv4 address. No rule can grant such an address.
    pub(super) embeds: bool,
}

/// Returns the special kind of an address, or `None` for a public address.
pub(super) fn special(address: IpAddr) -> Option<NonPublicKind> {
    match address {
        IpAddr::V4(address) => V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, what)| *what),
        IpAddr::V6(address) => V6
            .iter()
            .find(|(net, _)| net.contains(&address))
            .map(|(_, what)| *what)
            .or_else(|| (!GLOBAL_UNICAST.contains(&address)).then_some(RESERVED_V6)),
    }
}

/// The only range of IPv6 that has been allocated for global unicast so far (RFC 4291, section 2.4).
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const RESERVED_V6: NonPublicKind = is("a reserved address (RFC 4291)");

/// The first matching row counts.
const V4: &[(Ipv4Net, NonPublicKind)] = &[
    (v4(0, 0, 0, 0, 8), is("an address of \"this network\" (RFC 791)")),
    (v4(10, 0, 0, 0, 8), is("a private address (RFC 1918)")),
    (v4(100, 64, 0, 0, 10), is("a shared address (RFC 6598)")),
    (v4(127, 0, 0, 0, 8), is("a loopback address (RFC 1122)")),
    (v4(169, 254, 0, 0, 16), is("a link-local address (RFC 3927)")),
    (v4(172, 16, 0, 0, 12), is("a private address (RFC 1918)")),
    (v4(192, 0, 0, 0, 24), is("an address for protocols (RFC 6890)")),
    (v4(192, 0, 2, 0, 24), is("an address for documentation (RFC 5737)")),
    (v4(192, 88, 99, 0, 24), is("an address of a 6to4 relay (RFC 7526)")),
    (v4(192, 168, 0, 0, 16), is("a private address (RFC 1918)")),
    (v4(198, 18, 0, 0, 15), is("an address for benchmarks (RFC 2544)")),
    (v4(198, 51, 100, 0, 24), is("an address for documentation (RFC 5737)")),
    (v4(203, 0, 113, 0, 24), is("an address for documentation (RFC 5737)")),
    (v4(224, 0, 0, 0, 4), is("a multicast address (RFC 5771)")),
    (v4(255, 255, 255, 255, 32), is("the broadcast address (RFC 919)")),
    (v4(240, 0, 0, 0, 4), is("a reserved address (RFC 1112)")),
];

/// The first matching row counts.
const V6: &[(Ipv6Net, NonPublicKind)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), is("the unspecified address (RFC 4291)")),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), is("the loopback address (RFC 4291)")),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), embeds("an IPv4-compatible address (RFC 4291)")),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), embeds("an IPv4-mapped address (RFC 4291)")),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), embeds("an IPv4-translated address (RFC 2765)")),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), embeds("a NAT64 address (RFC 6052)")),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), embeds("a local NAT64 address (RFC 8215)")),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), is("a discard address (RFC 6666)")),
    (v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64), is("a dummy address (RFC 9780)")),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), embeds("a Teredo address (RFC 4380)")),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), is("an address for benchmarks (RFC 5180)")),
    (v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28), is("an ORCHID (RFC 4843)")),
    (v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28), is("an ORCHID (RFC 7343)")),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), is("an address for protocols (RFC 2928)")),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), is("an address for documentation (RFC 3849)")),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), embeds("a 6to4 address (RFC 3056)")),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), is("an address for documentation (RFC 9637)")),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), is("a segment routing address (RFC 9602)")),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), is("a unique local address (RFC 4193)")),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), is("a link-local address (RFC 4291)")),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), is("a site-local address (RFC 3879)")),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), is("a multicast address (RFC 4291)")),
];

const fn is(what: &'static str) -> NonPublicKind {
    NonPublicKind { what, embeds: false }
}

const fn embeds(what: &'static str) -> NonPublicKind {
    NonPublicKind { what, embeds: true }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(address: &str) -> &'static str {
        special(address.parse().unwrap()).map_or("public", |special| special.what)
    }

    #[test]
    fn each_range_ends_where_its_rfc_says() {
        for (address, expected) in [
            ("0.255.255.255", "an address of \"this network\" (RFC 791)"),
            ("1.0.0.0", "public"),
            ("9.255.255.255", "public"),
            ("10.0.0.0", "a private address (RFC 1918)"),
            ("10.255.255.255", "a private address (RFC 1918)"),
            ("11.0.0.0", "public"),
            ("100.63.255.255", "public"),
            ("100.64.0.0", "a shared address (RFC 6598)"),
            ("100.127.255.255", "a shared address (RFC 6598)"),
            ("100.128.0.0", "public"),
            ("127.255.255.254", "a loopback address (RFC 1122)"),
            ("128.0.0.0", "public"),
            ("169.254.169.254", "a link-local address (RFC 3927)"),
            ("172.15.255.255", "public"),
            ("172.31.255.255", "a private address (RFC 1918)"),
            ("172.32.0.0", "public"),
            ("192.0.0.8", "an address for protocols (RFC 6890)"),
            ("192.0.1.0", "public"),
            ("192.168.0.1", "a private address (RFC 1918)"),
            ("192.169.0.0", "public"),
            ("198.17.255.255", "public"),
            ("198.19.255.255", "an address for benchmarks (RFC 2544)"),
            ("223.255.255.255", "public"),
            ("224.0.0.1", "a multicast address (RFC 5771)"),
            ("240.0.0.1", "a reserved address (RFC 1112)"),
            ("255.255.255.255", "the broadcast address (RFC 919)"),
            ("::", "the unspecified address (RFC 4291)"),
            ("::1", "the loopback address (RFC 4291)"),
            ("::7f00:1", "an IPv4-compatible address (RFC 4291)"),
            ("::ffff:8.8.8.8", "an IPv4-mapped address (RFC 4291)"),
            ("::ffff:0:127.0.0.1", "an IPv4-translated address (RFC 2765)"),
            ("64:ff9b::7f00:1", "a NAT64 address (RFC 6052)"),
            ("64:ff9b:1::a00:1", "a local NAT64 address (RFC 8215)"),
            ("64:ff9b:2::", "a reserved address (RFC 4291)"),
            ("100::1", "a discard address (RFC 6666)"),
            ("2000::1", "public"),
            ("2001::1", "a Teredo address (RFC 4380)"),
            ("2001:2::1", "an address for benchmarks (RFC 5180)"),
            ("2001:1f:ffff::1", "an ORCHID (RFC 4843)"),
            ("2001:2f::1", "an ORCHID (RFC 7343)"),
            ("2001:1ff::1", "an address for protocols (RFC 2928)"),
            ("2001:200::1", "public"),
            ("2001:db8::1", "an address for documentation (RFC 3849)"),
            ("2001:4860:4860::8888", "public"),
            ("2002:7f00:1::", "a 6to4 address (RFC 3056)"),
            ("2606:4700::1111", "public"),
            ("3fff:fff::1", "an address for documentation (RFC 9637)"),
            ("4000::1", "a reserved address (RFC 4291)"),
            ("5f00::1", "a segment routing address (RFC 9602)"),
            ("fdff::1", "a unique local address (RFC 4193)"),
            ("fe80::1", "a link-local address (RFC 4291)"),
            ("fec0::1", "a site-local address (RFC 3879)"),
            ("ff02::1", "a multicast address (RFC 4291)"),
        ] {
            assert_eq!(what(address), expected, "{address}");
        }
    }

    #[test]
    fn the_rows_before_a_row_leave_it_something() {
        for (at, (net, _)) in V4.iter().enumerate() {
            assert!(!V4[..at].iter().any(|(earlier, _)| earlier.contains(net)), "{net} is never reached");
        }
        for (at, (net, _)) in V6.iter().enumerate() {
            assert!(!V6[..at].iter().any(|(earlier, _)| earlier.contains(net)), "{net} is never reached");
        }
    }
}
