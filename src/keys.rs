//! Masking-keys: unpredictable (RFC 6455 §5.3), generated in bulk, each used once.

use std::sync::atomic::{AtomicU32, Ordering};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::mask::MaskingKey;

/// The number of forks up to this process. A child must not use the keys of its parent.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Reports to all streams of keys that this process is a new fork.
pub fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// A stream of masking-keys.
#[derive(Debug)]
pub struct Keys {
    stream: ChaCha12Rng,
    forks: u32,
}

impl Keys {
    /// Starts the stream of a `seed`; it is unpredictable if the seed is.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { stream: ChaCha12Rng::from_seed(seed), forks: FORKS.load(Ordering::Relaxed) }
    }

    /// Returns the next key.
    #[inline]
    pub fn draw(&mut self) -> MaskingKey {
        if self.forks != FORKS.load(Ordering::Relaxed) {
            self.reseed();
        }
        self.stream.next_u32().to_ne_bytes()
    }

    #[cold]
    fn reseed(&mut self) {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("a system that can fork has a source of randomness");
        *self = Self::new(seed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_own_keys_and_a_fork_leaves_them() {
        let draw = |keys: &mut Keys| (0..100).map(|_| keys.draw()).collect::<Vec<_>>();
        let (mut one, mut same, mut other) = (Keys::new([1; 32]), Keys::new([1; 32]), Keys::new([2; 32]));
        let keys = draw(&mut one);
        assert_eq!(keys, draw(&mut same));
        assert_ne!(keys, draw(&mut other));
        forked();
        assert_ne!(draw(&mut one), draw(&mut same));
    }
}
