"""One mock a module, one account a test, no network but loopback."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from mock_server import MockServer
from qfkit.testing.guard import Guard, guard

HERE = Path(__file__).parent

#: The frameworks keep pools of connections that nothing of theirs closes.
LEFT_OPEN = pytest.mark.filterwarnings("ignore:unclosed (transport )?<(socket|_Selector):ResourceWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(LEFT_OPEN)


@pytest.fixture(scope="module", autouse=True)
def _leave_nothing_to_others() -> Iterator[None]:
    # What was left open is collected here, where the filter above holds, and not in the middle of another test.
    yield
    gc.collect()


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer(port=0, quota="none") as running:
        yield running


@pytest.fixture
def account(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A new account. Its environment is that of the test: all that a framework is told, unless a test says more."""
    made = server.account()
    for name, value in made.env().items():
        monkeypatch.setenv(name, value)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    return made


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Runs coroutines, all on one loop as in an application: asynchronous clients are kept and belong to theirs."""
    loop = asyncio.new_event_loop()
    yield loop.run_until_complete
    loop.run_until_complete(_end_all())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


async def _end_all() -> None:
    """Frameworks start tasks (of logging) that nothing of theirs ends."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@pytest.fixture(autouse=True)
def loopback() -> Iterator[Guard]:
    """The frameworks stay on this machine, also where they keep quiet about it that they were stopped."""
    with guard() as watch:
        yield watch
    assert watch.refused == []
