//! From a configuration to a guard: everything that can be wrong is wrong here, before anything is served.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use countermark_credential::Credential;
use countermark_identity::{Clock, Role, San, ServerId};
use countermark_mcp::{Authorization, AuthorizeLayer, CredentialHosts, HostNames, Limits, Tokens};
use countermark_mtls::{
    Acceptor, AcceptorConfig, Client, ClientConfig, ExpectedServer, ServeConfig, TrustGeneration, TrustGenerations,
    provider,
};
use countermark_oauth::{Binding, HttpError, TokenError};
use http::Uri;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower_layer::Layer;

use super::Guard;
use super::audit::{AuditLog, LastFailure};
use super::config::{AuditSink, GuardConfig, GuardLimits, StdioServer, Upstream};
use super::descriptors::{Budget, budget};
use super::error::GuardError;
use super::metrics::Metrics;
use super::policy_file::PolicyFile;
use super::service::{self, Front, Place};
use super::shares::Shares;
use super::state::State;
use super::tokens::TokenMode;
use crate::identity::Identity;
use crate::upstream::http::{Http, Times};
use crate::upstream::stdio::Stdio;
use crate::upstream::{Behind, Server, Target, endpoint};

/// What the parts of a guard share while it is put together.
struct Parts {
    identity: Identity,
    server: ServerId,
    trust: watch::Receiver<Arc<TrustGeneration>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

pub(super) async fn guard(config: GuardConfig, clock: Arc<dyn Clock>) -> Result<Guard, GuardError> {
    let metrics = Arc::new(Metrics::new());
    let (identity, server, policy) = who(&config, &clock, &metrics).await?;
    let trust = TrustGenerations::join(identity.trust(), policy.map()).watch();
    let parts = Parts { identity, server, trust, clock, metrics: Arc::clone(&metrics) };
    let (upstream, path) = upstream(&config, &parts)?;
    let listener = listen(config.listen, "--listen").await?;
    let address = listener.local_addr().map_err(GuardError::Serve)?;
    let admin = match config.admin {
        Some(admin) => {
            let listener = listen(admin, "--admin").await?;
            let address = listener.local_addr().map_err(GuardError::Serve)?;
            Some((listener, address))
        }
        None => None,
    };
    let behind = behind(&config, &parts, upstream)?;
    let acceptor = acceptor(&config, &parts)?;
    let room = room(&config);
    let audit = LastFailure::new(Arc::clone(&parts.clock));
    let url = url(&parts.identity, address, &path);
    let tokens = config.tokens.prepare(&parts.identity, parts.server.trust_domain(), &url, &parts.clock)?;
    let place = Place { url, path, metadata: tokens.metadata_path().map(Into::into) };
    let front = Front::new(service::Parts {
        authorize: AuthorizeLayer::new(authorization(&config, &parts, &policy, &audit, &tokens)?).layer(behind.clone()),
        place,
        in_flight: Arc::new(Semaphore::new(config.limits.requests)),
        shares: Shares::new(config.limits.requests, room.answers),
        metrics: Arc::clone(&parts.metrics),
        over: CancellationToken::new(),
    });
    warn(&config, &parts, &policy);
    let state = Arc::new(State {
        identity: parts.identity,
        trust: parts.trust,
        policy: Arc::clone(&policy),
        audit,
        registry: acceptor.registry().clone(),
        behind,
        metrics: parts.metrics,
        clock: parts.clock,
        tokens,
        draining: AtomicBool::new(false),
    });
    Ok(Guard {
        listener,
        address,
        admin,
        acceptor,
        front,
        limits: serving(&config.limits, room, &metrics),
        policy,
        state,
        server: parts.server,
        observing: config.danger_observe,
    })
}

/// The upstream, with what it is told of callers.
fn behind(config: &GuardConfig, parts: &Parts, upstream: Server) -> Result<Behind, GuardError> {
    let own = parts.server.trust_domain();
    let tells = config.forward_identity.then(|| own.clone());
    let server = match (config.tokens.upstream()?, upstream) {
        (None, upstream) => upstream,
        (Some(tokens), Server::Http(http)) => {
            let exchange = tokens.prepare(&parts.identity, own, &parts.clock, carriers(config, parts, http));
            Server::Exchanging(Box::new(exchange.map_err(GuardError::Tokens)?))
        }
        (Some(_), _) => {
            return Err(GuardError::Tokens("a stdio server has no headers, so that it takes no token".to_owned()));
        }
    };
    Ok(Behind::new(server, tells, Arc::clone(&parts.metrics)))
}

/// Ways to the upstream that present one credential each.
fn carriers(
    config: &GuardConfig,
    parts: &Parts,
    http: Box<Http>,
) -> impl Fn(&Arc<Credential>) -> Result<Http, TokenError> + Send + Sync + 'static {
    let (settings, trust, clock) = (tls_settings(config), parts.trust.clone(), Arc::clone(&parts.clock));
    move |credential| {
        // A credential that never changes: another one is another client.
        let fixed = watch::Sender::new(Arc::clone(credential)).subscribe();
        let client = || Client::new(fixed, trust.clone(), ExpectedServer::Host, Arc::clone(&clock), settings.clone());
        http.over(client).map_err(|error| HttpError::Tls(error.to_string()).into())
    }
}

/// The identity, which must be a server's, and the policy of its trust domain.
async fn who(
    config: &GuardConfig,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<(Identity, ServerId, Arc<PolicyFile>), GuardError> {
    let unusable = |message: String| GuardError::Identity { path: config.identity.clone(), message };
    // Read before the policy names trust domains, so that a wrong directory is reported first.
    let own = Identity::own(&config.identity, clock.now()).map_err(unusable)?;
    let Some((Role::Server, _)) = own.role() else { return Err(GuardError::NotAServer { identity: own.to_string() }) };
    let server = ServerId::try_from(own.clone()).map_err(|_| GuardError::NotAServer { identity: own.to_string() })?;
    let policy = PolicyFile::open(config.policy.clone(), own.trust_domain().clone(), Arc::clone(metrics))?;
    let identity = Identity::watch(crate::identity::Sources {
        directory: config.identity.clone(),
        crl: config.crl.clone(),
        state: config.state.clone(),
        policy: Some(policy.policy()),
        clock: Arc::clone(clock),
    })
    .await
    .map_err(unusable)?;
    Ok((identity, server, policy))
}

fn upstream(config: &GuardConfig, parts: &Parts) -> Result<(Server, String), GuardError> {
    let limits = &config.limits;
    let times =
        Times { connect: limits.upstream_connect, headers: limits.upstream_headers, body: limits.upstream_body };
    let wrong = |upstream: &str, message: String| GuardError::Upstream { upstream: upstream.to_owned(), message };
    match &config.upstream {
        Upstream::Http { url } => {
            let (endpoint, target) =
                endpoint(url, config.danger_plaintext_upstream).map_err(|message| wrong(url, message.to_owned()))?;
            let path = endpoint.path().to_owned();
            let http = match target {
                Some(target) => Http::plain(target, endpoint, times),
                None => Http::tls(tls_client(config, parts)?, endpoint, times),
            };
            Ok((Server::Http(Box::new(http)), path))
        }
        Upstream::Unix { path, .. } | Upstream::Stdio(StdioServer { path, .. })
            if !path.starts_with('/') || path.contains(['?', '#']) =>
        {
            Err(wrong(path, "it is not a path; it looks like /mcp".to_owned()))
        }
        Upstream::Unix { socket, path } => {
            let endpoint = Uri::builder().scheme("http").authority("localhost").path_and_query(path.as_str()).build();
            let endpoint = endpoint.map_err(|_| wrong(path, "it is not a path; it looks like /mcp".to_owned()))?;
            let http = Http::plain(Target::Unix(socket.clone()), endpoint, times);
            Ok((Server::Http(Box::new(http)), path.clone()))
        }
        Upstream::Stdio(server) => {
            let command = server.command.display().to_string();
            let stdio =
                Stdio::new(server.clone(), provider().secure_random).map_err(|message| wrong(&command, message))?;
            Ok((Server::Stdio(stdio), server.path.clone()))
        }
    }
}

fn tls_client(config: &GuardConfig, parts: &Parts) -> Result<Client, GuardError> {
    let (credential, trust) = (parts.identity.watch_credential(), parts.trust.clone());
    Client::new(credential, trust, ExpectedServer::Host, Arc::clone(&parts.clock), tls_settings(config))
        .map_err(|error| GuardError::Tls(error.to_string()))
}

fn tls_settings(config: &GuardConfig) -> ClientConfig {
    ClientConfig { connect_timeout: config.limits.upstream_connect, tls12: config.tls12, ..ClientConfig::default() }
}

fn acceptor(config: &GuardConfig, parts: &Parts) -> Result<Acceptor, GuardError> {
    let settings =
        AcceptorConfig { handshake_timeout: config.limits.handshake, tls12: config.tls12, ..AcceptorConfig::default() };
    Acceptor::new(parts.identity.watch_credential(), parts.trust.clone(), Arc::clone(&parts.clock), settings)
        .map_err(|error| GuardError::Tls(error.to_string()))
}

fn authorization(
    config: &GuardConfig,
    parts: &Parts,
    policy: &Arc<PolicyFile>,
    failure: &Arc<LastFailure>,
    tokens: &Tokens,
) -> Result<Authorization, GuardError> {
    let audit = AuditLog::open(&config.audit, Arc::clone(&parts.metrics), Arc::clone(failure)).map_err(|source| {
        let path = if let AuditSink::File(path) = &config.audit { path.clone() } else { "standard output".into() };
        GuardError::Audit { path, source }
    })?;
    let hosts = CredentialHosts::new(parts.identity.watch_credential(), HostNames::new(&config.allow_hosts));
    let mut authorization = Authorization::new(
        parts.server.clone(),
        policy.policy(),
        Arc::new(audit),
        Arc::new(hosts),
        Arc::clone(&parts.clock),
    );
    authorization.origins.clone_from(&config.allow_origins);
    authorization.deny_status = config.deny_status;
    authorization.danger_observe = config.danger_observe;
    authorization.tokens = tokens.clone();
    authorization.limits =
        Limits { body: config.limits.body_bytes, body_time: config.limits.body, ..Limits::default() };
    Ok(authorization)
}

fn room(config: &GuardConfig) -> Budget {
    let children = match &config.upstream {
        Upstream::Stdio(server) => server.limits.processes,
        Upstream::Http { .. } | Upstream::Unix { .. } => 0,
    };
    let room = budget(config.limits.connections, children);
    // Streams are many and quiet; even so, what waits for slow readers is bounded.
    Budget { answers: room.answers.min(config.limits.requests.saturating_mul(16)), ..room }
}

fn serving(limits: &GuardLimits, room: Budget, metrics: &Arc<Metrics>) -> ServeConfig {
    ServeConfig {
        drain_timeout: limits.drain,
        header_timeout: limits.headers,
        idle_timeout: limits.idle,
        max_connections: room.connections,
        // Agents behind one address are many; each has its own share of requests.
        max_connections_per_source: None,
        max_header_bytes: limits.header_bytes,
        max_streams: limits.http2_streams,
        observer: Arc::clone(metrics) as _,
    }
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, GuardError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => GuardError::AddressInUse { address, flag },
        _ => GuardError::Listen { address, flag, source },
    })
}

/// The URL that agents use: the first DNS name of the certificate, else the address.
fn url(identity: &Identity, address: SocketAddr, path: &str) -> String {
    let credential = identity.credential();
    let name = credential.leaf().sans().iter().find_map(|san| match san {
        San::Dns(name) if !name.starts_with('*') => Some(name.clone()),
        _ => None,
    });
    let host = name.unwrap_or_else(|| match address.ip() {
        IpAddr::V6(address) => format!("[{address}]"),
        IpAddr::V4(address) => address.to_string(),
    });
    format!("https://{host}:{}{path}", address.port())
}

/// Says loudly what is weaker than it could be.
fn warn(config: &GuardConfig, parts: &Parts, policy: &PolicyFile) {
    parts.metrics.gauges.observing.set(i64::from(config.danger_observe));
    if config.danger_observe {
        tracing::warn!("--danger-observe: calls that lack a grant PASS and are recorded as would_deny");
    }
    if config.danger_plaintext_upstream {
        tracing::warn!("DANGER: plain HTTP to the upstream is permitted beyond this machine");
    }
    if let Upstream::Stdio(server) = &config.upstream
        && server.user.is_none()
    {
        tracing::warn!(
            "the stdio server runs as guard's own user and CAN READ GUARD'S KEY; give it a user of its own with --user"
        );
    }
    if config.forward_identity && matches!(config.upstream, Upstream::Stdio(_)) {
        tracing::warn!("a stdio server has no headers, so it does not learn who calls");
    }
    let demands = policy.policy().borrow().demands_token(&parts.server);
    if let (Some(rule), TokenMode::Ignored | TokenMode::Forbidden) = (demands, config.tokens.mode) {
        tracing::warn!(%rule, "the policy demands scopes or roles, and this guard takes no tokens: such grants permit nothing; add --issuer");
    }
    if config.tokens.issuers.iter().any(|issuer| issuer.binding == Binding::DangerBearer) {
        tracing::warn!("DANGER: tokens that are bound to no certificate are accepted: whoever steals one can use it");
    }
    if !policy.policy().borrow().names_server(&parts.server) {
        tracing::warn!(server = %parts.server, policy = %config.policy.display(), "the policy never names this server: nobody may call it");
    }
}
