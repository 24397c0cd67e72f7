//! Which addresses may be asked: a source must not reach what only this machine can.

use super::FetchError;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A name that leads to a private network only.
#[derive(Debug, thiserror::Error)]
#[error("a private address, and the configuration does not allow those")]
pub struct PrivateAddress;

/// Resolves names, and leaves private addresses out. Asked at every connection: a name that led elsewhere when the source
/// was made must not lead here now.
pub struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let mut found = tokio::net::lookup_host((name.as_str(), 0)).await?.peekable();
            let was_found = found.peek().is_some();
            let public: Vec<SocketAddr> = found.filter(|address| !is_private(address.ip())).collect();
            if was_found && public.is_empty() {
                return Err(PrivateAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// An address instead of a name is never resolved.
pub fn refuse_private_literal(url: &Url) -> Result<(), FetchError> {
    let host = url.host_str().unwrap_or_default();
    let literal: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    match literal.filter(|ip| is_private(*ip)) {
        Some(_) => Err(FetchError::Settings(format!("url: {PrivateAddress}"))),
        None => Ok(()),
    }
}

/// Is it of this machine, of a private network, or of no single machine?
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        // shared by carriers, protocol assignments, benchmarks
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // an address of the older kind within one of the newer: mapped, translated, tunnelled
    let within = |high: u16, low: u16| is_private_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            within(high, low)
        }
        // loopback, unspecified and what was once compatible
        [0, 0, 0, 0, 0, 0, ..] => true,
        [first, ..] => {
            // unique local, link local, site local, multicast
            first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0 || first & 0xff00 == 0xff00
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_in_every_disguise() {
        let private = [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "fec0::1",
            "ff02::1",
            "::7f00:1",
        ];
        for text in private {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        let public = [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "197.248.0.1",
            "2a00:1450:4001:80b::200e",
            "2002:808:808::",
            "64:ff9b::808:808",
        ];
        for text in public {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_address_instead_of_a_name_is_looked_at() {
        let refused = |text: &str| refuse_private_literal(&Url::parse(text).unwrap()).is_err();
        // the parser of addresses knows other ways to write them
        for text in
            ["http://127.0.0.1/x", "http://[::1]:80/", "http://0x7f.1/", "http://2130706433/", "http://017700000001/"]
        {
            assert!(refused(text), "{text}");
        }
        assert!(!refused("http://8.8.8.8/") && !refused("http://api.example/"));
    }

    #[tokio::test]
    async fn a_name_that_leads_here_is_not_resolved() {
        let error = PublicOnly.resolve("localhost".parse().unwrap()).await.err().expect("refused");
        assert!(error.is::<PrivateAddress>(), "{error}");
    }
}
