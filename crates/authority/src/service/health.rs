//! What is wrong with an authority beside what its gauges show: it turns readiness red, and mends by itself.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What of an authority can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Directory,
    Enrolment,
    Lists,
    OwnCertificate,
    Signing,
}

/// What is broken now, and when the upkeep was last seen.
#[derive(Debug)]
pub(crate) struct Troubles {
    of: Mutex<BTreeMap<Part, String>>,
    begun: Instant,
    seen: AtomicU64,
}

impl Troubles {
    pub(crate) fn new() -> Self {
        Self { of: Mutex::default(), begun: Instant::now(), seen: AtomicU64::new(0) }
    }

    /// Notes how it went; what is new is logged, once.
    pub(crate) fn note<T, E: Display>(&self, part: Part, outcome: &Result<T, E>) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(_) => {
                if of.remove(&part).is_some() {
                    tracing::info!(?part, "it is well again");
                }
            }
            Err(error) => {
                let error = error.to_string();
                if of.get(&part) != Some(&error) {
                    tracing::error!(?part, %error, "the authority is not ready; what was good before still counts");
                }
                of.insert(part, error);
            }
        }
    }

    /// The upkeep goes on.
    pub(crate) fn beat(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.seen.store(now, Ordering::Relaxed);
    }

    /// What is wrong, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<String> = of.values().cloned().collect();
        let silent = self.begun.elapsed().saturating_sub(Duration::from_millis(self.seen.load(Ordering::Relaxed)));
        if silent > SILENCE {
            lines.push(format!("the upkeep has not been seen for {} s; restart", silent.as_secs()));
        }
        lines
    }
}

/// Lines of the log about strangers: so many, and then how many there would have been.
#[derive(Debug, Default)]
pub(crate) struct Hush {
    said: Mutex<(Option<Instant>, u64)>,
}

impl Hush {
    /// Whether to say it, and how many were not said before.
    pub(crate) fn speak(&self) -> Option<u64> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = &mut *said;
        let now = Instant::now();
        let mut unsaid = 0;
        if since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            unsaid = count.saturating_sub(LINES);
            (*since, *count) = (Some(now), 0);
        }
        *count += 1;
        (*count <= LINES).then_some(unsaid)
    }
}

/// How long the upkeep may take for one look.
const SILENCE: Duration = Duration::from_secs(30);
const LINES: u64 = 10;
const WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_lines_in_ten_seconds_and_then_how_many_there_were() {
        let hush = Hush::default();
        let said: Vec<_> = (0..100).filter_map(|_| hush.speak()).collect();
        assert_eq!(said, [0; 10]);
        tokio::time::advance(WINDOW).await;
        assert_eq!(hush.speak(), Some(90));
        assert_eq!(hush.speak(), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upkeep_that_is_not_seen_shows_and_what_is_mended_does_not() {
        let troubles = Troubles::new();
        troubles.note(Part::Lists, &Err::<(), _>("broken"));
        assert_eq!(troubles.lines(), ["broken"]);
        troubles.note(Part::Lists, &Ok::<_, String>(()));
        assert!(troubles.lines().is_empty());
        tokio::time::advance(SILENCE + Duration::from_secs(1)).await;
        assert!(troubles.lines()[0].contains("not been seen for 31 s"), "{:?}", troubles.lines());
        troubles.beat();
        assert!(troubles.lines().is_empty());
    }
}
