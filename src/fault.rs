//! The faults of a peer: one variant for each rule, with the code to close with and the section of the rule.

use std::fmt;

/// Defines [`Fault`] by one line for each rule: the code to close with, the section, the HTTP status with which a server
/// refuses the request, and the message.
macro_rules! faults {
    ($(
        $(#[$doc:meta])*
        $name:ident
        $(($value:ident: $type:ty))?
        $({ $(#[$field_doc:meta])* $field:ident: $field_type:ty $(,)? })?
        : $code:literal, $section:literal, $status:expr, $words:literal;
    )*) => {
        /// A rule broken by the peer.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $name $(($type))? $({ $(#[$field_doc])* $field: $field_type })?,)*
        }

        impl Fault {
            /// The status code to close with (RFC 6455 §7.4.1).
            #[must_use]
            pub const fn close_code(&self) -> u16 {
                match self {
                    $(Self::$name { .. } => $code,)*
                }
            }

            /// The section that has the rule.
            #[must_use]
            pub const fn section(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $section,)*
                }
            }

            /// The HTTP status with which a server refuses the request, or `None` if no request can have this fault.
            ///
            /// 426 means that another version is accepted (RFC 6455 §4.4), 501 that the server does not implement the protocol
            /// (RFC 9110 §15.6.2). A wrong method is 400 and not 405, which requires Allow (RFC 9110 §15.5.6): the handshake does
            /// not know the methods of the resource.
            #[must_use]
            pub const fn http_status(&self) -> Option<u16> {
                match self {
                    $(Self::$name { .. } => $status,)*
                }
            }
        }

        impl fmt::Display for Fault {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $(($value))? $({ $field })? => write!(f, $words),)*
                }
            }
        }
    };
}

faults! {
    /// An RSV bit that no extension owns, or that may not stand on this frame.
    ReservedBits: 1002, "RFC 6455 §5.2", None, "a reserved bit is set that no extension has negotiated for this frame";
    /// An opcode of 3-7 or 11-15.
    ReservedOpcode(opcode: u8): 1002, "RFC 6455 §5.2", None, "opcode {opcode:#x} is reserved";
    /// A frame without a masking-key, from a client.
    Unmasked: 1002, "RFC 6455 §5.1", None, "a client must mask its frames";
    /// A frame with a masking-key, from a server.
    Masked: 1002, "RFC 6455 §5.1", None, "a server must not mask its frames";
    /// A payload length written in more bytes than it needs.
    NonMinimalLength: 1002, "RFC 6455 §5.2", None, "a payload length is not in its shortest form";
    /// A payload length with its highest bit set.
    LengthOverflow: 1002, "RFC 6455 §5.2", None, "a payload length has its highest bit set";
    /// A control frame without FIN.
    FragmentedControl: 1002, "RFC 6455 §5.5", None, "a control frame is fragmented";
    /// A control frame of more than 125 bytes.
    LongControl: 1002, "RFC 6455 §5.5", None, "a control frame has more than 125 bytes";
    /// A continuation with nothing to continue.
    UnexpectedContinuation: 1002, "RFC 6455 §5.4", None, "a continuation frame continues no message";
    /// A new message within an unfinished one.
    ExpectedContinuation: 1002, "RFC 6455 §5.4", None, "a message begins within an unfinished one";
    /// Text that is not UTF-8.
    InvalidUtf8: 1007, "RFC 6455 §8.1", None, "a text message is not UTF-8";
    /// A Close with a payload of one byte.
    ShortClose: 1002, "RFC 6455 §5.5.1", None, "a Close has a payload of one byte";
    /// A Close with a code that may not be sent.
    InvalidCloseCode(code: u16): 1002, "RFC 6455 §7.4", None, "a Close has the code {code}, which may not be sent";
    /// A Close whose reason is not UTF-8.
    InvalidReason: 1007, "RFC 6455 §5.5.1", None, "the reason of a Close is not UTF-8";
    /// A message of more bytes than the limit.
    MessageTooBig {
        /// The limit in bytes.
        limit: u64,
    }: 1009, "RFC 6455 §10.4", None, "a message has more than {limit} bytes";
    /// A message in more fragments than its limit pays for.
    TooManyFragments: 1009, "RFC 6455 §10.4", None, "a message comes in too many fragments";
    /// A compressed message in more final blocks than its limit pays for.
    TooManyBlocks: 1009, "RFC 6455 §10.4", None, "a compressed message comes in too many final blocks";
    /// Compressed data that does not inflate.
    CorruptDeflate: 1007, "RFC 7692 §7.2.2", None, "a compressed message does not inflate";
    /// More HTTP/2 DATA than there was credit for.
    WindowOverrun: 1002, "RFC 9113 §5.2", None, "DATA came for which there was no credit";
    /// More bytes after the request of a WebSocket than are kept until it is answered.
    EarlyData: 1009, "RFC 6455 §10.4", None, "too many bytes came before the request was answered";
    /// The transport ended before the closing handshake did.
    LeftWithoutClose: 1006, "RFC 6455 §7.1.5", None, "the peer left without a Close";
    /// An exception on this side, in the middle of what came.
    Interrupted: 1011, "RFC 6455 §7.4.1", None, "what came could not be taken to its end";
    /// A header name that is no token, or a value with a control character.
    MalformedHeader: 1002, "RFC 9110 §5.5", Some(400), "a header has a character that may not be there";
    /// A header that may be there once, more than once.
    RepeatedHeader(name: &'static str): 1002, "RFC 6455 §11.3", Some(400), "{name} is there more than once";
    /// A handshake whose method is not GET.
    InvalidMethod: 1002, "RFC 6455 §4.1", Some(400), "the method of a handshake must be GET";
    /// A handshake in HTTP/1.0, which has no Upgrade.
    InvalidHttpVersion: 1002, "RFC 6455 §4.1", Some(400), "a handshake needs HTTP/1.1";
    /// A request target that names no resource.
    InvalidTarget: 1002, "RFC 6455 §4.1", Some(400), "the request target names no resource";
    /// A Host or `:authority` that is missing, empty, repeated, contradicted or no host and port.
    InvalidHost: 1002, "RFC 9110 §7.2", Some(400), "the host must be named once, as a host and a port";
    /// An Upgrade header that does not say `websocket`.
    InvalidUpgrade: 1002, "RFC 6455 §4.1", Some(400), "Upgrade must say websocket";
    /// A Connection header that does not say `upgrade`.
    InvalidConnection: 1002, "RFC 6455 §4.1", Some(400), "Connection must say Upgrade";
    /// A handshake that announces a body.
    UnexpectedBody: 1002, "RFC 9112 §6", Some(400), "a handshake must have no body";
    /// A Sec-WebSocket-Version that is missing or not 13.
    UnsupportedVersion: 1002, "RFC 6455 §4.1", Some(426), "Sec-WebSocket-Version must be 13";
    /// A Sec-WebSocket-Key that is missing or not 16 bytes in base64.
    InvalidKey: 1002, "RFC 6455 §4.1", Some(400), "Sec-WebSocket-Key must be 16 bytes in base64";
    /// An answer without Sec-WebSocket-Accept.
    MissingAccept: 1002, "RFC 6455 §4.1", None, "Sec-WebSocket-Accept is missing";
    /// A Sec-WebSocket-Accept that does not answer the key.
    InvalidAccept: 1002, "RFC 6455 §4.1", None, "Sec-WebSocket-Accept must answer the key";
    /// A Sec-WebSocket-Protocol that is no list of different tokens.
    InvalidSubprotocol: 1002, "RFC 6455 §4.1", Some(400), "Sec-WebSocket-Protocol must list different tokens";
    /// An answer with a subprotocol that was not asked for.
    UnofferedSubprotocol: 1002, "RFC 6455 §4.1", None, "the subprotocol must be one that was asked for";
    /// A Sec-WebSocket-Extensions that is no list of extensions.
    MalformedExtensions: 1002, "RFC 6455 §9.1", Some(400), "Sec-WebSocket-Extensions must list extensions";
    /// An answer with an extension, or a parameter of one, that the offer does not allow.
    UnacceptableExtension: 1002, "RFC 6455 §9", None, "an extension must be one that was offered, and as it was offered";
    /// A pseudo-header that is missing, repeated, unknown, misplaced or of a wrong value.
    InvalidPseudoHeader: 1002, "RFC 9113 §8.3", Some(400), "the pseudo-headers must be those of an extended CONNECT";
    /// A header that HTTP/2 does not carry, or in a form that it does not.
    ForbiddenHeader: 1002, "RFC 9113 §8.2", Some(400), "a header is one that HTTP/2 does not carry, or in such a form";
    /// An extended CONNECT to another protocol than `websocket`.
    UnsupportedProtocol: 1002, "RFC 8441 §4", Some(501), "the only :protocol here is websocket";
}

impl Fault {
    /// Advice for the receiver if one of its own limits was exceeded. It is not sent to the peer.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::MessageTooBig { .. } | Self::TooManyFragments | Self::TooManyBlocks => "raise `limit`",
            _ => "",
        }
    }
}

impl std::error::Error for Fault {}
