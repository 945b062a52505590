//! The Python interface of the tables of `state`, by the names of the events.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::errors::local;
use crate::state::{Kind, Role, State, after_receiving, after_sending};

pub fn parse_kind(kind: &str) -> PyResult<Kind> {
    let known = Kind::ALL.into_iter().find(|known| format!("{known:?}") == kind);
    known.ok_or_else(|| PyTypeError::new_err(format!("{kind} is no event of mintws")))
}

#[cold]
pub fn refusal(role: Role, state: State, kind: Kind) -> PyErr {
    let role = match role {
        Role::Client => "client",
        Role::Server => "server",
    };
    let why = match (state, kind) {
        (State::Connecting, _) => "the opening handshake has not begun",
        (State::Requested, _) => "the opening handshake is not done",
        (State::Closing, Kind::Close) => "a Close was sent already",
        (State::Closing, _) => "a Close was sent: nothing may follow it",
        (State::Gone | State::Closed, _) => "the connection is closed",
        (State::Open | State::RemoteClosing, _) => "the opening handshake is done",
    };
    let state = state_name(shown(state));
    let kind = match kind {
        Kind::Message => "message".to_owned(),
        kind => format!("{kind:?}"),
    };
    local(format!("a {role} cannot send a {kind} when {state}: {why}"))
}

/// The state as seen from Python, where `Gone` is `CLOSED`: a sender need not know that the peer is gone.
pub const fn shown(state: State) -> State {
    match state {
        State::Gone => State::Closed,
        state => state,
    }
}

/// The name of a state.
pub const fn state_name(state: State) -> &'static str {
    match state {
        State::Connecting => "CONNECTING",
        State::Requested => "REQUESTED",
        State::Open => "OPEN",
        State::Closing => "CLOSING",
        State::RemoteClosing => "REMOTE_CLOSING",
        State::Gone => "GONE",
        State::Closed => "CLOSED",
    }
}

/// Return the transition tables: `(role, state, "send" or "receive", kind, next state)` for all that is allowed.
///
/// GONE appears as CLOSED elsewhere: the peer is gone, and answers are discarded.
#[pyfunction]
pub fn transitions() -> Vec<(&'static str, &'static str, &'static str, String, &'static str)> {
    let mut all = Vec::new();
    for (role, name) in [(Role::Client, "CLIENT"), (Role::Server, "SERVER")] {
        for state in State::ALL {
            for kind in Kind::ALL {
                let both =
                    [("send", after_sending(role, state, kind)), ("receive", after_receiving(role, state, kind))];
                for (way, after) in both {
                    if let Some(after) = after {
                        all.push((name, state_name(state), way, format!("{kind:?}"), state_name(after)));
                    }
                }
            }
        }
    }
    all
}
