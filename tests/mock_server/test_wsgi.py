"""Flask behind the door: bodies stream both ways, and a broken app breaks nothing but its own answer."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.validate import validator

import pytest
from flask import Flask, Response, request

from mock_server.delivery import Reply, Write
from mock_server.serving.door import Door, listen
from mock_server.serving.wsgi import WsgiRunner

CHUNKED = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def serving(app) -> Iterator[int]:
    loop = asyncio.new_event_loop()
    runner = WsgiRunner(app, loop)
    sock = listen("127.0.0.1", 0)
    door = Door(lambda _: Reply(200, [], (Write(0.0, b"hot"),)), loop, streams=lambda _: True, stream_handler=runner)
    loop.run_until_complete(door.open(sock))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(door.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(asyncio.sleep(0))
        runner.close()
        loop.close()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        yield sock


def until(sock: socket.socket, end: bytes) -> bytes:
    received = b""
    while end not in received:
        part = sock.recv(65536)
        assert part, f"the connection ended before {end!r}: {received!r}"
        received += part
    return received


def echo(environ, start_response):
    """Answers each piece of the body before the next one has come."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    while piece := environ["wsgi.input"].read(3):
        yield piece.upper()


def test_a_body_is_read_and_answered_while_it_is_still_coming():
    with serving(echo) as port, connected(port) as sock:
        sock.sendall(CHUNKED % b"/" + b"3\r\nabc\r\n")
        assert b"\r\n\r\n3\r\nABC\r\n" in until(sock, b"ABC\r\n")
        sock.sendall(b"3\r\ndef\r\n")
        assert until(sock, b"DEF\r\n") == b"3\r\nDEF\r\n"
        sock.sendall(b"0\r\n\r\n")
        assert until(sock, b"0\r\n\r\n").endswith(b"0\r\n\r\n")


def test_a_large_body_comes_whole():
    def length(environ, start_response):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "8")])
        return [b"%08d" % len(body)]

    size = 3_000_000
    with serving(length) as port, connected(port) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        assert until(sock, b"%08d" % size)


def test_an_app_that_does_not_read_its_body_leaves_the_connection_usable():
    def deaf(_environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    with serving(deaf) as port, connected(port) as sock:
        for _ in range(3):
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde")
            assert until(sock, b"ok").endswith(b"\r\n\r\nok")


def test_an_app_that_breaks_is_logged_and_answered(caplog):
    def broken(_environ, _start_response):
        raise KeyError("oops")

    with caplog.at_level(logging.ERROR, "qfkit.mock"), serving(broken) as port, connected(port) as sock:
        sock.sendall(CHUNKED % b"/" + b"0\r\n\r\n")
        assert b"500 " in until(sock, b"log of the mock")
    assert "oops" in caplog.text


@pytest.mark.parametrize(("error", "logged"), [(ConnectionAbortedError, False), (KeyError, True)])
def test_an_app_that_breaks_off_leaves_its_body_incomplete_and_a_bug_is_logged(caplog, error, logged):
    def half(_environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"half"
        raise error("oops")

    with caplog.at_level(logging.ERROR, "qfkit.mock"), serving(half) as port, connected(port) as sock:
        sock.sendall(CHUNKED % b"/" + b"0\r\n\r\n")
        received = b""
        while part := sock.recv(1000):
            received += part
    assert received.endswith(b"\r\n\r\n4\r\nhalf\r\n")
    assert ("oops" in caplog.text) == logged


def test_a_client_that_hangs_up_ends_the_app():
    ended = threading.Event()

    def endless(_environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            while True:
                yield b"x" * 65536
        finally:
            ended.set()

    with serving(endless) as port:
        with connected(port) as sock:
            sock.sendall(CHUNKED % b"/" + b"0\r\n\r\n")
            assert sock.recv(1000)
        assert ended.wait(10)


def test_the_environment_is_what_the_standard_asks_for():
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return [b""]

    with serving(validator(app)) as port, connected(port) as sock:
        sock.sendall(b"GET /a%20b?c=d HTTP/1.1\r\nHost: h:81\r\nX-One: 1\r\nX-One: 2\r\n\r\n")
        assert b"200 OK" in until(sock, b"\r\n\r\n")
    assert (seen["PATH_INFO"], seen["QUERY_STRING"], seen["HTTP_X_ONE"]) == ("/a b", "c=d", "1,2")
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == ("h", "81")


def test_flask_reads_forms_and_streams_answers():
    app = Flask("test")

    @app.post("/form")
    def form() -> Response:
        return Response(iter([request.form["a"], "!"]))

    with serving(app) as port, connected(port) as sock:
        sock.sendall(
            b"POST /form HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 3\r\n\r\na=b"
        )
        assert until(sock, b"0\r\n\r\n").endswith(b"1\r\nb\r\n1\r\n!\r\n0\r\n\r\n")


@pytest.mark.parametrize("server", ["waitress", "werkzeug"])
def test_the_flask_app_runs_under_other_peoples_servers(server):
    import requests

    from mock_server import State, create_app

    state = State()
    account = state.add_account()
    app = create_app(state=state)
    if server == "waitress":
        from waitress.server import create_server

        running = create_server(app, host="127.0.0.1", port=0, clear_untrusted_proxy_headers=True)
        port, run, stop = running.effective_port, running.run, running.close
    else:
        from werkzeug.serving import make_server

        running = make_server("127.0.0.1", 0, app, threaded=True)
        port, run, stop = running.server_port, running.serve_forever, running.shutdown
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]}
        headers = {"Authorization": f"Bearer {account.credentials.bearer_token}"}
        url = f"http://127.0.0.1:{port}/v2/chat/completions"
        assert requests.post(url, json=body, headers=headers, timeout=10).json()["object"] == "chat.completion"
        streamed = requests.post(url, json=body | {"stream": True}, headers=headers, timeout=10)
        assert streamed.text.endswith("data: [DONE]\n\n")
        assert requests.post(url, json=body, timeout=10).status_code == 401
    finally:
        stop()


def test_what_wsgi_cannot_carry_is_logged_and_still_answered(caplog):
    from mock_server import State, create_app
    from mock_server.handle import AccountHandle

    state = State()
    account = state.add_account()
    handle = AccountHandle(account, state, "http://x")
    handle.stream(["a", "b"], cut_after=1, cut="reset").then.fault("slow-body").then.fault("close")
    client = create_app(state=state).test_client()
    headers = {"Authorization": f"Bearer {account.credentials.bearer_token}"}
    body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}], "stream": True}
    with caplog.at_level(logging.WARNING, "qfkit.mock"):
        with pytest.raises(ConnectionAbortedError):
            _ = client.post("/v2/chat/completions", json=body, headers=headers).data
        assert client.post("/v2/chat/completions", json=body, headers=headers).data.endswith(b"[DONE]\n\n")
        with pytest.raises(ConnectionAbortedError):
            _ = client.post("/v2/chat/completions", json=body, headers=headers).data
    assert "a WSGI server cannot carry this" in caplog.text
    assert [entry.outcome for entry in account.journal.entries()][:2] == ["reset", "complete"]
