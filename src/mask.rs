//! XOR with the masking-key (RFC 6455 §5.3), in the pass that copies the payload to its final place.

use std::mem::MaybeUninit;

/// The four bytes with which a client masks one frame.
pub type MaskingKey = [u8; 4];

/// The length above which prefetching pays; also the bytes unmasked before the first check for ASCII.
const LARGE: usize = 4096;
/// The longest vector that the processor writes with one store.
const VECTOR: usize = 32;

/// Writes `src` XOR `key` to `dst`, which has the same length.
///
/// # Panics
///
/// If the lengths differ.
#[inline]
pub fn mask_into(src: &[u8], key: MaskingKey, dst: &mut [MaybeUninit<u8>]) {
    masked::<false>(src, key, dst);
}

/// Writes `src` XOR `key` to `dst`, which has the same length; returns whether all of it is ASCII.
///
/// If not, `dst` may be written only in part.
///
/// # Panics
///
/// If the lengths differ.
#[inline]
pub fn mask_ascii_into(src: &[u8], key: MaskingKey, dst: &mut [MaybeUninit<u8>]) -> bool {
    masked::<true>(src, key, dst)
}

/// Masks; with `ASCII`, returns whether all is ASCII, and may stop at a byte that is not.
#[inline]
fn masked<const ASCII: bool>(src: &[u8], key: MaskingKey, dst: &mut [MaybeUninit<u8>]) -> bool {
    if src.len() < LARGE { dispatch::<ASCII>(src, key, dst) } else { blocks::<ASCII>(src, key, dst) }
}

/// Masks block by block; with `ASCII`, each is twice as long as the one before.
///
/// The first block aligns `dst` to a vector. With every second store across two cache lines, masking takes a fifth longer.
fn blocks<const ASCII: bool>(mut src: &[u8], mut key: MaskingKey, mut dst: &mut [MaybeUninit<u8>]) -> bool {
    assert_eq!(src.len(), dst.len());
    let mut next = if ASCII { LARGE } else { usize::MAX };
    let mut len = dst.as_ptr().align_offset(VECTOR).min(src.len());
    while let (Some(block), Some(room)) = (src.split_off(..len), dst.split_off_mut(..len)) {
        if !dispatch::<ASCII>(block, key, room) {
            return false;
        }
        if src.is_empty() {
            break;
        }
        key = advance(key, len as u64);
        len = next.min(src.len());
        next = next.saturating_mul(2);
    }
    true
}

/// Writes `src` to `dst`.
///
/// # Panics
///
/// If their lengths differ.
#[inline]
pub fn copy_into(src: &[u8], dst: &mut [MaybeUninit<u8>]) {
    assert_eq!(src.len(), dst.len());
    for (from, to) in src.iter().zip(dst) {
        to.write(*from);
    }
}

/// Appends `src` XOR `key` to `out`.
#[inline]
pub fn append_masked(out: &mut Vec<u8>, src: &[u8], key: MaskingKey) {
    out.reserve(src.len());
    let start = out.len();
    mask_into(src, key, &mut out.spare_capacity_mut()[..src.len()]);
    // SAFETY: `mask_into` has written the `src.len()` bytes after `start`, which `reserve` made room for.
    #[allow(unsafe_code)]
    unsafe {
        out.set_len(start + src.len());
    }
}

/// The key for the bytes after the first `taken` ones of a payload.
#[inline]
#[must_use]
pub fn advance(key: MaskingKey, taken: u64) -> MaskingKey {
    #[allow(clippy::cast_possible_truncation, reason = "less than 4")]
    let bits = (taken % 4) as u32 * 8;
    // Seen as a little-endian number, the first byte of the key is the lowest.
    u32::from_le_bytes(key).rotate_right(bits).to_le_bytes()
}

#[inline]
fn dispatch<const ASCII: bool>(src: &[u8], key: MaskingKey, dst: &mut [MaybeUninit<u8>]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if src.len() >= 64 && std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn avx2<const ASCII: bool>(src: &[u8], key: MaskingKey, dst: &mut [MaybeUninit<u8>]) -> bool {
            if src.len() >= LARGE { lines::<ASCII>(src, key, dst) } else { words::<ASCII>(src, key, dst) }
        }
        // SAFETY: the processor has AVX2, as was asked above.
        #[allow(unsafe_code)]
        return unsafe { avx2::<ASCII>(src, key, dst) };
    }
    words::<ASCII>(src, key, dst)
}

/// Masks a large payload, prefetching the memory that is written next. The hardware prefetches only what is read.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(clippy::inline_always)]
fn lines<const ASCII: bool>(src: &[u8], key: MaskingKey, dst: &mut [MaybeUninit<u8>]) -> bool {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    /// Two lines of the cache.
    const LINES: usize = 128;
    /// The distance of the prefetch.
    const AHEAD: usize = 512;

    assert_eq!(src.len(), dst.len());
    let word = repeated(key);
    let mut seen = [0_u64; LINES / 8];
    let (src_lines, src_rest) = src.as_chunks::<LINES>();
    let (dst_lines, dst_rest) = dst.as_chunks_mut::<LINES>();
    for (from, to) in src_lines.iter().zip(dst_lines) {
        for line in [AHEAD, AHEAD + LINES / 2] {
            // SAFETY: a prefetch reads and writes nothing, wherever it points.
            #[allow(unsafe_code)]
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(to.as_ptr().wrapping_add(line).cast());
            }
        }
        let words = from.as_chunks::<8>().0.iter().zip(to.as_chunks_mut::<8>().0);
        for ((from, to), seen) in words.zip(&mut seen) {
            mask_word(*from, word, to, seen);
        }
    }
    let seen = seen.iter().fold(0, |all, seen| all | seen);
    words::<ASCII>(src_rest, key, dst_rest) && (!ASCII || seen.to_ne_bytes().is_ascii())
}

/// The loop, inlined into each caller so that it is compiled for the caller's instruction set.
#[inline(always)]
#[allow(clippy::inline_always)]
fn words<const ASCII: bool>(src: &[u8], key: MaskingKey, dst: &mut [MaybeUninit<u8>]) -> bool {
    assert_eq!(src.len(), dst.len());
    let word = repeated(key);
    let (mut seen, mut rest) = (0, 0_u8);
    let (src_words, src_rest) = src.as_chunks::<8>();
    let (dst_words, dst_rest) = dst.as_chunks_mut::<8>();
    for (from, to) in src_words.iter().zip(dst_words) {
        mask_word(*from, word, to, &mut seen);
    }
    for ((from, to), key) in src_rest.iter().zip(dst_rest).zip(key.iter().cycle()) {
        let masked = from ^ key;
        rest |= masked;
        to.write(masked);
    }
    !ASCII || (seen.to_ne_bytes().is_ascii() && rest.is_ascii())
}

/// Masks eight bytes and adds them to the OR of all. A high bit in it means that a byte was not ASCII.
#[inline(always)]
#[allow(clippy::inline_always)]
fn mask_word(from: [u8; 8], word: u64, to: &mut [MaybeUninit<u8>; 8], seen: &mut u64) {
    let masked = u64::from_ne_bytes(from) ^ word;
    *seen |= masked;
    *to = masked.to_ne_bytes().map(MaybeUninit::new);
}

/// The key twice.
#[inline]
const fn repeated([a, b, c, d]: MaskingKey) -> u64 {
    u64::from_ne_bytes([a, b, c, d, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: MaskingKey = [0x37, 0xfa, 0x21, 0x3d];

    fn expected(src: &[u8], key: MaskingKey) -> Vec<u8> {
        src.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect()
    }

    #[test]
    fn every_length_is_masked_as_section_5_3_says() {
        let src: Vec<u8> = (0..=255).cycle().take(40_000).collect();
        for before in [1, 2, 3, 31] {
            for len in (0..300).chain([4095, 4096, 4097, 9999, 40_000]) {
                let mut out = vec![7; before];
                append_masked(&mut out, &src[..len], KEY);
                assert_eq!(out[..before], vec![7; before]);
                assert_eq!(out[before..], expected(&src[..len], KEY));
            }
        }
    }

    #[test]
    fn the_hello_of_section_5_7_unmasks() {
        let mut out = Vec::new();
        append_masked(&mut out, &[0x7f, 0x9f, 0x4d, 0x51, 0x58], KEY);
        assert_eq!(out, b"Hello");
    }

    #[test]
    fn one_byte_that_is_not_ascii_is_seen_wherever_it_is() {
        for len in [1, 7, 8, 63, 64, 65, 4096, 4097, 9000, 40_001] {
            let plain = vec![b'a'; len];
            let mut dst = vec![MaybeUninit::uninit(); len];
            assert!(mask_ascii_into(&expected(&plain, KEY), KEY, &mut dst));
            for at in [0, len / 3, len / 2, len - 1] {
                let mut plain = plain.clone();
                plain[at] = 0x80;
                assert!(!mask_ascii_into(&expected(&plain, KEY), KEY, &mut dst), "{len} {at}");
            }
        }
    }

    #[test]
    fn a_payload_cut_anywhere_unmasks_the_same() {
        let src: Vec<u8> = (0..200).collect();
        for cut in 0..200 {
            let mut out = Vec::new();
            append_masked(&mut out, &src[..cut], KEY);
            append_masked(&mut out, &src[cut..], advance(KEY, cut as u64));
            assert_eq!(out, expected(&src, KEY));
        }
    }
}
