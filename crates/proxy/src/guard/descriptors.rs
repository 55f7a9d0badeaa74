//! How many connections fit the descriptors of the process.
//!
//! Out of descriptors, a process cannot read a new policy or revocation list: strangers who only open connections could
//! keep a right alive that has ended. So connections and upstream connections together never take the last ones.

use rustix::process::{Resource, getrlimit, setrlimit};

/// For files that are read again, listeners, probes, the audit, and the runtime itself.
const RESERVE: usize = 96;

/// What the descriptors are divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Connections of agents.
    pub(super) connections: usize,
    /// Answers that are open at one time, each of which may hold an upstream connection.
    pub(super) answers: usize,
}

/// Raises the soft limit to the hard one, and divides it.
pub(super) fn budget(connections: usize, children: usize) -> Budget {
    let mut limits = getrlimit(Resource::Nofile);
    if limits.current != limits.maximum {
        limits.current = limits.maximum;
        // What cannot be raised is lived with.
        let _ = setrlimit(Resource::Nofile, limits);
    }
    let limit =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let budget = divide(limit, connections, children);
    if budget.connections < connections {
        tracing::warn!(
            limit,
            connections = budget.connections,
            wanted = connections,
            "the descriptor limit permits fewer connections than wanted; raise it (LimitNOFILE=, ulimit -n)"
        );
    }
    budget
}

fn divide(limit: usize, connections: usize, children: usize) -> Budget {
    // A child has three pipes, and a moment of more while it is spawned.
    let left = limit.saturating_sub(RESERVE).saturating_sub(children.saturating_mul(4)).max(2);
    Budget { connections: connections.min(left / 2), answers: left / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_never_take_the_last_descriptors() {
        assert_eq!(divide(1024, 10_000, 0), Budget { connections: 464, answers: 464 });
        assert_eq!(divide(1024, 100, 64), Budget { connections: 100, answers: 336 });
        assert_eq!(divide(524_288, 10_000, 0), Budget { connections: 10_000, answers: 262_096 });
        assert_eq!(divide(10, 10_000, 64), Budget { connections: 1, answers: 1 });
    }
}
