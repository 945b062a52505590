//! The hot half of the asyncio driver: the code that runs for each message.
//!
//! ```text
//! LoopState  the state shared by the transports of one event loop
//! Exchange   one transport: reads for its mailboxes, and writes their frames together
//! Mailbox    one WebSocket: its received messages, and those that it sends
//! Operation  the awaitable of `recv` and `send`
//! Arrival    the future that a reader waits for
//! TlsChannel TLS between a transport of the loop and the protocol above it
//! coroutine_method  the Python methods `recv` and `send`
//! ```
//!
//! Rare work is left to the subclasses in Python, through the calls of [`super::border`].

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

/// Tracks a new object by the collector, which PyO3 omits for objects from the free list.
#[allow(unsafe_code)]
fn track<T>(object: &Bound<'_, T>) {
    // SAFETY: the object is whole, and its class is one that the collector traverses.
    unsafe {
        if ffi::PyObject_GC_IsTracked(object.as_ptr()) == 0 {
            ffi::PyObject_GC_Track(object.as_ptr().cast());
        }
    }
}
