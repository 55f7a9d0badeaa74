//! What follows a switch: hooks in their order, then the probe, each until it succeeds.

use std::time::Duration;

use countermark_identity::Serial;

use super::{Action, Duties, Duty, Memory};
use crate::event::Event;
use crate::schedule::{self, FAR};

/// The hooks and the probe of the generation that counts.
#[derive(Clone, Debug)]
pub(super) struct Aftermath {
    generation: Option<u64>,
    /// Whose certificate it is: a directory that was made anew begins with the first generation, too.
    serial: Option<Serial>,
    /// The hooks, then the probe if there is one.
    tasks: Vec<Task>,
    duties: Duties,
    concluded: bool,
    /// How often in a row the consumer served another certificate than the delivered one, and how often the hooks ran again for it.
    mismatches: u32,
    repeats: u32,
    /// When a hook was last done.
    hooked: Duration,
    /// The hooks that have to do with trust material.
    of_trust: Vec<usize>,
}

/// One of them.
#[derive(Clone, Debug, Default)]
struct Task {
    state: State,
    failures: u32,
    cause: Option<String>,
    served: Option<Serial>,
    /// Once more, as soon as it has ended.
    again: bool,
    /// It is done for other trust material of a generation that it was done for.
    for_trust: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Done,
    Running,
    Waiting(Duration),
}

impl Aftermath {
    /// Where it stood when the process ended.
    pub(super) fn restored(duties: Duties, memory: &Memory) -> Self {
        let mut tasks = vec![Task::default(); duties.hooks + usize::from(duties.probe)];
        for (index, task) in tasks.iter_mut().enumerate() {
            if memory.generation.is_some() && !memory.hooks_done.contains(&index) {
                task.state = State::Waiting(Duration::ZERO);
            }
        }
        Self {
            generation: memory.generation,
            serial: memory.serial.clone(),
            tasks,
            duties,
            concluded: memory.succeeded,
            mismatches: 0,
            repeats: 0,
            hooked: Duration::ZERO,
            of_trust: Vec::new(),
        }
    }

    /// Begins for a certificate and its generation, unless that is where it is already.
    pub(super) fn begin(&mut self, generation: u64, serial: Option<&Serial>, now: Duration) {
        let same = self.generation == Some(generation);
        if same && self.serial.as_ref() == serial {
            return;
        }
        (self.generation, self.serial) = (Some(generation), serial.cloned());
        self.concluded = false;
        (self.mismatches, self.repeats, self.hooked) = (0, 0, now);
        for task in &mut self.tasks {
            // What runs for another certificate of the same number runs once more, as soon as it has ended.
            let again = same && task.state == State::Running;
            let state = if again { State::Running } else { State::Waiting(now) };
            *task = Task { state, again, ..Task::default() };
        }
    }

    /// Does these hooks once more for the generation that counts: its trust material is another.
    pub(super) fn trust_moved(&mut self, hooks: Vec<usize>, now: Duration) {
        self.repeat(&hooks, true, now);
        self.of_trust = hooks;
    }

    /// Does these hooks once more for the generation that counts: what they carry further is another.
    fn repeat(&mut self, hooks: &[usize], for_trust: bool, now: Duration) {
        if self.generation.is_none() {
            return;
        }
        for hook in hooks {
            let Some(task) = self.tasks.get_mut(*hook) else { continue };
            match task.state {
                State::Running => task.again = true,
                State::Done => (task.state, task.for_trust) = (State::Waiting(now), for_trust),
                State::Waiting(_) => {}
            }
        }
    }

    /// The hooks behind a delivery, which carry further what it has brought: if it was for other trust material, those alone that
    /// have to do with that.
    fn behind(&self, delivery: usize) -> impl Iterator<Item = usize> {
        let for_trust = self.tasks.get(delivery).is_some_and(|task| task.for_trust);
        let last = if delivery < self.duties.deliveries { self.hooks() } else { 0 };
        (delivery + 1..last).filter(move |hook| !for_trust || self.of_trust.contains(hook))
    }

    /// There is no generation to do anything for.
    pub(super) fn rest(&mut self) {
        (self.generation, self.serial) = (None, None);
        self.concluded = true;
        self.tasks.fill(Task::default());
    }

    /// Whatever waits, waits no longer.
    pub(super) fn hurry(&mut self, now: Duration) {
        for task in &mut self.tasks {
            if let State::Waiting(due) = &mut task.state {
                *due = now.min(*due);
            }
        }
    }

    /// Starts what is due. One comes after another, but one that fails does not hold up those behind it.
    pub(super) fn start(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Some(generation) = self.generation else { return };
        let hooks = self.hooks();
        for (index, task) in self.tasks.iter_mut().enumerate() {
            if let State::Waiting(due) = task.state
                && due <= now
            {
                task.state = State::Running;
                actions.push(if index < hooks {
                    Action::RunHook { hook: index, generation }
                } else {
                    Action::Probe { generation }
                });
            }
            if task.state == State::Running && task.failures == 0 {
                break;
            }
        }
    }

    pub(super) fn hooked(
        &mut self,
        hook: usize,
        generation: u64,
        result: Result<(), String>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let seed = self.duties.seed;
        let behind: Vec<usize> = self.behind(hook).collect();
        let Some(task) = self.task(hook, generation) else { return };
        match result {
            Ok(()) => {
                let (late, behind_for_trust) = (task.failures > 0, task.for_trust);
                let state = if task.again { State::Waiting(now) } else { State::Done };
                let for_trust = task.again && task.for_trust;
                *task = Task { state, for_trust, ..Task::default() };
                if late {
                    // They were not held up, and found what was there before.
                    self.repeat(&behind, behind_for_trust, now);
                }
                self.hooked = now;
                if late {
                    // What was served before the consumer could be told says nothing about what it was told.
                    self.mismatches = 0;
                }
                actions.push(Action::Tell(Event::HookDone { hook }));
                actions.push(Action::Remember);
            }
            Err(cause) => {
                let (failures, retry) = task.fail(cause.clone(), seed, now);
                actions.push(Action::Tell(Event::HookFailed { hook, failures, cause, retry }));
            }
        }
    }

    pub(super) fn probed(
        &mut self,
        generation: u64,
        result: Result<Serial, String>,
        delivered: Option<&Serial>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let (index, seed) = (self.hooks(), self.duties.seed);
        let mismatch = matches!((&result, delivered), (Ok(served), Some(delivered)) if served != delivered);
        let Some(task) = self.task(index, generation) else { return };
        match (result, delivered) {
            (Ok(served), Some(delivered)) if served == *delivered => *task = Task::default(),
            (Ok(served), Some(delivered)) => {
                let (_, retry) = task.fail("it serves another certificate".to_owned(), seed, now);
                task.served = Some(served.clone());
                let delivered = delivered.clone();
                actions.push(Action::Tell(Event::ServedSerialMismatch { delivered, served, retry }));
            }
            (Ok(_), None) => *task = Task::default(),
            (Err(cause), _) => {
                let (failures, retry) = task.fail(cause.clone(), seed, now);
                actions.push(Action::Tell(Event::ProbeFailed { failures, cause, retry }));
            }
        }
        self.mismatches = if mismatch { self.mismatches.saturating_add(1) } else { 0 };
        if mismatch {
            self.insist(now, actions);
        }
    }

    /// Has the hooks run again once the consumer has kept serving another certificate: what they told it may have been lost, as a
    /// signal is that comes in the midst of a reload. Each time after twice as many probes, and not for ever; nor while it may only be
    /// slow to take up what it was told.
    fn insist(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let hooks: Vec<usize> = (0..self.hooks()).collect();
        // One that waits to be tried again tells the consumer soon enough.
        let told = self.tasks.iter().take(hooks.len()).all(|task| task.state == State::Done);
        let wanted = self.duties.repeats && !hooks.is_empty() && told && self.repeats < MOST_REPEATS;
        if !wanted || self.mismatches < PATIENCE << self.repeats || now < self.hooked + DRAIN {
            return;
        }
        self.repeats += 1;
        self.repeat(&hooks, false, now);
        actions.push(Action::Tell(Event::HooksRepeated { mismatches: self.mismatches }));
    }

    /// The generation whose last task is done, once.
    pub(super) fn conclude(&mut self) -> Option<u64> {
        if self.concluded || !self.is_over() {
            return None;
        }
        self.concluded = true;
        self.generation
    }

    pub(super) fn is_over(&self) -> bool {
        self.tasks.iter().all(|task| task.state == State::Done)
    }

    pub(super) fn is_tried(&self) -> bool {
        self.tasks.iter().all(|task| task.state == State::Done || task.state != State::Running && task.failures > 0)
    }

    pub(super) const fn is_concluded(&self) -> bool {
        self.concluded
    }

    /// Which are done, and are not to be done once more when a delivery before them succeeds at last.
    pub(super) fn done(&self) -> Vec<usize> {
        let late = self.tasks.iter().enumerate().filter(|(_, task)| task.failures > 0);
        let owed: Vec<usize> = late.flat_map(|(index, _)| self.behind(index)).collect();
        let done = self.tasks.iter().enumerate().filter(|(_, task)| task.state == State::Done);
        done.map(|(index, _)| index).filter(|index| !owed.contains(index)).collect()
    }

    /// When the next is due.
    pub(super) fn due(&self) -> Option<Duration> {
        let waiting = |task: &Task| match task.state {
            State::Waiting(due) => Some(due),
            _ => None,
        };
        // What waits behind one that runs for the first time is started when that ends.
        let first = self.tasks.iter().position(|task| task.state == State::Running && task.failures == 0);
        self.tasks.iter().take(first.unwrap_or(usize::MAX)).filter_map(waiting).min()
    }

    pub(super) fn duties(&self) -> impl Iterator<Item = Duty<'_>> {
        let hooks = self.hooks();
        self.tasks.iter().enumerate().map(move |(index, task)| Duty {
            hook: (index < hooks).then_some(index),
            done: task.state == State::Done,
            failures: task.failures,
            cause: task.cause.as_deref(),
            served: task.served.as_ref(),
            repeats: if index < hooks { 0 } else { self.repeats },
        })
    }

    fn hooks(&self) -> usize {
        self.tasks.len().saturating_sub(usize::from(self.duties.probe))
    }

    /// The running task of this index; none when it ran for a generation that no longer counts.
    fn task(&mut self, index: usize, generation: u64) -> Option<&mut Task> {
        if self.generation != Some(generation) {
            return None;
        }
        self.tasks.get_mut(index).filter(|task| task.state == State::Running)
    }
}

impl Task {
    fn fail(&mut self, cause: String, seed: u64, now: Duration) -> (u32, Duration) {
        self.failures = self.failures.saturating_add(1);
        let retry = schedule::retry_after(self.failures, seed, FAR);
        self.state = State::Waiting(now + retry);
        self.cause = Some(cause);
        (self.served, self.again) = (None, false);
        (self.failures, retry)
    }
}

/// Probes in a row that find another certificate before the hooks run again, for the first time.
const PATIENCE: u32 = 3;
/// After 3, 6, 12, 24 and 48 of them, the last of which come every two and a half minutes.
pub(crate) const MOST_REPEATS: u32 = 5;
/// And so long after the hooks: a consumer may drain what is open first.
const DRAIN: Duration = Duration::from_secs(30);
