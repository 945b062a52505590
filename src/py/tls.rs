//! The records of a TLS connection, which OpenSSL reads from one `MemoryBIO` and writes to another.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyMemoryView, PySequence, PyType};
use pyo3::{PyTraverseError, PyVisit, intern};

/// The most plaintext of one record (RFC 8446 §5.1).
const RECORD: usize = 1 << 14;
/// How much plaintext is encrypted at a time: a `MemoryBIO` keeps the size of the largest piece that it has held.
const PIECE: usize = 8 * RECORD;

/// Gives a class of the `ssl` module, which is looked up once.
macro_rules! ssl_class {
    ($py:expr, $name:literal) => {{
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        CLASS.import($py, "ssl", $name)
    }};
}

/// Decrypts and encrypts for one connection whose handshake is done.
///
/// The arguments are an `ssl.SSLObject` and its two `ssl.MemoryBIO`s. Connections that are used in one thread may share these: both are
/// empty whenever a call returns.
#[pyclass(frozen, module = "mintws._core")]
pub struct TlsRecords {
    ssl_object: Py<PyAny>,
    incoming: Py<PyAny>,
    outgoing: Py<PyAny>,
}

/// What was made of ciphertext.
pub struct Decrypted<'py> {
    /// How many bytes of plaintext there are.
    pub len: usize,
    /// What is to be written: an alert, or the answer to a `KeyUpdate`.
    pub reply: Option<Bound<'py, PyAny>>,
    /// The `ssl.SSLError` after which nothing more comes: an `ssl.SSLZeroReturnError` for the peer's `close_notify`.
    pub end: Option<PyErr>,
}

/// Why plaintext is not encrypted, or not all of it.
pub struct Unencrypted {
    pub error: PyErr,
    /// Nothing of it is, so that the connection is as before.
    pub whole: bool,
}

#[pymethods]
impl TlsRecords {
    #[new]
    fn new(ssl_object: Bound<'_, PyAny>, incoming: Py<PyAny>, outgoing: Py<PyAny>) -> PyResult<Self> {
        // Its methods of these names call those of an object within it.
        let is_plain = ssl_object.get_type().is(ssl_class!(ssl_object.py(), "SSLObject")?);
        let ssl_object = if is_plain { ssl_object.getattr(intern!(ssl_object.py(), "_sslobj"))? } else { ssl_object };
        Ok(Self { ssl_object: ssl_object.unbind(), incoming, outgoing })
    }

    /// Decrypt ciphertext into `room`.
    #[pyo3(name = "decrypt")]
    fn decrypt_for_python<'py>(
        &self,
        ciphertext: &Bound<'py, PyAny>,
        room: &Bound<'py, PySequence>,
    ) -> PyResult<(usize, Bound<'py, PyAny>, Option<PyErr>)> {
        let Decrypted { len, reply, end } = self.decrypt(ciphertext, room)?;
        Ok((len, reply.unwrap_or_else(|| PyBytes::new(room.py(), b"").into_any()), end))
    }

    /// Encrypt plaintext.
    #[pyo3(name = "encrypt")]
    fn encrypt_for_python<'py>(&self, plaintext: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut pieces = Vec::new();
        self.encrypt(plaintext, |piece| {
            pieces.push(piece);
            Ok(())
        })
        .map_err(|unencrypted| unencrypted.error)?;
        Ok(pieces)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.ssl_object)?;
        visit.call(&self.incoming)?;
        visit.call(&self.outgoing)
    }
}

impl TlsRecords {
    /// Decrypts ciphertext into the beginning of `room`.
    ///
    /// Room is needed for as many bytes and one record more, of which a part may have come before.
    pub fn decrypt<'py>(
        &self,
        ciphertext: &Bound<'py, PyAny>,
        room: &Bound<'py, PySequence>,
    ) -> PyResult<Decrypted<'py>> {
        let py = room.py();
        let (ssl_object, incoming, outgoing) =
            (self.ssl_object.bind(py), self.incoming.bind(py), self.outgoing.bind(py));
        incoming.call_method1(intern!(py, "write"), (ciphertext,))?;
        let size = room.len()?;
        let mut waiting = ciphertext.len()?;
        if waiting + RECORD > size {
            discard(incoming)?;
            return Err(PyValueError::new_err("there is too little room for the plaintext"));
        }
        let (mut len, mut end) = (0, None);
        // OpenSSL decrypts one record at a time, and with room for a whole one it keeps nothing of it.
        while waiting > 0 && end.is_none() {
            let free = if len == 0 { room.clone() } else { room.get_slice(len, size)? };
            match ssl_object.call_method1(intern!(py, "read"), (size - len, free)) {
                Ok(read) => match read.extract()? {
                    0 => end = Some(PyErr::from_type(ssl_class!(py, "SSLZeroReturnError")?.clone(), ())),
                    read => len += read,
                },
                Err(error) if error.is_instance(py, ssl_class!(py, "SSLWantReadError")?) => break,
                Err(error) if is_ssl_error(py, &error)? => end = Some(error),
                Err(error) => {
                    discard(incoming)?;
                    discard(outgoing)?;
                    return Err(error);
                }
            }
            waiting = pending(incoming)?;
        }
        if end.is_some() {
            discard(incoming)?;
        }
        let reply = match pending(outgoing)? {
            0 => None,
            _ => Some(outgoing.call_method0(intern!(py, "read"))?),
        };
        Ok(Decrypted { len, reply, end })
    }

    /// Encrypts plaintext; `write` gets the records of each piece of it.
    pub fn encrypt<'py>(
        &self,
        plaintext: &Bound<'py, PyAny>,
        write: impl FnMut(Bound<'py, PyAny>) -> PyResult<()>,
    ) -> Result<(), Unencrypted> {
        let outgoing = self.outgoing.bind(plaintext.py());
        let mut encrypted = 0;
        self.encrypt_from(plaintext, &mut encrypted, write).map_err(|error| {
            let whole = encrypted == 0 && pending(outgoing).is_ok_and(|waiting| waiting == 0);
            discard(outgoing).ok();
            Unencrypted { error, whole }
        })
    }

    fn encrypt_from<'py>(
        &self,
        plaintext: &Bound<'py, PyAny>,
        encrypted: &mut usize,
        mut write: impl FnMut(Bound<'py, PyAny>) -> PyResult<()>,
    ) -> PyResult<()> {
        let py = plaintext.py();
        let (ssl_object, outgoing) = (self.ssl_object.bind(py), self.outgoing.bind(py));
        // Items of other sizes than a byte would be counted where bytes are.
        let bytes = if plaintext.is_exact_instance_of::<PyBytes>() {
            plaintext.clone()
        } else {
            PyMemoryView::from(plaintext)?.call_method1(intern!(py, "cast"), ("B",))?
        };
        let size = bytes.len()?;
        while *encrypted < size {
            let piece = if size <= PIECE {
                bytes.clone()
            } else {
                let end = size.min(*encrypted + PIECE);
                PyMemoryView::from(&bytes)?.cast::<PySequence>()?.get_slice(*encrypted, end)?.into_any()
            };
            *encrypted += ssl_object.call_method1(intern!(py, "write"), (piece,))?.extract::<usize>()?;
            write(outgoing.call_method0(intern!(py, "read"))?)?;
        }
        Ok(())
    }
}

/// Whether an error is one of TLS, not of a call.
pub fn is_ssl_error(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    Ok(error.is_instance(py, ssl_class!(py, "SSLError")?))
}

fn pending(bio: &Bound<'_, PyAny>) -> PyResult<usize> {
    bio.getattr(intern!(bio.py(), "pending"))?.extract()
}

fn discard(bio: &Bound<'_, PyAny>) -> PyResult<()> {
    bio.call_method0(intern!(bio.py(), "read")).map(drop)
}
