//! The state machine of one WebSocket: its states, and the transition tables of sending and receiving.

/// The two ends of a connection (RFC 6455 §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that opens the WebSocket and masks its frames.
    Client,
    /// The end that answers, and closes the transport first.
    Server,
}

/// The state of one WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The opening handshake has not begun.
    Connecting,
    /// The client has sent its request; the server has not answered.
    Requested,
    /// Both sides can send messages.
    Open,
    /// We have sent a Close. The peer can still send messages.
    Closing,
    /// The peer has sent a Close or broken a rule. Our Close is still to be sent, after the answers to earlier messages.
    RemoteClosing,
    /// The peer is gone, but not all of its events have been answered. The answers are discarded.
    Gone,
    /// Closed.
    Closed,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The client's half of the opening handshake.
    UpgradeRequest,
    /// The server's acceptance.
    UpgradeAccept,
    /// The server's refusal.
    UpgradeReject,
    /// Text or binary data.
    Message,
    /// A Ping.
    Ping,
    /// A Pong.
    Pong,
    /// A Close.
    Close,
    /// The peer broke a rule. Sending it reports that to the peer.
    Failed,
    /// The transport ended.
    Lost,
}

impl State {
    /// All states, in their order.
    pub const ALL: [Self; 7] =
        [Self::Connecting, Self::Requested, Self::Open, Self::Closing, Self::RemoteClosing, Self::Gone, Self::Closed];

    /// Whether nothing more is sent or received.
    #[inline]
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Gone | Self::Closed)
    }
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::UpgradeRequest,
        Self::UpgradeAccept,
        Self::UpgradeReject,
        Self::Message,
        Self::Ping,
        Self::Pong,
        Self::Close,
        Self::Failed,
        Self::Lost,
    ];
}

/// The state after sending `kind`; `None` if it may not be sent.
///
/// The peer's Close does not end our messages; only *our* Close does (RFC 6455 §5.5.1). In `RemoteClosing` messages can
/// still be sent, and one Close or `Failed` is the last frame.
///
/// A caller that answers a batch of events need not check whether the last of them ended the connection. After the end,
/// answers are accepted and discarded until that `Failed` has been sent.
#[inline]
#[must_use]
#[allow(clippy::match_same_arms, reason = "one arm for each rule")]
pub const fn after_sending(role: Role, state: State, kind: Kind) -> Option<State> {
    use State::{Closed, Closing, Connecting, Gone, Open, RemoteClosing, Requested};
    Some(match (role, state, kind) {
        (Role::Client, Connecting, Kind::UpgradeRequest) => Requested,
        (Role::Server, Requested, Kind::UpgradeAccept) => Open,
        (Role::Server, Requested, Kind::UpgradeReject) => Closed,
        (_, Open | RemoteClosing, Kind::Message | Kind::Ping | Kind::Pong) => state,
        // §5.5.2 requires Pongs until the peer's Close has been received.
        (_, Closing, Kind::Pong) => state,
        (_, Open, Kind::Close) => Closing,
        (_, RemoteClosing, Kind::Close) => Closed,
        (Role::Server, Gone, Kind::UpgradeAccept | Kind::UpgradeReject) => Gone,
        (_, Gone, Kind::Message | Kind::Ping | Kind::Pong | Kind::Close) => Gone,
        // The Close that a failure requires is written once. Later ones have no effect.
        (_, RemoteClosing | Gone | Closed, Kind::Failed) => Closed,
        // Answers to the peer's last frames after our Close was sent. They have no effect.
        (_, Closed, Kind::Pong | Kind::Close) => Closed,
        _ => return None,
    })
}

/// The state after receiving `kind`; `None` if the peer cannot send it.
#[inline]
#[must_use]
#[allow(clippy::match_same_arms, reason = "one arm for each rule")]
pub const fn after_receiving(role: Role, state: State, kind: Kind) -> Option<State> {
    use State::{Closed, Closing, Connecting, Gone, Open, RemoteClosing, Requested};
    Some(match (role, state, kind) {
        (Role::Server, Connecting, Kind::UpgradeRequest) => Requested,
        (Role::Client, Requested, Kind::UpgradeAccept) => Open,
        (Role::Client, Requested, Kind::UpgradeReject) => Closed,
        (_, Open | Closing, Kind::Message | Kind::Ping | Kind::Pong) => state,
        (_, Open, Kind::Close | Kind::Failed) => RemoteClosing,
        (_, Closing, Kind::Close | Kind::Failed | Kind::Lost) => Closed,
        (Role::Server, Requested, Kind::Failed | Kind::Lost) => Gone,
        (_, Connecting | Requested, Kind::Failed | Kind::Lost) => Closed,
        (_, Open, Kind::Lost) => Gone,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_out_until_our_own_close() {
        for role in [Role::Client, Role::Server] {
            for state in State::ALL {
                let may = after_sending(role, state, Kind::Message).is_some();
                assert_eq!(may, matches!(state, State::Open | State::RemoteClosing | State::Gone), "{state:?}");
            }
        }
    }

    #[test]
    fn one_close_is_sent_whichever_side_begins() {
        for role in [Role::Client, Role::Server] {
            let ours = after_sending(role, State::Open, Kind::Close).expect("open");
            assert_eq!(after_sending(role, ours, Kind::Close), None);
            let theirs = after_receiving(role, State::Open, Kind::Close).expect("open");
            let both = after_sending(role, theirs, Kind::Close).expect("to be answered");
            assert_eq!(both, State::Closed);
            assert_eq!(after_receiving(role, ours, Kind::Close), Some(State::Closed));
            // A second one says nothing.
            assert_eq!(after_sending(role, both, Kind::Close), Some(both));
        }
    }

    #[test]
    fn what_could_be_said_before_the_end_can_be_said_behind_it() {
        for role in [Role::Client, Role::Server] {
            for state in State::ALL.into_iter().filter(|state| !state.is_over()) {
                for end in [Kind::Failed, Kind::Lost] {
                    let Some(over) = after_receiving(role, state, end).filter(|after| after.is_over()) else {
                        continue;
                    };
                    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::UpgradeRequest) {
                        let after = after_sending(role, over, kind);
                        assert!(after.is_none_or(State::is_over));
                        if after_sending(role, state, kind).is_some() {
                            assert_eq!(after, Some(over), "{role:?} {state:?} {kind:?}");
                        }
                    }
                    assert_eq!(after_sending(role, over, Kind::Failed), Some(State::Closed));
                }
            }
            for kind in [Kind::Message, Kind::Ping, Kind::UpgradeAccept, Kind::UpgradeReject, Kind::UpgradeRequest] {
                assert_eq!(after_sending(role, State::Closed, kind), None);
            }
        }
    }

    #[test]
    fn what_one_side_may_send_the_other_can_receive() {
        // Both sides walk together. Behind a Close the receiver drops what still comes.
        fn receive(role: Role, state: State, kind: Kind) -> State {
            match state {
                State::RemoteClosing | State::Closed => state,
                _ => after_receiving(role, state, kind).expect("the other side may send it"),
            }
        }
        let mut seen = vec![(State::Connecting, State::Connecting)];
        let mut todo = seen.clone();
        while let Some((client, server)) = todo.pop() {
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Failed) {
                let next = [
                    after_sending(Role::Client, client, kind).map(|after| (after, receive(Role::Server, server, kind))),
                    after_sending(Role::Server, server, kind).map(|after| (receive(Role::Client, client, kind), after)),
                ];
                for pair in next.into_iter().flatten() {
                    if !seen.contains(&pair) {
                        seen.push(pair);
                        todo.push(pair);
                    }
                }
            }
        }
        assert!(seen.contains(&(State::Closed, State::Closed)));
    }
}
