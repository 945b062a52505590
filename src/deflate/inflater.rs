//! An inflater and its window, with the limit of what it gives.

use std::sync::Arc;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::history::History;
use super::pool::{Pool, Ticket};
use super::{MAX_ROOM, MAX_WINDOW_BITS, TAIL, difference};
use crate::fault::Fault;

/// Inflates the messages of one direction.
pub struct Inflater {
    context_takeover: bool,
    /// The most bytes that a message may have, inclusive; `u64::MAX` is no limit.
    pub(super) limit: u64,
    /// How many bytes the message has so far.
    inflated: u64,
    /// How many final blocks it has.
    final_blocks: u64,
    pool: Option<Arc<Pool>>,
    /// With a pool it is here within a message only.
    pub(super) context: Option<Inflate>,
    /// For the context in the pool.
    ticket: Option<Ticket>,
    /// What the next message may refer to. The context has it too, but cannot tell it at the end of a final block.
    pub(super) history: History,
    /// The context is as good as new: it has no bits of a block, and `history` is all that it is to know.
    fresh: bool,
    /// The context has been told of `history`. That waits until something is given, since it costs up to 32 KiB each time.
    pub(super) primed: bool,
}

impl Inflater {
    /// Makes an inflater for a peer that uses a window of `1 << window_bits` bytes, 8 to 15. It takes no memory before
    /// its first message. A message may have up to `limit` bytes, inflated; `u64::MAX` is no limit.
    ///
    /// # Panics
    ///
    /// If `window_bits` is out of its range.
    #[must_use]
    pub fn new(window_bits: u8, context_takeover: bool, limit: u64) -> Self {
        assert!((8..=15).contains(&window_bits), "window_bits are 8 to 15");
        Self {
            context_takeover,
            limit,
            inflated: 0,
            final_blocks: 0,
            pool: None,
            context: None,
            ticket: None,
            history: History::new(1 << window_bits),
            fresh: true,
            primed: false,
        }
    }

    /// Has it take its contexts from `pool`, each for the length of a message. Not to be called within a message.
    #[must_use]
    pub fn sharing(mut self, pool: Option<Arc<Pool>>) -> Self {
        self.pool = pool;
        self
    }

    /// Inflates `input`, the next bytes of a message however cut, appends what they say to `out`, and says how many it took.
    ///
    /// It takes all, unless they say more than `most` bytes: then it stops soon, and the rest is to be given again. `usize::MAX` has
    /// it take all.
    ///
    /// # Errors
    ///
    /// [`Fault::CorruptDeflate`], [`Fault::TooManyBlocks`], or [`Fault::MessageTooBig`] with no more than a few hundred bytes
    /// inflated beyond the limit, whatever the input. `out` then has what came before, and the inflater is of no more use.
    pub fn inflate(&mut self, input: &[u8], most: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
        if input.is_empty() {
            return Ok(0);
        }
        let before = out.len();
        let mut context = self.take();
        let taken = self.inflate_by(&mut context, input, most, out)?;
        self.context = Some(context);
        self.inflated += (out.len() - before) as u64;
        Ok(taken)
    }

    fn inflate_by(
        &mut self,
        context: &mut Inflate,
        input: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        self.fresh = false;
        let mut unremembered = out.len();
        // What is left of the limit, seen from a buffer that may have something in it already.
        let limit =
            usize::try_from((self.limit - self.inflated).saturating_add(out.len() as u64)).unwrap_or(usize::MAX);
        let enough = out.len().saturating_add(most);
        let mut rest = input;
        let mut room = room_for(input);
        // What is in the context's own hands when the input is used up, a few KiB at most, is given whatever is enough.
        while out.len() < enough || rest.is_empty() {
            let before = out.len();
            // Without room it goes as far as the first byte that it would give, which is the first that may be a reference.
            let wanted = room.min(enough.saturating_sub(before).max(MIN_ROOM));
            let granted = if self.primed { grow(out, wanted, limit) } else { 0 };
            let (total_in, total_out) = (context.total_in(), context.total_out());
            let status = context.decompress(rest, &mut out[before..], InflateFlush::NoFlush);
            let produced = difference(context.total_out(), total_out);
            let consumed = difference(context.total_in(), total_in);
            out.truncate(before + produced);
            rest = &rest[consumed..];
            if out.len() > limit {
                out.truncate(limit);
                return Err(Fault::MessageTooBig { limit: self.limit });
            }
            match status {
                Err(_) => return Err(Fault::CorruptDeflate),
                Ok(Status::StreamEnd) => {
                    // A final block ends no more than itself (§7.2.3.4): go on, with the window as it was.
                    self.history.push(&out[unremembered..]);
                    unremembered = out.len();
                    context.reset(false);
                    self.primed = false;
                    self.final_blocks += 1;
                    if self.final_blocks.saturating_mul(FINAL_BLOCK_COST)
                        > self.limit.saturating_add(FINAL_BLOCK_BUDGET)
                    {
                        return Err(Fault::TooManyBlocks);
                    }
                    if rest.is_empty() {
                        self.fresh = true;
                        return Ok(input.len());
                    }
                    room = MIN_ROOM;
                }
                Ok(_) if !self.primed => {
                    self.history.load(context);
                    self.primed = true;
                }
                Ok(_) if produced < granted && rest.is_empty() => break,
                Ok(_) if produced == 0 && consumed == 0 => return Err(Fault::CorruptDeflate),
                Ok(_) => room = (room * 2).min(MAX_ROOM),
            }
        }
        self.history.push(&out[unremembered..]);
        Ok(input.len() - rest.len())
    }

    /// Ends the message.
    ///
    /// # Errors
    ///
    /// [`Fault::CorruptDeflate`], if the message stops within a block: it is not whole.
    ///
    /// A message without a payload is taken for an empty one, and one that ends with a final block needs no byte more,
    /// though the sender owes a 0 for both (§7.2.3.4, §7.2.3.6).
    pub fn finish(&mut self) -> Result<(), Fault> {
        if let (Some(context), false) = (&mut self.context, self.fresh) {
            // The tail ends an empty block. Whatever else is open there would take one byte more, or give output.
            let probe = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0];
            let (total_in, total_out) = (context.total_in(), context.total_out());
            let status = context.decompress(&probe, &mut [0; 8], InflateFlush::Block);
            let consumed = difference(context.total_in(), total_in);
            if status.is_err() || consumed != TAIL.len() || context.total_out() != total_out {
                self.context = None;
                return Err(Fault::CorruptDeflate);
            }
        }
        self.fresh = true;
        self.inflated = 0;
        self.final_blocks = 0;
        if !self.context_takeover {
            self.history.clear();
        }
        // A context remembers as much as the largest window has, whatever was agreed on: what a smaller one has lost may not be
        // referred to on a connection that finds its own context again, since it cannot be on one that does not.
        if let (Some(context), true) = (&mut self.context, self.primed)
            && !(self.context_takeover && self.history.size == 1 << MAX_WINDOW_BITS)
        {
            context.reset(false);
            self.primed = false;
        }
        if let Some(pool) = &self.pool
            && let Some(context) = self.context.take()
        {
            self.ticket = pool.inflaters.put((), context, self.primed);
        }
        Ok(())
    }

    /// Frees the context, in the pool too, but keeps what the next message may refer to: at most the window.
    ///
    /// It does nothing within a message, whose state only the context has.
    pub fn release(&mut self) {
        if self.fresh {
            self.context = None;
            self.history.shrink();
            if let Some(pool) = &self.pool {
                pool.inflaters.discard(self.ticket.take());
            }
        }
    }

    fn take(&mut self) -> Inflate {
        if let Some(context) = self.context.take() {
            return context;
        }
        let taken = self.pool.as_ref().and_then(|pool| pool.inflaters.take(&(), self.ticket.take()));
        self.primed = matches!(taken, Some((_, true)));
        match taken {
            Some((context, true)) => context,
            Some((mut context, false)) => {
                context.reset(false);
                context
            }
            // 15 bits take no more memory than fewer, and `Inflate::reset` returns to them.
            None => Inflate::new(false, MAX_WINDOW_BITS),
        }
    }
}

impl Drop for Inflater {
    /// Leaves the context to the connections that go on.
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.inflaters.leave(self.ticket.take());
            if let Some(context) = self.context.take() {
                pool.inflaters.put((), context, false);
            }
        }
    }
}

/// Guesses how much `input` gives. More than what it gives keeps zlib on its fast path to the end; zeros are cheap.
fn room_for(input: &[u8]) -> usize {
    input.len().saturating_mul(8).saturating_add(SLACK).clamp(MIN_ROOM, MAX_ROOM)
}

/// Lengthens `out` by at most `room` zeros, of which only [`SLACK`] may lie beyond `limit`, and says by how many.
fn grow(out: &mut Vec<u8>, room: usize, limit: usize) -> usize {
    let len = out.len();
    let most = limit.saturating_sub(len).saturating_add(SLACK);
    let room = room.min(most);
    if out.capacity() - len < room {
        // Twice as much each time, as `reserve` does, but not beyond the limit.
        out.reserve_exact(room.max(len.min(most)));
    }
    out.resize(len + room, 0);
    room
}

/// What a final block costs of the budget that a message has for them, beside its limit: it takes as long as to inflate so many bytes.
const FINAL_BLOCK_COST: u64 = 256;
const FINAL_BLOCK_BUDGET: u64 = 64 * 1024;
/// Bytes inflated beyond a limit to see that it is passed. One would do, but with less than 260 left zlib is slow.
pub(super) const SLACK: usize = 320;
/// The least by which an output grows.
pub(super) const MIN_ROOM: usize = 1 << 10;
