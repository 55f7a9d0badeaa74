//! Plain HTTP for local clients: on loopback for every local user, or on a Unix socket for one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::config::Listen;
use super::error::ConnectError;
use super::transport::Transport;
use crate::answer;
use crate::body::{Body, BoxError};
use crate::json::Object;
use crate::upstream::headers::{clean_request, clean_response};

const HEADERS: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(30);

/// A bound local listener; nothing is served before [`Listening::serve`].
#[derive(Debug)]
pub struct Listening {
    transport: Arc<Transport>,
    socket: Socket,
    url: String,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

/// Which requests a listener takes.
#[derive(Debug, Clone, Copy)]
enum Local {
    /// With this address, or `localhost` and its port, as `Host`.
    Address(SocketAddr),
    /// Whoever passed the check of its user id.
    Peer,
}

impl Listening {
    pub(super) async fn bind(transport: Arc<Transport>, at: Listen) -> Result<Self, ConnectError> {
        match at {
            Listen::Tcp(address) => {
                if !address.ip().is_loopback() {
                    return Err(ConnectError::NotLoopback { address: address.to_string() });
                }
                let failed = |source| bind_error(address.to_string(), source);
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                let url = format!("http://{address}{}", transport.path());
                Ok(Self { transport, socket: Socket::Tcp(listener, address), url })
            }
            Listen::Unix(path) => {
                let listener = bind_unix(&path).map_err(|source| bind_error(path.display().to_string(), source))?;
                let url = format!("unix:{}", path.display());
                Ok(Self { transport, socket: Socket::Unix(listener, path), url })
            }
        }
    }

    /// The loopback address, unless it is a Unix socket.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(_, address) => Some(*address),
            Socket::Unix(..) => None,
        }
    }

    /// What a local client is given: `http://127.0.0.1:PORT/mcp` or `unix:PATH`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until `shutdown`, then drains.
    ///
    /// # Errors
    /// [`ConnectError`] when the listener fails for good.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), ConnectError> {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.accept(&graceful) => accepted,
            };
            if let Err(error) = accepted {
                tracing::warn!(%error, "a local connection was not accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let drain = self.transport.limits.drain;
        if let Socket::Unix(_, path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
        if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("local connections were still open and are closed");
        }
        self.transport.end().await;
        Ok(())
    }

    async fn accept(&self, graceful: &GracefulShutdown) -> std::io::Result<()> {
        match &self.socket {
            Socket::Tcp(listener, address) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                self.connection(stream, Local::Address(*address), graceful);
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                require_own_user(&stream)?;
                self.connection(stream, Local::Peer, graceful);
            }
        }
        Ok(())
    }

    fn connection<IO>(&self, io: IO, local: Local, graceful: &GracefulShutdown)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let transport = Arc::clone(&self.transport);
        let service = service_fn(move |request: Request<Incoming>| {
            let transport = Arc::clone(&transport);
            async move { Ok::<_, Infallible>(respond(&transport, local, request).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADERS);
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(io), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a local connection ended");
            }
        });
    }
}

async fn respond(transport: &Transport, local: Local, request: Request<Incoming>) -> Response<Body> {
    // Browsers leave `Origin` out of a GET that a page makes without scripts, and then say where it comes from here.
    if request.headers().contains_key(ORIGIN) || request.headers().contains_key("sec-fetch-site") {
        return answer::text(StatusCode::FORBIDDEN, "requests of web pages are not carried\n");
    }
    let elsewhere = request.uri().authority().is_some_and(|target| !local.is_named(target.as_str()));
    if elsewhere || !local.admits(request.headers()) {
        return answer::text(StatusCode::FORBIDDEN, "this is not the address that requests may be made to\n");
    }
    if request.uri().path() != transport.path() {
        return answer::text(
            StatusCode::NOT_FOUND,
            format!("nothing is served here; the MCP endpoint is {}\n", transport.path()),
        );
    }
    if !matches!(*request.method(), Method::POST | Method::GET | Method::DELETE) {
        return answer::status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let (mut parts, body) = request.into_parts();
    let whole = tokio::time::timeout(BODY, Limited::new(body, transport.limits.message).collect()).await;
    let body = match whole {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return answer::status(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return answer::status(StatusCode::REQUEST_TIMEOUT),
    };
    clean_request(&mut parts.headers);
    match transport.send(parts.method, parts.headers, body.clone(), transport.limits.headers).await {
        Ok(mut response) => {
            clean_response(response.headers_mut());
            response.extensions_mut().clear();
            response.map(|body| body.map_err(BoxError::from).boxed())
        }
        Err(error) => {
            let message = std::str::from_utf8(&body).ok().and_then(|text| Object::parse(text).ok());
            let id = message.as_ref().and_then(|message| message.get("id"));
            answer::error(StatusCode::BAD_GATEWAY, id, answer::INTERNAL, &error.to_string())
        }
    }
}

impl Local {
    fn admits(self, headers: &HeaderMap) -> bool {
        let Self::Address(_) = self else { return true };
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else { return false };
        self.is_named(host)
    }

    fn is_named(self, host: &str) -> bool {
        let Self::Address(address) = self else { return true };
        host == address.to_string() || host.eq_ignore_ascii_case(&format!("localhost:{}", address.port()))
    }
}

/// Binds a socket that its owner alone may use; a stale one is replaced, a live one is not.
fn bind_unix(path: &Path) -> std::io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn require_own_user(stream: &UnixStream) -> std::io::Result<()> {
    if stream.peer_cred()?.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "the peer is another user"))
}

fn bind_error(address: String, source: std::io::Error) -> ConnectError {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => ConnectError::AddressInUse { address },
        _ => ConnectError::Listen { address, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        Local::Address("127.0.0.1:3000".parse().unwrap()).admits(&headers)
    }

    #[test]
    fn only_the_literal_address_or_localhost_is_a_host() {
        assert!(admits("127.0.0.1:3000"));
        assert!(admits("LocalHost:3000"));
        for host in [
            "evil.example:3000",
            "127.0.0.1",
            "127.0.0.1:3001",
            "localhost",
            "localhost.evil.example:3000",
            "[::1]:3000",
            "",
        ] {
            assert!(!admits(host), "{host}");
        }
    }
}
