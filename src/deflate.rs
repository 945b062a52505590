//! permessage-deflate of one direction (RFC 7692 §7.2): a [`Deflater`] or an [`Inflater`], each with its window.

use std::sync::Arc;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status, Strategy};

mod pool;

pub use pool::Pool;

use crate::fault::Fault;
use pool::{Kind, Ticket};

/// How to compress. What is not negotiated (level and memory) is the sender's own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateSettings {
    /// The window is `1 << window_bits` bytes: 8 to 15. With 8 nothing is matched, only Huffman codes save bytes.
    pub window_bits: u8,
    /// From 0, which stores, over 1, the fastest, to 9, the smallest.
    pub level: u8,
    /// From 1 to 9: a context takes `1 << (memory_level + 9)` bytes for it, beside 128 KiB and 4 windows.
    pub memory_level: u8,
    /// Whether a message may refer to the messages before it.
    pub context_takeover: bool,
}

/// Compresses the messages of one direction.
pub struct Deflater {
    settings: DeflateSettings,
    pool: Option<Arc<Pool>>,
    /// With a pool it is here within a message only.
    context: Option<Deflate>,
    /// For the context in the pool.
    ticket: Option<Ticket>,
    /// What the next message may refer to, for another context than the one that compressed it. Empty without a pool.
    history: History,
    /// What is in the window may not be referred to.
    stale: bool,
}

impl Deflater {
    /// Makes a deflater, which takes no memory before its first message.
    ///
    /// # Panics
    ///
    /// If a setting is out of its range.
    #[must_use]
    pub fn new(settings: DeflateSettings) -> Self {
        assert!((8..=15).contains(&settings.window_bits), "window_bits are 8 to 15");
        assert!(settings.level <= 9, "a level is 0 to 9");
        assert!((1..=9).contains(&settings.memory_level), "a memory_level is 1 to 9");
        // Where nothing is ever matched there is nothing to remember.
        let refers = settings.context_takeover && settings.level > 0 && settings.window_bits > 8;
        let history = History::new(if refers { PRIMED.min(1 << settings.window_bits) } else { 0 });
        Self { settings, pool: None, context: None, ticket: None, history, stale: false }
    }

    /// Has it take its contexts from `pool`, each for the length of a message. Not to be called within a message.
    #[must_use]
    pub fn sharing(mut self, pool: Option<Arc<Pool>>) -> Self {
        self.pool = pool;
        self
    }

    /// Compresses `fragment` of a message and appends the payload of its frame to `out`; `fin` ends the message.
    ///
    /// The payload lets the peer inflate all of the fragment. It is empty for an empty fragment without `fin`.
    pub fn compress(&mut self, fragment: &[u8], fin: bool, out: &mut Vec<u8>) {
        if !fragment.is_empty() {
            let mut context = self.take();
            flush(&mut context, fragment, out);
            self.context = Some(context);
            if self.pool.is_some() {
                self.history.push(fragment);
            }
            if fin {
                debug_assert!(out.ends_with(&TAIL), "a sync flush ends with an empty block");
                out.truncate(out.len() - TAIL.len());
            }
        } else if fin {
            // A second flush in a row gives no bytes, so the empty block is written here (§7.2.3.6).
            out.push(0);
        }
        self.stale |= fin && !self.settings.context_takeover;
        if fin {
            self.give_back();
        }
    }

    /// The window in bits.
    #[must_use]
    pub const fn window_bits(&self) -> u8 {
        self.settings.window_bits
    }

    /// Frees the context, in the pool too. This may come within a message: what comes next refers to what is left of the history, at
    /// most 2 KiB, and without a pool to nothing.
    pub fn release(&mut self) {
        self.context = None;
        self.history.shrink();
        if let Some(pool) = &self.pool {
            pool.deflaters.discard(self.ticket.take());
        }
    }

    /// Forgets what was compressed so far, because the peer has seen other messages in between.
    ///
    /// A message that another deflater made moves the peer's window, so that distances of this one no longer fit.
    pub fn forget(&mut self) {
        self.stale = true;
    }

    /// Takes the context, whose window is that of the peer.
    fn take(&mut self) -> Deflate {
        let stale = std::mem::take(&mut self.stale);
        if stale {
            self.history.clear();
        }
        let taken = match (self.context.take(), &self.pool) {
            (Some(context), _) => Some((context, true)),
            (None, Some(pool)) => pool.deflaters.take(&Kind::of(self.settings), self.ticket.take()),
            (None, None) => None,
        };
        let mut context = match taken {
            Some((context, true)) if !stale => return context,
            Some((mut context, _)) => {
                context.reset();
                context
            }
            None => Deflate::new_with_config(config(self.settings)),
        };
        for part in self.history.parts() {
            context.set_dictionary(part).expect("raw deflate takes a dictionary between blocks");
        }
        context
    }

    fn give_back(&mut self) {
        if let Some(pool) = &self.pool
            && let Some(context) = self.context.take()
        {
            self.ticket = pool.deflaters.put(Kind::of(self.settings), context, !self.stale);
        }
    }
}

impl Drop for Deflater {
    /// Leaves the context to the connections that go on.
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.deflaters.leave(self.ticket.take());
            if let Some(context) = self.context.take() {
                pool.deflaters.put(Kind::of(self.settings), context, false);
            }
        }
    }
}

fn flush(context: &mut Deflate, mut input: &[u8], out: &mut Vec<u8>) {
    loop {
        let before = out.len();
        // Enough for what does not compress: the fixed codes of level 1 take at most 9 bits a byte.
        let room = (input.len() + input.len() / 8 + 64).min(MAX_ROOM);
        out.resize(before + room, 0);
        let (total_in, total_out) = (context.total_in(), context.total_out());
        context
            .compress(input, &mut out[before..], DeflateFlush::SyncFlush)
            .expect("a deflater that is not finished takes any bytes");
        let produced = difference(context.total_out(), total_out);
        out.truncate(before + produced);
        input = &input[difference(context.total_in(), total_in)..];
        // A flush is done once it leaves room (zlib's own rule).
        if input.is_empty() && produced < room {
            return;
        }
    }
}

/// Inflates the messages of one direction.
pub struct Inflater {
    context_takeover: bool,
    /// The most bytes that a message may have, inclusive; `u64::MAX` is no limit.
    limit: u64,
    /// How many bytes the message has so far.
    inflated: u64,
    /// How many final blocks it has.
    final_blocks: u64,
    pool: Option<Arc<Pool>>,
    /// With a pool it is here within a message only.
    context: Option<Inflate>,
    /// For the context in the pool.
    ticket: Option<Ticket>,
    /// What the next message may refer to. The context has it too, but cannot tell it at the end of a final block.
    history: History,
    /// The context is as good as new: it has no bits of a block, and `history` is all that it is to know.
    fresh: bool,
    /// The context has been told of `history`. That waits until something is given, since it costs up to 32 KiB each time.
    primed: bool,
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

/// The last bytes of what was inflated, at most `size`: a ring that grows to its size as bytes come.
struct History {
    size: usize,
    bytes: Vec<u8>,
    /// Where the oldest byte is. 0 unless `bytes` has reached its size.
    oldest: usize,
}

impl History {
    const fn new(size: usize) -> Self {
        Self { size, bytes: Vec::new(), oldest: 0 }
    }

    fn push(&mut self, produced: &[u8]) {
        if self.size == 0 {
            return;
        }
        let newest = &produced[produced.len().saturating_sub(self.size)..];
        if newest.len() == self.size {
            self.clear();
        }
        let (grown, over) = newest.split_at(newest.len().min(self.size - self.bytes.len()));
        let len = self.bytes.len() + grown.len();
        if len > self.bytes.capacity() {
            self.bytes.reserve_exact(len.next_power_of_two().min(self.size) - self.bytes.len());
        }
        self.bytes.extend_from_slice(grown);
        let (end, begin) = over.split_at(over.len().min(self.bytes.len() - self.oldest));
        self.bytes[self.oldest..][..end.len()].copy_from_slice(end);
        self.bytes[..begin.len()].copy_from_slice(begin);
        self.oldest = (self.oldest + over.len()) % self.size;
    }

    fn load(&self, context: &mut Inflate) {
        for part in self.parts() {
            context.set_dictionary(part).expect("raw deflate takes a dictionary between blocks");
        }
    }

    /// What it holds, from the oldest byte on.
    fn parts(&self) -> [&[u8]; 2] {
        let (newer, older) = self.bytes.split_at(self.oldest);
        [older, newer]
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.oldest = 0;
    }

    fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }
}

fn config(settings: DeflateSettings) -> DeflateConfig {
    // zlib has no window of 8 bits. With 9 and no matches, no distance exists that 8 bits could not reach.
    let strategy = if settings.window_bits == 8 { Strategy::HuffmanOnly } else { Strategy::Default };
    DeflateConfig {
        level: settings.level.into(),
        window_bits: -i32::from(settings.window_bits.max(9)),
        mem_level: settings.memory_level.into(),
        strategy,
        ..DeflateConfig::default()
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

fn difference(after: u64, before: u64) -> usize {
    usize::try_from(after - before).expect("no call takes or gives more than its slices have")
}

/// The largest window of DEFLATE, in bits.
const MAX_WINDOW_BITS: u8 = 15;
/// What a final block costs of the budget that a message has for them, beside its limit: it takes as long as to inflate so many bytes.
const FINAL_BLOCK_COST: u64 = 256;
const FINAL_BLOCK_BUDGET: u64 = 64 * 1024;
/// What a sync flush ends with and a message leaves out (§7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// What a deflater is told of before it goes on with the messages of another connection. To hash more takes longer than it gains: 4 KiB
/// make JSON and prose 0 to 2 % of their size smaller, for 3 us more beside the 10 us that 1 KiB takes.
const PRIMED: usize = 2 << 10;
/// Bytes inflated beyond a limit to see that it is passed. One would do, but with less than 260 left zlib is slow.
const SLACK: usize = 320;
/// The steps in which an output grows: zeroed first, which costs little as long as it fits a cache.
const MIN_ROOM: usize = 1 << 10;
const MAX_ROOM: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

    fn settings(window_bits: u8, level: u8, context_takeover: bool) -> DeflateSettings {
        DeflateSettings { window_bits, level, memory_level: 8, context_takeover }
    }

    fn compressed(deflater: &mut Deflater, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        deflater.compress(message, true, &mut out);
        out
    }

    /// Makes an inflater without a limit.
    fn unlimited(window_bits: u8, context_takeover: bool) -> Inflater {
        Inflater::new(window_bits, context_takeover, u64::MAX)
    }

    fn inflated(inflater: &mut Inflater, payload: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        inflater.limit = limit as u64;
        inflater.inflate(payload, usize::MAX, &mut out)?;
        inflater.finish()?;
        Ok(out)
    }

    /// What a payload says, with the furthest distance in it, read as RFC 1951 has it and by no other library.
    fn reference(payload: &[u8], window: &mut Vec<u8>) -> (Vec<u8>, usize) {
        let bytes = [payload, &TAIL].concat();
        let mut bits = Bits { bytes: &bytes, at: 0 };
        let (start, mut furthest) = (window.len(), 0);
        while bits.at < bytes.len() * 8 {
            let last = bits.take(1) == 1;
            match bits.take(2) {
                0 => {
                    bits.at = bits.at.next_multiple_of(8);
                    let (len, complement) = (bits.take(16), bits.take(16));
                    assert_eq!(len ^ complement, 0xffff);
                    window.extend((0..len).map(|_| u8::try_from(bits.take(8)).unwrap()));
                }
                1 => {
                    let literals = [vec![8; 144], vec![9; 112], vec![7; 24], vec![8; 8]].concat();
                    let (literals, distances) = (Codes::new(&literals), Codes::new(&[5; 30]));
                    furthest = furthest.max(block(&mut bits, &literals, &distances, window));
                }
                2 => {
                    let (literals, distances) = dynamic(&mut bits);
                    furthest = furthest.max(block(&mut bits, &literals, &distances, window));
                }
                _ => panic!("a reserved block type"),
            }
            if last {
                bits.at = bits.at.next_multiple_of(8);
            }
        }
        (window[start..].to_vec(), furthest)
    }

    struct Bits<'a> {
        bytes: &'a [u8],
        at: usize,
    }

    impl Bits<'_> {
        fn take(&mut self, count: usize) -> usize {
            (0..count).fold(0, |value, n| {
                let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
                self.at += 1;
                value | usize::from(bit) << n
            })
        }

        fn symbol(&mut self, codes: &Codes) -> usize {
            let (mut code, mut first, mut index) = (0, 0, 0);
            for &count in &codes.counts[1..] {
                code |= self.take(1);
                if code < first + count {
                    return codes.symbols[index + code - first];
                }
                index += count;
                first = (first + count) << 1;
                code <<= 1;
            }
            panic!("no such code");
        }
    }

    /// How many codes there are of each length, and their symbols in the order of the codes.
    struct Codes {
        counts: [usize; 16],
        symbols: Vec<usize>,
    }

    impl Codes {
        fn new(lens: &[usize]) -> Self {
            let mut counts = [0; 16];
            for &len in lens {
                counts[len] += 1;
            }
            let mut symbols: Vec<usize> = (0..lens.len()).filter(|&symbol| lens[symbol] != 0).collect();
            symbols.sort_by_key(|&symbol| lens[symbol]);
            Self { counts, symbols }
        }
    }

    fn dynamic(bits: &mut Bits) -> (Codes, Codes) {
        const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let (literals, distances, count) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
        let mut lens = [0; 19];
        for &index in &ORDER[..count] {
            lens[index] = bits.take(3);
        }
        let codes = Codes::new(&lens);
        let mut lens = Vec::new();
        while lens.len() < literals + distances {
            let (len, count) = match bits.symbol(&codes) {
                16 => (*lens.last().unwrap(), 3 + bits.take(2)),
                17 => (0, 3 + bits.take(3)),
                18 => (0, 11 + bits.take(7)),
                len => (len, 1),
            };
            lens.extend(std::iter::repeat_n(len, count));
        }
        (Codes::new(&lens[..literals]), Codes::new(&lens[literals..]))
    }

    fn block(bits: &mut Bits, literals: &Codes, distances: &Codes, window: &mut Vec<u8>) -> usize {
        let mut furthest = 0;
        loop {
            match bits.symbol(literals) {
                256 => return furthest,
                literal @ 0..256 => window.push(u8::try_from(literal).unwrap()),
                symbol => {
                    let index = symbol - 257;
                    let len = match index {
                        28 => 258,
                        0..8 => index + 3,
                        _ => ((4 + index % 4) << (index / 4 - 1)) + 3 + bits.take(index / 4 - 1),
                    };
                    let index = bits.symbol(distances);
                    let distance = match index {
                        0..4 => index + 1,
                        _ => ((2 + index % 2) << (index / 2 - 1)) + 1 + bits.take(index / 2 - 1),
                    };
                    furthest = furthest.max(distance);
                    for _ in 0..len {
                        window.push(window[window.len() - distance]);
                    }
                }
            }
        }
    }

    /// Numbers that look random and are the same in each run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % end
        }

        /// Bytes that do not compress.
        fn bytes(&mut self, len: usize) -> Vec<u8> {
            (0..len).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
        }

        /// Bytes with repetitions at all distances, and some that do not compress.
        fn message(&mut self, len: usize) -> Vec<u8> {
            let mut message: Vec<u8> = Vec::new();
            while message.len() < len {
                let count = 1 + self.below(80);
                match self.below(3) {
                    0 => message.extend((0..count).map(|_| u8::try_from(self.below(256)).unwrap())),
                    1 => message.extend(std::iter::repeat_n(b'a', count)),
                    _ => {
                        let from = self.below(message.len().max(1));
                        let to = message.len().min(from + count);
                        message.extend_from_within(from..to);
                    }
                }
            }
            message.truncate(len);
            message
        }
    }

    #[test]
    fn hello_of_section_7_2_3_1_is_one_block_of_fixed_codes() {
        let mut deflater = Deflater::new(settings(15, 6, true));
        assert_eq!(compressed(&mut deflater, b"Hello"), HELLO);
        let mut inflater = unlimited(15, true);
        let mut out = Vec::new();
        inflater.inflate(&HELLO[..3], usize::MAX, &mut out).unwrap();
        inflater.inflate(&HELLO[3..], usize::MAX, &mut out).unwrap();
        assert_eq!((inflater.finish(), out.as_slice()), (Ok(()), &b"Hello"[..]));
    }

    #[test]
    fn hello_again_of_section_7_2_3_2_refers_to_the_first_if_the_context_is_taken_over() {
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        for takeover in [true, false] {
            let mut deflater = Deflater::new(settings(15, 6, takeover));
            let mut inflater = unlimited(15, takeover);
            assert_eq!(compressed(&mut deflater, b"Hello"), HELLO);
            let second = if takeover { &again[..] } else { &HELLO };
            assert_eq!(compressed(&mut deflater, b"Hello"), second);
            for payload in [&HELLO, second, second] {
                assert_eq!(inflated(&mut inflater, payload, 5).unwrap(), b"Hello");
            }
        }
        let mut inflater = unlimited(15, false);
        assert_eq!(inflated(&mut inflater, &HELLO, 5).unwrap(), b"Hello");
        assert_eq!(inflated(&mut inflater, &again, 5), Err(Fault::CorruptDeflate));
    }

    #[test]
    fn a_stored_block_of_section_7_2_3_3_inflates() {
        let payload = b"\x00\x05\x00\xfa\xffHello\x00";
        assert_eq!(inflated(&mut unlimited(15, true), payload, 5).unwrap(), b"Hello");
        assert_eq!(compressed(&mut Deflater::new(settings(15, 0, true)), b"Hello"), payload);
    }

    #[test]
    fn a_final_block_of_section_7_2_3_4_ends_neither_message_nor_window() {
        let payload = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let again_final = [0xf3, 0x00, 0x11, 0x00, 0x00];
        for (first, limit) in [(&payload[..], 5), (&payload[..7], 5), (&payload[..7], 6)] {
            let mut inflater = unlimited(15, true);
            assert_eq!(inflated(&mut inflater, first, limit).unwrap(), b"Hello");
            assert_eq!(inflated(&mut inflater, &again, limit).unwrap(), b"Hello");
            assert_eq!(inflated(&mut inflater, &again_final, limit).unwrap(), b"Hello");
            assert_eq!(inflated(&mut inflater, &again, limit).unwrap(), b"Hello");
        }
        let several = [&payload[..7], &again_final[..4], &again_final[..4], &HELLO].concat();
        for cut in 0..several.len() {
            let (mut inflater, mut out) = (unlimited(8, false), Vec::new());
            inflater.inflate(&several[..cut], usize::MAX, &mut out).unwrap();
            inflater.inflate(&several[cut..], usize::MAX, &mut out).unwrap();
            assert_eq!((inflater.finish(), out), (Ok(()), b"HelloHelloHelloHello".to_vec()));
            assert_eq!(inflated(&mut inflater, &again, 5), Err(Fault::CorruptDeflate));
        }
        let mut inflater = unlimited(15, true);
        assert_eq!(inflated(&mut inflater, b"\x00\x05\x00\xfa\xffHello\x01", 5).unwrap(), b"Hello");
        assert_eq!(inflated(&mut inflater, &again, 5).unwrap(), b"Hello");
    }

    #[test]
    fn a_context_is_told_of_the_window_once_something_is_given() {
        let mut inflater = unlimited(15, true);
        let mut out = Vec::new();
        inflated(&mut inflater, &HELLO, 5).unwrap();
        for piece in [&[0x03, 0x00][..], b"\x03\x00\x01\x00\x00\xff\xff\x03\x00", b"\x03"] {
            inflater.inflate(piece, usize::MAX, &mut out).unwrap();
            assert!(out.is_empty() && inflater.primed == (piece == b"\x03"));
        }
        // What "Hello" again is, behind a final block whose last byte is still to come.
        inflater.inflate(&[0x00, 0xf2, 0x00, 0x11, 0x00, 0x00], usize::MAX, &mut out).unwrap();
        assert_eq!((inflater.finish(), out.as_slice(), inflater.primed), (Ok(()), &b"Hello"[..], true));
    }

    #[test]
    fn final_blocks_are_as_many_as_the_limit_pays_for() {
        for (limit, allowed) in [(0, 256), (1 << 20, 4352)] {
            // One that says nothing, and one that says "a".
            let pieces = [&[0x03, 0x00][..], b"\x4b\x04\x00"];
            for piece in &pieces[..if limit == 0 { 1 } else { 2 }] {
                let (mut inflater, mut out) = (Inflater::new(15, true, limit), Vec::new());
                for _ in 0..2 {
                    inflater.inflate(&piece.repeat(allowed), usize::MAX, &mut out).unwrap();
                    inflater.finish().unwrap();
                }
                inflater.inflate(&piece.repeat(allowed), usize::MAX, &mut out).unwrap();
                assert_eq!(inflater.inflate(piece, usize::MAX, &mut out), Err(Fault::TooManyBlocks));
            }
        }
    }

    #[test]
    fn two_blocks_of_section_7_2_3_5_are_one_message() {
        let payload = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflated(&mut unlimited(15, true), &payload, 5).unwrap(), b"Hello");
        let (mut deflater, mut out) = (Deflater::new(settings(15, 6, true)), Vec::new());
        deflater.compress(b"He", false, &mut out);
        deflater.compress(b"llo", true, &mut out);
        assert_eq!(out, payload);
    }

    #[test]
    fn an_empty_message_of_section_7_2_3_6_is_a_zero() {
        for takeover in [true, false] {
            let mut deflater = Deflater::new(settings(15, 6, takeover));
            let mut inflater = unlimited(15, takeover);
            for message in [&b""[..], b"Hello", b"", b"", b"Hello"] {
                let payload = compressed(&mut deflater, message);
                assert_eq!(payload == [0], message.is_empty());
                assert_eq!(inflated(&mut inflater, &payload, 5).unwrap(), message);
                assert_eq!(inflated(&mut inflater, b"", 5).unwrap(), b"");
            }
            let mut out = Vec::new();
            deflater.compress(b"", false, &mut out);
            assert_eq!(out, b"");
            deflater.compress(b"a", false, &mut out);
            deflater.compress(b"", true, &mut out);
            assert_eq!(inflated(&mut inflater, &out, 1).unwrap(), b"a");
        }
    }

    #[test]
    fn every_window_level_and_memory_inflates_to_the_same_and_reaches_no_further_than_agreed() {
        let mut random = Random(1);
        for window_bits in 8..=15 {
            for level in 0..=9 {
                for takeover in [true, false] {
                    let memory_level = 1 + u8::try_from(random.below(9)).unwrap();
                    let settings = DeflateSettings { window_bits, level, memory_level, context_takeover: takeover };
                    let (mut deflater, mut inflater) = (Deflater::new(settings), unlimited(window_bits, takeover));
                    let mut window = Vec::new();
                    for len in [1, 2, 300, 0, (1 << window_bits) + 900, 700] {
                        let message = random.message(len);
                        let mut payload = Vec::new();
                        let cut = random.below(len + 1);
                        deflater.compress(&message[..cut], false, &mut payload);
                        deflater.compress(&message[cut..], true, &mut payload);
                        if !takeover {
                            window.clear();
                        }
                        let (read, furthest) = reference(&payload, &mut window);
                        assert!(read == message && furthest <= 1 << window_bits, "{settings:?} {len} {furthest}");
                        assert!(window_bits > 8 || furthest == 0);
                        assert!(inflated(&mut inflater, &payload, len).unwrap() == message, "{settings:?} {len}");
                        assert!(payload.len() <= len + len / 8 + 64, "{settings:?} {len} {}", payload.len());
                    }
                }
            }
        }
    }

    #[test]
    fn cuts_final_blocks_and_releases_change_nothing() {
        let mut random = Random(2);
        for round in 0..300 {
            let window_bits = 9 + u8::try_from(random.below(7)).unwrap();
            let mut deflater = Deflater::new(settings(window_bits, 1 + u8::try_from(random.below(9)).unwrap(), true));
            let mut inflater = unlimited(window_bits, true);
            for _ in 0..6 {
                let bits = random.below(17);
                let len = random.below(1 << bits);
                let message = random.message(len);
                let mut payload = compressed(&mut deflater, &message);
                if random.below(2) == 0 {
                    // A final block that says nothing, at the byte border that an empty stored block leaves.
                    payload.extend_from_slice(b"\0\0\xff\xff\x03\0\0");
                }
                let (mut rest, mut out, mut taken) = (payload.as_slice(), Vec::new(), Vec::new());
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(1 + random.below(rest.len()));
                    inflater.inflate(piece, usize::MAX, &mut out).unwrap();
                    inflater.release();
                    if random.below(2) == 0 {
                        taken.append(&mut out);
                    }
                    rest = after;
                }
                inflater.finish().unwrap();
                taken.append(&mut out);
                assert!(taken == message, "round {round}");
                if random.below(2) == 0 {
                    inflater.release();
                    assert!(inflater.context.is_none());
                    assert!(inflater.history.bytes.capacity() <= 1 << window_bits);
                }
                if random.below(4) == 0 {
                    deflater.release();
                }
            }
        }
    }

    #[test]
    fn a_message_of_final_blocks_refers_to_all_before_and_is_referred_to() {
        let mut random = Random(6);
        for window_bits in 9..=15 {
            let mut inflater = unlimited(window_bits, true);
            let mut all = Vec::new();
            for len in [100, 3000, 1, 50_000, 200, 700, 40_000, 90] {
                let (mut payload, mut message) = (Vec::new(), Vec::new());
                for _ in 0..=random.below(2) {
                    let mut stream = Deflate::new_with_config(config(settings(window_bits, 6, true)));
                    stream.set_dictionary(&all[all.len().saturating_sub(1 << window_bits)..]).unwrap();
                    // Half of it is from the window, so that there are distances to reach.
                    let from = all.len().saturating_sub(random.below(1 << window_bits));
                    let part = [&all[from..all.len().min(from + len / 2)], &random.message(len)].concat();
                    let mut out = vec![0; 2 * part.len() + 64];
                    assert_eq!(stream.compress(&part, &mut out, DeflateFlush::Finish), Ok(Status::StreamEnd));
                    payload.extend_from_slice(&out[..difference(stream.total_out(), 0)]);
                    message.extend_from_slice(&part);
                    all.extend_from_slice(&part);
                }
                if random.below(2) == 0 {
                    payload.push(0);
                }
                let cut = random.below(payload.len());
                let mut out = Vec::new();
                inflater.inflate(&payload[..cut], usize::MAX, &mut out).unwrap();
                inflater.inflate(&payload[cut..], usize::MAX, &mut out).unwrap();
                inflater.finish().unwrap();
                assert!(out == message, "{window_bits} {len}");
                if random.below(3) == 0 {
                    inflater.release();
                }
            }
        }
    }

    #[test]
    fn a_message_of_another_deflater_may_come_between_if_this_one_forgets() {
        let (mut deflater, mut prepared) = (Deflater::new(settings(9, 6, true)), Deflater::new(settings(9, 6, false)));
        let mut inflater = unlimited(9, true);
        for _ in 0..3 {
            for len in [40, 500] {
                let other = vec![b'x'; len];
                let payload = compressed(&mut prepared, &other);
                assert_eq!(inflated(&mut inflater, &payload, len).unwrap(), other);
                deflater.forget();
                let payload = compressed(&mut deflater, b"Hello");
                assert_eq!(payload, HELLO);
                assert_eq!(inflated(&mut inflater, &payload, 5).unwrap(), b"Hello");
            }
        }
    }

    #[test]
    fn a_limit_is_exact_and_bounds_memory() {
        for len in [1, 1023, 1024, 1025, 70_000, 1 << 20] {
            let payload = compressed(&mut Deflater::new(settings(15, 6, true)), &vec![0; len]);
            for cut in [0, 1, payload.len() / 2, payload.len() - 1] {
                for limit in [0, len / 2, len - 1, len, len + 1, usize::MAX] {
                    let (mut inflater, mut out) = (Inflater::new(15, true, limit as u64), Vec::new());
                    let result = inflater
                        .inflate(&payload[..cut], usize::MAX, &mut out)
                        .and_then(|_| inflater.inflate(&payload[cut..], usize::MAX, &mut out))
                        .and_then(|_| inflater.finish());
                    if limit < len {
                        assert_eq!(result, Err(Fault::MessageTooBig { limit: limit as u64 }));
                    } else {
                        assert_eq!((result, out.len()), (Ok(()), len));
                    }
                    assert!(out.capacity() <= limit.saturating_add(SLACK) && out.capacity() <= 2 * len + MAX_ROOM);
                }
            }
        }
    }

    #[test]
    fn a_message_is_inflated_as_far_as_is_wanted() {
        let mut random = Random(10);
        for round in 0..40 {
            // A final block, which says "a", in front of every second message.
            let (block, said) = [(&b"\x4b\x04\x00"[..], &b"a"[..]), (b"", b"")][round % 2];
            let len = 1 << random.below(20);
            let message = if round % 3 == 0 { vec![0; len] } else { random.message(len) };
            let payload = [block, &compressed(&mut Deflater::new(settings(15, 6, true)), &message)].concat();
            for most in [1, 1000, MAX_ROOM] {
                let (mut inflater, mut rest, mut all) = (unlimited(15, true), payload.as_slice(), Vec::new());
                while !rest.is_empty() {
                    let mut out = Vec::new();
                    let taken = inflater.inflate(rest, most, &mut out).unwrap();
                    assert!(taken == rest.len() || out.len() >= most);
                    assert!(out.len() <= most + MIN_ROOM + 9 * 1024, "{} {most}", out.len());
                    rest = &rest[taken..];
                    all.extend_from_slice(&out);
                }
                inflater.finish().unwrap();
                assert!(all == [said, &message].concat());
            }
        }
    }

    #[test]
    fn a_message_that_stops_within_a_block_is_corrupt() {
        let message = Random(3).message(3000);
        for level in [1, 6] {
            let payload = compressed(&mut Deflater::new(settings(15, level, true)), &message);
            for cut in 1..payload.len() - 1 {
                let result = inflated(&mut unlimited(15, true), &payload[..cut], 3000);
                assert!(result == Err(Fault::CorruptDeflate), "level {level} cut {cut}");
            }
        }
        for payload in [&b"\x00\x0a\x00\xf5\xffHello"[..], b"\xf2\x48\xcd", b"\x07", b"\xff", b"\x05\xc0"] {
            assert_eq!(inflated(&mut unlimited(15, true), payload, 99), Err(Fault::CorruptDeflate));
        }
    }

    #[test]
    fn any_bytes_inflate_or_fail_and_never_give_more_than_the_limit() {
        let mut random = Random(4);
        let good = compressed(&mut Deflater::new(settings(15, 6, true)), &random.message(2000));
        for round in 0..4000 {
            let mut bytes: Vec<u8> = (0..random.below(60)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
            if round % 2 == 0 {
                bytes.clone_from(&good);
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            let (mut inflater, mut out) = (Inflater::new(15, round % 3 == 0, 3000), Vec::new());
            for _ in 0..2 {
                let cut = random.below(bytes.len() + 1);
                let result = inflater
                    .inflate(&bytes[..cut], usize::MAX, &mut out)
                    .and_then(|_| inflater.inflate(&bytes[cut..], usize::MAX, &mut out))
                    .and_then(|_| inflater.finish());
                assert!(out.len() <= 3000 + SLACK);
                if result.is_err() {
                    break;
                }
                out.clear();
                inflater.release();
            }
        }
    }

    /// A connection whose contexts are shared, and its peer, who shares none.
    struct Sharing {
        deflater: Deflater,
        inflater: Inflater,
        prepared: Deflater,
        peer: Inflater,
        window: Vec<u8>,
        /// The message that is under way: what it says, its payload, and what was inflated of it by both.
        message: Vec<u8>,
        payload: Vec<u8>,
        out: Vec<u8>,
        peers: Vec<u8>,
    }

    impl Sharing {
        fn new(settings: DeflateSettings, pool: &Arc<Pool>) -> Self {
            let (bits, takeover) = (settings.window_bits, settings.context_takeover);
            Self {
                deflater: Deflater::new(settings).sharing(Some(Arc::clone(pool))),
                inflater: unlimited(bits, takeover).sharing(Some(Arc::clone(pool))),
                prepared: Deflater::new(DeflateSettings { context_takeover: false, ..settings }),
                peer: unlimited(bits, takeover),
                window: Vec::new(),
                message: Vec::new(),
                payload: Vec::new(),
                out: Vec::new(),
                peers: Vec::new(),
            }
        }

        /// Goes on with the message, which ends with `fin`.
        fn send(&mut self, fragment: &[u8], fin: bool, random: &mut Random) {
            let mut payload = Vec::new();
            self.deflater.compress(fragment, fin, &mut payload);
            self.message.extend_from_slice(fragment);
            self.take(&payload, fin, random);
        }

        /// Sends a message that another deflater compressed, as a prepared one.
        fn send_prepared(&mut self, message: &[u8], random: &mut Random) {
            let payload = compressed(&mut self.prepared, message);
            self.deflater.forget();
            self.message.extend_from_slice(message);
            self.take(&payload, true, random);
        }

        fn take(&mut self, payload: &[u8], fin: bool, random: &mut Random) {
            let cut = random.below(payload.len() + 1);
            for piece in [&payload[..cut], &payload[cut..]] {
                self.inflater.inflate(piece, usize::MAX, &mut self.out).unwrap();
                self.peer.inflate(piece, usize::MAX, &mut self.peers).unwrap();
            }
            self.payload.extend_from_slice(payload);
            if !fin {
                return;
            }
            self.inflater.finish().unwrap();
            self.peer.finish().unwrap();
            assert!(self.out == self.message && self.peers == self.message);
            let settings = self.deflater.settings;
            if !settings.context_takeover {
                self.window.clear();
            }
            let (read, furthest) = reference(&self.payload, &mut self.window);
            assert!(read == self.message && furthest <= 1 << settings.window_bits, "{settings:?} {furthest}");
            self.window.drain(..self.window.len().saturating_sub(1 << 15));
            for buffer in [&mut self.message, &mut self.payload, &mut self.out, &mut self.peers] {
                buffer.clear();
            }
            assert!(self.deflater.context.is_none() && self.inflater.context.is_none());
            assert!(self.deflater.history.bytes.capacity() <= PRIMED);
        }
    }

    #[test]
    fn connections_that_share_few_contexts_stay_apart() {
        let mut random = Random(7);
        // All say similar things, so that what a context still has of another connection would be found by it.
        let all = random.message(40_000);
        for round in 0..60 {
            let pool = Arc::new(Pool::new(round % 3));
            let kinds: Vec<DeflateSettings> = (0..=random.below(3))
                .map(|_| DeflateSettings {
                    window_bits: 8 + u8::try_from(random.below(8)).unwrap(),
                    level: u8::try_from(random.below(10)).unwrap(),
                    memory_level: 1 + u8::try_from(random.below(9)).unwrap(),
                    context_takeover: true,
                })
                .collect();
            let mut connections: Vec<Sharing> = (0..6)
                .map(|n| {
                    let context_takeover = random.below(5) > 0;
                    Sharing::new(DeflateSettings { context_takeover, ..kinds[n % kinds.len()] }, &pool)
                })
                .collect();
            for _ in 0..150 {
                let which = random.below(connections.len());
                let connection = &mut connections[which];
                let (bits, from) = (random.below(12), random.below(all.len()));
                let fragment = &all[from..all.len().min(from + random.below(1 << bits))];
                match random.below(20) {
                    0 if connection.message.is_empty() && connection.payload.is_empty() => {
                        connection.send_prepared(fragment, &mut random);
                    }
                    1 => connection.deflater.release(),
                    2 => connection.inflater.release(),
                    // It goes, perhaps within a message, and another comes.
                    3 => *connection = Sharing::new(connection.deflater.settings, &pool),
                    _ => connection.send(fragment, random.below(3) > 0, &mut random),
                }
                assert!(pool.deflaters.len() <= round % 3 && pool.inflaters.len() <= round % 3);
            }
        }
    }

    #[test]
    fn connections_that_are_as_few_as_contexts_send_the_same_as_alone() {
        let mut random = Random(8);
        let pool = Arc::new(Pool::new(2));
        let settings = settings(12, 4, true);
        let mut sharing = [0; 2].map(|_| Deflater::new(settings).sharing(Some(Arc::clone(&pool))));
        let mut alone = [0; 2].map(|_| Deflater::new(settings));
        for _ in 0..50 {
            let (which, message) = (random.below(2), random.message(900));
            assert_eq!(compressed(&mut sharing[which], &message), compressed(&mut alone[which], &message));
        }
    }

    #[test]
    fn connections_without_takeover_share_one_context_and_take_none_of_others() {
        let pool = Arc::new(Pool::new(2));
        let sharing = |takeover| Deflater::new(settings(12, 4, takeover)).sharing(Some(Arc::clone(&pool)));
        let mut keeping = sharing(true);
        compressed(&mut keeping, b"Hello");
        for _ in 0..20 {
            assert_eq!(compressed(&mut sharing(false), b"Hello"), HELLO);
        }
        assert_eq!(pool.deflaters.len(), 2);
        let taken = pool.deflaters.take(&Kind::of(keeping.settings), keeping.ticket.take());
        assert!(taken.is_some_and(|(_, own)| own));
    }

    #[test]
    fn a_peer_cannot_reach_what_another_has_sent() {
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        for takeover in [true, false] {
            let pool = Arc::new(Pool::new(1));
            let inflater = || unlimited(15, takeover).sharing(Some(Arc::clone(&pool)));
            let (mut one, mut other) = (inflater(), inflater());
            assert_eq!(inflated(&mut one, &HELLO, 5).unwrap(), b"Hello");
            assert_eq!(inflated(&mut other, &again, 5), Err(Fault::CorruptDeflate));
            let mut other = inflater();
            // It has a history of its own, but a shorter one.
            assert_eq!(inflated(&mut one, &HELLO, 5).unwrap(), b"Hello");
            assert_eq!(inflated(&mut other, b"\x4a\x04\x00", 5).unwrap(), b"a");
            assert_eq!(inflated(&mut other, &again, 5), Err(Fault::CorruptDeflate));
            let expected = if takeover { Ok(b"Hello".to_vec()) } else { Err(Fault::CorruptDeflate) };
            assert_eq!(inflated(&mut one, &again, 5), expected);
            let mut one = inflater();
            assert_eq!(inflated(&mut one, &HELLO, 5).unwrap(), b"Hello");
            assert_eq!(inflated(&mut one, &again, 5), expected);
        }
    }

    #[test]
    fn what_a_window_has_lost_is_lost_whichever_context_is_taken() {
        let mut random = Random(9);
        let (first, filler) = (random.bytes(300), random.bytes(2000));
        for window_bits in 9..15 {
            for pool in [None, Some(Arc::new(Pool::new(2)))] {
                let mut inflater = unlimited(window_bits, true).sharing(pool);
                // The peer uses 32 KiB, against what was agreed on.
                let mut peer = Deflater::new(settings(15, 6, true));
                let message = [&first[..], &filler].concat();
                assert_eq!(inflated(&mut inflater, &compressed(&mut peer, &message), 9999).unwrap(), message);
                let again = inflated(&mut inflater, &compressed(&mut peer, &first), 9999);
                let expected = if window_bits < 12 { Err(Fault::CorruptDeflate) } else { Ok(first.clone()) };
                assert!(again == expected, "{window_bits} bits");
            }
        }
    }

    #[test]
    fn a_context_that_met_a_fault_is_used_by_nobody_else() {
        let pool = Arc::new(Pool::new(2));
        let inflater = || unlimited(15, true).sharing(Some(Arc::clone(&pool)));
        let mut good = inflater();
        assert_eq!(inflated(&mut good, &HELLO, 5).unwrap(), b"Hello");
        for (payload, limit) in [(&b"\x07"[..], 9), (b"\xf2\x48\xcd", 9), (&HELLO, 4)] {
            inflated(&mut inflater(), payload, limit).unwrap_err();
            assert_eq!(pool.inflaters.len(), 1);
        }
        assert_eq!(inflated(&mut good, &[0xf2, 0x00, 0x11, 0x00, 0x00], 5).unwrap(), b"Hello");
    }

    #[test]
    fn a_connection_that_ends_leaves_its_contexts_to_the_others() {
        let pool = Arc::new(Pool::new(2));
        let ends = || {
            let deflater = Deflater::new(settings(15, 6, true)).sharing(Some(Arc::clone(&pool)));
            (deflater, unlimited(15, true).sharing(Some(Arc::clone(&pool))))
        };
        for within in [true, false, true] {
            let (mut deflater, mut inflater) = ends();
            let (mut payload, mut out) = (Vec::new(), Vec::new());
            deflater.compress(b"secret", !within, &mut payload);
            inflater.inflate(&payload, usize::MAX, &mut out).unwrap();
            if !within {
                inflater.finish().unwrap();
            }
            drop((deflater, inflater));
            assert_eq!((pool.deflaters.len(), pool.inflaters.len()), (1, 1));
            // They know nothing of it.
            let (mut deflater, mut inflater) = ends();
            assert_eq!(compressed(&mut deflater, b"Hello"), HELLO);
            assert_eq!(inflated(&mut inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00], 99), Err(Fault::CorruptDeflate));
            assert_eq!(pool.inflaters.len(), 0);
            inflated(&mut ends().1, &HELLO, 5).unwrap();
        }
    }

    #[test]
    fn release_frees_the_context_that_waits_in_the_pool() {
        let pool = Arc::new(Pool::new(2));
        let mut deflater = Deflater::new(settings(15, 6, true)).sharing(Some(Arc::clone(&pool)));
        let mut inflater = unlimited(15, true).sharing(Some(Arc::clone(&pool)));
        assert_eq!(inflated(&mut inflater, &compressed(&mut deflater, b"Hello"), 5).unwrap(), b"Hello");
        deflater.release();
        inflater.release();
        assert_eq!((pool.deflaters.len(), pool.inflaters.len()), (0, 0));
        // The history is kept.
        let again = compressed(&mut deflater, b"Hello");
        assert_eq!(again, [0xf2, 0x00, 0x11, 0x00, 0x00]);
        assert_eq!(inflated(&mut inflater, &again, 5).unwrap(), b"Hello");
    }

    #[test]
    fn a_history_is_the_last_bytes_of_all_pushes() {
        let mut random = Random(5);
        for size in [1, 2, 256, 512] {
            let (mut history, mut all) = (History::new(size), Vec::new());
            for _ in 0..200 {
                let len = random.below(size + size / 2);
                let piece = random.message(len);
                history.push(&piece);
                all.extend_from_slice(&piece);
                let (newer, older) = history.bytes.split_at(history.oldest);
                assert_eq!([older, newer].concat(), all[all.len().saturating_sub(size)..]);
                assert!(history.bytes.capacity() <= size);
            }
        }
    }
}
