"""Quotas as a client meets them: each dialect's own refusal, headers that are true, places given back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from mock_server import MockServer
from qfkit import Client, RetryPolicy
from qfkit.client import APIError

CHAT = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]}


@pytest.fixture(scope="module")
def server():
    with MockServer() as running:
        yield running


def ask(account, **body) -> requests.Response:
    headers = {"Authorization": f"Bearer {account.credentials.bearer_token}"}
    return requests.post(f"{account.url}/v2/chat/completions", json=CHAT | body, headers=headers, timeout=10)


REFUSALS = [
    ("text_generation", {"qps": 0}, 429, 429),
    ("v1", {"qps": 0}, 18, 200),
    ("v1", {"rpm": 0}, 336501, 200),
    ("v1", {"tpm": 1}, 336502, 200),
    ("v1", {"daily": 0}, 17, 200),
    ("v1", {"total": 0}, 19, 200),
    ("v2", {"rpm": 0}, "rpm_rate_limit_exceeded", 429),
    ("v2", {"tpm": 1}, "tpm_rate_limit_exceeded", 429),
]


@pytest.mark.parametrize(("dialect", "limits", "code", "status"), REFUSALS)
def test_each_dialect_refuses_in_its_own_way(server, dialect, limits, code, status):
    account = server.account()
    account.quota(**limits)
    once = RetryPolicy(attempts=1)
    with Client(server.url, account.credentials, dialect, retry=once) as client, pytest.raises(APIError) as caught:
        client.chat("你好,请介绍一下你自己")
    assert (caught.value.code, caught.value.status) == (code, status)
    entry = account.requests[-1]
    assert entry.answered_by == "quota"
    assert entry.diagnosis


def test_text_generation_says_when_to_come_back(server):
    account = server.account()
    account.quota(rpm=1)
    with Client(server.url, account.credentials, retry=RetryPolicy(attempts=1)) as client:
        client.chat("你好")
        with pytest.raises(APIError) as caught:
            client.chat("你好")
    assert 0 < caught.value.retry_after <= 60


def test_headers_of_v1_are_true_to_the_state(server):
    account = server.account()
    account.quota(rpm=5, tpm=1000)
    with Client(server.url, account.credentials, "v1", retry=RetryPolicy(attempts=1)) as client:
        left = [client.chat("你好").headers["X-Ratelimit-Remaining-Requests"] for _ in range(3)]
    assert left == ["4", "3", "2"]


def test_never_more_than_the_quota_under_concurrency(server):
    account = server.account()
    account.quota(total=20)
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: ask(account).status_code, range(60)))
    assert statuses.count(200) == 20


def test_a_place_is_given_back_when_an_answer_ends_or_its_client_hangs_up(server):
    account = server.account()
    account.quota(concurrency=1)
    account.stream(["a", "b"], interval=60)
    headers = {"Authorization": f"Bearer {account.credentials.bearer_token}"}
    url = f"{server.url}/v2/chat/completions"
    with requests.post(url, json=CHAT | {"stream": True}, headers=headers, stream=True, timeout=10) as response:
        lines = response.iter_lines()  # kept: a generator that is dropped closes its connection
        assert next(lines).startswith(b"data: ")
        assert ask(account).status_code == 429
    deadline = time.monotonic() + 10
    while account.requests[0].outcome == "pending":
        assert time.monotonic() < deadline
    assert ask(account).status_code == 200
    assert ask(account).status_code == 200


def test_a_refused_request_uses_up_no_step(server):
    account = server.account()
    account.quota(total=1)
    account.reply("first").then.reply("second")
    assert ask(account).json()["choices"][0]["message"]["content"] == "first"
    assert ask(account).status_code == 403
    assert account.waiting == ["reply 'second' x1"]


def test_the_documented_quota_and_those_of_a_file(tmp_path):
    with MockServer(quota="documented") as server:
        account = server.account()
        assert account.credentials
        assert server.state.default_account.quotas.of("text_generation").limits.qps == 100
    file = tmp_path / "mock.yaml"
    file.write_text("accounts:\n  - name: a\n    quota:\n      rpm: 0\n", "utf-8")
    with MockServer(config=file) as server:
        assert ask(server.default_account).status_code == 429


def test_mistakes_are_told(server, tmp_path):
    with pytest.raises(ValueError, match="rpm"):
        server.account().quota(rpm=-1)
