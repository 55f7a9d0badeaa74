//! Collects from the one pass what a decision depends on.

use std::borrow::Cow;

use super::{Message, Notification, Params, ParseRefusal, Reference, Request, RequestId, Response, lookalike};
use crate::json::{self, Kind, Sink};

/// Where in a message a value stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    #[default]
    Elsewhere,
    Root,
    JsonRpc,
    Id,
    Method,
    Outcome,
    Error,
    Params,
    Name,
    Uri,
    TaskId,
    OfferedVersion,
    Arguments,
    Meta,
    MetaVersion,
    ProgressToken,
    Ref,
    RefType,
    RefName,
    RefUri,
    Listen,
    Resources,
    Resource,
    Tasks,
    Task,
}

/// What one `subscriptions/listen` may name: all of it is judged again at each event.
const SUBSCRIPTIONS: usize = 1024;

const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

impl Place {
    /// The keys that matter in an object at this place. A key that only resembles one of them is refused.
    fn members(self) -> &'static [&'static str] {
        match self {
            Self::Root => &["jsonrpc", "id", "method", "params", "result", "error"],
            Self::Params => &["name", "uri", "taskId", "_meta", "arguments", "ref", "notifications", "protocolVersion"],
            Self::Meta => &[META_VERSION, "progressToken"],
            Self::Ref => &["type", "name", "uri"],
            Self::Listen => &["resourceSubscriptions", "taskIds"],
            _ => &[],
        }
    }

    fn member(self, key: &str) -> Self {
        match (self, key) {
            (Self::Root, "jsonrpc") => Self::JsonRpc,
            (Self::Root, "id") => Self::Id,
            (Self::Root, "method") => Self::Method,
            (Self::Root, "params") => Self::Params,
            (Self::Root, "result") => Self::Outcome,
            (Self::Root, "error") => Self::Error,
            (Self::Params, "name") => Self::Name,
            (Self::Params, "uri") => Self::Uri,
            (Self::Params, "taskId") => Self::TaskId,
            (Self::Params, "_meta") => Self::Meta,
            (Self::Params, "arguments") => Self::Arguments,
            (Self::Params, "ref") => Self::Ref,
            (Self::Params, "notifications") => Self::Listen,
            (Self::Params, "protocolVersion") => Self::OfferedVersion,
            (Self::Meta, META_VERSION) => Self::MetaVersion,
            (Self::Meta, "progressToken") => Self::ProgressToken,
            (Self::Ref, "type") => Self::RefType,
            (Self::Ref, "name") => Self::RefName,
            (Self::Ref, "uri") => Self::RefUri,
            (Self::Listen, "resourceSubscriptions") => Self::Resources,
            (Self::Listen, "taskIds") => Self::Tasks,
            _ => Self::Elsewhere,
        }
    }
}

/// The values at the places that matter.
#[derive(Default)]
pub(super) struct Fields<'a> {
    version: Option<Cow<'a, str>>,
    id: Option<RequestId<'a>>,
    method: Option<Cow<'a, str>>,
    outcome: bool,
    error: bool,
    params: Params<'a>,
    kind: Option<Cow<'a, str>>,
    ref_name: Option<Cow<'a, str>>,
    ref_uri: Option<Cow<'a, str>>,
}

impl<'a> Sink<'a> for Fields<'a> {
    type Place = Place;

    fn member(&mut self, place: Place, key: &str, at: usize) -> Result<Place, ParseRefusal> {
        if place == Place::Elsewhere {
            return Ok(Place::Elsewhere);
        }
        match place.member(key) {
            Place::Elsewhere => match lookalike(key, place.members()) {
                Some(key) => Err(ParseRefusal::Lookalike { key, offset: at }),
                None => Ok(Place::Elsewhere),
            },
            known => Ok(known),
        }
    }

    fn element(&mut self, place: Place) -> Place {
        match place {
            Place::Resources => Place::Resource,
            Place::Tasks => Place::Task,
            _ => Place::Elsewhere,
        }
    }

    fn value(&mut self, place: Place, kind: Kind, raw: &'a str, _: usize) -> Result<(), ParseRefusal> {
        match place {
            Place::Elsewhere => {}
            Place::Root => match kind {
                Kind::Object => {}
                Kind::Array => return Err(ParseRefusal::Batch),
                _ => return Err(ParseRefusal::NotAnObject),
            },
            Place::Outcome => self.outcome = true,
            Place::Error => {
                demand(kind == Kind::Object, "error", "an object")?;
                self.error = true;
            }
            Place::Id => {
                let id = RequestId::read(kind, raw);
                demand(id.is_some(), "id", "a string of at most 512 bytes or an integer of at most 53 bits")?;
                self.id = id;
            }
            Place::JsonRpc => self.version = Some(text(kind, raw).ok_or(ParseRefusal::Version)?),
            Place::Method => self.method = Some(string("method", kind, raw)?),
            _ => self.param(place, kind, raw)?,
        }
        Ok(())
    }
}

impl<'a> Fields<'a> {
    fn param(&mut self, place: Place, kind: Kind, raw: &'a str) -> Result<(), ParseRefusal> {
        let params = &mut self.params;
        match place {
            Place::Params => demand(kind == Kind::Object, "params", "an object")?,
            Place::Name => params.name = Some(string("params.name", kind, raw)?),
            Place::Uri => params.uri = Some(string("params.uri", kind, raw)?),
            Place::TaskId => params.task_id = Some(string("params.taskId", kind, raw)?),
            Place::OfferedVersion => params.offered_version = Some(string("params.protocolVersion", kind, raw)?),
            Place::Arguments => params.arguments = Some(raw),
            Place::Meta => demand(kind == Kind::Object, "params._meta", "an object")?,
            Place::MetaVersion => params.protocol_version = Some(string("protocolVersion in params._meta", kind, raw)?),
            Place::ProgressToken => {
                let scalar = matches!(kind, Kind::String | Kind::Number);
                demand(scalar, "params._meta.progressToken", "a string or a number")?;
                params.progress_token = Some(raw);
            }
            Place::Ref => {
                demand(kind == Kind::Object, "params.ref", "an object")?;
                let reference = self.reference()?;
                self.params.reference = Some(reference);
            }
            Place::RefType => self.kind = Some(string("params.ref.type", kind, raw)?),
            Place::RefName => self.ref_name = Some(string("params.ref.name", kind, raw)?),
            Place::RefUri => self.ref_uri = Some(string("params.ref.uri", kind, raw)?),
            Place::Listen => demand(kind == Kind::Object, "params.notifications", "an object")?,
            Place::Resources => demand(kind == Kind::Array, "resourceSubscriptions", "an array")?,
            Place::Tasks => demand(kind == Kind::Array, "taskIds", "an array")?,
            Place::Resource | Place::Task if params.subscriptions.count() >= SUBSCRIPTIONS => {
                demand(false, "params.notifications", "about at most 1024 resources and tasks")?;
            }
            Place::Resource => {
                let uri = string("an element of resourceSubscriptions", kind, raw)?;
                params.subscriptions.resources.push(uri);
            }
            Place::Task => params.subscriptions.tasks.push(string("an element of taskIds", kind, raw)?),
            _ => {}
        }
        Ok(())
    }

    fn reference(&mut self) -> Result<Reference<'a>, ParseRefusal> {
        match (self.kind.as_deref(), self.ref_name.take(), self.ref_uri.take()) {
            (Some("ref/prompt"), Some(name), None) => Ok(Reference::Prompt(name)),
            (Some("ref/resource"), None, Some(uri)) => Ok(Reference::Resource(uri)),
            _ => Err(ParseRefusal::Type {
                key: "params.ref",
                expected: "a `ref/prompt` with `name` or a `ref/resource` with `uri`",
            }),
        }
    }

    pub(super) fn finish(self) -> Result<Message<'a>, ParseRefusal> {
        if self.version.as_deref() != Some("2.0") {
            return Err(ParseRefusal::Version);
        }
        match (self.method, self.id, self.outcome, self.error) {
            (Some(_), _, true, _) | (Some(_), _, _, true) | (_, _, true, true) => Err(ParseRefusal::Mixed),
            (Some(method), Some(_), ..) if is_notification(&method) => Err(ParseRefusal::NotificationWithId),
            (Some(method), Some(id), ..) => Ok(Message::Request(Request { id, method, params: self.params })),
            (Some(method), None, ..) if is_notification(&method) => {
                Ok(Message::Notification(Notification { method, params: self.params }))
            }
            (Some(_), None, ..) => Err(ParseRefusal::RequestWithoutId),
            (None, Some(id), ..) if self.outcome || self.error => Ok(Message::Response(Response { id })),
            (None, ..) => Err(ParseRefusal::Nothing),
        }
    }
}

fn is_notification(method: &str) -> bool {
    method.starts_with("notifications/")
}

fn text(kind: Kind, raw: &str) -> Option<Cow<'_, str>> {
    (kind == Kind::String).then(|| json::unescape(raw))
}

fn string<'a>(key: &'static str, kind: Kind, raw: &'a str) -> Result<Cow<'a, str>, ParseRefusal> {
    text(kind, raw).ok_or(ParseRefusal::Type { key, expected: "a string" })
}

fn demand(holds: bool, key: &'static str, expected: &'static str) -> Result<(), ParseRefusal> {
    if holds { Ok(()) } else { Err(ParseRefusal::Type { key, expected }) }
}
