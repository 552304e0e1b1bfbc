"""What a failing test shows in the end is the simplest value that fails."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from qfkit.protocol.sse import Event
from qfkit.testing.strategies import (
    answer_streams,
    conversations,
    credentials,
    error_scripts,
    fault_scripts,
    invalid_conversations,
    invalid_options,
    invalid_requests,
    options,
    quotas,
    requests,
    splits,
    sse_streams,
    texts,
)


def least(strategy, predicate=lambda value: True):
    steady = settings(max_examples=2000, database=None, derandomize=True, phases=[Phase.generate, Phase.shrink])
    return find(strategy, predicate, settings=steady)


ASK = {"role": "user", "content": "0"}
SAY = {"role": "assistant", "content": "0"}


@pytest.mark.parametrize(
    ("strategy", "predicate", "simplest"),
    [
        (texts(), lambda text: True, "0"),
        (texts(), lambda text: len(text.encode()) > len(text) + 1, "ࠀ"),
        (conversations("v2"), lambda messages: True, [ASK]),
        (conversations(), lambda messages: len(messages) > 1, [ASK, SAY, ASK]),
        (
            conversations("v2"),
            lambda messages: messages[0]["role"] == "system",
            [{"role": "system", "content": "0"}, ASK],
        ),
        (
            conversations("v1"),
            lambda messages: any("function_call" in message for message in messages),
            [
                ASK,
                {"role": "assistant", "content": "", "function_call": {"name": "a", "arguments": "{}"}},
                {"role": "function", "content": "0", "name": "a"},
                SAY,
                ASK,
            ],
        ),
        (options("v1"), lambda chosen: True, {}),
        (options("v2"), lambda chosen: "stop" in chosen, {"stop": "0"}),
        (options(), lambda chosen: chosen.get("max_tokens", 0) > 5, {"max_tokens": 6}),
    ],
)
def test_what_is_valid(strategy, predicate, simplest):
    assert least(strategy, predicate) == simplest


@pytest.mark.parametrize(
    ("strategy", "predicate", "simplest"),
    [
        (invalid_conversations(), lambda invalid: True, []),
        (
            invalid_conversations("v2"),
            lambda invalid: invalid.code == "invalid_messages",
            [{"role": "user", "content": ""}],
        ),
        (invalid_conversations("v1"), lambda invalid: "odd number" in invalid.message, [ASK, SAY]),
        (
            invalid_conversations("v1"),
            lambda invalid: "even index" in invalid.message,
            [{"role": "assistant", "content": "0"}],
        ),
        (
            invalid_conversations(),
            lambda invalid: "characters" in invalid.message,
            [{"role": "user", "content": "长" * 4096}],
        ),
        (invalid_options(), lambda invalid: True, {"temperature": "0.5"}),
        (
            invalid_options(),
            lambda invalid: "range" in invalid.message and "max_tokens" in invalid.value,
            {"max_tokens": 0},
        ),
        (
            invalid_options("v1"),
            lambda invalid: invalid.problem.field == "stop" and "at most 4" in invalid.message,
            {"stop": ["0"] * 5},
        ),
    ],
)
def test_what_is_invalid(strategy, predicate, simplest):
    assert least(strategy, predicate).value == simplest


def test_requests():
    assert least(requests("v1")).body == {"messages": [ASK]}
    assert least(requests()).dialect == "text_generation"
    assert least(requests("v2"), lambda request: request.stream).body == {
        "model": "ernie-3.5-8k",
        "messages": [ASK],
        "stream": True,
    }
    assert least(requests("v2", "embeddings")).body == {"model": "embedding-v1", "input": "0"}
    assert least(invalid_requests("v2")).value.content == b""
    found = least(invalid_requests("v2"), lambda invalid: invalid.problem.field == "model")
    assert found.value.body == {"messages": [ASK]}


@pytest.mark.parametrize(
    ("strategy", "predicate", "simplest"),
    [
        (error_scripts(), lambda script: True, "account.fail(429)"),
        (error_scripts("v1"), lambda script: True, "account.fail(18)"),
        (error_scripts("v2"), lambda script: 429 in [step.said for step in script], "account.fail(429)"),
        (error_scripts("v1", answered=True), lambda script: True, "account.fail(18).then.reply('0')"),
        (error_scripts("v1"), lambda script: len(script) > 2, "account.fail(18, times=3)"),
        (
            error_scripts("v1"),
            lambda script: [step.error("v1") and step.error("v1").retryable for step in script] == [True, False],
            "account.fail(18).then.fail(3)",
        ),
        (
            error_scripts(),
            lambda script: any("retry_after" in step.options for step in script),
            "account.fail(429, retry_after=0)",
        ),
        (fault_scripts(), lambda script: True, "account.fault('close')"),
        (
            fault_scripts(only=["cut"], answered=True),
            lambda script: True,
            "account.stream(['0'], cut_after=0, cut='clean').then.reply('0')",
        ),
        (
            fault_scripts("v1", only=["error"]),
            lambda script: True,
            "account.stream(['0'], error_after=0, error=18)",
        ),
        (quotas(), lambda quota: True, "account.quota(qps=1)"),
        (
            quotas(),
            lambda quota: quota.limits.tpm and quota.limits.window == "bucket",
            "account.quota(tpm=100, window='bucket')",
        ),
    ],
)
def test_scripts_and_quotas_are_a_line_to_paste(strategy, predicate, simplest):
    assert repr(least(strategy, predicate)) == simplest


def test_streams_and_splits():
    assert least(sse_streams()).data == b""
    assert least(sse_streams(), lambda stream: stream.events).data == b"data: \n\n"
    assert least(sse_streams(), lambda stream: any(event.id for event in stream.events)).events == (Event("", id="0"),)
    assert least(answer_streams("v1")).pieces == ("0",)
    assert least(splits(b"data: x\r\n\r\n")) == [b"data: x\r\n\r\n"]
    assert least(splits("你好".encode()), lambda pieces: len(pieces) > 1) == [b"\xe4", b"\xbd\xa0\xe5\xa5\xbd"]


def test_credentials():
    assert least(credentials("v1")).ak == "0" * 24


BY_DIALECT = (conversations, invalid_conversations, options, invalid_options, requests, invalid_requests)
EACH = {
    **{f"{make.__name__} {dialect}": make(dialect) for make in BY_DIALECT for dialect in ("v1", "v2")},
    **{
        make.__name__: make()
        for make in (error_scripts, fault_scripts, answer_streams, quotas, sse_streams, credentials)
    },
    "splits": splits(sse_streams().map(lambda stream: stream.data)),
}


@pytest.mark.parametrize("strategy", EACH.values(), ids=EACH)
def test_hypothesis_finds_them_healthy(strategy):
    """No example is filtered away too often, too large or too slow: with the checks that the suite switches off."""

    @settings(max_examples=10, database=None, suppress_health_check=[HealthCheck.nested_given], phases=[Phase.generate])
    @given(strategy)
    def draw(value):
        pass

    draw()
