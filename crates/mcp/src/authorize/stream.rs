//! Answers that are event streams: each event is judged by itself, and the right to the stream before each.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use countermark_mtls::PeerEnded;
use countermark_policy::Policy;
use futures_util::stream;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::watch;

use super::answer::{AnswerBody, error_text};
use super::body::Chunks;
use super::respond::Context;
use super::verdict::shows;
use crate::BoxError;
use crate::filter::sse::{self, Decoder, Event};
use crate::filter::{ServerMessage, read};
use crate::method::List;

/// The stream with its events judged, until it ends or the right to it does.
pub(super) fn filtered<R>(context: Context, body: R) -> AnswerBody
where
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let peer = context.case.peer.clone();
    let events = Events {
        decoder: Decoder::new(context.gate.config.limits.event),
        policy: Some(context.gate.config.policy.clone()),
        ended: Box::pin(async move { peer.ended().await }),
        body: Box::pin(body),
        over: false,
        context,
    };
    BodyExt::boxed(Chunks::new(stream::unfold(events, |mut events| async move {
        let chunk = events.next().await?;
        Some((chunk, events))
    })))
}

struct Events<R> {
    context: Context,
    body: Pin<Box<R>>,
    decoder: Decoder,
    /// `None` once nobody can change the policy any more.
    policy: Option<watch::Receiver<Arc<Policy>>>,
    ended: Pin<Box<dyn Future<Output = PeerEnded> + Send>>,
    over: bool,
}

/// What happens next on a stream.
enum Next<E> {
    Data(Bytes),
    Nothing,
    PolicyChanged,
    PolicyFixed,
    Ended(PeerEnded),
    Closed(Option<E>),
}

impl<R> Events<R>
where
    R: Body<Data = Bytes> + Send,
    R::Error: Into<BoxError>,
{
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        while !self.over {
            match self.decoder.next() {
                Ok(Some(event)) => {
                    self.require_right()?;
                    if let Some(bytes) = self.judge(event) {
                        return Some(Ok(bytes));
                    }
                    continue;
                }
                Ok(None) => {}
                Err(sse::TooLarge) => {
                    self.over = true;
                    return Some(Ok(self.broken("the server behind sent an event that is too large")));
                }
            }
            match self.wait().await {
                Next::Data(bytes) => self.decoder.push(bytes),
                Next::Nothing => {}
                Next::PolicyChanged => self.require_right()?,
                Next::PolicyFixed => self.policy = None,
                Next::Ended(reason) => return self.end(&reason.to_string()),
                Next::Closed(error) => {
                    self.over = true;
                    return error.map(|error| Err(error.into()));
                }
            }
        }
        None
    }

    async fn wait(&mut self) -> Next<R::Error> {
        let changed = async {
            match &mut self.policy {
                Some(policy) => policy.changed().await.map_or(Next::PolicyFixed, |()| Next::PolicyChanged),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            reason = &mut self.ended => Next::Ended(reason),
            change = changed => change,
            frame = self.body.frame() => match frame {
                Some(Ok(frame)) => frame.into_data().map_or(Next::Nothing, Next::Data),
                Some(Err(error)) => Next::Closed(Some(error)),
                None => Next::Closed(None),
            },
        }
    }

    /// `None` ends the stream: the right to it has ended.
    fn require_right(&mut self) -> Option<()> {
        match self.context.right() {
            Ok(()) => Some(()),
            Err(reason) => self.end(&reason),
        }
    }

    fn end<T>(&mut self, reason: &str) -> Option<T> {
        self.over = true;
        self.context.ended(reason);
        None
    }

    /// What goes out for this event, if anything does.
    fn judge(&mut self, event: Event) -> Option<Bytes> {
        let context = &self.context;
        let data = match &event.data {
            Some(data) if !data.iter().all(u8::is_ascii_whitespace) => data,
            _ => return Some(event.raw),
        };
        let message = match read(data, context.gate.config.limits.depth) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, decision = %context.case.decision, "an event is not one JSON-RPC message");
                self.over = context.case.id.is_some();
                return self.over.then(|| self.broken("the server behind sent what is not one JSON-RPC message"));
            }
        };
        match message {
            ServerMessage::Notification(None) => Some(event.raw),
            ServerMessage::Notification(Some((list, name))) => context.may_know(list, &name).then_some(event.raw),
            ServerMessage::Request(id) => {
                let owner = context.case.owner();
                context.gate.pending.asked(owner, context.session.as_deref(), id.into_owned());
                Some(event.raw)
            }
            ServerMessage::Response(id, outcome) => {
                let own = context.case.id.as_ref() == Some(&id);
                let record = if own { Some(context.record) } else { context.elsewhere(&id) };
                let Some(record) = record else {
                    tracing::warn!(decision = %context.case.decision, "an answer to a request that was not asked was dropped");
                    return None;
                };
                if own {
                    context.remember_task(&outcome);
                }
                match context.rewritten_as(record, data, &outcome) {
                    Some(text) => Some(sse::event(&event, &text)),
                    None => Some(event.raw),
                }
            }
        }
    }

    /// The last event of a stream that cannot go on.
    fn broken(&self, message: &'static str) -> Bytes {
        let refusal = self.context.gateway_refusal(message);
        let text = error_text(&refusal, self.context.case.id.as_ref());
        Bytes::from(format!("data: {text}\n\n"))
    }
}

impl Context {
    /// Whether the caller may hear of what a notification names.
    fn may_know(&self, list: List, name: &str) -> bool {
        let gate = &self.gate;
        let policy = gate.config.policy.borrow().clone();
        shows(&gate.config, &policy, &gate.tasks, self.case.holder(), (list, name))
    }

    /// How an answer to another request is treated: only a GET stream of a session may carry one, when it is resumed.
    fn elsewhere(&self, id: &crate::RequestId<'_>) -> Option<crate::sessions::Record> {
        let resumed = self.case.id.is_none();
        let session = self.session.as_deref().filter(|_| resumed)?;
        self.gate.sessions.expected(session, id)
    }
}
