"""One mock for the whole run, one account a test, and other people's clients pointed at them.

The clients under test are not ours and keep state of their own between calls: the official SDK has a global
configuration, a table of limiters and a table of models. The fixtures here put that state back, so that tests may run
in any order.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
import requests
from contract_helpers import OAUTH_TOKEN, Naps
from raw_requests import BY_NAME, CHAT, CHATS, Caller, send

from mock_server import MockServer


@pytest.fixture(scope="session")
def server() -> Iterator[MockServer]:
    with MockServer(port=0) as running:
        yield running


@pytest.fixture
def account(server: MockServer) -> Any:
    return server.account()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy of the machine that runs the tests must not stand between a client and the loopback server.
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Naps:
    seen = Naps()
    real_sleep, real_asyncio, real_anyio = time.sleep, asyncio.sleep, anyio.sleep

    def caller() -> str:
        return str(sys._getframe(2).f_globals.get("__name__", ""))

    def sleep(seconds: float) -> None:
        real_sleep(seen.note(seconds, caller()))

    # Not coroutine functions: inside one, the caller's frame is the event loop's.
    def asyncio_sleep(delay: float, result: Any = None) -> Any:
        return real_asyncio(seen.note(delay, caller()), result)

    def anyio_sleep(delay: float) -> Any:
        return real_anyio(seen.note(delay, caller()))

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(asyncio, "sleep", asyncio_sleep)
    monkeypatch.setattr(anyio, "sleep", anyio_sleep)
    return seen


@pytest.fixture
def sdk(account: Any, naps: Naps, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Callable[..., None]]:
    """Point the official SDK at the mock: ``sdk("AK", "SK")`` leaves it those two credentials of the account.

    Keyword arguments set further variables, ``sdk("AK", "SK", SK="wrong")``; all names without their ``QIANFAN_``.
    """
    from qianfan import config
    from qianfan.resources.llm.base import BaseResource
    from qianfan.resources.rate_limiter import rate_limiter

    limiters: dict[str, Any] = {}
    loops: list[asyncio.AbstractEventLoop] = []
    real_new_event_loop = asyncio.new_event_loop

    def new_event_loop() -> asyncio.AbstractEventLoop:
        loop = real_new_event_loop()
        if sys._getframe(1).f_globals.get("__name__") == rate_limiter.__name__:
            loops.append(loop)
        return loop

    monkeypatch.setattr(asyncio, "new_event_loop", new_event_loop)
    monkeypatch.setattr(rate_limiter, "_RATE_LIMITER_MAP", limiters)
    monkeypatch.setattr(BaseResource, "_runtime_models_info", {})

    def configure(*credentials: str, **settings: str) -> None:
        for name in [name for name in os.environ if name.startswith("QIANFAN_")]:
            monkeypatch.delenv(name)
        given = account.env()
        chosen = {f"QIANFAN_{name}": given[f"QIANFAN_{name}"] for name in credentials}
        urls = {name: value for name, value in given.items() if name.startswith("QIANFAN_") and name.endswith("_URL")}
        quiet = {
            "QIANFAN_DISABLE_CACHE": "true",
            "QIANFAN_CACHE_DIR": str(tmp_path / "cache"),
            "QIANFAN_DOT_ENV_CONFIG_FILE": str(tmp_path / "no-such.env"),
            # Its back-off starts at one second. Zero waits leave the number of attempts as it is.
            "QIANFAN_LLM_API_RETRY_BACKOFF_FACTOR": "0",
            "QIANFAN_LLM_API_RETRY_JITTER": "0",
        }
        further = {f"QIANFAN_{name}": value for name, value in settings.items()}
        for name, value in {**urls, **quiet, **chosen, **further}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)  # read again at the next use

    yield configure

    monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)
    for limiter in limiters.values():  # each keeps a thread that polls for as long as the process lives
        for name in ("_internal_qp10s_rate_limiter", "_internal_rpm_rate_limiter", "_internal_qps_rate_limiter"):
            if hasattr(limiter, name):
                getattr(limiter, name)._sync_limiter.stop()
    for loop in loops:  # it warms its limiters up on event loops that it leaves open
        loop.close()
    assert naps.long == [], f"the SDK asked to wait {naps.long} s"


@pytest.fixture
def caller(server: MockServer, account: Any) -> Caller:
    """Signs any bytes for the account."""
    query = {"grant_type": "client_credentials", "client_id": account.credentials.ak}
    query["client_secret"] = account.credentials.sk
    token = requests.post(server.url + OAUTH_TOKEN, params=query, timeout=10).json()["access_token"]
    return Caller(server.url, account, token)


@pytest.fixture
def connection(server: MockServer) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)) as made:
        yield made


@pytest.fixture
def still_answers(caller: Caller, connection: http.client.HTTPConnection) -> Iterator[None]:
    """After the test, on a new connection, an ordinary request of every dialect is answered."""
    yield
    connection.close()
    for endpoint in (*CHATS, BY_NAME["oauth"], BY_NAME["iam"], BY_NAME["service-list"]):
        body = CHAT if endpoint in CHATS else b"{}"
        assert send(connection, endpoint, caller.authenticated(endpoint, body), body) == "ok"
