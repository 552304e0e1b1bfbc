"""LangChain's `ChatOpenAI` and `OpenAIEmbeddings` on v2."""

from __future__ import annotations

from typing import Any

import pytest
from frameworks_helpers import WEATHER, needed, only

needed("langchain_openai")

import openai  # noqa: E402
from langchain_core.messages import ToolMessage  # noqa: E402
from langchain_core.output_parsers import StrOutputParser  # noqa: E402
from langchain_core.prompts import ChatPromptTemplate  # noqa: E402
from langchain_openai import ChatOpenAI, OpenAIEmbeddings  # noqa: E402
from pydantic import BaseModel  # noqa: E402

MODEL = "ernie-4.0-turbo-8k"


def chat(**options: Any) -> ChatOpenAI:
    return ChatOpenAI(model=MODEL, max_retries=0, **options)


def test_invoke(account: Any) -> None:
    account.reply("晴")
    answer = chat(temperature=0.5).invoke([("system", "你是助手"), ("user", "天气?")])
    assert answer.content == "晴"
    assert answer.usage_metadata["total_tokens"] > 0
    entry = only(account)
    assert (entry.dialect, entry.status, entry.model, entry.json["temperature"]) == ("v2", 200, MODEL, 0.5)
    assert [message["role"] for message in entry.json["messages"]] == ["system", "user"]


def test_by_arguments_instead_of_variables(account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base_url, key = f"{account.url}/v2", account.credentials.bearer_token
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name)
    account.reply("晴")
    assert chat(base_url=base_url, api_key=key).invoke("天气?").content == "晴"


def test_stream_with_usage(account: Any) -> None:
    account.stream(["一", "二", "三"])
    chunks = list(chat(stream_usage=True).stream("数"))
    assert [chunk.content for chunk in chunks if chunk.content] == ["一", "二", "三"]
    assert [chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata] != []


def test_async(account: Any, run: Any) -> None:
    account.reply("晴").then.stream(["一", "二"])

    async def talk() -> tuple[Any, list[Any]]:
        model = chat()
        whole = await model.ainvoke("天气?")
        return whole.content, [chunk.content async for chunk in model.astream("数") if chunk.content]

    assert run(talk()) == ("晴", ["一", "二"])


def test_a_chain(account: Any) -> None:
    account.echo("> ")
    chain = ChatPromptTemplate.from_messages([("user", "{city}天气")]) | chat() | StrOutputParser()
    assert chain.invoke({"city": "北京"}) == "> 北京天气"


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_tools(account: Any, way: str) -> None:
    account.call_tool("weather", {"city": "北京"}).then.reply("北京晴。")
    model = chat().bind_tools([WEATHER])
    if way == "invoke":
        asked = model.invoke("北京天气")
    else:
        first, *rest = model.stream("北京天气")
        asked = sum(rest, start=first)
    [call] = asked.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "北京"})
    result = ToolMessage("晴", tool_call_id=call["id"])
    assert model.invoke([("user", "北京天气"), asked, result]).content == "北京晴。"


def test_structured_output(account: Any) -> None:
    class City(BaseModel):
        name: str

    account.reply('{"name": "北京"}').then.call_tool("City", {"name": "上海"})
    assert chat().with_structured_output(City).invoke("首都?") == City(name="北京")
    assert chat().with_structured_output(City, method="function_calling").invoke("最大?") == City(name="上海")


def test_embeddings(account: Any, run: Any) -> None:
    # check_embedding_ctx_length=False: else it downloads an OpenAI tokenizer, and sends token numbers instead of texts.
    made = OpenAIEmbeddings(model="embedding-v1", check_embedding_ctx_length=False, max_retries=0)
    many = made.embed_documents(["你好", "再见"])
    assert [len(vector) for vector in many] == [384, 384]
    assert made.embed_query("你好") == pytest.approx(many[0])
    assert run(made.aembed_query("再见")) == pytest.approx(many[1])


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke"])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_iam_token", openai.AuthenticationError),
        ("account_overdue", openai.PermissionDeniedError),
        ("malformed_json", openai.BadRequestError),
        ("rpm_rate_limit_exceeded", openai.RateLimitError),
        ("internal_error", openai.InternalServerError),
    ],
)
def test_errors(account: Any, run: Any, code: str, kind: type[openai.APIStatusError], way: str) -> None:
    account.fail(code)
    with pytest.raises(kind) as caught:
        _ = {
            "invoke": lambda: chat().invoke("你好"),
            "stream": lambda: list(chat().stream("你好")),
            "ainvoke": lambda: run(chat().ainvoke("你好")),
        }[way]()
    assert caught.value.code == code


def test_an_error_in_the_middle_of_a_stream(account: Any) -> None:
    account.stream(["一", "二"], error_after=1, error="internal_error")
    seen: list[Any] = []
    with pytest.raises(openai.APIError) as caught:
        seen.extend(chunk.content for chunk in chat().stream("数"))
    assert (seen, caught.value.code) == (["一"], "internal_error")
