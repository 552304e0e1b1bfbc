"""Methods, bodies and targets that no client library would send: each gets the service's own error."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from contract_helpers import OAUTH_TOKEN, QUIET, V1, ask, inference
from raw_requests import BY_NAME, CHAT, CHATS, ENDPOINTS, Caller, Endpoint, exchange, head, named, send, status_of

pytestmark = [QUIET, pytest.mark.usefixtures("still_answers")]

WITH_BODY = [endpoint for endpoint in ENDPOINTS if endpoint.dialect in {"text_generation", "v1", "v2"}]


# Method


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
def test_wrong_method(
    connection: http.client.HTTPConnection, caller: Caller, account: Any, endpoint: Endpoint, method: str
) -> None:
    code = send(connection, endpoint, caller.authenticated(endpoint, b"", method=method), b"")
    if method == "GET" and endpoint.dialect in {"oauth", "iam"} and endpoint.name != "service-list":
        assert code == "ok"  # third-party clients fetch their tokens so (wire reference 2.1)
        return
    expected = {"v1": "336101", "v2": "method_not_supported"}
    assert code == expected.get(endpoint.dialect, code) != "ok"


def test_v2_wrong_method_is_405_even_without_a_key(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/v2/chat/completions")
    answer = connection.getresponse()
    assert answer.status == 405
    assert json.loads(answer.read())["error"]["message"] == "Only POST requests are accepted"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
def test_head_and_options(connection: http.client.HTTPConnection, caller: Caller, endpoint: Endpoint) -> None:
    for method in ("HEAD", "OPTIONS"):
        _, target, headers = caller.authenticated(endpoint, b"", method=method)
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status < 500
        assert method != "HEAD" or body == b""


# Body

BAD_JSON = {
    "empty": b"",
    "blank": b" \n ",
    "brace": b"{",
    "cut": CHAT[:-5],
    "trailing": CHAT + b"}",
    "form": b"messages=%E4%BD%A0&temperature=0.7",
    "single quotes": b"{'messages': []}",
    "not utf-8": b'{"messages": "\xff\xfe"}',
    "utf-16": CHAT.decode().encode("utf-16"),
    "gbk": '{"messages": [{"role": "user", "content": "你好"}]}'.encode("gbk"),
    "nul": CHAT + b"\x00",
    "nan": b'{"messages": NaN}',
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 50_000,
}
NO_OBJECT = {"null": b"null", "number": b"1", "text": b'"text"', "list": b"[]", "true": b"true"}


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=named)
@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
def test_bad_json(connection: http.client.HTTPConnection, caller: Caller, endpoint: Endpoint, body: bytes) -> None:
    code = send(connection, endpoint, caller.authenticated(endpoint, body), body)
    assert code != "ok"
    assert code == {"v1": "336002", "v2": "malformed_json"}.get(endpoint.dialect, code)


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=named)
@pytest.mark.parametrize("body", NO_OBJECT.values(), ids=NO_OBJECT)
def test_json_that_is_no_object(
    connection: http.client.HTTPConnection, caller: Caller, endpoint: Endpoint, body: bytes
) -> None:
    assert send(connection, endpoint, caller.authenticated(endpoint, body), body) != "ok"


@pytest.mark.parametrize("endpoint", CHATS, ids=named)
@pytest.mark.parametrize(
    "content",
    [r'"\ud800"', r'"\udc00\ud800"', r'"\u0000\u0001\u001b[31m"', r'"\r\n\r\ndata: {}\n\n"', r'"</script>\u2028"'],
    ids=["lone-surrogate", "swapped-surrogates", "control", "event-injection", "separator"],
)
def test_odd_characters_in_a_message(
    connection: http.client.HTTPConnection, caller: Caller, endpoint: Endpoint, content: str
) -> None:
    for stream in ("false", "true"):
        body = f'{{"model":"ernie-4.0-8k","stream":{stream},"messages":[{{"role":"user","content":{content}}}]}}'
        send(connection, endpoint, caller.authenticated(endpoint, body.encode()), body.encode())


@pytest.mark.parametrize("endpoint", CHATS, ids=named)
@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e-400", "9" * 400, "0.7" + "0" * 400, "-0", "1E0"])
def test_odd_numbers(connection: http.client.HTTPConnection, caller: Caller, endpoint: Endpoint, number: str) -> None:
    for field in ("temperature", "max_output_tokens", "max_tokens", "max_completion_tokens", "top_p", "seed"):
        body = CHAT[:-1] + f', "{field}": {number}}}'.encode()
        send(connection, endpoint, caller.authenticated(endpoint, body), body)


@pytest.mark.parametrize("endpoint", CHATS, ids=named)
def test_one_megabyte_of_prompt(connection: http.client.HTTPConnection, caller: Caller, endpoint: Endpoint) -> None:
    body = json.dumps({"model": "ernie-4.0-8k", "messages": ask("x" * 1_000_000)}).encode()
    code = send(connection, endpoint, caller.authenticated(endpoint, body), body)
    assert code == {"v1": "336007", "v2": "characters_too_long"}.get(endpoint.dialect, code) != "ok"


@pytest.mark.parametrize("endpoint", CHATS, ids=named)
def test_one_megabyte_beside_a_short_prompt(
    connection: http.client.HTTPConnection, caller: Caller, endpoint: Endpoint
) -> None:
    body = CHAT[:-1] + b', "padding": "' + b"x" * 1_000_000 + b'"}'
    code = send(connection, endpoint, caller.authenticated(endpoint, body), body)
    # text_generation documents a limit of 32 KB a request; of the others none is known.
    assert (code == "ok") == (endpoint.dialect != "text_generation")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
def test_no_credentials_at_all(connection: http.client.HTTPConnection, endpoint: Endpoint) -> None:
    code = send(connection, endpoint, (endpoint.method, endpoint.path, {}), CHAT)
    expected = {"v1": "110", "v2": "invalid_iam_token", "oauth": "invalid_request"}
    assert code == expected.get(endpoint.dialect, code) != "ok"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "x"])
@pytest.mark.parametrize("endpoint", CHATS, ids=named)
def test_content_type_is_not_looked_at(
    connection: http.client.HTTPConnection, caller: Caller, endpoint: Endpoint, kind: str
) -> None:
    method, target, headers = caller.authenticated(endpoint, CHAT)
    assert send(connection, endpoint, (method, target, {**headers, "Content-Type": kind}), CHAT) == "ok"


def test_body_in_chunks(server: Any, caller: Caller) -> None:
    method, target, headers = caller.authenticated(BY_NAME["text"], CHAT)
    pieces = [CHAT[at : at + 7] for at in range(0, len(CHAT), 7)]
    chunks = b"".join(b"%x;note=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    start = head(method, target, [*headers.items(), ("Transfer-Encoding", "chunked"), ("Connection", "close")])
    assert status_of(exchange(server, start + chunks + b"0\r\n\r\n", finish=False)) == 200


def test_body_byte_by_byte(server: Any, caller: Caller) -> None:
    method, target, headers = caller.authenticated(BY_NAME["text"], CHAT)
    start = head(method, target, [*headers.items(), ("Content-Length", str(len(CHAT))), ("Connection", "close")])
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in start + CHAT:
            sock.sendall(bytes([byte]))
        assert status_of(sock.recv(65536)) == 200


def test_requests_in_one_write(server: Any, caller: Caller) -> None:
    data = b""
    for last in (False, False, True):
        method, target, headers = caller.authenticated(BY_NAME["v2-chat"], CHAT)
        more = [("Content-Length", str(len(CHAT))), ("Connection", "close" if last else "keep-alive")]
        data += head(method, target, [*headers.items(), *more]) + CHAT
    assert exchange(server, data, finish=False).count(b"HTTP/1.1 200 ") == 3


def test_a_client_that_leaves_in_the_middle_of_its_body(server: Any, account: Any, caller: Caller) -> None:
    method, target, headers = caller.authenticated(BY_NAME["v2-chat"], CHAT)
    answer = exchange(server, head(method, target, [*headers.items(), ("Content-Length", "100000")]) + CHAT)
    assert answer == b"" or 400 <= status_of(answer) < 500
    assert inference(account) == []


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("v1-embeddings", {"input": ["你好"], "messages": []}),
        ("v1-embeddings", {"input": ["你好"], "messages": True}),
        ("v2-embeddings", {"model": "embedding-v1", "input": ["你好"], "messages": "none"}),
        ("v1-plugin", {"query": "你好", "messages": [{"role": "robot"}]}),
        ("v1-plugin", {"query": "你好", "messages": None}),
        ("v1-plugin", {"query": "你好", "messages": [None, 7]}),
        ("v1-chat", {"messages": ask("你好"), "input": 7, "documents": [], "unheard_of": {"a": [1]}}),
        ("v2-chat", {"model": "ernie-4.0-8k", "messages": ask("你好"), "input": 7, "query": None, "top_k": "x"}),
        ("text", {"messages": ask("你好"), "stream": True, "model": 7, "system": []}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fields_of_other_operations_are_not_looked_at(
    connection: http.client.HTTPConnection, caller: Caller, name: str, body: dict[str, Any]
) -> None:
    data = json.dumps(body).encode()
    assert send(connection, BY_NAME[name], caller.authenticated(BY_NAME[name], data), data) == "ok"


# The bytes of a stream, which libraries read more kindly than some clients do (wire reference 8.7)


def stream_of(connection: http.client.HTTPConnection, caller: Caller, name: str, **fields: Any) -> tuple[str, str]:
    """Content type and text of the whole body."""
    body = json.dumps({**json.loads(CHAT), **fields}).encode()
    method, target, headers = caller.authenticated(BY_NAME[name], body)
    connection.request(method, target, body, {**headers, "Accept": "text/event-stream"})
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.headers["Content-Type"], answer.read().decode()


def test_bytes_of_a_v1_stream(account: Any, connection: http.client.HTTPConnection, caller: Caller) -> None:
    account.stream(["你", "\n\ndata: x", "好"])
    kind, received = stream_of(connection, caller, "v1-chat", stream=True)
    assert kind.startswith("text/event-stream")
    events = received.split("\n\n")
    assert events.pop() == ""  # the last event is ended, too
    parsed = [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: {")]
    assert len(parsed) == len(events)  # nothing else: no comments, no event names, no [DONE]
    assert all("\n" not in event for event in events)
    assert "".join(event["result"] for event in parsed) == "你\n\ndata: x好"


def test_bytes_of_a_v2_stream(account: Any, connection: http.client.HTTPConnection, caller: Caller) -> None:
    account.stream(["你", "好"])
    kind, received = stream_of(connection, caller, "v2-chat", stream=True)
    assert kind.startswith("text/event-stream")
    *events, done, end = received.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    assert all(event.startswith("data: {") and "\n" not in event for event in events)


def test_text_generation_streams_events_to_those_who_ask(
    account: Any, connection: http.client.HTTPConnection, caller: Caller
) -> None:
    account.stream(["你", "好"])
    kind, received = stream_of(connection, caller, "text-stream")
    assert kind.startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in received.split("\n\n") if line.startswith("data: {")]
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events) == "你好"


# Paths


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{V1}/no_such_family/x", "3"),
        (f"{V1}/", "3"),
        (f"{V1}/chat/", "3"),
        (f"{V1}/chat/completions/chat/completions", "3"),
        (f"{V1}/embeddings/no-such-model", "3"),
    ],
)
def test_unknown_v1_paths(connection: http.client.HTTPConnection, caller: Caller, path: str, expected: str) -> None:
    endpoint = Endpoint("unknown", "v1", path)
    assert send(connection, endpoint, caller.authenticated(endpoint, CHAT), CHAT) == expected


@pytest.mark.parametrize(
    "path",
    ["/", "/v2", "/v2/", "/v2/chat/completions/chat/completions", "/v3/chat", "/rpc/2.0/", "//", "/../../etc/passwd"],
)
def test_paths_of_nobody(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("POST", path, CHAT)
    answer = connection.getresponse()
    assert answer.status == 404
    assert json.loads(answer.read())["code"] == "ResourceNotFound"


# The query


@pytest.mark.parametrize(
    "seconds",
    ["abc", "-1", "0", "", "1e9", "9" * 30, "1.5", "１２", "NaN", "-99999999999999", " 7 ", "0x10", "2592001"],
)
def test_life_of_a_bearer_token(connection: http.client.HTTPConnection, caller: Caller, seconds: str) -> None:
    endpoint = BY_NAME["iam"]
    send(connection, endpoint, caller.authenticated(endpoint, b"", query={"expireInSeconds": seconds}), b"")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("grant_type=client_credentials", "invalid_request"),
        ("grant_type=client_credentials&client_id=&client_secret=", "invalid_request"),
        ("grant_type=password&client_id={ak}&client_secret={sk}", "unsupported_grant_type"),
        ("grant_type=client_credentials&client_id=%ff%fe&client_secret=x", "invalid_client"),
        ("grant_type=client_credentials&client_id={ak}&client_secret=%ff%fe", "invalid_client"),
        ("grant_type=client_credentials&client_id={ak}&client_secret=%E5%AF%86", "invalid_client"),
        ("&&&==;;?%", "invalid_request"),
    ],
)
def test_oauth_queries(connection: http.client.HTTPConnection, caller: Caller, query: str, expected: str) -> None:
    target = f"{OAUTH_TOKEN}?{query.format(ak=caller.keys.ak, sk=caller.keys.sk)}"
    assert send(connection, BY_NAME["oauth"], ("POST", target, {}), b"") == expected
