//! The core as the Python module `mintws._core`: the only part that names PyO3.

mod buffer;
mod contexts;
mod data;
mod driver;
mod endpoint;
mod errors;
mod events;
mod handshake;
mod incoming;
mod prepared;
mod states;

use pyo3::prelude::*;

// Builds without a GIL are not tested, so the module does not declare itself safe for them.
#[pymodule(gil_used = true)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    events::register(module)?;
    module.add_class::<endpoint::Endpoint>()?;
    module.add_class::<prepared::PreparedMessage>()?;
    module.add_class::<contexts::Contexts>()?;
    module.add_class::<contexts::Pool>()?;
    module.add_class::<data::Inbound>()?;
    module.add("RSV1", crate::frame::RSV1)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(data::data_frames, module)?)?;
    module.add_function(wrap_pyfunction!(endpoint::check_close, module)?)?;
    module.add_function(wrap_pyfunction!(endpoint::forked, module)?)?;
    module.add_function(wrap_pyfunction!(states::transitions, module)?)?;
    driver::register(module)?;
    handshake::register(module)
}
