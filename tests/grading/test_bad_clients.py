"""Clients that do it wrong, over sockets: what the mock really sees is enough to catch them."""

from __future__ import annotations

import json
import socket

import openai
import pytest
import requests
import tenacity

from qfkit.protocol.dialects import OAUTH_TOKEN, TEXT_GENERATION_CHAT, V1_PREFIX
from qfkit.protocol.signing import sign_hmac

V1_CHAT = f"{V1_PREFIX}/chat/completions"


def v2(account, question="q", **more):
    body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": question}], **more.pop("body", {})}
    headers = {"Authorization": f"Bearer {account.credentials.bearer_token}", **more.pop("headers", {})}
    return requests.post(f"{account.url}/v2/chat/completions", json=body, headers=headers, timeout=10, **more)


def token_of(account):
    keys = account.credentials
    query = {"grant_type": "client_credentials", "client_id": keys.ak, "client_secret": keys.sk}
    return requests.post(f"{account.url}{OAUTH_TOKEN}", params=query, timeout=10).json()["access_token"]


def v1(account, token, question="q"):
    body = {"messages": [{"role": "user", "content": question}]}
    return requests.post(f"{account.url}{V1_CHAT}", params={"access_token": token}, json=body, timeout=10).json()


def caught(account, code):
    verdict = account.verdict()
    assert verdict.codes == (code,), verdict.render()
    return verdict


def test_hammering(account):
    account.fail(500, times=4)
    while v2(account).status_code != 200:
        pass
    finding = caught(account, "no-backoff").against[0]
    assert finding.attempts == (1, 2, 3, 4, 5)


def test_giving_up_and_saying_so(account):
    account.fail(500)
    v2(account)
    caught(account, "not-retried")
    account.noticed()
    assert account.verdict().ok


def test_a_v1_error_that_is_taken_for_an_answer(account):
    token = token_of(account)
    account.fail(18)
    v1(account, token)
    caught(account, "body-code-unnoticed")
    assert account.verdict(noticed=True).ok


def test_retrying_what_cannot_succeed(account, clock):
    account.fail(400, times=3)
    for wait in (0.4, 0.9, 0.0):
        v2(account)
        clock.sleep(wait)
    caught(account, "permanent-retried")


def test_retry_after_is_a_suggestion(account, clock):
    account.fail(429, retry_after=5)
    v2(account)
    clock.sleep(2.0)
    v2(account)
    assert "asked to wait 5 s" in caught(account, "retry-after-undercut").render()


def test_retry_after_as_a_date_is_kept_to_the_second(account, clock):
    account.fail(429, retry_after="Wed, 01 May 2024 08:00:09 GMT")
    v2(account)
    clock.sleep(8.5)
    v2(account)
    assert account.verdict().ok


def test_a_fixed_sleep(account, clock):
    account.fail(500, times=3)
    while v2(account).status_code != 200:
        clock.sleep(1.0)
    caught(account, "backoff-not-growing")


def test_a_library_wrapped_in_another(account, asleep):
    account.on(contains="q").fail(500, times="forever")

    @tenacity.retry(wait=tenacity.wait_random_exponential(max=5), stop=tenacity.stop_after_attempt(3), reraise=True)
    def ask(client):
        client.chat.completions.create(model="ernie-4.0-8k", messages=[{"role": "user", "content": "q"}])

    with (
        openai.OpenAI(base_url=f"{account.url}/v2", api_key=account.credentials.bearer_token) as client,
        pytest.raises(openai.InternalServerError),
    ):
        ask(client)
    assert len(account.requests) == 9
    caught(account, "layers-stacked")


def test_the_old_token_again(account, clock):
    token = token_of(account)
    account.expire_tokens()
    assert v1(account, token)["error_code"] == 111
    clock.sleep(0.5)
    v1(account, token)
    caught(account, "token-not-refreshed")


@pytest.mark.filterwarnings(
    r"ignore:datetime\.datetime\.utc(now|fromtimestamp)\(\) is deprecated:DeprecationWarning:(qianfan|baidubce)\."
)
def test_the_official_sdk_sends_a_token_again_that_ended_soon_after_it_was_fetched(account, sdk):
    """It takes a token that is under an hour old for fresh, whatever the service says."""
    chat = sdk.ChatCompletion(forcing_disable=True)
    chat.do(messages=[{"role": "user", "content": "a"}])
    account.expire_tokens()
    with pytest.raises(sdk.errors.AccessTokenExpiredError):
        chat.do(messages=[{"role": "user", "content": "b"}])
    caught(account, "token-not-refreshed")


def test_a_token_for_every_thread(account):
    tokens = [token_of(account)]
    account.expire_tokens()
    for number in range(6):
        v1(account, tokens[0], f"q{number}")
    tokens = [token_of(account) for _ in range(6)]
    for number, token in enumerate(tokens):
        v1(account, token, f"q{number}")
    caught(account, "token-storm")


def test_a_stream_that_broke_off(account):
    account.stream(["春", "眠", "不"], cut_after=2)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        v2(account, body={"stream": True})
    caught(account, "truncated-accepted")


def test_a_stream_that_ended_without_its_end(account):
    account.stream(["春", "眠", "不"], cut_after=2, cut="clean")
    assert "春" in v2(account, body={"stream": True}).content.decode()
    caught(account, "truncated-accepted")


def test_a_stream_with_an_error_in_it(account):
    account.stream(["春", "眠", "不"], error_after=1, error=336100)
    v2(account, body={"stream": True})
    caught(account, "truncated-accepted")


def test_a_stream_that_is_asked_for_again(account, clock):
    account.stream(["春", "眠", "不"], cut_after=2, cut="clean")
    for _ in range(2):
        v2(account, body={"stream": True})
        account.verdict()  # waits until the mock has noted how it ended
        clock.sleep(0.5)
    caught(account, "retried-after-content")


def settle(account):
    """Until the mock has noted how the last answer ended."""
    while account.requests[-1].outcome == "pending":
        pass


def signed(account, clock):
    body = json.dumps({"messages": [{"role": "user", "content": "q"}]}).encode()
    headers = sign_hmac(
        access_key=account.credentials.access_key,
        secret_key=account.credentials.secret_key,
        method="POST",
        target=TEXT_GENERATION_CHAT,
        body=body,
        timestamp=int(clock.time()),
        nonce="n1",
    )
    return headers, body


def test_signing_once_for_all_attempts(account, clock):
    headers, body = signed(account, clock)
    account.fail(500)
    for _ in range(2):
        requests.post(f"{account.url}{TEXT_GENERATION_CHAT}", data=body, headers=headers, timeout=10)
        clock.sleep(1.0)
    verdict = caught(account, "signature-reused")
    assert "#1" in verdict.render()


@pytest.mark.parametrize("place", ["body", "target", "header"])
def test_a_secret_in_clear_is_found_and_not_written_down(account, place):
    secret = account.credentials.secret_key
    if place == "body":
        v2(account, body={"user": secret})
    elif place == "target":
        v2(account, params={"key": secret})
    else:
        v2(account, headers={"X-My-Key": secret})
    assert f"secret_key in {'a' if place == 'header' else 'the'} {place}" in caught(account, "secret-in-clear").render()
    entry = account.requests[-1]
    assert secret not in json.dumps(entry.to_dict(), default=str)
    assert secret not in repr(entry)
    assert entry.ok


def test_the_secret_of_the_application_belongs_into_a_token_fetch(account):
    v1(account, token_of(account))
    assert account.verdict().ok
    requests.post(f"{account.url}{V1_CHAT}", params={"access_token": account.credentials.sk}, json={}, timeout=10)
    v2(account, body={"user": account.credentials.sk})
    assert account.credentials.sk not in json.dumps([entry.to_dict() for entry in account.requests])
    caught(account, "secret-in-clear")


def test_short_secrets_made_up_for_a_test_are_not_looked_for(mock):
    account = mock.account(secret_key="user", sk="content")
    v2(account)
    assert account.verdict().ok


def test_rotated_keys_are_looked_for(account):
    account.rotate()
    v2(account, body={"user": account.credentials.secret_key})
    caught(account, "secret-in-clear")


def test_a_stream_that_nobody_reads_nor_closes(mock, account, clock):
    account.stream(["春", "眠"], stall_after=1)
    body = json.dumps({"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "q"}], "stream": True})
    with socket.create_connection(("127.0.0.1", mock.port)) as connection:
        connection.sendall(
            "POST /v2/chat/completions HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {account.credentials.bearer_token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert account.verdict().ok
        clock.sleep(60.0)
        caught(account, "stream-abandoned")
    settle(account)
    assert account.verdict().ok
