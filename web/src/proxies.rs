//! Who calls through a proxy: its word about the caller's address counts where the proxy is trusted, and nobody else's.
//!
//! Every proxy puts the address that it was called from behind what the request said before, so the list is read from its
//! end: addresses of trusted proxies are passed over, and the first that is none is the caller's. What stands before it was
//! written by the caller and says nothing. Only one header is read, because a proxy lets the other one through as it came.

use std::net::{IpAddr, SocketAddr};

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use crate::cidr::Cidr;

/// Proxies in a row that are looked behind.
const HOPS_MAX: usize = 16;
/// Most networks on the list.
const NETWORKS_MAX: usize = 64;

/// How proxies name who has called them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies in front of this server; none by default.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    networks: Vec<Cidr>,
    header: ProxyHeader,
}

impl Proxies {
    /// Proxies with addresses in these networks, which all use this header.
    ///
    /// # Errors
    /// Names the entry that is no network, or that trusts everybody.
    pub fn new(networks: &[String], header: ProxyHeader) -> Result<Self, String> {
        if networks.len() > NETWORKS_MAX {
            return Err(format!("more than {NETWORKS_MAX} networks"));
        }
        let read = |text: &String| match Cidr::parse(text) {
            None => Err(format!("{text} is no network")),
            Some(_) if text.ends_with("/0") => Err(format!("{text} trusts everybody")),
            Some(network) => Ok(network),
        };
        Ok(Self { networks: networks.iter().map(read).collect::<Result<_, _>>()?, header })
    }

    /// Is it a proxy's address?
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// The address of whoever calls; none where the connection has none.
    #[must_use]
    pub fn caller(&self, head: &RequestHead) -> Option<IpAddr> {
        let peer = head.peer_addr?.ip();
        if self.networks.is_empty() || !self.trust(peer) {
            return Some(peer);
        }
        Some(self.behind(peer, &head.headers))
    }

    /// Who called a trusted proxy. A proxy that says nothing readable speaks for itself.
    fn behind(&self, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
        let (name, read): (HeaderName, fn(&str) -> Option<IpAddr>) = match self.header {
            ProxyHeader::XForwardedFor => (header::X_FORWARDED_FOR, node),
            ProxyHeader::Forwarded => (header::FORWARDED, element),
        };
        let lines: Vec<&str> = headers.get_all(name).map(|line| line.to_str().unwrap_or_default()).collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(read);
        let mut nearest = proxy;
        for hop in hops.take(HOPS_MAX) {
            match hop {
                Some(address) if self.trust(address) => nearest = address,
                Some(address) => return address,
                None => break,
            }
        }
        nearest
    }
}

/// An address, with a port or without.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

/// The address of one element of `Forwarded`: `for=192.0.2.60;proto=http`. One that is named twice is none.
fn element(text: &str) -> Option<IpAddr> {
    let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value.trim());
    let value = named.next().filter(|_| named.next().is_none())?;
    node(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    type Headers<'a> = &'a [(&'static str, &'a str)];

    fn proxies(header: ProxyHeader) -> Proxies {
        Proxies::new(&["10.0.0.0/8".to_owned(), "2001:db8::/64".to_owned()], header).unwrap()
    }

    fn caller(proxies: &Proxies, peer: &str, headers: Headers<'_>) -> String {
        let mut request = TestRequest::get().peer_addr(SocketAddr::new(peer.parse().unwrap(), 4711));
        for header in headers {
            request = request.append_header(*header);
        }
        proxies.caller(request.to_http_request().head()).unwrap().to_string()
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxys_is_the_callers() {
        let proxies = proxies(ProxyHeader::XForwardedFor);
        let xff = "x-forwarded-for";
        let table: &[(&str, Headers<'_>, &str)] = &[
            ("10.0.0.1", &[(xff, "192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1", &[(xff, "192.0.2.1:4711")], "192.0.2.1"),
            ("10.0.0.1", &[(xff, "2001:db8:1::7")], "2001:db8:1::7"),
            ("10.0.0.1", &[(xff, "[2001:db8:1::7]:80")], "2001:db8:1::7"),
            ("::ffff:10.0.0.1", &[(xff, "192.0.2.1")], "192.0.2.1"),
            ("2001:db8::1", &[(xff, " 192.0.2.1 , 10.1.1.1 ")], "192.0.2.1"),
            // what callers write themselves stands further left
            ("10.0.0.1", &[(xff, "198.51.100.9, 192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1", &[(xff, "198.51.100.9"), (xff, "192.0.2.1, 10.0.0.2")], "192.0.2.1"),
            ("10.0.0.1", &[(xff, "10.9.9.9, 192.0.2.1, 10.0.0.2")], "192.0.2.1"),
            ("10.0.0.1", &[(xff, "\", 192.0.2.1")], "192.0.2.1"),
            // nobody but a proxy is believed
            ("192.0.2.7", &[(xff, "198.51.100.9")], "192.0.2.7"),
            ("192.0.2.7", &[(xff, "10.0.0.1, 10.0.0.2")], "192.0.2.7"),
            // a proxy of which nothing can be read speaks for itself, and never for what stands before
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "198.51.100.9, unknown, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(xff, "198.51.100.9,")], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", &[("forwarded", "for=198.51.100.9")], "10.0.0.1"),
            ("10.0.0.1", &[("forwarded", "for=198.51.100.9"), (xff, "192.0.2.1")], "192.0.2.1"),
        ];
        for (peer, headers, expected) in table {
            assert_eq!(caller(&proxies, peer, headers), *expected, "{peer} {headers:?}");
            assert_eq!(caller(&Proxies::default(), peer, headers), *peer, "nobody is trusted");
        }
        let long = "10.0.0.2, ".repeat(HOPS_MAX) + "10.0.0.2";
        assert_eq!(caller(&proxies, "10.0.0.1", &[(xff, &format!("192.0.2.1, {long}"))]), "10.0.0.2");
    }

    #[test]
    fn the_standard_header_says_the_same() {
        let proxies = proxies(ProxyHeader::Forwarded);
        let table = [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=192.0.2.1;proto=https;by=10.0.0.1", "192.0.2.1"),
            ("proto=https; for=\"[2001:db8:1::7]:4711\"", "2001:db8:1::7"),
            ("for=198.51.100.9, for=192.0.2.1, for=10.0.0.2", "192.0.2.1"),
            // a quote that the caller left open hides nothing
            ("for=\"198.51.100.9, for=192.0.2.1", "192.0.2.1"),
            ("for=198.51.100.9;x=\", for=192.0.2.1;by=\"[2001:db8::1]\"", "192.0.2.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for=198.51.100.9, for=unknown", "10.0.0.1"),
            ("for=198.51.100.9;host=\"x;for=192.0.2.1\"", "10.0.0.1"),
            ("192.0.2.1", "10.0.0.1"),
        ];
        for (value, expected) in table {
            assert_eq!(caller(&proxies, "10.0.0.1", &[("forwarded", value)]), expected, "{value}");
        }
        assert_eq!(caller(&proxies, "10.0.0.1", &[("x-forwarded-for", "192.0.2.1")]), "10.0.0.1");
    }

    #[test]
    fn what_trusts_everybody_or_is_no_network_is_refused() {
        for network in ["0.0.0.0/0", "::/0", "10.0.0.1/8", "proxy.example", ""] {
            let refused = Proxies::new(&["10.0.0.0/8".to_owned(), network.to_owned()], ProxyHeader::default());
            assert!(refused.is_err(), "{network}");
        }
        assert!(Proxies::new(&vec!["10.0.0.1".to_owned(); NETWORKS_MAX + 1], ProxyHeader::default()).is_err());
    }
}
