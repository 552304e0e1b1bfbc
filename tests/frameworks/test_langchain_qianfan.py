"""LangChain's own Qianfan classes (`langchain_community`), which stand on the official SDK; told by variables alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from frameworks_helpers import WEATHER, chats, needed, only

needed("langchain_community.chat_models", "langchain_community.embeddings", "qianfan")

from langchain_community.chat_models import QianfanChatEndpoint  # noqa: E402
from langchain_community.embeddings import QianfanEmbeddingsEndpoint  # noqa: E402
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage  # noqa: E402
from qianfan import config  # noqa: E402
from qianfan.errors import APIError, AuthError, RequestError  # noqa: E402
from qianfan.resources.llm.base import BaseResource  # noqa: E402

#: The SDK's own switch: its limiter waits on an event loop of its own, so that an asynchronous call on another loop
#: ends in a RuntimeError, whatever the server does.
NO_LIMITER = {"forcing_disable": True}


@pytest.fixture(autouse=True)
def _sdk(account: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    monkeypatch.setenv("QIANFAN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("QIANFAN_LLM_API_RETRY_COUNT", "1")
    monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)  # read again at the next use
    monkeypatch.setattr(BaseResource, "_runtime_models_info", {})
    yield
    monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)


def chat(**options: Any) -> QianfanChatEndpoint:
    return QianfanChatEndpoint(init_kwargs=NO_LIMITER, **options)


def test_invoke(account: Any) -> None:
    account.reply("晴")
    answer = chat(model="ERNIE-4.0-8K", temperature=0.5).invoke([SystemMessage("你是助手"), HumanMessage("天气?")])
    assert answer.content == "晴"
    assert answer.response_metadata["token_usage"]["total_tokens"] > 0
    entry = only(account)
    assert (entry.dialect, entry.status, entry.model) == ("v1", 200, "ernie-4.0-8k")
    assert entry.json["messages"] == [{"role": "user", "content": "天气?"}]
    assert (entry.json["system"].strip(), entry.json["temperature"]) == ("你是助手", 0.5)


def test_a_conversation(account: Any) -> None:
    account.reply("三")
    said = [HumanMessage("一"), AIMessage("二"), HumanMessage("接着数")]
    assert chat().invoke(said).content == "三"
    assert [message["role"] for message in only(account).json["messages"]] == ["user", "assistant", "user"]


def test_stream(account: Any) -> None:
    account.stream(["一", "二", "三"])
    assert [chunk.content for chunk in chat().stream("数") if chunk.content] == ["一", "二", "三"]
    assert only(account).json["stream"] is True


def test_async(account: Any, run: Any) -> None:
    account.reply("晴").then.stream(["一", "二"])

    async def talk() -> tuple[Any, list[str]]:
        model = chat()
        whole = await model.ainvoke("天气?")
        return whole.content, [chunk.content async for chunk in model.astream("数") if chunk.content]

    assert run(talk()) == ("晴", ["一", "二"])


def test_batch(account: Any) -> None:
    account.echo(times="forever")
    assert [answer.content for answer in chat().batch(["甲", "乙", "丙"])] == ["甲", "乙", "丙"]


def test_a_function_is_called(account: Any) -> None:
    account.call_tool("weather", {"city": "北京"})
    answer = chat().invoke("北京天气", functions=[WEATHER["function"]])
    assert answer.additional_kwargs["function_call"]["name"] == "weather"
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("weather", {"city": "北京"})]


def test_embeddings(account: Any, run: Any) -> None:
    made = QianfanEmbeddingsEndpoint(init_kwargs=NO_LIMITER, model="Embedding-V1")
    many = made.embed_documents(["你好", "再见"])
    assert [len(vector) for vector in many] == [384, 384]
    assert made.embed_query("你好") == many[0] != many[1]
    assert run(made.aembed_query("再见")) == many[1]


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke"])
@pytest.mark.parametrize("code", [18, 17, 336003, 336007, 336100, 336501])
def test_errors(account: Any, run: Any, code: int, way: str) -> None:
    account.fail(code)
    with pytest.raises(APIError) as caught:
        _ = {
            "invoke": lambda: chat().invoke("你好"),
            "stream": lambda: list(chat().stream("你好")),
            "ainvoke": lambda: run(chat().ainvoke("你好")),
        }[way]()
    assert caught.value.error_code == code


def test_errors_of_v2(account: Any) -> None:
    account.fail("account_overdue")
    with pytest.raises(RequestError, match="account_overdue"):
        QianfanChatEndpoint(init_kwargs={**NO_LIMITER, "version": "2"}, model="ernie-3.5-8k").invoke("你好")
    assert only(account).dialect == "v2"


def test_an_error_in_the_middle_of_a_stream(account: Any) -> None:
    account.stream(["一", "二"], error_after=1, error=336100)
    seen: list[Any] = []
    with pytest.raises(APIError) as caught:
        seen.extend(chunk.content for chunk in chat().stream("数"))
    assert (seen, caught.value.error_code) == (["一"], 336100)


def test_its_sdk_tries_again(account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QIANFAN_LLM_API_RETRY_COUNT", "3")
    monkeypatch.setenv("QIANFAN_LLM_API_RETRY_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("QIANFAN_LLM_API_RETRY_JITTER", "0")
    account.fail(18, times=2).then.reply("好")
    assert chat().invoke("你好").content == "好"
    assert [entry.error_code for entry in chats(account)] == [18, 18, None]


def test_wrong_keys(account: Any) -> None:
    with pytest.raises(AuthError, match="SK"):
        chat(qianfan_ak=account.credentials.ak, qianfan_sk="wrong").invoke("你好")
    assert chats(account) == []
