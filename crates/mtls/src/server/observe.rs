use std::fmt::Debug;

use crate::HandshakeError;

/// Hears what becomes of handshakes, for metrics.
pub trait Observe: Debug + Send + Sync {
    /// A caller was accepted; the session was resumed or not.
    fn accepted(&self, resumed: bool) {
        let _ = resumed;
    }

    /// A connection was closed before its handshake: its source holds as many as it may.
    fn crowded(&self) {}

    /// There is no connection; [`HandshakeError::kind`] is a word for a label.
    fn refused(&self, error: &HandshakeError) {
        let _ = error;
    }
}

/// Listens to nothing.
#[derive(Debug)]
pub(super) struct Deaf;

impl Observe for Deaf {}
