"""The reference client against the mock: every dialect, every auth scheme, whole and streamed.

Each end is held to other people's code in its own tests; here they meet.
"""

from __future__ import annotations

import dataclasses
from random import Random

import pytest

from qfkit import (
    AuthenticationError,
    BadRequestError,
    Client,
    Credentials,
    PermissionDeniedError,
    QianfanError,
    RateLimitError,
    RetryPolicy,
    StreamTruncated,
)
from qfkit.testing.clock import SkippingClock

#: Scheme -> dialect, and the keys that make the client choose it.
WAYS = {
    "hmac": ("text_generation", ("access_key", "secret_key")),
    "access-token": ("v1", ("ak", "sk")),
    "bce-auth-v1": ("v1", ("access_key", "secret_key")),
    "api-key": ("v2", ("bearer_token",)),
    "iam-token": ("v2", ("access_key", "secret_key")),
}


@pytest.fixture
def clock():
    return SkippingClock()


@pytest.fixture(params=WAYS)
def client(request, account, clock):
    dialect, names = WAYS[request.param]
    keys = Credentials(**{name: getattr(account.credentials, name) for name in names})
    with Client(account.url, keys, dialect, clock=clock, random=Random(3)) as client:
        yield client


@pytest.fixture(params=["chat", "stream"])
def ask(request, client):
    """Ask, whole or streamed, and return the whole reply."""
    if request.param == "chat":
        return client.chat
    return lambda *arguments, **params: client.stream(*arguments, **params).reply()


def chats(account):
    return [entry for entry in account.requests if entry.operation == "chat"]


def test_an_answer_arrives(ask, account, client):
    account.reply("你好,世界")
    reply = ask("你好", temperature=0.7)
    assert reply.text == "你好,世界"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
    assert reply.finish_reason == ("normal" if client.dialect == "v1" else "stop")
    (entry,) = chats(account)
    assert entry.json["temperature"] == 0.7
    if entry.signature is not None:
        assert entry.signature.ok
        assert entry.signature.findings == ()
    assert [attempt.status for attempt in reply.attempts] == [200]


@pytest.mark.parametrize("code", [18, 336100, 2, 429, 500, 503, "rpm_rate_limit_exceeded", "internal_error"])
def test_passing_failures_are_retried(ask, account, clock, code):
    account.fail(code, times=2).then.reply("好")
    reply = ask("你好")
    assert reply.text == "好"
    assert len(chats(account)) == len(reply.attempts) == 3
    assert len(clock.sleeps) == 2
    # The mock says how long to wait with a 429 of text_generation, as the service does (design notes 4).
    assert {attempt.wait_reason for attempt in reply.attempts[1:]} <= {"backoff", "retry-after"}


def test_retry_after_is_waited(ask, account, clock):
    account.fail(429, retry_after=1.5).then.reply("好")
    assert ask("你好").attempts[1].wait_reason == "retry-after"
    (waited,) = clock.sleeps
    assert waited in {1.5, 2.0}  # the header's seconds are whole, unless the mock also says milliseconds


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (17, (RateLimitError, PermissionDeniedError)),
        (336003, BadRequestError),
        (401, AuthenticationError),
        ("malformed_json", BadRequestError),
    ],
)
def test_lasting_failures_are_not(ask, account, clock, code, kind):
    account.fail(code, times=5)
    with pytest.raises(kind) as caught:
        ask("你好")
    assert clock.sleeps == ()
    assert caught.value.spec.retryable is False
    assert caught.value.gave_up is None


def test_failures_that_last_are_given_up(ask, account, clock):
    account.fail(336100, times=9)
    with pytest.raises(QianfanError, match=r"gave up: RetryPolicy.attempts=3"):
        ask("你好")
    assert len(chats(account)) == 3


def test_expired_tokens_are_renewed(ask, account, client, clock):
    ask("一")
    expired = account.expire_tokens()
    reply = ask("二")
    if expired:
        assert [attempt.wait_reason for attempt in reply.attempts] == [None, "token-refresh"]
    else:
        assert len(reply.attempts) == 1
    assert clock.sleeps == ()


@pytest.mark.parametrize("verb", ["chat", "stream"])
@pytest.mark.parametrize("way", WAYS)
def test_wrong_keys_are_refused_and_explained(server, clock, way, verb):
    account = server.account()
    dialect, names = WAYS[way]
    wrong = {name: f"{getattr(account.credentials, name)}wrong" for name in names[-1:]}
    keys = dataclasses.replace(Credentials(**{name: getattr(account.credentials, name) for name in names}), **wrong)
    with Client(account.url, keys, dialect, clock=clock) as client, pytest.raises(AuthenticationError) as caught:
        getattr(client, verb)("你好")
    assert caught.value.diagnosis
    for secret in (*keys.secrets(), *account.credentials.secrets()):
        assert secret not in str(caught.value)


def test_a_cut_stream_is_truncated_and_keeps_its_text(client, account):
    account.stream(["一", "二", "三"], cut_after=2)
    with pytest.raises(StreamTruncated) as caught:
        list(client.stream("数"))
    assert caught.value.text == "一二"
    assert len(chats(account)) == 1


def test_a_stream_cut_before_its_first_content_is_sent_again(client, account):
    account.stream(["一"], cut_after=0).then.reply("好")
    said = client.stream("数")
    assert said.reply().text == "好"
    assert len(said.attempts) == 2


def test_reasoning_and_tool_calls(account):
    account.reply("晴", reasoning="想一想", times=2)
    account.then.reply("", tool_calls=[{"name": "weather", "arguments": {"city": "北京"}}], times=2)
    with Client(account.url, account.credentials, "v2") as client:
        for reply in (client.chat("a"), client.stream("a").reply()):
            assert (reply.text, reply.reasoning) == ("晴", "想一想")
        for reply in (client.chat("b"), client.stream("b").reply()):
            (call,) = reply.tool_calls
            assert call["function"] == {"name": "weather", "arguments": '{"city":"北京"}'}
            assert reply.finish_reason == "tool_calls"


def test_from_env_finds_the_mock(account):
    for dialect in ("text_generation", "v1", "v2"):
        with Client.from_env(account.env(), dialect=dialect) as client:
            assert client.base_url == account.url
            assert client.chat("你好").text


def test_system_prompts_are_accepted_everywhere(client, account):
    assert client.chat("你好", system="你是助手").text
    assert client.chat(
        [{"role": "user", "content": "一"}, {"role": "assistant", "content": "二"}, {"role": "user", "content": "三"}]
    ).text


def test_a_policy_of_one_attempt(client, account):
    account.fail(336100)
    with (
        Client(client.base_url, account.credentials, client.dialect, retry=RetryPolicy(attempts=1)) as impatient,
        pytest.raises(QianfanError),
    ):
        impatient.chat("你好")
    assert len(chats(account)) == 1
