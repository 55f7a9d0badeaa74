//! Answers that are one JSON message.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderValue, Response};
use http_body::Body;
use http_body_util::BodyExt;

use super::answer::{AnswerBody, full};
use super::body::{Entitled, Resumed, passed};
use super::respond::Context;
use super::verdict::shows;
use crate::BoxError;
use crate::filter::{ServerMessage, read, rewrite};
use crate::sessions::Record;

/// An answer that is not a list is looked at up to this size; a larger one streams through without a copy.
const LOOKED_AT: usize = 64 * 1024;

/// The answer with its list filtered, or as it came.
pub(super) async fn filtered<R>(context: Context, mut parts: Parts, body: R) -> Response<AnswerBody>
where
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let limit = match context.record {
        Record::List => context.gate.config.limits.event,
        Record::Plain => LOOKED_AT,
    };
    let mut body = Box::pin(body);
    let whole = match collect(&mut body, limit).await {
        Ok(whole) => whole,
        Err(Cut::TooLarge(read)) if context.record == Record::Plain => {
            return Response::from_parts(parts, passed(Entitled::new(context, Resumed { read, rest: body })));
        }
        Err(Cut::TooLarge(_)) => {
            return context.bad_gateway("the server behind answered with a list that is too large");
        }
        Err(Cut::Broken(error)) => {
            tracing::warn!(%error, decision = %context.case.decision, "the answer broke off");
            return context.bad_gateway("the server behind broke off its answer");
        }
    };
    match context.judge_answer(&whole) {
        Ok(None) => Response::from_parts(parts, full(whole)),
        Ok(Some(text)) => {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
            Response::from_parts(parts, full(text))
        }
        Err(message) => context.bad_gateway(message),
    }
}

impl Context {
    /// What replaces this whole answer, if something has to; or why it cannot pass.
    fn judge_answer(&self, whole: &Bytes) -> Result<Option<String>, &'static str> {
        let Some(own) = &self.case.id else {
            return Ok(None);
        };
        if whole.is_empty() {
            return Ok(None);
        }
        let message = read(whole, self.gate.config.limits.depth).map_err(|error| {
            tracing::warn!(%error, decision = %self.case.decision, "the answer is not one JSON-RPC message");
            "the server behind answered what is not one JSON-RPC message"
        })?;
        match message {
            ServerMessage::Response(id, outcome) if id == *own => {
                self.remember_task(&outcome);
                Ok(self.rewritten(whole, &outcome))
            }
            // An error without an id can only be about this request.
            ServerMessage::Notification(_) => Ok(None),
            ServerMessage::Response(..) | ServerMessage::Request(_) => {
                Err("the server behind answered another request than the one that was asked")
            }
        }
    }

    pub(super) fn rewritten(&self, text: &[u8], outcome: &crate::filter::Outcome<'_>) -> Option<String> {
        self.rewritten_as(self.record, text, outcome)
    }

    pub(super) fn rewritten_as(
        &self,
        record: Record,
        text: &[u8],
        outcome: &crate::filter::Outcome<'_>,
    ) -> Option<String> {
        if record == Record::Plain {
            return None;
        }
        let gate = &self.gate;
        let policy = gate.config.policy.borrow().clone();
        let holder = self.case.holder();
        let text = std::str::from_utf8(text).unwrap_or_default();
        rewrite(text, outcome, self.era, |list, name| shows(&gate.config, &policy, &gate.tasks, holder, (list, name)))
    }

    /// A task belongs to the identity and to the call that made it.
    pub(super) fn remember_task(&self, outcome: &crate::filter::Outcome<'_>) {
        use crate::method::Demand;
        if let (
            Some(task),
            Some(made @ (Demand::Tool(_) | Demand::Prompt(_) | Demand::Resource(_) | Demand::Method(_))),
        ) = (&outcome.task, self.case.demands.first())
        {
            self.gate.tasks.made(self.case.owner(), task, made);
        }
    }
}

enum Cut {
    TooLarge(VecDeque<Bytes>),
    Broken(BoxError),
}

async fn collect<R>(body: &mut Pin<Box<R>>, limit: usize) -> Result<Bytes, Cut>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let mut chunks = VecDeque::new();
    let mut length = 0_usize;
    if usize::try_from(body.size_hint().lower()).map_or(true, |least| least > limit) {
        return Err(Cut::TooLarge(chunks));
    }
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| Cut::Broken(error.into()))?.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        chunks.push_back(data);
        if length > limit {
            return Err(Cut::TooLarge(chunks));
        }
    }
    if let (Some(one), 1) = (chunks.front(), chunks.len()) {
        return Ok(one.clone());
    }
    let mut whole = BytesMut::with_capacity(length);
    for chunk in chunks {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
