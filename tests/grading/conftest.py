"""A mock and its clients on one clock, that passes when a client sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mock_server import AccountHandle, MockServer


class SharedClock:
    """Time that passes only when somebody sleeps; can be set back, for clients that live at the same time."""

    START = 1_714_550_400.0

    def __init__(self) -> None:
        self.now = self.START

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)


@pytest.fixture
def clock() -> SharedClock:
    return SharedClock()


@pytest.fixture
def mock(clock: SharedClock) -> Iterator[MockServer]:
    with MockServer(port=0, clock=clock) as server:
        yield server


@pytest.fixture
def account(mock: MockServer) -> AccountHandle:
    return mock.account()


@pytest.fixture
def asleep(clock: SharedClock, monkeypatch: pytest.MonkeyPatch) -> SharedClock:
    """Sleeps of this thread pass on the shared clock; those of others, such as a limiter's poll, are real."""
    real, here = time.sleep, threading.current_thread()

    def sleep(seconds: float) -> None:
        if threading.current_thread() is here:
            clock.sleep(seconds)
        else:
            real(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    return clock


@pytest.fixture
def sdk(account: AccountHandle, asleep: SharedClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Any]:
    """The official SDK, pointed at the account, its global state put back."""
    import qianfan
    from qianfan import config
    from qianfan.resources.llm.base import BaseResource
    from qianfan.resources.rate_limiter import rate_limiter

    limiters: dict[str, Any] = {}
    loops: list[asyncio.AbstractEventLoop] = []
    real: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop

    def new_event_loop() -> asyncio.AbstractEventLoop:
        loop = real()
        if sys._getframe(1).f_globals.get("__name__") == rate_limiter.__name__:
            loops.append(loop)
        return loop

    monkeypatch.setattr(asyncio, "new_event_loop", new_event_loop)
    monkeypatch.setattr(rate_limiter, "_RATE_LIMITER_MAP", limiters)
    monkeypatch.setattr(BaseResource, "_runtime_models_info", {})
    given = account.env()
    for name in [name for name in os.environ if name.startswith("QIANFAN_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        if name.startswith("QIANFAN_") and (name.endswith(("_URL", "_AK", "_SK"))):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("QIANFAN_DISABLE_CACHE", "true")
    monkeypatch.setenv("QIANFAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("QIANFAN_DOT_ENV_CONFIG_FILE", str(tmp_path / "no-such.env"))
    monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)
    yield qianfan
    monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)
    for limiter in limiters.values():
        for name in ("_internal_qp10s_rate_limiter", "_internal_rpm_rate_limiter", "_internal_qps_rate_limiter"):
            with contextlib.suppress(AttributeError):
                getattr(limiter, name)._sync_limiter.stop()
    for loop in loops:
        loop.close()
