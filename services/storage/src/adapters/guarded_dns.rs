//! Name resolution that never gives an address inside the house. The client connects only to addresses that come out
//! of here, so a name that resolves differently a moment later gains nothing.

use crate::domain::address::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};

/// All addresses of a name are forbidden.
#[derive(Debug, thiserror::Error)]
#[error("{host} leads to {address}, which is no public address")]
pub struct ForbiddenAddress {
    /// The name, or the address as written in the URL.
    pub host: String,
    /// The first of its addresses.
    pub address: IpAddr,
}

/// The system's resolver behind the guard.
#[derive(Debug, Clone, Copy)]
pub struct GuardedDns {
    /// Take every address: for images on a server of the house.
    pub allow_private: bool,
}

impl GuardedDns {
    /// Refuses an address unless it may be connected to.
    pub fn check(self, host: &str, address: IpAddr) -> Result<(), ForbiddenAddress> {
        if self.allow_private || is_public(address) {
            return Ok(());
        }
        Err(ForbiddenAddress { host: host.to_owned(), address })
    }

    /// Keeps what may be connected to; an error when nothing is left of something.
    fn filter(self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, ForbiddenAddress> {
        let mut forbidden = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.check(host, address.ip()) {
                Ok(()) => allowed.push(address),
                Err(e) => {
                    forbidden.get_or_insert(e);
                }
            }
        }
        match forbidden {
            Some(e) if allowed.is_empty() => Err(e),
            _ => Ok(allowed),
        }
    }
}

impl Resolve for GuardedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed = guard.filter(name.as_str(), found)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_come_out() {
        let guard = GuardedDns { allow_private: false };
        let address = |text: &str| SocketAddr::new(text.parse().expect(text), 0);
        let mixed = vec![address("10.0.0.1"), address("1.1.1.1")];
        assert_eq!(guard.filter("x", mixed.clone()).expect("one is left"), [address("1.1.1.1")]);
        let error =
            guard.filter("metadata.internal", vec![address("169.254.169.254")]).expect_err("forbidden");
        assert_eq!(
            error.to_string(),
            "metadata.internal leads to 169.254.169.254, which is no public address"
        );
        let open = GuardedDns { allow_private: true };
        assert_eq!(open.filter("x", mixed).expect("all").len(), 2);
    }
}
