//! Methods of the core that look like coroutine functions.
//!
//! A method descriptor of `CPython`'s has no attributes to mark it with. This one has, and is called as directly: by vectorcall, and from
//! `object.method()` without a bound method in between.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

#[repr(C)]
struct MethodObject {
    ob_base: PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    /// The method that is called, and its vectorcall.
    method: *mut PyObject,
    call: Option<ffi::vectorcallfunc>,
    dict: *mut PyObject,
}

static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Return a method that calls `method`, a method descriptor of a class of the core, and has attributes.
#[pyfunction]
pub fn coroutine_method<'py>(method: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = method.py();
    let kind = TYPE.get_or_try_init(py, || make(py))?.bind(py).as_type_ptr();
    // SAFETY: `method` is a live object; `kind` makes whole MethodObjects, of zeros after their head.
    unsafe {
        let call = ffi::PyVectorcall_Function(method.as_ptr());
        if call.is_none() || ffi::PyType_GetFlags(method.get_type_ptr()) & ffi::Py_TPFLAGS_METHOD_DESCRIPTOR == 0 {
            return Err(PyTypeError::new_err("coroutine_method() takes a method of a class of the core"));
        }
        let made = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(kind, 0))?;
        let object = made.as_ptr().cast::<MethodObject>();
        (*object).method = method.clone().into_ptr();
        (*object).call = call;
        (*object).vectorcall = Some(vectorcall);
        Ok(made)
    }
}

fn make(py: Python<'_>) -> PyResult<Py<PyType>> {
    let member = |name: &'static std::ffi::CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset.cast_signed(),
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    };
    // The interpreter keeps the pointers to members and getters: they live as long as the process.
    // SAFETY: a PyMemberDef of zeros ends the list.
    let members = Box::leak(Box::new([
        member(c"__vectorcalloffset__", offset_of!(MethodObject, vectorcall)),
        member(c"__dictoffset__", offset_of!(MethodObject, dict)),
        unsafe { std::mem::zeroed() },
    ]));
    let getters = Box::leak(Box::new([
        ffi::PyGetSetDef {
            name: c"__dict__".as_ptr(),
            get: Some(ffi::PyObject_GenericGetDict),
            set: Some(ffi::PyObject_GenericSetDict),
            doc: ptr::null(),
            closure: ptr::null_mut(),
        },
        ffi::PyGetSetDef::default(),
    ]));
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_getset, getters.as_mut_ptr().cast()),
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_descr_get, descr_get as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_HAVE_GC
        | ffi::Py_TPFLAGS_HAVE_VECTORCALL
        | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR
        | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut spec = ffi::PyType_Spec {
        name: c"mintws._core.CoroutineMethod".as_ptr(),
        basicsize: c_int::try_from(size_of::<MethodObject>())?,
        itemsize: 0,
        flags: u32::try_from(flags)?,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec and its slots are whole and of the types that the slots' names ask for; CPython copies them.
    unsafe {
        Ok(Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))?.cast_into::<PyType>()?.unbind())
    }
}

unsafe extern "C" fn vectorcall(
    callable: *mut PyObject,
    args: *const *mut PyObject,
    nargsf: usize,
    kwnames: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: CPython calls this attached, with a MethodObject that `coroutine_method` made whole; the arguments are handed on.
    unsafe {
        let object = callable.cast::<MethodObject>();
        match (*object).call {
            Some(call) => call((*object).method, args, nargsf, kwnames),
            None => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn descr_get(method: *mut PyObject, object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    static BOUND: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let found = catch_unwind(AssertUnwindSafe(|| {
        Python::attach(|py| {
            // SAFETY: CPython calls this attached, with a live method, and a live object or null.
            let (method, object) =
                unsafe { (Bound::from_borrowed_ptr(py, method), Bound::from_borrowed_ptr_or_opt(py, object)) };
            let Some(object) = object else { return method.into_ptr() };
            let bind = || {
                let class = BOUND
                    .get_or_try_init(py, || Ok::<_, PyErr>(py.import("types")?.getattr("MethodType")?.unbind()))?;
                class.bind(py).call1((method, object))
            };
            bind().map_or_else(
                |error: PyErr| {
                    error.restore(py);
                    ptr::null_mut()
                },
                Bound::into_ptr,
            )
        })
    }));
    found.unwrap_or(ptr::null_mut())
}

unsafe extern "C" fn traverse(method: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: CPython calls this with a live MethodObject, whose fields are live objects or null.
    unsafe {
        let object = method.cast::<MethodObject>();
        for part in [ffi::Py_TYPE(method).cast(), (*object).method, (*object).dict] {
            let stop = if part.is_null() { 0 } else { visit(part, arg) };
            if stop != 0 {
                return stop;
            }
        }
    }
    0
}

unsafe extern "C" fn clear(method: *mut PyObject) -> c_int {
    // SAFETY: CPython calls this attached, with a live MethodObject. What is called stays: a call may still come.
    unsafe { ffi::Py_CLEAR(&raw mut (*method.cast::<MethodObject>()).dict) };
    0
}

unsafe extern "C" fn dealloc(method: *mut PyObject) {
    // SAFETY: CPython calls this once, attached, when nothing refers to the object: both fields are owned or null, and the object owns
    // a reference to its heap type.
    unsafe {
        let object = method.cast::<MethodObject>();
        let kind: *mut PyTypeObject = ffi::Py_TYPE(method);
        ffi::PyObject_GC_UnTrack(method.cast());
        ffi::Py_XDECREF((*object).dict);
        ffi::Py_XDECREF((*object).method);
        ffi::PyObject_GC_Del(method.cast());
        ffi::Py_DECREF(kind.cast());
    }
}
