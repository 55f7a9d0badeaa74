//! What the story happens to: a development authority, the ledger, guard before it, two agents.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countermark_authority::{Authority, KeyProtection, MintRequest, SubjectKey, Target};
use countermark_credential::Credential;
use countermark_identity::{Clock, Role, Serial, SpiffeId, SystemClock, TrustDomain, UnixTime};
use countermark_issue::{KeyPair, KeyType, RevocationReason};
use countermark_proxy::{
    CrlSource,
    guard::{AuditSink, Guard, GuardConfig, TokensConfig, Upstream},
};
use countermark_rotate::Handle;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_util::sync::CancellationToken;

use super::{agent::Agent, ledger};
use crate::{
    failure::{Explain, Outcome, failed},
    issuing,
    output::{BOLD, facts, line},
};

/// All of it; guard and ledger run until it is dropped.
#[derive(Debug)]
pub(super) struct Estate {
    pub(super) dir: PathBuf,
    pub(super) policy: PathBuf,
    pub(super) audit: PathBuf,
    pub(super) address: SocketAddr,
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) billing: Agent,
    pub(super) intern: Agent,
    pub(super) expired: Arc<Credential>,
    authority: Authority,
    rotation: Handle,
    upstream: SocketAddr,
    running: CancellationToken,
}

const TRUST_DOMAIN: &str = "quickstart.internal";

/// How far back the development authority was made, so that one of its certificates can have expired.
const PAST: Duration = Duration::from_secs(2 * 3600);

impl Estate {
    /// Makes and starts everything below `dir`.
    pub(super) async fn build(dir: PathBuf, running: CancellationToken) -> Outcome<Self> {
        let ca = dir.join("ca");
        let trust_domain: TrustDomain = TRUST_DOMAIN.parse()?;
        let expired = Arc::new(past(&ca, &trust_domain).await?);
        let authority =
            Authority::open(&ca, None, Arc::new(SystemClock)).or_failed("cannot open the development authority", "")?;
        for (role, name) in [(Role::Server, "ledger"), (Role::Agent, "billing-bot"), (Role::Agent, "intern-bot")] {
            let credential = Arc::new(mint(&authority, role, name).await?);
            issuing::deliver(&authority, &identity(&dir, name), credential)?;
        }
        let rotate = dir.join("rotate.toml");
        std::fs::write(&rotate, ROTATE).or_failed(format!("cannot write {}", rotate.display()), "")?;
        let rotation = crate::rotate::start(&rotate, running.clone())?;
        let policy = dir.join("policy.toml");
        std::fs::write(&policy, POLICY).or_failed(format!("cannot write {}", policy.display()), "")?;
        let audit = dir.join("audit.jsonl");
        let upstream = ledger::serve(running.clone()).await?;
        let guard = Guard::bind(GuardConfig {
            crl: Some(CrlSource::File(authority.crl_path())),
            audit: AuditSink::File(audit.clone()),
            ..GuardConfig::new(
                SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                Upstream::Http { url: format!("http://{upstream}/mcp") },
                identity(&dir, "ledger"),
                policy.clone(),
            )
        })
        .await
        .or_failed("guard did not start", "")?;
        let address = guard.addr();
        let stopped = running.clone();
        tokio::spawn(async move {
            if let Err(error) = guard.serve(stopped).await {
                tracing::error!(%error, "guard stopped");
            }
        });
        let url = url(address);
        Ok(Self {
            roots: vec![authority.root().clone()],
            billing: Agent::start(identity(&dir, "billing-bot"), url.clone(), &trust_domain)?,
            intern: Agent::start(identity(&dir, "intern-bot"), url, &trust_domain)?,
            dir,
            policy,
            audit,
            address,
            expired,
            authority,
            rotation,
            upstream,
            running,
        })
    }

    /// What is there, before anything happens.
    pub(super) fn introduce(&self) -> Outcome<()> {
        line(format!("{BOLD}A closed estate on this machine, in {}{BOLD:#}", self.dir.display()))?;
        facts([
            ("authority", format!("{TRUST_DOMAIN}, for development: its keys have no passphrase")),
            ("server", format!("ledger, a real MCP server at http://{}/mcp, for this machine alone", self.upstream)),
            ("guard", format!("{} before it: mTLS, identity, policy for each call", self.url())),
            ("billing-bot", "an agent that may read and post".to_owned()),
            ("intern-bot", "an agent that may read".to_owned()),
        ])
    }

    /// Whose trust domain it is.
    pub(super) fn trust_domain(&self) -> &TrustDomain {
        self.authority.trust_domain()
    }

    /// Where agents call.
    pub(super) fn url(&self) -> String {
        url(self.address)
    }

    /// A credential of the same name from another authority.
    pub(super) async fn stranger(&self) -> Outcome<Arc<Credential>> {
        let elsewhere = self.dir.join("elsewhere");
        let authority =
            Authority::init(&elsewhere, self.authority.trust_domain(), KeyProtection::Plaintext, Arc::new(SystemClock))
                .await
                .or_failed("cannot make the other authority", "")?;
        mint(&authority, Role::Agent, "billing-bot").await.map(Arc::new)
    }

    /// Mints one more identity, and the directory that it is delivered into.
    pub(super) async fn enrol(&self, role: Role, name: &str) -> Outcome<PathBuf> {
        let credential = Arc::new(mint(&self.authority, role, name).await?);
        let directory = identity(&self.dir, name);
        issuing::deliver(&self.authority, &directory, credential)?;
        Ok(directory)
    }

    /// One more guard before the same server, with a policy and tokens of its own; the address that it serves.
    pub(super) async fn guard(&self, policy: PathBuf, audit: PathBuf, tokens: TokensConfig) -> Outcome<SocketAddr> {
        let guard = Guard::bind(GuardConfig {
            crl: Some(CrlSource::File(self.authority.crl_path())),
            audit: AuditSink::File(audit),
            state: Some(self.dir.join("tokens-state.json")),
            tokens,
            ..GuardConfig::new(
                SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                Upstream::Http { url: format!("http://{}/mcp", self.upstream) },
                identity(&self.dir, "ledger"),
                policy,
            )
        })
        .await
        .or_failed("the guard with tokens did not start", "")?;
        let (address, stopped) = (guard.addr(), self.running.clone());
        tokio::spawn(async move {
            if let Err(error) = guard.serve(stopped).await {
                tracing::error!(%error, "guard stopped");
            }
        });
        Ok(address)
    }

    /// Revokes one certificate; guard watches the CRL that this writes.
    pub(super) async fn revoke(&self, serial: &Serial) -> Outcome<()> {
        self.authority
            .revoke(&Target::Serial(serial.clone()), RevocationReason::PrivilegeWithdrawn)
            .await
            .map(drop)
            .or_failed("cannot revoke", "")
    }

    /// Tells the rotation to renew billing-bot now, as `countermark ctl renew` would; the serial that it then delivers.
    pub(super) async fn rotate_billing(&self) -> Outcome<Serial> {
        let before = self.billing_serial().await?;
        self.rotation.renew("billing-bot").await.or_failed("cannot renew billing-bot", "")?;
        let renewed = async {
            loop {
                let serial = self.billing_serial().await?;
                if serial != before {
                    return Ok(serial);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, renewed).await.or_failed("billing-bot is not renewed", "")?
    }

    async fn billing_serial(&self) -> Outcome<Serial> {
        let status = self.rotation.credential("billing-bot").await.or_failed("the rotation has ended", "")?;
        let serial = status.and_then(|status| status.serial);
        serial.ok_or_else(|| failed("the rotation has no billing-bot", ""))?.parse().or_failed("an odd serial", "")
    }

    /// Stays up until `shutdown`; the rotation goes on renewing.
    pub(super) async fn stay(&self, shutdown: &CancellationToken) {
        shutdown.cancelled().await;
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        self.running.cancel();
    }
}

/// How long a renewal may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What keeps guard and billing-bot fresh; intern-bot, once revoked, is not to come back.
const ROTATE: &str = include_str!("rotate.toml");

const POLICY: &str = include_str!("policy.toml");

fn identity(dir: &Path, name: &str) -> PathBuf {
    dir.join("id").join(name)
}

fn url(address: SocketAddr) -> String {
    format!("https://localhost:{}/mcp", address.port())
}

/// Makes the authority as of two hours ago, and a certificate of then that lived for one.
async fn past(ca: &Path, trust_domain: &TrustDomain) -> Outcome<Credential> {
    let then = Arc::new(Stopped(SystemClock.now().saturating_sub(PAST)));
    let authority = Authority::init(ca, trust_domain, KeyProtection::Plaintext, then)
        .await
        .or_failed("cannot make the development authority", "")?;
    mint(&authority, Role::Agent, "billing-bot").await
}

/// A clock that stands.
#[derive(Debug)]
struct Stopped(UnixTime);

impl Clock for Stopped {
    fn now(&self) -> UnixTime {
        self.0
    }
}

async fn mint(authority: &Authority, role: Role, name: &str) -> Outcome<Credential> {
    let key = KeyPair::generate(KeyType::P256).or_failed("cannot make a key", "")?;
    let is_server = role == Role::Server;
    let request = MintRequest {
        identity: SpiffeId::new(authority.trust_domain(), role, name)?,
        subject_key: SubjectKey::Public(key.public_key().clone()),
        ttl: None,
        dns: if is_server { vec!["localhost".to_owned()] } else { Vec::new() },
        ip: if is_server { vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] } else { Vec::new() },
    };
    let issued = authority.mint(&request).await.or_failed(format!("cannot mint {name}"), "")?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec()));
    Credential::new(issued.chain, key).or_failed("what was minted does not fit its key", "")
}
