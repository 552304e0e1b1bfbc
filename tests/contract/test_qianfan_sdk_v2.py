"""The official Python SDK, unmodified, on v2: with a ready bearer token, and with one that it buys by IAM signature."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import qianfan
from contract_helpers import IAM_TOKEN, NO_LIMITER, QUIET, ask, at, collected, inference

pytestmark = QUIET

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"
CHAT = "/v2/chat/completions"
WITH_USAGE = {"stream_options": {"include_usage": True}}
CREDENTIALS = {"bearer": ("BEARER_TOKEN",), "iam": ("ACCESS_KEY", "SECRET_KEY")}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "天气",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(params=sorted(CREDENTIALS))
def scheme(request: pytest.FixtureRequest, sdk: Callable[..., None]) -> str:
    sdk(*CREDENTIALS[request.param])
    return request.param


@pytest.fixture
def bearer(sdk: Callable[..., None]) -> None:
    sdk("BEARER_TOKEN")


def check_stream(bodies: list[dict[str, Any]], text: str, *, usage: bool) -> None:
    """The rules of a v2 stream (wire reference 4.3)."""
    choices = [choice for body in bodies for choice in body["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == text
    assert len({body["id"] for body in bodies}) == 1
    assert {body["object"] for body in bodies} == {"chat.completion.chunk"}
    assert [choice.get("finish_reason") for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert all("finish_reason" not in choice for choice in choices[:-1])  # absent, not null
    assert all(choice["flag"] == 0 for choice in choices)
    assert ["usage" in body for body in bodies] == [False] * (len(bodies) - 1) + [usage]
    if usage:
        counts = bodies[-1]["usage"]
        assert counts["total_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"] > 0


def test_chat(account: Any, scheme: str) -> None:
    account.reply(POEM)
    answer = qianfan.ChatCompletion(version="2").do(messages=ask("背一首诗"), model="ernie-3.5-8k", temperature=0.8)
    assert answer.code == 200
    [choice] = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == POEM
    assert (choice["finish_reason"], choice["flag"], choice["index"]) == ("stop", 0, 0)
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "ernie-3.5-8k"
    assert answer["id"].startswith("as-")
    assert answer["usage"]["total_tokens"] == sum(
        answer["usage"][name] for name in ("prompt_tokens", "completion_tokens")
    )

    [entry] = inference(account)
    assert (entry.dialect, entry.path, entry.status) == ("v2", CHAT, 200)
    assert entry.json["model"] == "ernie-3.5-8k"
    bought = at(account, IAM_TOKEN)
    assert len(bought) == (1 if scheme == "iam" else 0)
    for entry in bought:
        assert entry.signature.ok
        assert entry.signature.scheme == "bce-auth-v1"


def test_one_bought_token_serves_many_calls(account: Any, sdk: Callable[..., None]) -> None:
    sdk("ACCESS_KEY", "SECRET_KEY")
    chat = qianfan.ChatCompletion(version="2")
    for _ in range(3):
        assert chat.do(messages=ask("你好"))["choices"]
    assert len(at(account, IAM_TOKEN)) == 1
    assert [entry.status for entry in inference(account)] == [200, 200, 200]


@pytest.mark.parametrize("usage", [False, True])
def test_stream(account: Any, scheme: str, usage: bool) -> None:
    account.reply(POEM)
    extra = WITH_USAGE if usage else {}
    events = list(qianfan.ChatCompletion(version="2").do(messages=ask("背一首诗"), stream=True, **extra))
    assert len(events) > 1
    check_stream([event.body for event in events], POEM, usage=usage)
    [entry] = inference(account)
    assert (entry.dialect, entry.status, entry.json["stream"]) == ("v2", 200, True)


def test_stream_and_whole_answer_say_and_count_the_same(account: Any, bearer: None) -> None:
    account.reply(POEM, times=2)
    chat = qianfan.ChatCompletion(version="2")
    whole = chat.do(messages=ask("背一首诗"))
    events = [event.body for event in chat.do(messages=ask("背一首诗"), stream=True, **WITH_USAGE)]
    check_stream(events, whole["choices"][0]["message"]["content"], usage=True)
    assert events[-1]["usage"] == whole["usage"]


@pytest.mark.parametrize("usage", [False, True])
def test_async(account: Any, scheme: str, usage: bool) -> None:
    account.reply(POEM, times=2)
    extra = WITH_USAGE if usage else {}

    async def talk() -> tuple[Any, list[Any]]:
        chat = qianfan.ChatCompletion(version="2", **NO_LIMITER)
        whole = await chat.ado(messages=ask("背一首诗"))
        return whole, await collected(await chat.ado(messages=ask("背一首诗"), stream=True, **extra))

    whole, events = asyncio.run(talk())
    assert whole["choices"][0]["message"]["content"] == POEM
    check_stream([event.body for event in events], POEM, usage=usage)
    assert [entry.status for entry in inference(account)] == [200, 200]


def test_typed_client(account: Any, scheme: str) -> None:
    # create() reads the answer with pydantic models, which are stricter than do(), which hands out the JSON.
    account.reply(POEM, times=2)
    client = qianfan.Qianfan()
    whole = client.chat.completions.create(messages=ask("背一首诗"), model="ernie-4.0-turbo-8k")
    assert whole.choices[0].message.content == POEM
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.model == "ernie-4.0-turbo-8k"
    chunks = list(client.chat.completions.create(messages=ask("背一首诗"), stream=True, **WITH_USAGE))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == POEM
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage == whole.usage


def test_typed_async_client(account: Any, bearer: None) -> None:
    account.reply(POEM)
    whole = asyncio.run(qianfan.Qianfan().chat.completions.acreate(messages=ask("背一首诗")))
    assert whole.choices[0].message.content == POEM


def test_typed_async_stream(account: Any, bearer: None) -> None:
    account.reply(POEM)

    async def talk() -> list[Any]:
        return await collected(await qianfan.Qianfan().chat.completions.acreate(messages=ask("背一首诗"), stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in asyncio.run(talk())) == POEM


def test_appid_goes_along(account: Any, sdk: Callable[..., None]) -> None:
    sdk("BEARER_TOKEN", APP_ID="app-FAKE0001")
    assert qianfan.ChatCompletion(version="2").do(messages=ask("你好"))["choices"]
    assert inference(account)[-1].header("appid") == "app-FAKE0001"


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_accepted(account: Any, bearer: None, stream: bool) -> None:
    # A stream's deltas must carry whole tool calls: the SDK's models need id, type and function.name in each (4.3).
    client = qianfan.Qianfan()
    messages = [{"role": "system", "content": "你是助手"}, *ask("北京天气")]
    answer = client.chat.completions.create(messages=messages, tools=[WEATHER], tool_choice="auto", stream=stream)
    said = [chunk.choices[0].delta for chunk in answer] if stream else [answer.choices[0].message]
    assert any(part.content or part.tool_calls for part in said)
    assert inference(account)[-1].json["tools"] == [WEATHER]


def test_a_whole_tool_conversation_is_accepted(account: Any, bearer: None) -> None:
    account.reply("北京晴。")
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "北京"}'}}
    messages = [
        *ask("北京天气"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "晴"},
    ]
    answer = qianfan.ChatCompletion(version="2").do(messages=messages, tools=[WEATHER])
    assert answer["choices"][0]["message"]["content"] == "北京晴。"


def test_bearer_token_says_how_long_it_lives(account: Any, sdk: Callable[..., None]) -> None:
    from qianfan.resources.console.iam import IAM

    sdk("ACCESS_KEY", "SECRET_KEY")
    for seconds in (100, 43200):
        bought = IAM.create_bearer_token(expire_in_seconds=seconds).body
        assert bought["token"].startswith("bce-v3/ALTAK-")
        assert bought["status"] == "enable"
        created, expires = (
            datetime.fromisoformat(bought[name].replace("Z", "+00:00")) for name in ("createTime", "expireTime")
        )
        assert expires - created == timedelta(seconds=seconds)
    assert [entry.signature.ok for entry in at(account, IAM_TOKEN)] == [True, True]


def test_a_token_about_to_expire_is_bought_again(account: Any, sdk: Callable[..., None]) -> None:
    # The SDK buys a new one ten seconds before expireTime: with five seconds of life, for every call.
    sdk("ACCESS_KEY", "SECRET_KEY", BEARER_TOKEN_EXPIRED_INTERVAL="5", ACCESS_TOKEN_REFRESH_MIN_INTERVAL="0")
    chat = qianfan.ChatCompletion(version="2")
    chat.do(messages=ask("你好"))
    before = len(at(account, IAM_TOKEN))
    chat.do(messages=ask("你好"))
    assert len(at(account, IAM_TOKEN)) == before + 1
    assert [entry.status for entry in inference(account)] == [200, 200]


def test_the_environment_of_an_account_as_it_stands(
    account: Any, sdk: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a user does: os.environ.update(account.env()), every credential at once.
    sdk()
    for name, value in account.env().items():
        monkeypatch.setenv(name, value)
    account.reply("一").reply("二")
    assert qianfan.ChatCompletion().do(messages=ask("1"))["result"] == "一"
    assert qianfan.ChatCompletion(version="2").do(messages=ask("2"))["choices"][0]["message"]["content"] == "二"
