#!/usr/bin/env bash
# Surprise: an application that watches aioquic's HTTP/3 events alone never learns that the peer has reset a stream.
# RESET_STREAM arrives as a QUIC event, of which H3Connection.handle_event() makes nothing: to a server of WebSockets
# over HTTP/3 the one that its client reset looks open. qh3, a fork with the same interface, makes an HTTP/3 event of
# it. In turn, two ends of qh3 with its default configuration end their connection as soon as HTTP/3 starts, since they
# announce H3_DATAGRAM without the transport parameter that goes with it; aioquic's do not.
# Versions: aioquic 1.7.2, qh3 2.1.0.
# Source: RFC 9220, section 3, has a reset stand for that of the TCP connection; RFC 9297, section 2.1, and RFC 9221,
# section 3, on datagrams; else observed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check aioquic==1.7.2 qh3==2.1.0 trustme==1.2.1
cd "$folder"

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import importlib
import importlib.metadata
import time

import trustme

CONNECT = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":authority", b"localhost"),
    (b":path", b"/"),
]
authority = trustme.CA()
authority.cert_pem.write_to_path("authority.pem")
certificate = authority.issue_cert("localhost")
certificate.private_key_pem.write_to_path("key.pem")
certificate.cert_chain_pems[0].write_to_path("certificate.pem")


class Pair:
    """A client and a server of HTTP/3, which hand their datagrams to each other in memory."""

    def __init__(self, package, **options):
        configuration = importlib.import_module(f"{package}.quic.configuration").QuicConfiguration
        connection = importlib.import_module(f"{package}.quic.connection").QuicConnection
        self.h3 = importlib.import_module(f"{package}.h3.connection").H3Connection
        of_client = configuration(is_client=True, alpn_protocols=["h3"], server_name="localhost", **options)
        of_client.load_verify_locations("authority.pem")
        of_server = configuration(is_client=False, alpn_protocols=["h3"], **options)
        of_server.load_cert_chain("certificate.pem", "key.pem")
        self.client = connection(configuration=of_client)
        self.client.connect(("127.0.0.1", 1), now=time.time())
        self.server = connection(
            configuration=of_server, original_destination_connection_id=self.client.original_destination_connection_id
        )
        self.http, self.quic_events, self.http_events = {}, [], []
        self.exchange()

    def exchange(self):
        """Hand datagrams over, and time pass, for half a second."""
        deadline = time.time() + 0.5
        while (now := time.time()) < deadline:
            time.sleep(0.005)
            for sender, receiver in ((self.client, self.server), (self.server, self.client)):
                if (timer := sender.get_timer()) is not None and timer <= now:
                    sender.handle_timer(now=now)
                for datagram, _ in sender.datagrams_to_send(now=time.time()):
                    receiver.receive_datagram(datagram, ("127.0.0.1", 1), now=time.time())
            for end in (self.client, self.server):
                while (event := end.next_event()) is not None:
                    name = type(event).__name__
                    if name == "HandshakeCompleted":
                        self.http[end] = self.h3(end)
                    if end is self.server or name == "ConnectionTerminated":
                        self.quic_events.append(name)
                    if end in self.http:
                        for http_event in self.http[end].handle_event(event):
                            if end is self.server:
                                self.http_events.append(type(http_event).__name__)

    def open_and_reset(self):
        """Open a WebSocket, then reset it; return what the server has heard of the reset."""
        stream = self.client.get_next_available_stream_id()
        self.http[self.client].send_headers(stream, CONNECT)
        self.exchange()
        assert self.http_events == ["HeadersReceived"]
        self.quic_events, self.http_events = [], []
        self.client.reset_stream(stream, 0x10C)
        self.exchange()
        return self.quic_events, self.http_events


for package, options in (("aioquic", {}), ("qh3", {"max_datagram_frame_size": 65536})):
    quic, http = Pair(package, **options).open_and_reset()
    print(package, importlib.metadata.version(package), options or "")
    print(f"  QUIC events of the reset: {quic}; HTTP/3 events: {http}")
    assert quic == ["StreamReset"]
    assert http == ([] if package == "aioquic" else ["StreamReset"])

for package in ("aioquic", "qh3"):
    pair = Pair(package)
    ended = "ConnectionTerminated" in pair.quic_events
    print(f"{package} with its default configuration at both ends: connection ended {ended}")
    assert ended == (package == "qh3")
PYTHON
