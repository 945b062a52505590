//! The awaitable of `recv` and `send`. If it need not wait, it completes without a Python frame.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopAsyncIteration, PyStopIteration};
use pyo3::ffi::{self, PyObject, PySendResult};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyType};
use pyo3::{PyTraverseError, PyVisit};

use super::websocket::{Pop, Sent, WebSocketBase};
use super::{BurstWebSocket, Waiter, burst};
use crate::py::border;
use crate::py::guarded::Guarded;
use crate::py::incoming::Message;

/// The form in which a reader takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvKind {
    /// The message's data.
    Data,
    /// The message as an event.
    Event,
    /// The message's data; a clean end ends the iteration.
    Next,
    /// The message as an event of ASGI, and so is the end.
    Asgi,
}

impl RecvKind {
    /// Gives a message in this form.
    #[inline]
    pub fn of(self, message: Message<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::Data | Self::Next => Ok(message.data),
            Self::Event => message.into_event(),
            Self::Asgi => message.into_asgi(),
        }
    }
}

enum Work {
    Read(RecvKind),
    Send(Py<PyAny>, Option<bool>),
}

impl Work {
    fn name(&self) -> &'static str {
        match self {
            Self::Read(RecvKind::Data) => "WebSocket.recv",
            Self::Read(RecvKind::Event) => "WebSocket.recv_event",
            Self::Read(RecvKind::Next) => "WebSocket.__anext__",
            Self::Read(RecvKind::Asgi) => "AsgiCycle.receive",
            Self::Send(..) => "WebSocket.send",
        }
    }
}

enum Progress {
    /// Nobody awaits it yet.
    Fresh(Py<WebSocketBase>, Work),
    /// The same, of a WebSocket whose tasks wait in coroutines.
    Burst(Py<BurstWebSocket>, Work),
    /// A reader waits for a message.
    Waiting(Py<WebSocketBase>, RecvKind),
    /// A reader waits for a turn of the loop although there is a message.
    Deferred(Py<WebSocketBase>, RecvKind, Py<Waiter>),
    /// A sender waits for its message to be written, or for a turn of the loop.
    Sending(Py<WebSocketBase>, Py<Waiter>),
    /// A coroutine of the subclass does the rare work.
    Delegated(Py<PyAny>),
    Done,
}

/// A call of `recv` or `send`, to be awaited once. It behaves like a coroutine.
#[pyclass(frozen, freelist = 64, module = "mintws._core")]
pub struct Awaitable(Guarded<Call>);

struct Call {
    name: &'static str,
    progress: Progress,
}

/// The result of a step.
pub enum Step {
    Yield(Py<PyAny>),
    Return(Py<PyAny>),
}

#[pymethods]
impl Awaitable {
    /// The name shown for a task that awaits it.
    #[getter]
    fn __qualname__(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(self.0.borrow(py)?.name)
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::step(slf, None)?.into_python(slf.py())
    }

    /// Resume it with a value, as for a coroutine.
    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Self::step(slf, Some(value))?.into_python(slf.py())
    }

    /// Raise an exception in it, as for a coroutine.
    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        if let Some(coroutine) = Self::delegated(slf)? {
            let thrown = match (value, traceback) {
                (Some(value), Some(traceback)) => coroutine.call_method1("throw", (kind, value, traceback)),
                (Some(value), None) => coroutine.call_method1("throw", (kind, value)),
                (None, _) => coroutine.call_method1("throw", (kind,)),
            };
            if thrown.is_err() {
                slf.get().proceed(slf.py(), Progress::Done)?;
            }
            return thrown.map(Bound::unbind);
        }
        Self::end(slf)?;
        let error = match (kind.cast::<PyType>(), value) {
            (Ok(class), Some(value)) if value.is_instance(class)? => value.clone(),
            (Ok(_), Some(value)) => kind.call1((value,))?,
            (Ok(_), None) => kind.call0()?,
            (Err(_), _) => kind.clone(),
        };
        if let Some(traceback) = traceback {
            error.setattr("__traceback__", traceback)?;
        }
        Err(PyErr::from_value(error))
    }

    /// End it, as for a coroutine.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        if let Some(coroutine) = Self::delegated(slf)? {
            coroutine.call_method0("close")?;
        }
        Self::end(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(call) = self.0.visited(&visit) else { return Ok(()) };
        match &call.progress {
            Progress::Fresh(websocket, Work::Send(message, _)) => {
                visit.call(websocket)?;
                visit.call(message)
            }
            Progress::Burst(websocket, Work::Send(message, _)) => {
                visit.call(websocket)?;
                visit.call(message)
            }
            Progress::Burst(websocket, Work::Read(_)) => visit.call(websocket),
            Progress::Fresh(websocket, Work::Read(_)) | Progress::Waiting(websocket, _) => visit.call(websocket),
            Progress::Deferred(websocket, _, waiter) | Progress::Sending(websocket, waiter) => {
                visit.call(websocket)?;
                visit.call(waiter)
            }
            Progress::Delegated(coroutine) => visit.call(coroutine),
            Progress::Done => Ok(()),
        }
    }
}

impl Awaitable {
    /// Replaces the progress and returns the old one.
    #[inline]
    fn proceed(&self, py: Python<'_>, progress: Progress) -> PyResult<Progress> {
        Ok(std::mem::replace(&mut self.0.borrow_mut(py)?.progress, progress))
    }

    pub fn reading(websocket: &Bound<'_, WebSocketBase>, kind: RecvKind) -> PyResult<Py<Self>> {
        let spare = websocket.get().state(websocket.py())?.take_spare();
        Self::new(websocket.py(), spare, Progress::Fresh(websocket.clone().unbind(), Work::Read(kind)))
    }

    pub fn sending(
        websocket: &Bound<'_, WebSocketBase>,
        message: Py<PyAny>,
        compress: Option<bool>,
    ) -> PyResult<Py<Self>> {
        let spare = websocket.get().state(websocket.py())?.take_spare();
        let work = Work::Send(message, compress);
        Self::new(websocket.py(), spare, Progress::Fresh(websocket.clone().unbind(), work))
    }

    pub fn receiving(websocket: &Bound<'_, BurstWebSocket>, kind: RecvKind) -> PyResult<Py<Self>> {
        let spare = websocket.get().take_spare(websocket.py())?;
        Self::new(websocket.py(), spare, Progress::Burst(websocket.clone().unbind(), Work::Read(kind)))
    }

    pub fn answering(
        websocket: &Bound<'_, BurstWebSocket>,
        message: Py<PyAny>,
        compress: Option<bool>,
    ) -> PyResult<Py<Self>> {
        let spare = websocket.get().take_spare(websocket.py())?;
        let work = Work::Send(message, compress);
        Self::new(websocket.py(), spare, Progress::Burst(websocket.clone().unbind(), work))
    }

    /// Creates one, reusing a completed one that has no other reference.
    fn new(py: Python<'_>, spare: Option<Py<Self>>, progress: Progress) -> PyResult<Py<Self>> {
        let name = match &progress {
            Progress::Fresh(_, work) | Progress::Burst(_, work) => work.name(),
            _ => "",
        };
        let call = Call { name, progress };
        match spare {
            Some(spare) if is_only(&spare) => {
                *spare.get().0.borrow_mut(py)? = call;
                Ok(spare)
            }
            _ => {
                let new = Bound::new(py, Self(Guarded::new(call)))?;
                super::track(&new);
                Ok(new.unbind())
            }
        }
    }

    /// Runs until there is a result, or something to wait for.
    fn step(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Step> {
        let py = slf.py();
        match slf.get().proceed(py, Progress::Done)? {
            Progress::Done => Err(PyRuntimeError::new_err("a call of recv or send is awaited once; call it again")),
            Progress::Delegated(coroutine) => Self::delegate(slf, coroutine, value),
            Progress::Waiting(websocket, kind) => {
                if websocket.get().state(py)?.waits(py)? {
                    slf.get().proceed(py, Progress::Waiting(websocket, kind))?;
                    return Err(PyRuntimeError::new_err("another task awaits this call of recv already"));
                }
                websocket.get().state(py)?.wait_no_more();
                Self::read(slf, websocket.into_bound(py), kind)
            }
            Progress::Deferred(websocket, kind, waiter) => {
                if !waiter.get().is_done(py)? {
                    slf.get().proceed(py, Progress::Deferred(websocket, kind, waiter))?;
                    return Err(PyRuntimeError::new_err("another task awaits this call of recv already"));
                }
                websocket.get().state(py)?.end_deferral();
                Self::read(slf, websocket.into_bound(py), kind)
            }
            Progress::Sending(websocket, sender) => {
                if !sender.get().is_done(py)? {
                    slf.get().proceed(py, Progress::Sending(websocket, sender))?;
                    return Err(PyRuntimeError::new_err("another task awaits this call of send already"));
                }
                let room = websocket.get().state(py)?.has_room(py)?;
                Self::sent(slf, websocket.bind(py), if room { Sent::Done } else { Sent::Crowded })
            }
            Progress::Fresh(websocket, Work::Read(kind)) => {
                let websocket = websocket.into_bound(py);
                if websocket.get().is_to_defer(py, websocket.as_super().get())? {
                    let waiter = WebSocketBase::wait_for_turn(&websocket)?;
                    websocket.get().state(py)?.defer_reader();
                    let deferred = Progress::Deferred(websocket.unbind(), kind, waiter.clone().unbind());
                    slf.get().proceed(py, deferred)?;
                    return Ok(Step::Yield(waiter.into_any().unbind()));
                }
                Self::read(slf, websocket, kind)
            }
            Progress::Fresh(websocket, Work::Send(message, compress)) => {
                Self::write(slf, &websocket.into_bound(py), &message.into_bound(py), compress)
            }
            Progress::Burst(websocket, Work::Read(kind)) => {
                let websocket = websocket.into_bound(py);
                if let Some(message) = BurstWebSocket::take_now(&websocket, slf)? {
                    return Ok(Step::Return(kind.of(message)?.unbind()));
                }
                let receiving = border::burst::receive(&websocket, kind == RecvKind::Event, kind == RecvKind::Next)?;
                Self::delegate(slf, receiving.unbind(), None)
            }
            Progress::Burst(websocket, Work::Send(message, compress)) => {
                let (websocket, message) = (websocket.into_bound(py), message.into_bound(py));
                let rest = match BurstWebSocket::send_now(&websocket, slf, &message, compress)? {
                    burst::Sent::Done => return Ok(Step::Return(py.None())),
                    burst::Sent::Due => border::burst::sent(&websocket)?,
                    burst::Sent::NotYet => border::burst::send(&websocket, &message, compress)?,
                };
                Self::delegate(slf, rest.unbind(), None)
            }
        }
    }

    fn write(
        slf: &Bound<'_, Self>,
        websocket: &Bound<'_, WebSocketBase>,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<Step> {
        match WebSocketBase::send_now(websocket, message, compress)? {
            Sent::NotYet => {
                let sending = border::websocket::send(websocket, message, compress)?;
                let step = Self::delegate(slf, sending.unbind(), None)?;
                let one = message.is_instance_of::<PyString>() || message.is_instance_of::<PyBytes>();
                let spent = websocket.get().charge(slf.py(), if one { message.len()? } else { 0 })?;
                match step {
                    Step::Return(_) if spent => Self::sent(slf, websocket, Sent::Spent),
                    step => Ok(step),
                }
            }
            sent => Self::sent(slf, websocket, sent),
        }
    }

    /// Continues after a message has been sent.
    #[inline]
    fn sent(slf: &Bound<'_, Self>, websocket: &Bound<'_, WebSocketBase>, sent: Sent) -> PyResult<Step> {
        let py = slf.py();
        match sent {
            Sent::Together | Sent::Spent => {
                let sender = match sent {
                    Sent::Together => WebSocketBase::wait_for_flush(websocket)?,
                    _ => WebSocketBase::wait_for_turn(websocket)?,
                };
                slf.get().proceed(py, Progress::Sending(websocket.clone().unbind(), sender.clone().unbind()))?;
                Ok(Step::Yield(sender.into_any().unbind()))
            }
            Sent::Crowded => {
                let waiting = border::websocket::drained(websocket)?;
                Self::delegate(slf, waiting.unbind(), None)
            }
            Sent::Done | Sent::NotYet => {
                websocket.get().state(py)?.keep_spare(slf);
                Ok(Step::Return(py.None()))
            }
        }
    }

    fn read(slf: &Bound<'_, Self>, websocket: Bound<'_, WebSocketBase>, kind: RecvKind) -> PyResult<Step> {
        let py = slf.py();
        match WebSocketBase::take(&websocket, slf)? {
            Pop::Message(message) => Ok(Step::Return(kind.of(message)?.unbind())),
            Pop::Nothing => {
                let waiter = WebSocketBase::wait(&websocket)?;
                slf.get().proceed(py, Progress::Waiting(websocket.unbind(), kind))?;
                Ok(Step::Yield(waiter.into_any().unbind()))
            }
            Pop::End if kind == RecvKind::Asgi => {
                Ok(Step::Return(border::asgiwebsocket::disconnected(&websocket)?.unbind()))
            }
            Pop::End => {
                let why = border::websocket::ended(&websocket, kind == RecvKind::Next)?;
                Err(if why.is_none() { PyStopAsyncIteration::new_err(()) } else { PyErr::from_value(why) })
            }
        }
    }

    fn delegated<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(match &slf.get().0.borrow(slf.py())?.progress {
            Progress::Delegated(coroutine) => Some(coroutine.bind(slf.py()).clone()),
            _ => None,
        })
    }

    /// Resumes a coroutine of the subclass.
    fn delegate(slf: &Bound<'_, Self>, coroutine: Py<PyAny>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Step> {
        let step = Step::of(coroutine.bind(slf.py()), value)?;
        if let Step::Yield(_) = step {
            slf.get().proceed(slf.py(), Progress::Delegated(coroutine))?;
        }
        Ok(step)
    }

    fn end(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        match slf.get().proceed(py, Progress::Done)? {
            Progress::Waiting(websocket, _) => websocket.get().state(py)?.wait_no_more(),
            Progress::Deferred(websocket, ..) => websocket.get().state(py)?.end_deferral(),
            _ => {}
        }
        Ok(())
    }
}

impl Step {
    /// Resumes a coroutine.
    pub fn of(coroutine: &Bound<'_, PyAny>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let py = coroutine.py();
        let mut result = ptr::null_mut();
        let value = value.map_or_else(|| py.None(), |value| value.clone().unbind());
        // SAFETY: both are live objects; `result` is set to a new reference unless the answer is an error, which is then set.
        let (sent, result) = unsafe {
            let sent = ffi::PyIter_Send(coroutine.as_ptr(), value.as_ptr(), &raw mut result);
            (sent, Bound::from_owned_ptr_or_opt(py, result))
        };
        match (sent, result) {
            (PySendResult::PYGEN_NEXT, Some(result)) => Ok(Self::Yield(result.unbind())),
            (PySendResult::PYGEN_RETURN, Some(result)) => Ok(Self::Return(result.unbind())),
            _ => Err(PyErr::fetch(py)),
        }
    }

    pub fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Yield(value) => Ok(value),
            Self::Return(value) => Err(PyStopIteration::new_err((value.bind(py).clone().unbind(),))),
        }
    }
}

impl Drop for Call {
    /// Warns if it was never awaited, as a coroutine does.
    fn drop(&mut self) {
        let (Progress::Fresh(_, work) | Progress::Burst(_, work)) = &self.progress else { return };
        let name = match work {
            Work::Read(_) => c"a call of recv was never awaited",
            Work::Send(..) => c"a call of send was never awaited: nothing was sent",
        };
        Python::attach(|py| {
            let pending = PyErr::take(py);
            if let Err(error) = PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), name, 1) {
                error.write_unraisable(py, None);
            }
            if let Some(pending) = pending {
                pending.restore(py);
            }
        });
    }
}

/// Whether an object has no other reference. Without a GIL the answer is `false`, because a thread's own count is not enough.
fn is_only(object: &Py<Awaitable>) -> bool {
    // SAFETY: it is a live object.
    !cfg!(Py_GIL_DISABLED) && unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
}

/// Adds the class, with the slots through which `await` gets the iterator without a call and the result without an exception.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = module.py().get_type::<Awaitable>();
    // SAFETY: the class is ours and not seen by anybody yet; with `__await__` it has a table of asynchronous methods of its own.
    unsafe {
        let raw = class.as_type_ptr();
        if let Some(methods) = (*raw).tp_as_async.as_mut() {
            methods.am_await = Some(ffi::PyObject_SelfIter);
            methods.am_send = Some(am_send);
        }
    }
    module.add_class::<Awaitable>()
}

unsafe extern "C" fn am_send(slf: *mut PyObject, value: *mut PyObject, result: *mut *mut PyObject) -> PySendResult {
    let stepped = catch_unwind(AssertUnwindSafe(|| {
        Python::attach(|py| {
            // SAFETY: CPython calls this attached, with a live object of the class that has the slot, a live value, and a place for
            // the result.
            let (slf, value) = unsafe {
                let slf = Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<Awaitable>();
                (slf, Bound::from_borrowed_ptr(py, value))
            };
            let (answer, object) = match Awaitable::step(&slf, Some(&value)) {
                Ok(Step::Yield(object)) => (PySendResult::PYGEN_NEXT, object.into_ptr()),
                Ok(Step::Return(object)) => (PySendResult::PYGEN_RETURN, object.into_ptr()),
                Err(error) => {
                    error.restore(py);
                    (PySendResult::PYGEN_ERROR, ptr::null_mut())
                }
            };
            // SAFETY: see above.
            unsafe { *result = object };
            answer
        })
    }));
    stepped.unwrap_or_else(|_| {
        Python::attach(|py| PyRuntimeError::new_err("a panic in the core").restore(py));
        PySendResult::PYGEN_ERROR
    })
}
