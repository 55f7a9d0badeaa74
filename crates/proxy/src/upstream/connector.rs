//! Plain connections to an upstream: TCP, by default to loopback alone, or a Unix socket.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream, lookup_host};

/// Where plain connections go.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    target: Arc<Target>,
    timeout: Duration,
}

#[derive(Debug)]
pub(crate) enum Target {
    /// Loopback addresses of `host` alone, unless `anywhere`.
    Tcp { host: String, port: u16, anywhere: bool },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Either kind of connection.
#[derive(Debug)]
pub(crate) enum Plain {
    Tcp(TokioIo<TcpStream>),
    Unix(TokioIo<UnixStream>),
}

impl Connector {
    pub(crate) fn new(target: Target, timeout: Duration) -> Self {
        Self { target: Arc::new(target), timeout }
    }

    pub(crate) async fn connect(&self) -> io::Result<Plain> {
        tokio::time::timeout(self.timeout, self.target.connect())
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
    }
}

impl Target {
    async fn connect(&self) -> io::Result<Plain> {
        match self {
            Self::Unix(path) => Ok(Plain::Unix(TokioIo::new(UnixStream::connect(path).await?))),
            Self::Tcp { host, port, anywhere } => {
                let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no loopback address");
                for address in
                    lookup_host((host.as_str(), *port)).await?.filter(|address| *anywhere || address.ip().is_loopback())
                {
                    match TcpStream::connect(address).await {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            return Ok(Plain::Tcp(TokioIo::new(stream)));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

impl Read for Plain {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Write for Plain {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
