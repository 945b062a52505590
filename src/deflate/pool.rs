//! Contexts that many connections share, because they are large: each holds one for the length of a message.

use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zlib_rs::{Deflate, Inflate};

use super::DeflateSettings;

/// What of the settings is fixed when a deflater's context is made: window bits, level, memory level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u8, u8, u8);

impl Kind {
    pub(super) const fn of(settings: DeflateSettings) -> Self {
        Self(settings.window_bits, settings.level, settings.memory_level)
    }
}

/// The contexts that wait for the next message of any connection that shares them.
///
/// While there are as many connections as contexts, each finds its own as it left it; an inflater only of the largest window, since it
/// keeps so much. Beyond that the one that has waited longest is taken over and told the last bytes of the connection's own history. What a connection sends means the same either way; its bytes may differ.
pub struct Pool {
    pub(super) deflaters: Shelf<Kind, Deflate>,
    pub(super) inflaters: Shelf<(), Inflate>,
}

impl Pool {
    /// Makes a pool that keeps up to `capacity` deflaters and as many inflaters, and has none yet.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { deflaters: Shelf::new(capacity), inflaters: Shelf::new(capacity) }
    }
}

/// Says which context on a shelf is one's own. No two are the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket(NonZeroU64);

/// Contexts of one sort. Who takes one off has it alone, so that no connection holds up another.
pub(super) struct Shelf<K, T> {
    capacity: usize,
    places: Mutex<Places<K, T>>,
}

struct Places<K, T> {
    /// Those that nobody has a ticket for, and after them the others; each as they came.
    waiting: Vec<Waiting<K, T>>,
    tickets: u64,
}

struct Waiting<K, T> {
    kind: K,
    ticket: Option<Ticket>,
    context: T,
}

// A ticket is good for one use, so it is taken by value.
#[allow(clippy::needless_pass_by_value)]
impl<K: PartialEq, T> Shelf<K, T> {
    const fn new(capacity: usize) -> Self {
        Self { capacity, places: Mutex::new(Places { waiting: Vec::new(), tickets: 0 }) }
    }

    /// Takes a context off: the own one, and then `true`, or one to be reset. `None`: a new one is to be made.
    pub(super) fn take(&self, kind: &K, own: Option<Ticket>) -> Option<(T, bool)> {
        let mut places = self.lock();
        if let Some(at) = places.find(own.as_ref()) {
            return Some((places.waiting.remove(at).context, true));
        }
        if let Some(at) = places.waiting.iter().position(|it| it.ticket.is_none() && it.kind == *kind) {
            return Some((places.waiting.remove(at).context, false));
        }
        if places.waiting.is_empty() || places.waiting.len() < self.capacity {
            return None;
        }
        let oldest = places.waiting.remove(0);
        // To free one takes long, and this is not the place for others to wait.
        drop(places);
        (oldest.kind == *kind).then_some((oldest.context, false))
    }

    /// Puts a context on the shelf. With `reserve` it gives a ticket, by which the context is found as long as no other needs it.
    pub(super) fn put(&self, kind: K, context: T, reserve: bool) -> Option<Ticket> {
        let mut places = self.lock();
        let ticket = reserve.then(|| places.ticket());
        let at = if reserve { places.waiting.len() } else { 0 };
        let place = Waiting { kind, ticket: ticket.as_ref().map(|ticket| Ticket(ticket.0)), context };
        places.waiting.insert(at, place);
        // More than its share come back when messages in fragments have kept them from the shelf.
        let surplus = (places.waiting.len() > self.capacity).then(|| places.waiting.remove(0));
        drop(places);
        drop(surplus);
        ticket
    }

    /// Leaves the own context, if it is still there, to whoever needs one next.
    pub(super) fn leave(&self, own: Option<Ticket>) {
        let mut places = self.lock();
        if let Some(at) = places.find(own.as_ref()) {
            places.waiting[at].ticket = None;
            places.waiting[..=at].rotate_right(1);
        }
    }

    /// Frees the own context, if it is still there.
    pub(super) fn discard(&self, own: Option<Ticket>) {
        let mut places = self.lock();
        let found = places.find(own.as_ref()).map(|at| places.waiting.remove(at));
        drop(places);
        drop(found);
    }

    /// Nothing in here is left half done by a panic, which only could come from the allocator.
    fn lock(&self) -> MutexGuard<'_, Places<K, T>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }
}

impl<K, T> Places<K, T> {
    fn find(&self, own: Option<&Ticket>) -> Option<usize> {
        let own = own?;
        self.waiting.iter().rposition(|it| it.ticket.as_ref() == Some(own))
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(NonZeroU64::new(self.tickets).expect("2^64 messages are never sent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finds_its_own_while_there_is_room() {
        let shelf: Shelf<u8, &str> = Shelf::new(2);
        assert_eq!(shelf.take(&1, None), None);
        let a = shelf.put(1, "a", true);
        assert_eq!(shelf.take(&1, None), None);
        let b = shelf.put(1, "b", true);
        assert_eq!(shelf.take(&1, a), Some(("a", true)));
        assert_eq!(shelf.take(&1, b), Some(("b", true)));
        assert_eq!(shelf.len(), 0);
    }

    #[test]
    fn what_has_waited_longest_is_taken_over_and_its_ticket_is_of_no_more_use() {
        let shelf: Shelf<u8, &str> = Shelf::new(2);
        let (a, b) = (shelf.put(1, "a", true), shelf.put(1, "b", true));
        assert_eq!(shelf.take(&1, None), Some(("a", false)));
        let again = shelf.put(1, "a", true);
        assert_eq!(shelf.take(&1, a), Some(("b", false)));
        assert_eq!(shelf.put(1, "c", false), None);
        assert_eq!(shelf.take(&1, b), Some(("c", false)));
        assert_eq!(shelf.take(&1, again), Some(("a", true)));
    }

    #[test]
    fn one_of_another_kind_makes_room_and_is_not_used() {
        let shelf: Shelf<u8, &str> = Shelf::new(1);
        let a = shelf.put(1, "a", true);
        assert_eq!(shelf.take(&2, None), None);
        assert_eq!(shelf.take(&1, a), None);
        assert_eq!((shelf.put(1, "b", false), shelf.take(&2, None), shelf.len()), (None, None, 0));
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        for capacity in 0..3 {
            let shelf: Shelf<u8, u8> = Shelf::new(capacity);
            let tickets: Vec<_> = (0..5).map(|n| shelf.put(1, n, true)).collect();
            shelf.put(1, 5, false);
            assert_eq!(shelf.len(), capacity);
            for (n, ticket) in (0..5).zip(tickets).rev() {
                assert_eq!(shelf.take(&1, ticket).is_some_and(|it| it == (n, true)), usize::from(n) + capacity >= 5);
            }
            assert_eq!(shelf.take(&1, None), None);
        }
    }

    #[test]
    fn what_is_left_is_taken_before_what_others_have_a_ticket_for() {
        let shelf: Shelf<u8, &str> = Shelf::new(3);
        let (a, b, c) = (shelf.put(1, "a", true), shelf.put(1, "b", true), shelf.put(1, "c", true));
        shelf.leave(b);
        shelf.leave(None);
        assert_eq!(shelf.take(&1, None), Some(("b", false)));
        assert_eq!(shelf.take(&1, None), None);
        assert_eq!((shelf.take(&1, c), shelf.take(&1, a)), (Some(("c", true)), Some(("a", true))));
    }

    #[test]
    fn what_is_discarded_is_gone_and_others_stay() {
        let shelf: Shelf<u8, &str> = Shelf::new(2);
        let (a, b) = (shelf.put(1, "a", true), shelf.put(1, "b", true));
        shelf.discard(a);
        shelf.discard(None);
        assert_eq!((shelf.len(), shelf.take(&1, b)), (1, Some(("b", true))));
    }

    #[test]
    fn a_panic_of_one_holder_is_nothing_to_the_others() {
        let shelf: Shelf<u8, &str> = Shelf::new(2);
        let a = shelf.put(1, "a", true);
        let panicked = std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _places = shelf.places.lock();
                panic!("on purpose");
            });
            holder.join().is_err()
        });
        assert!(panicked && shelf.places.is_poisoned());
        assert_eq!(shelf.take(&1, a), Some(("a", true)));
    }
}
