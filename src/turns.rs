//! How much work is done in one turn of an event loop, and what waits for a later one.

use std::collections::VecDeque;

/// The cost of the work of one turn, in bytes of messages: some milliseconds.
const BUDGET: usize = 1 << 20;
/// What a message costs beside its bytes.
const MESSAGE_COST: usize = 1024;

/// The work of the turns of one event loop. What is more than one turn's waits, first in, first out.
#[derive(Debug)]
pub struct Turns<T> {
    spent: usize,
    /// The next turn was asked for.
    asked: bool,
    waiting: VecDeque<T>,
}

impl<T> Turns<T> {
    /// Begins the first turn.
    #[must_use]
    pub const fn new() -> Self {
        Self { spent: 0, asked: false, waiting: VecDeque::new() }
    }

    /// Counts a message of `len` bytes that was received or sent; says whether the turn is spent.
    #[inline]
    pub const fn charge(&mut self, len: usize) -> bool {
        self.spent = self.spent.saturating_add(len).saturating_add(MESSAGE_COST);
        self.is_spent()
    }

    /// Counts as much as a whole turn has.
    pub const fn spend(&mut self) {
        self.spent = self.spent.saturating_add(BUDGET);
    }

    /// Whether what need not be done now is to wait.
    #[inline]
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.spent >= BUDGET
    }

    /// Has `work` wait for a later turn.
    pub fn wait(&mut self, work: T) {
        self.waiting.push_back(work);
    }

    /// Says whether the loop is to be asked for a turn, which is done once for each.
    pub fn asks(&mut self) -> bool {
        !self.waiting.is_empty() && !std::mem::replace(&mut self.asked, true)
    }

    /// Begins a turn that was asked for.
    pub const fn begin(&mut self) {
        self.spent = 0;
        self.asked = false;
    }

    /// Gives what has waited longest, unless the turn is spent.
    pub fn take(&mut self) -> Option<T> {
        if self.is_spent() { None } else { self.waiting.pop_front() }
    }

    /// What waits.
    #[must_use]
    pub const fn waiting(&self) -> &VecDeque<T> {
        &self.waiting
    }

    /// Takes all that waits.
    pub fn clear(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.waiting)
    }
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_spent_by_bytes_and_by_messages() {
        let mut turns = Turns::<()>::new();
        assert!((1..1024).all(|_| !turns.charge(0)));
        assert!(turns.charge(0));
        turns.begin();
        assert!(!turns.charge(BUDGET - MESSAGE_COST - 1));
        assert!(turns.charge(0));
        turns.begin();
        assert!(turns.charge(usize::MAX));
        turns.begin();
        turns.spend();
        assert!(turns.is_spent());
    }

    #[test]
    fn what_waits_goes_on_in_order_as_long_as_the_turn_lasts() {
        let mut turns = Turns::new();
        (1..=3).for_each(|work| turns.wait(work));
        assert_eq!(turns.take(), Some(1));
        turns.spend();
        assert_eq!((turns.take(), turns.waiting().len()), (None, 2));
        turns.begin();
        assert_eq!((turns.take(), turns.take(), turns.take()), (Some(2), Some(3), None));
        turns.wait(4);
        assert_eq!(turns.clear(), [4]);
    }

    #[test]
    fn a_turn_is_asked_for_once() {
        let mut turns = Turns::new();
        assert!(!turns.asks());
        turns.wait(1);
        assert!(turns.asks() && !turns.asks());
        turns.begin();
        assert_eq!(turns.take(), Some(1));
        turns.wait(1);
        assert!(turns.asks());
        turns.wait(2);
        assert!(!turns.asks());
    }
}
