//! An EST server that is none of ours: it has a DNS certificate of one CA, and another CA of it signs what it is asked for.

mod first; // what an operator puts there by hand

use std::convert::Infallible;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countermark_credential::directory;
use countermark_identity::{AgentId, Clock as _, Leaf, MapEntry, San, SanMap};
use countermark_mtls::{Acceptor, AcceptorConfig, Client, ClientConfig, ExpectedServer, provider};
use countermark_rotate::issuer::Remote;
use countermark_rotate::{Config, Rotation, Setup, Status};
use countermark_testkit::{Minted, MockClock, Spec, TestCa, TestTrust, Wrong};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, UnixTime};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use crate::estate::{PATIENCE, serial, spki};

const NAMES: &str = "dns:etl.corp.internal email:etl@corp.internal";
const HALF: Duration = Duration::from_secs(1900);

/// A machine with a first certificate, and the server that it is from.
struct Corporation {
    place: TempDir,
    clock: MockClock,
    ca: Arc<TestCa>,
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Corporation {
    /// A server that presents this certificate of the web's CA.
    async fn new(server: &Spec) -> Self {
        Self::over(&[&TLS13], server).await
    }

    async fn over(versions: &[&'static SupportedProtocolVersion], server: &Spec) -> Self {
        let (place, clock) = (tempfile::tempdir().unwrap(), MockClock::new());
        let web = TestCa::with_clock("web.corp", clock.clone());
        let ca = Arc::new(TestCa::with_clock("agents.internal", clock.clone()));
        let lists: String = ca.crls().iter().map(|crl| crl.to_pem()).collect();
        for (file, text) in [("web.pem", web.bundle().to_pem()), ("ca.pem", ca.bundle().to_pem()), ("crl.pem", lists)] {
            std::fs::write(place.path().join(file), text).unwrap();
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let desk = Desk { ca: Arc::clone(&ca), asked: Arc::clone(&asked) };
        tokio::spawn(desk.serve(listener, tls(versions, &ca, web.mint(server))));
        let corporation = Self { place, clock, ca, port, asked };
        corporation.put_there(corporation.ca.mint(&etl()));
        corporation
    }

    fn dir(&self) -> PathBuf {
        self.place.path().join("etl")
    }

    /// What an operator does with the first certificate: two files, as the server's own enrolment gave them.
    fn put_there(&self, first: Minted) {
        let credential = first.credential();
        std::fs::create_dir_all(self.dir()).unwrap();
        let mut file = std::fs::File::options();
        let key = file.write(true).create(true).truncate(true).mode(0o600).open(self.dir().join("tls.key"));
        std::io::Write::write_all(&mut key.unwrap(), credential.key_to_pem().expose().as_bytes()).unwrap();
        std::fs::write(self.dir().join("tls.crt"), credential.chain_to_pem()).unwrap();
    }

    fn config(&self, host: &str, roots: &str) -> Config {
        self.config_with(host, roots, "crl = \"crl.pem\"\n")
    }

    fn config_with(&self, host: &str, roots: &str, more: &str) -> Config {
        let text = format!(
            "version = 1\n[[issuer]]\nname = \"corp\"\nkind = \"est\"\nurl = \"https://{host}:{}/.well-known/est/etl\"\n\
             roots = \"{roots}\"\nrevocation = \"danger_none\"\nbundle = \"ca.pem\"\n{more}\
             [[credential]]\nname = \"etl\"\nissuer = \"corp\"\ndirectory = \"etl\"\ntrust-domain = \"agents.internal\"\n\
             dns = [\"etl.corp.internal\"]\nemail = [\"etl@corp.internal\"]\n",
            self.port
        );
        Config::parse(&text, &self.place.path().join("rotate.toml")).unwrap()
    }

    async fn once(&self, config: Config) -> Status {
        let clock = Arc::new(self.clock.clone());
        let stations = Arc::new(Remote::new(clock.clone()));
        let (rotation, _handle) = Rotation::start(Setup { config, stations, clock, observers: Vec::new() }).unwrap();
        tokio::time::timeout(PATIENCE, rotation.once()).await.unwrap()
    }

    /// A renewal that is due and fails: why, in the words of the status. What was there is there.
    async fn refused(&self, host: &str, roots: &str) -> String {
        self.clock.advance(HALF);
        let before = serial(&self.dir());
        let status = self.once(self.config(host, roots)).await;
        assert!(status.ready, "{status:?}");
        assert_eq!(serial(&self.dir()), before);
        let failure = status.credentials[0].failure.clone().unwrap();
        assert_eq!(failure.step, "issue", "{failure:?}");
        failure.cause
    }
}

/// What the certificates of the machine say: two names, and no SPIFFE ID.
fn etl() -> Spec {
    Spec::nameless().dns("etl.corp.internal").email("etl@corp.internal")
}

fn web() -> Spec {
    Spec::nameless().dns("localhost").ttl(Duration::from_secs(86_400))
}

/// TLS that demands a certificate of the CA that signs.
fn tls(versions: &[&'static SupportedProtocolVersion], ca: &TestCa, server: Minted) -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    roots.add(ca.bundle().roots()[0].clone()).unwrap();
    let callers = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let time = Arc::new(Time(ca.clock().clone()));
    let config = ServerConfig::builder_with_details(provider(), time).with_protocol_versions(versions).unwrap();
    let config = config.with_client_cert_verifier(callers).with_single_cert(server.chain, server.key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// The clock of the test, as the server's.
#[derive(Debug)]
struct Time(MockClock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.now().as_secs())))
    }
}

/// The server, as RFC 7030 describes one.
#[derive(Clone)]
struct Desk {
    ca: Arc<TestCa>,
    asked: Arc<AtomicUsize>,
}

impl Desk {
    async fn serve(self, listener: TcpListener, tls: TlsAcceptor) {
        while let Ok((tcp, _)) = listener.accept().await {
            let (desk, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(tcp).await else { return };
                let caller = Leaf::parse(&stream.get_ref().1.peer_certificates().unwrap()[0]).unwrap();
                let caller = Arc::new(caller);
                let service = service_fn(move |request| {
                    let (desk, caller) = (desk.clone(), Arc::clone(&caller));
                    async move { Ok::<_, Infallible>(desk.answer(request, &caller).await) }
                });
                let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>, caller: &Leaf) -> Response<Full<Bytes>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let certificates = match path.as_str() {
            "/.well-known/est/etl/cacerts" => {
                // What leads from a leaf to the root, and the root.
                [self.ca.mint(&etl()).chain[1..].to_vec(), self.ca.bundle().roots().to_vec()].concat()
            }
            "/.well-known/est/etl/simplereenroll" => match self.reenrolled(&body, caller) {
                Ok(leaf) => vec![leaf],
                Err(why) => return answer(StatusCode::BAD_REQUEST, why.to_owned()),
            },
            _ => return answer(StatusCode::NOT_FOUND, String::new()),
        };
        answer(StatusCode::OK, STANDARD.encode(certs_only(&certificates)))
    }

    /// "The request Subject field and SubjectAltName extension MUST be identical to the corresponding fields in the certificate
    /// being renewed/rekeyed." (RFC 7030 §4.2.2) The leaf is answered alone.
    fn reenrolled(&self, body: &[u8], caller: &Leaf) -> Result<CertificateDer<'static>, &'static str> {
        let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(text).unwrap();
        let (_, csr) = X509CertificationRequest::from_der(&der).unwrap();
        let info = &csr.certification_request_info;
        if info.subject.as_raw() != caller.subject_der() {
            return Err("another subject");
        }
        if sans(&csr) != caller.sans() {
            return Err("other names");
        }
        let spec = caller.sans().iter().fold(Spec::nameless(), |spec, san| match san {
            San::Dns(name) => spec.dns(name),
            San::Email(address) => spec.email(address),
            other => panic!("{other}"),
        });
        Ok(self.ca.sign(&spec, info.subject_pki.raw).swap_remove(0))
    }
}

fn sans(csr: &X509CertificationRequest<'_>) -> Vec<San> {
    let names = csr.requested_extensions().into_iter().flatten().find_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let san = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => San::dns(name).unwrap(),
        GeneralName::RFC822Name(address) => San::email(address).unwrap(),
        other => panic!("{other:?}"),
    };
    names.into_iter().flatten().map(san).collect()
}

fn answer(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let kind = if status.is_success() { "application/pkcs7-mime" } else { "text/plain" };
    Response::builder().status(status).header("content-type", kind).body(Full::from(text)).unwrap()
}

/// A degenerate CMS SignedData.
fn certs_only(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let tlv = |tag: u8, content: &[u8]| {
        let length = content.len();
        let length = match length {
            0..=0x7f => vec![length as u8],
            0x80..=0xff => vec![0x81, length as u8],
            _ => vec![0x82, (length >> 8) as u8, length as u8],
        };
        [&[tag][..], &length, content].concat()
    };
    let kind = |last: u8| tlv(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, last]);
    let certificates: Vec<u8> = certificates.iter().flat_map(|der| der.to_vec()).collect();
    let certificates = tlv(0xa0, &certificates);
    let signed = [&[0x02, 0x01, 0x01, 0x31, 0x00][..], &tlv(0x30, &kind(1)), &certificates, &[0x31, 0x00]].concat();
    tlv(0x30, &[kind(2), tlv(0xa0, &tlv(0x30, &signed))].concat())
}

#[tokio::test]
async fn a_certificate_of_names_alone_is_renewed_at_a_server_of_strangers_and_admitted_by_a_map() {
    let corporation = Corporation::new(&web()).await;
    let (dir, config) = (corporation.dir(), corporation.config("localhost", "web.pem"));
    let (first, key) = (serial(&dir), spki(&dir));
    let status = corporation.once(config.clone()).await;
    assert!(status.ready && status.credentials[0].identity == NAMES, "{status:?}");
    assert_eq!((serial(&dir), corporation.asked.load(Ordering::SeqCst)), (first.clone(), 0), "it is not due");
    for times in 1..=2 {
        let before = serial(&dir);
        corporation.clock.advance(HALF);
        let status = corporation.once(config.clone()).await;
        assert_eq!(status.credentials[0].failures, 0, "{status:?}");
        assert_ne!(serial(&dir), before);
        assert_ne!(spki(&dir), key);
        let asked = corporation.asked.load(Ordering::SeqCst);
        assert_eq!(asked, times, "the certificate before completes the chain, and nothing more is asked");
    }
    let loaded = directory::load(&dir, corporation.clock.now()).unwrap();
    assert_eq!((loaded.credential.leaf().called().as_str(), loaded.credential.spiffe_id()), (NAMES, None));
    assert_eq!((loaded.credential.chain().len(), loaded.bundles.len(), loaded.crls.len()), (2, 1, 1));
    assert_eq!(std::fs::read_link(dir.join("tls.key")).unwrap(), Path::new("current/tls.key"));
    let agent = met(&corporation, loaded.credential).await;
    assert_eq!(agent.name(), "legacy-etl");
}

/// Whom a server of ours, whose policy maps one of the names, takes the machine for.
async fn met(corporation: &Corporation, credential: Arc<countermark_credential::Credential>) -> AgentId {
    let entry = MapEntry { san: "dns:etl.corp.internal".to_owned(), agent: "legacy-etl".to_owned(), bundle: None };
    let map = SanMap::new("agents.internal".parse().unwrap(), [entry]).unwrap();
    let (trust, clock) = (TestTrust::new(corporation.ca.trust(), map), || Arc::new(corporation.clock.clone()));
    let server = watch::Sender::new(corporation.ca.server("ledger")).subscribe();
    let acceptor: Acceptor<AgentId> =
        Acceptor::new(server, trust.generations(), clock(), AcceptorConfig::default()).unwrap();
    let expected = ExpectedServer::Name("ledger".to_owned());
    let credential = watch::Sender::new(credential).subscribe();
    let client = Client::new(credential, trust.generations(), expected, clock(), ClientConfig::default()).unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let remote = ([127, 0, 0, 1], 1).into();
    let (met, reached) = tokio::join!(acceptor.accept(far, remote), client.connect(near, "localhost"));
    reached.unwrap();
    met.unwrap().peer().agent().clone()
}

#[tokio::test]
async fn only_a_server_of_the_named_roots_and_of_the_urls_host_is_asked() {
    let loopback: IpAddr = [127, 0, 0, 1].into();
    for (server, host, roots, reason) in [
        (web(), "127.0.0.1", "web.pem", "not valid for name"),
        (Spec::nameless().dns("est.corp"), "localhost", "web.pem", "not valid for name"),
        (Spec::nameless().ip(loopback), "localhost", "web.pem", "not valid for name"),
        (web(), "localhost", "ca.pem", "leads to none of the roots"),
        (web().expired(), "localhost", "web.pem", "expired"),
        (web().wrong(Wrong::NoServerAuth), "localhost", "web.pem", "certificate is refused"),
        (web(), "localhost", "etl/tls.crt", "certificate 1 in it is no authority's"),
        (web(), "localhost", "crl.pem", "there is no certificate in it"),
        (web(), "localhost", "none.pem", "none.pem cannot be used"),
    ] {
        let corporation = Corporation::new(&server).await;
        let cause = corporation.refused(host, roots).await;
        assert!(cause.contains(reason), "{host} {roots}: {cause}");
        assert_eq!(corporation.asked.load(Ordering::SeqCst), 0, "{cause}");
    }
    let corporation = Corporation::new(&Spec::nameless().ip(loopback)).await;
    corporation.clock.advance(HALF);
    let status = corporation.once(corporation.config("127.0.0.1", "web.pem")).await;
    assert_eq!(status.credentials[0].failures, 0, "{status:?}");
}

#[tokio::test]
async fn lists_that_are_there_and_cannot_be_read_are_not_taken_for_none() {
    let corporation = Corporation::new(&web()).await;
    let dir = corporation.dir();
    let config = corporation.config_with("localhost", "web.pem", "");
    std::fs::write(dir.join("agents.internal.crl.pem"), "broken").unwrap();
    corporation.clock.advance(HALF);
    let before = serial(&dir);
    let status = corporation.once(config.clone()).await;
    let failure = status.credentials[0].failure.clone().unwrap();
    assert!(failure.cause.contains("agents.internal.crl.pem"), "{failure:?}");
    assert_eq!((serial(&dir), corporation.asked.load(Ordering::SeqCst)), (before.clone(), 0));
    // Good ones count: they revoke what is answered, or do not.
    std::fs::copy(corporation.place.path().join("crl.pem"), dir.join("agents.internal.crl.pem")).unwrap();
    let status = corporation.once(config.clone()).await;
    assert_eq!(status.credentials[0].failures, 0, "{status:?}");
    assert_ne!(serial(&dir), before);
    // Those that were delivered, too, and although the roots beside them can be had elsewhere.
    std::fs::write(dir.join("trust/current/agents.internal.crl.pem"), "broken").unwrap();
    corporation.clock.advance(HALF);
    let before = serial(&dir);
    let again = config.clone();
    let failure = corporation.once(config).await.credentials[0].failure.clone().unwrap();
    assert!(failure.cause.contains("agents.internal.crl.pem"), "{failure:?}");
    assert_eq!(serial(&dir), before);
    // And where somebody has taken away the roots beside them.
    std::fs::remove_file(dir.join("trust/current/agents.internal.trust-bundle.pem")).unwrap();
    std::fs::remove_file(dir.join("agents.internal.crl.pem")).unwrap();
    let failure = corporation.once(again).await.credentials[0].failure.clone().unwrap();
    assert!(failure.cause.contains("agents.internal.crl.pem"), "{failure:?}");
    assert_eq!(serial(&dir), before);
}

#[tokio::test]
async fn an_older_tls_and_a_server_that_does_not_know_us_are_named() {
    let old = Corporation::over(&[&TLS12], &web()).await;
    let cause = old.refused("localhost", "web.pem").await;
    assert!(cause.contains("the server speaks no TLS 1.3; let it"), "{cause}");
    let corporation = Corporation::new(&web()).await;
    let stranger = TestCa::with_clock("agents.internal", corporation.clock.clone());
    corporation.put_there(stranger.mint(&etl()));
    let cause = corporation.refused("localhost", "web.pem").await;
    assert!(cause.contains("the server refused our certificate"), "{cause}");
    assert_eq!(corporation.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_expired_certificate_is_said_to_be_one_with_what_mends_it_and_that_does() {
    let corporation = Corporation::new(&web()).await;
    let (dir, config) = (corporation.dir(), corporation.config("localhost", "web.pem"));
    corporation.clock.advance(HALF);
    corporation.once(config.clone()).await;
    corporation.clock.advance(HALF * 4);
    let status = corporation.once(config.clone()).await;
    let bundle = dir.join("credential-bundle.pem");
    let why = status.credentials[0].why(corporation.clock.now()).join("\n");
    for said in ["expired at", "enrol it anew", &bundle.display().to_string(), "`countermark ctl renew etl`"] {
        assert!(why.contains(said), "{why}");
    }
    assert_eq!(corporation.asked.load(Ordering::SeqCst), 1, "a leaf");
    let anew = corporation.ca.mint(&etl()).credential();
    std::fs::write(&bundle, [anew.key_to_pem().expose().as_str(), &anew.chain_to_pem()].concat()).unwrap();
    let status = corporation.once(config.clone()).await;
    assert!(status.ready && serial(&dir) == anew.leaf().serial().to_string(), "{status:?}");
    // What `ctl renew` does.
    let clock = Arc::new(corporation.clock.clone());
    let setup = Setup { config, stations: Arc::new(Remote::new(clock.clone())), clock, observers: Vec::new() };
    let (rotation, handle) = Rotation::start(setup).unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(rotation.run(shutdown.clone()));
    handle.renew("etl").await.unwrap();
    tokio::time::timeout(PATIENCE, async {
        while directory::current_generation(&dir) != Some(2) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    shutdown.cancel();
    running.await.unwrap();
    let chain = std::fs::read(dir.join("tls.crt")).unwrap();
    assert_eq!(chain, directory::read(&dir).unwrap().credential.chain_to_pem().into_bytes());
}
