//! An authority that serves on loopback, on a clock of the test's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countermark_authority::{Authority, InviteRequest, KeyProtection, RateLimits, Service, ServiceConfig, Target};
use countermark_credential::directory;
use countermark_identity::{Clock as _, SpiffeId, Thumbprint};
use countermark_issue::RevocationReason;
use countermark_rotate::enrol::{self, EnrolError, Enrolled, Enrolment, Invite};
use countermark_rotate::issuer::Remote;
use countermark_rotate::{Config, Rotation, Setup, Status};
use countermark_testkit::MockClock;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const BOT: &str = "spiffe://agents.internal/agent/billing-bot";

/// No promise of time is tested; only a hang is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Estate {
    pub(crate) place: TempDir,
    pub(crate) clock: MockClock,
    pub(crate) url: String,
    root: Thumbprint,
    serving: Option<Serving>,
}

struct Serving {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Estate {
    pub(crate) async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let clock = MockClock::new();
        let domain = "agents.internal".parse().unwrap();
        let ca = place.path().join("ca");
        let authority = Authority::init(&ca, &domain, KeyProtection::Plaintext, Arc::new(clock.clone())).await.unwrap();
        let root = Thumbprint::of(authority.root());
        let mut estate = Self { place, clock, url: String::new(), root, serving: None };
        estate.serve().await;
        estate
    }

    /// Serves, at the port where it served before.
    pub(crate) async fn serve(&mut self) {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        let listen = SocketAddr::from(([127, 0, 0, 1], port));
        let mut config = ServiceConfig::new(listen, vec!["localhost".to_owned()]);
        config.drain = Duration::from_secs(2);
        config.rates =
            RateLimits { identity_per_minute: 1_000_000, address_per_minute: 1_000_000, reads_per_minute: 1_000_000 };
        let service = Service::bind(self.authority(), config).await.unwrap();
        self.url = service.url().to_owned();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(service.serve(shutdown.clone()));
        self.serving = Some(Serving { shutdown, task });
    }

    pub(crate) async fn stop(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.shutdown.cancel();
        tokio::time::timeout(PATIENCE, serving.task).await.unwrap().unwrap();
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::open(self.place.path().join("ca"), None, Arc::new(self.clock.clone())).unwrap()
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.place.path().join("id").join(name)
    }

    pub(crate) async fn invite(&self, identity: &str) -> Invite {
        let request = InviteRequest {
            identity: identity.parse().unwrap(),
            profile: None,
            dns: Vec::new(),
            ip: Vec::new(),
            ttl: None,
            valid_for: Duration::from_secs(900),
            url: self.url.clone(),
            authority: "spiffe://agents.internal/server/authority".parse().unwrap(),
        };
        let written = self.authority().invite(&request, "test").await.unwrap();
        Invite::parse(&invite_text(&written), self.clock.now()).unwrap()
    }

    /// Enrols `billing-bot`.
    pub(crate) async fn joined(&self) -> PathBuf {
        let dir = self.dir("billing-bot");
        self.join(Enrolment::by_invite(self.invite(BOT).await, dir.clone())).await.unwrap();
        dir
    }

    pub(crate) async fn join(&self, enrolment: Enrolment) -> Result<Enrolled, EnrolError> {
        tokio::time::timeout(PATIENCE, enrol::join(enrolment, Arc::new(self.clock.clone()))).await.unwrap()
    }

    pub(crate) const fn root(&self) -> Thumbprint {
        self.root
    }

    pub(crate) fn config(&self, kind: &str, more: &str) -> Config {
        let text = format!(
            "version = 1\n[[issuer]]\nname = \"it\"\nkind = \"{kind}\"\nurl = \"{}\"\n\
             [[credential]]\nname = \"billing-bot\"\nidentity = \"{BOT}\"\nissuer = \"it\"\ndirectory = \"id/billing-bot\"\n{more}",
            self.url
        );
        Config::parse(&text, &self.place.path().join("rotate.toml")).unwrap()
    }

    /// Renews what is due, once.
    pub(crate) async fn once(&self, config: Config) -> Status {
        let setup = Setup {
            config,
            stations: Arc::new(Remote::new(Arc::new(self.clock.clone()))),
            clock: Arc::new(self.clock.clone()),
            observers: Vec::new(),
        };
        let (rotation, _handle) = Rotation::start(setup).unwrap();
        tokio::time::timeout(PATIENCE, rotation.once()).await.unwrap()
    }

    /// Renews once, and again while the authority itself catches up with a clock that jumped.
    pub(crate) async fn once_good(&self, config: &Config) -> Status {
        let begun = std::time::Instant::now();
        loop {
            let status = self.once(config.clone()).await;
            if status.credentials[0].failures == 0 || begun.elapsed() > PATIENCE {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) async fn revoke(&self) {
        let target = Target::Identity(BOT.parse::<SpiffeId>().unwrap());
        self.authority().revoke(&target, RevocationReason::KeyCompromise).await.unwrap();
    }
}

pub(crate) fn invite_text(invite: &countermark_authority::Invite) -> String {
    invite.text.expose().clone()
}

pub(crate) fn serial(dir: &Path) -> String {
    directory::read(dir).unwrap().credential.leaf().serial().to_string()
}

pub(crate) fn spki(dir: &Path) -> Vec<u8> {
    directory::read(dir).unwrap().credential.leaf().spki_der().to_vec()
}
