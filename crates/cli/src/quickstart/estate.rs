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
use countermark_proxy::guard::{AuditSink, Guard, GuardConfig, Upstream};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_util::sync::CancellationToken;

use super::{agent::Agent, ledger};
use crate::{
    failure::{Explain, Outcome},
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
            renew(&authority, &dir, role, name).await?;
        }
        let policy = dir.join("policy.toml");
        std::fs::write(&policy, POLICY).or_failed(format!("cannot write {}", policy.display()), "")?;
        let audit = dir.join("audit.jsonl");
        let upstream = ledger::serve(running.clone()).await?;
        let guard = Guard::bind(GuardConfig {
            crl: Some(authority.crl_path()),
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

    /// Revokes one certificate; guard watches the CRL that this writes.
    pub(super) async fn revoke(&self, serial: &Serial) -> Outcome<()> {
        self.authority
            .revoke(&Target::Serial(serial.clone()), RevocationReason::PrivilegeWithdrawn)
            .await
            .map(drop)
            .or_failed("cannot revoke", "")
    }

    /// Gives billing-bot its next certificate, as `mint` would.
    pub(super) async fn rotate_billing(&self) -> Outcome<Serial> {
        renew(&self.authority, &self.dir, Role::Agent, "billing-bot").await
    }

    /// Stays up and renews what is half through its life, until `shutdown`.
    pub(super) async fn stay(&self, shutdown: &CancellationToken) -> Outcome<()> {
        let mut ticks = tokio::time::interval(CHECK);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            for (role, name) in [(Role::Server, "ledger"), (Role::Agent, "billing-bot")] {
                if self.is_due(name)
                    && let Err(error) = renew(&self.authority, &self.dir, role, name).await
                {
                    tracing::warn!(error = %crate::failure::sentence(&error), "not renewed yet; trying again");
                }
            }
        }
    }

    fn is_due(&self, name: &str) -> bool {
        let Ok(held) = countermark_credential::directory::read(&identity(&self.dir, name)) else { return true };
        let leaf = held.credential.leaf();
        let life = leaf.not_after().duration_since(leaf.not_before());
        SystemClock.now().duration_since(leaf.not_before()) * 2 >= life
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        self.running.cancel();
    }
}

/// How often lives are looked at.
const CHECK: Duration = Duration::from_secs(30);

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

async fn renew(authority: &Authority, dir: &Path, role: Role, name: &str) -> Outcome<Serial> {
    let credential = Arc::new(mint(authority, role, name).await?);
    let serial = credential.leaf().serial().clone();
    issuing::deliver(authority, &identity(dir, name), credential)?;
    Ok(serial)
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
