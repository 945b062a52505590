//! What a peer can do wrong: one variant a rule, with the code to close with and the section that has the rule.

use std::fmt;

/// A rule that the peer broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An RSV bit that no extension owns, or that may not stand on this frame.
    ReservedBits,
    /// An opcode of 3-7 or 11-15.
    ReservedOpcode(u8),
    /// A frame without a masking-key, from a client.
    Unmasked,
    /// A frame with a masking-key, from a server.
    Masked,
    /// A payload length written in more bytes than it needs.
    NonMinimalLength,
    /// A payload length with its highest bit set.
    LengthOverflow,
    /// A control frame without FIN.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A continuation with nothing to continue.
    UnexpectedContinuation,
    /// A new message within an unfinished one.
    ExpectedContinuation,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// A Close with a payload of one byte.
    ShortClose,
    /// A Close with a code that may not be sent.
    InvalidCloseCode(u16),
    /// A Close whose reason is not UTF-8.
    InvalidReason,
    /// A message of more bytes than the limit.
    MessageTooBig {
        /// The limit in bytes.
        limit: u64,
    },
    /// A message in more fragments than its limit pays for.
    TooManyFragments,
    /// A compressed message in more final blocks than its limit pays for.
    TooManyBlocks,
    /// Compressed data that does not inflate.
    CorruptDeflate,
    /// More HTTP/2 DATA than there was credit for.
    WindowOverrun,
    /// More bytes behind the request of a WebSocket than are kept until it is answered.
    EarlyData,
    /// The transport ended before the closing handshake did.
    LeftWithoutClose,
    /// An exception on this side, in the middle of what came.
    Interrupted,
    /// A header name that is no token, or a value with a control character.
    MalformedHeader,
    /// A header that may be there once, more than once.
    RepeatedHeader(&'static str),
    /// A handshake whose method is not GET.
    InvalidMethod,
    /// A handshake in HTTP/1.0, which has no Upgrade.
    InvalidHttpVersion,
    /// A request target that names no resource.
    InvalidTarget,
    /// A Host or `:authority` that is missing, empty, repeated, contradicted or no host and port.
    InvalidHost,
    /// An Upgrade header that does not say `websocket`.
    InvalidUpgrade,
    /// A Connection header that does not say `upgrade`.
    InvalidConnection,
    /// A handshake that announces a body.
    UnexpectedBody,
    /// A Sec-WebSocket-Version that is missing or not 13.
    UnsupportedVersion,
    /// A Sec-WebSocket-Key that is missing or not 16 bytes in base64.
    InvalidKey,
    /// An answer without Sec-WebSocket-Accept.
    MissingAccept,
    /// A Sec-WebSocket-Accept that does not answer the key.
    InvalidAccept,
    /// A Sec-WebSocket-Protocol that is no list of different tokens.
    InvalidSubprotocol,
    /// An answer with a subprotocol that was not asked for.
    UnofferedSubprotocol,
    /// A Sec-WebSocket-Extensions that is no list of extensions.
    MalformedExtensions,
    /// An answer with an extension, or a parameter of one, that the offer does not allow.
    UnacceptableExtension,
    /// A pseudo-header that is missing, repeated, unknown, misplaced or of a wrong value.
    InvalidPseudoHeader,
    /// A header that HTTP/2 does not carry, or in a form that it does not.
    ForbiddenHeader,
    /// An extended CONNECT to another protocol than `websocket`.
    UnsupportedProtocol,
}

impl Fault {
    /// The status code to close with (RFC 6455 §7.4.1).
    #[must_use]
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::NonMinimalLength
            | Self::LengthOverflow
            | Self::FragmentedControl
            | Self::LongControl
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::ShortClose
            | Self::InvalidCloseCode(_)
            | Self::MalformedHeader
            | Self::RepeatedHeader(_)
            | Self::InvalidMethod
            | Self::InvalidHttpVersion
            | Self::InvalidTarget
            | Self::InvalidHost
            | Self::InvalidUpgrade
            | Self::InvalidConnection
            | Self::UnexpectedBody
            | Self::UnsupportedVersion
            | Self::InvalidKey
            | Self::MissingAccept
            | Self::InvalidAccept
            | Self::InvalidSubprotocol
            | Self::UnofferedSubprotocol
            | Self::MalformedExtensions
            | Self::UnacceptableExtension
            | Self::InvalidPseudoHeader
            | Self::ForbiddenHeader
            | Self::UnsupportedProtocol
            | Self::WindowOverrun => 1002,
            Self::InvalidUtf8 | Self::InvalidReason | Self::CorruptDeflate => 1007,
            Self::MessageTooBig { .. } | Self::TooManyFragments | Self::TooManyBlocks | Self::EarlyData => 1009,
            Self::LeftWithoutClose => 1006,
            Self::Interrupted => 1011,
        }
    }

    /// Where the rule stands.
    #[must_use]
    pub const fn section(&self) -> &'static str {
        match self {
            Self::ReservedBits | Self::ReservedOpcode(_) | Self::NonMinimalLength | Self::LengthOverflow => {
                "RFC 6455 §5.2"
            }
            Self::Unmasked | Self::Masked => "RFC 6455 §5.1",
            Self::FragmentedControl | Self::LongControl => "RFC 6455 §5.5",
            Self::UnexpectedContinuation | Self::ExpectedContinuation => "RFC 6455 §5.4",
            Self::InvalidUtf8 => "RFC 6455 §8.1",
            Self::ShortClose | Self::InvalidReason => "RFC 6455 §5.5.1",
            Self::InvalidCloseCode(_) => "RFC 6455 §7.4",
            Self::MessageTooBig { .. } | Self::TooManyFragments | Self::TooManyBlocks | Self::EarlyData => {
                "RFC 6455 §10.4"
            }
            Self::LeftWithoutClose => "RFC 6455 §7.1.5",
            Self::Interrupted => "RFC 6455 §7.4.1",
            Self::CorruptDeflate => "RFC 7692 §7.2.2",
            Self::WindowOverrun => "RFC 9113 §5.2",
            Self::MalformedHeader => "RFC 9110 §5.5",
            Self::RepeatedHeader(_) => "RFC 6455 §11.3",
            Self::InvalidHost => "RFC 9110 §7.2",
            Self::UnexpectedBody => "RFC 9112 §6",
            Self::InvalidMethod
            | Self::InvalidHttpVersion
            | Self::InvalidTarget
            | Self::InvalidUpgrade
            | Self::InvalidConnection
            | Self::UnsupportedVersion
            | Self::InvalidKey
            | Self::MissingAccept
            | Self::InvalidAccept
            | Self::InvalidSubprotocol
            | Self::UnofferedSubprotocol => "RFC 6455 §4.1",
            Self::MalformedExtensions => "RFC 6455 §9.1",
            Self::UnacceptableExtension => "RFC 6455 §9",
            Self::InvalidPseudoHeader => "RFC 9113 §8.3",
            Self::ForbiddenHeader => "RFC 9113 §8.2",
            Self::UnsupportedProtocol => "RFC 8441 §4",
        }
    }

    /// What the receiver can do where the limit that was passed is one of its own; the peer is not told.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::MessageTooBig { .. } | Self::TooManyFragments | Self::TooManyBlocks => "raise `limit`",
            _ => "",
        }
    }

    /// The HTTP status with which a server refuses the request, or `None` if no request can have this fault.
    ///
    /// 426 tells that another version will do (RFC 6455 §4.4), 501 that no server code exists for the protocol
    /// (RFC 9110 §15.6.2). The method is 400 and not 405, which would owe an Allow (RFC 9110 §15.5.6): the handshake
    /// does not know what else the resource can do.
    #[must_use]
    pub const fn http_status(&self) -> Option<u16> {
        match self {
            Self::MalformedHeader
            | Self::RepeatedHeader(_)
            | Self::InvalidMethod
            | Self::InvalidHttpVersion
            | Self::InvalidTarget
            | Self::InvalidHost
            | Self::InvalidUpgrade
            | Self::InvalidConnection
            | Self::UnexpectedBody
            | Self::InvalidKey
            | Self::InvalidSubprotocol
            | Self::MalformedExtensions
            | Self::InvalidPseudoHeader
            | Self::ForbiddenHeader => Some(400),
            Self::UnsupportedVersion => Some(426),
            Self::UnsupportedProtocol => Some(501),
            Self::MissingAccept
            | Self::InvalidAccept
            | Self::UnofferedSubprotocol
            | Self::UnacceptableExtension
            | Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::NonMinimalLength
            | Self::LengthOverflow
            | Self::FragmentedControl
            | Self::LongControl
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::InvalidUtf8
            | Self::ShortClose
            | Self::InvalidCloseCode(_)
            | Self::InvalidReason
            | Self::MessageTooBig { .. }
            | Self::TooManyFragments
            | Self::TooManyBlocks
            | Self::CorruptDeflate
            | Self::WindowOverrun
            | Self::EarlyData
            | Self::LeftWithoutClose
            | Self::Interrupted => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits => f.write_str("a reserved bit is set that no extension has negotiated for this frame"),
            Self::ReservedOpcode(opcode) => write!(f, "opcode {opcode:#x} is reserved"),
            Self::Unmasked => f.write_str("a client must mask its frames"),
            Self::Masked => f.write_str("a server must not mask its frames"),
            Self::NonMinimalLength => f.write_str("a payload length is not in its shortest form"),
            Self::LengthOverflow => f.write_str("a payload length has its highest bit set"),
            Self::FragmentedControl => f.write_str("a control frame is fragmented"),
            Self::LongControl => f.write_str("a control frame has more than 125 bytes"),
            Self::UnexpectedContinuation => f.write_str("a continuation frame continues no message"),
            Self::ExpectedContinuation => f.write_str("a message begins within an unfinished one"),
            Self::InvalidUtf8 => f.write_str("a text message is not UTF-8"),
            Self::ShortClose => f.write_str("a Close has a payload of one byte"),
            Self::InvalidCloseCode(code) => write!(f, "a Close has the code {code}, which may not be sent"),
            Self::InvalidReason => f.write_str("the reason of a Close is not UTF-8"),
            Self::MessageTooBig { limit } => write!(f, "a message has more than {limit} bytes"),
            Self::TooManyFragments => f.write_str("a message comes in too many fragments"),
            Self::TooManyBlocks => f.write_str("a compressed message comes in too many final blocks"),
            Self::CorruptDeflate => f.write_str("a compressed message does not inflate"),
            Self::EarlyData => f.write_str("too many bytes came before the request was answered"),
            Self::LeftWithoutClose => f.write_str("the peer left without a Close"),
            Self::Interrupted => f.write_str("what came could not be taken to its end"),
            Self::WindowOverrun => f.write_str("DATA came for which there was no credit"),
            Self::MalformedHeader => f.write_str("a header has a character that may not be there"),
            Self::RepeatedHeader(name) => write!(f, "{name} is there more than once"),
            Self::InvalidMethod => f.write_str("the method of a handshake must be GET"),
            Self::InvalidHttpVersion => f.write_str("a handshake needs HTTP/1.1"),
            Self::InvalidTarget => f.write_str("the request target names no resource"),
            Self::InvalidHost => f.write_str("the host must be named once, as a host and a port"),
            Self::InvalidUpgrade => f.write_str("Upgrade must say websocket"),
            Self::InvalidConnection => f.write_str("Connection must say Upgrade"),
            Self::UnexpectedBody => f.write_str("a handshake must have no body"),
            Self::UnsupportedVersion => f.write_str("Sec-WebSocket-Version must be 13"),
            Self::InvalidKey => f.write_str("Sec-WebSocket-Key must be 16 bytes in base64"),
            Self::MissingAccept => f.write_str("Sec-WebSocket-Accept is missing"),
            Self::InvalidAccept => f.write_str("Sec-WebSocket-Accept must answer the key"),
            Self::InvalidSubprotocol => f.write_str("Sec-WebSocket-Protocol must list different tokens"),
            Self::UnofferedSubprotocol => f.write_str("the subprotocol must be one that was asked for"),
            Self::MalformedExtensions => f.write_str("Sec-WebSocket-Extensions must list extensions"),
            Self::UnacceptableExtension => {
                f.write_str("an extension must be one that was offered, and as it was offered")
            }
            Self::InvalidPseudoHeader => f.write_str("the pseudo-headers must be those of an extended CONNECT"),
            Self::ForbiddenHeader => f.write_str("a header is one that HTTP/2 does not carry, or in such a form"),
            Self::UnsupportedProtocol => f.write_str("the only :protocol here is websocket"),
        }
    }
}

impl std::error::Error for Fault {}
