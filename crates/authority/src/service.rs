//! The authority as a service: EST, JSON beside it, and what an authority must do by itself.

mod admin;
mod body;
mod cms;
mod config;
mod desk;
mod est;
mod health;
mod invite;
mod join;
mod ledger;
mod limits;
mod lookup;
mod material;
mod metrics;
mod nonce;
mod probes;
mod refusal;
mod revive;
mod room;
mod router;
mod token;
mod upkeep;
mod window;

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use countermark_credential::{Credential, DomainTrust, Revocation, Trust};
use countermark_identity::{Clock, Leaf, Role, SanMap, SpiffeId};
use countermark_mtls::{Acceptor, AcceptorConfig, Anyone, ServeConfig, TrustGenerations, serve};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use self::{
    config::{Places, ServiceConfig, ServiceError},
    invite::{Invite, InviteRequest},
    limits::RateLimits,
    token::{Enrolment, EnrolmentError, TokenError},
};
use self::{
    desk::{Desk, Signing},
    health::{Hush, Troubles},
    ledger::Ledger,
    limits::Limiter,
    lookup::{Lookup, Reader},
    material::Lists,
    metrics::Metrics,
    nonce::Nonces,
    refusal::Refusal,
    room::{Bodies, Waiting},
    upkeep::Upkeep,
};
use crate::{
    authority::Authority,
    error::AuthorityError,
    record::{Act, CertificateRecord, IssuerKind, Outcome},
    store::{AuditEntry, SqliteStore, Store},
};

/// How long the intermediates' CRLs may be believed that a service signs: 24 hours, and anew at half of that.
pub const CRL_LIFE_SERVED: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// A service whose sockets are bound and whose own certificate is minted; nothing is answered before [`Service::serve`].
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
    admin: Option<(TcpListener, SocketAddr)>,
    acceptor: Acceptor<Anyone>,
    upkeep: Upkeep,
    writer: JoinHandle<()>,
    limits: ServeConfig,
}

/// What every request may need.
#[derive(Debug)]
pub(crate) struct Shared {
    authority: Arc<Authority>,
    clock: Arc<dyn Clock>,
    me: SpiffeId,
    url: String,
    places: Places,
    desk: Desk,
    lists: watch::Sender<Arc<Lists>>,
    trust: watch::Sender<Arc<Trust>>,
    credential: watch::Receiver<Arc<Credential>>,
    enrol: Option<std::path::PathBuf>,
    enrolment: ArcSwap<Enrolment>,
    /// Told when it is another.
    enrolment_moved: tokio::sync::Notify,
    nonces: Nonces,
    limiter: Limiter,
    metrics: Arc<Metrics>,
    waiting: Waiting,
    bodies: Bodies,
    troubles: Troubles,
    strangers: Hush,
    /// One reading of the lists after another: what is published last was read last.
    reloading: std::sync::Mutex<()>,
    over: CancellationToken,
}

impl Service {
    /// Opens inventory and keys, mints the service's own certificate and binds the sockets.
    ///
    /// # Errors
    /// [`ServiceError`] names what failed and the next step.
    pub async fn bind(authority: Authority, config: ServiceConfig) -> Result<Self, ServiceError> {
        let authority = Arc::new(authority.with_crl_life(CRL_LIFE_SERVED).with_patience(PATIENCE));
        let inventory = authority.inventory_path();
        let open = async || SqliteStore::open_serving(&inventory).await.map_err(AuthorityError::from);
        let stores = Stores { writer: Box::new(open().await?), reader: Box::new(open().await?) };
        Self::with_stores(authority, config, stores).await
    }

    async fn with_stores(
        authority: Arc<Authority>,
        config: ServiceConfig,
        stores: Stores,
    ) -> Result<Self, ServiceError> {
        let (listener, address) = config::bind(config.listen).await?;
        let admin = match config.admin {
            Some(admin) => Some(config::bind(admin).await?),
            None => None,
        };
        let clock = authority.clock();
        let me = SpiffeId::new(authority.trust_domain(), Role::Server, &config.name).map_err(ServiceError::Name)?;
        let enrolment = match &config.enrol {
            Some(path) => Enrolment::read(path, authority.trust_domain(), &Enrolment::nobody(), &clock)?,
            None => Enrolment::nobody(),
        };
        let metrics = Arc::new(Metrics::new());
        let (ledger, writing) = Ledger::new(stores.writer, Arc::clone(&metrics));
        let writer = tokio::spawn(writing);
        let reader: Reader = Arc::new(tokio::sync::Mutex::new(stores.reader));
        let (lookup, looking) = Lookup::new(Arc::clone(&reader));
        tokio::spawn(looking);
        let desk = Desk::new(Arc::clone(&authority), ledger, (reader, lookup)).await?;
        let places = config.places(address)?;
        let own = upkeep::own_credential(&desk, &places, &me, clock.now()).await?;
        let (publish, credential) = watch::channel(Arc::new(own));
        let (lists, trust) = read_trust(&authority, &desk.signing(), &Trust::nobody())?;
        let shared = Arc::new(Shared {
            url: places.url(address.port()),
            places,
            authority,
            clock: Arc::clone(&clock),
            me,
            desk,
            lists: watch::Sender::new(Arc::new(lists)),
            trust: watch::Sender::new(trust),
            credential: credential.clone(),
            enrol: config.enrol,
            enrolment: ArcSwap::from_pointee(enrolment),
            enrolment_moved: tokio::sync::Notify::new(),
            nonces: Nonces::new()?,
            limiter: Limiter::new(config.rates),
            metrics: Arc::clone(&metrics),
            waiting: Waiting::default(),
            bodies: Bodies::new(),
            troubles: Troubles::new(),
            strangers: Hush::default(),
            reloading: std::sync::Mutex::default(),
            over: CancellationToken::new(),
        });
        let mut upkeep = Upkeep::new(Arc::clone(&shared), publish);
        // Stale lists would refuse every renewal: what is due is done before anybody asks.
        upkeep.look().await;
        let map = watch::channel(Arc::new(SanMap::empty(shared.authority.trust_domain().clone()))).1;
        let generations = TrustGenerations::join(shared.trust.subscribe(), map);
        let acceptor = Acceptor::of_callers(credential, generations.watch(), clock, AcceptorConfig::default())?;
        let limits = ServeConfig {
            observer: metrics,
            drain_timeout: config.drain,
            max_connections_per_source: config.connections_per_source,
            ..ServeConfig::default()
        };
        Ok(Self { shared, listener, address, admin, acceptor, upkeep, writer, limits })
    }

    /// The address that clients connect to; with port 0 in the configuration, the kernel's choice.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The address of healthz, readyz and metrics.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    /// The URL that invites name.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Who answers there.
    #[must_use]
    pub fn identity(&self) -> &SpiffeId {
        &self.shared.me
    }

    /// Serves until `shutdown`, then drains.
    pub async fn serve(self, shutdown: CancellationToken) {
        let probes_over = CancellationToken::new();
        let probes = self.admin.map(|(listener, _)| {
            // Answers while requests drain, too; readyz says by then that nothing more should come.
            tokio::spawn(probes::serve(listener, Arc::clone(&self.shared), probes_over.clone()))
        });
        let over = self.shared.over.clone();
        let ending = shutdown.clone();
        let note = tokio::spawn(async move {
            ending.cancelled().await;
            over.cancel();
        });
        let upkeep = tokio::spawn(self.upkeep.run());
        let keys = tokio::spawn(upkeep::follow_keys(Arc::clone(&self.shared)));
        let router = router::router(&self.shared);
        serve(self.listener, self.acceptor, router, self.limits, shutdown).await;
        note.abort();
        self.shared.over.cancel();
        let _ended = (upkeep.await, keys.await);
        probes_over.cancel();
        if let Some(probes) = probes {
            let _ended = probes.await;
        }
        // The writer ends with the last who could ask it to write.
        drop(self.shared);
        if tokio::time::timeout(LAST_WRITES, self.writer).await.is_err() {
            tracing::warn!("something still writes to the inventory; it ends with the process");
        }
    }
}

/// Where the inventory is written, and where it is read.
#[derive(Debug)]
struct Stores {
    writer: Box<dyn Store>,
    reader: Box<dyn Store>,
}

impl Shared {
    fn read_trust(&self) -> Result<(Lists, Arc<Trust>), AuthorityError> {
        read_trust(&self.authority, &self.desk.signing(), &self.trust.borrow())
    }

    /// Writes down that something was refused to somebody who is known, and why; nobody waits for it. Our own faults are no
    /// decisions, and what is refused to strangers is logged and counted alone: it would fill the disk at their will.
    fn note_refusal(&self, act: Act, identity: Option<&str>, refusal: &Refusal) {
        if refusal.is_ours() {
            return;
        }
        let Some(identity) = identity else { return self.log_refusal(act.as_str(), refusal) };
        self.desk.ledger.note(AuditEntry {
            identity: Some(identity.to_owned()),
            detail: Some(format!("{}: {}", refusal.code, refusal.message)),
            ..AuditEntry::new(self.clock.now(), act, Outcome::Refused)
        });
    }

    /// A line of the log, unless there were enough of them just now.
    fn log_refusal(&self, what: &str, refusal: &Refusal) {
        if let Some(unsaid) = self.strangers.speak() {
            tracing::warn!(code = refusal.code, reason = %refusal.message, what, unsaid, "refused");
        }
    }

    /// The names of a certificate that are not its profile's: for rows that an older program wrote.
    fn names_of(
        &self,
        leaf: &Leaf,
        record: &CertificateRecord,
    ) -> Result<(Vec<String>, Vec<std::net::IpAddr>), Refusal> {
        let role = record.identity.role().map_or(Role::Agent, |(role, _)| role);
        let profile = self.desk.profile(record.profile.as_deref(), role, self.clock.now())?;
        let own: Vec<String> = profile.san().dns(&record.identity).collect();
        let (mut dns, mut ip) = (Vec::new(), Vec::new());
        for san in leaf.sans() {
            match san {
                countermark_identity::San::Dns(name) if !own.contains(name) => dns.push(name.clone()),
                countermark_identity::San::Ip(address) => ip.push(*address),
                _ => {}
            }
        }
        Ok((dns, ip))
    }
}

/// The lists and the trust that they make: our own root, revocation required. Whoever presents the certificate alone that EST
/// answered is known by our own intermediates.
fn read_trust(authority: &Authority, signing: &Signing, before: &Trust) -> Result<(Lists, Arc<Trust>), AuthorityError> {
    let lists = Lists::read(authority)?;
    let domain =
        DomainTrust { bundle: authority.bundle()?, crls: lists.crls.clone(), revocation: Revocation::Required };
    let trust = before.succeed(vec![domain]).map_err(|error| AuthorityError::Trust(error.to_string()))?;
    let intermediates = signing.issuers.iter().filter(|issuer| issuer.kind == IssuerKind::Intermediate);
    let intermediates = intermediates.map(|issuer| issuer.certificate.clone()).collect();
    Ok((lists, Arc::new(trust.completing(authority.trust_domain(), intermediates))))
}

/// How long another process may hold the directory before what waits for it is put off.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);
const LAST_WRITES: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests;
