//! The transport of a verified connection: it fails as soon as the right has ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::NamedGroup;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::PeerEnded;
use crate::live::Live;

/// TLS whose every read and write is preceded by a judgement, and which wakes when the right ends.
#[derive(Debug)]
pub(crate) struct LiveIo<IO> {
    tls: TlsStream<IO>,
    /// None where nobody is known: then there is no right that could end.
    live: Option<Arc<Live>>,
}

impl<IO> LiveIo<IO> {
    pub(crate) fn new(tls: TlsStream<IO>, live: Option<Arc<Live>>) -> Self {
        Self { tls, live }
    }

    fn judge(&self) -> Result<(), PeerEnded> {
        self.live.as_ref().map_or(Ok(()), |live| live.judge())
    }

    /// Registered before the judgement: an end between the two wakes us.
    fn judge_writer(&self, cx: &Context<'_>) -> Result<(), PeerEnded> {
        if let Some(live) = &self.live {
            live.wake_writer(cx.waker());
        }
        self.judge()
    }

    pub(crate) fn key_exchange(&self) -> Option<NamedGroup> {
        self.tls.get_ref().1.negotiated_key_exchange_group().map(|group| group.name())
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.tls.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

/// Whoever still holds the peer's evidence learns that its connection is gone.
impl<IO> Drop for LiveIo<IO> {
    fn drop(&mut self) {
        if let Some(live) = &self.live {
            live.end(PeerEnded::Closed);
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for LiveIo<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(live) = &self.live {
            live.wake_reader(cx.waker());
        }
        self.judge()?;
        let polled = Pin::new(&mut self.tls).poll_read(cx, buf);
        if let (Poll::Ready(Err(error)), Some(live)) = (&polled, &self.live) {
            live.note(error);
        }
        polled
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LiveIo<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.judge_writer(cx)?;
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.judge_writer(cx)?;
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.judge_writer(cx)?;
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

/// Makes a transport of a struct around [`LiveIo`].
macro_rules! transport {
    ($stream:ty $(, $($param:ident: $bound:ident),+)?) => {
        impl<IO: AsyncRead + AsyncWrite + Unpin $(, $($param: $bound),+)?> AsyncRead for $stream {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<std::io::Result<()>> {
                Pin::new(&mut self.io).poll_read(cx, buf)
            }
        }

        impl<IO: AsyncRead + AsyncWrite + Unpin $(, $($param: $bound),+)?> AsyncWrite for $stream {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<std::io::Result<usize>> {
                Pin::new(&mut self.io).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> Poll<std::io::Result<usize>> {
                Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                self.io.is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
                Pin::new(&mut self.io).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
                Pin::new(&mut self.io).poll_shutdown(cx)
            }
        }
    };
}
pub(crate) use transport;
