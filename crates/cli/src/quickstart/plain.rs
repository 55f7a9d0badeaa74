//! A TLS client with nothing of ours in it: rustls on a blocking socket. What it is refused, anyone is refused.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use countermark_credential::Credential;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};

/// What a peer does at most before this client gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open connection.
#[derive(Debug)]
pub(super) struct Plain {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The server refused the handshake, and said why.
    Alert(AlertDescription),
    /// The server closed.
    Closed,
    /// Neither within the patience of this client.
    Open,
    /// Something else.
    Other(io::Error),
}

impl Plain {
    /// Connects, with a certificate or without one; the server is verified under `roots`.
    pub(super) fn connect(
        address: SocketAddr,
        roots: &[CertificateDer<'static>],
        credential: Option<&Credential>,
    ) -> io::Result<Self> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone()).map_err(io::Error::other)?;
        }
        let config = ClientConfig::builder_with_provider(countermark_mtls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(store);
        let config = match credential {
            None => config.with_no_client_auth(),
            Some(credential) => config
                .with_client_auth_cert(credential.chain().to_vec(), credential.key().clone_key())
                .map_err(io::Error::other)?,
        };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: StreamOwned::new(connection, socket) })
    }

    /// Sends one HTTP/1.1 request and reads the answer's head; the connection stays open.
    pub(super) fn request(&mut self, text: &[u8]) -> Result<String, End> {
        self.stream.write_all(text).and_then(|()| self.stream.flush()).map_err(End::from)?;
        let mut head = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(End::Closed),
                Ok(read) => head.extend_from_slice(piece.get(..read).unwrap_or_default()),
                Err(error) => return Err(End::from(error)),
            }
            if let Some(head) = whole_head(&head) {
                return Ok(head);
            }
        }
    }

    /// Waits until the server ends the connection.
    pub(super) fn end(&mut self) -> End {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return End::Closed,
                Ok(_) => {}
                Err(error) => return End::from(error),
            }
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(alert) => write!(f, "TLS alert {alert:?}"),
            Self::Closed => f.write_str("closed"),
            Self::Open => write!(f, "still open after {PATIENCE:?}"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        if let Some(rustls::Error::AlertReceived(alert)) =
            error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return Self::Alert(*alert);
        }
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Open,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted => Self::Closed,
            _ => Self::Other(error),
        }
    }
}

/// Everything before the body, once it is all there.
fn whole_head(read: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(read);
    text.split_once("\r\n\r\n").map(|(head, _)| head.to_owned())
}
