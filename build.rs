//! Tells the core whether the Python that it is built for has a GIL.

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
