//! The keys of those who called lately, ready to check what they sign next.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tycoon_market::{PublicKeyError, Verifier};

/// Keys that are kept; beyond that all are forgotten, and found again as they come.
const KEYS_MAX: usize = 4_096;
/// The longest text of a key that is kept, in bytes: that of one without a comment.
const TEXT_BYTES_MAX: usize = 80;

/// Keys by their texts. They are large, and a table has more places than it has keys: so it has boxes.
#[derive(Debug, Default)]
pub struct Verifiers(Mutex<HashMap<Box<str>, Box<Verifier>>>);

impl Verifiers {
    /// The key that a text names.
    ///
    /// # Errors
    /// What is no key.
    pub fn find(&self, text: &str) -> Result<Verifier, PublicKeyError> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(text).map(|kept| **kept);
        kept.map_or_else(|| text.parse(), Ok)
    }

    /// Keeps a key that has signed.
    pub fn keep(&self, text: &str, verifier: Verifier) {
        if text.len() > TEXT_BYTES_MAX {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.contains_key(text) {
            return;
        }
        if kept.len() >= KEYS_MAX {
            kept.clear();
        }
        kept.insert(text.into(), Box::new(verifier));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{SecretKey, Signer as _};

    #[test]
    fn what_is_kept_is_bounded_and_found_again() {
        let verifiers = Verifiers::default();
        let key = SecretKey::from_seed(&[3; 32]).public_key();
        let verifier = verifiers.find(&key.to_string()).unwrap();
        assert_eq!(verifier.public_key(), key);
        verifiers.keep(&format!("{key} jane@lab"), verifier);
        assert_eq!(verifiers.0.lock().unwrap().len(), 0, "texts have no end");
        for number in 0..KEYS_MAX + 3 {
            verifiers.keep(&number.to_string(), verifier);
        }
        assert_eq!(verifiers.0.lock().unwrap().len(), 3);
        verifiers.keep(&key.to_string(), verifier);
        assert_eq!(verifiers.find(&key.to_string()), Ok(verifier));
        assert!(verifiers.find("ssh-rsa AAAA").is_err());
    }
}
