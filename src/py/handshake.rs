//! The Python interface of the opening handshakes: headers as pairs, results as frozen classes, faults as `RemoteProtocolError`.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString, PyTuple};

use super::errors::{self, local};
use crate::fault::Fault;
use crate::grammar::{self, Misuse};
use crate::handshake::extension::{Agreed, Element, PERMESSAGE_DEFLATE, PerMessageDeflate};
use crate::handshake::fields::{self, Answered, Asked, Request, RequestLine};
use crate::handshake::{Refusal, Version, http1, http2};
use crate::ordinary;

type Headers = Vec<(String, String)>;
type Lines = Vec<(Vec<u8>, Vec<u8>)>;
type Parameters = Vec<(String, Option<String>)>;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Handshake>()?;
    module.add_class::<HandshakeRequest>()?;
    module.add_class::<HandshakeRefusal>()?;
    module.add_class::<HandshakeResponse>()?;
    module.add_class::<DeflateAgreement>()?;
    module.add_function(wrap_pyfunction!(is_upgrade, module)?)?;
    module.add_function(wrap_pyfunction!(is_same_host, module)?)?;
    module.add_function(wrap_pyfunction!(read_absolute, module)?)?;
    module.add_function(wrap_pyfunction!(check_fields, module)?)?;
    module.add_function(wrap_pyfunction!(check_headers, module)?)?;
    module.add_function(wrap_pyfunction!(well_formed, module)?)?;
    module.add_function(wrap_pyfunction!(write_ordinary_response, module)?)?;
    module.add_function(wrap_pyfunction!(write_ordinary_request, module)?)?;
    module.add_function(wrap_pyfunction!(deflate_offer, module)?)?;
    module.add_function(wrap_pyfunction!(deflate_accept, module)?)?;
    module.add_function(wrap_pyfunction!(deflate_agree, module)?)
}

/// The opening handshake over one version of HTTP: RFC 6455 §4 over HTTP/1.1, RFC 8441 §5 over HTTP/2.
#[pyclass(frozen, module = "mintws._core")]
pub struct Handshake(Version);

/// The request of an opening handshake, parsed by a server.
#[pyclass(frozen, module = "mintws._core")]
struct HandshakeRequest {
    /// The host, with a port if one was given.
    #[pyo3(get)]
    host: String,
    /// Path and query.
    #[pyo3(get)]
    target: String,
    /// All headers except those of the handshake, with names in lower case.
    #[pyo3(get)]
    headers: Py<PyTuple>,
    /// The requested subprotocols, in order of preference.
    #[pyo3(get)]
    subprotocols: Py<PyTuple>,
    /// The offered extensions, in order of preference: names and parameters.
    #[pyo3(get)]
    extensions: Py<PyTuple>,
    /// Sec-WebSocket-Key; over HTTP/2 empty, unless there is a valid one.
    #[pyo3(get)]
    key: String,
}

/// A request that breaks a rule, with the response that reports it.
#[pyclass(frozen, module = "mintws._core")]
struct HandshakeRefusal {
    /// The `RemoteProtocolError` that names the rule.
    #[pyo3(get)]
    error: Py<PyAny>,
    /// The status of the response.
    #[pyo3(get)]
    status: u16,
    /// Its headers, over HTTP/2 with `:status`.
    #[pyo3(get)]
    headers: Py<PyTuple>,
    /// Its body.
    #[pyo3(get)]
    body: Vec<u8>,
}

/// The response that accepts an opening handshake, parsed by a client.
#[pyclass(frozen, module = "mintws._core")]
struct HandshakeResponse {
    /// One of the requested subprotocols, or `None`.
    #[pyo3(get)]
    subprotocol: Option<String>,
    /// The answers to extensions: names and parameters. They are not compared with the offers yet.
    #[pyo3(get)]
    extensions: Py<PyTuple>,
    /// All headers except those of the handshake, with names in lower case.
    #[pyo3(get)]
    headers: Py<PyTuple>,
}

/// The agreed parameters of permessage-deflate (RFC 7692 §7.1).
#[pyclass(frozen, module = "mintws._core")]
struct DeflateAgreement {
    /// Whether the server compresses each message by itself.
    #[pyo3(get)]
    server_no_context_takeover: bool,
    /// Whether the client compresses each message by itself.
    #[pyo3(get)]
    client_no_context_takeover: bool,
    /// The window of the server, 8 to 15 bits.
    #[pyo3(get)]
    server_max_window_bits: u8,
    /// The window of the client, 8 to 15 bits.
    #[pyo3(get)]
    client_max_window_bits: u8,
    /// The parameters of the server's answer.
    #[pyo3(get)]
    answer: Py<PyTuple>,
}

/// The parsed request.
#[derive(IntoPyObject)]
enum ReadRequest {
    Request(HandshakeRequest),
    Refusal(HandshakeRefusal),
}

/// The parsed response.
#[derive(IntoPyObject)]
enum ReadResponse<'py> {
    Response(HandshakeResponse),
    Error(Bound<'py, PyAny>),
}

/// The host, and path with query, of a request target in absolute form.
#[derive(IntoPyObject)]
enum ReadAbsolute<'py> {
    Target((String, String)),
    Error(Bound<'py, PyAny>),
}

#[pymethods]
impl Handshake {
    #[classattr]
    const HTTP1: Self = Self(Version::Http1);
    #[classattr]
    const HTTP2: Self = Self(Version::Http2);

    /// The status of a response that accepts: 101 or 200.
    #[getter]
    const fn accepting(&self) -> u16 {
        self.0.accepting()
    }

    /// Return a Sec-WebSocket-Key from 16 bytes of `draw` (RFC 6455 §4.1), or "" over HTTP/2.
    fn new_key(&self, draw: &Bound<'_, PyAny>) -> PyResult<String> {
        match self.0 {
            Version::Http1 => Ok(http1::new_key(draw.call1((16,))?.extract()?)),
            Version::Http2 => Ok(String::new()),
        }
    }

    /// Write the headers of a client's request: over HTTP/1.1 with its `key`, over HTTP/2 with its `scheme`.
    #[pyo3(signature = (host, target, headers, subprotocols, extensions, *, key, scheme))]
    #[allow(clippy::too_many_arguments)]
    fn write_request<'py>(
        &self,
        py: Python<'py>,
        host: String,
        target: String,
        headers: Headers,
        subprotocols: Vec<String>,
        extensions: Vec<(String, Parameters)>,
        key: &str,
        scheme: &str,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let request = Request { host, target, headers, subprotocols, extensions: elements(extensions) };
        PyTuple::new(py, self.0.write_request(&request, key, scheme).map_err(misuse)?)
    }

    /// Parse a client's request. Over HTTP/2 the other arguments are ignored, and `None` means that it asks for no WebSocket.
    #[pyo3(signature = (headers, *, method, target, http_version))]
    #[allow(clippy::needless_pass_by_value)]
    fn read_request(
        &self,
        py: Python<'_>,
        headers: Lines,
        method: &[u8],
        target: &[u8],
        http_version: &[u8],
    ) -> PyResult<Option<ReadRequest>> {
        let line = RequestLine { method, target, version: http_version };
        match self.0.read_request(&line, &lent(&headers)) {
            Ok(asked) => asked.map(|asked| HandshakeRequest::new(py, asked).map(ReadRequest::Request)).transpose(),
            Err(fault) => HandshakeRefusal::new(py, &fault, self.0).map(ReadRequest::Refusal).map(Some),
        }
    }

    /// Write the headers of the response that accepts a request with this `key`, which may be empty over HTTP/2.
    #[pyo3(signature = (asked_subprotocols, subprotocol, extensions, headers, *, key))]
    #[allow(clippy::needless_pass_by_value)]
    fn write_response<'py>(
        &self,
        py: Python<'py>,
        asked_subprotocols: Vec<String>,
        subprotocol: Option<String>,
        extensions: Vec<(String, Parameters)>,
        headers: Headers,
        key: &str,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let answered = Answered { subprotocol, extensions: elements(extensions), headers };
        PyTuple::new(py, self.0.write_response(&asked_subprotocols, &answered, key).map_err(misuse)?)
    }

    /// Parse the response to a request, which had this `key` over HTTP/1.1; return its fault if it does not accept validly.
    #[pyo3(signature = (headers, offered_subprotocols, *, key))]
    #[allow(clippy::needless_pass_by_value)]
    fn read_response<'py>(
        &self,
        py: Python<'py>,
        headers: Lines,
        offered_subprotocols: Vec<String>,
        key: &str,
    ) -> PyResult<ReadResponse<'py>> {
        match self.0.read_response(&lent(&headers), key, &offered_subprotocols) {
            Ok(answered) => HandshakeResponse::new(py, answered).map(ReadResponse::Response),
            Err(fault) => errors::remote(py, &fault).map(ReadResponse::Error),
        }
    }

    /// Write the headers of a response that rejects a request.
    #[allow(clippy::needless_pass_by_value)]
    fn write_rejection<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = status_of)] status: u16,
        headers: Headers,
        body_len: usize,
    ) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.write_rejection(status, &headers, body_len).map_err(misuse)?)
    }
}

impl HandshakeRequest {
    fn new(py: Python<'_>, asked: Asked) -> PyResult<Self> {
        let Asked { host, target, headers, subprotocols, extensions, key } = asked;
        Ok(Self {
            host,
            target,
            headers: PyTuple::new(py, headers)?.unbind(),
            subprotocols: PyTuple::new(py, subprotocols)?.unbind(),
            extensions: element_tuples(py, extensions)?,
            key,
        })
    }
}

impl HandshakeRefusal {
    fn new(py: Python<'_>, fault: &Fault, version: Version) -> PyResult<Self> {
        let Refusal { status, headers, body } = version.refuse(fault);
        Ok(Self {
            error: errors::remote(py, fault)?.unbind(),
            status,
            headers: PyTuple::new(py, headers)?.unbind(),
            body: body.into_bytes(),
        })
    }
}

impl HandshakeResponse {
    fn new(py: Python<'_>, answered: Answered) -> PyResult<Self> {
        let Answered { subprotocol, extensions, headers } = answered;
        Ok(Self {
            subprotocol,
            extensions: element_tuples(py, extensions)?,
            headers: PyTuple::new(py, headers)?.unbind(),
        })
    }
}

/// Return whether the headers of an HTTP/1.1 request ask for a WebSocket, validly or not.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn is_upgrade(headers: Lines) -> bool {
    http1::is_upgrade(&lent(&headers))
}

/// Return whether the Host of an HTTP/2 request equals `:authority`, ignoring case and a default port (RFC 9113 §8.3.1).
#[pyfunction]
fn is_same_host(host: &str, authority: &str, scheme: &str) -> bool {
    http2::is_same_host(host, authority, scheme)
}

/// Return the fault in the names and values of a request's fields, or `None` (RFC 9110 §5.1, §5.5).
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn check_fields(py: Python<'_>, headers: Lines) -> PyResult<Option<Bound<'_, PyAny>>> {
    grammar::check_fields(&lent(&headers)).err().map(|fault| errors::remote(py, &fault)).transpose()
}

/// Return the host, and path with query, of a request target in absolute form, an URI of http or https (RFC 9112 §3.2.2).
///
/// An invalid one gives its fault; a target of any other form gives `None`.
#[pyfunction]
fn read_absolute<'py>(py: Python<'py>, target: &[u8]) -> PyResult<Option<ReadAbsolute<'py>>> {
    match http1::read_absolute(target) {
        Ok(read) => Ok(read.map(ReadAbsolute::Target)),
        Err(fault) => errors::remote(py, &fault).map(ReadAbsolute::Error).map(Some),
    }
}

/// Raise if headers are malformed or, with `of_handshake`, among those that the handshake itself writes.
#[pyfunction]
#[pyo3(signature = (headers, *, of_handshake))]
#[allow(clippy::needless_pass_by_value)]
fn check_headers(headers: Vec<(Bound<'_, PyString>, Bound<'_, PyString>)>, of_handshake: bool) -> PyResult<()> {
    headers.iter().try_for_each(|(name, value)| {
        // A lone surrogate is as invalid as a character above U+00FF.
        fields::check_header(&name.to_string_lossy(), &value.to_string_lossy(), of_handshake).map_err(misuse)
    })
}

/// Return the well-formed headers of a response, with names in lower case.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn well_formed(headers: Headers) -> Headers {
    grammar::well_formed(&headers)
}

/// Write the headers of an ordinary response, with `:status` over HTTP/2. With `head` it answers a HEAD.
///
/// With a `body_len` of `None` the body follows in parts.
#[pyfunction]
#[pyo3(signature = (status, headers, body_len, *, head, http2))]
#[allow(clippy::needless_pass_by_value)]
fn write_ordinary_response(
    #[pyo3(from_py_with = status_of)] status: u16,
    headers: Headers,
    body_len: Option<usize>,
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

/// The configuration of one side, a `PerMessageDeflate`.
#[derive(FromPyObject)]
struct Wish<'py> {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// It may be `True`.
    client_max_window_bits: Option<Bound<'py, PyAny>>,
}

impl Wish<'_> {
    fn read(&self) -> PyResult<PerMessageDeflate> {
        let client_max_window_bits = match &self.client_max_window_bits {
            Some(bits) if bits.is_instance_of::<PyBool>() => bits.is_truthy()?.then_some(None),
            Some(bits) => Some(Some(bits.extract()?)),
            None => None,
        };
        Ok(PerMessageDeflate {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_max_window_bits,
            client_max_window_bits,
        })
    }
}

/// Return the parameters of a client's offer of permessage-deflate (RFC 7692 §7.1).
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn deflate_offer<'py>(py: Python<'py>, wish: Wish<'_>) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, wish.read()?.offer().params)
}

/// On a server, accept the parameters of an offer of permessage-deflate, or return `None` to decline it.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn deflate_accept(py: Python<'_>, wish: Wish<'_>, offer: Parameters) -> PyResult<Option<DeflateAgreement>> {
    let accepted = wish.read()?.accept(&deflate(offer));
    accepted.map(|(agreed, answer)| DeflateAgreement::new(py, agreed, answer)).transpose()
}

/// On a client, check the parameters of an answer; return `None` if it does not fit this offer.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn deflate_agree(py: Python<'_>, wish: Wish<'_>, answer: Parameters) -> PyResult<Option<DeflateAgreement>> {
    let answer = deflate(answer);
    match wish.read()?.agree(&answer) {
        Ok(agreed) => DeflateAgreement::new(py, agreed, answer).map(Some),
        Err(Fault::UnacceptableExtension) => Ok(None),
        Err(other) => Err(local(other)),
    }
}

impl DeflateAgreement {
    fn new(py: Python<'_>, agreed: Agreed, answer: Element) -> PyResult<Self> {
        Ok(Self {
            server_no_context_takeover: agreed.server_no_context_takeover,
            client_no_context_takeover: agreed.client_no_context_takeover,
            server_max_window_bits: agreed.server_max_window_bits,
            client_max_window_bits: agreed.client_max_window_bits,
            answer: PyTuple::new(py, answer.params)?.unbind(),
        })
    }
}

/// Converts a status. A number beyond any status is the caller's mistake, like any other out of range.
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

fn deflate(params: Parameters) -> Element {
    Element { name: String::from(PERMESSAGE_DEFLATE), params }
}

fn elements(tuples: Vec<(String, Parameters)>) -> Vec<Element> {
    tuples.into_iter().map(|(name, params)| Element { name, params }).collect()
}

fn element_tuples(py: Python<'_>, elements: Vec<Element>) -> PyResult<Py<PyTuple>> {
    let tuples = elements.into_iter().map(|Element { name, params }| Ok((name, PyTuple::new(py, params)?)));
    Ok(PyTuple::new(py, tuples.collect::<PyResult<Vec<_>>>()?)?.unbind())
}
