//! The core as the Python module `mintws._core`: the only part that names PyO3.

mod blocking;
mod border;
mod buffer;
mod contexts;
mod data_receiver;
mod data_sender;
mod driver;
mod endpoint;
mod errors;
mod events;
mod guarded;
mod handshake;
mod incoming;
mod prepared;
mod queue;
mod states;
mod tls;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::IntoPyDict;

// A free-threaded Python enables the GIL when it imports this, unless told not to.
#[pymodule(gil_used = true)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    require_main_interpreter()?;
    require_gil(module.py())?;
    events::register(module)?;
    module.add_class::<endpoint::Endpoint>()?;
    module.add_class::<prepared::PreparedMessage>()?;
    module.add_class::<contexts::Contexts>()?;
    module.add_class::<contexts::Pool>()?;
    module.add_class::<data_receiver::DataReceiver>()?;
    module.add_class::<data_sender::DataSender>()?;
    module.add_class::<queue::ReadyList>()?;
    module.add_class::<queue::MessageQueue>()?;
    module.add_class::<tls::TlsRecords>()?;
    module.add("RSV1", crate::frame::RSV1)?;
    module.add("USEFUL_BYTES", crate::data::USEFUL_BYTES)?;
    module.add("WRITE_HIGH", crate::data_sender::WRITE_HIGH)?;
    module.add("DEFAULT_PORTS", crate::grammar::DEFAULT_PORTS.into_py_dict(module.py())?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(endpoint::check_close, module)?)?;
    module.add_function(wrap_pyfunction!(endpoint::closing, module)?)?;
    module.add_function(wrap_pyfunction!(endpoint::forked, module)?)?;
    module.add_function(wrap_pyfunction!(states::transitions, module)?)?;
    module.add_function(wrap_pyfunction!(count_fields, module)?)?;
    driver::register(module)?;
    blocking::register(module)?;
    handshake::register(module)
}

/// Count the fields of a header block, up to `most`, by their lengths alone (RFC 7541 §6).
///
/// Where the block ends too early, those before are counted. Return `None` where an integer is longer than any that is needed (§5.1).
#[pyfunction]
fn count_fields(block: &[u8], most: usize) -> Option<usize> {
    crate::field_block::count_fields(block, most)
}

/// Refuses to be imported by a subinterpreter: classes, errors and states are process-wide.
fn require_main_interpreter() -> PyResult<()> {
    // SAFETY: a thread that imports a module is attached to an interpreter, and the process has a main one.
    #[allow(unsafe_code)]
    if unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() } {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "mintws runs in the main interpreter of a process only: use threads or processes instead",
    ))
}

/// Refuses to be loaded where threads run Python side by side: [`guarded::Guarded`] relies on it.
fn require_gil(py: Python<'_>) -> PyResult<()> {
    let Ok(is_enabled) = py.import("sys")?.getattr("_is_gil_enabled") else { return Ok(()) };
    if is_enabled.call0()?.is_truthy()? {
        return Ok(());
    }
    Err(PyImportError::new_err("mintws needs the GIL: start Python without PYTHON_GIL=0 and -X gil=0"))
}
