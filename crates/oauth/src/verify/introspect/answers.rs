//! What was answered a moment ago, and what is being asked: one question for each token.

use std::collections::HashMap;

use aws_lc_rs::digest;
use countermark_identity::UnixTime;
use tokio::sync::watch;

use super::Answer;

/// Answers, by the token's hash. Those that have ended make room for others, then all that were given do.
#[derive(Debug, Default)]
pub(super) struct Answers(HashMap<[u8; 32], watch::Receiver<Option<Answer>>>);

impl Answers {
    /// Where this token's answer is, or will be; `start` asks for one that will be sent there.
    pub(super) fn answer(
        &mut self,
        token: &str,
        now: UnixTime,
        start: impl FnOnce(watch::Sender<Option<Answer>>),
    ) -> watch::Receiver<Option<Answer>> {
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        if let Some(known) = self.0.get(&key).filter(|known| stands(known, now)) {
            return known.clone();
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, known| stands(known, now));
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, known| is_asked(known));
        }
        let (sender, receiver) = watch::channel(None);
        self.0.insert(key, receiver.clone());
        start(sender);
        receiver
    }
}

/// Whether the answer is still to come, or holds.
fn stands(known: &watch::Receiver<Option<Answer>>, now: UnixTime) -> bool {
    is_asked(known) || known.borrow().as_ref().is_some_and(|answer| now < answer.until)
}

/// Whether somebody asks for it: a task that was cut off will send nothing.
fn is_asked(known: &watch::Receiver<Option<Answer>>) -> bool {
    known.borrow().is_none() && known.has_changed().is_ok()
}

/// Tokens that are remembered for one issuer. In flight are no more than its introspector lets through.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_token_is_asked_about_once_while_its_answer_holds_and_all_are_bounded() {
        let mut answers = Answers::default();
        let at = UnixTime::from_secs;
        let mut asked = Vec::new();
        let answer = Answer { said: Ok(Arc::default()), until: at(10) };
        let first = answers.answer("one", at(0), |sender| asked.push(sender));
        answers.answer("one", at(100), |_| panic!("it is being asked"));
        asked[0].send_replace(Some(answer.clone()));
        assert!(first.borrow().is_some());
        answers.answer("one", at(9), |_| panic!("it was asked"));
        answers.answer("one", at(10), |sender| asked.push(sender));
        asked.clear();
        answers.answer("one", at(10), |sender| asked.push(sender));
        assert_eq!(asked.len(), 1, "whoever should have asked is gone");
        for number in 0..3 * MOST {
            answers.answer(&number.to_string(), at(0), |sender| drop(sender.send_replace(Some(answer.clone()))));
            assert!(answers.0.len() <= MOST, "{number}");
        }
        answers.answer("one", at(0), |_| panic!("it is still being asked"));
    }
}
