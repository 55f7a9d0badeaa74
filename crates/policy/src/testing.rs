//! What several tests need: a generator of pseudo-random numbers, and a glob matcher that is plainly right.

use countermark_identity::{AgentId, ServerId, TrustDomain};

/// xorshift64*: the same run every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    pub(crate) fn text(&mut self, parts: &[&str], most: usize) -> String {
        (0..self.below(most + 1)).map(|_| self.pick(parts)).collect()
    }
}

/// Whether the pattern matches, by the definition and without thought for speed.
pub(crate) fn naive_matches(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match (rest.next(), text.chars().next()) {
        (None, first) => first.is_none(),
        (Some('*'), None) => naive_matches(rest.as_str(), text),
        (Some('*'), Some(c)) => naive_matches(rest.as_str(), text) || naive_matches(pattern, &text[c.len_utf8()..]),
        (Some('\\'), Some(c)) => rest.next() == Some(c) && naive_matches(rest.as_str(), &text[c.len_utf8()..]),
        (Some(literal), Some(c)) => literal == c && naive_matches(rest.as_str(), &text[c.len_utf8()..]),
        (Some(_), None) => false,
    }
}

pub(crate) fn td(name: &str) -> TrustDomain {
    name.parse().unwrap()
}

pub(crate) fn agent(name: &str) -> AgentId {
    AgentId::new(&td("agents.internal"), name).unwrap()
}

pub(crate) fn foreign(name: &str) -> AgentId {
    AgentId::new(&td("partner.example"), name).unwrap()
}

pub(crate) fn server(name: &str) -> ServerId {
    ServerId::new(&td("agents.internal"), name).unwrap()
}

/// The head of every policy in the tests: two lines.
pub(crate) const HEAD: &str = "version = 1\ntrust_domain = \"agents.internal\"\n";
