//! Duplicate keys, compared after unescaping, at any depth, in bounded time and memory.

use std::borrow::Cow;

use crate::ParseRefusal;

/// Up to here a new key is compared with each key before it; beyond, the object is sorted once when it ends.
const LINEAR: usize = 24;

/// The keys of all objects that are open, innermost last.
pub(super) struct Keys<'a>(Vec<(Cow<'a, str>, usize)>);

/// One open object: where its keys begin.
pub(super) struct Frame(usize);

impl<'a> Keys<'a> {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(16))
    }

    pub(super) fn open(&self) -> Frame {
        Frame(self.0.len())
    }

    pub(super) fn push(&mut self, frame: &Frame, key: Cow<'a, str>, at: usize) -> Result<(), ParseRefusal> {
        let before = self.0.get(frame.0..).unwrap_or_default();
        if before.len() < LINEAR && before.iter().any(|(other, _)| *other == key) {
            return Err(ParseRefusal::DuplicateKey { offset: at });
        }
        self.0.push((key, at));
        Ok(())
    }

    pub(super) fn close(&mut self, frame: Frame) -> Result<(), ParseRefusal> {
        let keys = self.0.get_mut(frame.0..).unwrap_or_default();
        if keys.len() > LINEAR {
            keys.sort_unstable();
            let twin = keys.windows(2).find_map(|pair| match pair {
                [(one, _), (two, at)] if one == two => Some(*at),
                _ => None,
            });
            if let Some(offset) = twin {
                return Err(ParseRefusal::DuplicateKey { offset });
            }
        }
        self.0.truncate(frame.0);
        Ok(())
    }
}
