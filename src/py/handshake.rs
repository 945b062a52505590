//! The opening handshakes as Python functions: headers as lists of pairs, faults as `RemoteProtocolError`.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString};

use super::errors::{self, local};
use crate::fault::Fault;
use crate::grammar::{self, Misuse};
use crate::handshake::extension::{Agreed, Element, PerMessageDeflate};
use crate::handshake::fields::{self, Answered, Asked, Request};
use crate::handshake::{http1, http2};
use crate::ordinary;

type Headers = Vec<(String, String)>;
type Lines = Vec<(Vec<u8>, Vec<u8>)>;
type Parameters = Vec<(String, Option<String>)>;
/// Host, target, headers, subprotocols, extensions, key.
type AskedTuple = (String, String, Headers, Vec<String>, Vec<(String, Parameters)>, String);
/// Subprotocol, extensions, headers.
type AnsweredTuple = (Option<String>, Vec<(String, Parameters)>, Headers);
/// The error, and the response that says it: status, headers, body.
type Refused<'py> = (Bound<'py, PyAny>, u16, Headers, Vec<u8>);
/// `server_no_context_takeover`, `client_no_context_takeover`, `server_max_window_bits`, `client_max_window_bits`.
type AgreedTuple = (bool, bool, u8, u8);

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(new_key, module)?)?;
    module.add_function(wrap_pyfunction!(is_upgrade, module)?)?;
    module.add_function(wrap_pyfunction!(is_same_host, module)?)?;
    module.add_function(wrap_pyfunction!(check_fields, module)?)?;
    module.add_function(wrap_pyfunction!(check_headers, module)?)?;
    module.add_function(wrap_pyfunction!(write_request, module)?)?;
    module.add_function(wrap_pyfunction!(read_request, module)?)?;
    module.add_function(wrap_pyfunction!(write_response, module)?)?;
    module.add_function(wrap_pyfunction!(read_response, module)?)?;
    module.add_function(wrap_pyfunction!(write_rejection, module)?)?;
    module.add_function(wrap_pyfunction!(well_formed, module)?)?;
    module.add_function(wrap_pyfunction!(write_ordinary_response, module)?)?;
    module.add_function(wrap_pyfunction!(write_ordinary_request, module)?)?;
    module.add_function(wrap_pyfunction!(deflate_offer, module)?)?;
    module.add_function(wrap_pyfunction!(deflate_accept, module)?)?;
    module.add_function(wrap_pyfunction!(deflate_agree, module)?)
}

/// Write 16 random bytes as a Sec-WebSocket-Key (RFC 6455 §4.1).
#[pyfunction]
fn new_key(random: [u8; 16]) -> String {
    http1::new_key(random)
}

/// Say whether the headers of a request over HTTP/1.1 ask for a WebSocket, rightly or not.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn is_upgrade(headers: Lines) -> bool {
    http1::is_upgrade(&lent(&headers))
}

/// Say whether the Host of a request over HTTP/2 is its `:authority`, but for case and the port of the scheme (RFC 9113 §8.3.1).
#[pyfunction]
fn is_same_host(host: &str, authority: &str, scheme: &str) -> bool {
    http2::is_same_host(host, authority, scheme)
}

/// Give what is wrong with the names and values of a request's fields (RFC 9110 §5.1, §5.5).
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn check_fields(py: Python<'_>, headers: Lines) -> PyResult<Option<Bound<'_, PyAny>>> {
    grammar::check_fields(&lent(&headers)).err().map(|fault| errors::remote(py, &fault)).transpose()
}

/// Raise if headers are not well-formed or, `of_handshake`, are such as the handshake writes itself.
#[pyfunction]
#[pyo3(signature = (headers, *, of_handshake))]
#[allow(clippy::needless_pass_by_value)]
fn check_headers(headers: Vec<(Bound<'_, PyString>, Bound<'_, PyString>)>, of_handshake: bool) -> PyResult<()> {
    headers.iter().try_for_each(|(name, value)| {
        // A lone surrogate is a character as little as what is above U+00FF is one of a header.
        fields::check_header(&name.to_string_lossy(), &value.to_string_lossy(), of_handshake).map_err(misuse)
    })
}

/// Write a client's request: over HTTP/1.1 with its `key`, over HTTP/2 with its `scheme`.
#[pyfunction]
#[pyo3(signature = (host, target, headers, subprotocols, extensions, *, key=None, scheme=None))]
fn write_request(
    host: String,
    target: String,
    headers: Headers,
    subprotocols: Vec<String>,
    extensions: Vec<(String, Parameters)>,
    key: Option<&str>,
    scheme: Option<&str>,
) -> PyResult<Headers> {
    let request = Request { host, target, headers, subprotocols, extensions: elements(extensions) };
    match scheme {
        Some(scheme) => http2::write_request(&request, scheme),
        None => http1::write_request(&request, key.unwrap_or_default()),
    }
    .map_err(misuse)
}

/// Read a client's request, with `start` = method, target and version over HTTP/1.1, without over HTTP/2.
///
/// Returns:
///     What is asked, or why it is refused; neither, if it is no request for a WebSocket.
#[pyfunction]
#[pyo3(signature = (headers, start=None))]
#[allow(clippy::needless_pass_by_value, clippy::type_complexity)]
fn read_request(
    py: Python<'_>,
    headers: Lines,
    start: Option<(Vec<u8>, Vec<u8>, Vec<u8>)>,
) -> PyResult<(Option<AskedTuple>, Option<Refused<'_>>)> {
    let lines = lent(&headers);
    let over_http2 = start.is_none();
    let asked = match start {
        Some((method, target, version)) => http1::read_request(&method, &target, &version, &lines).map(Some),
        None => http2::read_request(&lines),
    };
    match asked {
        Ok(asked) => Ok((asked.map(asked_tuple), None)),
        Err(fault) => {
            let refusal = if over_http2 { http2::refusal } else { http1::refusal };
            let (status, headers, body) = refusal(&fault);
            Ok((None, Some((errors::remote(py, &fault)?, status, headers, body.into_bytes()))))
        }
    }
}

/// Write a server's yes to the client's `key`, which over HTTP/2 may be empty.
#[pyfunction]
#[pyo3(signature = (asked_subprotocols, subprotocol, extensions, headers, *, key, http2))]
#[allow(clippy::needless_pass_by_value)]
fn write_response(
    asked_subprotocols: Vec<String>,
    subprotocol: Option<&str>,
    extensions: Vec<(String, Parameters)>,
    headers: Headers,
    key: &str,
    http2: bool,
) -> PyResult<Headers> {
    let write = if http2 { http2::write_response } else { http1::write_response };
    write(&asked_subprotocols, subprotocol, &elements(extensions), &headers, key).map_err(misuse)
}

/// Read a server's yes: over HTTP/1.1 with the `key` that was sent.
///
/// Returns:
///     The answer, or the error.
#[pyfunction]
#[pyo3(signature = (headers, offered_subprotocols, *, key=None))]
#[allow(clippy::needless_pass_by_value, clippy::type_complexity)]
fn read_response<'py>(
    py: Python<'py>,
    headers: Lines,
    offered_subprotocols: Vec<String>,
    key: Option<&str>,
) -> PyResult<(Option<AnsweredTuple>, Option<Bound<'py, PyAny>>)> {
    let lines = lent(&headers);
    let answered = match key {
        Some(key) => http1::read_response(&lines, key, &offered_subprotocols),
        None => http2::read_response(&lines, &offered_subprotocols),
    };
    match answered {
        Ok(Answered { subprotocol, extensions, headers }) => {
            Ok((Some((subprotocol, extensions.into_iter().map(element_tuple).collect(), headers)), None))
        }
        Err(fault) => Ok((None, Some(errors::remote(py, &fault)?))),
    }
}

/// Write the headers of a server's no.
#[pyfunction]
#[pyo3(signature = (status, headers, body_len, *, http2))]
#[allow(clippy::needless_pass_by_value)]
fn write_rejection(
    #[pyo3(from_py_with = status_of)] status: u16,
    headers: Headers,
    body_len: usize,
    http2: bool,
) -> PyResult<Headers> {
    let write = if http2 { http2::write_rejection } else { http1::write_rejection };
    write(status, &headers, body_len).map_err(misuse)
}

/// Give the headers of a response that are well-formed, names in lower case.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn well_formed(headers: Headers) -> Headers {
    grammar::well_formed(&headers)
}

/// Write the headers of an ordinary response, with `:status` over HTTP/2; `head` says that it answers a HEAD.
#[pyfunction]
#[pyo3(signature = (status, headers, body_len, *, head, http2))]
#[allow(clippy::needless_pass_by_value)]
fn write_ordinary_response(
    #[pyo3(from_py_with = status_of)] status: u16,
    headers: Headers,
    body_len: usize,
    head: bool,
    http2: bool,
) -> PyResult<Headers> {
    ordinary::write_response(status, &headers, body_len, head, http2).map_err(misuse)
}

/// Write the headers of an ordinary request over HTTP/2, the pseudo-headers first.
#[pyfunction]
#[pyo3(signature = (method, target, headers, body_len, *, scheme))]
#[allow(clippy::needless_pass_by_value)]
fn write_ordinary_request(
    method: &str,
    target: &str,
    headers: Headers,
    body_len: usize,
    scheme: &str,
) -> PyResult<Headers> {
    ordinary::write_request(method, target, &headers, body_len, scheme).map_err(misuse)
}

/// The wish of one side: the two `no_context_takeover`, `server_max_window_bits` and `client_max_window_bits`, which may be `True`.
#[derive(FromPyObject)]
struct Wish<'py>(bool, bool, Option<u8>, Option<Bound<'py, PyAny>>);

impl Wish<'_> {
    fn read(&self) -> PyResult<PerMessageDeflate> {
        let client_max_window_bits = match &self.3 {
            Some(bits) if bits.is_instance_of::<PyBool>() => bits.is_truthy()?.then_some(None),
            Some(bits) => Some(Some(bits.extract()?)),
            None => None,
        };
        Ok(PerMessageDeflate {
            server_no_context_takeover: self.0,
            client_no_context_takeover: self.1,
            server_max_window_bits: self.2,
            client_max_window_bits,
        })
    }
}

/// Write a client's offer of permessage-deflate (RFC 7692 §7.1).
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn deflate_offer(wish: Wish<'_>) -> PyResult<(String, Parameters)> {
    Ok(element_tuple(wish.read()?.offer()))
}

/// Decide, on a server, on one offer: what then holds and the answer to write, or `None` to decline.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, clippy::type_complexity)]
fn deflate_accept(
    wish: Wish<'_>,
    name: String,
    params: Parameters,
) -> PyResult<Option<(AgreedTuple, (String, Parameters))>> {
    let accepted = wish.read()?.accept(&Element { name, params });
    Ok(accepted.map(|(agreed, answer)| (agreed_tuple(agreed), element_tuple(answer))))
}

/// Check, on a client, an answer: what then holds, or `None` if it is not one to this offer.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn deflate_agree(wish: Wish<'_>, name: String, params: Parameters) -> PyResult<Option<AgreedTuple>> {
    match wish.read()?.agree(&Element { name, params }) {
        Ok(agreed) => Ok(Some(agreed_tuple(agreed))),
        Err(Fault::UnacceptableExtension) => Ok(None),
        Err(other) => Err(local(other)),
    }
}

/// A number that no status can be is the caller's mistake like any other that is out of range.
fn status_of(status: &Bound<'_, PyAny>) -> PyResult<u16> {
    status.extract().map_err(|error: PyErr| {
        let out_of_range = error.is_instance_of::<PyOverflowError>(status.py());
        if out_of_range { local(format!("status {status} must be 200 to 599")) } else { error }
    })
}

fn lent(headers: &Lines) -> Vec<(&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
}

#[allow(clippy::needless_pass_by_value)]
fn misuse(misuse: Misuse) -> PyErr {
    local(misuse)
}

fn elements(tuples: Vec<(String, Parameters)>) -> Vec<Element> {
    tuples.into_iter().map(|(name, params)| Element { name, params }).collect()
}

fn element_tuple(element: Element) -> (String, Parameters) {
    (element.name, element.params)
}

const fn agreed_tuple(agreed: Agreed) -> AgreedTuple {
    (
        agreed.server_no_context_takeover,
        agreed.client_no_context_takeover,
        agreed.server_max_window_bits,
        agreed.client_max_window_bits,
    )
}

fn asked_tuple(asked: Asked) -> AskedTuple {
    let extensions = asked.extensions.into_iter().map(element_tuple).collect();
    (asked.host, asked.target, asked.headers, asked.subprotocols, extensions, asked.key)
}
