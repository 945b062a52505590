//! Status codes of a Close frame (RFC 6455 §7.4 and its IANA registry).

/// Returns whether `code` may be sent in a Close frame.
///
/// 1000-1003 and 1007-1011 come from RFC 6455 §7.4.1, 1012-1014 from the IANA registry, 3000-4999 belong to libraries and
/// applications (§7.4.2). 1005, 1006 and 1015 are names for what was never sent; all else is reserved.
#[must_use]
pub const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::may_be_sent;

    #[test]
    fn the_ranges_of_section_7_4_have_exact_borders() {
        let right = [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
        let wrong = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535];
        assert!(right.iter().all(|&code| may_be_sent(code)));
        assert!(!wrong.iter().any(|&code| may_be_sent(code)));
    }
}
