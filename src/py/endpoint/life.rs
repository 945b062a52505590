//! The parts of an endpoint in each of its states: set up when it opens, and freed when it is closed.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{Delivery, VECTORED_FROM, Wire, Workings};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::state::State;

/// The parts for after the opening handshake, prepared before it is done.
pub(super) struct Opening {
    pub(super) wire: Wire,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) transforms: Option<Py<PyAny>>,
    pub(super) auto_pong: bool,
    pub(super) text_as_bytes: bool,
}

impl Workings {
    /// Changes the state, sets up the parts that it needs, and frees those that it does not.
    #[inline]
    pub(super) fn enter(&mut self, state: State) {
        if self.state != state {
            self.change(state);
        }
    }

    #[cold]
    fn change(&mut self, state: State) {
        self.state = state;
        if state == State::Open {
            self.open();
        } else {
            self.free();
        }
    }

    fn open(&mut self) {
        let Some(opening) = self.opening.take() else { return };
        let Opening { wire, decoder, encoder, transforms, auto_pong, text_as_bytes } = *opening;
        (self.wire, self.encoder, self.transforms) = (wire, encoder, transforms);
        self.decoder = Some(decoder);
        (self.auto_pong, self.text_as_bytes) = (auto_pong, text_as_bytes);
    }

    /// Handles the loss of the peer: corked frames are discarded.
    pub(super) fn lose(&mut self, after: State) {
        self.failed = true;
        self.drop_corked();
        self.enter(after);
    }

    /// Returns the frames that `cork` has held back, if any.
    pub(super) fn take_corked<'py>(&mut self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let corked = self.corked.as_mut().filter(|corked| !corked.is_empty())?;
        let out = PyBytes::new(py, corked);
        if corked.capacity() > VECTORED_FROM {
            *corked = Vec::new();
        } else {
            corked.clear();
        }
        Some(out)
    }

    pub(super) fn drop_corked(&mut self) {
        if let Some(corked) = &mut self.corked {
            *corked = Vec::new();
        }
    }

    /// Frees the parts that the state does not need: after the peer's last frame input is dropped, and nothing follows ours.
    fn free(&mut self) {
        if self.state.is_over() {
            self.opening = None;
            let sent = self.encoder.sent;
            self.encoder = Encoder::new(None, None);
            self.encoder.sent = sent;
            self.transforms = None;
            self.delivery = Delivery::Events;
            self.early = Vec::new();
            self.scratch = Vec::new();
        }
        if (self.state == State::RemoteClosing || self.state.is_over())
            && let Some(decoder) = &mut self.decoder
        {
            decoder.stop();
        }
    }
}
