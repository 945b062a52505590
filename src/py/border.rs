//! All calls of the core by name on objects of Python classes.
//!
//! `mintws/border.py` declares the same methods, by the same parts, with their signatures; a test compares the two.

/// A driver's transport, built on `ProtocolBase`.
pub mod transport {
    use pyo3::call::PyCallArgs;
    use pyo3::intern;
    use pyo3::prelude::*;
    use pyo3::types::{PyList, PyTuple};

    pub fn receive<'py>(transport: &Bound<'py, PyAny>, chunk: impl PyCallArgs<'py>) -> PyResult<()> {
        transport.call_method1(intern!(transport.py(), "receive"), chunk).map(drop)
    }

    pub fn handle<'py>(transport: &Bound<'py, PyAny>, events: &Bound<'py, PyList>) -> PyResult<()> {
        transport.call_method1(intern!(transport.py(), "handle"), (events,)).map(drop)
    }

    pub fn end_chunk<'py>(
        transport: &Bound<'py, PyAny>,
        crowded: Bound<'py, PyTuple>,
        replied: usize,
        look: bool,
    ) -> PyResult<()> {
        transport.call_method1(intern!(transport.py(), "end_chunk"), (crowded, replied, look)).map(drop)
    }

    pub fn catch_up(transport: &Bound<'_, PyAny>) -> PyResult<()> {
        transport.call_method0(intern!(transport.py(), "catch_up")).map(drop)
    }

    pub fn cut(transport: &Bound<'_, PyAny>) -> PyResult<()> {
        transport.call_method0(intern!(transport.py(), "cut")).map(drop)
    }
}

/// TLS of a driver, built on `TlsChannel`.
pub mod channel {
    use pyo3::intern;
    use pyo3::prelude::*;

    pub fn receive<'py>(channel: &Bound<'py, PyAny>, ciphertext: &Bound<'py, PyAny>) -> PyResult<()> {
        channel.call_method1(intern!(channel.py(), "_receive"), (ciphertext,)).map(drop)
    }

    pub fn wait<'py>(channel: &Bound<'py, PyAny>, ciphertext: &Bound<'py, PyAny>) -> PyResult<()> {
        channel.call_method1(intern!(channel.py(), "_wait"), (ciphertext,)).map(drop)
    }

    pub fn end<'py>(channel: &Bound<'py, PyAny>, error: &Bound<'py, PyAny>) -> PyResult<()> {
        channel.call_method1(intern!(channel.py(), "_end"), (error,)).map(drop)
    }

    pub fn abort(channel: &Bound<'_, PyAny>) -> PyResult<()> {
        channel.call_method0(intern!(channel.py(), "abort")).map(drop)
    }
}

/// A driver's WebSocket, built on the core's.
pub mod websocket {
    use pyo3::intern;
    use pyo3::prelude::*;

    pub fn resume(websocket: &Bound<'_, PyAny>) -> PyResult<()> {
        websocket.call_method0(intern!(websocket.py(), "_resume")).map(drop)
    }

    pub fn send<'py>(
        websocket: &Bound<'py, PyAny>,
        message: &Bound<'py, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        websocket.call_method1(intern!(websocket.py(), "_send"), (message, compress))
    }

    pub fn drained<'py>(websocket: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        websocket.call_method0(intern!(websocket.py(), "_drained"))
    }

    pub fn is_held_back(websocket: &Bound<'_, PyAny>) -> PyResult<bool> {
        websocket.call_method0(intern!(websocket.py(), "_is_held_back"))?.is_truthy()
    }

    pub fn trace<'py>(websocket: &Bound<'py, PyAny>, way: &str, event: &Bound<'py, PyAny>) -> PyResult<()> {
        websocket.call_method1(intern!(websocket.py(), "_trace"), (way, event)).map(drop)
    }

    pub fn ended<'py>(websocket: &Bound<'py, PyAny>, iterating: bool) -> PyResult<Bound<'py, PyAny>> {
        websocket.call_method1(intern!(websocket.py(), "_ended"), (iterating,))
    }
}

/// A WebSocket of a driver whose tasks wait in coroutines, built on `BurstWebSocket`.
pub mod burst {
    use pyo3::intern;
    use pyo3::prelude::*;

    pub fn resume(websocket: &Bound<'_, PyAny>) -> PyResult<()> {
        websocket.call_method0(intern!(websocket.py(), "_resume")).map(drop)
    }

    pub fn receive<'py>(websocket: &Bound<'py, PyAny>, event: bool, iterating: bool) -> PyResult<Bound<'py, PyAny>> {
        websocket.call_method1(intern!(websocket.py(), "_receive"), (event, iterating))
    }

    pub fn send<'py>(
        websocket: &Bound<'py, PyAny>,
        message: &Bound<'py, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        websocket.call_method1(intern!(websocket.py(), "_send"), (message, compress))
    }

    pub fn write(websocket: &Bound<'_, PyAny>) -> PyResult<bool> {
        websocket.call_method0(intern!(websocket.py(), "_write"))?.is_truthy()
    }

    pub fn sent<'py>(websocket: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        websocket.call_method0(intern!(websocket.py(), "_sent"))
    }

    pub fn post_later(websocket: &Bound<'_, PyAny>) -> PyResult<()> {
        websocket.call_method0(intern!(websocket.py(), "_post_later")).map(drop)
    }
}

/// A WebSocket of an application of ASGI.
pub mod asgiwebsocket {
    use pyo3::intern;
    use pyo3::prelude::*;

    pub fn disconnected<'py>(websocket: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        websocket.call_method0(intern!(websocket.py(), "_disconnected"))
    }
}

/// The life of such a WebSocket, built on `AsgiCycle`.
pub mod asgicycle {
    use pyo3::intern;
    use pyo3::prelude::*;

    pub fn receive<'py>(cycle: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        cycle.call_method0(intern!(cycle.py(), "_receive"))
    }

    pub fn send<'py>(cycle: &Bound<'py, PyAny>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        cycle.call_method1(intern!(cycle.py(), "_send"), (message,))
    }
}

/// A transport for threads, built on `SocketBase`.
pub mod socket {
    use pyo3::intern;
    use pyo3::prelude::*;

    pub fn led(transport: &Bound<'_, PyAny>) -> PyResult<()> {
        transport.call_method0(intern!(transport.py(), "led")).map(drop)
    }

    pub fn watch(transport: &Bound<'_, PyAny>) -> PyResult<()> {
        transport.call_method0(intern!(transport.py(), "watch")).map(drop)
    }

    pub fn stop_writing(transport: &Bound<'_, PyAny>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        transport.call_method1(intern!(transport.py(), "stop_writing"), (error,)).map(drop)
    }

    pub fn fail(transport: &Bound<'_, PyAny>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        transport.call_method1(intern!(transport.py(), "fail"), (error,)).map(drop)
    }
}

/// A WebSocket for threads, built on `BlockingWebSocket`.
pub mod blocking {
    use pyo3::intern;
    use pyo3::prelude::*;

    pub fn drain(websocket: &Bound<'_, PyAny>) -> PyResult<()> {
        websocket.call_method0(intern!(websocket.py(), "_drain")).map(drop)
    }

    pub fn receive<'py>(websocket: &Bound<'py, PyAny>, timeout: Option<&Bound<'py, PyAny>>) -> PyResult<()> {
        websocket.call_method1(intern!(websocket.py(), "_receive"), (timeout,)).map(drop)
    }

    pub fn next(websocket: &Bound<'_, PyAny>) -> PyResult<bool> {
        websocket.call_method0(intern!(websocket.py(), "_next"))?.extract()
    }

    pub fn send<'py>(
        websocket: &Bound<'py, PyAny>,
        message: &Bound<'py, PyAny>,
        compress: Option<bool>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        websocket.call_method1(intern!(websocket.py(), "_send"), (message, compress, timeout)).map(drop)
    }
}

/// A connection, built on `Endpoint`.
pub mod endpoint {
    use pyo3::intern;
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;

    pub fn send_other<'py>(endpoint: &Bound<'py, PyAny>, event: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(endpoint.call_method1(intern!(endpoint.py(), "_send_other"), (event,))?.cast_into()?)
    }
}

/// The carrier of a connection's frames.
pub mod carrier {
    use pyo3::intern;
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;

    pub fn send_data<'py>(carrier: &Bound<'py, PyAny>, frames: Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(carrier.call_method1(intern!(carrier.py(), "send_data"), (frames,))?.cast_into()?)
    }

    pub fn send_end<'py>(carrier: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(carrier.call_method0(intern!(carrier.py(), "send_end"))?.cast_into()?)
    }
}

/// The effect of extensions in Python on complete messages.
pub mod transforms {
    use pyo3::intern;
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;

    pub fn send<'py>(
        transforms: &Bound<'py, PyAny>,
        text: bool,
        data: Bound<'py, PyBytes>,
        compress: Option<bool>,
    ) -> PyResult<(Bound<'py, PyBytes>, u8)> {
        transforms.call_method1(intern!(transforms.py(), "send"), (text, data, compress))?.extract()
    }

    pub fn forget(transforms: &Bound<'_, PyAny>, messages: usize) -> PyResult<()> {
        transforms.call_method1(intern!(transforms.py(), "forget"), (messages,)).map(drop)
    }

    pub fn receive<'py>(
        transforms: &Bound<'py, PyAny>,
        text: bool,
        rsv: u8,
        data: Bound<'py, PyBytes>,
    ) -> PyResult<Bound<'py, PyAny>> {
        transforms.call_method1(intern!(transforms.py(), "receive"), (text, rsv, data))
    }
}
