//! Open connections of each address, so that nobody takes every one of them before anybody looks who calls.
//!
//! A connection over the share of its address is closed as soon as it is known: behind the handshake where there is one.
//! Proxies that are trusted have no share: they bring everybody.

use std::any::Any;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::AsFd;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::rt::net;
use parking_lot::Mutex;

use crate::cidr::neighbourhood;
use crate::state::AppState;

/// Connections of one address (or /64 of IPv6) where nothing else is configured.
pub const ADDRESS_CONNECTIONS: u32 = 2_000;

/// Counts by address; no larger than there are connections.
#[derive(Default)]
pub(crate) struct Connections(Mutex<HashMap<IpAddr, u32>>);

impl Connections {
    /// Counts one more, unless there are as many as may be.
    fn enter(&self, address: IpAddr, most: u32) -> bool {
        let mut held = self.0.lock();
        let count = held.entry(neighbourhood(address)).or_default();
        let passes = *count < most;
        *count += u32::from(passes);
        passes
    }

    fn leave(&self, address: IpAddr) {
        let (mut held, address) = (self.0.lock(), neighbourhood(address));
        if let Some(count) = held.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&address);
            }
        }
    }
}

/// A connection's place among those that are open.
struct Place {
    state: AppState,
    /// Under whom it is counted: nobody where it is a proxy, or was gone at once.
    address: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.state.metrics.connections.dec();
        if let Some(address) = self.address {
            self.state.connections.leave(address);
        }
    }
}

/// The TCP connection below what `HttpServer::on_connect` shows, with TLS or without.
pub(crate) fn stream(io: &dyn Any) -> Option<&net::TcpStream> {
    let secure = || io.downcast_ref::<TlsStream<net::TcpStream>>().map(|tls| tls.get_ref().0);
    io.downcast_ref().or_else(secure)
}

/// For `HttpServer::on_connect`: counts a connection for as long as it lives, or cuts it.
pub(crate) fn admit(state: &AppState, io: &dyn Any, data: &mut Extensions) {
    let Some(stream) = stream(io) else { return };
    let peer = stream.peer_addr().ok().map(|peer| peer.ip());
    let address = peer.filter(|address| !state.options.proxies.trust(*address));
    if address.is_some_and(|address| !state.connections.enter(address, state.options.address_connections)) {
        state.metrics.connections_refused.inc();
        if let Ok(handle) = stream.as_fd().try_clone_to_owned() {
            // one that is gone already is as good as closed
            let _ = TcpStream::from(handle).shutdown(Shutdown::Both);
        }
        return;
    }
    state.metrics.connections.inc();
    data.insert(Place { state: state.clone(), address });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let connections = Connections::default();
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!([0; 4].map(|_| connections.enter(one, 3)), [true, true, true, false]);
        assert!(connections.enter(other, 3), "others have a share of their own");
        connections.leave(one);
        assert_eq!([0; 2].map(|_| connections.enter(one, 3)), [true, false]);
        for _ in 0..3 {
            connections.leave(one);
        }
        connections.leave(other);
        assert!(connections.0.lock().is_empty(), "who has none is forgotten");
    }

    #[test]
    fn one_host_of_ipv6_has_one_share() {
        let connections = Connections::default();
        let of = |text: &str| text.parse().unwrap();
        assert!(connections.enter(of("2001:db8::1"), 1));
        assert!(!connections.enter(of("2001:db8::2"), 1));
        assert!(connections.enter(of("2001:db8:0:1::1"), 1));
        assert!(connections.enter(of("10.0.0.1"), 1));
        assert!(!connections.enter(of("::ffff:10.0.0.1"), 1));
    }
}
