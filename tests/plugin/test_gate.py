"""The gate before the real service: what passes arrives as it was sent, is counted, and can be answered instead."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server import MockServer
from mock_server.tls import Authority
from qfkit.protocol.http import HttpRequest
from qfkit.testing.gate import Answer, Exchange, Gate
from qfkit.testing.guard import NetworkForbidden, guard
from qfkit.testing.live import Budget, _tokens
from qfkit.testing.network import NETWORK

HOST = "qianfan.baidubce.com"
CHAT = "/v2/chat/completions"
AUTHORITY = Authority()


class Watching:
    """A passage that remembers, and may have an answer of its own."""

    def __init__(self, instead: Answer | None = None) -> None:
        self.instead = instead
        self.exchanges: list[Exchange] = []
        self.told = threading.Event()

    def enter(self, host: str, request: HttpRequest) -> Answer | None:
        return self.instead

    def passed(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.told.set()

    def only(self) -> Exchange:
        assert self.told.wait(5)
        [exchange] = self.exchanges
        return exchange


@contextmanager
def gate(url: str, passage: Watching) -> Iterator[http.client.HTTPConnection]:
    """A connection to the plain door of a gate before ``url``."""
    with Gate({HOST: url}, passage).open(AUTHORITY.context()) as opened:
        connection = http.client.HTTPConnection(*opened.doors[80], timeout=5)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def upstream(serve) -> Iterator[str]:
    """The URL of a server that accepts one connection, and lets ``serve`` speak on it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            sock, _ = listening.accept()
            with sock:
                seen = b""
                while b"\r\n\r\n" not in seen:
                    seen += sock.recv(65536)
                serve(sock, seen)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            thread.join(5)
            assert not thread.is_alive()


def ask(connection, path=CHAT, body=b"{}", headers=()):
    connection.putrequest("POST", path, skip_host=True, skip_accept_encoding=True)
    for name, value in (("Host", HOST), *headers, ("Content-Length", str(len(body)))):
        connection.putheader(name, value)
    connection.endheaders(body)
    return connection.getresponse()


def test_a_request_passes_as_it_was_sent():
    seen = []

    def serve(sock, request):
        seen.append(request)
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")

    watching = Watching()
    headers = [
        ("X-Twice", "a"),
        ("X-Twice", "b"),
        ("Connection", "keep-alive"),
        ("Accept-Encoding", "gzip"),
        ("User-Agent", "u"),
    ]
    with upstream(serve) as url, gate(url, watching) as connection:
        answer = ask(connection, f"{CHAT}?a=%2Fb", "好".encode(), headers)
        assert (answer.read(), answer.headers.get_all("X-A"), answer.headers["Connection"]) == (b"{}", ["1", "2"], None)
    head = seen[0].partition(b"\r\n\r\n")[0]
    lines = head.decode().split("\r\n")
    assert lines[0] == f"POST {CHAT}?a=%2Fb HTTP/1.1"
    assert {f"Host: {HOST}", "X-Twice: a", "X-Twice: b", "User-Agent: u", "Accept-Encoding: identity"} <= set(lines)
    assert not any(line.lower().startswith("connection") for line in lines)
    exchange = watching.only()
    assert (exchange.status, exchange.body, exchange.error, exchange.request.body) == (200, b"{}", None, "好".encode())


def test_a_stream_is_handed_on_as_it_comes():
    first_read = threading.Event()

    def serve(sock, _request):
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert first_read.wait(5), "the gate keeps back what it has"
        sock.sendall(b"6\r\nsecond\r\n0\r\n\r\n")

    watching = Watching()
    with upstream(serve) as url, gate(url, watching) as connection:
        answer = ask(connection)
        assert answer.read1(100) == b"first"
        first_read.set()
        assert answer.read() == b"second"
    assert watching.only().body == b"firstsecond"


def test_what_breaks_off_stays_broken():
    def serve(sock, _request):
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")

    watching = Watching()
    with upstream(serve) as url, gate(url, watching) as connection, pytest.raises(http.client.IncompleteRead):
        ask(connection).read()
    exchange = watching.only()
    assert exchange.body == b"first"
    assert exchange.error is not None


def test_who_hangs_up_is_counted_and_the_service_is_left():
    left = threading.Event()

    def serve(sock, _request):
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        with suppress(ConnectionError):
            while True:
                sock.sendall(b"4\r\nmore\r\n")
        left.set()

    watching = Watching()
    with upstream(serve) as url, gate(url, watching) as connection:
        assert ask(connection).read1(5) == b"first"
        connection.close()
        connection.sock = None
        assert watching.told.wait(5)
    assert left.wait(5)
    assert watching.only().error is not None


def test_connections_are_kept():
    with MockServer() as server, gate(server.url, Watching()) as connection:
        token = server.account().credentials.bearer_token
        for _ in range(3):
            answer = ask(connection, headers=[("Authorization", f"Bearer {token}")])
            assert answer.status == 400
            answer.read()
            sock = connection.sock
            assert sock is not None
        connection.request("HEAD", "/v2/models", headers={"Host": HOST})
        assert connection.getresponse().read() == b""
        assert connection.sock is sock


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({"Host": "example.com"}, 421, "example.com is not a host of Qianfan; these are: qianfan.baidubce.com"),
        ({"Host": HOST, "Transfer-Encoding": "chunked"}, 411, "send Content-Length"),
        ({"Host": HOST}, 502, "gave no answer: ConnectionError: "),
    ],
)
def test_what_cannot_pass_is_told(headers, status, told):
    watching = Watching()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with gate(f"http://127.0.0.1:{nobody.getsockname()[1]}", watching) as connection:
            connection.request("POST", f"{CHAT}?client_secret=hush", headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            assert (answer.status, told in text, "hush" in text) == (status, True, False)
    assert len(watching.exchanges) == (status == 502), "it may have been sent: it is counted"
    assert "hush" not in "".join(str(exchange.error) for exchange in watching.exchanges)


def test_the_gate_checks_whom_it_sends_to(monkeypatch):
    with MockServer(tls=True) as server:
        with gate(server.url, Watching()) as connection:
            assert "certificate verify failed" in ask(connection).read().decode()
        assert not server.requests
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.ca_file)
        with gate(server.url, Watching()) as connection:
            assert ask(connection).status == 401


def test_the_gate_goes_past_guard_and_detour_and_nobody_else_does():
    with guard() as watch:
        with NETWORK.past():
            assert NETWORK._aim(("192.0.2.7", 80), "connect") == ("192.0.2.7", 80)
            with ThreadPoolExecutor(1) as pool, pytest.raises(NetworkForbidden):
                pool.submit(NETWORK._aim, ("192.0.2.7", 80), "connect").result()
        with pytest.raises(NetworkForbidden):
            NETWORK._aim(("192.0.2.7", 80), "connect")
    assert len(watch.refused) == 2


def test_a_passage_may_answer_from_a_record():
    recorder = Watching()
    with MockServer() as server, gate(server.url, recorder) as connection:
        authorization = ("Authorization", f"Bearer {server.account().reply('好').credentials.bearer_token}")
        question = json.dumps({"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]}).encode()
        first = ask(connection, body=question, headers=[authorization]).read()
    exchange = recorder.only()
    player = Watching(Answer(exchange.status, (("Content-Type", "application/json"),), exchange.body))
    with gate("http://127.0.0.1:9", player) as connection:
        assert ask(connection, body=question).read() == first
    assert player.exchanges == []


# What it costs


@given(limit=st.integers(1, 20), asking=st.integers(1, 40))
def test_never_more_than_the_budget_however_many_threads_ask(limit, asking):
    budget = Budget(limit, 10)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: budget.enter(HOST, HttpRequest("POST", CHAT)), range(asking)))
    assert answers.count(None) == budget.spent.requests == min(limit, asking)
    assert budget.spent.refused == asking - budget.spent.requests


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        (CHAT, b'{"usage": {"total_tokens": 7}}', (7, True)),
        (CHAT, b'{\n "usage": {\n  "total_tokens": 7\n }\n}', (7, True)),
        (CHAT, b'data: {"choices": []}\n\ndata: {"usage": {"total_tokens": 9}}\n\ndata: [DONE]\n\n', (9, True)),
        (CHAT, b'data:{"usage":{"total_tokens":3}}\r\n\r\ndata:{"usage":{"total_tokens":5}}', (5, True)),
        (CHAT, '{"choices": [{"message": {"content": "一二三四"}}]}'.encode(), (3, False)),
        (CHAT, b'{"error_code": 18, "error_msg": "Open api qps request limit reached"}', (0, True)),
        (CHAT, b"<html>", (0, False)),
        ("/oauth/2.0/token", b'{"access_token": "x"}', (0, True)),
        ("/v2/models", b'{"data": []}', (0, True)),
        ("/v2/of/the/future", b'{"usage": {"total_tokens": 7}}', (7, True)),
    ],
)
def test_tokens_are_those_of_the_service_else_estimated(path, body, found):
    assert _tokens(Exchange(HOST, HttpRequest("POST", path, body=b"{}"), 200, (), body, 0.1)) == found


@pytest.mark.parametrize(
    ("path", "member"),
    [
        (CHAT, "error"),
        ("/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions", "error_code"),
        ("/oauth/2.0/token", "error"),
    ],
)
def test_a_refusal_speaks_the_dialect_that_was_asked(path, member):
    budget = Budget(1, 10)
    assert budget.enter(HOST, HttpRequest("POST", path)) is None
    refused = budget.enter(HOST, HttpRequest("POST", path))
    assert refused is not None
    assert refused.status == 400
    assert member in json.loads(refused.body)
    assert "let more through with --qianfan-live-max-requests" in refused.body.decode()
