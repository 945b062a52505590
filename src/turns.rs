//! How much work is done in one turn of an event loop, and what waits for a later one.
//!
//! A cost is in bytes of messages: some nanoseconds each.

use std::collections::VecDeque;

use crate::data::{HeaderBlock, header_block};
use crate::field_block::count_fields;

/// The cost of the work of one turn: some milliseconds.
const BUDGET: usize = 1 << 20;
/// What a message costs beside its bytes.
const MESSAGE_COST: usize = 1024;
/// What is decoded for one transport in one turn.
pub const DECODED_PER_TURN: usize = BUDGET;
/// What an event costs beside its bytes when it is decoded.
pub const EVENT_COST: usize = 512;
/// What a DATA frame costs beside what is decoded of it.
pub const DATA_COST: usize = 256;
/// What it costs to weigh what a stream holds.
pub const WEIGHING_COST: usize = 32;
/// What a frame costs that the HTTP/2 library takes.
const FRAME_COST: usize = 32 * 1024;
/// The type of a frame that is to be acknowledged.
const SETTINGS: u8 = 4;
/// What a request or a response costs beside its fields, what a field costs, and what a byte of them costs, which may be of Huffman's code.
const HEAD_COST: usize = 8 * FRAME_COST;
const FIELD_COST: usize = 1600;
const FIELD_BYTE_COST: usize = 64;
/// A block of that many fields is a turn's work; more are refused.
const MANY_FIELDS: usize = (BUDGET - HEAD_COST).div_ceil(FIELD_COST);
/// How much a transport has done of late, and how large a chunk is, that has to wait where a turn is spent.
const MUCH: usize = 256 * 1024;
const LARGE: usize = 16 * 1024;

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
        self.charge_work(len);
        self.charge_work(MESSAGE_COST);
        self.is_spent()
    }

    /// Counts other work.
    #[inline]
    pub const fn charge_work(&mut self, cost: usize) {
        self.spent = self.spent.saturating_add(cost);
    }

    /// Counts as much as a whole turn has.
    pub const fn spend(&mut self) {
        self.charge_work(BUDGET);
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

/// The work that may still be done now: without bound, until a turn is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    most: u64,
    left: u64,
}

impl Work {
    /// Bounds nothing.
    #[must_use]
    pub const fn unbounded() -> Self {
        Self { most: u64::MAX, left: u64::MAX }
    }

    /// Begins a turn in which no more than `most` is done.
    pub const fn begin(&mut self, most: usize) {
        *self = Self { most: most as u64, left: most as u64 };
    }

    /// Counts work that was done.
    #[inline]
    pub const fn charge(&mut self, cost: usize) {
        self.left = self.left.saturating_sub(cost as u64);
    }

    /// How much may still be done.
    #[inline]
    #[must_use]
    pub fn left(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// Whether the rest is to wait.
    #[inline]
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// How much was done since the turn began.
    #[must_use]
    pub fn done(&self) -> usize {
        usize::try_from(self.most - self.left).unwrap_or(usize::MAX)
    }
}

/// What one transport has done of late, which says whether it has to wait for a turn that has time for it.
///
/// Each chunk makes up for an eighth, so that few large messages weigh as much as many small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(usize);

impl Share {
    /// Begins with nothing done.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// How much may be decoded of a chunk of `len` bytes that has come, in a turn that is `spent` or not: nothing, or a turn's work.
    #[inline]
    #[must_use]
    pub const fn allowance(&self, spent: bool, len: usize) -> usize {
        if spent && (self.0 > MUCH || len > LARGE) { 0 } else { DECODED_PER_TURN }
    }

    /// Counts what was done for a chunk; says whether it was much.
    #[inline]
    pub const fn charge(&mut self, cost: usize) -> bool {
        self.0 = (self.0 - self.0 / 8).saturating_add(cost);
        cost > MUCH
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::new()
    }
}

/// What it costs to write a DATA frame of `len` bytes that has waited: it is copied here, and by the system.
#[must_use]
pub const fn sent_cost(len: usize) -> usize {
    DATA_COST + len / 4
}

/// What it costs to have the HTTP/2 library take a frame, with what that leads to.
///
/// A field of a header block may take a byte, and six bytes of SETTINGS are one that is to be acknowledged. A block in several frames is
/// decoded with the last of them.
#[must_use]
pub fn frame_cost(frame: &[u8]) -> usize {
    match header_block(frame) {
        Some(HeaderBlock::Whole(block)) => {
            HEAD_COST + FIELD_COST * count_fields(block, MANY_FIELDS).unwrap_or(0) + FIELD_BYTE_COST * block.len()
        }
        Some(HeaderBlock::Rest) => BUDGET,
        None if frame.get(3) == Some(&SETTINGS) => 3 * FRAME_COST + 64 * frame.len(),
        None => FRAME_COST + frame.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_has_no_bound_before_a_turn_is_begun() {
        let mut work = Work::unbounded();
        work.charge(usize::MAX / 2);
        assert!(!work.is_spent() && work.left() > 1 << 30);
        work.begin(100);
        work.charge(99);
        assert_eq!((work.is_spent(), work.left(), work.done()), (false, 1, 99));
        work.charge(usize::MAX);
        assert_eq!((work.is_spent(), work.left(), work.done()), (true, 0, 100));
    }

    #[test]
    fn only_who_has_done_or_sends_much_waits_where_a_turn_is_spent() {
        let mut share = Share::new();
        assert_eq!(
            [(false, LARGE + 1), (true, LARGE)].map(|(spent, len)| share.allowance(spent, len)),
            [DECODED_PER_TURN; 2]
        );
        assert_eq!(share.allowance(true, LARGE + 1), 0);
        assert!(share.charge(2 * MUCH));
        assert_eq!((share.allowance(false, 1), share.allowance(true, 1)), (DECODED_PER_TURN, 0));
        let small = (0..100).take_while(|_| !share.charge(EVENT_COST) && share.allowance(true, 1) == 0);
        assert_eq!(small.count(), 5);
        (0..10_000).for_each(|_| assert!(!share.charge(EVENT_COST + 100)));
        assert_ne!(share.allowance(true, 1), 0);
    }

    #[test]
    fn frames_cost_by_what_they_lead_to() {
        let frame = |kind: u8, len: usize| [vec![0, 0, 0, kind], vec![0; 5 + len]].concat();
        let per_turn = |kind, len| DECODED_PER_TURN / frame_cost(&frame(kind, len));
        assert_eq!([6_u8, 8, 0xbb].map(|kind| per_turn(kind, 8)), [31; 3]);
        assert_eq!([per_turn(4, 0), per_turn(4, 16_384)], [10, 0]);
        let turns = |kind: u8, flags, payload: &[u8]| {
            let mut work = Work::unbounded();
            work.begin(DECODED_PER_TURN);
            let frame = [&[0, 0, 0, kind, flags, 0, 0, 0, 1], payload].concat();
            (1..=100).find(|_| {
                work.charge(frame_cost(&frame));
                work.is_spent()
            })
        };
        let literal = |fields: usize| b"\0\x04name\x05value".repeat(fields);
        assert_eq!([15, 60].map(|fields| turns(1, 4, &literal(fields))), [Some(4), Some(3)]);
        // 500 fields are a turn's work, however few bytes they have, and however many one has.
        assert_eq!([&[0xbe; 500][..], &literal(500)].map(|block| turns(1, 5, block)), [Some(1); 2]);
        assert_eq!(turns(1, 4, &[&[0, 1, b'x', 0x7f, 0x81, 0x7f][..], &[b'y'; 16_000]].concat()), Some(1));
        // A block is counted without its padding and its priority.
        let padded = |block: &[u8]| [&[100][..], block, &[0xbe; 100]].concat();
        assert_eq!(turns(1, 0xc, &padded(&literal(1))), Some(4));
        assert_eq!(turns(1, 0x2c, &padded(&[&[0; 5][..], &[0xbe; 500]].concat())), Some(1));
        assert_eq!(
            [(1, 0), (9, 0), (9, 4), (5, 4)].map(|(kind, flags)| turns(kind, flags, b"\0")),
            [32, 32, 1, 1].map(Some)
        );
        assert_eq!(per_turn(0, 16_384), 21);
    }

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
