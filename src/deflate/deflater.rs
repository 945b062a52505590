//! A deflater and its window.

use std::sync::Arc;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Strategy};

use super::history::History;
use super::pool::{Kind, Pool, Ticket};
use super::{DeflateSettings, MAX_ROOM, TAIL, difference};

/// Compresses the messages of one direction.
pub struct Deflater {
    pub(super) settings: DeflateSettings,
    pool: Option<Arc<Pool>>,
    /// With a pool it is here within a message only.
    pub(super) context: Option<Deflate>,
    /// For the context in the pool.
    pub(super) ticket: Option<Ticket>,
    /// What the next message may refer to, for another context than the one that compressed it. Empty without a pool.
    pub(super) history: History,
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

pub(super) fn config(settings: DeflateSettings) -> DeflateConfig {
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

/// What a deflater is told of before it goes on with the messages of another connection. To hash more takes longer than it gains: 4 KiB
/// make JSON and prose 0 to 2 % of their size smaller, for 3 us more beside the 10 us that 1 KiB takes.
pub(super) const PRIMED: usize = 2 << 10;
