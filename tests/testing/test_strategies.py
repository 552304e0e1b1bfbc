"""What is said to be valid the mock takes, and other people's code too; what is not it refuses, as foretold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

from mock_server import MockServer, Settings, State
from mock_server.core import handle
from mock_server.quota import Limits
from mock_server.state import Account
from qfkit.client import Client
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.dialects import FIELDS, INFERENCE_DIALECTS
from qfkit.testing.strategies import (
    Invalid,
    Request,
    conversations,
    credentials,
    invalid_conversations,
    invalid_options,
    invalid_requests,
    options,
    quotas,
    requests,
    texts,
)
from qfkit.testing.strategies.conversations import FLAWS

DIALECTS = pytest.mark.parametrize("dialect", INFERENCE_DIALECTS)
STREAMING = TypeAdapter(CompletionCreateParamsStreaming)
WHOLE = TypeAdapter(CompletionCreateParamsNonStreaming)
STATE = State(Settings(auth="off", quota="none", journal=0))


def answer(request: Request) -> tuple[int, Any]:
    """Status and JSON of what the mock answers, without a socket."""
    reply = handle(request.http(), STATE)
    return reply.status, None if reply.streamed else json.loads(reply.content)


def code_of(body: Any) -> int | str | None:
    if body is None:
        return None
    return body["error"]["code"] if "error" in body else body.get("error_code")


def message_of(body: Any) -> str:
    return body["error"]["message"] if "error" in body else body["error_msg"]


def chat(dialect: str, messages: Any, **more: Any) -> Request:
    model = {"model": "ernie-3.5-8k"} if dialect == "v2" else {}
    paths = {
        "text_generation": "/rpc/2.0/ai_custom/v1/text_generation/chat_completions",
        "v1": "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions",
        "v2": "/v2/chat/completions",
    }
    return Request(dialect, "chat", paths[dialect], {**model, "messages": messages, **more})


@DIALECTS
@settings(max_examples=30)
@given(st.data())
def test_valid_conversations_and_options_are_taken(dialect, data):
    request = chat(dialect, data.draw(conversations(dialect)), **data.draw(options(dialect)))
    status, body = answer(request)
    assert (status, code_of(body)) == (200, None), body


@pytest.mark.parametrize(("dialect", "operation"), FIELDS)
@settings(max_examples=6)
@given(st.data())
def test_valid_requests_of_every_operation_are_taken(dialect, operation, data):
    request = data.draw(requests(dialect, operation))
    status, body = answer(request)
    assert (status, code_of(body)) == (200, None), body
    assert request.stream == (body is None)


@settings(max_examples=50)
@given(requests("v2"))
def test_openai_takes_valid_requests_for_its_own(request):
    (STREAMING if request.stream else WHOLE).validate_python(request.body, strict=False)


def assert_refused(request: Request, invalid: Invalid[Any]) -> None:
    status, body = answer(request)
    assert (status, code_of(body), message_of(body)) == (invalid.spec.status, invalid.code, invalid.message), invalid


@DIALECTS
@settings(max_examples=40)
@given(st.data())
def test_invalid_conversations_are_refused_as_foretold(dialect, data):
    invalid = data.draw(invalid_conversations(dialect))
    assert_refused(chat(dialect, invalid.value), invalid)


@DIALECTS
@settings(max_examples=40)
@given(st.data())
def test_invalid_options_are_refused_as_foretold(dialect, data):
    invalid = data.draw(invalid_options(dialect))
    assert_refused(chat(dialect, [{"role": "user", "content": "0"}], **invalid.value), invalid)


@pytest.mark.parametrize(("dialect", "operation"), FIELDS)
@settings(max_examples=10)
@given(st.data())
def test_invalid_requests_of_every_operation_are_refused_as_foretold(dialect, operation, data):
    invalid = data.draw(invalid_requests(dialect, operation))
    assert_refused(invalid.value, invalid)


@DIALECTS
def test_every_flaw_of_the_table_comes_up(dialect):
    seen = set()

    @settings(max_examples=120, database=None, derandomize=True)
    @given(invalid_conversations(dialect, max_turns=1))
    def look(invalid):
        seen.add(invalid.why)

    look()
    assert seen == {flaw.why for flaw in FLAWS[dialect]}


@DIALECTS
def test_conversations_have_what_their_dialect_has(dialect):
    roles, members = set(), set()

    @settings(max_examples=60, database=None, derandomize=True)
    @given(conversations(dialect, max_turns=2))
    def look(messages):
        assert sum(message["role"] == "user" for message in messages) <= 2
        assert messages[-1]["role"] == "user"
        roles.update(message["role"] for message in messages)
        members.update(name for message in messages for name in message)

    look()
    assert (
        roles - {"user", "assistant"}
        == {"text_generation": set(), "v1": {"function"}, "v2": {"system", "tool"}}[dialect]
    )
    assert {"function_call", "tool_calls"} & members == (
        {"text_generation": set(), "v1": {"function_call"}, "v2": {"tool_calls"}}[dialect]
    )


@settings(max_examples=30)
@given(conversations("v2", calls=False, contents=st.just("你好")))
def test_conversations_say_what_they_are_told_to(messages):
    said = {json.dumps(message["content"], ensure_ascii=False) for message in messages}
    assert all("你好" in text for text in said)
    assert not any("tool_calls" in message for message in messages)


@settings(max_examples=40)
@given(texts(min_size=2, max_size=5))
def test_texts_are_as_long_as_asked_and_never_blank(text):
    assert 2 <= len(text) <= 5
    assert text.strip()
    text.encode()


KINDS = pytest.mark.parametrize(
    ("dialect", "usable"),
    [
        ("text_generation", {"access_key", "secret_key"}),
        ("v1", {"ak", "sk", "access_key", "secret_key"}),
        ("v2", {"bearer_token", "access_key", "secret_key"}),
    ],
)


@KINDS
def test_credentials_open_an_account_for_any_client_of_the_dialect(dialect, usable):
    seen = set()

    @settings(max_examples=12, database=None)
    @given(credentials(dialect).filter(lambda keys: keys.access_token is None))
    def check(keys):
        given_keys = {name: getattr(keys, name) for name in keys.__slots__ if getattr(keys, name)}
        seen.update(given_keys)
        with MockServer() as server:
            account = server.account(**given_keys)
            with Client(base_url=server.url, credentials=keys, dialect=dialect) as client:
                client.chat("0")
            assert account.requests[-1].ok

    check()
    assert seen == usable


@settings(max_examples=20)
@given(credentials())
def test_credentials_of_an_account_are_all_that_it_takes(keys):
    account = State().add_account(keys)
    assert account.credentials == keys
    assert keys.access_token is None
    assert isinstance(account, Account)
    assert Credentials(access_key=keys.access_key).access_key == keys.access_key


@settings(max_examples=60)
@given(quotas())
def test_quotas_are_put_on_an_account_and_print_the_line_that_does_so(quota):
    class Handle:
        def quota(self, **limits):
            self.limits = Limits(**limits)

    applied = quota.apply(Handle())
    pasted = Handle()
    eval(repr(quota), {"account": pasted})
    assert applied.limits == pasted.limits == quota.limits
    assert quota.limits.limited


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: conversations("v3"), "dialect is one of text_generation, v1, v2; got 'v3'"),
        (lambda: conversations(max_turns=0), "max_turns is a number of questions, from 1; got 0"),
        (lambda: options("v1", "painting"), "v1 has no operation 'painting'; it has chat, completions"),
        (lambda: options("v2", only=("temprature",)), "v2 chat has no option 'temprature'; it has stream_options"),
        (lambda: options(model="ernie-9"), "the table has no model 'ernie-9'; docs/models.md lists them"),
        (lambda: requests("v2", "embeddings", stream=True), "v2 embeddings has no streams"),
        (lambda: credentials("v3"), "dialect is one of text_generation, v1, v2; got 'v3'"),
        (lambda: quotas(only=["qpm"]), "there is no limit 'qpm'; there are qps, total"),
        (lambda: invalid_options("v2", only=()), "no option of v2 chat can be wrong"),
    ],
)
def test_wrong_arguments_are_refused_with_what_would_be_right(make, words):
    with pytest.raises(ValueError, match="(?s)" + words.replace("(", r"\(")):
        make()
