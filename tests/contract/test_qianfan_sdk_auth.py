"""How the official SDK, unmodified, gets in, is kept out, and comes back when its token has expired."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import qianfan
import requests
from baidubce.auth.bce_credentials import BceCredentials
from baidubce.auth.bce_v1_signer import sign
from contract_helpers import IAM_TOKEN, NO_LIMITER, OAUTH_TOKEN, QUIET, SERVICE_LIST, V1, ask, at, collected, inference
from qianfan.errors import AccessTokenExpiredError, APIError, AuthError, RequestError

pytestmark = QUIET

Sdk = Callable[..., None]


def codes(account: Any) -> list[Any]:
    return [entry.error_code for entry in inference(account)]


# OAuth access tokens (v1)


def test_every_object_fetches_a_token_of_its_own_and_old_ones_stay_valid(account: Any, sdk: Sdk) -> None:
    sdk("AK", "SK")
    first, second = qianfan.ChatCompletion(), qianfan.ChatCompletion()
    for chat in (first, second, first):
        assert chat.do(messages=ask("你好"))["result"]
    assert len(at(account, OAUTH_TOKEN)) == 2
    assert first.access_token() != second.access_token()


def test_a_ready_token_needs_no_keys(account: Any, sdk: Sdk) -> None:
    sdk("AK", "SK")
    token = qianfan.ChatCompletion().access_token()
    assert token.startswith("24.")
    sdk(ACCESS_TOKEN=token)
    assert qianfan.ChatCompletion().do(messages=ask("你好"))["result"]
    assert len(at(account, OAUTH_TOKEN)) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_expired_token_is_fetched_again(account: Any, sdk: Sdk, stream: bool) -> None:
    sdk("AK", "SK", ACCESS_TOKEN_REFRESH_MIN_INTERVAL="0")
    chat = qianfan.ChatCompletion()
    chat.do(messages=ask("你好"))
    old = chat.access_token()
    account.expire_tokens()
    account.reply("好")
    answer = chat.do(messages=ask("再见"), stream=stream)
    assert "".join(event["result"] for event in (answer if stream else [answer])) == "好"
    assert chat.access_token() != old
    assert codes(account) == [None, 111, None]
    assert [entry.status for entry in inference(account)] == [200, 200, 200]  # the error too: it is v1
    assert len(at(account, OAUTH_TOKEN)) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_an_expired_token_is_fetched_again_async(account: Any, sdk: Sdk, stream: bool) -> None:
    sdk("AK", "SK", ACCESS_TOKEN_REFRESH_MIN_INTERVAL="0")

    async def talk() -> str:
        chat = qianfan.ChatCompletion(**NO_LIMITER)
        # A stream, because only that one takes the asynchronous way to its token.
        await collected(await chat.ado(messages=ask("你好"), stream=True))
        account.expire_tokens()
        account.reply("好")
        answer = await chat.ado(messages=ask("再见"), stream=stream)
        return "".join(event["result"] for event in (await collected(answer) if stream else [answer]))

    assert asyncio.run(talk()) == "好"
    assert codes(account) == [None, 111, None]
    assert len(at(account, OAUTH_TOKEN)) == 2


def test_a_token_fetched_lately_is_sent_once_more_and_given_up(account: Any, sdk: Sdk) -> None:
    sdk("AK", "SK")  # its own rule: no second fetch within the hour
    chat = qianfan.ChatCompletion()
    chat.do(messages=ask("你好"))
    account.expire_tokens()
    with pytest.raises(AccessTokenExpiredError):
        chat.do(messages=ask("再见"))
    assert codes(account) == [None, 111, 111]
    assert len(at(account, OAUTH_TOKEN)) == 1


def test_a_token_from_nowhere(account: Any, sdk: Sdk) -> None:
    sdk(ACCESS_TOKEN="24.0123456789abcdef0123456789abcdef.2592000.1999999999.282335-1")
    with pytest.raises(AccessTokenExpiredError):
        qianfan.ChatCompletion().do(messages=ask("你好"))


def test_expiry_is_scripted_for_one_account_alone(server: Any, account: Any, sdk: Sdk) -> None:
    sdk("AK", "SK")
    chat = qianfan.ChatCompletion()
    chat.do(messages=ask("你好"))
    server.account().expire_tokens()
    assert chat.do(messages=ask("你好"))["result"]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_wrong_api_key(account: Any, sdk: Sdk, way: str) -> None:
    sdk("AK", "SK", AK="no-such-key")
    with pytest.raises(AuthError, match=r"AK\(no-suc\*\*\*\) is not correct"):
        call(way)
    assert inference(account) == []


@pytest.mark.parametrize("way", ["sync", "async"])
def test_wrong_secret_key(account: Any, sdk: Sdk, way: str) -> None:
    sdk("AK", "SK", SK="no-such-secret")
    with pytest.raises(AuthError, match=r"SK\(no-suc\*\*\*\) is not correct"):
        call(way)
    assert inference(account) == []
    assert [entry.status for entry in at(account, OAUTH_TOKEN)] == [401]  # known key: its owner sees the attempt


def call(way: str) -> Any:
    if way == "sync":
        return qianfan.ChatCompletion().do(messages=ask("你好"))

    async def talk() -> Any:
        return await collected(await qianfan.ChatCompletion().ado(messages=ask("你好"), stream=True))

    return asyncio.run(talk())


# IAM signatures (v1 and console)


WRONG_IAM_KEYS = {"SECRET_KEY": "0123456789abcdef0123456789abcdef", "ACCESS_KEY": "ALTAKnobody"}


@pytest.mark.parametrize("wrong", sorted(WRONG_IAM_KEYS))
@pytest.mark.parametrize("way", ["sync", "async"])
def test_wrong_iam_keys(account: Any, sdk: Sdk, wrong: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    sdk("ACCESS_KEY", "SECRET_KEY", **{wrong: WRONG_IAM_KEYS[wrong]})
    with pytest.raises(APIError) as caught:
        call(way)
    assert caught.value.error_code == 14
    assert "IAM Certification failed" in caught.value.error_msg
    assert caught.value.req_id == ""  # an error of the gateway carries no id (wire reference 3.5)
    # The service list is refused first, with headers and no answer to the question; the SDK logs that and goes on.
    assert "error code from baidu: IamSignatureInvalid" in caplog.text
    assert "fetch_supported_models failed" in caplog.text
    if wrong == "SECRET_KEY":
        [entry] = inference(account)
        assert (entry.status, entry.error_code) == (200, 14)
        assert entry.signature.reason.name == "MISMATCH"
        assert account.credentials.secret_key not in json.dumps(entry.signature.to_dict())
        assert [entry.signature.ok for entry in at(account, SERVICE_LIST)] == [False]
    else:
        assert len(account.requests) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("SECRET_KEY", "IamSignatureInvalid, cause: Fail to authn user: Signature does not match"),
        ("ACCESS_KEY", "IamSignatureInvalid, cause: Could not find credential."),
    ],
)
def test_wrong_iam_keys_buy_no_bearer_token(account: Any, sdk: Sdk, wrong: str, message: str) -> None:
    sdk("ACCESS_KEY", "SECRET_KEY", **{wrong: WRONG_IAM_KEYS[wrong]})
    with pytest.raises(RequestError) as caught:
        qianfan.ChatCompletion(version="2").do(messages=ask("你好"))
    error = caught.value
    assert error.status_code == 403
    assert error.headers["X-Bce-Error-Code"] == "IamSignatureInvalid"
    assert error.headers["X-Bce-Error-Message"] == message
    assert error.headers["x-bce-request-id"]
    assert inference(account) == []


def test_another_host_name_that_was_signed(account: Any, sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    # Read by the SDK straight from the environment: users behind a gateway sign the service's own host.
    sdk("ACCESS_KEY", "SECRET_KEY")
    monkeypatch.setenv("QIANFAN_IAM_HOST", "aip.baidubce.com")
    assert qianfan.ChatCompletion().do(messages=ask("你好"))["result"]
    assert inference(account)[-1].signature.ok


# The signer under the SDK (bce-python-sdk), with headers that other callers of it choose


def signed_chat(server: Any, account: Any, headers: dict[str, str], listed: set[str] | None, **options: Any) -> Any:
    """Sign ``headers`` with the vendor's signer and send them; Host goes out with its port whatever was signed."""
    path, keys = f"{V1}/chat/completions", account.credentials
    body = json.dumps({"messages": ask("你好")}).encode()
    values = {"<length>": str(len(body)), "<now>": dated(time.time())}
    signed = {name: values.get(value, value) for name, value in headers.items()}
    authorization = sign(
        BceCredentials(keys.access_key, options.get("secret", keys.secret_key)),
        b"POST",
        path.encode(),
        {name.encode(): value for name, value in signed.items()},
        {},
        timestamp=time.time() - options.get("age", 0),
        expiration_in_seconds=options.get("expiration", 1800),
        headers_to_sign={name.encode() for name in listed} if listed else None,
    )
    sent = {name: value.encode() for name, value in signed.items() if name != "Host"}
    sent |= {"Content-Type": b"application/json", "Authorization": authorization}
    return requests.post(server.url + path, headers=sent, data=body, timeout=10).json()


def dated(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


JSON = {"Content-Type": "application/json"}
NOW = {"x-bce-date": "<now>"}


@pytest.mark.parametrize("port", [True, False], ids=["host-with-port", "host-without-port"])
@pytest.mark.parametrize(
    ("headers", "listed"),
    [
        ({}, {"host"}),
        (NOW, {"host", "x-bce-date"}),
        ({**NOW, **JSON, "Content-Length": "<length>"}, None),
        ({**NOW, **JSON}, {"host", "content-type", "x-bce-date"}),
        ({**NOW, **JSON, "X-Bce-Unlisted": "signed all the same"}, {"host"}),
        ({"X-Bce-Meta-Name": "中文 值"}, {"host", "x-bce-meta-name"}),
    ],
    ids=["host", "host-and-date", "default-set", "as-the-sdk", "x-bce-unlisted", "chinese-value"],
)
def test_signer_header_sets(
    server: Any, account: Any, headers: dict[str, str], listed: set[str] | None, port: bool
) -> None:
    address = urlsplit(server.url)
    answer = signed_chat(server, account, {"Host": address.netloc if port else address.hostname, **headers}, listed)
    assert answer.get("result"), answer
    assert inference(account)[-1].signature.ok


@pytest.mark.parametrize(
    "options",
    [
        {"age": 3600, "expiration": 1800},
        {"age": 400, "expiration": 300},
        {"secret": "0123456789abcdef0123456789abcdef"},
    ],
    ids=["expired", "just-expired", "wrong-secret"],
)
def test_signer_refusals(server: Any, account: Any, options: dict[str, Any]) -> None:
    headers = {"Host": urlsplit(server.url).netloc}
    answer = signed_chat(server, account, headers, {"host"}, **options)
    assert answer["error_code"] == 14
    assert not inference(account)[-1].signature.ok


# Bearer tokens (v2)


@pytest.mark.parametrize("token", ["bce-v3/ALTAK-000000000000000000000/" + "0" * 40, "garbage"])
def test_wrong_bearer_token(account: Any, sdk: Sdk, token: str) -> None:
    sdk(BEARER_TOKEN=token)
    chat = qianfan.ChatCompletion(version="2")
    with pytest.raises(RequestError) as refused:
        chat.do(messages=ask("你好"))
    assert refused.value.status_code == 401
    with pytest.raises(APIError) as told:  # a stream's error is read from the body
        list(chat.do(messages=ask("你好"), stream=True))
    assert told.value.error_code == "invalid_iam_token"
    assert told.value.error_msg == "invalid_iam_token"  # the live text, not the document's
    assert told.value.req_id.startswith("as-")


def test_an_access_token_is_no_bearer_token(account: Any, sdk: Sdk) -> None:
    sdk("AK", "SK")
    token = qianfan.ChatCompletion().access_token()
    sdk(BEARER_TOKEN=token)
    with pytest.raises(APIError) as told:
        list(qianfan.ChatCompletion(version="2").do(messages=ask("你好"), stream=True))
    assert told.value.error_code == "invalid_iam_token"


def test_secrets_are_not_in_the_journal(account: Any, sdk: Sdk) -> None:
    sdk("AK", "SK")
    oauth = qianfan.ChatCompletion()
    oauth.do(messages=ask("你好"))
    sdk("ACCESS_KEY", "SECRET_KEY")
    qianfan.ChatCompletion().do(messages=ask("你好"))
    qianfan.ChatCompletion(version="2").do(messages=ask("你好"))
    sdk("BEARER_TOKEN")
    qianfan.ChatCompletion(version="2").do(messages=ask("你好"))
    paths = {entry.path for entry in account.requests}
    assert paths >= {OAUTH_TOKEN, IAM_TOKEN, SERVICE_LIST}
    written = json.dumps([entry.to_dict() for entry in account.requests], ensure_ascii=False)
    for secret in (*account.credentials.secrets(), oauth.access_token()):
        assert secret not in written
