//! The hot half of the driver for threads: the code that runs for each message.
//!
//! ```text
//! Lock              guards a transport, for Python code and for the core
//! SocketBase        one socket: what it has received and what waits to be written
//! BlockingWebSocket one WebSocket: `recv` and `send`
//! ```
//!
//! Each call into the core is whole when it returns to Python, where a signal may raise an exception: what was read has been decoded, and
//! what was encoded is written, or waits to be.

mod lock;
mod socket;
mod system;
mod websocket;

use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("CAN_LEAD", system::CAN_LEAD)?;
    module.add_class::<lock::Lock>()?;
    module.add_class::<socket::SocketBase>()?;
    module.add_class::<websocket::Batch>()?;
    module.add_class::<websocket::BlockingWebSocket>()
}
