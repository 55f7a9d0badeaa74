//! What an authority says beside what it does.

use countermark_identity::UnixTime;

/// Something that will need a hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A third of the root's life is left.
    #[error("the root ends on {0}: plan its successor and its distribution")]
    RootEnds(UnixTime),
    /// A third of the intermediate's life is left, and the root's key is not at hand.
    #[error("the intermediate ends on {0}: bring back the root's key and run `countermark ca renew`")]
    IntermediateEnds(UnixTime),
    /// The intermediate should have been renewed by itself, and was not.
    #[error("the intermediate ends on {ends} and could not be renewed: {cause}")]
    RenewalFailed {
        /// When the intermediate ends.
        ends: UnixTime,
        /// Why it is not renewed.
        cause: String,
    },
}
