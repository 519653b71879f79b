//! The client at the other end of a connection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The address of a client's socket. The server adds it to the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// A client: an IPv4 address, or the first 64 bits of an IPv6 address, because one machine usually has all addresses
/// that begin with the same 64 bits. The server's limits apply to each client separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client(IpAddr);

impl Client {
    /// Returns the client with this address.
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        })
    }

    /// Returns whether the client runs on this machine. If there is a reverse proxy on this machine, all clients behind
    /// it count together as one client on this machine.
    pub(super) fn is_local(self) -> bool {
        self.0.is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::Client;

    #[test]
    fn an_ipv6_network_and_each_ipv4_address_is_a_client() {
        let client = |text: &str| Client::of(text.parse().unwrap());
        assert_eq!(client("2001:db8:0:1::1"), client("2001:db8:0:1:ffff::2"));
        assert_ne!(client("2001:db8:0:1::1"), client("2001:db8:0:2::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert!(client("::1").is_local() && client("127.0.0.2").is_local() && !client("192.0.2.1").is_local());
    }
}
