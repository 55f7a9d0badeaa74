//! Evidence of who is at the other end; made by a finished handshake and by nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use countermark_identity::{AgentId, Identity, Leaf, ServerId, UnixTime};
use rustls_pki_types::CertificateDer;

use crate::PeerEnded;
use crate::live::Live;

/// The caller of a live connection, as its finished handshake proved it.
///
/// There is no other way to one than [`Acceptor::accept`](crate::Acceptor::accept).
#[derive(Clone, Debug)]
pub struct VerifiedPeer<C = AgentId> {
    inner: Arc<Inner<C>>,
}

#[derive(Debug)]
struct Inner<C> {
    caller: C,
    remote: SocketAddr,
    resumed: bool,
    live: Arc<Live>,
}

impl<C> VerifiedPeer<C> {
    pub(crate) fn assertion(caller: C, remote: SocketAddr, resumed: bool, live: Arc<Live>) -> Self {
        Self { inner: Arc::new(Inner { caller, remote, resumed, live }) }
    }

    /// Who calls.
    #[must_use]
    pub fn caller(&self) -> &C {
        &self.inner.caller
    }

    /// Where the connection comes from.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.inner.remote
    }

    /// Whether the session was resumed; who it is was judged again all the same.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.inner.resumed
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.inner.live
    }
}

impl VerifiedPeer<AgentId> {
    /// The agent that calls.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.inner.caller
    }
}

/// The server at the other end of a client's connection, as the finished handshake proved it.
#[derive(Clone, Debug)]
pub struct VerifiedServer {
    server: ServerId,
    live: Arc<Live>,
}

impl VerifiedServer {
    /// `None` where the identity is not a server's, which the verifier has refused before.
    pub(crate) fn assertion(live: Arc<Live>) -> Option<Self> {
        let Identity::Server(server) = &live.identity else { return None };
        Some(Self { server: server.clone(), live })
    }

    /// The server that answers.
    #[must_use]
    pub fn server(&self) -> &ServerId {
        &self.server
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

/// Whoever calls where a certificate is not demanded: known, or expressly not.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "whoever asks must decide about both")]
pub enum Visitor {
    /// No certificate was presented: whatever this one may do, everybody may.
    Anonymous(Anonymous),
    /// A certificate was presented and verified.
    Verified(VerifiedPeer<Identity>),
}

impl Visitor {
    /// Where the connection comes from.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        match self {
            Self::Anonymous(anonymous) => anonymous.remote,
            Self::Verified(peer) => peer.remote(),
        }
    }
}

/// Evidence that a handshake was finished without a certificate.
#[derive(Clone, Debug)]
pub struct Anonymous {
    remote: SocketAddr,
}

impl Anonymous {
    pub(crate) fn assertion(remote: SocketAddr) -> Self {
        Self { remote }
    }

    /// Where the connection comes from.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }
}

/// What the transport needs to know of the evidence that it carries.
pub trait Presence: sealed::Right + Clone + std::fmt::Debug + Send + Sync + Unpin + 'static {
    /// Whether the session was resumed.
    fn is_resumed(&self) -> bool;
}

impl<C: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static> Presence for VerifiedPeer<C> {
    fn is_resumed(&self) -> bool {
        self.resumed()
    }
}

impl Presence for Visitor {
    /// Where nobody is known, whether a session was resumed says nothing.
    fn is_resumed(&self) -> bool {
        match self {
            Self::Anonymous(_) => false,
            Self::Verified(peer) => peer.resumed(),
        }
    }
}

pub(crate) mod sealed {
    use super::{Arc, Live, PeerEnded, VerifiedPeer, Visitor};

    /// The right that a connection stands on. Nobody in particular has none that could end.
    pub trait Right {
        fn right(&self) -> Option<&Arc<Live>>;

        fn stands(&self) -> Result<(), PeerEnded> {
            self.right().map_or(Ok(()), |live| live.judge())
        }
    }

    impl<C> Right for VerifiedPeer<C> {
        fn right(&self) -> Option<&Arc<Live>> {
            Some(self.live())
        }
    }

    impl Right for Visitor {
        fn right(&self) -> Option<&Arc<Live>> {
            match self {
                Self::Anonymous(_) => None,
                Self::Verified(peer) => Some(peer.live()),
            }
        }
    }
}

macro_rules! evidence {
    ($($generics:tt)*) => {
        $($generics)* {
            /// The certificate that was presented.
            #[must_use]
            pub fn leaf(&self) -> &Leaf {
                &self.live().leaf
            }

            /// The chain as it was presented, leaf first.
            #[must_use]
            pub fn chain(&self) -> &[CertificateDer<'static>] {
                &self.live().chain
            }

            /// The trust generation of the handshake.
            #[must_use]
            pub fn accepted_under(&self) -> u64 {
                self.live().accepted_under
            }

            /// When the right to this connection ends at the latest.
            #[must_use]
            pub fn not_after(&self) -> UnixTime {
                self.live().not_after()
            }

            /// Judges the right again; two compares when neither trust nor time has moved.
            ///
            /// # Errors
            /// The right has ended: answer nothing, the connection is being closed.
            pub fn judge(&self) -> Result<(), PeerEnded> {
                self.live().judge()
            }

            /// Waits until the right ends: at a change of trust, at expiry, or by [`Self::end`].
            pub async fn ended(&self) -> PeerEnded {
                self.live().ended().await
            }

            /// Ends the connection and its streams now.
            pub fn end(&self, reason: &str) {
                self.live().end(PeerEnded::Withdrawn { reason: reason.into() });
            }
        }
    };
}

evidence!(impl<C> VerifiedPeer<C>);
evidence!(impl VerifiedServer);
