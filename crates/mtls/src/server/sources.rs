//! How many connections each source holds.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections by what one holder of addresses has: an IPv4 address, an IPv6 /64.
#[derive(Debug)]
pub(super) struct Sources {
    most: Option<usize>,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    source: IpAddr,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Sources {
    /// Each source may hold so many; as many as there are, without.
    pub(super) fn new(most: Option<usize>) -> Self {
        Self { most, held: Arc::default() }
    }

    /// Counts a connection; none where its source holds as many as it may.
    pub(super) fn admit(&self, from: IpAddr) -> Option<Counted> {
        let source = network(from);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(source).or_default();
        if self.most.is_some_and(|most| *count >= most) {
            return None;
        }
        *count += 1;
        Some(Counted { source, held: Arc::clone(&self.held) })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.source);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_own_count_and_gets_back_what_it_let_go() {
        let sources = Sources::new(Some(2));
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = sources.admit(ip("10.0.0.1")).unwrap();
        let _second = sources.admit(ip("::ffff:10.0.0.1")).unwrap();
        assert!(sources.admit(ip("10.0.0.1")).is_none());
        let _other = sources.admit(ip("10.0.0.2")).unwrap();
        drop(first);
        let _again = sources.admit(ip("10.0.0.1")).unwrap();
        let _one = sources.admit(ip("2001:db8::1")).unwrap();
        let _same_network = sources.admit(ip("2001:db8::2")).unwrap();
        assert!(sources.admit(ip("2001:db8::3")).is_none());
        assert_eq!(sources.held.lock().unwrap().len(), 3, "who holds nothing costs nothing");
    }
}
