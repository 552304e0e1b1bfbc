"""Ten thousand requests that hypothesis makes up: whatever arrives, the answer is one that the service would give."""

from __future__ import annotations

import http.client
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from contract_helpers import OAUTH_TOKEN, ask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_requests import BY_NAME, ENDPOINTS, Caller, Endpoint, check

from mock_server.core import handle
from qfkit.protocol.http import HttpRequest

#: Every example meets each endpoint twice, once with good credentials and once with made-up ones.
EXAMPLES = 500
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

# Headers: anything that llhttp lets through arrives as Latin-1 text. No line breaks: those end a header.
header_text = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=40)
dates = st.sampled_from(
    ["2024-05-01T08:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"]
)
numbers = st.sampled_from(["1800", "-1", "0", "9" * 30, "1e3", "NaN", "\xb2", " 7", "1_000", "0x7", ""]) | header_text
signed = st.sampled_from(["", "host", ";;", "host;host", "host;content-type", "x-bce-date;\xff"]) | header_text
hexes = st.sampled_from(["0" * 64, "", "\xe9" * 64]) | header_text
query_text = text | st.sampled_from(["100", "-5", "1e9", "9" * 30, "NaN", "１２", "client_credentials", "password"])
QUERY_NAMES = ["access_token", "expireInSeconds", "grant_type", "client_id", "client_secret", "authorization"]
queries = st.dictionaries(st.sampled_from(QUERY_NAMES) | text, query_text, max_size=3)


@st.composite
def made_up_headers(draw: st.DrawFn, access_key: str) -> dict[str, str]:
    """Credentials that nobody has, some of them close to real ones."""
    keys = st.sampled_from([access_key, "ALTAKnobody", ""]) | header_text
    key = draw(keys)
    authorization = st.one_of(
        header_text,
        header_text.map("Bearer {}".format),
        st.tuples(keys, dates | header_text, numbers, signed, hexes).map(
            lambda parts: "/".join(("bce-auth-v1", *parts))
        ),
    )
    made = {
        "Authorization": draw(authorization),
        "X-Bce-AccessKey": key,
        "X-Bce-Timestamp": draw(numbers),
        "X-Bce-Nonce": draw(header_text),
        "X-Bce-Signature": draw(hexes),
        "x-bce-date": draw(dates | header_text),
    }
    missing = draw(st.sets(st.sampled_from(sorted(made)), max_size=3))
    return {name: value for name, value in made.items() if name not in missing}


@pytest.fixture
def caller(server: Any, account: Any) -> Caller:
    query = {"grant_type": "client_credentials", "client_id": account.credentials.ak}
    query["client_secret"] = account.credentials.sk
    token = requests.post(server.url + OAUTH_TOKEN, params=query, timeout=10).json()["access_token"]
    return Caller(server.url, account, token)


@pytest.fixture
def connection(server: Any) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)) as made:
        yield made


def printable(headers: dict[str, str]) -> dict[str, str]:
    """What may stand in a header on the wire: without control characters, which make it no HTTP."""
    return {
        name: "".join(character for character in value if " " <= character <= "~" or character >= "\xa0").strip()
        for name, value in headers.items()
    }


def over_socket(connection: http.client.HTTPConnection, request: HttpRequest) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value.encode("latin-1") for name, value in printable(dict(request.headers)).items()}
    connection.request(request.method, request.target, request.body, headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.headers), answer.read()


@pytest.mark.timeout(240)  # about 20 s alone; the whole suite may run beside it
def test_ten_thousand_requests(
    server: Any, account: Any, caller: Caller, connection: http.client.HTTPConnection
) -> None:
    sent: Counter[str] = Counter()
    turns = itertools.count()

    def ask_for(endpoint: Endpoint, request: HttpRequest, door: str) -> str:
        sent[door] += 1
        if door == "socket":
            return check(endpoint, *over_socket(connection, request))
        reply = handle(request, server.state)
        return check(endpoint, reply.status, dict(reply.headers), reply.content)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(body=bodies, query=queries, headers=made_up_headers(account.credentials.access_key))
    def answered(body: bytes, query: dict[str, str], headers: dict[str, str]) -> None:
        junk = urlencode(query)
        life = {name: value for name, value in query.items() if name == "expireInSeconds"}
        turn = next(turns)
        for number, endpoint in enumerate(ENDPOINTS):
            door = "socket" if (number + turn) % SOCKET_SHARE == 0 else "core"
            more = life if endpoint.name == "iam" else {}
            method, target, good = caller.authenticated(endpoint, body, query=more)
            ask_for(endpoint, HttpRequest(method, target, tuple(good.items()), body), door)
            target = f"{endpoint.path}?{junk}" if junk else endpoint.path
            lines = {"Host": caller.netloc, **headers}
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
