//! The `Host` names that requests may be addressed to: the defence against DNS rebinding.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use countermark_credential::Credential;
use countermark_identity::San;
use tokio::sync::watch;

/// Decides whether a host name, without port and in lower case, is one of ours.
pub trait Hosts: Debug + Send + Sync {
    /// Whether requests may be addressed to this name.
    fn names(&self, host: &str) -> bool;
}

/// A fixed set of names.
#[derive(Clone, Debug, Default)]
pub struct HostNames(BTreeSet<String>);

impl HostNames {
    /// These names and addresses, without ports.
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(names.into_iter().map(|name| name.as_ref().trim_matches(['[', ']']).to_ascii_lowercase()).collect())
    }
}

impl Hosts for HostNames {
    fn names(&self, host: &str) -> bool {
        self.0.contains(host)
    }
}

/// The DNS and IP names of the server's own certificate, whichever is current, and a fixed set beside them.
#[derive(Clone, Debug)]
pub struct CredentialHosts {
    credential: watch::Receiver<Arc<Credential>>,
    also: HostNames,
}

impl CredentialHosts {
    /// The names of this credential, and `also` these.
    #[must_use]
    pub fn new(credential: watch::Receiver<Arc<Credential>>, also: HostNames) -> Self {
        Self { credential, also }
    }
}

impl Hosts for CredentialHosts {
    fn names(&self, host: &str) -> bool {
        let ours = |san: &San| match san {
            San::Dns(name) => name.eq_ignore_ascii_case(host),
            San::Ip(address) => host.parse::<IpAddr>().is_ok_and(|host| host == *address),
            _ => false,
        };
        self.also.names(host) || self.credential.borrow().leaf().sans().iter().any(ours)
    }
}

#[cfg(test)]
mod tests {
    use countermark_testkit::TestCa;

    use super::*;

    #[test]
    fn the_names_of_the_current_certificate_are_ours() {
        let ca = TestCa::new("agents.internal");
        let with = |name| ca.mint(&ca.server_spec("ledger").dns(name).ip([127, 0, 0, 1].into())).credential();
        let (credential, watched) = watch::channel(with("ledger.internal"));
        let hosts = CredentialHosts::new(watched, HostNames::new(["Front.internal", "[::1]"]));
        for name in ["ledger.internal", "127.0.0.1", "front.internal", "::1"] {
            assert!(hosts.names(name), "{name}");
        }
        for name in
            ["", "internal", "x.ledger.internal", "127.0.0.2", "spiffe://agents.internal/server/ledger", "ledger"]
        {
            assert!(!hosts.names(name), "{name}");
        }
        credential.send_replace(with("renamed.internal"));
        assert!(hosts.names("renamed.internal") && !hosts.names("ledger.internal"));
    }
}
