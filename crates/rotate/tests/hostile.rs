//! Whatever answers instead of the authority.

use std::net::SocketAddr;
use std::time::Duration;

use countermark_credential::directory;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::estate::{Estate, serial};

/// Listens where the authority was, and does this with each connection.
async fn instead(estate: &mut Estate, answer: &'static [u8], hold: bool) -> tokio::task::JoinHandle<()> {
    estate.stop().await;
    let port: u16 = estate.url.rsplit(':').next().unwrap().parse().unwrap();
    let listener = bound(port).await;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer).await;
            if hold {
                held.push(stream);
            }
        }
    })
}

/// A port that was let go of may be somebody's for a moment: each connection that leaves this machine takes one.
async fn bound(port: u16) -> TcpListener {
    for _ in 0..100 {
        match TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await {
            Ok(listener) => return listener,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("port {port} stays taken");
}

#[tokio::test]
async fn garbage_silence_and_plain_text_leave_what_is_there() {
    for (answer, hold) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], false),
        (&[0x16, 0x03, 0x03, 0xff, 0xff, 0x00], false),
        (b"", false),
        (b"", true),
    ] {
        let mut estate = Estate::new().await;
        let dir = estate.joined().await;
        let before = serial(&dir);
        estate.clock.advance(Duration::from_secs(1900));
        let task = instead(&mut estate, answer, hold).await;
        let status = estate.once(estate.config("authority", "")).await;
        assert_eq!(status.credentials[0].failures, 1, "{status:?}");
        assert!(status.ready);
        assert_eq!(serial(&dir), before);
        task.abort();
    }
}

#[tokio::test]
async fn another_authority_of_the_same_name_is_not_believed() {
    let mut estate = Estate::new().await;
    let dir = estate.joined().await;
    let before = serial(&dir);
    estate.clock.advance(Duration::from_secs(1900));
    estate.stop().await;
    // Another root, the same trust domain, the same place.
    let ca = estate.place.path().join("ca");
    std::fs::rename(&ca, estate.place.path().join("real")).unwrap();
    let domain = "agents.internal".parse().unwrap();
    let protection = countermark_authority::KeyProtection::Plaintext;
    let clock = std::sync::Arc::new(estate.clock.clone());
    drop(countermark_authority::Authority::init(&ca, &domain, protection, clock).await.unwrap());
    estate.serve().await;
    let status = estate.once(estate.config("authority", "")).await;
    assert_eq!(status.credentials[0].failures, 1, "{status:?}");
    assert_eq!(serial(&dir), before);
    assert!(directory::load(&dir, countermark_identity::Clock::now(&estate.clock)).is_ok());
}

#[tokio::test]
async fn a_server_of_another_name_is_not_the_authority() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    let before = serial(&dir);
    estate.clock.advance(Duration::from_secs(1900));
    let text = format!(
        "version = 1\n[[issuer]]\nname = \"it\"\nkind = \"authority\"\nurl = \"{}\"\nserver = \"spiffe://agents.internal/server/other\"\n\
         [[credential]]\nname = \"x\"\nidentity = \"{}\"\nissuer = \"it\"\ndirectory = \"id/billing-bot\"\n",
        estate.url,
        crate::estate::BOT
    );
    let config = countermark_rotate::Config::parse(&text, &estate.place.path().join("rotate.toml")).unwrap();
    let status = estate.once(config).await;
    let failure = status.credentials[0].failure.as_ref().unwrap();
    assert!(failure.cause.contains("/server/other"), "{failure:?}");
    assert_eq!(serial(&dir), before);
}
