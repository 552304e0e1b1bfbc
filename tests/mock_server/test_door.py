"""The front door on real sockets, spoken to in raw bytes: HTTP as RFC 9112 has it, whatever a client does."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mock_server.delivery import Reply, Write
from mock_server.serving.door import Door, Limits, listen
from qfkit.protocol.http import HttpRequest

SMALL = Limits(head_bytes=2048, body_bytes=4096, receive_seconds=0.2, idle_seconds=0.3, pipelined=4)


def echo(request: HttpRequest) -> Reply:
    return Reply(200, [("X-Target", request.target)], (Write(0.0, request.method.encode() + b":" + request.body),))


class Running:
    def __init__(self, door: Door, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.door, self.port, self.loop = door, port, loop

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def talk(self, data: bytes) -> bytes:
        """Send, half-close, read to the end."""
        with self.connect() as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    received = b""
    while part := sock.recv(65536):
        received += part
    return received


@contextmanager
def opened(handler=echo, limits: Limits = SMALL) -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    sock = listen("127.0.0.1", 0)
    door = Door(handler, loop, limits=limits)
    loop.run_until_complete(door.open(sock))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Running(door, sock.getsockname()[1], loop)
    finally:
        loop.call_soon_threadsafe(door.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_a_request_is_answered_and_the_connection_kept():
    with opened() as door, door.connect() as sock:
        for _ in range(3):
            sock.sendall(b"POST /a?b=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            answer = sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\nX-Target: /a?b=1\r\n")
            assert answer.endswith(b"\r\n\r\nPOST:abc")
            assert b"Connection: close" not in answer


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_request_may_come_in_pieces_of_any_size(size):
    data = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with opened() as door, door.connect() as sock:
        for start in range(0, len(data), size):
            sock.sendall(data[start : start + size])
        assert sock.recv(65536).endswith(b"POST:abcde")


def test_pipelined_requests_are_answered_in_order():
    one = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d"
    with opened() as door:
        answers = door.talk(b"".join(one % (n, n) for n in range(10)))
    assert [answers.count(b"X-Target: /%d\r\n" % n) for n in range(10)] == [1] * 10
    places = [answers.index(b"X-Target: /%d\r\n" % n) for n in range(10)]
    assert places == sorted(places)


def test_http_1_0_closes_unless_asked_to_keep():
    with opened() as door:
        assert b"Connection: close" in door.talk(b"POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        kept = door.talk(b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
        assert b"Connection: keep-alive" in kept


def test_head_gets_no_body():
    with opened() as door:
        answer = door.talk(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"Content-Length: 5" in answer


def test_expect_100_continue_is_answered_before_the_body():
    with opened() as door, door.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hi")
        assert sock.recv(65536).endswith(b"POST:hi")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n" + b"a" * 0x2000, 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 3000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    ],
)
def test_what_is_not_http_or_too_large_is_refused_in_words(data, status):
    with opened() as door:
        answer = door.talk(data)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"Connection: close" in answer
        assert len(answer.partition(b"\r\n\r\n")[2]) > 10
        assert door.talk(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("rest", [b"", b"Content-Length: 5\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"])
def test_a_slow_sender_is_cut_off_and_others_are_served_meanwhile(rest):
    with opened() as door, door.connect() as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + rest)
        assert door.talk(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        assert read_all(slow).startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed_without_a_word():
    with opened() as door, door.connect() as sock:
        assert read_all(sock) == b""


def test_a_stream_leaves_piece_by_piece_and_a_cut_one_lacks_its_end():
    pieces = tuple(Write(0.02 * n, b"%d" % n) for n in range(3))

    def stream(_request: HttpRequest) -> Reply:
        return Reply(200, [], pieces, streamed=True, ending="cut")

    with opened(stream) as door, door.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        answer = read_all(sock)
    assert answer.endswith(b"1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n")


def test_a_reset_arrives_as_a_reset():
    def reset(_request: HttpRequest) -> Reply:
        return Reply(200, [], (Write(0.0, b"x"),), streamed=True, ending="reset")

    with opened(reset) as door, door.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_whoever_hangs_up_is_noticed():
    ended = threading.Event()
    outcomes: list[str] = []

    def on_end(outcome: str) -> None:
        outcomes.append(outcome)
        ended.set()

    def stream(_request: HttpRequest) -> Reply:
        return Reply(200, [], (Write(0.0, b"x"), Write(60.0, b"y")), streamed=True, on_end=on_end)

    with opened(stream) as door:
        with door.connect() as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            assert sock.recv(1000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert ended.wait(5)
    assert outcomes == ["hung up"]


def test_a_port_that_is_taken_is_refused():
    with opened() as door, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", door.port)
