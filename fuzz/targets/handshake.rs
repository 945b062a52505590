//! Whatever headers come, a handshake is read or refused; what is read can be answered, and its answer is read by a client.
//!
//! Input: a byte of options, then lines: the target, and `name:value` for each header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mintws::handshake::fields::{Answered, Asked, RequestLine};
use mintws::handshake::{Version, extension, http1};

type Owned = Vec<(String, String)>;

fn lines(headers: &Owned) -> Vec<(&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

/// Accepts what was asked for with its first subprotocol and all its permessage-deflate, if that can be had.
fn answers(asked: &Asked) -> Vec<extension::Element> {
    let willing = extension::PerMessageDeflate::default();
    asked.extensions.iter().find_map(|offer| willing.accept(offer)).map(|(_, answer)| answer).into_iter().collect()
}

fuzz_target!(|input: &[u8]| {
    let [options, input @ ..] = input else { return };
    let mut parts = input.split(|byte| *byte == b'\n');
    let target = parts.next().unwrap_or_default();
    let headers: Vec<(&[u8], &[u8])> = parts
        .map(|part| {
            // The name of a pseudo-header begins with a colon.
            let colon = part.iter().skip(1).position(|byte| *byte == b':').map_or(part.len(), |at| at + 1);
            (&part[..colon], part.get(colon + 1..).unwrap_or_default())
        })
        .collect();

    let _ = extension::parse(headers.iter().map(|(_, value)| *value));
    let _ = http1::is_upgrade(&headers);
    let line = RequestLine { method: b"GET", target, version: b"1.1" };
    for version in [Version::Http1, Version::Http2] {
        match version.read_request(&line, &headers) {
            Ok(None) => assert_eq!(version, Version::Http2),
            Ok(Some(asked)) => {
                let subprotocol = asked.subprotocols.first().cloned();
                let answer =
                    Answered { subprotocol: subprotocol.clone(), extensions: answers(&asked), ..Answered::default() };
                let written = version
                    .write_response(&asked.subprotocols, &answer, &asked.key)
                    .expect("what was asked for can be answered");
                let answered = version
                    .read_response(&lines(&written), &asked.key, &asked.subprotocols)
                    .expect("what was answered can be read");
                assert_eq!(answered.subprotocol, subprotocol);
            }
            Err(fault) => assert!((400..=599).contains(&version.refuse(&fault).status)),
        }
    }
    let key = http1::new_key([*options; 16]);
    for version in [Version::Http1, Version::Http2] {
        let _ = version.read_response(&headers, &key, &[]);
    }
});
