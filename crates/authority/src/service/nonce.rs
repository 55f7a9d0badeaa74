//! Single-use numbers that prove that a request was made just now and for us.
//!
//! A number says when it was made and carries our MAC, so that only those that were used are kept: strangers who ask for
//! many fill nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use countermark_identity::UnixTime;

use crate::error::AuthorityError;

/// How many seconds a number is good for.
pub(crate) const NONCE_LIFE: u64 = 60;

/// The numbers of one process: a restart makes all of them void.
#[derive(Debug)]
pub(crate) struct Nonces {
    key: hmac::Key,
    random: SystemRandom,
    used: Mutex<HashMap<[u8; LENGTH], UnixTime>>,
}

impl Nonces {
    pub(crate) fn new() -> Result<Self, AuthorityError> {
        let random = SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| AuthorityError::NoRandomness)?;
        Ok(Self { key, random, used: Mutex::default() })
    }

    pub(crate) fn issue(&self, now: UnixTime) -> Result<[u8; LENGTH], AuthorityError> {
        let mut said = [0; SAID];
        let (time, chance) = said.split_at_mut(8);
        time.copy_from_slice(&now.as_secs().to_be_bytes());
        self.random.fill(chance).map_err(|_| AuthorityError::NoRandomness)?;
        let mut nonce = [0; LENGTH];
        let (head, mac) = nonce.split_at_mut(SAID);
        head.copy_from_slice(&said);
        let tag = hmac::sign(&self.key, &said);
        mac.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        Ok(nonce)
    }

    /// Whether the number is ours and its time is not over.
    pub(crate) fn stands(&self, nonce: &[u8; LENGTH], now: UnixTime) -> Result<(), NonceError> {
        let (said, mac) = nonce.split_at(SAID);
        let tag = hmac::sign(&self.key, said);
        let expected = tag.as_ref().get(..mac.len()).unwrap_or_default();
        aws_lc_rs::constant_time::verify_slices_are_equal(mac, expected).map_err(|_| NonceError::NotOurs)?;
        let made = said.get(..8).and_then(|time| time.try_into().ok()).map_or(0, u64::from_be_bytes);
        if now.as_secs() > made.saturating_add(NONCE_LIFE) || made > now.as_secs().saturating_add(NONCE_LIFE) {
            return Err(NonceError::Expired);
        }
        Ok(())
    }

    /// Takes the number, once and for all: to be asked last, when whoever brings it has proved everything else.
    pub(crate) fn take(&self, nonce: &[u8; LENGTH], now: UnixTime) -> Result<(), NonceError> {
        self.stands(nonce, now)?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= SWEEP {
            used.retain(|_, until| *until >= now);
        }
        if used.len() >= MOST {
            return Err(NonceError::TooMany);
        }
        match used.insert(*nonce, now.saturating_add(std::time::Duration::from_secs(2 * NONCE_LIFE))) {
            None => Ok(()),
            Some(_) => Err(NonceError::Used),
        }
    }
}

/// Why a number is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NonceError {
    /// Not made by this process.
    #[error("the nonce is not one of this authority; ask for a new one")]
    NotOurs,
    /// Too old.
    #[error("the nonce is older than 60 s; ask for a new one")]
    Expired,
    /// Taken before.
    #[error("the nonce has been used; ask for a new one")]
    Used,
    /// More were used than are remembered.
    #[error("too many nonces were used just now; try again")]
    TooMany,
}

pub(crate) const LENGTH: usize = 32;
const SAID: usize = 16;
const SWEEP: usize = 4096;
const MOST: usize = 131_072;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_417_200);

    fn later(seconds: u64) -> UnixTime {
        UnixTime::from_secs(NOW.as_secs() + seconds)
    }

    #[test]
    fn a_number_is_good_once_and_for_a_minute() {
        let nonces = Nonces::new().unwrap();
        let nonce = nonces.issue(NOW).unwrap();
        assert_eq!(nonces.take(&nonce, later(61)), Err(NonceError::Expired));
        nonces.take(&nonce, later(60)).unwrap();
        assert_eq!(nonces.take(&nonce, later(60)), Err(NonceError::Used));
        nonces.take(&nonces.issue(NOW).unwrap(), NOW).unwrap();
    }

    #[test]
    fn a_number_of_another_process_or_changed_is_not_ours() {
        let nonces = Nonces::new().unwrap();
        assert_eq!(nonces.take(&[0; LENGTH], NOW), Err(NonceError::NotOurs));
        let mut nonce = Nonces::new().unwrap().issue(NOW).unwrap();
        assert_eq!(nonces.take(&nonce, NOW), Err(NonceError::NotOurs));
        nonce = nonces.issue(NOW).unwrap();
        nonce[0] ^= 1;
        assert_eq!(nonces.take(&nonce, NOW), Err(NonceError::NotOurs));
    }
}
