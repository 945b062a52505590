//! How much memory one connection may take for its peer, over all of its streams.

/// What one stream holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Of messages that the peer has not finished.
    pub unfinished: usize,
    /// What waits for the application, decoded or not.
    pub waiting: usize,
    /// What was sent, for which the peer gives no window.
    pub pending: usize,
}

impl Held {
    /// What came.
    #[must_use]
    pub const fn received(self) -> usize {
        self.unfinished.saturating_add(self.waiting)
    }
}

/// The bytes of messages at which the queue of a WebSocket is full, so that with what it may take all the same, two messages of `limit`
/// bytes, and an unfinished one it takes no more than `memory`, if that is possible.
#[must_use]
pub fn queue_bound(memory: u64, limit: u64) -> usize {
    usize::try_from(memory.saturating_sub(limit.saturating_mul(3)).max(1)).unwrap_or(usize::MAX)
}

/// The budget of a connection, and what its streams hold of it.
///
/// What came is counted when it comes. What the application takes since is not, so the sum may be too large, never too small: before
/// anything follows from it, all streams are weighed. What is pending is counted by whoever sends it.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    held: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Within,
    /// More is held than the budget has.
    Over {
        /// What each stream may hold all the same.
        share: usize,
        /// The stream that gets credit whatever it holds, so that its message can end.
        turn: Option<u32>,
    },
}

/// A stream, as it is weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// Its number.
    pub stream: u32,
    /// What it holds.
    pub held: Held,
    /// Nothing that comes is decoded before the application takes something.
    pub waits: bool,
}

impl Budget {
    /// Makes a budget of `limit` bytes; `usize::MAX` is no limit.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, held: 0, state: State::Within }
    }

    /// Counts what a stream holds now of what came, where it was found to hold `before`.
    #[inline]
    pub const fn count(&mut self, before: &mut usize, now: usize) {
        self.held = self.held.saturating_sub(*before).saturating_add(now);
        *before = now;
    }

    /// How many bytes are held of what came, as far as they were counted.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Whether the streams are to be weighed, since more may be held than there is: with so many bytes that are `pending`.
    #[inline]
    #[must_use]
    pub fn is_to_weigh(&self, pending: usize) -> bool {
        self.held.saturating_add(pending) > self.limit && self.state == State::Within
    }

    /// Whether more was held than there is when the streams were weighed last.
    #[inline]
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state != State::Within
    }

    /// Judges anew what all streams hold.
    ///
    /// Where it is too much, the stream whose unfinished message has most bytes gets its turn, and keeps it until the message has ended:
    /// so one after the other ends. It is none whose messages wait for the application.
    pub fn weigh(&mut self, streams: impl ExactSizeIterator<Item = Weighed> + Clone) {
        self.held = streams.clone().fold(0, |held, it| held.saturating_add(it.held.received()));
        if streams.clone().fold(self.held, |held, it| held.saturating_add(it.held.pending)) <= self.limit {
            self.state = State::Within;
            return;
        }
        let share = self.limit / streams.len().max(1);
        let mut candidates = streams.filter(|it| it.held.unfinished > 0 && !it.waits);
        let before = if let State::Over { turn, .. } = self.state { turn } else { None };
        let kept = candidates.clone().find(|it| Some(it.stream) == before);
        let turn = kept.or_else(|| candidates.by_ref().max_by_key(|it| it.held.unfinished)).map(|it| it.stream);
        self.state = State::Over { share, turn };
    }

    /// Whether a stream that holds so much of what came gets no credit for more.
    #[inline]
    #[must_use]
    pub fn withholds(&self, stream: u32, held: usize) -> bool {
        match self.state {
            State::Within => false,
            State::Over { share, turn } => held > share && turn != Some(stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfinished(stream: u32, bytes: usize) -> Weighed {
        Weighed { stream, held: Held { unfinished: bytes, ..Held::default() }, waits: false }
    }

    fn waiting(stream: u32, bytes: usize) -> Weighed {
        Weighed { stream, held: Held { waiting: bytes, ..Held::default() }, waits: true }
    }

    fn weighed(budget: &mut Budget, streams: &[Weighed]) {
        budget.weigh(streams.iter().copied());
    }

    #[test]
    fn queue_is_full_before_it_takes_more_than_there_is() {
        assert_eq!([(800, 100), (300, 100), (100, 100)].map(|(memory, limit)| queue_bound(memory, limit)), [500, 1, 1]);
        assert_eq!(queue_bound(u64::MAX, 0), usize::MAX);
    }

    #[test]
    fn what_streams_hold_is_summed() {
        let mut budget = Budget::new(100);
        let mut held = [0; 2];
        budget.count(&mut held[0], 60);
        budget.count(&mut held[1], 40);
        assert!(!budget.is_to_weigh(0) && budget.is_to_weigh(1));
        budget.count(&mut held[0], 61);
        assert!(budget.is_to_weigh(0) && !budget.is_over());
        budget.count(&mut held[1], 0);
        assert_eq!((budget.held(), budget.is_to_weigh(0)), (61, false));
    }

    #[test]
    fn all_kinds_of_bytes_count() {
        let mut budget = Budget::new(5);
        weighed(
            &mut budget,
            &[Weighed { stream: 1, held: Held { unfinished: 1, waiting: 2, pending: 3 }, waits: false }],
        );
        assert_eq!((budget.held(), budget.is_over()), (3, true));
    }

    #[test]
    fn within_the_budget_every_stream_gets_credit() {
        let mut budget = Budget::new(100);
        weighed(&mut budget, &[unfinished(1, 90), waiting(3, 10)]);
        assert!(!budget.is_over() && !budget.withholds(1, 90) && !budget.withholds(3, 10));
    }

    #[test]
    fn over_the_budget_a_stream_gets_credit_up_to_its_share() {
        let mut budget = Budget::new(100);
        weighed(&mut budget, &[waiting(1, 90), waiting(3, 50), waiting(5, 0), waiting(7, 25)]);
        let withheld = [(1, 90), (3, 50), (5, 0), (7, 25)].map(|(stream, held)| budget.withholds(stream, held));
        assert_eq!(withheld, [true, true, false, false]);
    }

    #[test]
    fn the_longest_unfinished_message_has_its_turn_until_it_has_ended() {
        let mut budget = Budget::new(100);
        weighed(&mut budget, &[waiting(1, 90), unfinished(3, 60), unfinished(5, 70)]);
        assert!(budget.withholds(1, 90) && budget.withholds(3, 60) && !budget.withholds(5, 70));
        weighed(&mut budget, &[waiting(1, 90), unfinished(3, 90), unfinished(5, 80)]);
        assert!(budget.withholds(3, 90) && !budget.withholds(5, 80));
        weighed(&mut budget, &[waiting(1, 90), unfinished(3, 90), waiting(5, 90)]);
        assert!(!budget.withholds(3, 90) && budget.withholds(5, 90));
        weighed(&mut budget, &[waiting(1, 50), unfinished(3, 50)]);
        assert!(!budget.is_over());
    }

    #[test]
    fn no_limit_is_never_passed() {
        let mut budget = Budget::new(usize::MAX);
        budget.count(&mut 0, usize::MAX);
        weighed(&mut budget, &[unfinished(1, usize::MAX), unfinished(3, usize::MAX)]);
        assert!(!budget.is_to_weigh(usize::MAX) && !budget.is_over());
    }
}
