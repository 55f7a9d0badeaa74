//! What was answered a moment ago, and what is being asked: one question for each token.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::digest;
use countermark_identity::UnixTime;
use tokio::sync::watch;

use super::Answer;

/// Answers, by the token's hash. Those that have ended are forgotten whenever as many have come again, and where too many are
/// left, all that were given are.
#[derive(Debug, Default)]
pub(super) struct Answers {
    known: HashMap<Key, Known>,
    /// How many there are before the ended ones are looked for.
    crowd: usize,
}

/// A token by its hash.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn of(token: &str) -> Self {
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(key)
    }
}

#[derive(Clone, Debug)]
struct Known {
    asked: UnixTime,
    answer: watch::Receiver<Option<Answer>>,
}

impl Answers {
    /// Where this token's answer is, or will be, if somebody has asked.
    pub(super) fn known(&self, key: &Key, now: UnixTime, ttl: Duration) -> Option<watch::Receiver<Option<Answer>>> {
        // A question that was asked long ago is answered as of then.
        let fresh = |known: &&Known| now.duration_since(known.asked) <= ttl || !known.is_asked();
        let known = self.known.get(key).filter(|known| known.stands(now)).filter(fresh)?;
        Some(known.answer.clone())
    }

    /// Where this token's answer is, or will be; `start` asks for one that will be sent there.
    pub(super) fn answer(
        &mut self,
        key: Key,
        now: UnixTime,
        ttl: Duration,
        start: impl FnOnce(watch::Sender<Option<Answer>>),
    ) -> watch::Receiver<Option<Answer>> {
        if let Some(known) = self.known(&key, now, ttl) {
            return known;
        }
        if self.known.len() >= self.crowd.max(FEW) {
            self.known.retain(|_, known| known.stands(now));
            self.crowd = (self.known.len() * 2).min(MOST);
        }
        if self.known.len() >= MOST {
            self.known.retain(|_, known| known.is_asked());
        }
        let (sender, answer) = watch::channel(None);
        self.known.insert(key, Known { asked: now, answer: answer.clone() });
        start(sender);
        answer
    }
}

impl Known {
    /// Whether the answer is still to come, or holds.
    fn stands(&self, now: UnixTime) -> bool {
        self.is_asked() || self.answer.borrow().as_ref().is_some_and(|answer| now < answer.until)
    }

    /// Whether somebody asks for it: a task that was cut off will send nothing.
    fn is_asked(&self) -> bool {
        self.answer.borrow().is_none() && self.answer.has_changed().is_ok()
    }
}

/// Tokens that are remembered for one issuer. In flight are no more than its introspector lets through.
const MOST: usize = 4096;
/// So few that nobody looks whether they have ended.
const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use countermark_identity::Secret;

    use super::super::Said;
    use super::*;

    #[test]
    fn a_token_is_asked_about_once_while_its_answer_holds_and_all_are_bounded() {
        let mut answers = Answers::default();
        let (at, ttl) = (UnixTime::from_secs, Duration::from_secs(10));
        let mut asked = Vec::new();
        let key = Key::of;
        let answer = Answer { said: Ok(Arc::new(Said(Secret::new(Vec::new())))), until: at(10) };
        let first = answers.answer(key("one"), at(0), ttl, |sender| asked.push(sender));
        answers.answer(key("one"), at(10), ttl, |_| panic!("it is being asked"));
        let mut slow = Vec::new();
        answers.answer(key("slow"), at(0), ttl, |sender| slow.push(sender));
        answers.answer(key("slow"), at(11), ttl, |sender| slow.push(sender));
        assert_eq!(slow.len(), 2, "what was asked too long ago is asked again");
        asked[0].send_replace(Some(answer.clone()));
        assert!(first.borrow().is_some());
        answers.answer(key("one"), at(9), ttl, |_| panic!("it was asked"));
        answers.answer(key("one"), at(10), ttl, |sender| asked.push(sender));
        asked.clear();
        answers.answer(key("one"), at(10), ttl, |sender| asked.push(sender));
        assert_eq!(asked.len(), 1, "whoever should have asked is gone");
        for number in 0..3 * MOST {
            answers
                .answer(key(&number.to_string()), at(0), ttl, |sender| drop(sender.send_replace(Some(answer.clone()))));
            assert!(answers.known.len() <= MOST, "{number}");
        }
        answers.answer(key("one"), at(0), ttl, |_| panic!("it is still being asked"));
    }
}
