//! Messages that wait for the application, and what becomes of those that come meanwhile.

use std::collections::VecDeque;

/// Messages, and their bytes, at which the peer is paused; a quarter of both lets it go on.
const MESSAGES_HIGH: usize = 256;
const MESSAGES_LOW: usize = MESSAGES_HIGH / 4;
const BYTES_HIGH: usize = 256 * 1024;
/// What a message that waits takes beside its bytes.
const MESSAGE_COST: usize = 96;

/// The fate of messages that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    /// They wait for the application.
    Open,
    /// They do too, but the peer sends no more than it already may.
    Paused,
    /// They wait, until the application takes one again; meanwhile those beyond what may wait are counted and dropped.
    Abandoned,
    /// Nobody takes them: beyond what may wait they are counted and dropped.
    Discarding,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// Any message.
    All,
    /// A message that need not be inflated.
    Plain,
    /// Nothing: what comes is to wait as bytes.
    Nothing,
}

/// A bounded queue of messages, first in, first out.
#[derive(Debug)]
pub struct Queue<T> {
    messages: VecDeque<(T, usize)>,
    bytes: usize,
    /// The bytes at which the peer is paused.
    most: usize,
    intake: Intake,
    /// Messages are inflated for a reader that waits, and for no other.
    restricted: bool,
    /// A reader has found nothing since the last message came.
    asked: bool,
    ended: bool,
    discarded: usize,
    taken: u64,
}

/// The change that a message has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The queue was empty, or is full now: whoever takes messages, or reads the transport, is to look at it.
    pub notable: bool,
    /// What may follow at once.
    pub admits: Admits,
}

/// A message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Popped<T> {
    /// The message.
    pub message: T,
    /// How many bytes it has.
    pub len: usize,
    /// No other waits.
    pub last: bool,
    /// The queue was paused, and the peer may go on.
    pub resumed: bool,
}

impl<T> Queue<T> {
    /// Makes an empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            most: BYTES_HIGH,
            intake: Intake::Open,
            restricted: false,
            asked: false,
            ended: false,
            discarded: 0,
            taken: 0,
        }
    }

    /// Has the peer be paused at `most` bytes, if that is sooner.
    pub fn bound(&mut self, most: usize) {
        self.most = most.min(BYTES_HIGH);
    }

    /// Adds a message of `len` bytes, or counts and drops it where nobody takes those beyond the bound.
    #[inline]
    pub fn push(&mut self, message: T, len: usize) -> Pushed {
        let full = self.messages.len() >= MESSAGES_HIGH || self.bytes >= self.most;
        if (full || self.restricted) && self.is_discarding() {
            self.discarded += 1;
            return Pushed { notable: false, admits: Admits::All };
        }
        let first = self.messages.is_empty();
        let filled = full && self.intake == Intake::Open;
        if filled {
            self.intake = Intake::Paused;
        }
        self.messages.push_back((message, len));
        self.bytes += len;
        self.asked = false;
        Pushed { notable: first || filled, admits: self.admits() }
    }

    /// What may come now.
    #[inline]
    #[must_use]
    pub fn admits(&self) -> Admits {
        match self.intake {
            Intake::Paused => Admits::Nothing,
            Intake::Open if self.restricted && !self.asked => Admits::Plain,
            _ => Admits::All,
        }
    }

    /// Pauses the peer: what comes next is not admitted. Says whether it was not paused before.
    pub fn stall(&mut self) -> bool {
        let open = self.intake == Intake::Open;
        if open {
            self.intake = Intake::Paused;
        }
        open
    }

    /// Notes that a reader has found nothing; says whether the peer was paused, which may go on.
    #[inline]
    pub fn ask(&mut self) -> bool {
        self.asked = true;
        self.intake == Intake::Paused && self.reopen()
    }

    /// Has messages be inflated only for a reader that waits, or as they come; says whether the peer was paused for that, and may go on.
    pub fn restrict(&mut self, restricted: bool) -> bool {
        let ends = std::mem::replace(&mut self.restricted, restricted) && !restricted;
        ends && self.intake == Intake::Paused && self.reopen()
    }

    /// What it takes of memory, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes + self.messages.len() * MESSAGE_COST
    }

    /// Takes the oldest message.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call would copy the message twice more")]
    pub fn pop(&mut self) -> Option<Popped<T>> {
        let (message, len) = self.messages.pop_front()?;
        self.bytes -= len;
        self.taken += 1;
        let last = self.messages.is_empty();
        if last && self.messages.capacity() > MESSAGES_LOW {
            self.shrink();
        }
        let resumed = self.intake != Intake::Open && self.reopen();
        Some(Popped { message, len, last, resumed })
    }

    #[cold]
    fn shrink(&mut self) {
        self.messages = VecDeque::new();
    }

    /// Takes messages again, if that is due after one was taken; says whether the peer was paused, which may go on.
    #[cold]
    fn reopen(&mut self) -> bool {
        let few = self.messages.len() <= MESSAGES_LOW && self.bytes <= self.most / 4;
        let resumed = self.intake == Intake::Paused && few;
        if resumed || self.intake == Intake::Abandoned {
            self.intake = Intake::Open;
        }
        resumed
    }

    /// Drops messages beyond the bound from now on; says whether the peer was paused, which may go on.
    pub fn discard(&mut self) -> bool {
        std::mem::replace(&mut self.intake, Intake::Discarding) == Intake::Paused
    }

    /// Drops messages beyond the bound until one is taken, or until [`Self::keep`]; says whether the peer was paused, which may go on.
    pub fn abandon(&mut self) -> bool {
        if self.intake == Intake::Discarding {
            return false;
        }
        std::mem::replace(&mut self.intake, Intake::Abandoned) == Intake::Paused
    }

    /// Has messages wait again that [`Self::abandon`] would drop.
    pub fn keep(&mut self) {
        if self.intake == Intake::Abandoned {
            self.intake = Intake::Open;
        }
    }

    /// Notes that nothing follows the messages; says whether that is new to whoever waits for one.
    pub fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.ended, true) && self.messages.is_empty()
    }

    /// Takes all messages, without counting them.
    pub fn clear(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.bytes = 0;
        std::mem::take(&mut self.messages).into_iter().map(|(message, _)| message)
    }

    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether the peer is to send no more than it already may.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.intake == Intake::Paused
    }

    /// Whether messages beyond the bound are counted and dropped.
    #[must_use]
    pub fn is_discarding(&self) -> bool {
        matches!(self.intake, Intake::Abandoned | Intake::Discarding)
    }

    /// Whether nothing follows the messages.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// How many messages were dropped.
    #[must_use]
    pub const fn discarded(&self) -> usize {
        self.discarded
    }

    /// How many messages were taken.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Queue<usize> {
        let mut queue = Queue::new();
        let paused = (0..=MESSAGES_HIGH).find(|number| queue.push(*number, 1).admits == Admits::Nothing);
        assert_eq!((paused, queue.len(), queue.is_paused()), (Some(MESSAGES_HIGH), MESSAGES_HIGH + 1, true));
        queue
    }

    #[test]
    fn only_the_first_message_and_the_one_that_fills_are_notable() {
        let mut queue = Queue::new();
        let notable: Vec<usize> = (0..=MESSAGES_HIGH).filter(|number| queue.push(*number, 1).notable).collect();
        assert_eq!(notable, [0, MESSAGES_HIGH]);
        assert!(!queue.push(0, 1).notable);
    }

    #[test]
    fn bytes_fill_it_too() {
        let mut queue = Queue::new();
        assert_eq!(queue.push("large", BYTES_HIGH), Pushed { notable: true, admits: Admits::All });
        assert_eq!(queue.push("one more", 1), Pushed { notable: true, admits: Admits::Nothing });
        assert_eq!(queue.pop(), Some(Popped { message: "large", len: BYTES_HIGH, last: false, resumed: true }));
    }

    #[test]
    fn the_peer_goes_on_when_few_messages_are_left() {
        let mut queue = full();
        let resumed = std::iter::from_fn(|| queue.pop()).position(|popped| popped.resumed);
        assert_eq!(resumed, Some(MESSAGES_HIGH - MESSAGES_LOW));
        assert!(!queue.is_paused());
    }

    #[test]
    fn messages_come_in_order_and_the_last_is_said_to_be() {
        let mut queue = Queue::new();
        for number in 0..3 {
            queue.push(number, 1);
        }
        let all: Vec<(i32, bool)> =
            std::iter::from_fn(|| queue.pop()).map(|popped| (popped.message, popped.last)).collect();
        assert_eq!(all, [(0, false), (1, false), (2, true)]);
        assert_eq!((queue.taken(), queue.is_empty()), (3, true));
    }

    #[test]
    fn discarding_keeps_what_waits_and_counts_what_is_beyond_the_bound() {
        let mut queue = full();
        assert!(queue.discard(), "the peer was paused");
        assert_eq!(queue.push(0, 1), Pushed { notable: false, admits: Admits::All });
        assert_eq!((queue.len(), queue.discarded()), (MESSAGES_HIGH + 1, 1));
        assert!(!queue.abandon(), "it discards for good");
        queue.keep();
        queue.pop();
        queue.pop();
        queue.push(0, 1);
        queue.push(0, 1);
        assert_eq!(queue.discarded(), 2);
    }

    #[test]
    fn an_abandoned_queue_is_open_again_when_one_is_taken_or_it_is_told() {
        for take in [true, false] {
            let mut queue = full();
            assert!(queue.abandon());
            queue.push(0, 1);
            assert_eq!(queue.discarded(), 1);
            if take {
                assert!(queue.pop().is_some_and(|popped| !popped.resumed));
                queue.push(0, 1);
            } else {
                queue.keep();
                queue.push(0, 1);
            }
            assert_eq!((queue.discarded(), queue.is_paused()), (1, true));
        }
    }

    #[test]
    fn fewer_bytes_fill_it_where_that_was_asked_for() {
        let mut queue = Queue::new();
        queue.bound(100);
        queue.push(0, 100);
        assert_eq!(queue.push(1, 1).admits, Admits::Nothing);
        assert!(queue.pop().is_some_and(|popped| popped.resumed));
        queue.bound(usize::MAX);
        queue.push(2, BYTES_HIGH);
        assert_eq!(queue.push(3, 1).admits, Admits::Nothing);
    }

    #[test]
    fn a_restricted_queue_admits_what_is_inflated_once_for_each_reader_that_waits() {
        let mut queue = Queue::new();
        assert!(!queue.restrict(true));
        assert_eq!(queue.admits(), Admits::Plain);
        assert!(queue.stall() && !queue.stall());
        assert_eq!(queue.admits(), Admits::Nothing);
        assert!(queue.ask(), "the peer was paused");
        assert_eq!(queue.admits(), Admits::All);
        assert_eq!(queue.push(1, 1), Pushed { notable: true, admits: Admits::Plain });
        assert_eq!(queue.push(2, 1), Pushed { notable: false, admits: Admits::Plain });
        assert!(queue.stall());
        assert!(queue.pop().is_some_and(|popped| popped.resumed));
        assert_eq!(queue.admits(), Admits::Plain);
        assert!(queue.pop().is_some() && queue.pop().is_none() && !queue.ask());
        assert_eq!(queue.admits(), Admits::All);
    }

    #[test]
    fn the_end_of_the_restriction_lets_a_peer_go_on_that_was_paused_for_it() {
        let mut queue = Queue::new();
        queue.restrict(true);
        queue.push(1, 1);
        queue.stall();
        assert!(queue.restrict(false) && !queue.restrict(false));
        assert_eq!(queue.admits(), Admits::All);
        let mut queue = full();
        queue.restrict(true);
        assert!(!queue.restrict(false), "it is full");
    }

    #[test]
    fn a_restricted_queue_keeps_nothing_that_is_discarded() {
        let mut queue = Queue::new();
        queue.restrict(true);
        queue.discard();
        assert_eq!((queue.push(1, 1).admits, queue.len(), queue.discarded()), (Admits::All, 0, 1));
    }

    #[test]
    fn the_end_comes_after_the_messages() {
        let mut queue = Queue::new();
        queue.push(1, 1);
        assert!(!queue.end());
        assert!(queue.pop().is_some() && queue.pop().is_none() && queue.is_ended());
        let mut empty = Queue::<u8>::new();
        assert!(empty.end() && !empty.end());
    }
}
