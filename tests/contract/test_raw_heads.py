"""Heads that no client library would send: refused in the service's own words, or as no HTTP, and survived."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
from contract_helpers import QUIET, inference
from raw_requests import BY_NAME, CHAT, ENDPOINTS, Caller, Endpoint, check, exchange, head, named, send, status_of

pytestmark = [QUIET, pytest.mark.usefixtures("still_answers")]

GARBAGE = {
    "latin-1": b"\xe4\xf6\xfc\xff",
    "utf-8": "密钥".encode(),
    "half a character": b"\xe4\xbd",
    "long": b"x" * 20_000,
    "empty": b"",
    "spaces": b"   ",
    "slashes": b"/" * 50,
    "bearer": b"Bearer",
    "bearer of nothing": b"Bearer ",
    "bearer of bytes": b"Bearer \xff\xfe",
    "basic": b"Basic dXNlcjpwYXNz",
    "bce of nothing": b"bce-auth-v1/////",
    "bce cut": b"bce-auth-v1/ALTAK/2024-05-01T08:00:00Z/1800",
    "bce no date": b"bce-auth-v1/ALTAK/yesterday/1800/host/" + b"0" * 64,
    "bce no such date": b"bce-auth-v1/ALTAK/2024-13-32T25:61:61Z/1800/host/" + b"0" * 64,
    "bce no number": b"bce-auth-v1/ALTAK/2024-05-01T08:00:00Z/soon/host/" + b"0" * 64,
    "bce huge number": b"bce-auth-v1/ALTAK/2024-05-01T08:00:00Z/" + b"9" * 400 + b"/host/" + b"0" * 64,
    "bce headers": b"bce-auth-v1/ALTAK/2024-05-01T08:00:00Z/1800/;;host;;\xff/" + b"0" * 64,
    "bce v2": b"bce-auth-v2/ALTAK/20240501/bj/qianfan/host/" + b"0" * 64,
}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
def test_garbage_for_authorization(server: Any, caller: Caller, endpoint: Endpoint, value: bytes) -> None:
    value = value.replace(b"ALTAK", caller.keys.access_key.encode())
    names = ["Authorization", "X-Bce-AccessKey", "X-Bce-Timestamp", "X-Bce-Nonce", "X-Bce-Signature", "x-bce-date"]
    lines: list[tuple[str, str | bytes]] = [(name, value) for name in names]
    framing = [("Host", caller.netloc), ("Content-Length", str(len(CHAT))), ("Connection", "close")]
    answer = exchange(server, head(endpoint.method, endpoint.path, [*framing, *lines]) + CHAT, finish=False)
    if len(value) * len(names) > 60_000:
        assert status_of(answer) in {400, 401, 403, 431} or b'"error_code"' in answer
        return
    fields, _, body = answer.partition(b"\r\n\r\n")
    pairs = [line.decode("latin-1").split(": ", 1) for line in fields.split(b"\r\n")[1:]]
    assert check(endpoint, status_of(answer), {name.title(): text for name, text in pairs}, body) != "ok"


@pytest.mark.parametrize("header", ["X-Bce-Timestamp", "X-Bce-Nonce", "X-Bce-Signature", "X-Bce-AccessKey"])
@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_one_signature_header(server: Any, caller: Caller, header: str, value: bytes) -> None:
    method, target, headers = caller.authenticated(BY_NAME["text"], CHAT)
    framing = [("Content-Length", str(len(CHAT))), ("Connection", "close")]
    lines: list[tuple[str, str | bytes]] = [*headers.items(), *framing]
    data = head(method, target, [(name, value if name == header else text) for name, text in lines])
    assert status_of(exchange(server, data + CHAT, finish=False)) in {400, 401, 431}


@pytest.mark.parametrize(
    "timestamp", ["inf", "-inf", "nan", "1e400", "９９９", "1_000", "0x10", "9" * 5000, "-1", "1.5"]
)
def test_timestamps_that_are_none(connection: http.client.HTTPConnection, caller: Caller, timestamp: str) -> None:
    method, target, headers = caller.authenticated(BY_NAME["text"], CHAT)
    headers["X-Bce-Timestamp"] = timestamp.encode().decode("latin-1")
    assert send(connection, BY_NAME["text"], (method, target, headers), CHAT) != "ok"


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("header", ["X-Bce-Nonce", "X-Bce-Timestamp", "X-Bce-Signature", "X-Bce-AccessKey"])
def test_a_second_header_does_not_make_a_replay_new(
    server: Any, account: Any, caller: Caller, header: str, first: bool
) -> None:
    method, target, headers = caller.authenticated(BY_NAME["text"], CHAT)
    lines: list[tuple[str, str | bytes]] = [*headers.items()]
    framing: list[tuple[str, str | bytes]] = [("Content-Length", str(len(CHAT))), ("Connection", "close")]
    assert status_of(exchange(server, head(method, target, lines + framing) + CHAT, finish=False)) == 200
    extra: list[tuple[str, str | bytes]] = [(header, "12345")]
    again = extra + lines if first else lines + extra
    assert status_of(exchange(server, head(method, target, again + framing) + CHAT, finish=False)) == 401
    assert [entry.status for entry in inference(account) if entry.status == 200] == [200]


@pytest.mark.parametrize("way", ["trailing", "leading", "twice"])
@pytest.mark.parametrize("space", [" ", "\t"], ids=ascii)
@pytest.mark.parametrize("header", ["X-Bce-Nonce", "X-Bce-Timestamp", "X-Bce-Signature", "X-Bce-AccessKey"])
def test_white_space_does_not_make_a_replay_new(server: Any, caller: Caller, header: str, space: str, way: str) -> None:
    # It is no part of a value (RFC 9110 5.5), so the signature stays right, and the request the one seen before.
    method, target, headers = caller.authenticated(BY_NAME["text"], CHAT)
    framing: list[tuple[str, str | bytes]] = [("Content-Length", str(len(CHAT))), ("Connection", "close")]
    lines: list[tuple[str, str | bytes]] = [*headers.items()]
    assert status_of(exchange(server, head(method, target, lines + framing) + CHAT, finish=False)) == 200
    value = headers[header]
    spaced = {"trailing": value + space, "leading": space + value, "twice": value + space}[way]
    others = lines if way == "twice" else [pair for pair in lines if pair[0] != header]
    again = [*others, (header, spaced), *framing]
    assert status_of(exchange(server, head(method, target, again) + CHAT, finish=False)) == 401


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
def test_every_header_twice(server: Any, caller: Caller, endpoint: Endpoint) -> None:
    method, target, headers = caller.authenticated(endpoint, CHAT)
    lines = [pair for pair in headers.items() for _ in range(2) if pair[0] != "Host"]
    framing = [("Host", caller.netloc), ("Content-Length", str(len(CHAT))), ("Connection", "close")]
    assert status_of(exchange(server, head(method, target, [*framing, *lines]) + CHAT, finish=False)) < 500


PLAIN = b"POST /v2/chat/completions HTTP/1.1\r\nHost: x\r\n"
BROKEN_HEADS = {
    "length no number": PLAIN + b"Content-Length: abc\r\n\r\n{}",
    "length negative": PLAIN + b"Content-Length: -1\r\n\r\n{}",
    "length plus": PLAIN + b"Content-Length: +2\r\n\r\n{}",
    "length list": PLAIN + b"Content-Length: 2, 2\r\n\r\n{}",
    "length huge": PLAIN + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "length over every limit": PLAIN + b"Content-Length: 999999999999\r\n\r\n{}",
    "length twice": PLAIN + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": PLAIN + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": PLAIN + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "chunk no number": PLAIN + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
    "chunk huge": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n",
    "no colon": PLAIN + b"garbage\r\n\r\n",
    "space in name": PLAIN + b"Content Length: 2\r\n\r\n{}",
    "nul in value": PLAIN + b"X-Bce-Nonce: a\x00b\r\n\r\n",
    "bare cr in value": PLAIN + b"X-Bce-Nonce: a\rb\r\n\r\n",
    "folded": PLAIN + b"X-Bce-Nonce: a\r\n b\r\n\r\n",
    "no version": b"POST /v2/chat/completions\r\n\r\n",
    "old version": b"POST /v2/chat/completions HTTP/0.9\r\n\r\n",
    "new version": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "odd version": b"POST /v2/chat/completions HTTP/1.x\r\n\r\n",
    "unknown method": b"BREW /v2/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n",
    "no target": b"POST  HTTP/1.1\r\nHost: x\r\n\r\n",
    "relative target": b"POST v2/chat HTTP/1.1\r\nHost: x\r\n\r\n",
    "star": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "upgrade": b"GET /v2/models HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "bytes in target": b"POST /v2/\xff\xfe?\xe4\xbd HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "broken escapes": b"POST /v2/%zz%?access_token=%%% HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "fragment": b"POST /v2/chat/completions#x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "no host": b"POST /v2/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "long target": b"POST /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "long header": PLAIN + b"Authorization: Bearer " + b"a" * 500_000 + b"\r\n\r\n",
    "long name": PLAIN + b"a" * 200_000 + b": b\r\n\r\n",
    "many headers": PLAIN + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "bytes": bytes(range(256)) * 4 + b"\r\n\r\n",
    "newlines": b"\r\n" * 1000,
    "nothing": b"",
}


@pytest.mark.parametrize("data", BROKEN_HEADS.values(), ids=BROKEN_HEADS)
def test_broken_heads(server: Any, data: bytes) -> None:
    # Not HTTP, or not a request: refused as such, in no dialect, or hung up on. Never a fault of the server.
    answer = exchange(server, data)
    for piece in answer.split(b"HTTP/1.1 ")[1:]:
        assert 200 <= int(piece[:3]) < 500, answer[:300]
    assert b"Traceback" not in answer


def test_absolute_form(server: Any, account: Any, caller: Caller) -> None:
    # What a client sends to a proxy: the same resource (RFC 9112 3.2.2).
    _, target, headers = caller.authenticated(BY_NAME["v2-chat"], CHAT)
    framing = [("Content-Length", str(len(CHAT))), ("Connection", "close")]
    answer = exchange(server, head("POST", server.url + target, [*headers.items(), *framing]) + CHAT, finish=False)
    assert status_of(answer) in {200, 404}
