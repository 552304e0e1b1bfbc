"""Two doors, one house: whatever is asked, the front door and the Flask app answer with the same bytes.

Both run over states of the same seed and a clock that stands still, so that ids and times are the same too, and every
request is sent to both in the same order.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.handle import AccountHandle
from mock_server.serving.front import Front
from mock_server.settings import Settings
from mock_server.state import State
from qfkit.protocol.dialects import TEXT_GENERATION_CHAT, TEXT_GENERATION_STREAM, V1_PREFIX
from qfkit.protocol.signing import sign_hmac

NOW = 1_795_418_831
USER = {"role": "user", "content": "你好"}


class StoppedClock:
    def time(self) -> float:
        return float(NOW)

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds <= 0


class Twin:
    """One mock behind one of the doors."""

    def __init__(self, *, flask: bool) -> None:
        self.state = State(Settings(seed=5), StoppedClock())
        self.front = Front(self.state, flask=flask)
        self.account = AccountHandle(self.state.add_account(), self.state, self.front.url)
        ready = threading.Event()
        self.thread = threading.Thread(target=self.front.run, args=(ready,))
        self.thread.start()
        ready.wait()

    def ask(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.front.port, timeout=10)
        try:
            connection.request(method, target, body, headers | {"Host": "twin", "Connection": "close"})
            response = connection.getresponse()
            try:
                content = response.read()
            except http.client.IncompleteRead as broken:
                content = b"(cut)" + broken.partial
        finally:
            connection.close()
        own_to_the_connection = {"date", "connection", "content-length", "transfer-encoding"}
        kept = {name.lower(): value for name, value in response.getheaders()}
        return response.status, {n: v for n, v in kept.items() if n not in own_to_the_connection}, content

    def stop(self) -> None:
        self.front.stop()
        self.thread.join()


@contextmanager
def twins() -> Iterator[tuple[Twin, Twin]]:
    both = Twin(flask=False), Twin(flask=True)
    try:
        yield both
    finally:
        for twin in both:
            twin.stop()


@pytest.fixture(scope="module")
def pair():
    with twins() as both:
        yield both


_nonces = iter(range(10**9))


def agree(pair: tuple[Twin, Twin], method: str, target: str, body: bytes, headers: dict[str, str]) -> tuple:
    door, flask = (twin.ask(method, target, body, headers) for twin in pair)
    assert door == flask
    assert len(pair[0].state.journal.entries()) == len(pair[1].state.journal.entries())
    return door


def auth(pair: tuple[Twin, Twin], target: str, body: bytes, method: str = "POST") -> dict[str, str]:
    keys = pair[0].account.credentials
    assert keys == pair[1].account.credentials
    if target.startswith("/v2"):
        return {"Authorization": f"Bearer {keys.bearer_token}"}
    return sign_hmac(
        access_key=str(keys.access_key),
        secret_key=str(keys.secret_key),
        method=method,
        target=target,
        body=body,
        timestamp=NOW,
        nonce=str(next(_nonces)),
    )


CHAT = {"model": "ernie-4.0-8k", "messages": [USER]}

RECORDED = [
    ("POST", "/v2/chat/completions", CHAT),
    ("POST", "/v2/chat/completions", CHAT | {"stream": True, "stream_options": {"include_usage": True}}),
    ("POST", "/v2/embeddings", {"input": ["你好"], "model": "embedding-v1", "encoding_format": "base64"}),
    ("POST", "/v2/rerankers", {"model": "bce-reranker-base_v1", "query": "q", "documents": ["a", "b"], "top_n": 1}),
    ("POST", "/v2/images/generations", {"prompt": "cat", "model": "irag-1.0", "size": "1024x1024"}),
    ("GET", "/v2/models", None),
    ("GET", "/v2/chat/completions", None),
    ("POST", "/v2/nothing", {}),
    ("POST", TEXT_GENERATION_CHAT, {"messages": [USER], "temperature": 0.7, "max_tokens": 2048}),
    ("POST", TEXT_GENERATION_STREAM, {"messages": [USER]}),
    ("POST", f"{V1_PREFIX}/chat/completions", {"messages": [USER]}),
    ("POST", f"{V1_PREFIX}/nothing/x?a=%E4%BD%A0&b=1+2", {}),
    ("POST", "/oauth/2.0/token?grant_type=client_credentials&client_id=x&client_secret=y", {}),
    ("GET", "/v1/BCE-BEARER/token?expireInSeconds=43200", {}),
    ("POST", "/wenxinworkshop/service/list", {}),
    ("POST", "/%E4%BD%A0/a%2Fb?x=1#f", {}),
    ("GET", "/__admin/health", None),
]


@pytest.mark.parametrize(("method", "target", "data"), RECORDED)
def test_recorded_requests(pair, method, target, data):
    body = b"" if data is None else json.dumps(data).encode()
    agree(pair, method, target, body, auth(pair, target, body, method) | {"Content-Type": "application/json"})


@pytest.mark.parametrize("code", [18, 336003, "rpm_rate_limit_exceeded", 429, 503])
@pytest.mark.parametrize("stream", [False, True])
def test_scripted_errors(pair, code, stream):
    for twin in pair:
        twin.account.fail(code, retry_after=1.5)
    body = json.dumps(CHAT | {"stream": stream}).encode()
    status, _, _ = agree(pair, "POST", "/v2/chat/completions", body, auth(pair, "/v2", body))
    assert status >= 400


def test_a_scripted_cut(pair):
    for twin in pair:
        twin.account.stream(["a", "b", "c"], cut_after=2)
    body = json.dumps(CHAT | {"stream": True}).encode()
    _, _, content = agree(pair, "POST", "/v2/chat/completions", body, auth(pair, "/v2", body))
    assert content.startswith(b"(cut)")
    assert content.count(b"data: ") == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30000) | st.floats(0, 2) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELD = st.sampled_from(["temperature", "top_p", "stream", "stop", "max_tokens", "tools", "model", "messages", "user"])
BODY = st.one_of(
    st.dictionaries(FIELD, JSON, max_size=3).map(lambda extra: json.dumps(CHAT | extra).encode()),
    st.text(max_size=30).map(
        lambda text: json.dumps({**CHAT, "messages": [{"role": "user", "content": text}]}).encode()
    ),
    st.binary(max_size=60),
)
TARGET = st.sampled_from([target for _, target, _ in RECORDED if "__admin" not in target])


@settings(max_examples=300)
@given(st.sampled_from(["POST", "GET", "PUT", "DELETE", "OPTIONS", "PATCH"]), TARGET, BODY, st.booleans())
def test_generated_requests(pair, method, target, body, signed):
    headers = auth(pair, target, body, method) if signed else {}
    agree(pair, method, target, body, headers | {"Content-Type": "application/json"})
