"""Errors as a user of the official SDK, unmodified, meets them, and what its own retries make of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import qianfan
from contract_helpers import NO_LIMITER, QUIET, Naps, ask, collected, inference
from qianfan.consts import DefaultValue
from qianfan.errors import APIError, RequestError

pytestmark = QUIET

#: Codes of errors that the SDK does not try again, with the words that a user reads (wire reference 5.1).
FINAL = {
    1: "Unknown error",
    4: "Open api request limit reached",
    6: "No permission to access data",
    13: "Get service token failed",
    17: "Open api daily request limit reached",
    19: "Open api total request limit reached",
    100: "Invalid parameter",
    336000: "Internal error",
    336001: "Invalid Argument",
    336002: "Invalid JSON",
    336003: "",  # text by case
    336005: "API name not exist",
    336103: "Prompt tokens too long",
}


@pytest.fixture
def oauth(sdk: Callable[..., None]) -> None:
    sdk("AK", "SK")


@pytest.fixture
def bearer(sdk: Callable[..., None]) -> None:
    sdk("BEARER_TOKEN")


def codes(account: Any) -> list[Any]:
    return [entry.error_code for entry in inference(account)]


def ask_in(way: str) -> Any:
    """One question; the answer's text."""
    if way == "async":
        return asyncio.run(qianfan.ChatCompletion(**NO_LIMITER).ado(messages=ask("你好")))["result"]
    answer = qianfan.ChatCompletion().do(messages=ask("你好"), stream=way == "stream")
    return "".join(event["result"] for event in answer) if way == "stream" else answer["result"]


@pytest.mark.parametrize("way", ["whole", "stream", "async"])
@pytest.mark.parametrize("code", sorted(DefaultValue.RetryErrCodes))
def test_its_own_retries_succeed(account: Any, oauth: None, code: int, way: str) -> None:
    account.fail(code, times=2).then.reply("好")
    assert ask_in(way) == "好"
    assert codes(account) == [code, code, None]
    assert [entry.status for entry in inference(account)] == [200, 200, 200]


@pytest.mark.parametrize("code", sorted(DefaultValue.RetryErrCodes))
def test_it_gives_up_after_three(account: Any, oauth: None, code: int) -> None:
    account.fail(code, times=3)
    with pytest.raises(APIError) as caught:
        ask_in("whole")
    assert caught.value.error_code == code
    assert caught.value.error_msg
    assert codes(account) == [code] * 3


def test_retries_under_iam_are_signed_afresh_and_accepted(account: Any, sdk: Callable[..., None]) -> None:
    sdk("ACCESS_KEY", "SECRET_KEY")
    account.fail(18, times=2).then.reply("好")
    assert ask_in("whole") == "好"
    assert codes(account) == [18, 18, None]
    assert all(entry.signature.ok for entry in inference(account))


@pytest.mark.parametrize("way", ["whole", "stream", "async"])
@pytest.mark.parametrize("code", sorted(FINAL))
def test_errors_it_does_not_try_again(account: Any, oauth: None, code: int, way: str) -> None:
    account.fail(code)
    with pytest.raises(APIError) as caught:
        ask_in(way)
    assert caught.value.error_code == code
    assert FINAL[code] in caught.value.error_msg
    # The model service's errors carry an id, the gateway's do not (3.5).
    assert caught.value.req_id.startswith("as-") if code >= 336000 else caught.value.req_id == ""
    assert codes(account) == [code]


def test_one_failure_in_a_batch_is_that_ones_alone(account: Any, oauth: None) -> None:
    # The first is asked twice: the SDK warms up with it.
    account.reply("好", times=3).fail(336003).then.reply("好", times=2)
    results = qianfan.ChatCompletion().batch_do([ask(f"问题{n}") for n in range(5)], worker_num=1).results()
    assert [isinstance(result, APIError) for result in results] == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("code", "resource"),
    [
        (18, lambda: qianfan.Embedding().do(texts=["你好"])),
        (336100, lambda: qianfan.Reranker().do(query="你好", documents=["a", "b"])),
        (336501, lambda: qianfan.Completion().do(prompt="你好", model="SQLCoder-7B")),
        (2, lambda: qianfan.Plugin().do(ask("你好"), plugins=["eChart"])),
    ],
)
def test_other_resources_try_again_too(account: Any, oauth: None, code: int, resource: Callable[[], Any]) -> None:
    account.fail(code, times=2)
    assert resource()["id"]
    assert codes(account) == [code, code, None]


# What the service refuses by itself


class Refused(NamedTuple):
    """What is sent, and the error that must come back: any of ``codes``, its text holding ``text``."""

    messages: list[dict[str, Any]]
    options: dict[str, Any]
    codes: set[Any]
    text: str = ""


@pytest.mark.parametrize(
    "case",
    [
        Refused(ask(""), {}, {336003}, "message content can not be empty"),
        Refused([*ask("你好"), {"role": "assistant", "content": "好"}], {}, {336003, 336006}, "must be an odd number"),
        Refused([*ask("一"), *ask("二"), *ask("三")], {}, {336003, 336006}, "role"),
        Refused(ask("你好"), {"temperature": 1.2}, {336003}, "temperature range is (0, 1.0]"),
        Refused(ask("你好"), {"temperature": 0}, {336003}, "temperature range is (0, 1.0]"),
        Refused(ask("你好"), {"max_output_tokens": 1}, {336003}, "max_output_tokens range is [2, "),
        Refused(ask("你好"), {"top_p": "high"}, {336001, 336003}),
        Refused(ask("字" * 20001), {}, {336007}, "the max input characters is 20000"),
    ],
    ids=["empty", "even", "roles", "hot", "cold", "short", "type", "long"],
)
def test_bad_requests(account: Any, oauth: None, case: Refused) -> None:
    with pytest.raises(APIError) as caught:
        qianfan.ChatCompletion().do(messages=case.messages, model="ERNIE-3.5-8K", **case.options)
    assert caught.value.error_code in case.codes
    assert case.text in caught.value.error_msg
    [entry] = inference(account)
    assert (entry.status, entry.error_code) == (200, caught.value.error_code)


def test_too_many_documents(account: Any, oauth: None) -> None:
    with pytest.raises(APIError) as caught:
        qianfan.Reranker().do(query="你好", documents=["a"] * 65)
    assert (caught.value.error_code, caught.value.error_msg) == (336221, "max number of documents is 64")


def test_an_unknown_embedding_endpoint(account: Any, oauth: None) -> None:
    with pytest.raises(APIError) as caught:
        qianfan.Embedding().do(texts=["你好"], endpoint="no_such_model")
    assert caught.value.error_code == 3
    assert caught.value.error_msg == "Unsupported openapi method"


def test_a_refused_request_uses_up_no_step_of_the_script(account: Any, oauth: None) -> None:
    account.reply("好")
    with pytest.raises(APIError):
        qianfan.ChatCompletion().do(messages=ask(""))
    assert ask_in("whole") == "好"


# v2


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("rpm_rate_limit_exceeded", 429),
        ("tpm_rate_limit_exceeded", 429),
        ("user_rate_limit_exceeded", 429),
        ("account_overdue", 403),
        ("invalid_argument", 400),
        ("invalid_messages", 400),
        ("internal_error", 500),
    ],
)
def test_v2_errors(account: Any, bearer: None, code: str, status: int) -> None:
    account.fail(code, times=2)
    chat = qianfan.ChatCompletion(version="2")
    with pytest.raises(RequestError) as refused:
        chat.do(messages=ask("你好"))
    assert refused.value.status_code == status
    with pytest.raises(APIError) as told:
        list(chat.do(messages=ask("你好"), stream=True))
    assert told.value.error_code == code
    assert told.value.req_id.startswith("as-")
    # It tries no v2 error again, so two calls are two requests.
    assert [(entry.status, entry.error_code) for entry in inference(account)] == [(status, code)] * 2


@pytest.mark.parametrize(("code", "status"), [(18, 429), (336501, 429), (336100, 500), (429, 429), (500, 500)])
def test_a_code_of_another_dialect_is_translated(account: Any, bearer: None, code: int, status: int) -> None:
    account.fail(code)
    with pytest.raises(APIError) as told:
        list(qianfan.ChatCompletion(version="2").do(messages=ask("你好"), stream=True))
    assert isinstance(told.value.error_code, str)
    assert inference(account)[-1].status == status


@pytest.mark.parametrize(
    ("case", "status"),
    [
        (Refused([], {}, {"invalid_argument"}, "messages cannot be empty"), 400),
        (Refused([{"role": "robot", "content": "你好"}], {}, {"invalid_argument"}, "system,developer,user,"), 400),
        (Refused(ask("你好"), {"model": "no-such-model"}, {"invalid_model"}, "The model does not exist"), 401),
        (Refused(ask("你好"), {"max_completion_tokens": 0}, {"invalid_argument"}, "max_completion_tokens range"), 400),
    ],
    ids=["no-messages", "role", "model", "range"],
)
def test_v2_bad_requests(account: Any, bearer: None, case: Refused, status: int) -> None:
    with pytest.raises(APIError) as told:
        list(qianfan.ChatCompletion(version="2").do(messages=case.messages, stream=True, **case.options))
    assert told.value.error_code in case.codes
    assert case.text in told.value.error_msg
    assert inference(account)[-1].status == status


# The measure itself: what the fixture `sdk` asserts after every test here must be able to fail


def test_a_long_wait_would_be_noticed(account: Any, oauth: None, naps: Naps) -> None:
    from qianfan import config

    config.get_config().LLM_API_RETRY_BACKOFF_FACTOR = 20
    account.fail(18, times=2).then.reply("好")
    started = time.monotonic()
    assert ask_in("whole") == "好"
    assert time.monotonic() - started < 15
    assert naps.long == [20, 40]
    naps.asked.clear()


def test_a_long_asynchronous_wait_would_be_noticed(account: Any, oauth: None, naps: Naps) -> None:
    from qianfan import config

    config.get_config().LLM_API_RETRY_BACKOFF_FACTOR = 20
    account.fail(18, times=2).then.reply("好")

    async def talk() -> list[Any]:
        return await collected(await qianfan.ChatCompletion(**NO_LIMITER).ado(messages=ask("你好"), stream=True))

    asyncio.run(talk())
    assert naps.long == [20, 40]
    naps.asked.clear()
