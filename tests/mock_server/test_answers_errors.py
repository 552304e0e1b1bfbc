"""Every row of the error tables that inference has, before a stream and in the middle of one, to the byte."""

from __future__ import annotations

import json

import pytest

from mock_server import Settings, State
from mock_server.core import handle
from mock_server.handle import AccountHandle
from qfkit.protocol.dialects import TEXT_GENERATION_CHAT, TEXT_GENERATION_STREAM, V1_PREFIX
from qfkit.protocol.errors import ERRORS, envelope, lookup
from qfkit.protocol.http import HttpRequest

#: Of two rows with one code, that which `fail` means.
ROWS = [
    spec
    for spec in ERRORS
    if spec.dialect in {"text_generation", "v1", "v2"} and lookup(spec.dialect, spec.code) is spec
]
TARGETS = {
    ("text_generation", False): TEXT_GENERATION_CHAT,
    ("text_generation", True): TEXT_GENERATION_STREAM,
    **{("v1", stream): f"{V1_PREFIX}/chat/completions" for stream in (False, True)},
    **{("v2", stream): "/v2/chat/completions" for stream in (False, True)},
}
every_row = pytest.mark.parametrize("spec", ROWS, ids=[f"{spec.dialect}-{spec.code}" for spec in ROWS])


@pytest.fixture
def state():
    return State(Settings(auth="off", quota="none"))


@pytest.fixture
def account(state):
    return AccountHandle(state.default_account, state, "http://mock")


def ask(state, dialect, *, stream):
    body = {"messages": [{"role": "user", "content": "你好"}]}
    body |= {"stream": stream} if dialect != "text_generation" else {}
    body |= {"model": "ernie-4.0-8k"} if dialect == "v2" else {}
    headers = (("Accept", "text/event-stream"), ("Content-Type", "application/json"))
    return handle(HttpRequest("POST", TARGETS[dialect, stream], headers, json.dumps(body).encode()), state)


def expected(state, account, spec):
    return envelope(spec, request_id=account.requests[-1].request_id)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@every_row
def test_before_the_answer(state, account, spec, stream):
    account.fail(spec.code)
    reply = ask(state, spec.dialect, stream=stream)
    headers = dict(reply.headers)
    assert (reply.status, json.loads(reply.content)) == (spec.status, expected(state, account, spec))
    assert headers["Content-Type"].startswith("application/json")
    assert ("Retry-After" in headers) == (spec.dialect == "text_generation" and spec.status == 429)
    assert len(reply.content.splitlines()) == 1, "the Python SDK parses only the first line"


@every_row
def test_in_the_middle_of_a_stream(state, account, spec):
    account.stream(["一", "二", "三"], error_after=2, error=spec.code)
    reply = ask(state, spec.dialect, stream=True)
    events = [line.removeprefix("data: ") for line in reply.content.decode().splitlines() if line]
    assert reply.status == 200
    assert dict(reply.headers)["Content-Type"].startswith("text/event-stream")
    assert len(events) == 3
    assert json.loads(events[-1]) == expected(state, account, spec)
