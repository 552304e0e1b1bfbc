"""LlamaIndex: its own `Qianfan` on v1, signed with IAM keys by code of its own, and `OpenAILike` on v2."""

from __future__ import annotations

from typing import Any

import pytest
from frameworks_helpers import needed, only

needed("llama_index.llms.qianfan", "llama_index.llms.openai_like")

import openai  # noqa: E402
from llama_index.core.llms import ChatMessage  # noqa: E402
from llama_index.core.tools import FunctionTool  # noqa: E402
from llama_index.llms.openai_like import OpenAILike  # noqa: E402
from llama_index.llms.qianfan import Qianfan  # noqa: E402
from llama_index.utils.qianfan.client import Error  # noqa: E402
from pydantic import ValidationError  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    r"ignore:The `dict` method is deprecated:pydantic.PydanticDeprecatedSince20:llama_index\.llms\.qianfan"
)

ASK = [ChatMessage(role="user", content="你好")]
ENDPOINT = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions_pro"
MODEL = "ernie-4.0-turbo-8k"


def qianfan(account: Any, secret: str | None = None) -> Qianfan:
    keys = account.credentials
    return Qianfan(
        access_key=keys.access_key,
        secret_key=secret or keys.secret_key,
        model_name="ERNIE-4.0-8K",
        endpoint_url=account.url + ENDPOINT,
        context_window=8192,
    )


def like_openai(account: Any) -> OpenAILike:
    return OpenAILike(
        model=MODEL,
        api_base=f"{account.url}/v2",
        api_key=account.credentials.bearer_token,
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
    )


LLMS = pytest.mark.parametrize("made", [qianfan, like_openai])


@LLMS
def test_chat(account: Any, made: Any) -> None:
    account.reply("晴").then.reply("雨")
    system = ChatMessage(role="system", content="你是助手")
    llm = made(account)
    assert llm.chat([system, *ASK]).message.content == "晴"
    assert llm.complete("天气?").text == "雨"
    first = account.requests[0]
    assert (first.dialect, first.status) == ("v1" if made is qianfan else "v2", 200)
    if made is qianfan:
        assert first.signature.ok
        assert first.json["system"] == "你是助手"


@LLMS
def test_stream(account: Any, made: Any) -> None:
    account.stream(["一", "二", "三"], times=2)
    llm = made(account)
    pieces = list(llm.stream_chat(ASK))
    assert [piece.delta for piece in pieces if piece.delta] == ["一", "二", "三"]
    assert pieces[-1].message.content == "一二三"
    assert list(llm.stream_complete("数"))[-1].text == "一二三"


@LLMS
def test_async(account: Any, run: Any, made: Any) -> None:
    account.reply("晴").then.stream(["一", "二"])

    async def talk() -> tuple[Any, list[Any]]:
        llm = made(account)
        whole = await llm.achat(ASK)
        return whole.message.content, [piece.delta async for piece in await llm.astream_chat(ASK) if piece.delta]

    assert run(talk()) == ("晴", ["一", "二"])


@pytest.mark.parametrize("way", ["chat", "stream"])
@pytest.mark.parametrize("code", [17, 18, 336003, 336100, 336501])
def test_errors_of_its_own_client(account: Any, code: int, way: str) -> None:
    account.fail(code)
    llm = qianfan(account)
    with pytest.raises(Error) as caught:
        list(llm.chat(ASK) if way == "chat" else llm.stream_chat(ASK))
    assert caught.value.args == (code, only(account).error_message)


def test_wrong_keys_of_its_own_client(account: Any) -> None:
    with pytest.raises(Error) as caught:
        qianfan(account, secret="wrong").chat(ASK)
    assert caught.value.args[0] == 14
    assert only(account).signature.reason.name == "MISMATCH"


def test_an_error_in_the_middle_of_a_stream_of_its_own_client(account: Any) -> None:
    # It knows an error by a bare line of JSON; one in an event, `data: {...}`, it takes for an answer without a text.
    account.stream(["一", "二"], error_after=1, error=336100, error_form="line")
    account.stream(["一", "二"], error_after=1, error=336100)
    llm = qianfan(account)
    for kind, text in ((Error, "336100"), (ValidationError, "result")):
        seen: list[Any] = []
        with pytest.raises(kind, match=text):
            seen.extend(piece.delta for piece in llm.stream_chat(ASK))
        assert seen == ["一"]


@pytest.mark.parametrize("way", ["chat", "stream"])
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
def test_errors_like_openai(account: Any, code: str, kind: type[openai.APIStatusError], way: str) -> None:
    account.fail(code)
    llm = like_openai(account)
    with pytest.raises(kind) as caught:
        list(llm.chat(ASK) if way == "chat" else llm.stream_chat(ASK))
    assert caught.value.code == code
    only(account)


def test_an_error_in_the_middle_of_a_stream_like_openai(account: Any) -> None:
    account.stream(["一", "二"], error_after=1, error="internal_error")
    seen: list[Any] = []
    with pytest.raises(openai.APIError) as caught:
        seen.extend(piece.delta for piece in like_openai(account).stream_chat(ASK))
    assert (seen, caught.value.code) == (["一"], "internal_error")


def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}:晴"


def test_tools(account: Any) -> None:
    account.call_tool("weather", {"city": "北京"})
    answer = like_openai(account).predict_and_call([FunctionTool.from_defaults(weather)], user_msg="北京天气")
    assert str(answer) == "北京:晴"
    assert only(account).json["tools"][0]["function"]["name"] == "weather"
