//! One message to many WebSockets, in one pass that never waits.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::websocket::Fate;
use super::{LoopState, WebSocketBase};

/// The WebSockets of a pass, by what became of the message.
type Fates<'py> = (Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>);

/// Send a whole message on each of some WebSockets, without waiting. Those on one transport are written together.
///
/// Args:
///     websockets: the WebSockets, each of them once.
///     message: a `PreparedMessage`, which they share, or a `Text` or `Binary`, which each encodes by itself.
///     compress: as in `WebSocket.send`.
///     bound: the most bytes that may wait on a WebSocket for the message to be sent on it.
///
/// Returns:
///     The WebSockets on which it was sent, those on which too much waits, those within a message in fragments, and those that have ended.
///
/// Raises:
///     RuntimeError: one of them belongs to the loop of another thread; nothing was sent.
///     TypeError: one of them is not a WebSocket; nothing was sent.
///
/// An exception of an extension is raised after the message was sent to all others.
#[pyfunction]
#[pyo3(signature = (websockets, message, compress, bound))]
pub fn send_to_all<'py>(
    websockets: &Bound<'py, PyList>,
    message: &Bound<'py, PyAny>,
    compress: Option<bool>,
    bound: usize,
) -> PyResult<Fates<'py>> {
    let py = websockets.py();
    let members = websockets.iter().map(member).collect::<PyResult<Vec<_>>>()?;
    let [sent, crowded, within, gone] = [(); 4].map(|()| PyList::empty(py));
    let mut loops: Vec<LoopOf> = Vec::new();
    let mut ended = Ok(());
    for websocket in &members {
        let fate = match LoopOf::find(&mut loops, websocket)? {
            LoopOf { is_closed: true, .. } => Ok(Fate::Gone),
            _ => WebSocketBase::offer(websocket, message, compress, bound),
        };
        match fate {
            Ok(fate) => match fate {
                Fate::Sent => &sent,
                Fate::Crowded => &crowded,
                Fate::Within => &within,
                Fate::Gone => &gone,
            }
            .append(websocket)?,
            // A failure must not affect the others.
            Err(error) => ended = ended.and(Err(error)),
        }
    }
    for LoopOf { shared, is_closed } in &loops {
        if !is_closed && shared.get().state(py)?.writes_now() {
            ended = ended.and(shared.get().flush(py));
        }
    }
    ended.map(|()| (sent, crowded, within, gone))
}

/// Checks that something is a WebSocket whose loop runs in this thread.
fn member(websocket: Bound<'_, PyAny>) -> PyResult<Bound<'_, WebSocketBase>> {
    let Ok(websocket) = websocket.cast_into::<WebSocketBase>() else {
        return Err(PyTypeError::new_err("a message is broadcast to WebSockets of mintws.asyncio alone"));
    };
    drop(WebSocketBase::state_in_thread(&websocket)?);
    Ok(websocket)
}

/// The loop of a WebSocket.
struct LoopOf {
    shared: Py<LoopState>,
    is_closed: bool,
}

impl LoopOf {
    /// Finds the loop of a WebSocket among those known, most often the only one.
    fn find<'a>(loops: &'a mut Vec<Self>, websocket: &Bound<'_, WebSocketBase>) -> PyResult<&'a Self> {
        let py = websocket.py();
        let this = websocket.get().state(py)?;
        if let Some(at) = loops.iter().position(|it| it.shared.is(this.shared())) {
            return Ok(&loops[at]);
        }
        let event_loop = this.protocol().get().state(py)?.event_loop(py);
        let is_closed = event_loop.call_method0(py, intern!(py, "is_closed"))?.is_truthy(py)?;
        loops.push(Self { shared: this.shared().clone_ref(py), is_closed });
        Ok(&loops[loops.len() - 1])
    }
}
