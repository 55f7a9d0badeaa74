//! `--crl URL`: lists that an authority serves.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countermark_credential::Source as _;
use countermark_identity::Thumbprint;
use countermark_mtls::{Acceptor, AcceptorConfig, Anyone, ServeConfig, Visitor, serve};
use countermark_proxy::CrlSource;
use countermark_proxy::guard::{Guard, GuardConfig, GuardError};
use countermark_testkit::TestCa;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// An authority that serves whatever it is told to, by a long poll.
struct Lists {
    url: String,
    body: watch::Sender<String>,
    /// What strangers are told, while those who are known are turned away.
    strangers: watch::Sender<Option<String>>,
    over: CancellationToken,
    task: JoinHandle<()>,
}

impl Lists {
    async fn serve(estate: &Estate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (body, lists) = watch::channel(pem(&estate.ca));
        let (strangers, others) = watch::channel(None);
        let credential = estate.ca.mint(&estate.ca.server_spec("authority").dns("localhost")).credential();
        let clock = Arc::new(estate.ca.clock().clone());
        let trust = estate.ca.trusted().generations();
        let acceptor: Acceptor<Anyone> =
            Acceptor::of_callers(TestCa::source(credential).watch(), trust, clock, AcceptorConfig::default()).unwrap();
        let over = CancellationToken::new();
        let limits = ServeConfig { drain_timeout: Duration::from_millis(10), ..ServeConfig::default() };
        let task = tokio::spawn(serve(listener, acceptor, Answers(lists, others), limits, over.clone()));
        Self { url, body, strangers, over, task }
    }

    async fn stop(self) -> String {
        self.over.cancel();
        self.task.await.unwrap();
        self.url
    }
}

#[derive(Clone)]
struct Answers(watch::Receiver<String>, watch::Receiver<Option<String>>);

impl tower_service::Service<Request<Incoming>> for Answers {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let (mut lists, mut others) = (self.0.clone(), self.1.clone());
        Box::pin(async move {
            assert_eq!(request.uri().path(), "/v1/crl");
            let tag = |text: &str| format!("\"{}\"", Thumbprint::of(text.as_bytes()).to_hex());
            let told = others.borrow_and_update().clone();
            if let Some(told) = told {
                let known = request
                    .extensions()
                    .get::<Visitor>()
                    .is_some_and(|visitor| matches!(visitor, Visitor::Verified(_)));
                let status = if known { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                return Ok(Response::builder().status(status).body(Full::from(told)).unwrap());
            }
            let known = request.headers().get(IF_NONE_MATCH).map(|known| known.to_str().unwrap().to_owned());
            let latest = tokio::select! {
                latest = lists.wait_for(|now| Some(tag(now)) != known) => latest.map(|now| now.clone()).unwrap_or_default(),
                _ = others.changed() => {
                    return Ok(Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(Full::default()).unwrap());
                }
            };
            Ok(Response::builder().header(ETAG, tag(&latest)).body(Full::from(latest)).unwrap())
        })
    }
}

fn pem(ca: &TestCa) -> String {
    ca.crls().iter().map(|crl| crl.to_pem()).collect()
}

fn config(estate: &Estate, upstream: &Fake, url: &str) -> GuardConfig {
    let mut config = estate.config(upstream.upstream());
    config.crl = Some(url.parse::<CrlSource>().unwrap());
    config
}

async fn bind(estate: &Estate, config: GuardConfig) -> Result<Guard, GuardError> {
    Guard::bind_at(config, Arc::new(estate.ca.clock().clone())).await
}

/// Whether guard answers this agent.
async fn answered(guard: &Served, agent: &Caller) -> bool {
    let (headers, body) = modern(1, "tools/call", json!({"name": "read_balance"}));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    agent.try_open(&guard.url, Method::POST, &headers, body).await.is_ok()
}

async fn ready(guard: &Served) -> bool {
    get(guard.admin, "/readyz").await.0 == StatusCode::OK
}

#[tokio::test]
async fn a_revocation_at_the_authority_refuses_the_agent_within_a_second() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let lists = Lists::serve(&estate).await;
    let guard = estate.serve(config(&estate, &upstream, &lists.url)).await;
    let credential = estate.ca.agent("intern-bot");
    let intern = estate.client_with(credential.clone(), true);
    assert!(answered(&guard, &intern).await && ready(&guard).await);
    estate.ca.revoke(&credential);
    let begun = Instant::now();
    lists.body.send_replace(pem(&estate.ca));
    until(async || !answered(&guard, &intern).await).await;
    println!("a revocation counts after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(ready(&guard).await && answered(&guard, &estate.client("billing-bot")).await);
}

#[tokio::test]
async fn a_list_of_a_hundred_thousand_is_followed_like_any_other() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    estate.ca.revoke_others(100_000);
    let lists = Lists::serve(&estate).await;
    let guard = estate.serve(config(&estate, &upstream, &lists.url)).await;
    let credential = estate.ca.agent("intern-bot");
    let intern = estate.client_with(credential.clone(), true);
    assert!(answered(&guard, &intern).await && ready(&guard).await);
    estate.ca.revoke(&credential);
    let pem = pem(&estate.ca);
    let (bytes, begun) = (pem.len(), Instant::now());
    lists.body.send_replace(pem);
    until(async || !answered(&guard, &intern).await).await;
    println!("a list of 100,000 in {bytes} bytes counts after {:?}", begun.elapsed());
    assert!(bytes > 4_000_000 && ready(&guard).await);
}

#[tokio::test]
async fn what_is_garbage_foreign_older_or_incomplete_leaves_the_last_good() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let old = pem(&estate.ca);
    let lists = Lists::serve(&estate).await;
    let guard = estate.serve(config(&estate, &upstream, &lists.url)).await;
    let credential = estate.ca.agent("intern-bot");
    let (intern, billing) = (estate.client_with(credential.clone(), true), estate.client("billing-bot"));
    estate.ca.revoke(&credential);
    lists.body.send_replace(pem(&estate.ca));
    until(async || !answered(&guard, &intern).await).await;
    let foreign = TestCa::new(TRUST_DOMAIN);
    let _older = foreign.crls();
    let bad =
        ["<html>".to_owned(), pem(&foreign), old, pem(&TestCa::new("other.internal")), estate.ca.crls()[0].to_pem()];
    for bad in bad {
        lists.body.send_replace(bad.clone());
        until(async || !ready(&guard).await).await;
        let (_, reason) = get(guard.admin, "/readyz").await;
        assert!(reason.contains(&lists.url), "{reason}");
        assert!(!answered(&guard, &intern).await, "still revoked: {bad}");
        assert!(answered(&guard, &billing).await, "still believed: {bad}");
        lists.body.send_replace(pem(&estate.ca));
        until(async || ready(&guard).await).await;
    }
}

#[tokio::test]
async fn what_strangers_gave_while_the_poll_broke_is_replaced_by_what_the_authority_said_before() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let lists = Lists::serve(&estate).await;
    let guard = estate.serve(config(&estate, &upstream, &lists.url)).await;
    until(async || ready(&guard).await).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    lists.strangers.send_replace(Some("<html>".to_owned()));
    until(async || !ready(&guard).await).await;
    lists.strangers.send_replace(None);
    until(async || ready(&guard).await).await;
    assert!(answered(&guard, &estate.client("billing-bot")).await);
}

#[tokio::test]
async fn while_the_authority_is_down_the_last_good_counts_until_its_end() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    estate.ca.set_crl_life(Duration::from_secs(600));
    let lists = Lists::serve(&estate).await;
    let guard = estate.serve(config(&estate, &upstream, &lists.url)).await;
    let credential = estate.ca.agent("intern-bot");
    let intern = estate.client_with(credential.clone(), true);
    estate.ca.revoke(&credential);
    lists.body.send_replace(pem(&estate.ca));
    until(async || !answered(&guard, &intern).await).await;
    lists.stop().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(ready(&guard).await && !answered(&guard, &intern).await);
    assert!(answered(&guard, &estate.client("billing-bot")).await);
    estate.ca.clock().advance(Duration::from_secs(601));
    assert!(!answered(&guard, &estate.client("billing-bot")).await, "nobody is believed by stale lists");
}

#[tokio::test]
async fn a_restart_without_the_authority_remembers_what_was_fetched() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let lists = Lists::serve(&estate).await;
    let config = config(&estate, &upstream, &lists.url);
    let guard = estate.serve(config.clone()).await;
    let credential = estate.ca.agent("intern-bot");
    let intern = estate.client_with(credential.clone(), true);
    estate.ca.revoke(&credential);
    lists.body.send_replace(pem(&estate.ca));
    until(async || !answered(&guard, &intern).await).await;
    lists.stop().await;
    guard.shutdown.cancel();
    guard.task.await.unwrap();
    let guard = estate.serve(config).await;
    assert!(!answered(&guard, &intern).await && ready(&guard).await);
}

#[tokio::test]
async fn without_lists_here_and_there_it_does_not_start_and_with_either_it_does() {
    let (estate, upstream) = (Estate::new(), Fake::ledger().await);
    let lists = Lists::serve(&estate).await;
    for stale in std::fs::read_dir(estate.path("ledger/trust/current")).unwrap().flatten() {
        if stale.file_name().to_str().unwrap().ends_with(".crl.pem") {
            std::fs::remove_file(stale.path()).unwrap();
        }
    }
    let config = config(&estate, &upstream, &lists.url);
    let guard = estate.serve(config.clone()).await;
    assert!(answered(&guard, &estate.client("billing-bot")).await && ready(&guard).await);
    guard.shutdown.cancel();
    guard.task.await.unwrap();
    lists.body.send_replace(pem(&TestCa::new("other.internal")));
    let kept = estate.path("ledger/trust-state.lists.pem");
    assert!(kept.exists());
    while kept.exists() {
        // Whoever followed for the guard that has ended may be about to write them once more.
        std::fs::remove_file(&kept).unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let refused = bind(&estate, config.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("of an authority that is known here"), "{refused}");
    let url = lists.stop().await;
    let refused = bind(&estate, config).await.unwrap_err().to_string();
    assert!(refused.contains(&url) && refused.contains("countermark rotate"), "{refused}");
}
