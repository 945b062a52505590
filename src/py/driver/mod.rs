//! The busy half of the asyncio driver: what runs once for each message.
//!
//! ```text
//! LoopState  what the transports of one event loop share
//! Exchange   one transport: what is read goes to mailboxes, what they send meanwhile is written together
//! Mailbox    one WebSocket: messages that wait for the application, and those that it sends
//! Operation  what `recv` and `send` are awaited by
//! Arrival    what a reader waits for
//! TlsChannel TLS between a transport of the loop and the protocol above it
//! coroutine_method  how `recv` and `send` are seen from Python
//! ```
//!
//! What is rare is left to the subclasses in Python, by the calls of [`super::border`].

mod arrival;
mod coroutine_method;
mod exchange;
mod loop_state;
mod mailbox;
mod operation;
mod tls_channel;

pub use arrival::Arrival;
pub use exchange::Exchange;
pub use loop_state::LoopState;
pub use mailbox::Mailbox;

use pyo3::ffi;
use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LoopState>()?;
    module.add_class::<Exchange>()?;
    module.add_class::<Mailbox>()?;
    module.add_class::<Arrival>()?;
    module.add_class::<tls_channel::TlsChannel>()?;
    module.add_function(wrap_pyfunction!(coroutine_method::coroutine_method, module)?)?;
    operation::register(module)
}

/// Has the collector know of a new object, which PyO3 forgets for one that comes from the free list.
#[allow(unsafe_code)]
fn track<T>(object: &Bound<'_, T>) {
    // SAFETY: the object is whole, and its class is one that the collector traverses.
    unsafe {
        if ffi::PyObject_GC_IsTracked(object.as_ptr()) == 0 {
            ffi::PyObject_GC_Track(object.as_ptr().cast());
        }
    }
}
