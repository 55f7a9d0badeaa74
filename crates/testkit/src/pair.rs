use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use countermark_credential::Source as _;
use countermark_mtls::{Acceptor, AcceptorConfig, Client, ClientConfig, ExpectedServer, MtlsStream, ServerStream};
use tokio::io::DuplexStream;

use crate::{TestCa, TestSource, TestTrust};

/// Two peers after a real handshake, and what it takes to end their rights.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "tests take it apart")]
pub struct Pair {
    /// The server's end, with its verified caller.
    pub server: MtlsStream<DuplexStream>,
    /// The agent's end, with its verified server.
    pub client: ServerStream<DuplexStream>,
    /// The trust of both sides.
    pub trust: TestTrust,
    /// The credential of the agent.
    pub agent_source: TestSource,
    /// The credential of the server.
    pub server_source: TestSource,
}

/// An agent and a server of one authority in a real handshake, in memory.
pub async fn pair(ca: &TestCa, agent: &str, server: &str) -> Pair {
    let (agent_source, server_source) = (TestSource::new(ca.agent(agent)), TestSource::new(ca.server(server)));
    let trust = ca.trusted();
    let clock = || Arc::new(ca.clock().clone());
    let acceptor = Acceptor::new(server_source.watch(), trust.generations(), clock(), AcceptorConfig::default())
        .expect("an acceptor");
    let client = Client::new(
        agent_source.watch(),
        trust.generations(),
        ExpectedServer::Name(server.to_owned()),
        clock(),
        ClientConfig::default(),
    )
    .expect("a client");
    let (near, far) = tokio::io::duplex(64 * 1024);
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let (server, client) = tokio::join!(acceptor.accept(far, remote), client.connect(near, "localhost"));
    Pair {
        server: server.expect("the server's handshake"),
        client: client.expect("the agent's handshake"),
        trust,
        agent_source,
        server_source,
    }
}
