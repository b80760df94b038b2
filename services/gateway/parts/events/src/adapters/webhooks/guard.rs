//! Where requests to receivers may go. Tenants choose the URLs, so without this a webhook would be a way into the
//! networks of the platform: its services, its hosts, the metadata service of whoever rents the machines out.

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Networks nobody outside is in: IANA's special-purpose registries (RFC 6890 and what was added since), and two
/// metadata services that hide at ordinary addresses.
const CLOSED: [&str; 23] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10", // carrier-grade NAT; Alibaba Cloud's metadata at 100.100.100.200
    "127.0.0.0/8",
    "168.63.129.16/32", // Azure's platform address
    "169.254.0.0/16",   // link-local; metadata at 169.254.169.254
    "172.16.0.0/12",
    "192.0.0.0/24", // Oracle Cloud's metadata at 192.0.0.192
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/3",      // unspecified, loopback, IPv4-compatible; what means an IPv4 address is judged as such
    "2001::/23", // Teredo, ORCHID, benchmarks
    "2001:db8::/32",
    "2002::/16", // 6to4: hides any IPv4 address
    "3fff::/20",
    "4000::/2",
    "8000::/1", // private, with metadata at fd00:ec2::254; link-local; multicast
];

/// Judges addresses.
#[derive(Debug, Clone)]
pub struct Guard {
    closed: Vec<IpNet>,
    allowed: Vec<IpNet>,
    http: bool,
}

/// A URL to which nothing is sent, and why. Addresses behind a name are not told: the name may be one that only the
/// platform resolves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Closed(pub String);

impl Guard {
    /// Lets through what is public, and what lies in the networks that the operator allows; plain HTTP when `http`.
    pub fn new(allowed: &[IpNet], http: bool) -> Self {
        let closed = CLOSED.iter().map(|net| net.parse().expect("a network")).collect();
        Self { closed, allowed: allowed.to_vec(), http }
    }

    /// Whether requests may go to an address.
    pub fn lets(&self, address: IpAddr) -> bool {
        let address = plain(address);
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        within(&self.allowed) || !within(&self.closed)
    }

    /// Whether requests may go to a URL, as far as the URL itself tells: its scheme, and its host when that is an address.
    /// A name is judged when it is resolved.
    pub fn check(&self, url: &Url) -> Result<(), Closed> {
        match url.scheme() {
            "https" => {}
            "http" if self.http => {}
            "http" => return Err(Closed("plain http is not allowed here: write https://…".into())),
            other => {
                return Err(Closed(format!("{other} is no scheme of a webhook: write https://…")));
            }
        }
        let Some(host) = url.host_str() else { return Err(Closed("the host is missing".into())) };
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>()
            && !self.lets(address)
        {
            return Err(Closed(not_public(host)));
        }
        Ok(())
    }
}

fn not_public(host: &str) -> String {
    format!(
        "{host} is not in the public Internet, and the operator of this platform does not allow its network"
    )
}

/// The address that is really meant: IPv4 inside IPv6 (mapped, RFC 4291; translated, RFC 6052) is judged as IPv4.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Ipv4Addr::new(a, b, c, d).into()
        }
        segments => Ipv6Addr::from(segments).into(),
    }
}

/// Resolves names to addresses that the guard lets through: the connection goes to one of these and to no other, however
/// the name is answered a moment later.
#[derive(Debug, Clone)]
pub struct Guarded(pub Arc<Guard>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let open: Vec<SocketAddr> = found.into_iter().filter(|at| guard.lets(at.ip())).collect();
            if open.is_empty() {
                return Err(Closed(not_public(&host)).into());
            }
            Ok(Box::new(open.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn guard(allowed: &[&str], http: bool) -> Guard {
        let allowed: Vec<IpNet> = allowed.iter().map(|net| net.parse().expect("a network")).collect();
        Guard::new(&allowed, http)
    }

    fn lets(guard: &Guard, address: &str) -> bool {
        guard.lets(address.parse().expect(address))
    }

    #[test]
    fn what_is_not_public_is_closed() {
        let guard = guard(&[], false);
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!lets(&guard, address), "{address}");
        }
        for address in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"]
        {
            assert!(lets(&guard, address), "{address}");
        }
        assert!(lets(&guard, "64:ff9b::1.1.1.1") && lets(&guard, "::ffff:1.1.1.1"));
    }

    #[test]
    fn an_operator_allows_networks() {
        let guard = guard(&["10.0.0.0/8", "fd12::/16"], false);
        assert!(lets(&guard, "10.1.2.3") && lets(&guard, "::ffff:10.1.2.3") && lets(&guard, "fd12::5"));
        assert!(!lets(&guard, "192.168.0.1") && !lets(&guard, "fd00:ec2::254"));
    }

    #[test]
    fn urls_are_judged_by_scheme_and_address() {
        let check = |guard: &Guard, url: &str| guard.check(&Url::from_str(url).expect(url)).map_err(|c| c.0);
        let strict = guard(&[], false);
        assert_eq!(check(&strict, "https://hooks.example.com/x"), Ok(()));
        assert!(check(&strict, "http://hooks.example.com/x").expect_err("http").contains("https://"));
        assert!(check(&strict, "ftp://hooks.example.com/x").is_err());
        // every way to write 127.0.0.1, and 169.254.169.254
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "[::1]",
            "[::ffff:7f00:1]",
            "169.254.169.254",
            "0xa9fea9fe",
        ] {
            assert!(check(&strict, &format!("https://{host}/")).is_err(), "{host}");
        }
        let open = guard(&["127.0.0.0/8"], true);
        assert_eq!(check(&open, "http://127.0.0.1:8080/"), Ok(()));
        assert!(check(&open, "http://169.254.169.254/").is_err());
    }

    #[tokio::test]
    async fn names_lead_to_addresses_that_were_judged() {
        let name = || Name::from_str("localhost").expect("a name");
        let refused = Guarded(Arc::new(guard(&[], false))).resolve(name()).await.err().expect("refused");
        assert!(refused.to_string().contains("localhost") && !refused.to_string().contains("127."));
        let open = Guarded(Arc::new(guard(&["127.0.0.0/8"], false)));
        let found: Vec<SocketAddr> = open.resolve(name()).await.expect("allowed").collect();
        assert!(!found.is_empty() && found.iter().all(|at| at.ip().is_ipv4()), "{found:?}");
    }
}
