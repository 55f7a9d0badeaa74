//! The last act: access tokens that are bound to the certificate, and worthless without it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use countermark_credential::watch::{DirectoryConfig, DirectorySource};
use countermark_identity::{Role, SanMap, SystemClock, TrustDomain};
use countermark_mtls::{ClientConfig, ExpectedServer, TrustGeneration, TrustGenerations};
use countermark_oauth::{BoundClient, BoundClientConfig, Challenge, Question, Registration};
use countermark_proxy::guard::{TokenIssuer, TokenMode, TokensConfig};
use countermark_testkit::{AuthorizationServer, Client as Registered};
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    audit,
    estate::Estate,
    story::{Seen, Story, quoted},
};
use crate::{
    failure::{Explain, Outcome, sentence},
    rpc::{self, Answer},
};

/// A guard that wants tokens, the server that issues them, and two agents.
struct Act {
    audit: PathBuf,
    sso: AuthorizationServer,
    /// Whose certificate the authorization server presents.
    _sso_source: Arc<DirectorySource>,
    billing: Bearer,
    thief: Bearer,
}

/// An agent with tokens of its certificate.
#[derive(Clone)]
struct Bearer {
    client: BoundClient,
    url: String,
    calls: Arc<AtomicU64>,
    _source: Arc<DirectorySource>,
    _following: Arc<DropGuard>,
}

/// Tells every step of the act.
pub(super) async fn tell(story: &mut Story, estate: &Estate) -> Outcome<()> {
    let act = Act::open(estate).await?;
    story.tell("billing-bot calls with a token that is bound to its certificate", act.bound().await)?;
    story.tell("audit-bot has stolen that token and replays it", act.stolen().await)?;
    story.tell("billing-bot posts with a token that lacks the scope, then asks for it", act.scope().await)?;
    story.tell("billing-bot drops the ledger without the role", act.role().await)?;
    story.tell("certificate and token are rotated as one in the middle of traffic", act.rotated(estate).await)
}

impl Act {
    async fn open(estate: &Estate) -> Outcome<Self> {
        let sso = estate.enrol(Role::Server, "sso").await?;
        let thief = estate.enrol(Role::Agent, "audit-bot").await?;
        let own = estate.trust_domain().clone();
        let (source, trust) = follow(&sso, &own)?;
        let sso = AuthorizationServer::start(source.credential(), trust, Arc::new(SystemClock)).await;
        let agent = |name: &str| format!("spiffe://{own}/agent/{name}");
        sso.register(
            "billing",
            Registered::of_certificate(agent("billing-bot")).with_scopes(&["ledger.read", "ledger.write"]),
        );
        sso.register("audit", Registered::of_certificate(agent("audit-bot")).with_scopes(&["ledger.read"]));
        let mut issuer = TokenIssuer::new(sso.issuer());
        issuer.clients =
            [("billing", "billing-bot"), ("audit", "audit-bot")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        let (policy, audit) = (estate.dir.join("tokens-policy.toml"), estate.dir.join("tokens-audit.jsonl"));
        std::fs::write(&policy, POLICY).or_failed(format!("cannot write {}", policy.display()), "")?;
        let audience = "https://ledger.quickstart.internal/mcp".to_owned();
        let tokens =
            TokensConfig { mode: TokenMode::Required, audience: Some(audience), issuers: vec![issuer], upstream: None };
        let address = estate.guard(policy, audit.clone(), tokens).await?;
        let url = format!("https://localhost:{}/mcp", address.port());
        let billing = Bearer::start(estate.billing.directory(), &own, &sso, "billing", &url, estate)?;
        let thief = Bearer::start(&thief, &own, &sso, "audit", &url, estate)?;
        Ok(Self { audit, sso, _sso_source: source, billing, thief })
    }

    async fn bound(&self) -> Seen {
        let balance = self.billing.call("read_balance").await?;
        let Answer::Result(_) = balance else { return Err(format!("refused: {balance:?}")) };
        let generation = self.billing.client.generation();
        let credential = generation.tokens().credential();
        let line = audit::last(&self.audit, |line| audit::is(line, "outcome", "permit")).unwrap_or_default();
        if !audit::is(&line, "client", "billing") {
            return Err(format!("the audit does not name the client: {line}"));
        }
        Ok(vec![
            format!("allowed; the token of {} lives until {}", self.sso.issuer(), self.ends().await?),
            format!("its cnf.x5t#S256 is this certificate's: {}", credential.leaf().thumbprint().to_base64url()),
            quoted(audit::shown(&line)),
        ])
    }

    async fn ends(&self) -> Result<String, String> {
        let generation = self.billing.client.generation();
        let token = generation.tokens().token(&question(&[])).await.map_err(|error| error.to_string())?;
        Ok(token.not_after().to_string())
    }

    async fn stolen(&self) -> Seen {
        let generation = self.billing.client.generation();
        let token = generation.tokens().token(&question(&[])).await.map_err(|error| error.to_string())?;
        let mut replay = self.thief.request(0, "read_balance")?;
        replay.headers_mut().insert(AUTHORIZATION, token.header());
        // Over the thief's own connection, past the client that would put its own token in.
        let generation = self.thief.client.generation();
        let response = generation.carrier().request(replay).await.map_err(|error| sentence(&error.into()))?;
        let challenge = Challenge::of(response.headers()).unwrap_or_default();
        if response.status() != StatusCode::UNAUTHORIZED || challenge.error.as_deref() != Some("invalid_token") {
            return Err(format!("it was answered {}", response.status()));
        }
        let line = audit::last(&self.audit, |line| audit::is(line, "agent", "audit-bot")).unwrap_or_default();
        Ok(vec![
            format!("401 invalid_token: {}", challenge.description.unwrap_or_default()),
            quoted(audit::shown(&line)),
        ])
    }

    async fn scope(&self) -> Seen {
        let generation = self.billing.client.generation();
        let token = generation.tokens().token(&question(&["ledger.read"])).await.map_err(|error| error.to_string())?;
        let mut narrow = self.billing.request(0, "post_entry")?;
        narrow.headers_mut().insert(AUTHORIZATION, token.header());
        let response = generation.carrier().request(narrow).await.map_err(|error| sentence(&error.into()))?;
        let challenge = Challenge::of(response.headers()).unwrap_or_default();
        let named = challenge.scope.as_deref() == Some("ledger.write");
        if response.status() != StatusCode::FORBIDDEN || !named {
            return Err(format!("it was answered {} {challenge:?}", response.status()));
        }
        match self.billing.call("post_entry").await? {
            Answer::Result(_) => Ok(vec![
                "403 insufficient_scope: ledger.write is needed".to_owned(),
                "the client asked for it once, and posted".to_owned(),
            ]),
            other => Err(format!("with the scope it was refused: {other:?}")),
        }
    }

    async fn role(&self) -> Seen {
        let Answer::Error { code, message, .. } = self.billing.call("drop_ledger").await? else {
            return Err("the ledger was dropped".to_owned());
        };
        let line = audit::last(&self.audit, |line| audit::is(line, "name", "drop_ledger")).unwrap_or_default();
        Ok(vec![format!("denied: {message} ({code})"), quoted(audit::shown(&line))])
    }

    async fn rotated(&self, estate: &Estate) -> Seen {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (agent, stop, done) = (self.billing.clone(), Arc::clone(&stop), Arc::clone(&done));
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match agent.call("read_balance").await {
                        Ok(Answer::Result(_)) => done.fetch_add(1, Ordering::Relaxed),
                        other => return Err(format!("a call failed: {other:?}")),
                    };
                }
                Ok(())
            });
        }
        let asked = self.sso.token_requests();
        let from = self.billing.client.generation().number();
        let rotated = async {
            for _ in 0..ROTATIONS {
                let before = self.billing.client.generation().number();
                estate.rotate_billing().await.map_err(|error| sentence(&error))?;
                until(|| self.billing.client.generation().number() > before).await?;
                let goal = done.load(Ordering::Relaxed) + CALLS_BETWEEN;
                until(|| done.load(Ordering::Relaxed) >= goal).await?;
            }
            Ok::<_, String>(())
        };
        let rotated = rotated.await;
        stop.store(true, Ordering::Relaxed);
        while let Some(joined) = callers.join_next().await {
            joined.map_err(|error| error.to_string())??;
        }
        rotated?;
        let to = self.billing.client.generation().number();
        Ok(vec![
            format!("{} calls by {CALLERS} callers, 0 failed", done.load(Ordering::Relaxed)),
            format!(
                "generation {from} → {to}: each certificate came with tokens of its own ({} were asked for)",
                self.sso.token_requests() - asked
            ),
        ])
    }
}

impl Bearer {
    fn start(
        directory: &Path,
        own: &TrustDomain,
        sso: &AuthorizationServer,
        client: &str,
        url: &str,
        estate: &Estate,
    ) -> Outcome<Self> {
        let (source, trust) = follow(directory, own)?;
        let config = BoundClientConfig {
            registration: Registration::new(sso.issuer(), client, estate.roots.clone()),
            question: question(&[]),
            expected: ExpectedServer::Name("ledger".to_owned()),
            client: ClientConfig::default(),
        };
        let client = BoundClient::new(source.credential(), trust, Arc::new(SystemClock), config)
            .or_failed("the client cannot be made", "")?;
        let over = CancellationToken::new();
        tokio::spawn(client.clone().follow(over.clone()));
        let following = Arc::new(over.drop_guard());
        Ok(Self { client, url: url.to_owned(), calls: Arc::default(), _source: source, _following: following })
    }

    fn request(&self, id: u64, tool: &str) -> Result<Request<Full<Bytes>>, String> {
        let arguments = if tool == "post_entry" { json!({"memo": "invoice 2", "cents": 100}) } else { json!({}) };
        let request = rpc::request(&self.url, id, "tools/call", json!({"name": tool, "arguments": arguments}));
        Ok(request.map_err(|error| error.to_string())?.map(|body| Full::new(Bytes::from(body))))
    }

    async fn call(&self, tool: &str) -> Result<Answer, String> {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let request = self.request(id, tool)?;
        let response = self.client.request(request).await.map_err(|error| sentence(&error.into()))?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), 1024 * 1024).collect().await.map_err(|error| error.to_string())?;
        rpc::answer(id, &body.to_bytes()).ok_or_else(|| format!("HTTP {status} without an answer"))
    }
}

fn follow(
    directory: &Path,
    own: &TrustDomain,
) -> Outcome<(Arc<DirectorySource>, watch::Receiver<Arc<TrustGeneration>>)> {
    let source = DirectorySource::spawn(DirectoryConfig::new(directory), Arc::new(SystemClock))
        .or_failed(format!("cannot use {}", directory.display()), "")?;
    let (_, map) = watch::channel(Arc::new(SanMap::empty(own.clone())));
    let trust = TrustGenerations::join(source.trust(), map).watch();
    Ok((Arc::new(source), trust))
}

fn question(scopes: &[&str]) -> Question {
    Question::of("https://ledger.quickstart.internal/mcp").with_scopes(scopes.iter().copied())
}

async fn until(mut holds: impl FnMut() -> bool) -> Result<(), String> {
    for _ in 0..4000 {
        if holds() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err("it did not come about within 20 s".to_owned())
}

const POLICY: &str = include_str!("tokens.toml");
const CALLERS: usize = 4;
const ROTATIONS: usize = 3;
/// Calls that must follow each rotation before the next one.
const CALLS_BETWEEN: u64 = 40;
