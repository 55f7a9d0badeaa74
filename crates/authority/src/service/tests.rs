//! The service over real TLS on loopback, on a mock clock.

mod administration;
mod enrolment;
mod keys;
mod material;
mod renewal;
mod room;
mod store;
mod tokens;
mod upkeep;

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countermark_issue::{KeyPair, KeyType};
use countermark_testkit::{Minted, anyone};
use http::{HeaderMap, Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::Value;
use tokio_rustls::TlsConnector;

use super::*;
use crate::{
    AuditRecord, MintRequest, SubjectKey,
    tests::{DAY, Fixture, START, id, openssl},
};

/// An authority that serves; its task ends with the test's runtime.
pub(crate) struct Estate {
    pub(crate) fixture: Fixture,
    pub(crate) address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

/// Somebody with a key, and perhaps a certificate for it.
pub(crate) struct Holder {
    pub(crate) key: KeyPair,
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Estate {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ServiceConfig)) -> Self {
        let fixture = Fixture::new().await;
        Self::over(fixture, change, |stores| stores).await
    }

    /// Serves an authority that is there, with stores of the test's own.
    pub(crate) async fn over(
        fixture: Fixture,
        change: impl FnOnce(&mut ServiceConfig),
        stores: impl FnOnce(Stores) -> Stores,
    ) -> Self {
        let mut config = ServiceConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), vec!["localhost".to_owned()]);
        config.rates =
            RateLimits { identity_per_minute: 1_000_000, address_per_minute: 1_000_000, reads_per_minute: 1_000_000 };
        config.drain = std::time::Duration::from_secs(2);
        change(&mut config);
        let inventory = fixture.path().join("inventory.sqlite");
        let writer = Box::new(SqliteStore::open_serving(&inventory).await.unwrap());
        let reader = Box::new(SqliteStore::open_serving(&inventory).await.unwrap());
        let authority = fixture.reopen().with_crl_life(CRL_LIFE_SERVED);
        let authority = Arc::new(authority.with_patience(std::time::Duration::from_millis(300)));
        let service = Service::with_stores(authority, config, stores(Stores { writer, reader })).await.unwrap();
        let (address, shared, shutdown) = (service.addr(), Arc::clone(&service.shared), CancellationToken::new());
        let task = tokio::spawn(service.serve(shutdown.clone()));
        Self { fixture, address, shared, shutdown, task }
    }

    /// Somebody whom the directory has minted.
    pub(crate) async fn holder(&self, path: &str) -> Holder {
        let key = KeyPair::generate(KeyType::P256).unwrap();
        let request = MintRequest {
            identity: id(path),
            subject_key: SubjectKey::Public(key.public_key().clone()),
            ttl: None,
            dns: Vec::new(),
            ip: Vec::new(),
        };
        let chain = self.fixture.authority.mint(&request).await.unwrap().chain;
        self.shared.reload_lists();
        Holder { key, chain }
    }

    pub(crate) async fn connect(&self, holder: Option<&Holder>) -> std::io::Result<SendRequest<Full<Bytes>>> {
        let mut config = anyone(holder.map(Holder::presented));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = tokio::net::TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        let (send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(send)
    }

    /// One request on a connection of its own; an error where TLS already refused.
    pub(crate) async fn call(&self, holder: Option<&Holder>, request: Request<Full<Bytes>>) -> std::io::Result<Answer> {
        let mut send = self.connect(holder).await?;
        call_on(&mut send, request).await
    }

    pub(crate) async fn get(&self, holder: Option<&Holder>, path: &str) -> Answer {
        self.call(holder, get(path)).await.unwrap()
    }

    pub(crate) async fn post(&self, holder: Option<&Holder>, path: &str, body: &Value) -> Answer {
        self.call(holder, post(path, body.to_string())).await.unwrap()
    }

    /// Enrols with what the Authorization header says.
    pub(crate) async fn enrol(&self, authorization: &str, csr: &[u8]) -> Answer {
        let mut request = post("/.well-known/est/simpleenroll", STANDARD.encode(csr));
        request.headers_mut().insert(AUTHORIZATION, authorization.parse().unwrap());
        self.call(None, request).await.unwrap()
    }

    pub(crate) async fn reenrol(&self, holder: &Holder, csr: &[u8]) -> std::io::Result<Answer> {
        self.call(Some(holder), post("/.well-known/est/simplereenroll", STANDARD.encode(csr))).await
    }

    /// An invite's secret, as its file has it.
    pub(crate) async fn invite(&self, path: &str) -> String {
        let invite = self.fixture.authority.invite(&self.invite_request(path), "a test").await.unwrap();
        let file: toml::Table = toml::from_str(invite.text.expose()).unwrap();
        assert_eq!(file["identity"].as_str().unwrap(), id(path).as_str());
        file["secret"].as_str().unwrap().to_owned()
    }

    pub(crate) fn invite_request(&self, path: &str) -> InviteRequest {
        InviteRequest {
            identity: id(path),
            profile: None,
            ttl: None,
            dns: Vec::new(),
            ip: Vec::new(),
            valid_for: std::time::Duration::from_secs(900),
            url: self.shared.url.clone(),
            authority: self.shared.me.clone(),
        }
    }

    /// The newest line of the audit trail about this act.
    pub(crate) async fn last(&self, act: Act) -> AuditRecord {
        self.audited(act).await.into_iter().next().expect("a line of the audit trail")
    }

    /// The lines of the audit trail about this act, the newest first.
    pub(crate) async fn audited(&self, act: Act) -> Vec<AuditRecord> {
        // Refusals are written down behind the answer: whatever is written after them is written with or after them.
        self.shared
            .desk
            .ledger
            .write(crate::Write::Audit(AuditEntry::new(START, Act::Crl, Outcome::Done)))
            .await
            .unwrap();
        let trail = self.fixture.authority.audit_trail(50).await.unwrap();
        trail.into_iter().filter(|line| line.act == act).collect()
    }
}

impl Holder {
    pub(crate) fn new() -> Self {
        Self { key: KeyPair::generate(KeyType::P256).unwrap(), chain: Vec::new() }
    }

    /// With the certificate that an answer of EST carries, and nothing beside it, as clients present it who know no better.
    pub(crate) fn with(self, answer: &Answer) -> Self {
        Self { chain: answer.certificates(), ..self }
    }

    fn presented(&self) -> Minted {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_pkcs8().to_vec()));
        Minted { chain: self.chain.clone(), key }
    }

    pub(crate) fn leaf(&self) -> Leaf {
        Leaf::parse(&self.chain[0]).unwrap()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The certificates of a bag, as OpenSSL takes it apart.
    #[track_caller]
    pub(crate) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        assert_eq!(self.headers["content-type"], "application/pkcs7-mime; smime-type=certs-only");
        let directory = tempfile::tempdir().unwrap();
        let pem = format!("-----BEGIN PKCS7-----\n{}-----END PKCS7-----\n", self.text());
        std::fs::write(directory.path().join("bag.pem"), pem).unwrap();
        let said = openssl(directory.path(), "pkcs7 -in bag.pem -print_certs").unwrap();
        use rustls_pki_types::pem::PemObject as _;
        CertificateDer::pem_slice_iter(said.as_bytes()).collect::<Result<_, _>>().unwrap()
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.json()["error"], code);
        self
    }

    #[track_caller]
    pub(crate) fn refused_text(&self, status: u16, words: &str) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.headers["content-type"], "text/plain; charset=utf-8");
        assert!(self.text().contains(words), "{}", self.text());
        self
    }
}

pub(crate) async fn call_on(
    send: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> std::io::Result<Answer> {
    let response = send.send_request(request).await.map_err(std::io::Error::other)?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "localhost").body(Full::default()).unwrap()
}

pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(path).header("host", "localhost").body(Full::new(body.into())).unwrap()
}

pub(crate) fn basic(secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("invite:{secret}")))
}
