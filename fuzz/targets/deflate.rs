//! Compression: messages inflate to the same, with any settings, fragments, and contexts that are shared or released in between.
//!
//! Input: window, level and memory, then options, a byte each, then fragments: a byte before each says its length, whether it is
//! the last of its message, and whether contexts are released or forgotten after it.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mintws::deflate::{DeflateSettings, Deflater, Inflater, Pool};

fuzz_target!(|input: &[u8]| {
    let [window, effort, options, data @ ..] = input else { return };
    let settings = DeflateSettings {
        window_bits: 8 + window % 8,
        level: effort % 10,
        memory_level: 1 + (effort >> 4) % 9,
        context_takeover: options & 1 == 0,
    };
    let pool = (options & 2 != 0).then(|| Arc::new(Pool::new(2)));
    let mut deflater = Deflater::new(settings).sharing(pool.clone());
    let mut inflater = Inflater::new(settings.window_bits, settings.context_takeover, u64::MAX).sharing(pool);
    let (mut sent, mut received, mut data) = (Vec::new(), Vec::new(), data);
    while let [head, rest @ ..] = data {
        // A fragment of a few bytes is repeated, so that there is something to refer to.
        let (fragment, rest) = rest.split_at(rest.len().min(usize::from(head & 0x1f)));
        let fragment = fragment.repeat(if options & 4 == 0 { 1 } else { 40 });
        data = rest;
        let fin = head & 0x20 != 0;
        let mut compressed = Vec::new();
        deflater.compress(&fragment, fin, &mut compressed);
        sent.extend_from_slice(&fragment);
        let taken = inflater.inflate(&compressed, usize::MAX, &mut received).expect("it was compressed here");
        assert_eq!(taken, compressed.len());
        assert!(received == sent, "a fragment is not there as a whole");
        if fin {
            inflater.finish().expect("it was compressed here");
            sent.clear();
            received.clear();
            if head & 0x40 != 0 {
                deflater.release();
                inflater.release();
            }
            if head & 0x80 != 0 {
                deflater.forget();
            }
        }
    }
});
