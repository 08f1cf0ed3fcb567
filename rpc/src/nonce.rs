//! Nonces: what makes two equal requests of one second differ.

use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// The number of hexadecimal digits of a nonce.
pub const NONCE_LENGTH: usize = 32;

/// The operating system gave no random bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct NoRandomness(pub String);

/// Where nonces come from.
pub trait NonceSource: Send + Sync {
    /// A value never given before.
    fn nonce(&self) -> Result<[u8; 16], NoRandomness>;
}

/// Nonces from the operating system's random generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomNonces;

impl NonceSource for RandomNonces {
    fn nonce(&self) -> Result<[u8; 16], NoRandomness> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| NoRandomness(error.to_string()))?;
        Ok(bytes)
    }
}

/// Nonces that count up from a seed: for tests and simulations that must repeat exactly.
#[derive(Debug)]
pub struct CountedNonces {
    seed: u64,
    next: AtomicU64,
}

impl CountedNonces {
    /// The sequence of `seed`. Two callers with the same key need different seeds.
    pub const fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }
}

impl NonceSource for CountedNonces {
    fn nonce(&self) -> Result<[u8; 16], NoRandomness> {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(((u128::from(self.seed) << 64) | u128::from(count)).to_be_bytes())
    }
}
