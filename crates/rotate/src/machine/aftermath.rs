//! What follows a switch: hooks in their order, then the probe, each until it succeeds.

use std::time::Duration;

use countermark_identity::Serial;

use super::{Action, Duties, Duty, Memory};
use crate::event::Event;
use crate::schedule;

/// The hooks and the probe of the generation that counts.
#[derive(Clone, Debug)]
pub(super) struct Aftermath {
    generation: Option<u64>,
    /// The hooks, then the probe if there is one.
    tasks: Vec<Task>,
    probe: bool,
    concluded: bool,
    /// How often the consumer served another certificate than the delivered one, and how often the hooks ran again for it.
    mismatches: u32,
    repeats: u32,
    /// Tells the retries from those of others.
    seed: u64,
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
            tasks,
            probe: duties.probe,
            concluded: memory.succeeded,
            mismatches: 0,
            repeats: 0,
            seed: duties.seed,
        }
    }

    /// Begins for a generation, unless that is where it is already.
    pub(super) fn begin(&mut self, generation: u64, now: Duration) {
        if self.generation == Some(generation) {
            return;
        }
        self.generation = Some(generation);
        self.concluded = false;
        (self.mismatches, self.repeats) = (0, 0);
        for task in &mut self.tasks {
            *task = Task { state: State::Waiting(now), ..Task::default() };
        }
    }

    /// Does these hooks once more for the generation that counts: what they carry further is another.
    pub(super) fn repeat(&mut self, hooks: &[usize], now: Duration) {
        if self.generation.is_none() {
            return;
        }
        for hook in hooks {
            let Some(task) = self.tasks.get_mut(*hook) else { continue };
            match task.state {
                State::Running => task.again = true,
                State::Done => task.state = State::Waiting(now),
                State::Waiting(_) => {}
            }
        }
    }

    /// There is no generation to do anything for.
    pub(super) fn rest(&mut self) {
        self.generation = None;
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
        let seed = self.seed;
        let Some(task) = self.task(hook, generation) else { return };
        match result {
            Ok(()) => {
                let state = if task.again { State::Waiting(now) } else { State::Done };
                *task = Task { state, ..Task::default() };
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
        let (index, seed) = (self.hooks(), self.seed);
        let Some(task) = self.task(index, generation) else { return };
        match (result, delivered) {
            (Ok(served), Some(delivered)) if served == *delivered => *task = Task::default(),
            (Ok(served), Some(delivered)) => {
                let (_, retry) = task.fail("it serves another certificate".to_owned(), seed, now);
                task.served = Some(served.clone());
                let delivered = delivered.clone();
                actions.push(Action::Tell(Event::ServedSerialMismatch { delivered, served, retry }));
                self.insist(now, actions);
            }
            (Ok(_), None) => *task = Task::default(),
            (Err(cause), _) => {
                let (failures, retry) = task.fail(cause.clone(), seed, now);
                actions.push(Action::Tell(Event::ProbeFailed { failures, cause, retry }));
            }
        }
    }

    /// Has the hooks run again once the consumer has kept serving another certificate: what they told it may have been lost, as a
    /// signal is that comes in the midst of a reload. Each time after twice as many probes, and not for ever.
    fn insist(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.mismatches = self.mismatches.saturating_add(1);
        let hooks: Vec<usize> = (0..self.hooks()).collect();
        if hooks.is_empty() || self.repeats >= MOST_REPEATS || self.mismatches != PATIENCE << self.repeats {
            return;
        }
        self.repeats += 1;
        self.repeat(&hooks, now);
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

    /// Which are done.
    pub(super) fn done(&self) -> Vec<usize> {
        let done = self.tasks.iter().enumerate().filter(|(_, task)| task.state == State::Done);
        done.map(|(index, _)| index).collect()
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
        self.tasks.len().saturating_sub(usize::from(self.probe))
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

/// Probes that find another certificate before the hooks run again, for the first time.
const PATIENCE: u32 = 3;
/// After 3, 6, 12, 24 and 48 of them, the last of which come every two and a half minutes.
pub(crate) const MOST_REPEATS: u32 = 5;
/// Hooks and probes have no end that they must come before.
const FAR: Duration = Duration::from_secs(365 * 86_400);
