"""openai-python, unmodified, on v2: nothing is told but where the server is and which key to use."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from contract_helpers import Naps, ask, inference

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"
MODEL = "ernie-4.0-turbo-8k"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, account: Any) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, account.env()[name])


@pytest.fixture
def client(server: Any, account: Any, naps: Naps) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v2", api_key=account.credentials.bearer_token) as made:
        yield made


def chat(client: openai.OpenAI, text: str = "你好", **options: Any) -> Any:
    return client.chat.completions.create(**{"model": MODEL, "messages": ask(text), **options})


def said(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def test_chat(account: Any, client: openai.OpenAI) -> None:
    account.reply(POEM)
    messages = [{"role": "system", "content": "你是助手"}, *ask("背一首诗")]
    answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0.8)
    assert answer.choices[0].message.content == POEM
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.object, answer.model) == ("chat.completion", MODEL)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0

    [entry] = inference(account)
    assert (entry.dialect, entry.path, entry.status) == ("v2", "/v2/chat/completions", 200)
    assert entry.json["messages"] == messages
    assert not entry.error_code


def test_chat_without_a_script(client: openai.OpenAI) -> None:
    assert chat(client).choices[0].message.content


def test_from_the_environment_alone(account: Any) -> None:
    account.reply("好")
    with openai.OpenAI() as client:
        assert chat(client).choices[0].message.content == "好"


def test_stream_with_usage(account: Any, client: openai.OpenAI) -> None:
    account.reply(POEM, times=2)
    whole = chat(client)
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert len(chunks) > 1
    assert said(chunks) == POEM
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert finishes == [None] * (len(finishes) - 1) + ["stop"]
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage == whole.usage


def test_stream_without_usage(account: Any, client: openai.OpenAI) -> None:
    account.stream(["你", "好", "😀"])
    chunks = list(chat(client, stream=True))
    assert [piece for piece in (said([chunk]) for chunk in chunks) if piece] == ["你", "好", "😀"]
    assert all(chunk.usage is None for chunk in chunks)


def test_stream_that_its_own_accumulator_puts_together(account: Any, client: openai.OpenAI) -> None:
    account.reply(POEM)
    with client.chat.completions.stream(model=MODEL, messages=ask("背一首诗")) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert final.choices[0].message.content == POEM
    assert "content.delta" in kinds
    assert "content.done" in kinds


def test_a_stream_that_is_left_early(account: Any, client: openai.OpenAI) -> None:
    account.stream(["一", "二", "三"])
    account.reply("好")
    with chat(client, stream=True) as stream:
        next(iter(stream))
    assert chat(client).choices[0].message.content == "好"


def test_a_stream_that_is_cut(account: Any, client: openai.OpenAI) -> None:
    account.stream(["一", "二", "三"], cut_after=2)
    chunks: list[Any] = []
    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        chunks.extend(chat(client, stream=True))
    assert chat(client).choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_async(server: Any, account: Any, stream: bool) -> None:
    account.reply(POEM)

    async def talk() -> str:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v2", api_key=account.credentials.bearer_token) as client:
            answer = await client.chat.completions.create(model=MODEL, messages=ask("背一首诗"), stream=stream)
            return said([chunk async for chunk in answer]) if stream else answer.choices[0].message.content

    assert asyncio.run(talk()) == POEM
    assert inference(account)[-1].header("x-stainless-async") == "async:asyncio"


def test_many_at_once(account: Any) -> None:
    account.reply("好", times=20)

    async def talk() -> list[str]:
        async with openai.AsyncOpenAI() as client:
            calls = [client.chat.completions.create(model=MODEL, messages=ask(f"问题{n}")) for n in range(20)]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    assert asyncio.run(talk()) == ["好"] * 20
    assert len({entry.json["messages"][0]["content"] for entry in inference(account)}) == 20


def test_tools_are_accepted(account: Any, client: openai.OpenAI) -> None:
    answer = chat(client, "北京天气", tools=[WEATHER], tool_choice="auto", parallel_tool_calls=True)
    message = answer.choices[0].message
    assert message.content or message.tool_calls
    assert inference(account)[-1].json["tools"] == [WEATHER]


@pytest.mark.parametrize("stream", [False, True])
def test_scripted_tool_call(account: Any, client: openai.OpenAI, stream: bool) -> None:
    account.reply(tool_calls=[{"name": "weather", "arguments": {"city": "北京"}}])
    account.reply("北京晴。")
    if stream:
        with client.chat.completions.stream(model=MODEL, messages=ask("北京天气"), tools=[WEATHER]) as events:
            choice = events.get_final_completion().choices[0]
    else:
        choice = chat(client, "北京天气", tools=[WEATHER]).choices[0]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert (call.type, call.function.name) == ("function", "weather")
    assert json.loads(call.function.arguments) == {"city": "北京"}
    assert call.id

    messages = [
        *ask("北京天气"),
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "晴"},
    ]
    told = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert told.choices[0].message.content == "北京晴。"


def test_reasoning(account: Any, client: openai.OpenAI) -> None:
    account.reply("四十二", reasoning="想了七百五十万年", times=2)
    message = chat(client, model="deepseek-r1").choices[0].message
    assert (message.content, message.model_extra["reasoning_content"]) == ("四十二", "想了七百五十万年")
    deltas = [chunk.choices[0].delta for chunk in chat(client, model="deepseek-r1", stream=True)]
    assert "".join((delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas) == "想了七百五十万年"
    assert "".join(delta.content or "" for delta in deltas) == "四十二"


def test_pictures_in_a_message(account: Any, client: openai.OpenAI) -> None:
    account.reply("一只猫")
    parts = [
        {"type": "text", "text": "这是什么？"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(b'PNG').decode()}"}},
    ]
    answer = chat(client, model="ernie-4.5-turbo-vl", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "一只猫"


def test_extra_fields_and_headers_go_along(account: Any, client: openai.OpenAI) -> None:
    chat(
        client, extra_body={"web_search": {"enable": True}}, extra_headers={"appid": "app-FAKE0001"}, seed=7, user="u1"
    )
    [entry] = inference(account)
    assert entry.json["web_search"] == {"enable": True}
    assert entry.header("appid") == "app-FAKE0001"
    assert entry.status == 200


def test_embeddings(account: Any, client: openai.OpenAI) -> None:
    texts = ["你好", "world"]
    by_default = client.embeddings.create(model="embedding-v1", input=texts)
    as_floats = client.embeddings.create(model="embedding-v1", input=texts, encoding_format="float")
    # By default it asks for base64. The service knows floats only, and that is accepted too (wire reference 4.4).
    assert [entry.json["encoding_format"] for entry in inference(account)] == ["base64", "float"]
    for answer in (by_default, as_floats):
        assert [row.index for row in answer.data] == [0, 1]
        assert all(len(row.embedding) == 384 for row in answer.data)
        assert answer.usage.total_tokens > 0
    for one, other in zip(by_default.data, as_floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert by_default.data[0].embedding != by_default.data[1].embedding


def test_scripted_embeddings(account: Any, client: openai.OpenAI) -> None:
    account.on(operation="embeddings").reply(vectors=[[1, 0.5], [0.25, -1.0]])
    rows = client.embeddings.create(model="embedding-v1", input=["一", "二", "三"]).data
    assert [row.embedding for row in rows[:2]] == [[1, 0.5], [0.25, -1.0]]
    assert len(rows[2].embedding) == 384  # not scripted: made up


def test_embedding_of_one_text(client: openai.OpenAI) -> None:
    [row] = client.embeddings.create(model="bge-large-zh", input="你好").data
    assert len(row.embedding) == 1024


def test_models(account: Any, client: openai.OpenAI) -> None:
    listed = list(client.models.list())
    assert {model.object for model in listed} == {"model"}
    names = [model.id for model in listed]
    assert len(set(names)) == len(names)
    assert {"ernie-4.0-8k", "ernie-3.5-8k", "deepseek-v3", "embedding-v1"} <= set(names)
    assert inference(account)[-1].method == "GET"


def test_every_listed_chat_model_answers(client: openai.OpenAI) -> None:
    chat_models = [model.id for model in client.models.list() if (model.model_extra or {}).get("type") == "chat"]
    assert len(chat_models) > 10
    for name in chat_models:
        assert chat(client, model=name).model == name


def test_images(account: Any, client: openai.OpenAI) -> None:
    pictures = client.images.generate(model="irag-1.0", prompt="一只猫", size="1024x1024")
    assert all(picture.url for picture in pictures.data)


# Retries: it tries 408, 409, 429 and 5xx again, twice, and waits as it is told


@pytest.mark.parametrize("retry_after", [1, 1.5, 7])
def test_retry_after_is_understood(account: Any, client: openai.OpenAI, naps: Naps, retry_after: float) -> None:
    account.fail(429, times=1, retry_after=retry_after).then.reply("好")
    assert chat(client).choices[0].message.content == "好"
    assert naps.asked == [retry_after]
    entries = inference(account)
    assert [entry.status for entry in entries] == [429, 200]
    assert [entry.header("x-stainless-retry-count") for entry in entries] == ["0", "1"]


def test_retry_after_is_understood_async(account: Any, naps: Naps) -> None:
    account.fail(429, times=1, retry_after=3).then.reply("好")

    async def talk() -> str:
        async with openai.AsyncOpenAI() as client:
            return (await client.chat.completions.create(model=MODEL, messages=ask("你好"))).choices[0].message.content

    assert asyncio.run(talk()) == "好"
    assert naps.long == [3]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("code", [429, 500, "rpm_rate_limit_exceeded", 18, 336100])
def test_two_retries_by_itself(account: Any, client: openai.OpenAI, naps: Naps, code: Any, stream: bool) -> None:
    account.fail(code, times=2).then.reply("好")
    answer = chat(client, stream=stream)
    assert (said(list(answer)) if stream else answer.choices[0].message.content) == "好"
    assert len(naps.long) == 2
    assert all(0.3 < wait <= 1 for wait in naps.long)  # its own back-off: nobody sent Retry-After
    assert len(inference(account)) == 3


# Errors


@pytest.mark.parametrize(
    "case",
    [
        (429, openai.RateLimitError, "rpm_rate_limit_exceeded"),
        ("tpm_rate_limit_exceeded", openai.RateLimitError, "tpm_rate_limit_exceeded"),
        (400, openai.BadRequestError, None),
        (401, openai.AuthenticationError, None),
        ("account_overdue", openai.PermissionDeniedError, "account_overdue"),
        (500, openai.InternalServerError, "internal_error"),
        ("internal_error", openai.InternalServerError, "internal_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_scripted_errors(account: Any, client: openai.OpenAI, case: tuple[Any, type, Any], stream: bool) -> None:
    code, kind, expected = case
    account.fail(code, times=3)
    with pytest.raises(kind) as caught:
        chat(client.with_options(max_retries=0), stream=stream)
    error = caught.value
    assert error.code == expected if expected else error.code
    assert error.type
    assert error.body["message"] in error.message
    assert error.response.headers["Content-Type"].startswith("application/json")
    assert error.response.json()["id"].startswith("as-")
    [entry] = inference(account)
    assert (entry.status, entry.error_code) == (error.status_code, error.code)


def test_wrong_key(server: Any, account: Any) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v2", api_key=f"bce-v3/ALTAK-{'0' * 21}/{'0' * 40}") as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        chat(client)
    error = caught.value
    assert (error.status_code, error.code, error.type) == (401, "invalid_iam_token", "invalid_request_error")
    assert error.body["message"] == "invalid_iam_token"
    assert inference(account) == []


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:  # 401, as recorded from the service
        chat(client, model="no-such-model")
    assert caught.value.code == "invalid_model"
    assert caught.value.body["message"] == "The model does not exist or you do not have access to it."


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"messages": []}, "messages cannot be empty"),
        ({"messages": [{"role": "robot", "content": "你好"}]}, "system,developer,user,assistant,tool"),
        ({"max_completion_tokens": 0}, "parameter check failed, max_completion_tokens range is [1, "),
        ({"temperature": "warm"}, ""),
        ({"model": ""}, ""),
    ],
)
def test_bad_requests(client: openai.OpenAI, options: dict[str, Any], text: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, **options)
    assert caught.value.type == "invalid_request_error"
    assert text in caught.value.body["message"]


def test_bad_embeddings(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="embedding-v1", input=["a"] * 17)


def test_a_path_that_the_service_has_not(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model=MODEL, prompt="legacy")
