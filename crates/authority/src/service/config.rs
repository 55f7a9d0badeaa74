//! What a service is told, and why it does not start.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use countermark_identity::SpiffeIdError;
use countermark_mtls::UnusableCredential;
use tokio::net::TcpListener;

use super::{EnrolmentError, RateLimits};
use crate::error::AuthorityError;

/// What a service is told.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out")]
pub struct ServiceConfig {
    /// The address for clients; port 0 is the kernel's choice.
    pub listen: SocketAddr,
    /// The names by which clients reach it.
    pub dns: Vec<String>,
    /// The addresses by which clients reach it, beside the one that it listens on.
    pub ip: Vec<IpAddr>,
    /// Its name: `/server/<name>` of the trust domain.
    pub name: String,
    /// The address of healthz, readyz and metrics, in plain HTTP.
    pub admin: Option<SocketAddr>,
    /// The rules by which tokens enrol; without them, none does.
    pub enrol: Option<PathBuf>,
    /// How often one identity, and one address, may ask.
    pub rates: RateLimits,
    /// How many connections one source address (of IPv6, one /64) may hold; as many as there are, without.
    pub connections_per_source: Option<usize>,
    /// How long open requests may take to finish once shutdown was asked for.
    pub drain: Duration,
}

impl ServiceConfig {
    /// At `listen`, reached by `dns`, named `authority`.
    #[must_use]
    pub fn new(listen: SocketAddr, dns: Vec<String>) -> Self {
        Self {
            listen,
            dns,
            ip: Vec::new(),
            name: "authority".to_owned(),
            admin: None,
            enrol: None,
            rates: RateLimits::default(),
            connections_per_source: Some(CONNECTIONS_PER_SOURCE),
            drain: Duration::from_secs(30),
        }
    }

    pub(super) fn places(&self, address: SocketAddr) -> Result<Places, ServiceError> {
        let mut ip = self.ip.clone();
        if !address.ip().is_unspecified() && !ip.contains(&address.ip()) {
            ip.push(address.ip());
        }
        if self.dns.is_empty() && ip.is_empty() {
            return Err(ServiceError::Nowhere);
        }
        Ok(Places { dns: self.dns.clone(), ip })
    }
}

/// The names and addresses of the service's own certificate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Places {
    pub(crate) dns: Vec<String>,
    pub(crate) ip: Vec<IpAddr>,
}

impl Places {
    pub(super) fn url(&self, port: u16) -> String {
        match (self.dns.first(), self.ip.first()) {
            (Some(name), _) => format!("https://{name}:{port}"),
            (None, Some(address)) => format!("https://{}", SocketAddr::new(*address, port)),
            (None, None) => String::new(),
        }
    }
}

pub(super) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServiceError> {
    let failed = |source| ServiceError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The address is not to be had.
    #[error("cannot listen on {address}: {source}; choose another, or end what listens there")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The name makes no identity.
    #[error("the service's name: {0}")]
    Name(#[source] SpiffeIdError),
    /// Nobody could reach it by a name.
    #[error("clients need a name or an address: give --dns NAME, or listen on an address instead of all of them")]
    Nowhere,
    /// The rules of enrolment are refused.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// Its own certificate cannot be minted.
    #[error("the service's own certificate cannot be minted: {0}")]
    Own(String),
    /// Its own certificate cannot carry TLS.
    #[error(transparent)]
    Credential(#[from] UnusableCredential),
}

/// A quarter of all: a cluster behind one address has room, and four addresses must conspire to shut others out.
const CONNECTIONS_PER_SOURCE: usize = 1024;
