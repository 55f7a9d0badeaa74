//! One message of a server, as far as a filter depends on it.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::{self, Kind, Sink, Surrogates};
use crate::method::List;
use crate::{ParseRefusal, RequestId};

/// What a server sent.
#[derive(Debug)]
pub(crate) enum ServerMessage<'a> {
    /// An answer.
    Response(RequestId<'a>, Outcome<'a>),
    /// A question to the client, of the older era.
    Request(RequestId<'a>),
    /// A notification, and what it names that not everybody may know of; or an error that answers no request in particular.
    Notification(Option<(List, Cow<'a, str>)>),
}

/// The parts of a result that are filtered or remembered; ranges are of the message's text.
#[derive(Debug, Default)]
pub(crate) struct Outcome<'a> {
    /// `result` itself.
    pub(super) result: Option<Range<usize>>,
    /// The arrays that could be lists.
    pub(super) lists: Vec<(List, Range<usize>)>,
    /// Their elements, each with its name.
    pub(super) items: Vec<Item<'a>>,
    /// `result.cacheScope`.
    pub(super) cache_scope: Option<Range<usize>>,
    /// The task that was made instead of a result.
    pub(crate) task: Option<Cow<'a, str>>,
}

/// One element of a list.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) list: List,
    pub(super) range: Range<usize>,
    pub(super) name: Option<Cow<'a, str>>,
}

/// Reads one message of a server, as strictly as a client's but for half surrogates: what is ambiguous cannot be filtered.
pub(crate) fn read(bytes: &[u8], depth: usize) -> Result<ServerMessage<'_>, ParseRefusal> {
    let mut fields = Fields::default();
    json::scan(bytes, depth, Surrogates::Passed, Place::Root, &mut fields)?;
    match (fields.method, fields.id, fields.answers) {
        (Some(_), _, true) => Err(ParseRefusal::Mixed),
        (Some(_), Some(id), false) => Ok(ServerMessage::Request(id)),
        (Some(method), None, false) => Ok(ServerMessage::Notification(match &*method {
            "notifications/resources/updated" => fields.uri.map(|uri| (List::Resources, uri)),
            status if status.starts_with("notifications/tasks") => fields.task.map(|task| (List::Tasks, task)),
            _ => None,
        })),
        (None, Some(id), true) => Ok(ServerMessage::Response(id, fields.outcome)),
        // `"id": null` in an error: the server could not tell which request it answers.
        (None, None, true) if fields.outcome.result.is_none() => Ok(ServerMessage::Notification(None)),
        _ => Err(ParseRefusal::Nothing),
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    #[default]
    Elsewhere,
    Root,
    Id,
    Method,
    Error,
    Params,
    ParamsUri,
    ParamsTask,
    Result,
    CacheScope,
    TaskId,
    Task,
    List(List),
    Item(List),
    Name(List),
}

#[derive(Default)]
struct Fields<'a> {
    method: Option<Cow<'a, str>>,
    uri: Option<Cow<'a, str>>,
    task: Option<Cow<'a, str>>,
    answers: bool,
    id: Option<RequestId<'a>>,
    name: Option<Cow<'a, str>>,
    outcome: Outcome<'a>,
}

impl<'a> Sink<'a> for Fields<'a> {
    type Place = Place;

    fn member(&mut self, place: Place, key: &str, _: usize) -> Result<Place, ParseRefusal> {
        Ok(match (place, key) {
            (Place::Root, "id") => Place::Id,
            (Place::Root, "method") => Place::Method,
            (Place::Root, "result") => Place::Result,
            (Place::Root, "error") => Place::Error,
            (Place::Root, "params") => Place::Params,
            (Place::Params, "uri") => Place::ParamsUri,
            (Place::Params, "taskId") => Place::ParamsTask,
            (Place::Result, "cacheScope") => Place::CacheScope,
            (Place::Result, "task") => Place::Task,
            (Place::Result | Place::Task, "taskId") => Place::TaskId,
            (Place::Result, member) => List::in_result(member).map_or(Place::Elsewhere, Place::List),
            (Place::Item(list), key) if key == list.members().1 => Place::Name(list),
            _ => Place::Elsewhere,
        })
    }

    fn element(&mut self, place: Place) -> Place {
        match place {
            Place::List(list) => Place::Item(list),
            _ => Place::Elsewhere,
        }
    }

    fn value(&mut self, place: Place, kind: Kind, raw: &'a str, at: usize) -> Result<(), ParseRefusal> {
        let range = at..at + raw.len();
        let text = || (kind == Kind::String).then(|| json::unescape(raw));
        match place {
            Place::Elsewhere | Place::Task | Place::Params => {}
            Place::Root if kind == Kind::Array => return Err(ParseRefusal::Batch),
            Place::Root if kind != Kind::Object => return Err(ParseRefusal::NotAnObject),
            Place::Root => {}
            Place::Id => self.id = RequestId::read(kind, raw),
            Place::Method => self.method = Some(text().unwrap_or_default()),
            Place::ParamsUri => self.uri = text(),
            Place::ParamsTask => self.task = text(),
            Place::Error => self.answers = true,
            Place::Result => {
                self.answers = true;
                self.outcome.result = Some(range);
            }
            Place::CacheScope => self.outcome.cache_scope = Some(range),
            Place::TaskId => self.outcome.task = text(),
            Place::List(list) => self.outcome.lists.push((list, range)),
            Place::Item(list) => {
                let name = self.name.take();
                self.outcome.items.push(Item { list, range, name });
            }
            Place::Name(_) => self.name = text(),
        }
        Ok(())
    }
}
