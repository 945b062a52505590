"""The rules shared by drivers, without I/O and without a clock. The time, in seconds, is an argument."""

from mintws.session.admission import Admission, Limit, Visit, busy
from mintws.session.basic_auth import basic_auth, credentials
from mintws.session.bounds import FEW, REPLIES_HIGH, UNDECODED_HIGH, WRITE_HIGH
from mintws.session.client import CHECK_WAIT, PARTING, REFUSAL_WAIT, ClientSession
from mintws.session.close_status import CLEAN_CODES, CloseStatus
from mintws.session.closing import GRACE, READER_WAIT, Closing, Order, Ordered
from mintws.session.deadlines import Deadlines
from mintws.session.drive import DriverTransport, DriverWebSocket, LoopBody, Owner
from mintws.session.driver import Messages, Transport, TransportState
from mintws.session.forwarded import ForwardedHeader, TrustedProxies
from mintws.session.keepalive import Action, Keepalive, Signs
from mintws.session.linger import END_WAIT, Due, Step, TransportEnd
from mintws.session.networks import Network, Networks
from mintws.session.opening import check_origin, choose_subprotocol, default_offer, default_willing, describe
from mintws.session.pending_pings import PendingPings
from mintws.session.pool import RETRIES, SILENCE, ConnectionPool, PoolRequest, PoolStep, SharedConnection
from mintws.session.preface import Preface
from mintws.session.product import PRODUCT, date, product_header
from mintws.session.proxy import PROXY_PORTS, Proxy, bypasses_proxy, environment_proxy, parse_proxy
from mintws.session.proxy_protocol import ProxyHeader, ProxyHeaderReader
from mintws.session.reconnect import RECONNECT, RETRY_AFTER_MOST, Backoff, Failure, Reconnect, Then, retry_after
from mintws.session.redirect import REDIRECTS, Redirects
from mintws.session.requests import (
    LEAST_RATE,
    LONGEST_STOP,
    BodyTimeout,
    IdleTimeout,
    RequestTimeouts,
    default_response,
    text_response,
)
from mintws.session.router import Router
from mintws.session.server import ServerSession
from mintws.session.socks import SocksTunnel
from mintws.session.streams import ClosedStreams, HalfClosedTimeout
from mintws.session.timeouts import Timeouts, check_seconds, earliest
from mintws.session.tls import TlsTimeouts
from mintws.session.transport import REFILL_INTERVAL, TransportSession
from mintws.session.tunnel import Tunnel, tunnel_to
from mintws.session.version import HTTP1_LIFETIME, HTTP1_ORIGINS, Http1Origins, HttpVersion, VersionChoice
from mintws.session.websocket import STALL, WebSocketSession

__all__ = [
    "CHECK_WAIT",
    "CLEAN_CODES",
    "END_WAIT",
    "FEW",
    "GRACE",
    "HTTP1_LIFETIME",
    "HTTP1_ORIGINS",
    "LEAST_RATE",
    "LONGEST_STOP",
    "PARTING",
    "PRODUCT",
    "PROXY_PORTS",
    "READER_WAIT",
    "RECONNECT",
    "REDIRECTS",
    "REFILL_INTERVAL",
    "REFUSAL_WAIT",
    "REPLIES_HIGH",
    "RETRIES",
    "RETRY_AFTER_MOST",
    "SILENCE",
    "STALL",
    "UNDECODED_HIGH",
    "WRITE_HIGH",
    "Action",
    "Admission",
    "Backoff",
    "BodyTimeout",
    "ClientSession",
    "CloseStatus",
    "ClosedStreams",
    "Closing",
    "ConnectionPool",
    "Deadlines",
    "DriverTransport",
    "DriverWebSocket",
    "Due",
    "Failure",
    "ForwardedHeader",
    "HalfClosedTimeout",
    "Http1Origins",
    "HttpVersion",
    "IdleTimeout",
    "Keepalive",
    "Limit",
    "LoopBody",
    "Messages",
    "Network",
    "Networks",
    "Order",
    "Ordered",
    "Owner",
    "PendingPings",
    "PoolRequest",
    "PoolStep",
    "Preface",
    "Proxy",
    "ProxyHeader",
    "ProxyHeaderReader",
    "Reconnect",
    "Redirects",
    "RequestTimeouts",
    "Router",
    "ServerSession",
    "SharedConnection",
    "Signs",
    "SocksTunnel",
    "Step",
    "Then",
    "Timeouts",
    "TlsTimeouts",
    "Transport",
    "TransportEnd",
    "TransportSession",
    "TransportState",
    "TrustedProxies",
    "Tunnel",
    "VersionChoice",
    "Visit",
    "WebSocketSession",
    "basic_auth",
    "busy",
    "bypasses_proxy",
    "check_origin",
    "check_seconds",
    "choose_subprotocol",
    "credentials",
    "date",
    "default_offer",
    "default_response",
    "default_willing",
    "describe",
    "earliest",
    "environment_proxy",
    "parse_proxy",
    "product_header",
    "retry_after",
    "text_response",
    "tunnel_to",
]
