//! When a credential is renewed: life, serial, now and the server's window in, a time out.
//!
//! Nothing here reads a clock or rolls a die: the share by which a renewal comes earlier is drawn from the serial, so that it is
//! rolled once for each certificate and 10,000 of them spread over the whole tenth of their lives.

use std::time::Duration;

use aws_lc_rs::digest;
use countermark_identity::{Leaf, Serial, UnixTime};

/// How long a certificate lives, from its issuance on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the input of a pure function, which tests write out")]
pub struct Life {
    /// Whose life.
    pub serial: Serial,
    /// When it was issued, which is not its notBefore: issuers backdate.
    pub issued: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
}

impl Life {
    /// The life of a leaf whose issuance was seen, or is reckoned back from a notBefore that lies up to a minute earlier.
    #[must_use]
    pub fn of(leaf: &Leaf, issued: Option<UnixTime>) -> Self {
        let whole = leaf.not_after().duration_since(leaf.not_before());
        // A backdate is 60 s, but at most half of the life that it comes before, thus a third of both.
        let reckoned = leaf.not_before().saturating_add(BACKDATE.min(whole / 3));
        let seen = issued.filter(|issued| (leaf.not_before()..leaf.not_after()).contains(issued));
        Self { serial: leaf.serial().clone(), issued: seen.unwrap_or(reckoned), not_after: leaf.not_after() }
    }

    /// How long it is.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.not_after.duration_since(self.issued)
    }

    /// What is left of it.
    #[must_use]
    pub const fn remaining(&self, now: UnixTime) -> Duration {
        self.not_after.duration_since(now)
    }

    /// Whether it can be used now: neither over, nor from a future that a wrong clock has not reached.
    #[must_use]
    pub fn is_usable(&self, now: UnixTime) -> bool {
        now <= self.not_after && !self.is_of_the_future(now)
    }

    /// Whether it was issued at a time that is still to come.
    #[must_use]
    pub fn is_of_the_future(&self, now: UnixTime) -> bool {
        now.saturating_add(BACKDATE) < self.issued
    }
}

/// The share of a tenth of its life by which a certificate is renewed early: one for each serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roll(u32);

impl Roll {
    /// The roll of this serial, always the same.
    #[must_use]
    pub fn of(serial: &Serial) -> Self {
        Self((seed(serial.as_bytes()) >> 32) as u32)
    }

    /// As it is stored.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// As it was stored.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    fn of_duration(self, whole: Duration) -> Duration {
        let millis = whole.as_millis().saturating_mul(u128::from(self.0)) >> 32;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

/// When the issuer would like to be asked ([RFC 9773 §4.2](https://www.rfc-editor.org/rfc/rfc9773#section-4.2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is a pair")]
pub struct Window {
    /// From when on.
    pub start: UnixTime,
    /// Until when.
    pub end: UnixTime,
}

/// When a credential is renewed.
///
/// At 50 % of a life of up to 24 hours and at 66 % of a longer one, up to 10 % earlier by its roll; the issuer's window moves that
/// to its own point of the same roll, never beyond the 50 or 66 %. A window from before the certificate was issued is none, and
/// nothing is renewed within the first tenth of its life.
#[must_use]
pub fn renewal(life: &Life, roll: Roll, window: Option<Window>) -> UnixTime {
    let length = life.length();
    let share = if length <= DAY { length / 2 } else { length.mul_f64(LONG_SHARE) };
    let latest = life.issued.saturating_add(share);
    let chosen = match window.filter(|window| window.end > life.issued && window.start <= window.end) {
        Some(window) => {
            let width = window.end.duration_since(window.start);
            window.end.saturating_sub(roll.of_duration(width))
        }
        None => latest.saturating_sub(roll.of_duration(length / 10)),
    };
    chosen.min(latest).max(life.issued.saturating_add(length / 10))
}

/// How far a life has come, as probes and alerts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "the three colours of the table")]
pub enum Health {
    /// Less than 75 % are over.
    Green,
    /// 75 % are over: two renewals were missed.
    Amber,
    /// 90 % are over, or there is nothing that can be used.
    Red,
}

impl Health {
    /// The health of a life at this time; of none, red.
    #[must_use]
    pub fn of(life: Option<&Life>, now: UnixTime) -> Self {
        let Some(life) = life.filter(|life| life.is_usable(now)) else { return Self::Red };
        let (over, length) = (now.duration_since(life.issued), life.length());
        if over * 10 >= length * 9 {
            Self::Red
        } else if over * 4 >= length * 3 {
            Self::Amber
        } else {
            Self::Green
        }
    }

    /// When a life next changes its colour.
    #[must_use]
    pub fn next_change(life: &Life, now: UnixTime) -> Option<UnixTime> {
        let length = life.length();
        let ends = life.not_after.saturating_add(Duration::from_secs(1));
        [life.issued.saturating_add(ceil(length * 3 / 4)), life.issued.saturating_add(ceil(length * 9 / 10)), ends]
            .into_iter()
            .find(|change| *change > now)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
        }
    }
}

/// How often the wall clock is compared with the monotonic one for a life of this length.
#[must_use]
pub fn check_every(length: Duration) -> Duration {
    (length / 100).clamp(SHORTEST_CHECK, LONGEST_CHECK)
}

/// How long to wait after the `failures`th failure in a row: 1 s, doubled, ±20 %, up to the smaller of 150 s and a twentieth of
/// what is left. What has expired is tried every 150 s: there is nothing left to save by haste, and a herd to fear.
#[must_use]
pub fn retry_after(failures: u32, seed: u64, remaining: Duration) -> Duration {
    let doubled = Duration::from_secs(1 << failures.saturating_sub(1).min(10));
    let limit = if remaining.is_zero() { LONGEST_RETRY } else { LONGEST_RETRY.min(remaining / 20) };
    let nominal = doubled.min(limit).max(Duration::from_secs(1));
    // Of 800 to 1200 thousandths: which, the seed and the count of failures say.
    let thousandths = 800 + mix(seed ^ u64::from(failures)) % 401;
    nominal * u32::try_from(thousandths).unwrap_or(1000) / 1000
}

/// How long an issuer that asks for it is left alone: as it asks, up to a fifth longer so that not all come back at once, but no
/// more than an hour, and no more than a quarter of what is left of a life.
#[must_use]
pub fn asked_for(asked: Duration, seed: u64, remaining: Duration) -> Duration {
    let limit = if remaining.is_zero() { LONGEST_ASKED } else { LONGEST_ASKED.min(remaining / 4) };
    let spread =
        asked.min(LONGEST_ASKED) * u32::try_from(1000 + mix(seed.rotate_left(31)) % 201).unwrap_or(1000) / 1000;
    spread.min(limit)
}

/// A span of up to a minute, by which those that begin together part.
#[must_use]
pub fn first_look(seed: u64) -> Duration {
    Duration::from_millis(mix(seed) % 60_000)
}

/// `nominal` give or take a tenth, always the same for a seed.
#[must_use]
pub fn jittered(nominal: Duration, seed: u64) -> Duration {
    let thousandths = 900 + mix(seed.rotate_left(17)) % 201;
    nominal * u32::try_from(thousandths).unwrap_or(1000) / 1000
}

/// A number drawn from a name or a serial, by which credentials tell their retries apart.
#[must_use]
pub fn seed(bytes: &[u8]) -> u64 {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// What remains to what has no end that it must come before.
pub(crate) const FAR: Duration = Duration::from_secs(365 * 86_400);

/// SplitMix64's last step: one bit of difference changes half of all.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

const fn ceil(duration: Duration) -> Duration {
    if duration.subsec_nanos() == 0 { duration } else { Duration::from_secs(duration.as_secs() + 1) }
}

const BACKDATE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const LONG_SHARE: f64 = 0.66;
const LONGEST_CHECK: Duration = Duration::from_secs(30);
/// Lives of some seconds are for demonstrations; their clocks need no closer watch.
const SHORTEST_CHECK: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(150);
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
