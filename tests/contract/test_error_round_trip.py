"""Every error code of every dialect, through every client that speaks it, into the exception that it should be.

Before a stream and in the middle of one. What each code means to each client stands in `error_rows`, by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import qianfan
from contract_helpers import QUIET, ask, inference
from error_rows import (
    OPENAI,
    SDK_ADVICE,
    TEXT_GENERATION,
    V1,
    V1_GATEWAY,
    V1_TOKEN,
    V2,
    V2_TOKEN,
    sdk_v1_error,
    worth_another_try,
)
from qianfan.errors import APIError, RequestError

import qfkit
from mock_server import MockServer
from qfkit import Client, Credentials, RetryPolicy, StreamError, StreamTruncated
from qfkit.protocol.errors import ERRORS

pytestmark = QUIET

WAYS = ("chat", "stream")
MODEL = "ernie-4.0-8k"
PIECES = ["一", "二", "三"]

by_way = pytest.mark.parametrize("way", WAYS)
every_v1 = pytest.mark.parametrize("code", V1)
every_v2 = pytest.mark.parametrize("code", V2)
every_text_generation = pytest.mark.parametrize("code", TEXT_GENERATION)


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer(port=0, quota="none") as running:
        yield running


def test_no_row_is_left_out() -> None:
    rows = {(spec.dialect, spec.code) for spec in ERRORS if spec.dialect not in {"oauth", "iam"}}
    here = [("v1", code) for code in V1] + [("v2", code) for code in V2]
    assert rows == {*here, *(("text_generation", code) for code in TEXT_GENERATION)}


def only(account: Any) -> Any:
    """The one inference request that was made."""
    [entry] = inference(account)
    return entry


# The reference client


@pytest.fixture
def reference(account: Any) -> Iterator[Callable[[str], Client]]:
    made: list[Client] = []

    def connect(dialect: str) -> Client:
        made.append(Client(account.url, account.credentials, dialect, retry=RetryPolicy(attempts=1)))
        return made[-1]

    yield connect
    for client in made:
        client.close()


def ask_reference(client: Client, way: str) -> str:
    return client.chat("你好").text if way == "chat" else client.stream("你好").reply().text


def fails(client: Client, way: str) -> qfkit.APIError:
    with pytest.raises(qfkit.APIError) as caught:
        ask_reference(client, way)
    return caught.value


@by_way
@every_v1
def test_reference_client_v1(account: Any, reference: Any, code: int, way: str) -> None:
    text, kind, retryable = V1[code]
    account.fail(code, times=2)  # a new token is fetched for 110 and 111, and the request sent once more
    error = fails(reference("v1"), way)
    entry = inference(account)[-1]
    assert type(error) is kind
    assert (error.dialect, error.code, error.status, error.retryable) == ("v1", code, 200, retryable)
    assert text in error.message
    assert error.request_id == (None if code in V1_GATEWAY else entry.request_id)
    assert len(inference(account)) == len(error.attempts) == (2 if code in V1_TOKEN else 1)


@by_way
@pytest.mark.parametrize("code", sorted(V1_TOKEN))
def test_reference_client_mends_a_token(account: Any, reference: Any, code: int, way: str) -> None:
    account.fail(code).then.reply("好")
    assert ask_reference(reference("v1"), way) == "好"


@by_way
@every_v2
def test_reference_client_v2(account: Any, reference: Any, code: str, way: str) -> None:
    status, _, text, kind = V2[code]
    account.fail(code, times=2)  # the account has IAM keys too: they buy a new token, once
    error = fails(reference("v2"), way)
    assert type(error) is kind
    assert (error.dialect, error.code, error.status) == ("v2", code, status)
    assert error.retryable is worth_another_try(status)
    assert text in error.message
    assert error.request_id == inference(account)[-1].request_id
    assert len(inference(account)) == len(error.attempts) == (2 if code == V2_TOKEN else 1)


@by_way
def test_reference_client_mends_a_bearer_token(account: Any, reference: Any, way: str) -> None:
    account.fail(V2_TOKEN).then.reply("好")
    assert ask_reference(reference("v2"), way) == "好"


@by_way
def test_reference_client_cannot_mend_an_api_key(account: Any, way: str) -> None:
    account.fail(V2_TOKEN).then.reply("好")
    keys = Credentials(bearer_token=account.credentials.bearer_token)
    with Client(account.url, keys, "v2", retry=RetryPolicy(attempts=1)) as client:
        error = fails(client, way)
    assert (type(error), error.code, error.request_id) == (V2[V2_TOKEN][3], V2_TOKEN, only(account).request_id)


@by_way
@every_text_generation
def test_reference_client_text_generation(account: Any, reference: Any, code: int, way: str) -> None:
    kind, retryable = TEXT_GENERATION[code]
    account.fail(code)
    error = fails(reference("text_generation"), way)
    assert type(error) is kind
    assert (error.dialect, error.code, error.status, error.retryable) == ("text_generation", code, code, retryable)
    assert error.retry_after == (1.0 if code == 429 else None)
    assert error.message == only(account).error_message != ""


@by_way
@every_v1
def test_reference_client_text_generation_with_the_codes_of_v1(
    account: Any, reference: Any, code: int, way: str
) -> None:
    text, kind, retryable = V1[code]
    account.fail(code)
    error = fails(reference("text_generation"), way)
    assert type(error) is kind
    assert (error.dialect, error.code, error.retryable) == ("text_generation", code, retryable)
    assert error.status == only(account).status >= 400
    assert text in error.message


@pytest.mark.parametrize(
    ("code", "dialect"),
    [*((code, "v2") for code in V1), *((code, dialect) for code in V2 for dialect in ("v1", "text_generation"))],
)
def test_a_code_of_another_dialect_is_one_of_its_own(account: Any, reference: Any, code: Any, dialect: str) -> None:
    # What it becomes there is a guess; that a client waits where it should, and gives up where it should, is not.
    retryable = V1[code][2] if code in V1 else worth_another_try(V2[code][0])
    account.fail(code, times=2)
    error = fails(reference(dialect), "chat")
    assert error.retryable is retryable
    assert (error.dialect, error.status) == (dialect, inference(account)[-1].status)
    assert isinstance(error.code, str if dialect == "v2" else int)
    if dialect == "v1":
        assert error.code in V1
        assert error.status == 200
    elif dialect == "v2":
        assert error.code in V2


@pytest.mark.parametrize(
    ("dialect", "code"),
    [
        *(("text_generation", code) for code in (*TEXT_GENERATION, *V1)),
        *(("v1", code) for code in V1),
        *(("v2", code) for code in V2),
    ],
)
def test_reference_client_in_the_middle_of_a_stream(account: Any, reference: Any, dialect: str, code: Any) -> None:
    kind = V2[code][3] if dialect == "v2" else V1[code][1] if code in V1 else TEXT_GENERATION[code][0]
    account.stream(PIECES, error_after=1, error=code)
    seen: list[str] = []
    with pytest.raises(StreamError) as caught:
        seen.extend(chunk.text for chunk in reference(dialect).stream("数"))
    error, cause = caught.value, caught.value.__cause__
    assert not isinstance(error, StreamTruncated)
    assert (seen, error.text, error.chunks) == (["一"], "一", 1)
    assert error.retryable is False  # content has been handed out: nothing is sent again
    assert type(cause) is kind
    assert (cause.dialect, cause.code, cause.status) == (dialect, code, 200)
    assert str(cause.message) in str(error)
    only(account)


# The official SDK


@pytest.fixture
def v1(sdk: Callable[..., None]) -> None:
    sdk("AK", "SK", LLM_API_RETRY_COUNT="1")


@pytest.fixture
def v2(sdk: Callable[..., None]) -> None:
    sdk("BEARER_TOKEN", LLM_API_RETRY_COUNT="1")


def ask_sdk(version: str, way: str, seen: list[Any] | None = None) -> None:
    answer = qianfan.ChatCompletion(version=version).do(messages=ask("你好"), stream=way == "stream")
    for event in answer if way == "stream" else [answer]:
        if seen is not None:
            seen.append(event["result"] if version == "1" else event["choices"][0]["delta"]["content"])


@by_way
@every_v1
def test_sdk_v1(account: Any, v1: None, code: int, way: str) -> None:
    account.fail(code, times=2)
    with pytest.raises(sdk_v1_error(code)) as caught:
        ask_sdk("1", way)
    assert type(caught.value) is sdk_v1_error(code)
    entries = inference(account)
    assert [entry.status for entry in entries] == [200] * (2 if code in V1_TOKEN else 1)
    if isinstance(error := caught.value, APIError):
        assert error.error_code == code
        assert V1[code][0] in error.error_msg
        assert SDK_ADVICE.get(code, "") in error.error_msg
        assert error.req_id == ("" if code in V1_GATEWAY else entries[0].request_id)


@by_way
@pytest.mark.parametrize("code", sorted(V1_TOKEN))
def test_sdk_mends_a_token(account: Any, v1: None, code: int, way: str) -> None:
    account.fail(code).then.reply("好")
    seen: list[str] = []
    ask_sdk("1", way, seen)
    assert "".join(seen) == "好"


@every_v2
def test_sdk_v2(account: Any, v2: None, code: str) -> None:
    # Its v2 looks at the status first, and keeps the service's words in its own message alone.
    status, kind, text, _ = V2[code]
    account.fail(code)
    with pytest.raises(RequestError) as caught:
        ask_sdk("2", "chat")
    error = caught.value
    assert error.status_code == status
    assert error.headers["Content-Type"].startswith("application/json")
    for said in (f'"code":"{code}"', f'"type":"{kind}"', text, f'"id":"{only(account).request_id}"'):
        assert said in str(error)


@every_v2
def test_sdk_v2_stream(account: Any, v2: None, code: str) -> None:
    account.fail(code)
    with pytest.raises(APIError) as caught:
        ask_sdk("2", "stream")
    error = caught.value
    assert error.error_code == code
    assert V2[code][2] in error.error_msg
    assert error.req_id == only(account).request_id
    assert only(account).status == V2[code][0]


@every_v1
@pytest.mark.parametrize("form", ["data", "line"])
def test_sdk_v1_in_the_middle_of_a_stream(account: Any, sdk: Any, code: int, form: str) -> None:
    # With its default of three attempts: it starts no stream again that has begun, whatever the code.
    sdk("AK", "SK")
    account.stream(PIECES, error_after=1, error=code, error_form=form).then.reply("好")
    seen: list[str] = []
    if form == "line" and code in V1_TOKEN:
        # But for a bare line that says the token is over: it fetches one, and says all of the new answer after the old.
        ask_sdk("1", "stream", seen)
        assert "".join(seen) == "一好"
        return
    with pytest.raises(sdk_v1_error(code)) as caught:
        ask_sdk("1", "stream", seen)
    assert seen == ["一"]
    assert type(caught.value) is sdk_v1_error(code)
    if isinstance(error := caught.value, APIError):
        assert error.error_code == code
        assert V1[code][0] in error.error_msg
    only(account)


@every_v2
def test_sdk_v2_in_the_middle_of_a_stream(account: Any, v2: None, code: str) -> None:
    account.stream(PIECES, error_after=1, error=code)
    seen: list[str] = []
    with pytest.raises(APIError) as caught:
        ask_sdk("2", "stream", seen)
    assert seen == ["一"]
    assert (caught.value.error_code, caught.value.req_id) == (code, only(account).request_id)
    assert V2[code][2] in caught.value.error_msg


# openai-python


@pytest.fixture(scope="module")
def pool(server: Any) -> Iterator[openai.OpenAI]:
    # One for all: it takes longer to make than to use.
    with openai.OpenAI(base_url=f"{server.url}/v2", api_key="each test's own", max_retries=0) as made:
        yield made


@pytest.fixture
def compatible(pool: openai.OpenAI, account: Any) -> openai.OpenAI:
    return pool.with_options(api_key=account.credentials.bearer_token)


@by_way
@every_v2
def test_openai_python(account: Any, compatible: openai.OpenAI, code: str, way: str) -> None:
    status, kind, text, _ = V2[code]
    account.fail(code)
    with pytest.raises(openai.APIStatusError) as caught:
        compatible.chat.completions.create(model=MODEL, messages=ask("你好"), stream=way == "stream")
    error = caught.value
    assert type(error) is OPENAI[status]
    assert (error.status_code, error.code, error.type) == (status, code, kind)
    assert text in error.body["message"]
    assert error.body["message"] in error.message
    assert error.response.json()["id"] == only(account).request_id


@every_v2
def test_openai_python_in_the_middle_of_a_stream(account: Any, compatible: openai.OpenAI, code: str) -> None:
    account.stream(PIECES, error_after=1, error=code)
    seen: list[str] = []
    with pytest.raises(openai.APIError) as caught:
        seen.extend(
            chunk.choices[0].delta.content
            for chunk in compatible.chat.completions.create(model=MODEL, messages=ask("数"), stream=True)
        )
    error = caught.value
    assert seen == ["一"]
    assert type(error) is openai.APIError  # no status any more: the stream began with 200
    assert (error.code, error.type) == (code, V2[code][1])
    assert V2[code][2] in error.message
    only(account)
