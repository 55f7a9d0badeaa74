//! One file that is followed: what it last held, and the last good of it.

use countermark_identity::Thumbprint;

/// The last good `T` of a file, and what is wrong with the file if that is not what it holds now.
#[derive(Debug)]
pub(super) struct Slot<T> {
    seen: Option<Thumbprint>,
    good: Option<T>,
    fault: Option<String>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { seen: None, good: None, fault: None }
    }
}

impl<T> Slot<T> {
    /// Reads new content with `accept`; content that was found good is not read again. Says whether the good one changed.
    ///
    /// What was refused is looked at again each time: the reason may lie in another file.
    pub(super) fn update(&mut self, content: &[u8], accept: impl FnOnce() -> Result<T, String>) -> bool {
        let thumbprint = Thumbprint::of(content);
        if self.fault.is_none() && self.seen.as_ref() == Some(&thumbprint) {
            return false;
        }
        self.seen = Some(thumbprint);
        match accept() {
            Ok(good) => {
                self.good = Some(good);
                self.fault = None;
                true
            }
            Err(fault) => {
                self.fault = Some(fault);
                false
            }
        }
    }

    /// Notes that the file could not be read; it is looked at afresh as soon as it can.
    pub(super) fn fail(&mut self, fault: String) {
        self.seen = None;
        self.fault = Some(fault);
    }

    pub(super) const fn good(&self) -> Option<&T> {
        self.good.as_ref()
    }

    pub(super) const fn fault(&self) -> Option<&String> {
        self.fault.as_ref()
    }
}
