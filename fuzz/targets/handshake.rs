//! Whatever headers come, a handshake is read or refused; what is read can be answered, and its answer is read by a client.
//!
//! Input: a byte of options, then lines: the target, and `name:value` for each header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mintws::handshake::fields::Asked;
use mintws::handshake::{extension, http1, http2};

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
    match http1::read_request(b"GET", target, b"1.1", &headers) {
        Ok(asked) => {
            let subprotocol = asked.subprotocols.first().map(String::as_str);
            let written = http1::write_response(&asked.subprotocols, subprotocol, &answers(&asked), &[], &asked.key)
                .expect("what was asked for can be answered");
            let answered = http1::read_response(&lines(&written), &asked.key, &asked.subprotocols)
                .expect("what was answered can be read");
            assert_eq!(answered.subprotocol.as_deref(), subprotocol);
        }
        Err(fault) => assert!((400..=599).contains(&http1::refusal(&fault).0)),
    }
    match http2::read_request(&headers) {
        Ok(None) => {}
        Ok(Some(asked)) => {
            let subprotocol = asked.subprotocols.first().map(String::as_str);
            let written = http2::write_response(&asked.subprotocols, subprotocol, &answers(&asked), &[], &asked.key)
                .expect("what was asked for can be answered");
            let answered =
                http2::read_response(&lines(&written), &asked.subprotocols).expect("what was answered can be read");
            assert_eq!(answered.subprotocol.as_deref(), subprotocol);
        }
        Err(fault) => assert!((400..=599).contains(&http2::refusal(&fault).0)),
    }
    let key = http1::new_key([*options; 16]);
    let _ = http1::read_response(&headers, &key, &[]);
    let _ = http2::read_response(&headers, &[]);
});
