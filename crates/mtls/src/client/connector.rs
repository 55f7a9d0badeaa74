//! One mutual TLS connection for the pool.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::ClientConfig;
use super::error::HandshakeFailure;
use crate::evidence::Evidence;
use crate::registry::Registry;
use crate::server::BoxError;
use crate::stream::{LiveIo, transport};
use crate::verifier::{ServerVerifier, observed};
use crate::{HandshakeError, VerifiedServer};

/// Makes connections under one credential and one trust generation.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: HttpConnector,
    tls: Arc<rustls::ClientConfig>,
    verifier: Arc<ServerVerifier>,
    registry: Registry,
    handshake_timeout: Duration,
}

impl Connector {
    pub(super) fn new(
        tls: Arc<rustls::ClientConfig>,
        verifier: Arc<ServerVerifier>,
        registry: Registry,
        config: &ClientConfig,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_connect_timeout(Some(config.connect_timeout));
        Self { tcp, tls, verifier, registry, handshake_timeout: config.handshake_timeout }
    }

    pub(super) async fn handshake<IO>(
        &self,
        io: IO,
        host: ServerName<'static>,
    ) -> Result<ServerStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = self.handshake_timeout;
        let demand = self.verifier.demand(&host);
        let handshake = observed(TlsConnector::from(Arc::clone(&self.tls)).connect(host, io));
        let (finished, concluded) =
            tokio::time::timeout(limit, handshake).await.map_err(|_| HandshakeError::Timeout { limit })?;
        let evidence: Evidence = match concluded {
            Some(Err(refusal)) => return Err(HandshakeError::Refused(refusal)),
            Some(Ok(evidence)) => evidence,
            None => {
                let error = finished.err().unwrap_or_else(|| io::ErrorKind::InvalidData.into());
                return Err(HandshakeError::from_io(error));
            }
        };
        let tls = finished.map_err(HandshakeError::from_io)?;
        let live = self.registry.admit(evidence, demand).map_err(HandshakeError::Ended)?;
        let server = VerifiedServer::assertion(Arc::clone(&live))
            .ok_or_else(|| HandshakeError::Io(io::ErrorKind::InvalidData.into()))?;
        Ok(ServerStream { io: LiveIo::new(tls.into(), Some(live)), server })
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ServerStream<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mut this = self.clone();
        Box::pin(async move {
            let host = server_name(&uri)?;
            let io = this.tcp.call(uri).await?.into_inner();
            let io = this.handshake(io, host).await;
            Ok(TokioIo::new(io.map_err(|error| HandshakeFailure(Arc::new(error)))?))
        })
    }
}

fn server_name(uri: &Uri) -> Result<ServerName<'static>, BoxError> {
    Ok(name(uri.host().ok_or("the URL has no host")?)?)
}

/// A host as it stands in a URL: a DNS name or an address, an IPv6 one in brackets.
pub(super) fn name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned())
}

/// A connection with its verified server; fails as soon as the server's right has ended.
#[derive(Debug)]
pub struct ServerStream<IO> {
    io: LiveIo<IO>,
    server: VerifiedServer,
}

impl<IO> ServerStream<IO> {
    /// Who is at the other end.
    #[must_use]
    pub fn server(&self) -> &VerifiedServer {
        &self.server
    }

    /// Whether HTTP/2 was agreed on by ALPN.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.io.is_http2()
    }
}

impl<IO> Connection for ServerStream<IO> {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.server.clone());
        if self.io.is_http2() { connected.negotiated_h2() } else { connected }
    }
}

transport!(ServerStream<IO>);
