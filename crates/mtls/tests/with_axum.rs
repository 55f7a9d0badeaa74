use std::net::Ipv4Addr;

use axum::routing::get;
use axum::{Extension, Router};
use countermark_mtls::{AcceptorConfig, MtlsListener, PeerLayer, VerifiedPeer};
use countermark_testkit::TestSource;
use tokio::net::TcpListener;

use crate::support::{Estate, SOON, text};

async fn who(Extension(peer): Extension<VerifiedPeer>) -> String {
    peer.agent().to_string()
}

#[tokio::test]
async fn a_handler_reads_its_caller_and_a_right_that_ends_ends_now() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://localhost:{}/", tcp.local_addr().unwrap().port());
        let acceptor = estate.acceptor(AcceptorConfig::default());
        let router = Router::new().route("/", get(who)).layer(PeerLayer::new());
        let service = router.into_make_service_with_connect_info::<VerifiedPeer>();
        let listener = MtlsListener::new(tcp, acceptor.clone());
        let server = tokio::spawn(async { axum::serve(listener, service).await });
        let agent = estate.ca.agent("billing-bot");
        let client = estate.client(&TestSource::new(agent.clone()), http2);
        let answer = client.request(crate::support::get(&url)).await.unwrap();
        assert_eq!(text(answer).await, "billing-bot");
        estate.ca.revoke(&agent);
        estate.trust.set(estate.ca.trust());
        tokio::time::timeout(SOON, async {
            while !acceptor.registry().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the connection outlives its right");
        client.request(crate::support::get(&url)).await.unwrap_err();
        server.abort();
    }
}

#[tokio::test]
async fn nobody_gets_past_the_layer_without_a_peer() {
    use tower_service::Service as _;
    let mut router: Router = Router::new().route("/", get(who)).layer(PeerLayer::new());
    let request = http::Request::get("/").body(axum::body::Body::empty()).unwrap();
    let answer = router.call(request).await.unwrap();
    assert_eq!(answer.status(), http::StatusCode::FORBIDDEN);
}
