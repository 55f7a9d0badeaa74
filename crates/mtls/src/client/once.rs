//! One request on a connection of its own.

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::server::BoxError;

/// The host of an `https` URL, with its port if one is written.
pub(super) fn authority(url: &Uri) -> Option<&Authority> {
    url.authority().filter(|_| url.scheme() == Some(&Scheme::HTTPS))
}

/// Sends a request and reads the whole answer, `limit` bytes of it at most.
pub(super) async fn exchange<IO>(
    io: IO,
    mut request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<Response<Bytes>, BoxError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let url = std::mem::take(request.uri_mut());
    let host = url.authority().ok_or("the URL has no host")?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(host.as_str())?);
    *request.uri_mut() = url.path_and_query().map_or("/", PathAndQuery::as_str).parse()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    let answer = async {
        let (parts, mut incoming) = sender.send_request(request).await?.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if body.len() + data.len() > limit {
                return Err(format!("the answer has more than {limit} bytes").into());
            }
            body.extend_from_slice(&data);
        }
        Ok::<_, BoxError>(Response::from_parts(parts, body.freeze()))
    };
    tokio::pin!(connection, answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}
