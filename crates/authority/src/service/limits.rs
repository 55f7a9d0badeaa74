//! Who may ask how often: counted in fixed windows, in bounded memory.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use countermark_identity::{SpiffeId, UnixTime};

use crate::service::refusal::Refusal;

/// How often one identity, and one address, may ask in a minute.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out")]
pub struct RateLimits {
    /// Certificates and administrative requests of one identity.
    pub identity_per_minute: u32,
    /// Requests for a secret, a nonce or a revival from one address (of IPv6, one /64).
    pub address_per_minute: u32,
    /// Reads without a certificate from one address.
    pub reads_per_minute: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { identity_per_minute: 60, address_per_minute: 300, reads_per_minute: 6000 }
    }
}

/// The counters.
#[derive(Debug)]
pub(crate) struct Limiter {
    identities: Counter<SpiffeId>,
    addresses: Counter<IpAddr>,
    reads: Counter<IpAddr>,
}

impl Limiter {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self {
            identities: Counter::new(limits.identity_per_minute),
            addresses: Counter::new(limits.address_per_minute),
            reads: Counter::new(limits.reads_per_minute),
        }
    }

    pub(crate) fn identity(&self, identity: &SpiffeId, now: UnixTime) -> Result<(), Refusal> {
        self.identities.count(identity.clone(), now)
    }

    pub(crate) fn stranger(&self, from: IpAddr, now: UnixTime) -> Result<(), Refusal> {
        self.addresses.count(network(from), now)
    }

    pub(crate) fn reader(&self, from: IpAddr, now: UnixTime) -> Result<(), Refusal> {
        self.reads.count(network(from), now)
    }
}

/// What one holder of addresses has: an IPv4 address, an IPv6 /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[derive(Debug)]
struct Counter<K> {
    most: u32,
    window: Mutex<Window<K>>,
}

#[derive(Debug)]
struct Window<K> {
    number: u64,
    counts: HashMap<K, u32>,
    /// Those for whom there is no room share one count.
    others: u32,
}

impl<K: Hash + Eq> Counter<K> {
    fn new(most: u32) -> Self {
        Self { most, window: Mutex::new(Window { number: 0, counts: HashMap::new(), others: 0 }) }
    }

    fn count(&self, key: K, now: UnixTime) -> Result<(), Refusal> {
        let (number, into) = (now.as_secs() / WINDOW, now.as_secs() % WINDOW);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.number != number {
            *window = Window { number, counts: HashMap::new(), others: 0 };
        }
        let room = window.counts.len() < KEYS;
        let count = if room || window.counts.contains_key(&key) {
            window.counts.entry(key).or_insert(0)
        } else {
            &mut window.others
        };
        if *count >= self.most {
            return Err(Refusal::too_many(WINDOW - into));
        }
        *count += 1;
        Ok(())
    }
}

const WINDOW: u64 = 60;
/// Keys of one window.
const KEYS: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(600);

    #[test]
    fn the_one_too_many_is_told_when_to_come_back() {
        let counter = Counter::new(2);
        counter.count("a", NOW).unwrap();
        counter.count("a", NOW).unwrap();
        let later = UnixTime::from_secs(615);
        assert_eq!(counter.count("a", later).unwrap_err().retry_after, Some(45));
        counter.count("b", later).unwrap();
        counter.count("a", UnixTime::from_secs(660)).unwrap();
    }

    #[test]
    fn memory_is_bounded_and_strangers_without_room_share_a_count() {
        let counter = Counter::new(1);
        for key in 0..KEYS {
            counter.count(key, NOW).unwrap();
        }
        counter.count(KEYS, NOW).unwrap();
        assert!(counter.count(KEYS + 1, NOW).is_err());
        assert_eq!(counter.window.lock().unwrap().counts.len(), KEYS);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff:2".parse().unwrap()));
        assert_ne!(network("2001:db8::1".parse().unwrap()), network("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), network("10.0.0.1".parse().unwrap()));
    }
}
