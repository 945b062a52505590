//! The events of frames as Python objects: `Text`, `Binary`, `Ping`, `Pong`, `Close`.
//!
//! They are defined through the C API, because one is created for every message: that takes 35 ns, against 62-79 for a `#[pyclass]`,
//! which the garbage collector tracks. These hold only `str`, `bytes`, `int` and `bool`, but no subclasses of them, so they need no
//! collector. Each has two fields, which are set on creation and never changed.
//!
//! Python calls these functions without `PyO3`, which then does not know that the thread is attached and would defer releasing the
//! references of an error. So no error is dropped here, and [`entered`] attaches `PyO3` before it raises one.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyString, PyTuple, PyType};

use super::errors::local;

/// The five types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
    Ping,
    Pong,
    Close,
}

#[repr(C)]
struct EventObject {
    ob_base: PyObject,
    first: *mut PyObject,
    second: *mut PyObject,
}

/// The Python interface of one of the five types.
struct Shape {
    kind: Kind,
    name: &'static CStr,
    doc: &'static CStr,
    /// The names of the fields. A Ping and a Pong have one.
    fields: &'static [&'static CStr],
}

impl Shape {
    fn full_name(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }
}

const SHAPES: [Shape; 5] = [
    Shape {
        kind: Kind::Text,
        name: c"mintws.Text",
        doc: c"Text(data, fin=True)\n--\n\nA text message, or a fragment of one (RFC 6455 \xc2\xa75.6).\n\nArgs:\n    data: the text; `bytes` are taken as UTF-8 and checked when they are sent.\n    fin: `False` says that more fragments follow.\n\nReceived, `data` is a `str`, or checked `bytes` if the connection was asked for these.",
        fields: &[c"data", c"fin"],
    },
    Shape {
        kind: Kind::Binary,
        name: c"mintws.Binary",
        doc: c"Binary(data, fin=True)\n--\n\nA binary message, or a fragment of one (RFC 6455 \xc2\xa75.6).\n\nArgs:\n    data: the bytes; `bytearray` and `memoryview` are copied.\n    fin: `False` says that more fragments follow.",
        fields: &[c"data", c"fin"],
    },
    Shape {
        kind: Kind::Ping,
        name: c"mintws.Ping",
        doc: c"Ping(data=b'')\n--\n\nA question whether the peer is there (RFC 6455 \xc2\xa75.5.2).\n\nArgs:\n    data: at most 125 bytes, which the Pong brings back.",
        fields: &[c"data"],
    },
    Shape {
        kind: Kind::Pong,
        name: c"mintws.Pong",
        doc: c"Pong(data=b'')\n--\n\nThe answer to a Ping, or a sign of life (RFC 6455 \xc2\xa75.5.3).\n\nArgs:\n    data: at most 125 bytes: those of the Ping.",
        fields: &[c"data"],
    },
    Shape {
        kind: Kind::Close,
        name: c"mintws.Close",
        doc: c"Close(code=1000, reason='')\n--\n\nThe closing handshake (RFC 6455 \xc2\xa75.5.1).\n\nArgs:\n    code: a status code that may be sent (\xc2\xa77.4), or `None` for a Close without one.\n    reason: text of at most 123 bytes in UTF-8.\n\nRaises:\n    LocalProtocolError: the code is not one of two bytes.",
        fields: &[c"code", c"reason"],
    },
];

struct Types([Py<PyType>; 5]);

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

fn types(py: Python<'_>) -> PyResult<&Types> {
    TYPES.get_or_try_init(py, || {
        let [first, second, third, fourth, fifth] = &SHAPES;
        Ok(Types([make(py, first)?, make(py, second)?, make(py, third)?, make(py, fourth)?, make(py, fifth)?]))
    })
}

/// Adds the five types to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for kind in &types(module.py())?.0 {
        module.add(kind.bind(module.py()).name()?, kind)?;
    }
    Ok(())
}

/// An event: its type and its two fields.
type Fields<'a, 'py> = (Kind, &'a Bound<'py, PyAny>, Option<&'a Bound<'py, PyAny>>);

/// Returns the type of the event `object` and its two fields. The second is unset in a Ping or a Pong.
#[inline]
pub fn fields<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<Fields<'a, 'py>> {
    let types = TYPES.get(object.py())?;
    let kind = object.get_type_ptr();
    let shape = SHAPES.iter().zip(&types.0).find(|(_, known)| ptr::eq(known.as_ptr(), kind.cast()))?.0;
    let event = object.as_ptr().cast::<EventObject>();
    // SAFETY: the type is one of ours, so the object is an EventObject; its first field is always set, its fields live as long
    // as it does, and a `Bound` behind a reference is a pointer to a pointer.
    unsafe {
        let first = Bound::ref_from_ptr(object.py(), &(*event).first);
        let second = (!(*event).second.is_null()).then(|| Bound::ref_from_ptr(object.py(), &(*event).second));
        Some((shape.kind, first, second))
    }
}

/// Whether the second field of a message, always a `bool`, is `True`: no fragment follows.
#[inline]
pub fn is_final(fin: &Bound<'_, PyAny>) -> bool {
    fin.is(&*PyBool::new(fin.py(), true))
}

/// Creates a `Text`, `Binary`, `Ping` or `Pong` with `data`, without checks.
#[inline]
pub fn with_data(data: Bound<'_, PyAny>, kind: Kind, fin: bool) -> PyResult<Bound<'_, PyAny>> {
    let py = data.py();
    let second = matches!(kind, Kind::Text | Kind::Binary).then(|| PyBool::new(py, fin).to_owned().into_any());
    build(py, kind, data, second)
}

/// Creates a `Close`.
pub fn close<'py>(py: Python<'py>, code: Option<u16>, reason: &str) -> PyResult<Bound<'py, PyAny>> {
    let code = code.into_pyobject(py)?;
    build(py, Kind::Close, code, Some(reason.into_pyobject(py)?.into_any()))
}

#[inline]
fn build<'py>(
    py: Python<'py>,
    kind: Kind,
    first: Bound<'py, PyAny>,
    second: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let types = types(py)?;
    let made = types.0[kind as usize].as_ptr().cast::<PyTypeObject>();
    // SAFETY: `made` is a type whose instances are EventObjects and not tracked by the collector, so PyObject_Malloc is how they are
    // allocated (`tp_free` below is its twin); every field is written before the object is seen.
    unsafe {
        let raw = ffi::PyObject_Malloc(size_of::<EventObject>()).cast::<PyObject>();
        if raw.is_null() {
            return Err(PyErr::from_value(py.get_type::<pyo3::exceptions::PyMemoryError>().call0()?));
        }
        ffi::PyObject_Init(raw, made);
        let event = raw.cast::<EventObject>();
        (*event).first = first.into_ptr();
        (*event).second = second.map_or(ptr::null_mut(), Bound::into_ptr);
        Ok(Bound::from_owned_ptr(py, raw))
    }
}

fn make(py: Python<'_>, shape: &Shape) -> PyResult<Py<PyType>> {
    // The interpreter keeps the pointer to the members: they live as long as the process.
    let offsets = [offset_of!(EventObject, first), offset_of!(EventObject, second)];
    let mut members: Vec<ffi::PyMemberDef> = shape
        .fields
        .iter()
        .zip(offsets)
        .map(|(name, offset)| ffi::PyMemberDef {
            name: name.as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: offset.cast_signed(),
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        })
        .collect();
    // SAFETY: a PyMemberDef of zeros ends the list.
    members.push(unsafe { std::mem::zeroed() });
    let members = Box::leak(members.into_boxed_slice());
    let methods = Box::leak(Box::new([
        ffi::PyMethodDef {
            ml_name: c"__reduce__".as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: reduce },
            ml_flags: ffi::METH_NOARGS,
            ml_doc: ptr::null(),
        },
        ffi::PyMethodDef::zeroed(),
    ]));
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_tp_new, new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_free, ffi::PyObject_Free as *mut c_void),
        slot(ffi::Py_tp_richcompare, richcompare as *mut c_void),
        slot(ffi::Py_tp_hash, hash as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_doc, shape.doc.as_ptr().cast_mut().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: shape.name.as_ptr(),
        basicsize: c_int::try_from(size_of::<EventObject>()).expect("a small struct"),
        itemsize: 0,
        flags: u32::try_from(ffi::Py_TPFLAGS_DEFAULT).expect("flags are 32 bits in a spec"),
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec and its slots are whole and of the types that the slots' names ask for; CPython copies them.
    let made = unsafe {
        let made = ffi::PyType_FromSpec(&raw mut spec);
        if made.is_null() {
            return Err(PyErr::fetch(py));
        }
        Bound::from_owned_ptr(py, made).cast_into::<PyType>()?
    };
    let names: Vec<String> = shape.fields.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    made.setattr("__match_args__", PyTuple::new(py, names)?)?;
    // SAFETY: `made` is a type that nobody has seen yet. With a vectorcall a call makes no tuple.
    unsafe {
        let raw = made.as_ptr().cast::<PyTypeObject>();
        (*raw).tp_vectorcall = Some(vectorcall);
        #[cfg(not(Py_GIL_DISABLED))]
        {
            (*raw).tp_flags |= ffi::Py_TPFLAGS_IMMUTABLETYPE;
        }
        #[cfg(Py_GIL_DISABLED)]
        (*raw).tp_flags.fetch_or(ffi::Py_TPFLAGS_IMMUTABLETYPE, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(made.unbind())
}

fn shape_of(py: Python<'_>, kind: *mut PyTypeObject) -> PyResult<&'static Shape> {
    types(py)?
        .0
        .iter()
        .zip(&SHAPES)
        .find_map(|(known, shape)| ptr::eq(known.as_ptr(), kind.cast()).then_some(shape))
        .ok_or_else(stranger)
}

fn stranger() -> PyErr {
    PyTypeError::new_err("not an event of mintws")
}

/// Checks the arguments of a call and creates the event.
fn construct<'py>(
    py: Python<'py>,
    shape: &Shape,
    first: Option<Bound<'py, PyAny>>,
    second: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    // Built only for an error, because this runs for each message sent.
    let name = || shape.full_name().trim_start_matches("mintws.");
    let wrong = |field: &str, wanted: &str, got: &Bound<'py, PyAny>| {
        let got = got.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        PyTypeError::new_err(format!("{}.{field} must be {wanted}, not {got}", name()))
    };
    let bytes = |data: Bound<'py, PyAny>, wanted: &str| -> PyResult<Bound<'py, PyAny>> {
        if data.is_exact_instance_of::<PyBytes>() {
            return Ok(data);
        }
        // SAFETY: `data` is a live object; what is made of one that lends its bytes is a new `bytes`, or null with an error set.
        unsafe {
            if ffi::PyObject_CheckBuffer(data.as_ptr()) == 0 {
                return Err(wrong("data", wanted, &data));
            }
            Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromObject(data.as_ptr()))
        }
    };
    let text = |text: Bound<'py, PyAny>| -> PyResult<Bound<'py, PyAny>> {
        if text.is_exact_instance_of::<PyString>() {
            return Ok(text);
        }
        // SAFETY: `text` is a live `str` of a subclass; the result is a new `str`, or null with an error set.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_FromObject(text.as_ptr())) }
    };
    match shape.kind {
        Kind::Text | Kind::Binary => {
            let Some(data) = first else {
                return Err(PyTypeError::new_err(format!("{}() needs its data", name())));
            };
            let data = match shape.kind {
                Kind::Text if data.is_instance_of::<PyString>() => text(data)?,
                Kind::Text => bytes(data, "str, or bytes in UTF-8")?,
                _ => bytes(data, "bytes")?,
            };
            let fin = match second {
                Some(fin) if fin.is_exact_instance_of::<PyBool>() => fin,
                Some(fin) => return Err(wrong("fin", "bool", &fin)),
                None => PyBool::new(py, true).to_owned().into_any(),
            };
            build(py, shape.kind, data, Some(fin))
        }
        Kind::Ping | Kind::Pong => {
            let data = match first {
                Some(data) => bytes(data, "bytes")?,
                None => PyBytes::new(py, b"").into_any(),
            };
            build(py, shape.kind, data, None)
        }
        Kind::Close => {
            let code = match first {
                Some(code) if code.is_none() => code,
                Some(code) => match number(&code).map(u16::try_from) {
                    Some(Ok(number)) => number.into_pyobject(py)?.into_any(),
                    Some(Err(_)) => return Err(local("a status code is 0 to 65535 (RFC 6455 §5.5.1)")),
                    None => return Err(wrong("code", "int or None", &code)),
                },
                None => 1000_u16.into_pyobject(py)?.into_any(),
            };
            let reason = match second {
                Some(reason) if reason.is_instance_of::<PyString>() => text(reason)?,
                Some(reason) => return Err(wrong("reason", "str", &reason)),
                None => "".into_pyobject(py)?.into_any(),
            };
            build(py, Kind::Close, code, Some(reason))
        }
    }
}

/// Maps the arguments of a call to the two fields.
fn call<'py>(
    py: Python<'py>,
    kind: *mut PyTypeObject,
    positional: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
    named: impl Iterator<Item = (Bound<'py, PyAny>, Bound<'py, PyAny>)>,
) -> PyResult<Bound<'py, PyAny>> {
    let shape = shape_of(py, kind)?;
    if positional.len() > shape.fields.len() {
        let name = shape.full_name();
        return Err(PyTypeError::new_err(format!("{name}() takes at most {} arguments", shape.fields.len())));
    }
    let mut values = [None, None];
    for (place, value) in values.iter_mut().zip(positional) {
        *place = Some(value);
    }
    for (key, value) in named {
        let (key, name) = (key.extract::<String>()?, shape.full_name());
        let place = shape.fields.iter().position(|field| field.to_bytes() == key.as_bytes());
        match place.and_then(|place| values.get_mut(place)) {
            Some(place @ None) => *place = Some(value),
            Some(Some(_)) => return Err(PyTypeError::new_err(format!("{name}() has two values for {key:?}"))),
            None => return Err(PyTypeError::new_err(format!("{name}() knows no argument {key:?}"))),
        }
    }
    let [first, second] = values;
    construct(py, shape, first, second)
}

/// Converts an int, saturated to `i64`; `None` for other types, including bool.
pub fn number(value: &Bound<'_, PyAny>) -> Option<i64> {
    if !value.is_instance_of::<PyInt>() || value.is_instance_of::<PyBool>() {
        return None;
    }
    let mut overflow = 0;
    // SAFETY: `value` is a live int, for which this sets no error.
    let number = unsafe { ffi::PyLong_AsLongLongAndOverflow(value.as_ptr(), &raw mut overflow) };
    Some(match overflow {
        0 => number,
        1.. => i64::MAX,
        _ => i64::MIN,
    })
}

/// Runs a function called by Python; returns `failure`, with the exception set, if it raises or panics.
///
/// # Safety
///
/// The thread is attached.
#[inline]
unsafe fn entered<T>(failure: T, body: impl FnOnce(Python<'_>) -> PyResult<T>) -> T {
    // SAFETY: the caller's promise. What a panic leaves half done is dropped with the objects of the call.
    match catch_unwind(AssertUnwindSafe(|| body(unsafe { Python::assume_attached() }))) {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => raised(failure, error),
        Err(_) => raised(failure, PanicException::new_err("the core panicked")),
    }
}

#[cold]
fn raised<T>(failure: T, error: PyErr) -> T {
    Python::attach(|py| error.restore(py));
    failure
}

unsafe extern "C" fn vectorcall(
    callable: *mut PyObject,
    args: *const *mut PyObject,
    nargsf: usize,
    kwnames: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: CPython calls this attached, with the vectorcall protocol's arguments: `args` holds the positional arguments and
    // after them one value for each name in `kwnames`, all borrowed and alive.
    unsafe {
        entered(ptr::null_mut(), |py| {
            let positional = usize::try_from(ffi::PyVectorcall_NARGS(nargsf)).unwrap_or_default();
            let at = |i: usize| Bound::from_borrowed_ptr(py, *args.add(i));
            if kwnames.is_null() && positional == 1 {
                // Each sent message is created this way.
                return construct(py, shape_of(py, callable.cast())?, Some(at(0)), None).map(Bound::into_ptr);
            }
            let keys = Bound::from_borrowed_ptr_or_opt(py, kwnames).and_then(|keys| keys.cast_into::<PyTuple>().ok());
            let named = keys.iter().flatten().enumerate().map(|(i, key)| (key, at(positional + i)));
            call(py, callable.cast(), (0..positional).map(at), named).map(Bound::into_ptr)
        })
    }
}

unsafe extern "C" fn new(kind: *mut PyTypeObject, args: *mut PyObject, kwargs: *mut PyObject) -> *mut PyObject {
    // SAFETY: CPython calls this attached, with a tuple and a dict or null, borrowed and alive.
    unsafe {
        entered(ptr::null_mut(), |py| {
            let args = Bound::from_borrowed_ptr(py, args).cast_into::<PyTuple>()?;
            let named = Bound::from_borrowed_ptr_or_opt(py, kwargs).map(Bound::cast_into::<PyDict>);
            let named: Vec<_> = named.transpose()?.map(|named| named.iter().collect()).unwrap_or_default();
            call(py, kind, args.iter(), named.into_iter()).map(Bound::into_ptr)
        })
    }
}

unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: CPython calls this once, attached, when nothing refers to the object, which `build` made: both fields are owned
    // or null, the memory came from PyObject_Malloc, and the object owns a reference to its heap type.
    unsafe {
        let event = object.cast::<EventObject>();
        let kind = ffi::Py_TYPE(object);
        ffi::Py_XDECREF((*event).first);
        ffi::Py_XDECREF((*event).second);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

unsafe extern "C" fn richcompare(a: *mut PyObject, b: *mut PyObject, op: c_int) -> *mut PyObject {
    // SAFETY: CPython calls this attached, with two live objects.
    unsafe {
        entered(ptr::null_mut(), |py| {
            let (a, b) = (Bound::from_borrowed_ptr(py, a), Bound::from_borrowed_ptr(py, b));
            let (ffi::Py_EQ | ffi::Py_NE, Some(left), Some(right)) = (op, fields(&a), fields(&b)) else {
                return Ok(py.NotImplemented().into_ptr());
            };
            let equal = left.0 == right.0
                && left.1.eq(right.1)?
                && match (left.2, right.2) {
                    (Some(left), Some(right)) => left.eq(right)?,
                    _ => true,
                };
            Ok(PyBool::new(py, equal == (op == ffi::Py_EQ)).to_owned().into_ptr())
        })
    }
}

unsafe extern "C" fn hash(object: *mut PyObject) -> ffi::Py_hash_t {
    // SAFETY: CPython calls this attached, with a live object.
    unsafe {
        entered(-1, |py| {
            let (kind, fields) = parts(&Bound::from_borrowed_ptr(py, object))?;
            PyTuple::new(py, [kind.into_any(), fields.into_any()])?.hash()
        })
    }
}

unsafe extern "C" fn repr(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: CPython calls this attached, with a live object.
    unsafe {
        entered(ptr::null_mut(), |py| {
            let object = Bound::from_borrowed_ptr(py, object);
            let (_, first, second) = fields(&object).ok_or_else(stranger)?;
            let rest = match second {
                Some(fin) if fin.is_instance_of::<PyBool>() => {
                    if fin.is_truthy()? {
                        String::new()
                    } else {
                        ", fin=False".to_owned()
                    }
                }
                Some(reason) => format!(", {}", reason.repr()?),
                None => String::new(),
            };
            let text = format!("{}({}{rest})", object.get_type().name()?, first.repr()?);
            Ok(text.into_pyobject(py)?.into_ptr())
        })
    }
}

unsafe extern "C" fn reduce(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: CPython calls this attached, with a live object.
    unsafe {
        entered(ptr::null_mut(), |py| {
            let (kind, fields) = parts(&Bound::from_borrowed_ptr(py, object))?;
            PyTuple::new(py, [kind.into_any(), fields.into_any()]).map(Bound::into_ptr)
        })
    }
}

/// The type of an event and its fields, as many as it has.
fn parts<'py>(object: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
    let (_, first, second) = fields(object).ok_or_else(stranger)?;
    let all = std::iter::once(first).chain(second).cloned().collect::<Vec<_>>();
    Ok((object.get_type(), PyTuple::new(object.py(), all)?))
}
