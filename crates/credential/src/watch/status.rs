//! Whether what is published is what the files say.

use crate::directory::Generation;

/// The state of a followed directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The generation that is published; none where the directory has no numbered ones.
    pub generation: Option<Generation>,
    /// The credential.
    pub credential: Health,
    /// The trust material.
    pub trust: Health,
    /// The authorities that the credential hangs on and that end soon, a line each. They are good until then.
    pub ending: Vec<String>,
}

impl Status {
    /// Whether everything that is published is what the files say.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!((&self.credential, &self.trust), (Health::Current, Health::Current))
    }

    pub(super) fn log(&self) {
        for authority in &self.ending {
            tracing::warn!("{authority}");
        }
        for (what, health) in [("credential", &self.credential), ("trust", &self.trust)] {
            match health {
                Health::Current => tracing::debug!(what, "the files are good"),
                Health::Degraded { reason } => {
                    tracing::warn!(what, %reason, "new material is refused, the last good stays")
                }
            }
        }
    }
}

/// Whether the newest that the files hold is what counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is, or it is not and there is a reason")]
pub enum Health {
    /// It is.
    #[default]
    Current,
    /// It is not: something is broken or older, and the last good counts.
    Degraded {
        /// What, in which file, and what mends it.
        reason: String,
    },
}

impl Health {
    pub(super) fn of(reasons: &[String]) -> Self {
        if reasons.is_empty() { Self::Current } else { Self::Degraded { reason: reasons.join("; ") } }
    }
}
