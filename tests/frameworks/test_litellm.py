"""LiteLLM on v2, as any endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

from typing import Any

import pytest
from frameworks_helpers import WEATHER, needed, only

needed("litellm")

import litellm  # noqa: E402

MODEL = "openai/ernie-4.0-turbo-8k"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "suppress_debug_info", True)


def ask(text: str = "你好", **options: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_retries": 0, **options}


def test_completion(account: Any) -> None:
    account.reply("晴")
    answer = litellm.completion(**ask("天气?", temperature=0.5))
    assert answer.choices[0].message.content == "晴"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens > 0
    entry = only(account)
    assert (entry.dialect, entry.status, entry.model) == ("v2", 200, "ernie-4.0-turbo-8k")
    assert entry.json["temperature"] == 0.5


def test_by_arguments_instead_of_variables(account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    where = {"api_base": f"{account.url}/v2", "api_key": account.credentials.bearer_token}
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name)
    account.reply("晴")
    assert litellm.completion(**ask(), **where).choices[0].message.content == "晴"


def test_stream(account: Any) -> None:
    account.stream(["一", "二", "三"])
    chunks = list(litellm.completion(**ask("数", stream=True, stream_options={"include_usage": True})))
    assert [text for chunk in chunks for choice in chunk.choices if (text := choice.delta.content)] == [
        "一",
        "二",
        "三",
    ]
    whole = litellm.stream_chunk_builder(chunks)
    assert whole.choices[0].message.content == "一二三"


def test_async(account: Any, run: Any) -> None:
    account.reply("晴").then.stream(["一", "二"])

    async def talk() -> tuple[str, list[str]]:
        whole = await litellm.acompletion(**ask("天气?"))
        stream = await litellm.acompletion(**ask("数", stream=True))
        pieces = [chunk.choices[0].delta.content async for chunk in stream]
        return whole.choices[0].message.content, [piece for piece in pieces if piece]

    assert run(talk()) == ("晴", ["一", "二"])


@pytest.mark.parametrize("stream", [False, True])
def test_tools(account: Any, stream: bool) -> None:
    account.call_tool("weather", {"city": "北京"})
    answer = litellm.completion(**ask("北京天气", tools=[WEATHER], stream=stream))
    if stream:
        answer = litellm.stream_chunk_builder(list(answer))
    [call] = answer.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"北京"}')
    assert answer.choices[0].finish_reason == "tool_calls"


def test_reasoning(account: Any) -> None:
    account.reply("晴", reasoning="想一想")
    answer = litellm.completion(**ask())
    assert answer.choices[0].message.reasoning_content == "想一想"


def test_embedding(account: Any) -> None:
    made = litellm.embedding(model="openai/embedding-v1", input=["你好", "再见"])
    assert [len(row["embedding"]) for row in made.data] == [384, 384]
    assert made.usage.total_tokens > 0


#: Its own reading of an endpoint like OpenAI's: where ``error.type`` is invalid_request_error it says BadRequestError,
#: Qianfan's 401 included; a 403 has no exception of its own (`litellm.exception_mapping_utils`).
ERRORS = {
    "invalid_iam_token": (litellm.BadRequestError, 401),
    "account_overdue": (litellm.APIError, 403),
    "malformed_json": (litellm.BadRequestError, 400),
    "rpm_rate_limit_exceeded": (litellm.RateLimitError, 429),
    "internal_error": (litellm.InternalServerError, 500),
}


@pytest.mark.parametrize("way", ["whole", "stream", "async"])
@pytest.mark.parametrize("code", ERRORS)
def test_errors(account: Any, run: Any, code: str, way: str) -> None:
    account.fail(code)
    kind, status = ERRORS[code]
    with pytest.raises(kind) as caught:
        _ = {
            "whole": lambda: litellm.completion(**ask()),
            "stream": lambda: list(litellm.completion(**ask(stream=True))),
            "async": lambda: run(litellm.acompletion(**ask())),
        }[way]()
    assert (type(caught.value), caught.value.status_code) == (kind, status)
    assert only(account).error_message in caught.value.message


def test_an_error_in_the_middle_of_a_stream(account: Any) -> None:
    account.stream(["一", "二"], error_after=1, error="internal_error")
    seen: list[Any] = []
    with pytest.raises(litellm.exceptions.MidStreamFallbackError, match="Internal error"):
        seen.extend(chunk.choices[0].delta.content for chunk in litellm.completion(**ask("数", stream=True)))
    assert seen == ["一"]


def test_it_tries_again_when_told(account: Any) -> None:
    account.fail("internal_error", retry_after=0.01).then.reply("好")
    assert litellm.completion(**ask() | {"max_retries": 1}).choices[0].message.content == "好"
