"""Other people's clients in a load test: what is reported of a call is what the mock's journal holds."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest
import requests
import urllib3

from loadtests.planning.budget import BudgetSpent
from loadtests.planning.spelling import PlanError
from loadtests.sending.clients import CLIENTS, Call, Said, Setting, describe, factory_of
from loadtests.sending.watching import install, watch
from mock_server import MockServer

pytestmark = pytest.mark.filterwarnings(
    r"ignore:datetime\.datetime\.utc(now|fromtimestamp)\(\) is deprecated:DeprecationWarning:(qianfan|baidubce)\."
)

#: Client -> the dialects it speaks, of those that we play.
SPOKEN = {"qfkit": ("text_generation", "v1", "v2"), "sdk": ("v1", "v2"), "openai": ("v2",)}
ALL = [(name, dialect) for name, dialects in SPOKEN.items() for dialect in dialects]


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer(seed=5) as server:
        yield server


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch) -> Iterator[None]:
    """The SDK is told by variables, and keeps what they said; no client of ours waits in these tests."""
    before, level = dict(os.environ), logging.getLogger("qianfan").level
    os.environ |= {"QIANFAN_LLM_API_RETRY_BACKOFF_FACTOR": "0", "QIANFAN_LLM_API_RETRY_JITTER": "0"}
    os.environ |= {"NO_PROXY": "127.0.0.1"}
    monkeypatch.setattr("openai._base_client.BaseClient._calculate_retry_timeout", lambda *_: 0.0)
    monkeypatch.setattr("qfkit.clock.SystemClock.sleep", lambda *_: None, raising=False)
    remove = install()
    yield
    remove()
    os.environ.clear()
    os.environ |= before
    logging.getLogger("qianfan").setLevel(level)
    if config := sys.modules.get("qianfan.config"):
        monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)


def caller_of(server: MockServer, name: str, dialect: Any, attempts: int | None = None) -> tuple[Any, Any]:
    account = server.account()
    setting = Setting(server.url, dialect, None, account.env(), attempts)
    return account, factory_of(name)(setting)


def made(caller: Any, kind: Any = "chat", prompt: str = "你好", admit: Any = lambda url: None) -> Any:
    with watch(admit) as seen:
        call = Call(caller, kind)
        call.make(prompt)
    return call.sample(seen, scenario="test"), call


@pytest.mark.parametrize(("name", "dialect"), ALL)
def test_a_good_call(server, name, dialect):
    account, caller = caller_of(server, name, dialect)
    account.reply("晴")
    sample, call = made(caller)
    served = [entry for entry in account.requests if entry.operation == "chat"]
    assert call.error is None
    assert (sample.outcome, len(sample.attempts), sample.output_tokens is not None) == ("ok", 1, True)
    assert (sample.requests, sample.requests - sample.token_requests) == (len(account.requests), len(served))
    assert [attempt.status for attempt in sample.attempts] == [200]
    assert sample.attempts[0].ok
    assert sample.attempts[0].at == pytest.approx(served[0].time, abs=0.1)


@pytest.mark.parametrize(("name", "dialect"), ALL)
def test_a_stream(server, name, dialect):
    account, caller = caller_of(server, name, dialect)
    account.stream(["床", "前", "明"], ttft=0.05, interval=0.01)
    sample, call = made(caller, "stream")
    assert (call.error, sample.outcome, len(sample.contents)) == (None, "ok", 3)
    assert 0.05 <= sample.ttft <= sample.e2e <= sample.end
    assert sample.headers < sample.ttft
    assert len(sample.itl) == 2


@pytest.mark.parametrize(("name", "dialect"), [row for row in ALL if row != ("sdk", "v2")])
def test_attempts_are_those_of_the_journal(server, name, dialect):
    account, caller = caller_of(server, name, dialect)
    code = {"v2": "rpm_rate_limit_exceeded"}.get(dialect, 18)
    account.fail(code, times=2).then.reply("好")
    sample, call = made(caller)
    served = [entry for entry in account.requests if entry.operation == "chat"]
    assert call.error is None
    assert (sample.outcome, len(sample.attempts), len(served)) == ("ok", 3, 3)
    assert [attempt.status for attempt in sample.attempts] == [entry.status for entry in served]
    assert [attempt.ok for attempt in sample.attempts] == [False, False, True]
    assert all(attempt.phase == "body" for attempt in sample.attempts[:2])


@pytest.mark.parametrize(("name", "dialect"), ALL)
def test_a_failed_call_has_the_services_code(server, name, dialect):
    account, caller = caller_of(server, name, dialect, attempts=1)
    code = {"v2": "rpm_rate_limit_exceeded"}.get(dialect, 18)
    account.fail(code, times=9)
    sample, _ = made(caller)
    failure = sample.failure
    assert (sample.outcome, len(sample.attempts)) == ("failed", 1)
    if (name, dialect) == ("sdk", "v2"):  # it says no more than the status
        assert (failure.status, failure.code, failure.what) == (429, None, "RequestError")
    else:
        assert failure.code == code


@pytest.mark.parametrize(("name", "dialect"), [("qfkit", "v1"), ("sdk", "v1"), ("openai", "v2")])
def test_the_attempts_of_a_call_are_limited(server, name, dialect):
    account, caller = caller_of(server, name, dialect, attempts=2)
    account.fail({"v2": "rpm_rate_limit_exceeded"}.get(dialect, 18), times=9)
    sample, _ = made(caller)
    assert (sample.outcome, len(sample.attempts)) == ("failed", 2)


@pytest.mark.parametrize(("name", "dialect"), [("qfkit", "v2"), ("sdk", "v2"), ("openai", "v2")])
def test_the_wait_for_an_answer_is_limited(server, name, dialect):
    account = server.account()
    account.fault("hang", times=9)
    caller = factory_of(name)(Setting(server.url, dialect, None, account.env(), 1, timeout=0.1))
    sample, _ = made(caller)
    assert (sample.outcome, sample.failure.status, sample.failure.phase) == ("failed", None, "headers")
    assert sample.end == pytest.approx(0.1, abs=0.3)


def test_an_open_call_counts_from_the_moment_that_it_was_meant_for(server):
    account, caller = caller_of(server, "qfkit", "v2")
    account.reply("好")
    with watch(lambda url: None) as seen:
        call = Call(caller, "chat", time.perf_counter() - 2.0)
        call.make("?")
    sample = call.sample(seen, scenario="test", measure_from=time.time() - 1.0)
    assert sample.late == pytest.approx(2.0, abs=0.1)
    assert sample.end == pytest.approx(2.0, abs=0.2)
    assert sample.warmup is True


@pytest.mark.parametrize(("name", "dialect"), [("qfkit", "v2"), ("sdk", "v2"), ("openai", "v2")])
def test_what_breaks_on_the_way_has_its_phase(server, name, dialect):
    account, caller = caller_of(server, name, dialect, attempts=1)
    account.fault("reset", times=9)
    sample, _ = made(caller)
    assert (sample.outcome, sample.failure.status, sample.failure.phase) == ("failed", None, "headers")


@pytest.mark.parametrize(("name", "dialect"), [("qfkit", "v2"), ("sdk", "v2"), ("openai", "v2")])
def test_nobody_there_is_another_phase(name, dialect):
    with MockServer() as gone:
        url, env = gone.url, gone.account().env()
    caller = factory_of(name)(Setting(url, dialect, None, env, 1))
    sample, _ = made(caller)
    assert (sample.outcome, sample.failure.status, sample.failure.phase) == ("failed", None, "connect")


@pytest.mark.parametrize(("name", "dialect"), [("qfkit", "v2"), ("sdk", "v2"), ("openai", "v2")])
def test_no_client_passes_the_gate(server, name, dialect):
    account, caller = caller_of(server, name, dialect)

    def refuse(url: str) -> None:
        raise BudgetSpent

    with watch(refuse) as seen:
        Call(caller, "chat").make("?")
    assert isinstance(seen.refused, BudgetSpent)
    assert list(account.requests) == []


class TestOnesOwn:
    """A client of somebody's own, with any library."""

    @pytest.fixture
    def url(self, server):
        account = server.account()
        account.fail(503).then.reply("好")
        self.headers = {"Authorization": f"Bearer {account.credentials.bearer_token}"}
        self.body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]}
        return f"{server.url}/v2/chat/completions"

    @pytest.mark.parametrize("library", ["requests", "urllib3", "httpx"])
    def test_its_attempts_are_seen(self, url, library):
        test = self

        class Mine:
            def chat(self, prompt: str) -> str:
                for _ in range(2):
                    if library == "requests":
                        answer = requests.post(url, headers=test.headers, json=test.body, timeout=9)
                    elif library == "httpx":
                        answer = httpx.post(url, headers=test.headers, json=test.body, trust_env=False)
                    else:
                        with urllib3.PoolManager() as pool:
                            answer = pool.request("POST", url, headers=test.headers, json=test.body)
                return str(answer.json() if library != "urllib3" else answer.data)

        sample, call = made(Mine())
        assert call.error is None
        assert [attempt.status for attempt in sample.attempts] == [503, 200]

    def test_a_factory_by_its_path(self, monkeypatch):
        module = ModuleType("my_app_client")
        module.make = lambda setting: setting.url
        monkeypatch.setitem(sys.modules, "my_app_client", module)
        setting = Setting("http://x", "v2", None, {})
        assert factory_of("my_app_client:make")(setting) == "http://x"

    def test_what_it_raises_is_told_by_status_and_code_or_by_its_class(self):
        class Odd(Exception):
            status = 418
            code = "teapot"

        assert describe(Odd()) == (418, "teapot", "Odd")
        assert describe(KeyError("x")) == (None, None, "KeyError")

    def test_an_answer_may_be_a_text_or_nothing(self):
        class Silent:
            def chat(self, prompt: str) -> None:
                return None

        sample, call = made(Silent())
        assert (call.error, sample.outcome, sample.requests) == (None, "ok", 0)
        assert Said("a") == ("a", None, None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("reqests", "--client is qfkit, sdk, openai, or the path of a factory"),
        ("no_such_module:make", "no_such_module cannot be imported"),
        ("loadtests.sending.clients:make", "has no function 'make'; it has Call, Caller, Said, Setting, describe"),
    ],
)
def test_a_client_that_there_is_not(name, words):
    with pytest.raises(PlanError, match=words):
        factory_of(name)


def test_a_client_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(CLIENTS, "sdk", (CLIENTS["sdk"][0], "qianfan_not_there", "qianfan"))
    with pytest.raises(PlanError, match="needs the package qianfan, which is not installed: pip install qianfan"):
        factory_of("sdk")


@pytest.mark.parametrize(
    ("name", "dialect", "words"),
    [
        (
            "sdk",
            "text_generation",
            "the official SDK does not speak text_generation: give --dialect v1 or --dialect v2",
        ),
        ("openai", "v1", "openai does not speak v1: give --dialect v2"),
        ("openai", "v2", "openai needs QIANFAN_BEARER_TOKEN"),
        ("sdk", "v1", "the official SDK needs QIANFAN_AK and QIANFAN_SK for v1"),
    ],
)
def test_a_client_that_cannot(name, dialect, words):
    with pytest.raises(PlanError, match=words):
        factory_of(name)(Setting("http://127.0.0.1:1", dialect, None, {}))
