"""The pytest plugin: a mock Qianfan in the test process, an account a test.

This module is imported by every pytest run of a project that has qfkit installed, so it imports nothing of weight:
flask, requests and the rest come when a fixture is used. What can be set, and where, is in `qfkit.testing.options`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from qfkit.testing import options

if TYPE_CHECKING:
    from mock_server import AccountHandle, MockServer
    from qfkit import Client
    from qfkit.testing.guard import Guard
    from qfkit.testing.intercept import Interception
    from qfkit.testing.live_run import LiveRun
    from qfkit.testing.strict import Finding, Strict
    from qfkit.testing.virtual import VirtualClock

#: Hooks that tell the results of `qfkit.testing.conformance`.
pytest_plugins = ("qfkit.testing.conformance.hooks",)

_ACCOUNT = pytest.StashKey["AccountHandle"]()
_GUARD = pytest.StashKey["Guard"]()
#: The mock of the session, and how many requests it had seen when the test began.
_SINCE = pytest.StashKey["tuple[MockServer, int]"]()
#: The test has failed for what `strict` found, and need not hear it twice.
_TOLD = pytest.StashKey[bool]()
#: Something of the test has failed, be it a subtest.
_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, each on the command line and in the ini file."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and declare the marker, for ``--strict-markers`` and ``pytest --markers``."""
    options.check(config)
    config.addinivalue_line("markers", options.MARKER)
    if options.of_run(config, "live"):
        from qfkit.testing.live_run import NAME, LiveRun  # noqa: PLC0415 - see the module's docstring

        config.pluginmanager.register(LiveRun(config), NAME)


def _live(config: pytest.Config) -> LiveRun | None:
    """What the fixtures are under ``--qianfan-live``."""
    run: LiveRun | None = config.pluginmanager.get_plugin("qfkit-live")
    return run


def pytest_report_header(config: pytest.Config) -> str:
    """Say which qfkit it is, and how the mock is set."""
    from qfkit import __version__  # noqa: PLC0415 - see the module's docstring

    if (run := _live(config)) is not None:
        return f"qianfan: qfkit {__version__}, {run.mode}"
    strict = "strict" if options.of_run(config, "strict") else "not strict"
    return f"qianfan: qfkit {__version__}, mock, {strict}, seed {options.of_run(config, 'seed')}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Guard the tests that are to be: from before their own fixtures until after them."""
    for item in items:
        names: list[str] = getattr(item, "fixturenames", [])
        ours = any(name.startswith("qianfan_") for name in names)
        if ours and "qianfan_guard" not in names and _guarded(item):
            names.insert(0, "qianfan_guard")


def _guarded(item: pytest.Item) -> bool:
    try:
        return bool(options.of_test(item, "guard"))
    except pytest.UsageError:  # told when the test is set up: one wrong marker is no reason to run no test at all
        return False


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tell a wrong marker before anything is made of it."""
    options.check_marker(item)


@pytest.fixture(scope="session")
def qianfan_server(pytestconfig: pytest.Config) -> Iterator[MockServer]:
    """The mock server of the session (of each worker under ``pytest -n``), on a free port of 127.0.0.1.

    Shared by all tests; take `qianfan_mock` for an account of your own on it.
    """
    if (run := _live(pytestconfig)) is not None:
        yield cast("MockServer", run.server)
        return
    from mock_server import MockServer  # noqa: PLC0415 - see the module's docstring

    seed, config = options.of_run(pytestconfig, "seed"), options.of_run(pytestconfig, "config")
    with MockServer(port=0, config=config or None, seed=seed) as server:
        yield server


@pytest.fixture
def qianfan_mock(qianfan_server: MockServer, request: pytest.FixtureRequest) -> Iterator[AccountHandle]:
    """A fresh account on the mock server: script what its requests meet, read what arrived.

    ``qianfan_mock.fail(18, times=2).then.reply("ok")`` queues two refusals and an answer; ``qianfan_mock.requests`` is
    what arrived, with the verdict on each signature. No other test can see or disturb this account.

    Strict: a test that passes though a step was never met, or a request came that none of its rules expected, fails.
    ``@pytest.mark.qianfan(strict=False)`` relaxes a test, the ini value ``qianfan_strict = false`` all of them.
    """
    if (run := _live(request.config)) is not None:
        with run.account(request.node) as stand_in:
            yield cast("AccountHandle", stand_in)
        return
    seen, account = qianfan_server.state.journal.count, qianfan_server.account()
    stash = request.node.stash
    stash[_ACCOUNT], stash[_SINCE] = account, (qianfan_server, seen)
    stash[_TOLD] = stash[_FAILED] = False
    yield account


@pytest.fixture
def qianfan_env(qianfan_mock: AccountHandle, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Environment variables that send the official SDK, LangChain, openai and qfkit to the mock, for this test.

    Sets QIANFAN_*, OPENAI_BASE_URL and OPENAI_API_KEY to the account of `qianfan_mock` and returns them.
    """
    environment = qianfan_mock.env()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
def qianfan_client(qianfan_mock: AccountHandle, request: pytest.FixtureRequest) -> Iterator[Client]:
    """The reference client, with the keys of `qianfan_mock`. It backs off without really waiting.

    On a clock of its own that skips waits; with `qianfan_clock`, on virtual time like everybody else.

    Speaks text_generation; ``@pytest.mark.qianfan(dialect="v2")`` makes it speak another dialect.
    """
    from qfkit import Client  # noqa: PLC0415 - see the module's docstring
    from qfkit.clock import SYSTEM_CLOCK  # noqa: PLC0415
    from qfkit.testing.clock import SkippingClock  # noqa: PLC0415

    dialect = options.of_test(request.node, "dialect")
    if (run := _live(request.config)) is not None:
        with run.client(dialect) as client:
            yield client
        return
    clock = SYSTEM_CLOCK if "qianfan_clock" in request.fixturenames else SkippingClock()
    with Client(
        base_url=qianfan_mock.url, credentials=qianfan_mock.credentials, dialect=dialect, clock=clock
    ) as client:
        qianfan_mock.waits_seen = clock is SYSTEM_CLOCK  # else it skips them in a time of its own
        yield client


@pytest.fixture
def qianfan_clock() -> Iterator[VirtualClock]:
    """This test runs on virtual time: a wait of minutes ends at once, at the time at which it would have ended.

    ``time``, ``datetime``, asyncio, waits with an end in threading and queue, timeouts of sockets; and the mock with
    its quotas, tokens and streams. ``qianfan_clock.sleeps`` is who slept how long, ``.elapsed`` what has passed,
    ``.advance(seconds)`` lets time pass. In which order fixtures are asked for does not matter.
    """
    from qfkit.testing.virtual import virtual_time  # noqa: PLC0415 - see the module's docstring

    with virtual_time() as clock:
        yield clock


@pytest.fixture
def qianfan_intercept(
    qianfan_server: MockServer, qianfan_mock: AccountHandle, request: pytest.FixtureRequest
) -> Iterator[Interception]:
    """Code with https://aip.baidubce.com or https://qianfan.baidubce.com written into it lands on the mock, unchanged.

    requests, urllib3, httpx, openai, aiohttp and whatever else resolves names with the socket module; certificates are
    checked, against a throw-away authority. Keys that are written into the code belong to `qianfan_mock` after
    ``qianfan_intercept.use(access_key="...", secret_key="...")``, or ``@pytest.mark.qianfan(keys={...})``.
    """
    if (run := _live(request.config)) is not None:
        yield cast("Interception", run.interception(request.node))
        return
    from qfkit.testing.intercept import intercept  # noqa: PLC0415 - see the module's docstring

    keys, hosts = options.of_test(request.node, "keys"), options.of_test(request.node, "hosts")
    with intercept(qianfan_server, qianfan_mock, hosts=hosts) as interception:
        try:
            yield interception.use(**keys) if keys else interception
        finally:
            interception.release()


@pytest.fixture
def qianfan_guard(request: pytest.FixtureRequest) -> Iterator[Guard]:
    """This test stays on its machine: whatever looks up a foreign name or connects to a foreign address fails it.

    Loopback and Unix sockets are free, and what ``@pytest.mark.qianfan(allow=["example.com", "10.0.0.0/8"])`` names.
    ``--qianfan-guard`` (ini: qianfan_guard) guards every test that uses a fixture of qfkit.
    """
    from qfkit.testing.guard import guard  # noqa: PLC0415 - see the module's docstring

    with guard(options.of_test(request.node, "allow"), path=str(request.path)) as watch:
        request.node.stash[_GUARD] = watch
        yield watch


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that passed though it tried to leave its machine, or whose script was not played."""
    result = yield
    watch = item.stash.get(_GUARD, None)
    if watch is not None and watch.refused:
        raise watch.refused[0]
    if not item.stash.get(_FAILED, False) and (found := _unplayed(item, options.of_test(item, "strict"))):
        from qfkit.testing.strict import failure  # noqa: PLC0415 - for the unlucky

        item.stash[_TOLD] = True
        pytest.fail(failure(found), pytrace=False)
    return result


def _unplayed(item: pytest.Item, strict: Strict) -> list[Finding]:
    account = item.stash.get(_ACCOUNT, None)
    if account is None or not strict:
        return []
    from qfkit.testing.strict import findings  # noqa: PLC0415 - see the module's docstring

    return findings(account, strict, item.config.rootpath)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show beside a failed test what the mock saw of it."""
    outcome: Any = yield
    report = outcome.get_result()
    account = item.stash.get(_ACCOUNT, None)
    if account is not None and report.failed:
        from qfkit.testing.reporting import TITLE, Seen, section  # noqa: PLC0415 - for the unlucky

        item.stash[_FAILED] = True
        server, since = item.stash[_SINCE]
        seen = Seen(server, account, since, lambda: [] if item.stash[_TOLD] else _unplayed(item, "script"))
        report.sections.append((TITLE, section(seen, call.excinfo.value if call.excinfo else None)))
