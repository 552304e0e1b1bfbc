"""The official Python SDK, unmodified, on v1: every kind of call it offers, by OAuth and by IAM signature."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
import qianfan
from contract_helpers import NO_LIMITER, OAUTH_TOKEN, QUIET, SERVICE_LIST, V1, ask, at, collected, inference

pytestmark = QUIET

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"
CREDENTIALS = {"oauth": ("AK", "SK"), "iam": ("ACCESS_KEY", "SECRET_KEY")}


@pytest.fixture(params=sorted(CREDENTIALS))
def scheme(request: pytest.FixtureRequest, sdk: Callable[..., None]) -> str:
    sdk(*CREDENTIALS[request.param])
    return request.param


@pytest.fixture
def oauth(sdk: Callable[..., None]) -> None:
    sdk("AK", "SK")


def check_stream(events: list[Any], text: str) -> None:
    """The rules of a v1 stream (wire reference 3.4)."""
    bodies = [event.body for event in events]
    assert "".join(body["result"] for body in bodies) == text
    assert [body["is_end"] for body in bodies] == [False] * (len(bodies) - 1) + [True]
    assert [body["sentence_id"] for body in bodies] == list(range(len(bodies)))
    assert len({body["id"] for body in bodies}) == 1
    counted = [body["usage"]["completion_tokens"] for body in bodies]
    assert counted == sorted(counted)
    assert len({body["usage"]["prompt_tokens"] for body in bodies}) == 1
    for body in bodies:
        usage = body["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_chat(account: Any, scheme: str) -> None:
    account.reply(POEM)
    answer = qianfan.ChatCompletion().do(messages=ask("背一首诗"), model="ERNIE-3.5-8K", temperature=0.8, user_id="u1")
    assert answer["result"] == POEM
    assert re.fullmatch(r"as-[a-z0-9]{10}", answer["id"])
    assert answer["object"] == "chat.completion"
    assert answer["is_truncated"] is False
    assert answer["need_clear_history"] is False
    usage = answer["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]

    [entry] = inference(account)
    assert (entry.dialect, entry.status) == ("v1", 200)
    assert entry.path == f"{V1}/chat/completions"
    assert entry.json["extra_parameters"] == {"request_source": f"qianfan_py_sdk_v{qianfan.__version__}"}
    assert not entry.error_code
    if scheme == "iam":
        assert entry.signature.ok
        assert entry.signature.scheme == "bce-auth-v1"
        assert entry.signature.access_key == account.credentials.access_key


def test_auth_calls_that_come_first(account: Any, scheme: str) -> None:
    chat = qianfan.ChatCompletion()
    chat.do(messages=ask("你好"))
    chat.do(messages=ask("再见"))
    if scheme == "oauth":
        assert [entry.status for entry in at(account, OAUTH_TOKEN)] == [200]
        assert at(account, SERVICE_LIST) == []
    else:
        listed = at(account, SERVICE_LIST)
        assert [entry.status for entry in listed] == [200]
        assert listed[0].signature.ok
        assert account.requests[0] is listed[0]
        assert at(account, OAUTH_TOKEN) == []
    assert [entry.status for entry in inference(account)] == [200, 200]


def test_the_service_list_moves_no_model(account: Any, sdk: Callable[..., None]) -> None:
    # The list overrides the SDK's own table of endpoints, so what it says must agree with that table.
    from qianfan.resources.llm.chat_completion import _ChatCompletionV1

    sdk("AK", "SK")
    local = {name: info.endpoint for name, info in _ChatCompletionV1()._local_models().items()}
    sdk("ACCESS_KEY", "SECRET_KEY")
    chat = _ChatCompletionV1()
    listed = chat.get_latest_api_type_models()
    assert listed, "the service list names no chat model that the SDK can read"
    moved = {name: info.endpoint for name, info in listed.items() if name in local and info.endpoint != local[name]}
    assert moved == {}


def test_stream(account: Any, scheme: str) -> None:
    account.reply(POEM)
    events = list(qianfan.ChatCompletion().do(messages=ask("背一首诗"), model="ERNIE-4.0-8K", stream=True))
    check_stream(events, POEM)
    assert len(events) > 1
    [entry] = inference(account)
    assert (entry.path, entry.status, entry.json["stream"]) == (f"{V1}/chat/completions_pro", 200, True)
    if scheme == "iam":
        assert entry.signature.ok


def test_scripted_stream_keeps_its_pieces(account: Any, oauth: None) -> None:
    account.stream(["你", "好", "，", "😀"])
    events = list(qianfan.ChatCompletion().do(messages=ask("你好"), stream=True))
    assert [event["result"] for event in events if event["result"]] == ["你", "好", "，", "😀"]
    check_stream(events, "你好，😀")


def test_stream_and_whole_answer_say_and_count_the_same(account: Any, oauth: None) -> None:
    account.reply(POEM, times=2)
    chat = qianfan.ChatCompletion()
    whole = chat.do(messages=ask("背一首诗"))
    events = list(chat.do(messages=ask("背一首诗"), stream=True))
    assert "".join(event["result"] for event in events) == whole["result"]
    assert events[-1]["usage"] == whole["usage"]


def test_async_chat_and_stream(account: Any, scheme: str) -> None:
    account.reply(POEM, times=2)

    async def talk() -> tuple[Any, list[Any]]:
        chat = qianfan.ChatCompletion(**NO_LIMITER)
        whole = await chat.ado(messages=ask("背一首诗"))
        return whole, await collected(await chat.ado(messages=ask("背一首诗"), stream=True))

    whole, events = asyncio.run(talk())
    assert whole["result"] == POEM
    check_stream(events, POEM)
    assert [entry.status for entry in inference(account)] == [200, 200]
    if scheme == "iam":
        assert all(entry.signature.ok for entry in inference(account))


def test_async_stream_as_the_first_call(account: Any, scheme: str) -> None:
    # The only call whose token comes by aiohttp.
    async def talk() -> list[Any]:
        return await collected(await qianfan.ChatCompletion().ado(messages=ask("你好"), stream=True))

    account.reply(POEM)
    check_stream(asyncio.run(talk()), POEM)


def test_many_async_calls_at_once(account: Any, oauth: None) -> None:
    account.reply("好", times=8)

    async def talk() -> list[Any]:
        chat = qianfan.ChatCompletion(**NO_LIMITER)
        return await chat.abatch_do([ask(f"问题{number}") for number in range(8)], worker_num=4)

    assert [answer["result"] for answer in asyncio.run(talk())] == ["好"] * 8


def test_batch_of_threads(account: Any, oauth: None) -> None:
    questions = [f"问题{number}" for number in range(8)]
    answers = qianfan.ChatCompletion().batch_do([ask(text) for text in questions], worker_num=4).results()
    assert all(answer["result"] for answer in answers)
    asked = {entry.json["messages"][0]["content"] for entry in inference(account)}
    assert asked == set(questions)


def test_conversation(account: Any, oauth: None) -> None:
    account.reply("我是文心一言。").reply("你刚才问我是谁。")
    messages, chat = qianfan.Messages(), qianfan.ChatCompletion()
    messages.append("你是谁？")
    messages.append(chat.do(messages=messages))
    messages.append("我刚才问什么？")
    assert chat.do(messages=messages)["result"] == "你刚才问我是谁。"
    roles = [message["role"] for message in inference(account)[-1].json["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_every_field_the_sdk_documents(account: Any, oauth: None) -> None:
    answer = qianfan.ChatCompletion().do(
        messages=ask("你好"),
        model="ERNIE-3.5-8K",
        temperature=1,
        top_p=0.7,
        penalty_score=1.5,
        system="你是助手",
        stop=["。"],
        disable_search=True,
        enable_citation=False,
        max_output_tokens=1024,
        response_format="text",
        user_id="u1",
        an_unknown_field={"is": "ignored"},
    )
    assert answer["result"]


def test_nulls_are_accepted(account: Any, oauth: None) -> None:
    assert qianfan.ChatCompletion().do(messages=ask("你好"), stop=None, temperature=0.95, top_p=None)["result"]


def test_functions_are_accepted(account: Any, oauth: None) -> None:
    functions = [
        {
            "name": "weather",
            "description": "天气",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
    ]
    answer = qianfan.ChatCompletion().do(messages=ask("北京天气"), model="ERNIE-3.5-8K", functions=functions)
    assert answer["result"] or answer["function_call"]["name"] == "weather"
    messages = [
        *ask("北京天气"),
        {"role": "assistant", "content": "", "function_call": {"name": "weather", "arguments": '{"city": "北京"}'}},
        {"role": "function", "name": "weather", "content": '{"sky": "晴"}'},
    ]
    account.reply("北京晴。")
    told = qianfan.ChatCompletion().do(messages=messages, model="ERNIE-3.5-8K", functions=functions)
    assert told["result"] == "北京晴。"


def test_headers_that_the_sdk_reads(account: Any, oauth: None) -> None:
    answer = qianfan.ChatCompletion().do(messages=ask("你好"), request_id="my-req-1")
    # A small limit here would make its own limiter crawl (wire reference 6).
    assert int(answer.headers["X-Ratelimit-Limit-Requests"]) >= 3000
    assert int(answer.headers["X-Ratelimit-Limit-Tokens"]) >= 300_000
    assert answer.headers["X-Baidu-Request-Id"]
    assert inference(account)[-1].header("Request_id") == "my-req-1"


def test_every_chat_model_of_its_table_answers(account: Any, sdk: Callable[..., None]) -> None:
    from qianfan.resources.llm.base import UNSPECIFIED_MODEL
    from qianfan.resources.llm.chat_completion import _ChatCompletionV1

    sdk("AK", "SK")
    chat = qianfan.ChatCompletion(**NO_LIMITER)  # which would start two threads for each model
    models = [name for name in _ChatCompletionV1()._local_models() if name != UNSPECIFIED_MODEL]
    assert len(models) > 50
    failed = {}
    for model in models:
        extra = {"extra_parameters": {"use_keyword": True}} if model == "ChatLaw" else {}
        try:
            assert chat.do(messages=ask("你好"), model=model, **extra)["result"]
        except qianfan.errors.APIError as error:
            failed[model] = f"{error.error_code} {error.error_msg}"
    assert failed == {}


def test_an_endpoint_of_ones_own(account: Any, oauth: None) -> None:
    account.reply("好")
    answer = qianfan.ChatCompletion().do(messages=ask("你好"), endpoint="abcd1234_mine")
    assert answer["result"] == "好"
    assert inference(account)[-1].path == f"{V1}/chat/abcd1234_mine"


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [
        ("CodeLlama-7b-Instruct", "/completions/codellama_7b_instruct"),
        ("SQLCoder-7B", "/completions/sqlcoder_7b"),
        ("ERNIE-Lite-8K", "/chat/ernie-lite-8k"),  # a chat model: the SDK asks it as a chat
    ],
)
def test_completions(account: Any, oauth: None, model: str, endpoint: str) -> None:
    account.reply("SELECT 1;", times=2)
    completion = qianfan.Completion()
    answer = completion.do(prompt="写一句 SQL", model=model)
    assert answer["result"] == "SELECT 1;"
    events = list(completion.do(prompt="写一句 SQL", model=model, stream=True))
    assert "".join(event["result"] for event in events) == "SELECT 1;"
    assert [event["is_end"] for event in events] == [False] * (len(events) - 1) + [True]
    assert [entry.path for entry in inference(account)] == [V1 + endpoint] * 2
    assert answer["object"] == "completion"


def test_async_completion(account: Any, oauth: None) -> None:
    account.reply("SELECT 1;")
    answer = asyncio.run(qianfan.Completion().ado(prompt="写一句 SQL", model="SQLCoder-7B"))
    assert answer["result"] == "SELECT 1;"


@pytest.mark.parametrize(
    ("model", "texts", "dimensions"),
    [
        ("Embedding-V1", ["你好", "world"], 384),
        ("bge-large-zh", ["你好", "world", "第三"], 1024),
        ("bge-large-en", ["hello"], 1024),
        ("tao-8k", ["只有一条"], 1024),
    ],
)
def test_embeddings(account: Any, scheme: str, model: str, texts: list[str], dimensions: int) -> None:
    answer = qianfan.Embedding().do(texts=texts, model=model)
    assert answer["object"] == "embedding_list"
    assert [row["index"] for row in answer["data"]] == list(range(len(texts)))
    for row in answer["data"]:
        assert row["object"] == "embedding"
        assert len(row["embedding"]) == dimensions
        assert all(isinstance(value, float) for value in row["embedding"])
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] > 0
    assert "completion_tokens" not in answer["usage"]
    assert inference(account)[-1].json["input"] == texts


def test_async_embeddings(account: Any, scheme: str) -> None:
    answer = asyncio.run(qianfan.Embedding().ado(texts=["你好", "world"]))
    assert len(answer["data"]) == 2


DOCUMENTS = ["上海今天多云。", "量子力学导论", "上海天气：小雨转晴，气温十八度", "菜谱"]


def check_ranking(answer: Any, top_n: int) -> None:
    scores = [row["relevance_score"] for row in answer["results"]]
    assert len(scores) == top_n
    assert scores == sorted(scores, reverse=True)
    assert all(DOCUMENTS[row["index"]] == row["document"] for row in answer["results"])
    assert len({row["index"] for row in answer["results"]}) == top_n


def test_rerank(account: Any, scheme: str) -> None:
    answer = qianfan.Reranker().do(query="上海天气", documents=DOCUMENTS)
    assert answer["object"] == "reranker_list"
    check_ranking(answer, len(DOCUMENTS))
    check_ranking(qianfan.Reranker().do(query="上海天气", documents=DOCUMENTS, top_n=2), 2)
    assert inference(account)[-1].path == f"{V1}/reranker/bce_reranker_base"
    assert inference(account)[-1].json["query"] == "上海天气"


def test_async_rerank(account: Any, oauth: None) -> None:
    check_ranking(asyncio.run(qianfan.Reranker().ado(query="上海天气", documents=DOCUMENTS, top_n=3)), 3)


def test_text2image(account: Any, scheme: str) -> None:
    answer = qianfan.Text2Image().do(prompt="一只猫", with_decode="base64", n=2, size="768x768", steps=20)
    assert answer["object"] == "image"
    assert [image["index"] for image in answer["data"]] == [1, 2]
    assert all(image["image"] for image in answer["data"])  # decoded by the SDK
    assert inference(account)[-1].path == f"{V1}/text2image/sd_xl"


def test_async_text2image(account: Any, oauth: None) -> None:
    answer = asyncio.run(qianfan.Text2Image().ado(prompt="一只猫", with_decode="base64"))
    assert len(answer["data"]) == 1


def test_image2text(account: Any, scheme: str) -> None:
    account.reply("一只猫坐在窗台上。", times=2)
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    # It has no default model, and does not know the one it lists as a chat model: users name the endpoint.
    model = qianfan.Image2Text(endpoint="fuyu_8b")
    answer = model.do(prompt="图里有什么？", image=picture)
    assert answer["result"] == "一只猫坐在窗台上。"
    assert answer["object"] == "chat.completion"
    assert answer["usage"]["total_tokens"] > 0
    events = list(model.do(prompt="图里有什么？", image=picture, stream=True))
    assert "".join(event["result"] for event in events) == "一只猫坐在窗台上。"
    assert inference(account)[-1].path == f"{V1}/image2text/fuyu_8b"


@pytest.mark.parametrize("text", ["hello 你好", "a", "上海自来水来自海上"])
def test_remote_tokenizer(account: Any, scheme: str, text: str) -> None:
    count = qianfan.Tokenizer().count_tokens(text, mode="remote", model="ernie-4.0-8k")
    assert isinstance(count, int)
    assert abs(count - qianfan.Tokenizer().count_tokens(text)) <= 1  # rounded otherwise, counted alike
    entry = at(account, f"{V1}/tokenizer/erniebot")[-1]
    assert entry.json == {"prompt": text, "model": "ernie-4.0-8k"}
    assert entry.status == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["EBPlugin", "EBPluginV2"])
def test_erniebot_plugin(account: Any, scheme: str, model: str, stream: bool) -> None:
    account.reply("雷达图如下。")
    answer = qianfan.Plugin(model=model).do(ask("请生成雷达图"), plugins=["eChart"], stream=stream)
    events = list(answer) if stream else [answer]
    assert "".join(event.body.get("result", "") for event in events) == "雷达图如下。"
    entry = inference(account)[-1]
    assert entry.path == f"{V1}/erniebot/{'plugins' if model == 'EBPlugin' else 'plugin'}"
    assert entry.status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_plugin_of_ones_own(account: Any, scheme: str, stream: bool) -> None:
    account.reply("晴，二十度。")
    plugin = qianfan.Plugin(endpoint="abcd")
    answer = plugin.do("北京天气", plugins=["uuid-weatherforecast"], stream=stream)
    events = list(answer) if stream else [answer]
    assert "".join(event.body.get("result", "") for event in events) == "晴，二十度。"
    entry = inference(account)[-1]
    assert entry.path == f"{V1}/plugin/abcd/"  # with its slash, which is signed
    assert entry.status == 200


def test_two_accounts_of_one_server_do_not_meet(server: Any, account: Any, oauth: None) -> None:
    other = server.account()
    other.reply("给别人的")
    account.reply("给我的")
    assert qianfan.ChatCompletion().do(messages=ask("你好"))["result"] == "给我的"
    assert len(inference(other)) == 0
