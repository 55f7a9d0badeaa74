//! The authority as the issuer of one identity's certificates.

use std::{net::IpAddr, sync::Arc, time::Duration};

use countermark_credential::{Issuer, Issuing};
use countermark_identity::SpiffeId;

use crate::authority::{Authority, MintRequest, SubjectKey};

/// Mints for one identity, whatever names a request asks for.
#[derive(Clone, Debug)]
pub struct IdentityIssuer {
    authority: Arc<Authority>,
    identity: SpiffeId,
    ttl: Option<Duration>,
    dns: Vec<String>,
    ip: Vec<IpAddr>,
}

impl IdentityIssuer {
    /// An issuer for `identity` alone.
    #[must_use]
    pub const fn new(authority: Arc<Authority>, identity: SpiffeId) -> Self {
        Self { authority, identity, ttl: None, dns: Vec::new(), ip: Vec::new() }
    }

    /// With this life instead of the profile's default.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// With these names beside those of the profile.
    #[must_use]
    pub fn with_names(self, dns: Vec<String>, ip: Vec<IpAddr>) -> Self {
        Self { dns, ip, ..self }
    }
}

impl Issuer for IdentityIssuer {
    fn issue<'a>(&'a self, csr: &'a [u8]) -> Issuing<'a> {
        Box::pin(async move {
            let request = MintRequest {
                identity: self.identity.clone(),
                subject_key: SubjectKey::Csr(csr.to_vec()),
                ttl: self.ttl,
                dns: self.dns.clone(),
                ip: self.ip.clone(),
            };
            Ok(self.authority.mint(&request).await?.chain)
        })
    }
}
