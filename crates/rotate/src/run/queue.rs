//! Who is woken when: one ordered set, however many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Wakes by monotonic time, and of those by rank.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: BTreeSet<(Duration, usize, u64)>,
    of: BTreeMap<u64, (Duration, usize)>,
}

impl Queue {
    /// Wakes `id` at `due`, and at no other time.
    pub(super) fn set(&mut self, id: u64, due: Option<Duration>, rank: usize) {
        if let Some((due, rank)) = self.of.remove(&id) {
            self.order.remove(&(due, rank, id));
        }
        if let Some(due) = due {
            self.order.insert((due, rank, id));
            self.of.insert(id, (due, rank));
        }
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(due, _, _)| *due)
    }

    /// Takes the next that is due at `now`.
    pub(super) fn pop(&mut self, now: Duration) -> Option<u64> {
        let (due, rank, id) = *self.order.first().filter(|(due, _, _)| *due <= now)?;
        self.order.remove(&(due, rank, id));
        self.of.remove(&id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_first_and_of_those_the_lowest_rank() {
        let mut queue = Queue::default();
        let second = Duration::from_secs;
        queue.set(1, Some(second(5)), 1);
        queue.set(2, Some(second(5)), 0);
        queue.set(3, Some(second(1)), 9);
        queue.set(4, Some(second(9)), 0);
        queue.set(4, Some(second(2)), 0);
        queue.set(3, None, 9);
        assert_eq!(queue.next(), Some(second(2)));
        assert_eq!(queue.pop(second(1)), None);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(second(9))).collect();
        assert_eq!(order, [4, 2, 1]);
        assert_eq!(queue.next(), None);
    }
}
