"""Ten thousand requests that hypothesis makes up: whatever arrives, the answer is one that the service would give."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import time
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import pytest
from contract_helpers import QUIET, ask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_requests import BY_NAME, ENDPOINTS, Caller, Endpoint, check

from mock_server.core import handle
from qfkit.protocol.http import HttpRequest

pytestmark = QUIET

#: Every example meets each endpoint twice, once with good credentials and once with made-up ones.
EXAMPLES = 600
#: One endpoint in so many goes over a socket; the others are handed to the core, which is the same code.
SOCKET_SHARE = 5

FIELDS = [
    "messages", "model", "stream", "stream_options", "temperature", "top_p", "penalty_score", "max_tokens", "stop",
    "max_output_tokens", "max_completion_tokens", "system", "functions", "tools", "tool_choice", "response_format",
    "input", "query", "documents", "plugins", "prompt", "image", "n", "size", "seed", "user_id", "extra_parameters",
    "history", "llm", "encoding_format", "top_n", "web_search", "enable_thinking", "frequency_penalty",
]  # fmt: skip

text = st.text(max_size=12)
odd_numbers = st.sampled_from([0, -1, 1, 2, 10**30, -(10**30), 1e308, 5e-324, 0.1, True, False])
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True), odd_numbers, text)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=5
)
messages = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["user", "assistant", "function", "system", "tool", "robot"]) | values,
            "content": text | values,
            "name": values,
            "function_call": values,
            "tool_calls": values,
            "tool_call_id": values,
        },
    )
    | values,
    max_size=3,
)
objects = st.dictionaries(st.sampled_from(FIELDS) | text, values, max_size=4)


def near_valid(changes: dict[str, Any]) -> dict[str, Any]:
    """A body that every chat endpoint would take, with some members replaced."""
    return {"model": "ernie-4.0-8k", "messages": ask("你好"), "input": ["你好"], "query": "你好", **changes}


def dumped(value: Any) -> bytes:
    # surrogatepass: text that is no text may arrive as bytes, too.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def damaged(body: bytes, at: int, byte: int) -> bytes:
    """``body`` with one byte replaced, or cut there."""
    at %= len(body) + 1
    return body[:at] if byte > 255 else body[:at] + bytes([byte]) + body[at + 1 :]


json_bodies = st.one_of(
    objects.map(near_valid).map(dumped),
    messages.map(lambda value: near_valid({"messages": value})).map(dumped),
    objects.map(dumped),
    values.map(json.dumps).map(str.encode),
)
bodies = st.one_of(
    json_bodies, st.builds(damaged, json_bodies, st.integers(0, 300), st.integers(0, 300)), st.binary(max_size=100)
)

# Header values as far as HTTP has them: no control characters, bytes above ASCII arrive as Latin-1 text.
header_text = st.text(st.sampled_from([chr(n) for n in (9, *range(32, 127), *range(128, 256))]), max_size=40)
numbers = st.sampled_from(["1800", "-1", "0", "9" * 30, "1e3", "NaN", "\xb2", " 7", "1_000", "0x7", ""]) | header_text
moments = ["2024-05-01T08:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"]
listed = st.sampled_from(["", "host", ";;", "host;host", "host;content-type", "x-bce-date;\xff"]) | header_text
hexes = st.sampled_from(["0" * 64, "", "\xe9" * 64]) | header_text
digests = st.binary(min_size=32, max_size=32).map(lambda data: base64.b64encode(data).decode()) | hexes
kinds = st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain"]) | header_text

query_text = text | st.sampled_from(["100", "-5", "1e9", "9" * 30, "NaN", "１２", "client_credentials", "password"])
QUERY_NAMES = ["access_token", "expireInSeconds", "grant_type", "client_id", "client_secret", "authorization"]
queries = st.dictionaries(st.sampled_from(QUERY_NAMES) | text, query_text, max_size=3)
extras = st.fixed_dictionaries(
    {}, optional={"Accept": st.just("text/event-stream") | header_text, "Request_id": header_text, "appid": header_text}
)


def made_up_queries(client_id: str) -> st.SearchStrategy[dict[str, str]]:
    """Any query, and those that OAuth reads to the end before it finds the secret wrong."""
    nearly = {"grant_type": "client_credentials", "client_id": client_id}
    return queries | query_text.map(lambda secret: {**nearly, "client_secret": secret})


@st.composite
def made_up_headers(draw: st.DrawFn, access_key: str, now: float) -> dict[str, str]:
    """Credentials that nobody has, many of them wrong in the signature alone."""
    keys = st.sampled_from([access_key, access_key, "ALTAKnobody", ""]) | header_text
    dates = st.sampled_from([time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)), *moments]) | header_text
    times = st.just(str(int(now))) | numbers
    signatures = st.tuples(keys, dates, numbers, listed, hexes).map(lambda parts: "/".join(("bce-auth-v1", *parts)))
    authorizations = st.one_of(header_text, header_text.map("Bearer {}".format), signatures)
    made = {
        "Authorization": draw(authorizations),
        "Content-Type": draw(kinds),
        "X-Bce-AccessKey": draw(keys),
        "X-Bce-Timestamp": draw(times),
        "X-Bce-Nonce": draw(header_text),
        "X-Bce-Signature": draw(digests),
        "x-bce-date": draw(dates),
    }
    missing = draw(st.sets(st.sampled_from(sorted(made)), max_size=2))
    return {name: value for name, value in made.items() if name not in missing}


def over_socket(connection: http.client.HTTPConnection, request: HttpRequest) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value.encode("latin-1") for name, value in request.headers}
    connection.request(request.method, request.target, request.body, headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.headers), answer.read()


@pytest.mark.timeout(240)  # some seconds alone; the whole suite may run beside it
def test_ten_thousand_requests(
    server: Any, account: Any, caller: Caller, connection: http.client.HTTPConnection
) -> None:
    sent: Counter[str] = Counter()
    secret = account.credentials.secret_key
    turns = itertools.count()

    def ask_for(endpoint: Endpoint, request: HttpRequest, door: str) -> str:
        sent[door] += 1
        if door == "socket":
            status, headers, content = over_socket(connection, request)
        else:
            reply = handle(request, server.state)
            status, headers, content = reply.status, dict(reply.headers), reply.content
        assert secret not in str(headers)
        assert secret.encode() not in content
        return check(endpoint, status, headers, content)

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
    )
    @given(
        body=bodies,
        query=made_up_queries(account.credentials.ak),
        headers=made_up_headers(account.credentials.access_key, time.time()),
        more=extras,
    )
    def answered(body: bytes, query: dict[str, str], headers: dict[str, str], more: dict[str, str]) -> None:
        junk = urlencode(query)
        life = {name: value for name, value in query.items() if name == "expireInSeconds"}
        turn = next(turns)
        for number, endpoint in enumerate(ENDPOINTS):
            door = "socket" if (number + turn) % SOCKET_SHARE == 0 else "core"
            method, target, good = caller.authenticated(endpoint, body, query=life if endpoint.name == "iam" else {})
            ask_for(endpoint, HttpRequest(method, target, tuple({**good, **more}.items()), body), door)
            target = f"{endpoint.path}?{junk}" if junk else endpoint.path
            lines = {"Host": caller.netloc, **headers, **more}
            assert ask_for(endpoint, HttpRequest(method, target, tuple(lines.items()), body), door) != "ok"

    answered()
    assert sent.total() >= 10_000, sent
    assert sent["socket"] >= 1_000, sent
    # Ours among the journaled answers would mean a bug that was caught and dressed up as the service's own error.
    assert [str(entry) for entry in server.requests if "bug" in str(entry.answered_by)] == []
    for name in ("text", "v1-chat", "v2-chat", "oauth", "iam"):
        endpoint, body = BY_NAME[name], json.dumps(near_valid({})).encode()
        method, target, good = caller.authenticated(endpoint, body)
        assert ask_for(endpoint, HttpRequest(method, target, tuple(good.items()), body), "socket") == "ok"
