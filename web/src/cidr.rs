//! Networks a key may call from: CIDR text of both families.

use std::net::{IpAddr, Ipv6Addr};

/// Most networks on the list of one key.
pub const NETWORKS_MAX: usize = 64;

/// A network; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// As IPv6; IPv4 is mapped, so that one comparison does for both.
    network: u128,
    mask: u128,
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a plain address. Bits behind the prefix must be zero: a list that
    /// means something else than it says is refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) if !prefix.starts_with('+') => (address, Some(prefix.parse::<u32>().ok()?)),
            Some(_) => return None,
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (width, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix = prefix.unwrap_or(width);
        if prefix > width {
            return None;
        }
        let mask = u128::MAX.checked_shl(128 - offset - prefix).unwrap_or(0);
        let network = bits(address);
        (network & !mask == 0).then_some(Self { network, mask })
    }

    /// Is the address in it? An IPv4 address that arrives mapped into IPv6 is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.network
    }
}

/// May an address call under this list? An empty list allows all; an unreadable entry allows nobody.
#[must_use]
pub fn allows(list: &[String], address: Option<IpAddr>) -> bool {
    list.is_empty() || address.is_some_and(|a| list.iter().filter_map(|text| Cidr::parse(text)).any(|c| c.contains(a)))
}

/// What counts as one caller where failures are limited: an IPv4 address, or a /64 of IPv6, which one host owns.
#[must_use]
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_networks_only() {
        let table = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.6/31", "192.0.2.7", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("2001:db8::1/128", "2001:db8::1", true),
        ];
        for (network, address, inside) in table {
            assert_eq!(Cidr::parse(network).unwrap().contains(address.parse().unwrap()), inside, "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "2001:db8::/129", "a/8"] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_list_fails_closed() {
        let local = Some("127.0.0.1".parse().unwrap());
        assert!(allows(&[], None));
        assert!(!allows(&["nonsense".into()], local));
        assert!(!allows(&["127.0.0.1".into()], None));
        assert!(allows(&["nonsense".into(), "127.0.0.0/8".into()], local));
    }

    #[test]
    fn one_host_is_one_neighbourhood() {
        let of = |text: &str| neighbourhood(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:10.1.1.1"), "10.1.1.1");
    }
}
