"""Properties of a small program that talks to Qianfan, held for whatever qfkit's strategies come up with."""

import json

import pytest
from hypothesis import HealthCheck, given, settings

from mock_server import MockServer
from qfkit import APIError, Client, RetryPolicy
from qfkit.testing.clock import SkippingClock
from qfkit.testing.strategies import (
    answer_streams,
    conversations,
    error_scripts,
    invalid_options,
    options,
    splits,
)

# The program under test


def trimmed(messages, limit):
    """The latest turns whose texts have no more than ``limit`` characters together; the last question always stays."""
    kept = list(messages)
    while len(kept) > 1 and sum(len(message["content"]) for message in kept) > limit:
        del kept[:2]  # a question and its answer
    return kept


def text_of(pieces):
    """The text of a v2 stream, whose bytes come in any pieces."""
    held, text = b"", ""
    for piece in pieces:
        held += piece
        *lines, held = held.split(b"\n")
        for line in lines:
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                choices = json.loads(line[6:])["choices"]
                text += "".join(choice["delta"].get("content", "") for choice in choices)
    return text


# Its properties


@given(conversations("v1", calls=False))
def test_a_trimmed_conversation_is_one_still(messages):
    kept = trimmed(messages, limit=20)
    assert kept == messages[-len(kept) :]
    assert len(kept) % 2 == 1


@given(answer_streams("v2", framing=False).flatmap(lambda stream: splits(stream.data).map(lambda cut: (stream, cut))))
def test_a_stream_is_read_in_whatever_pieces_it_comes(drawn):
    stream, pieces = drawn
    assert text_of(pieces) == stream.text


@pytest.fixture(scope="module")
def server():
    with MockServer() as running:
        yield running


# The mock is started once; each example gets an account of its own.
quick = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@quick
@given(error_scripts("v1", retryable=True, max_failures=3, answered=True), options("v1"))
def test_what_is_worth_another_attempt_gets_one(server, script, chosen):
    account = script.apply(server.account())
    policy = RetryPolicy(attempts=len(script))
    with Client(account.url, account.credentials, "v1", retry=policy, clock=SkippingClock()) as client:
        reply = client.chat("你好", **chosen)
    assert reply.text == script.steps[-1].text
    assert account.waiting == []


@quick
@given(invalid_options("v2"))
def test_the_caller_is_told_what_is_wrong(server, invalid):
    account = server.account()
    with Client(account.url, account.credentials, "v2") as client, pytest.raises(APIError) as caught:
        client.chat("你好", **invalid.value)
    assert (caught.value.code, caught.value.message) == (invalid.code, invalid.message)
