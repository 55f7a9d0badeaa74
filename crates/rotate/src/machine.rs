//! The life of one credential as a state machine: inputs in, actions out; no I/O and no clock.

mod aftermath;
mod words;

use std::time::Duration;

use countermark_identity::{Serial, UnixTime};

use self::aftermath::Aftermath;
pub(crate) use self::aftermath::MOST_REPEATS;
pub use self::words::{Action, Duties, Duty, Input, Memory, Moment, TrustMark};
use crate::event::{Event, Reason, Step};
use crate::schedule::{self, Health, Life, Roll, Window};

/// The state of one credential.
#[derive(Clone, Debug)]
pub struct Machine {
    duties: Duties,
    life: Option<Life>,
    generation: Option<u64>,
    trust: Option<TrustMark>,
    roll: Roll,
    window: Option<Window>,
    window_due: Option<Duration>,
    renewing: bool,
    asked: bool,
    failures: u32,
    cause: Option<(Step, String)>,
    retry_at: Option<Duration>,
    accepted: Option<Accepted>,
    last_success: Option<UnixTime>,
    aftermath: Aftermath,
    health: Option<Health>,
}

/// A request that the issuer has taken and will answer later.
#[derive(Clone, Debug)]
struct Accepted {
    /// What it follows.
    serial: Option<Serial>,
    /// When it is sent again, by the wall clock: that is what outlives a process.
    not_before: UnixTime,
    /// How often it was sent in vain by this process.
    times: u32,
}

impl Machine {
    /// A machine that knows nothing yet: it acts when it is first told what was found.
    #[must_use]
    pub fn new(duties: Duties, memory: &Memory) -> Self {
        Self {
            duties,
            life: None,
            generation: None,
            trust: memory.trust,
            roll: memory.roll.unwrap_or(Roll::from_bits(0)),
            window: None,
            window_due: None,
            renewing: false,
            asked: false,
            failures: memory.failures,
            cause: None,
            retry_at: None,
            accepted: memory.accepted.map(|not_before| Accepted {
                serial: memory.serial.clone(),
                not_before,
                times: 0,
            }),
            last_success: memory.last_success,
            aftermath: Aftermath::restored(duties, memory),
            health: None,
        }
    }

    /// Takes one input and says what is to be done now.
    pub fn advance(&mut self, input: Input, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Woke => {}
            Input::Asked => self.asked = true,
            Input::Replan => {
                self.retry_at = None;
                self.window_due = self.window_due.map(|_| now.mono);
                self.aftermath.hurry(now.mono);
            }
            Input::Found { life, generation, fault } => self.found(life, generation, fault, now, &mut actions),
            Input::Delivered { life, generation, trust } => {
                // Whatever else the hooks have seen, they see this now.
                self.trust = trust;
                self.delivered(life, generation, now, &mut actions);
            }
            Input::Failed { step, cause, after } => self.failed(step, cause, after, now, &mut actions),
            Input::Accepted { cause, after } => self.taken(cause, after, now, &mut actions),
            Input::Hooked { hook, generation, result } => {
                self.aftermath.hooked(hook, generation, result, now.mono, &mut actions);
                self.conclude(now, &mut actions);
            }
            Input::Probed { generation, result } => {
                let delivered = self.life.as_ref().map(|life| &life.serial);
                self.aftermath.probed(generation, result, delivered, now.mono, &mut actions);
                self.conclude(now, &mut actions);
            }
            Input::TrustMoved { trust, hooks } => {
                self.trust = Some(trust);
                self.aftermath.trust_moved(hooks, now.mono);
                actions.push(Action::Remember);
            }
            Input::Windowed { window, again } => self.windowed(window, again, now, &mut actions),
        }
        self.plan(now, &mut actions);
        actions
    }

    /// When it wants to be woken: by the wall clock and by the monotonic one, whichever comes first.
    #[must_use]
    pub fn wake(&self, now: Moment) -> (Option<UnixTime>, Option<Duration>) {
        let renewal = if self.renewing || self.retry_at.is_some() { None } else { self.renewal() };
        let colour = self.life.as_ref().and_then(|life| Health::next_change(life, now.wall));
        let retry = if self.renewing { None } else { self.retry_at };
        let window = if self.life.is_some() { self.window_due } else { None };
        let mono = [retry, window, self.aftermath.due()].into_iter().flatten().min();
        ([renewal, colour].into_iter().flatten().min(), mono)
    }

    /// When the credential is renewed; none when there is none, which means now.
    #[must_use]
    pub fn renewal(&self) -> Option<UnixTime> {
        self.life.as_ref().map(|life| schedule::renewal(life, self.roll, self.window))
    }

    /// The life of the credential that is delivered.
    #[must_use]
    pub const fn life(&self) -> Option<&Life> {
        self.life.as_ref()
    }

    /// Its generation.
    #[must_use]
    pub const fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// The trust material that the hooks have seen or are to see.
    #[must_use]
    pub const fn trust(&self) -> Option<TrustMark> {
        self.trust
    }

    /// What the issuer said about when.
    #[must_use]
    pub const fn window(&self) -> Option<Window> {
        self.window
    }

    /// How many renewals failed in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Why the last one failed.
    #[must_use]
    pub fn cause(&self) -> Option<(Step, &str)> {
        self.cause.as_ref().map(|(step, cause)| (*step, cause.as_str()))
    }

    /// When a rotation last succeeded.
    #[must_use]
    pub const fn last_success(&self) -> Option<UnixTime> {
        self.last_success
    }

    /// Whether a renewal is under way.
    #[must_use]
    pub const fn is_renewing(&self) -> bool {
        self.renewing
    }

    /// When the next attempt is, after one that failed.
    #[must_use]
    pub const fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// Whether the issuer has taken the request and will answer later.
    #[must_use]
    pub const fn is_awaiting(&self) -> bool {
        self.accepted.is_some()
    }

    /// Whether the last switch was taken all the way: hooks and probe.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.renewing && self.aftermath.is_over()
    }

    /// Whether every hook and the probe were tried at least once since the last switch.
    #[must_use]
    pub fn is_tried(&self) -> bool {
        !self.renewing && self.aftermath.is_tried()
    }

    /// What each hook, and then the probe, is at.
    pub fn duties(&self) -> impl Iterator<Item = Duty<'_>> {
        self.aftermath.duties()
    }

    /// The colour of the credential.
    #[must_use]
    pub fn health(&self, now: UnixTime) -> Health {
        Health::of(self.life.as_ref(), now)
    }

    /// What is to survive the process.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory {
            serial: self.life.as_ref().map(|life| life.serial.clone()),
            issued: self.life.as_ref().map(|life| life.issued),
            roll: self.life.as_ref().map(|_| self.roll),
            last_success: self.last_success,
            failures: self.failures,
            accepted: self.accepted.as_ref().map(|accepted| accepted.not_before),
            generation: self.generation,
            trust: self.trust,
            hooks_done: self.aftermath.done(),
            succeeded: self.aftermath.is_concluded(),
        }
    }

    fn found(
        &mut self,
        life: Option<Life>,
        generation: Option<u64>,
        fault: Option<String>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let first = self.health.is_none();
        let other = self.life.as_ref().map(|life| &life.serial) != life.as_ref().map(|life| &life.serial)
            || self.generation != generation;
        if !first && !other {
            return;
        }
        let event = match &life {
            Some(life) if first && life.not_after < now.wall => {
                Event::FoundExpired { serial: life.serial.clone(), not_after: life.not_after }
            }
            Some(life) if first => Event::Found { serial: life.serial.clone(), not_after: life.not_after },
            _ => Event::ChangedByHand { fault },
        };
        if !first || life.is_some() {
            actions.push(Action::Tell(event));
        }
        self.adopt(life, generation, now);
        if !first {
            self.retry_at = None;
        } else if let Some(accepted) = &self.accepted {
            // The process ended while it waited.
            let left = self.limited(accepted.not_before.duration_since(now.wall), now);
            self.retry_at = Some(now.mono + left);
        }
        actions.push(Action::Remember);
    }

    /// Takes another credential for the delivered one.
    fn adopt(&mut self, life: Option<Life>, generation: Option<u64>, now: Moment) {
        if let Some(life) = &life {
            self.roll = Roll::of(&life.serial);
        }
        let serial = life.as_ref().map(|life| &life.serial);
        self.accepted.take_if(|accepted| accepted.serial.as_ref() != serial);
        self.window = None;
        let first_look = now.mono + schedule::first_look(self.duties.seed);
        self.window_due = (self.duties.refresh && life.is_some()).then_some(first_look);
        self.life = life;
        self.generation = generation;
        match self.generation {
            Some(generation) => self.aftermath.begin(generation, self.life.as_ref().map(|life| &life.serial), now.mono),
            None => self.aftermath.rest(),
        }
    }

    fn delivered(&mut self, life: Life, generation: u64, now: Moment, actions: &mut Vec<Action>) {
        self.renewing = false;
        self.asked = false;
        (self.failures, self.cause, self.retry_at, self.accepted) = (0, None, None, None);
        let (serial, not_after) = (life.serial.clone(), life.not_after);
        actions.push(Action::Tell(Event::Renewed { serial, not_after, generation }));
        self.adopt(Some(life), Some(generation), now);
        self.conclude(now, actions);
        actions.push(Action::Remember);
    }

    fn failed(&mut self, step: Step, cause: String, after: Option<Duration>, now: Moment, actions: &mut Vec<Action>) {
        (self.renewing, self.asked, self.accepted) = (false, false, None);
        self.failures = self.failures.saturating_add(1);
        let retry = self.retry(self.failures, after, now);
        self.retry_at = Some(now.mono + retry);
        self.cause = Some((step, cause.clone()));
        actions.push(Action::Tell(Event::RenewalFailed { step, failures: self.failures, cause, retry }));
        actions.push(Action::Remember);
    }

    /// The issuer has the request. That is no failure, until two renewals would have been missed.
    fn taken(&mut self, cause: String, after: Option<Duration>, now: Moment, actions: &mut Vec<Action>) {
        let times = self.accepted.as_ref().map_or(0, |accepted| accepted.times).saturating_add(1);
        let retry = self.retry(times, after, now);
        if self.health(now.wall) == Health::Green {
            (self.renewing, self.asked) = (false, false);
            (self.failures, self.cause) = (0, None);
            actions.push(Action::Tell(Event::AwaitingApproval { retry }));
            actions.push(Action::Remember);
        } else {
            self.failed(Step::Issue, cause, after, now, actions);
        }
        let retry_at = *self.retry_at.get_or_insert(now.mono + retry);
        let not_before = now.wall.saturating_add(retry_at.saturating_sub(now.mono));
        let serial = self.life.as_ref().map(|life| life.serial.clone());
        self.accepted = Some(Accepted { serial, not_before, times });
    }

    /// How long to wait after so many attempts in a row, and as long as the issuer asks, within bounds.
    fn retry(&self, times: u32, after: Option<Duration>, now: Moment) -> Duration {
        let retry = schedule::retry_after(times, self.duties.seed, self.remaining(now));
        retry.max(after.map_or(Duration::ZERO, |asked| self.limited(asked, now)))
    }

    fn limited(&self, asked: Duration, now: Moment) -> Duration {
        schedule::asked_for(asked, self.duties.seed, self.remaining(now))
    }

    fn remaining(&self, now: Moment) -> Duration {
        self.life.as_ref().map_or(Duration::from_secs(86_400), |life| life.remaining(now.wall))
    }

    fn windowed(&mut self, window: Option<Window>, again: Duration, now: Moment, actions: &mut Vec<Action>) {
        let before = self.renewal();
        self.window_due = Some(now.mono + schedule::jittered(again.clamp(SHORTEST_ASK, LONGEST_ASK), self.duties.seed));
        // An issuer in a hurry names ten minutes from now, each time it is asked: the first of them counts, or it would recede for ever.
        if let Some(window) = window.filter(|window| self.window.is_none_or(|known| window.end < known.end)) {
            self.window = Some(window);
        }
        if let Some(renewal) = self.renewal().filter(|renewal| Some(*renewal) != before) {
            actions.push(Action::Tell(Event::WindowChanged { renewal }));
        }
    }

    /// Says that the rotation succeeded, once nothing of it is left.
    fn conclude(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if let Some(generation) = self.aftermath.conclude() {
            self.last_success = Some(now.wall);
            actions.push(Action::Tell(Event::Succeeded { generation, proven: self.duties.probe }));
            actions.push(Action::Remember);
        }
    }

    fn plan(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let health = self.health(now.wall);
        if self.health != Some(health) {
            if self.health.is_some() || health != Health::Green {
                actions.push(Action::Tell(Event::HealthChanged { health }));
            }
            self.health = Some(health);
        }
        if let Some(reason) = self.reason(now).filter(|_| !self.renewing) {
            self.renewing = true;
            self.retry_at = None;
            actions.push(Action::Tell(Event::Renewing { reason }));
            actions.push(Action::Renew);
        }
        self.aftermath.start(now.mono, actions);
        if self.life.is_some() && self.window_due.is_some_and(|due| due <= now.mono) {
            // Until the answer sets the next time.
            self.window_due = None;
            actions.push(Action::Refresh);
        }
    }

    fn reason(&self, now: Moment) -> Option<Reason> {
        if self.asked {
            return Some(Reason::Asked);
        }
        if let Some(retry_at) = self.retry_at {
            let reason = if self.accepted.is_some() { Reason::Awaited } else { Reason::Retry };
            return (retry_at <= now.mono).then_some(reason);
        }
        if self.life.as_ref().is_some_and(|life| life.is_of_the_future(now.wall)) {
            // It was issued by a clock that has been set back since: nobody believes it before that time comes again.
            return Some(Reason::Future);
        }
        match self.renewal() {
            None => Some(Reason::Missing),
            Some(renewal) => (renewal <= now.wall).then_some(Reason::Scheduled),
        }
    }
}

const SHORTEST_ASK: Duration = Duration::from_secs(60);
const LONGEST_ASK: Duration = Duration::from_secs(6 * 3600);

#[cfg(test)]
mod tests;
