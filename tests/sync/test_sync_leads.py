"""Who reads a connection of HTTP/2: the thread that waits, while no other does, and the background at all other times."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from functools import partial

import pytest
from drivers.raw import blocking_server, open_by_hand
from sync.conftest import SOON, Interrupted, accepting, by_hand, echo, interruption, listening, until
from wire import RST_STREAM, h2_frame

from mintws import ConnectionClosed, Http2, Role, State, Text, UpgradeRequest
from mintws.extensions import Agreed, Extension, Offer, Transform
from mintws.sync import connect, connect_http2
from mintws.sync.background import background
from mintws.sync.connector import ClientSocket

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no thread of the application reads there")


@pytest.fixture(params=["tcp", "tls"])
def place(request, tls_contexts):
    """What a server and a client are told, without TLS and with it."""
    if request.param == "tcp":
        return {}, {}
    server_tls, client_tls = tls_contexts
    return {"ssl": server_tls}, {"ssl": client_tls}


def client_of(server, options):
    """Connect to a server, by TLS if the options have it."""
    scheme = "wss" if "ssl" in options else "ws"
    return connect_http2(f"{scheme}://localhost:{server.port}/", host="127.0.0.1", **options)


def is_led(websocket):
    return websocket._protocol._is_led


def test_a_thread_reads_by_itself_while_no_other_waits(place, works):
    serving, calling = place
    with listening(**serving) as server, client_of(server, calling) as client:
        first, second = client.open("/1"), client.open("/2")
        got: list[object] = []
        reading = works.begin(lambda: got.append(first.recv()))
        until(lambda: is_led(first))
        # What is for the other comes first, and has to reach it nevertheless.
        waiting = works.begin(lambda: got.append(second.recv()))
        until(lambda: second._awaited)
        second.send("2")
        waiting.join(SOON)
        assert got == ["2"]
        until(lambda: not is_led(first))
        first.send("1")
        reading.join(SOON)
        assert got == ["2", "1"]
        works.begin(lambda: got.append(second.recv()))
        until(lambda: is_led(second))
        second.send("3")
        until(lambda: got == ["2", "1", "3"])


def test_the_main_thread_reads_by_itself_too():
    def handler(websocket):
        until(lambda: leads)
        websocket.send("x")

    leads: list[bool] = []
    with listening(handler) as server, client_of(server, {}) as client:
        websocket = client.open()
        threading.Thread(target=lambda: (until(lambda: is_led(websocket)), leads.append(True)), daemon=True).start()
        assert websocket.recv(SOON) == "x"


def test_others_are_served_while_the_thread_that_has_read_is_busy(place):
    """A WebSocket is opened, and a Ping answered, on a connection whose only reader does something else."""

    def handler(websocket):
        if websocket.request.path == "/busy":
            websocket.recv()
            taken.set()
            end.wait(SOON)
        else:
            echo(websocket)

    serving, calling = place
    taken, end = threading.Event(), threading.Event()
    with listening(handler, **serving) as server, client_of(server, calling) as client:
        for waits in (0, 0.1):
            taken.clear()
            end.clear()
            busy = client.open("/busy")
            # The thread may have read for longer than the background asks for it.
            time.sleep(waits)
            busy.send("x")
            assert taken.wait(SOON)
            assert busy.ping(timeout=SOON) > 0
            with client.open("/other") as other:
                other.send("hello")
                assert other.recv(SOON) == "hello"
            end.set()
            busy.wait_closed(SOON)


def test_frames_between_messages_are_taken_by_the_background():
    """What threads read is not DATA alone; the messages before and after it come once, and in order."""

    def handler(websocket):
        got.extend(websocket)

    def last_is(message):
        return got[-1:] == [message]

    got: list[object] = []
    with listening(handler) as server, by_hand(server, "2") as (sock, connection):
        ping = h2_frame(0x6, 0, 0, b"12345678")
        for number in range(50):
            sock.sendall(connection.send(Text(f"{number}a")) + ping + connection.send(Text(f"{number}b")))
            until(partial(last_is, f"{number}b"))
        assert got == [f"{number}{side}" for number in range(50) for side in "ab"]
        answers = b""
        while answers.count(h2_frame(0x6, 1, 0, b"12345678")) < 50:
            data = sock.recv(65536)
            assert data, "the server has ended the connection"
            answers += data


@pytest.mark.parametrize("ends", ["reset", "lost", "closed here"])
def test_a_thread_that_reads_learns_of_the_end(ends, works):
    def talk(sock, connection):
        begun.wait(SOON)
        if ends == "reset":
            sock.sendall(connection.send(Text("x")) + h2_frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
        elif ends == "lost":
            sock.sendall(connection.send(Text("x")))
            return
        end.wait(3 * SOON)

    def receive():
        got.extend(iter(lambda: websocket.recv(), None))

    def read():
        with pytest.raises(ConnectionClosed):
            receive()

    begun, end = threading.Event(), threading.Event()
    got: list[object] = []
    with blocking_server(accepting("2", talk)) as port:
        client = connect_http2(f"ws://127.0.0.1:{port}", ping_interval=None, close_timeout=0.1).open()
        websocket = client.open(extensions=())
        reading = works.begin(read)
        until(lambda: is_led(websocket))
        begun.set()
        if ends == "closed here":
            websocket.close()
        reading.join(SOON)
        assert not reading.is_alive()
        assert got == ([] if ends == "closed here" else ["x"])
        end.set()
        client.close()


def test_a_sender_gets_the_room_that_the_thread_reads(works):
    """The peer's credit comes to a thread that waits for messages, and lets another go on."""

    def handler(websocket):
        total = 0
        for message in websocket:
            total += len(message)
            if total == len(large):
                websocket.send("all")

    large = bytes(8 << 20)
    with listening(handler, limit=None) as server, client_of(server, {}) as client:
        websocket = client.open(extensions=())
        got: list[object] = []
        works.begin(lambda: got.append(websocket.recv()))
        until(lambda: is_led(websocket))
        websocket.send(large)
        until(lambda: got == ["all"])


def test_a_websocket_whose_frames_are_logged_ends_the_reading_by_threads(works, caplog):
    caplog.set_level(logging.INFO, "mintws.client")
    with listening() as server, client_of(server, {}) as client:
        plain = client.open("/plain")
        got: list[object] = []
        works.begin(lambda: got.append(plain.recv()))
        until(lambda: is_led(plain))
        caplog.set_level(logging.DEBUG, "mintws.client")
        logged = client.open("/logged")
        logged.send("logged")
        assert logged.recv(SOON) == "logged"
        plain.send("plain")
        until(lambda: got == ["plain"])
        assert not is_led(plain)


def test_a_thread_that_reads_learns_of_the_end_when_frames_are_logged_meanwhile():
    """A handshake that is answered while a thread reads takes the reading from it, and not what wakes it."""

    def handler(websocket):
        if websocket.request.path == "/plain":
            plain.append(websocket)
            try:
                got.extend(websocket)
            finally:
                got.append("end")

    def upgrade(connection, request):
        if request.target == "/logged":
            until(lambda: got and is_led(plain[0]))

    logger = logging.getLogger("mintws.server")
    plain, got = [], []
    before = logger.level
    try:
        with (
            listening(handler, upgrade=upgrade, ping_interval=None, close_timeout=0.1) as server,
            socket.create_connection(("127.0.0.1", server.port), SOON) as sock,
        ):
            carrier = Http2(Role.CLIENT)
            connection = open_by_hand(sock, carrier, "/plain")
            until(lambda: plain and is_led(plain[0]))
            logger.setLevel(logging.DEBUG)
            logged = carrier.open()
            sock.sendall(logged.send(UpgradeRequest("localhost", "/logged")) + connection.send(Text("x")))
            while logged.state < State.OPEN:
                sock.sendall(carrier.receive(sock.recv(65536))[1])
            plain[0].close()
            until(lambda: got == ["x", "end"])
    finally:
        logger.setLevel(before)


class Interrupting(Transform):
    """Is interrupted by SIGALRM as it decodes a message in the main thread."""

    def send(self, data, *, text):
        return data, 0

    def receive(self, data, rsv, *, text):
        if data == b"interrupt" and threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGALRM)
        return data


class InterruptingExtension(Extension):
    name = "x-interrupting"

    def offer(self):
        return ()

    def accept(self, offer):
        return Agreed(Offer(self.name, offer), Interrupting(), 0x20)

    agree = accept


def test_a_signal_that_interrupts_decoding_raises_in_the_thread_that_reads():
    def handler(websocket):
        for message in websocket:
            until(lambda: is_led(client_side[0]))
            websocket.send(message)

    client_side = []
    with (
        interruption(),
        listening(handler, extensions=[InterruptingExtension()]) as server,
        client_of(server, {}) as client,
    ):
        other = client.open(extensions=())
        websocket = client.open(extensions=[InterruptingExtension()])
        client_side.append(websocket)
        websocket.send("interrupt")
        with pytest.raises(Interrupted):
            websocket.recv()
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(SOON)
        assert closed.value.code == 1011
        # The background goes on.
        assert other.ping(timeout=SOON) > 0


def test_an_extension_that_exits_where_the_background_decodes_ends_its_connection_alone(caplog):
    class Exiting(Interrupting):
        def receive(self, data, rsv, *, text):
            if data == b"exit":
                raise SystemExit(data)
            return data

    class ExitingExtension(InterruptingExtension):
        def accept(self, offer):
            return Agreed(Offer(self.name, offer), Exiting(), 0x20)

        agree = accept

    with listening(extensions=[ExitingExtension()]) as server, client_of(server, {}) as other_client:
        other = other_client.open(extensions=())
        with client_of(server, {}) as client:
            # Two threads wait, on either side, so that none of them reads.
            websockets = [client.open(extensions=[ExitingExtension()]) for _ in range(2)]
            websockets[0].send("exit")
            websockets[0].wait_closed(SOON)
        other.send("on")
        assert other.recv(SOON) == "on"
    assert "a connection failed" in caplog.text


def test_a_thread_is_replaced_that_began_to_read_when_the_background_was_about_to(monkeypatch):
    def handler(websocket):
        message = websocket.recv(SOON)
        until(lambda: about.is_set() and not delays.is_set())
        websocket.send(message)
        until(lambda: got)
        got.append(websocket.ping(timeout=SOON))

    def interest(transport):
        if isinstance(transport, ClientSocket) and delays.is_set():
            about.set()
            until(lambda: transport._is_led)
            delays.clear()
        return fget(transport)

    got: list[object] = []
    delays, about = threading.Event(), threading.Event()
    fget = ClientSocket.interest.fget
    monkeypatch.setattr(ClientSocket, "interest", property(interest))
    with listening(handler, ping_interval=None) as server, connect(f"ws://127.0.0.1:{server.port}", http="2") as client:
        client.send("x")
        delays.set()
        background().watch(client._protocol)
        assert about.wait(SOON)
        got.append(client.recv(SOON))
        # This thread reads no more, and the Ping is answered nevertheless.
        until(lambda: len(got) == 2)


def test_a_wait_that_is_interrupted_as_it_begins_counts_no_more(monkeypatch, works):
    def attend(transport):
        raise KeyboardInterrupt

    with listening() as server, client_of(server, {}) as client:
        first, second = client.open("/1"), client.open("/2")
        kept = []
        for call in (lambda: first.ping(timeout=SOON), lambda: first._wait_parked(None)):
            with monkeypatch.context() as patched:
                patched.setattr(ClientSocket, "attend", attend)
                with pytest.raises(KeyboardInterrupt) as raised:
                    call()
            kept.append(raised.value)
            reading = works.begin(lambda: [*iter(second.recv, "end")])
            # It waits for the background as long as that has something to do, and reads after a message.
            until(lambda: second.send("x") or is_led(second))
            second.send("end")
            reading.join(SOON)
            assert not reading.is_alive()


def test_closed_connections_keep_no_descriptors(place):
    def opened():
        return len(os.listdir("/dev/fd"))

    serving, calling = place
    with listening(**serving) as server, client_of(server, calling) as first:
        first.open().close()
        before = opened()
        closed = []
        for _ in range(3):
            with client_of(server, calling) as client, client.open() as websocket:
                reading = threading.Thread(target=websocket.recv)
                reading.start()
                until(lambda: is_led(websocket))
                websocket.send("x")
                reading.join(SOON)
                closed.append(websocket)
        # The server may have made what wakes a thread for the connection that is left: two descriptors.
        until(lambda: opened() <= before + 2)
        assert all(it.state is State.CLOSED for it in closed)


def test_many_threads_on_one_connection_get_each_message_once_and_in_order(place, works):
    """Threads that wait now and then, on both sides, so that who reads changes all the time."""

    def talk(number):
        chance = random.Random(number)
        with client.open(f"/{number}") as websocket:
            sent = received = 0
            while received < 150:
                for _ in range(min(chance.randrange(1, 4), 150 - sent)):
                    websocket.send(f"{number} {sent}")
                    sent += 1
                while received < sent and chance.random() < 0.7:
                    timeout = chance.choice([None, SOON])
                    assert websocket.recv(timeout) == f"{number} {received}"
                    received += 1
                if chance.random() < 0.1:
                    time.sleep(chance.choice([0.001, 0.03]))

    serving, calling = place
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with listening(**serving) as server, client_of(server, calling) as client:
            for thread in [works.begin(talk, number) for number in range(6)]:
                thread.join(3 * SOON)
                assert not thread.is_alive()
    finally:
        sys.setswitchinterval(before)


def test_a_connection_that_nobody_uses_wakes_nothing(monkeypatch):
    """A thread that waits long is asked for once, and tells by itself when it has read."""
    with listening() as server, connect(f"ws://127.0.0.1:{server.port}", http="2") as websocket:
        asked = []
        protocol = websocket._protocol
        attended = type(protocol).attended

        def ask(transport):
            if transport is protocol:
                asked.append(1)
            return attended.fget(transport)

        monkeypatch.setattr(type(protocol), "attended", property(ask))
        websocket.send("x")
        assert websocket.recv(SOON) == "x"
        with pytest.raises(TimeoutError):
            websocket.recv(1.0)
        assert len(asked) < 10
