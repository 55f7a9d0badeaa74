//! What the machine is told, what it says, and what it remembers.

use std::time::Duration;

use countermark_identity::{Serial, UnixTime};

use crate::event::{Event, Step};
use crate::schedule::{Life, Roll, Window};

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is a pair")]
pub struct Moment {
    /// The wall clock, by which certificates live.
    pub wall: UnixTime,
    /// Since some beginning, by which waits are measured: it neither jumps nor counts a suspend.
    pub mono: Duration,
}

/// Which trust material stands beside a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the state file is written from it and read into it")]
pub struct TrustMark {
    /// Its version.
    pub version: u64,
    /// What tells its files from others of that version: a hand that edits them makes no other one.
    pub files: u64,
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever drives the machine knows all of it")]
pub enum Input {
    /// Its time may have come.
    Woke,
    /// Somebody asks for a renewal now.
    Asked,
    /// The clock jumped: whatever was planned by it is planned anew.
    Replan,
    /// What the directory holds, when it was looked at.
    Found {
        /// The credential there; none when there is none that is good.
        life: Option<Life>,
        /// Its generation.
        generation: Option<u64>,
        /// What is wrong with it.
        fault: Option<String>,
    },
    /// A renewal ended with the next credential delivered.
    Delivered {
        /// Its life.
        life: Life,
        /// Its generation.
        generation: u64,
        /// The trust material beside it.
        trust: Option<TrustMark>,
    },
    /// A renewal failed.
    Failed {
        /// At which step.
        step: Step,
        /// Why.
        cause: String,
        /// How long the issuer asks to be left alone.
        after: Option<Duration>,
    },
    /// A renewal ended with the request taken, and an answer that comes later.
    Accepted {
        /// In words.
        cause: String,
        /// How long the issuer asks to be left alone.
        after: Option<Duration>,
    },
    /// A hook ended.
    Hooked {
        /// Which.
        hook: usize,
        /// For which generation it ran.
        generation: u64,
        /// How.
        result: Result<(), String>,
    },
    /// A probe ended.
    Probed {
        /// For which generation it ran.
        generation: u64,
        /// What is served, or why that is not known.
        result: Result<Serial, String>,
    },
    /// Other trust material was delivered, and these hooks have to do with it.
    TrustMoved {
        /// Which it is.
        trust: TrustMark,
        /// Which.
        hooks: Vec<usize>,
    },
    /// The issuer was asked for its window.
    Windowed {
        /// The window; none where it names none.
        window: Option<Window>,
        /// When to ask again.
        again: Duration,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever drives the machine does all of it")]
pub enum Action {
    /// Make, have signed, judge and deliver the next credential.
    Renew,
    /// Run a hook for this generation.
    RunHook {
        /// Which.
        hook: usize,
        /// For which generation.
        generation: u64,
    },
    /// Look at what the consumer serves.
    Probe {
        /// For which generation.
        generation: u64,
    },
    /// Ask the issuer for its window and whom to believe, and deliver the latter.
    Refresh,
    /// Say what happened.
    Tell(Event),
    /// Write down what is to be remembered.
    Remember,
}

/// What survives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the state file is written from it and read into it")]
pub struct Memory {
    /// Whose life this is about.
    pub serial: Option<Serial>,
    /// When it was issued.
    pub issued: Option<UnixTime>,
    /// Its roll.
    pub roll: Option<Roll>,
    /// When a rotation last succeeded.
    pub last_success: Option<UnixTime>,
    /// Renewals that failed in a row.
    pub failures: u32,
    /// When a request is sent again that the issuer has taken and will answer later.
    pub accepted: Option<UnixTime>,
    /// The generation that the following is about.
    pub generation: Option<u64>,
    /// The trust material that the following is about.
    pub trust: Option<TrustMark>,
    /// Which hooks are done for it.
    pub hooks_done: Vec<usize>,
    /// Whether the rotation to it succeeded.
    pub succeeded: bool,
}

/// What the machine of a credential is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct Duties {
    /// Tells its retries from those of others.
    pub seed: u64,
    /// How many hooks there are.
    pub hooks: usize,
    /// How many of them, the first, deliver what those behind them carry further.
    pub deliveries: usize,
    /// Whether there is a probe.
    pub probe: bool,
    /// Whether the hooks run again while the probe keeps finding another certificate.
    pub repeats: bool,
    /// Whether trust and window are asked for from time to time.
    pub refresh: bool,
}

/// A hook or the probe, as status shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "status prints all of it")]
pub struct Duty<'a> {
    /// Which hook; none is the probe.
    pub hook: Option<usize>,
    /// Whether it is done for the generation that counts.
    pub done: bool,
    /// How often it failed in a row.
    pub failures: u32,
    /// Why, the last time.
    pub cause: Option<&'a str>,
    /// What the consumer served, where it was not what was delivered.
    pub served: Option<&'a Serial>,
    /// How often the hooks were run again for that.
    pub repeats: u32,
}
