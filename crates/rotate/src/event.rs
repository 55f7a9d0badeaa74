//! What happens, as one enum: the log, the metrics and the surface that tests look at.

mod log;

use std::sync::Arc;
use std::time::Duration;

use countermark_identity::{Serial, UnixTime};

use crate::schedule::Health;

/// Something that happened, and to which credential.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is a pair")]
pub struct Told {
    /// The credential's name; none where all are meant.
    pub credential: Option<Arc<str>>,
    /// What.
    pub event: Event,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The issuer has taken the request and will answer later: somebody may have to approve it.
    AwaitingApproval {
        /// When it is asked again.
        retry: Duration,
    },
    /// The files of the directory are not what was delivered: somebody changed them.
    ChangedByHand {
        /// What is wrong with them now; none when they are another good credential.
        fault: Option<String>,
    },
    /// The wall clock and the monotonic one parted: a suspend, or somebody set the clock.
    ClockJumped {
        /// By how many seconds; below zero when the wall clock went back.
        seconds: i64,
    },
    /// The configuration was read again.
    ConfigReloaded {
        /// Credentials that are new.
        added: usize,
        /// Credentials whose entry is another.
        changed: usize,
        /// Credentials that are gone.
        removed: usize,
        /// Credentials that were not touched.
        kept: usize,
    },
    /// The configuration is broken; what was there before still counts.
    ConfigRefused {
        /// What is wrong.
        cause: String,
    },
    /// What the directory holds, when it was first looked at.
    Found {
        /// Whose life it is.
        serial: Serial,
        /// When it ends.
        not_after: UnixTime,
    },
    /// What the directory held when it was first looked at has expired.
    FoundExpired {
        /// Whose life it was.
        serial: Serial,
        /// When it ended.
        not_after: UnixTime,
    },
    /// The colour of a credential changed.
    HealthChanged {
        /// To what.
        health: Health,
    },
    /// A hook did its work.
    HookDone {
        /// Which, counted from 0.
        hook: usize,
    },
    /// A hook failed, and is tried again.
    HookFailed {
        /// Which, counted from 0.
        hook: usize,
        /// How often in a row.
        failures: u32,
        /// What went wrong.
        cause: String,
        /// When it is tried again.
        retry: Duration,
    },
    /// The consumer keeps serving another certificate, and the hooks are run again: it may have missed them.
    HooksRepeated {
        /// How often it served another one.
        mismatches: u32,
    },
    /// The consumer could not be looked at.
    ProbeFailed {
        /// How often in a row.
        failures: u32,
        /// What went wrong.
        cause: String,
        /// When it is looked at again.
        retry: Duration,
    },
    /// Trust and window could not be fetched anew; what is there still counts.
    RefreshFailed {
        /// At which step.
        step: Step,
        /// What went wrong.
        cause: String,
    },
    /// The next credential was asked for, verified and delivered.
    Renewed {
        /// Its serial.
        serial: Serial,
        /// When it ends.
        not_after: UnixTime,
        /// Its generation in the directory.
        generation: u64,
    },
    /// There is no next credential, and the last good one is kept.
    RenewalFailed {
        /// At which step.
        step: Step,
        /// How often in a row.
        failures: u32,
        /// What went wrong.
        cause: String,
        /// When it is tried again.
        retry: Duration,
    },
    /// A renewal begins.
    Renewing {
        /// Why now.
        reason: Reason,
    },
    /// A file that the issuer's entry names cannot be used: a renewal would fail of it.
    IssuerUnready {
        /// Which issuer.
        issuer: String,
        /// Which file, and what is wrong with it.
        cause: String,
    },
    /// The consumer presents another certificate than the one that was delivered.
    ServedSerialMismatch {
        /// What was delivered.
        delivered: Serial,
        /// What is served.
        served: Serial,
        /// When it is looked at again.
        retry: Duration,
    },
    /// The rotation succeeded: delivered, every hook done, and, where there is a probe, served.
    Succeeded {
        /// The generation in the directory.
        generation: u64,
        /// Whether a probe proved it.
        proven: bool,
    },
    /// What is remembered beside the credential could not be written or read.
    StateFailed {
        /// What went wrong.
        cause: String,
    },
    /// Other roots or revocation lists were delivered.
    TrustMoved,
    /// The issuer named another window.
    WindowChanged {
        /// When the credential is renewed now.
        renewal: UnixTime,
    },
}

/// The steps of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the steps are these, in this order")]
pub enum Step {
    /// Reading what is there, and making a key.
    Prepare,
    /// Asking the issuer.
    Issue,
    /// Asking whom to believe.
    Trust,
    /// Judging what came back.
    Verify,
    /// Writing it.
    Deliver,
}

impl Step {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Issue => "issue",
            Self::Trust => "trust",
            Self::Verify => "verify",
            Self::Deliver => "deliver",
        }
    }
}

/// Why a renewal begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the reasons are these")]
pub enum Reason {
    /// Somebody asked for it.
    Asked,
    /// The issuer has taken the request, and was to answer later.
    Awaited,
    /// The credential is from a time that the clock, which went back, has not reached.
    Future,
    /// There is no credential that can be used.
    Missing,
    /// The last attempt failed.
    Retry,
    /// Its time has come.
    Scheduled,
}

impl Reason {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Awaited => "awaited",
            Self::Future => "future",
            Self::Missing => "missing",
            Self::Retry => "retry",
            Self::Scheduled => "scheduled",
        }
    }
}

impl Event {
    /// A word for it, as metrics and logs know it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::ChangedByHand { .. } => "changed_by_hand",
            Self::ClockJumped { .. } => "clock_jumped",
            Self::ConfigRefused { .. } => "config_refused",
            Self::ConfigReloaded { .. } => "config_reloaded",
            Self::Found { .. } => "found",
            Self::FoundExpired { .. } => "found_expired",
            Self::HealthChanged { .. } => "health_changed",
            Self::HookDone { .. } => "hook_done",
            Self::HookFailed { .. } => "hook_failed",
            Self::HooksRepeated { .. } => "hooks_repeated",
            Self::IssuerUnready { .. } => "issuer_unready",
            Self::ProbeFailed { .. } => "probe_failed",
            Self::RefreshFailed { .. } => "refresh_failed",
            Self::RenewalFailed { .. } => "renewal_failed",
            Self::Renewed { .. } => "renewed",
            Self::Renewing { .. } => "renewing",
            Self::ServedSerialMismatch { .. } => "served_serial_mismatch",
            Self::StateFailed { .. } => "state_failed",
            Self::Succeeded { .. } => "succeeded",
            Self::TrustMoved => "trust_moved",
            Self::WindowChanged { .. } => "window_changed",
        }
    }
}
