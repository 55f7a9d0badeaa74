//! What one side demands of the other, beyond a chain that verifies.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use countermark_identity::{AdminId, AgentId, Identity, Leaf, Role, San, ServerId, SpiffeId, TrustDomain, Usage};
use rustls_pki_types::ServerName;

use crate::live::Live;
use crate::peer::Presence;
use crate::{Anonymous, Refusal, VerifiedPeer, Visitor};

/// Who may call an acceptor, decided by a type: an acceptor of `AgentId` never yields an
/// administrator.
pub trait Caller: sealed::Sealed + Clone + std::fmt::Debug + Send + Sync + Unpin + 'static {
    /// The roles that are accepted; every other one fails the handshake.
    const ROLES: &'static [Role];

    /// Whether a handshake without any certificate fails. Where it does not, the evidence says that nobody is known.
    const CERTIFICATE_REQUIRED: bool = true;

    /// What a finished handshake yields: a [`VerifiedPeer`], or what may be none, a [`Visitor`].
    type Evidence: Presence;
}

/// Who calls on a connection whose caller may present no certificate: the caller of an acceptor of `Anyone`.
///
/// A certificate that is presented is judged as everywhere else, and fails the handshake where it is refused. The evidence
/// is a [`Visitor`], which tells the one from the other in a type.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Anyone;

pub(crate) mod sealed {
    use super::{Arc, Caller, Identity, Live, SocketAddr};

    /// How the two kinds of handshake become evidence.
    pub trait Sealed {
        fn verified(
            identity: &Identity,
            remote: SocketAddr,
            resumed: bool,
            live: Arc<Live>,
        ) -> Option<<Self as Caller>::Evidence>
        where
            Self: Caller;

        fn anonymous(_remote: SocketAddr) -> Option<<Self as Caller>::Evidence>
        where
            Self: Caller,
        {
            None
        }
    }
}

/// A caller that is always one with a certificate.
macro_rules! certified {
    ($caller:ty, $from:expr) => {
        impl sealed::Sealed for $caller {
            fn verified(
                identity: &Identity,
                remote: SocketAddr,
                resumed: bool,
                live: Arc<Live>,
            ) -> Option<VerifiedPeer<Self>> {
                let from: fn(&Identity) -> Option<Self> = $from;
                from(identity).map(|caller| VerifiedPeer::assertion(caller, remote, resumed, live))
            }
        }
    };
}

certified!(AgentId, |identity| match identity {
    Identity::Agent(agent) => Some(agent.clone()),
    _ => None,
});
certified!(AdminId, |identity| match identity {
    Identity::Admin(admin) => Some(admin.clone()),
    _ => None,
});
certified!(Identity, |identity| Some(identity.clone()));

impl sealed::Sealed for Anyone {
    fn verified(identity: &Identity, remote: SocketAddr, resumed: bool, live: Arc<Live>) -> Option<Visitor> {
        Some(Visitor::Verified(VerifiedPeer::assertion(identity.clone(), remote, resumed, live)))
    }

    fn anonymous(remote: SocketAddr) -> Option<Visitor> {
        Some(Visitor::Anonymous(Anonymous::assertion(remote)))
    }
}

impl Caller for AgentId {
    const ROLES: &'static [Role] = &[Role::Agent];
    type Evidence = VerifiedPeer<Self>;
}

impl Caller for AdminId {
    const ROLES: &'static [Role] = &[Role::Admin];
    type Evidence = VerifiedPeer<Self>;
}

impl Caller for Identity {
    const ROLES: &'static [Role] = &[Role::Admin, Role::Agent, Role::Server];
    type Evidence = VerifiedPeer<Self>;
}

impl Caller for Anyone {
    const ROLES: &'static [Role] = &[Role::Admin, Role::Agent, Role::Server];
    const CERTIFICATE_REQUIRED: bool = false;
    type Evidence = Visitor;
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
    Caller { roles: &'static [Role], sub_agents: bool, required: bool },
    Server { expected: ExpectedServer, own: TrustDomain, host: ServerName<'static> },
}

impl Demand {
    pub(crate) fn usage(&self) -> Usage {
        match self {
            Self::Caller { .. } => Usage::Client,
            Self::Server { .. } => Usage::Server,
        }
    }

    /// Whether whoever presents no certificate is refused.
    pub(crate) fn requires_certificate(&self) -> bool {
        !matches!(self, Self::Caller { required: false, .. })
    }

    /// Whether a leaf that verified is the one that is wanted here.
    pub(crate) fn admit(&self, identity: &Identity, leaf: &Leaf) -> Result<(), Refusal> {
        match self {
            Self::Caller { roles, sub_agents, .. } => admit_caller(roles, *sub_agents, identity),
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
