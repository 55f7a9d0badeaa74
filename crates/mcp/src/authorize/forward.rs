//! Sends on exactly what was judged, and hands the answer to its filter.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::answer::{self, AnswerBody};
use super::case::Case;
use super::gate::{Gate, Judged};
use super::respond::Context;
use crate::refusal::{Refusal, code};
use crate::{BoxError, Caller, headers};

impl Gate {
    pub(super) async fn forward<S, R>(
        self: Arc<Self>,
        case: Case,
        mut parts: Parts,
        judged: Judged,
        inner: S,
    ) -> Response<AnswerBody>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        headers::strip(&mut parts.headers);
        parts.extensions.insert(case.peer.agent().clone());
        parts.extensions.insert(Caller::assertion(
            case.peer.clone(),
            case.token.clone(),
            judged.verdict.permit.clone(),
        ));
        if let Some(permit) = judged.verdict.permit {
            parts.extensions.insert(permit);
        }
        if let (Some(session), Some(id)) = (&judged.session, &case.id) {
            self.sessions.expect(session, id.clone(), judged.record);
        }
        let context = Context {
            gate: Arc::clone(&self),
            case,
            era: judged.era,
            session: judged.session,
            record: judged.record,
            effect: judged.effect,
        };
        match call(inner, Request::from_parts(parts, Full::new(judged.body))).await {
            Ok(response) => context.respond(response).await,
            Err(error) => {
                tracing::warn!(%error, decision = %context.case.decision, "the server behind did not answer");
                context.bad_gateway("the server behind did not answer")
            }
        }
    }
}

impl Context {
    /// Our answer in place of one that cannot be passed on.
    pub(super) fn bad_gateway(&self, message: &'static str) -> Response<AnswerBody> {
        answer::error(&self.gateway_refusal(message), self.case.id.as_ref())
    }

    pub(super) fn gateway_refusal(&self, message: &'static str) -> Refusal {
        Refusal::new(
            StatusCode::BAD_GATEWAY,
            code::INTERNAL_ERROR,
            format!("{message} (decision {})", self.case.decision),
        )
    }
}

async fn call<S, R>(mut inner: S, request: Request<Full<Bytes>>) -> Result<Response<R>, BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    poll_fn(|cx| inner.poll_ready(cx)).await.map_err(Into::into)?;
    inner.call(request).await.map_err(Into::into)
}
