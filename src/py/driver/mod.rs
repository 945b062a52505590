//! The hot half of drivers: the code that runs for each message.
//!
//! ```text
//! LoopState      the state shared by the transports of one event loop
//! ProtocolBase   one transport: reads for its WebSockets, and writes their frames together
//! WebSocketBase  one WebSocket: its received messages, and those that it sends
//! Awaitable      the awaitable of `recv` and `send`
//! Waiter         the future that a reader waits for
//! AsgiCycle      `receive` and `send` of an application of ASGI
//! TlsChannel     TLS between a transport of the loop and the protocol above it
//! BurstWebSocket one WebSocket of another driver, whose tasks wait in coroutines of its own
//! send_to_all    one message to many WebSockets
//! Succession     a coroutine that is followed by another: a handler, and the closing of its WebSocket
//! coroutine_method the Python methods `recv` and `send`
//! ```
//!
//! Rare work is left to the subclasses in Python, through the calls of [`super::border`].

mod asgi;
mod awaitable;
mod broadcast;
mod burst;
mod coroutine_method;
mod loop_state;
mod protocol;
mod succession;
mod tls_channel;
mod waiter;
mod websocket;

pub use burst::BurstWebSocket;
pub use loop_state::LoopState;
pub use protocol::ProtocolBase;
pub use waiter::Waiter;
pub use websocket::WebSocketBase;

use pyo3::ffi;
use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LoopState>()?;
    module.add_class::<ProtocolBase>()?;
    module.add_class::<WebSocketBase>()?;
    module.add_class::<BurstWebSocket>()?;
    module.add_class::<Waiter>()?;
    module.add_class::<tls_channel::TlsChannel>()?;
    module.add_class::<succession::Succession>()?;
    module.add_class::<asgi::AsgiCycle>()?;
    module.add_function(wrap_pyfunction!(broadcast::send_to_all, module)?)?;
    module.add_function(wrap_pyfunction!(coroutine_method::coroutine_method, module)?)?;
    awaitable::register(module)
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
