//! What one side demands of the other, beyond a chain that verifies.

use std::net::IpAddr;

use countermark_identity::{AdminId, AgentId, Identity, Leaf, Role, San, ServerId, SpiffeId, TrustDomain, Usage};
use rustls_pki_types::ServerName;

use crate::Refusal;

/// Who may call an acceptor, decided by a type: an acceptor of `AgentId` never yields an
/// administrator.
pub trait Caller: sealed::Sealed + Clone + std::fmt::Debug + Send + Sync + Unpin + 'static {
    /// The roles that are accepted; every other one fails the handshake.
    const ROLES: &'static [Role];

    #[doc(hidden)]
    fn from_identity(identity: &Identity) -> Option<Self>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for countermark_identity::AgentId {}
    impl Sealed for countermark_identity::AdminId {}
    impl Sealed for countermark_identity::Identity {}
}

impl Caller for AgentId {
    const ROLES: &'static [Role] = &[Role::Agent];

    fn from_identity(identity: &Identity) -> Option<Self> {
        match identity {
            Identity::Agent(agent) => Some(agent.clone()),
            _ => None,
        }
    }
}

impl Caller for AdminId {
    const ROLES: &'static [Role] = &[Role::Admin];

    fn from_identity(identity: &Identity) -> Option<Self> {
        match identity {
            Identity::Admin(admin) => Some(admin.clone()),
            _ => None,
        }
    }
}

impl Caller for Identity {
    const ROLES: &'static [Role] = &[Role::Admin, Role::Agent, Role::Server];

    fn from_identity(identity: &Identity) -> Option<Self> {
        Some(identity.clone())
    }
}

/// Which server a client means to reach. There is no default: the chain alone is never enough.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers choose one; a new way must break their build")]
pub enum ExpectedServer {
    /// `/server/<name>` of the client's own trust domain.
    Name(String),
    /// This identity, of any trust domain whose bundle is trusted.
    Id(SpiffeId),
    /// The host of the URL as a SAN, and any `/server/` identity of the client's own trust domain.
    Host,
}

/// What is demanded of the leaf that the other side presents.
#[derive(Clone, Debug)]
pub(crate) enum Demand {
    Caller { roles: &'static [Role], sub_agents: bool },
    Server { expected: ExpectedServer, own: TrustDomain, host: ServerName<'static> },
}

impl Demand {
    pub(crate) fn usage(&self) -> Usage {
        match self {
            Self::Caller { .. } => Usage::Client,
            Self::Server { .. } => Usage::Server,
        }
    }

    /// Whether a leaf that verified is the one that is wanted here.
    pub(crate) fn admit(&self, identity: &Identity, leaf: &Leaf) -> Result<(), Refusal> {
        match self {
            Self::Caller { roles, sub_agents } => admit_caller(roles, *sub_agents, identity),
            Self::Server { expected, own, host } => match identity {
                Identity::Server(server) => admit_server(expected, own, host, server, leaf),
                other => Err(Refusal::NotAServer { presented: other.spiffe_id().clone() }),
            },
        }
    }
}

fn admit_caller(roles: &[Role], sub_agents: bool, identity: &Identity) -> Result<(), Refusal> {
    if !roles.contains(&identity.role()) {
        return Err(Refusal::Role { presented: identity.spiffe_id().clone() });
    }
    match identity {
        Identity::Agent(agent) if agent.is_sub_agent() && !sub_agents => {
            Err(Refusal::SubAgent { presented: agent.spiffe_id().clone() })
        }
        _ => Ok(()),
    }
}

fn admit_server(
    expected: &ExpectedServer,
    own: &TrustDomain,
    host: &ServerName<'static>,
    server: &ServerId,
    leaf: &Leaf,
) -> Result<(), Refusal> {
    let in_own = server.trust_domain() == own;
    let (matches, wanted) = match expected {
        ExpectedServer::Name(name) => (in_own && server.name() == name, format!("spiffe://{own}/server/{name}")),
        ExpectedServer::Id(id) => (server.spiffe_id() == id, id.to_string()),
        ExpectedServer::Host => {
            let wanted = format!("a server of {own} with the SAN {}", host.to_str());
            (in_own && names_host(leaf.sans(), host), wanted)
        }
    };
    if matches {
        return Ok(());
    }
    Err(Refusal::WrongServer { expected: wanted, presented: server.spiffe_id().clone() })
}

/// Exact and case-insensitive for DNS names; a wildcard in a certificate names no host here.
fn names_host(sans: &[San], host: &ServerName<'_>) -> bool {
    match host {
        ServerName::DnsName(name) => sans
            .iter()
            .any(|san| matches!(san, San::Dns(dns) if dns.eq_ignore_ascii_case(name.as_ref()) && !dns.contains('*'))),
        ServerName::IpAddress(ip) => {
            let ip = IpAddr::from(*ip);
            sans.iter().any(|san| matches!(san, San::Ip(presented) if *presented == ip))
        }
        _ => false,
    }
}
