//! What the answers to a session's requests are, by request id.

use std::collections::VecDeque;

use crate::RequestId;
use crate::method::List;

/// How an answer is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// It passes as it is.
    Plain,
    /// It is a list, to be filtered.
    List,
}

impl Record {
    pub(crate) fn of(method: &str) -> Self {
        List::of(method).map_or(Self::Plain, |_| Self::List)
    }
}

/// The newest requests of one session. An answer to an older one is dropped.
#[derive(Debug, Default)]
pub(super) struct Records(VecDeque<(RequestId<'static>, Record)>);

/// How many requests of one session may wait for an answer on another stream.
const KEPT: usize = 128;

impl Records {
    pub(super) fn insert(&mut self, id: RequestId<'static>, record: Record) {
        if let Some((_, old)) = self.0.iter_mut().find(|(other, _)| *other == id) {
            // An id that is used again never turns a list into something that passes unfiltered.
            if record == Record::List {
                *old = Record::List;
            }
            return;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((id, record));
    }

    pub(super) fn get(&self, id: &RequestId<'_>) -> Option<Record> {
        self.0.iter().find(|(other, _)| other == id).map(|(_, record)| *record)
    }
}
