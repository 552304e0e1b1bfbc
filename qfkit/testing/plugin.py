"""The pytest plugin: a mock Qianfan in the test process, an account a test.

This module is imported by every pytest run of a project that has qfkit installed, so it imports nothing of weight:
flask, requests and the rest come when a fixture is used. Options are read with this precedence: marker of the test,
command line, ini file, default.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mock_server import AccountHandle, MockServer
    from qfkit import Client
    from qfkit.testing.guard import Guard
    from qfkit.testing.intercept import Interception

#: Option -> (ini name, default, help). One table makes the command line, the ini file and the reading agree.
_OPTIONS: dict[str, tuple[str, str, str]] = {
    "--qianfan-config": ("qianfan_config", "", "YAML file of settings for the mock server of the session"),
    "--qianfan-seed": ("qianfan_seed", "0", "made-up answers of the mock are the same for the same seed"),
}

#: The same for what is either on or off.
_SWITCHES: dict[str, tuple[str, str]] = {
    "--qianfan-guard": ("qianfan_guard", "every test that uses a fixture of qfkit stays on this machine"),
}

#: Argument of the marker -> what it is for. The marker's help and its check agree.
_ARGUMENTS: dict[str, tuple[str, str]] = {
    "dialect": ('"text_generation"', "what qianfan_client speaks, one of text_generation, v1, v2"),
    "keys": ("{}", "keys written into the code under qianfan_intercept, such as access_key and secret_key"),
    "hosts": ("()", "more hosts that qianfan_intercept sends to the mock"),
    "allow": ("()", "what a guarded test may reach: hosts, addresses, networks, each with :port if wanted"),
}

_MARKER = (
    f"qianfan({', '.join(f'{name}={default}' for name, (default, _) in _ARGUMENTS.items())}): "
    "how the qfkit fixtures behave in this test. "
    + "; ".join(f"{name}: {text}" for name, (_, text) in _ARGUMENTS.items())
    + "."
)

_ACCOUNT = pytest.StashKey["AccountHandle"]()
_GUARD = pytest.StashKey["Guard"]()
_INTERCEPTION = pytest.StashKey["Interception"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, each on the command line and in the ini file."""
    group = parser.getgroup("qianfan", "qfkit: mock Qianfan")
    for option, (ini, default, text) in _OPTIONS.items():
        group.addoption(option, default=None, help=f"{text} (ini: {ini})")
        parser.addini(ini, f"{text} (command line: {option})", default=default)
    for switch, (ini, text) in _SWITCHES.items():
        group.addoption(switch, action="store_true", default=None, help=f"{text} (ini: {ini})")
        parser.addini(ini, f"{text} (command line: {switch})", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, for ``--strict-markers`` and ``pytest --markers``."""
    config.addinivalue_line("markers", _MARKER)


def option(config: pytest.Config, name: str) -> str:
    """The value of an option: command line over ini file over default."""
    ini, _default, _text = _OPTIONS[name]
    given = config.getoption(name)
    return str(given if given is not None else config.getini(ini))


def switch(config: pytest.Config, name: str) -> bool:
    """Whether a switch is on: command line over ini file over off."""
    given = config.getoption(name)
    return bool(given if given is not None else config.getini(_SWITCHES[name][0]))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Guard the tests that ``--qianfan-guard`` is about: from before their own fixtures until after them."""
    if switch(config, "--qianfan-guard"):
        for item in items:
            names: list[str] = getattr(item, "fixturenames", [])
            if "qianfan_guard" not in names and any(name.startswith("qianfan_") for name in names):
                names.insert(0, "qianfan_guard")


@pytest.fixture(scope="session")
def qianfan_server(pytestconfig: pytest.Config) -> Iterator[MockServer]:
    """The mock server of the session (of each worker under ``pytest -n``), on a free port of 127.0.0.1.

    Shared by all tests; take `qianfan_mock` for an account of your own on it.
    """
    from mock_server import MockServer  # noqa: PLC0415 - see the module's docstring

    seed, config = option(pytestconfig, "--qianfan-seed"), option(pytestconfig, "--qianfan-config")
    try:
        number = int(seed)
    except ValueError:
        raise pytest.UsageError(f"--qianfan-seed (ini: qianfan_seed) is a whole number; got {seed!r}") from None
    with MockServer(port=0, config=config or None, seed=number) as server:
        yield server


@pytest.fixture
def qianfan_mock(qianfan_server: MockServer, request: pytest.FixtureRequest) -> AccountHandle:
    """A fresh account on the mock server: script what its requests meet, read what arrived.

    ``qianfan_mock.fail(18, times=2).then.reply("ok")`` queues two refusals and an answer; ``qianfan_mock.requests`` is
    what arrived, with the verdict on each signature. No other test can see or disturb this account.
    """
    account = qianfan_server.account()
    request.node.stash[_ACCOUNT] = account
    return account


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

    Speaks text_generation; ``@pytest.mark.qianfan(dialect="v2")`` makes it speak another dialect.
    """
    from qfkit import Client  # noqa: PLC0415 - see the module's docstring
    from qfkit.testing.clock import SkippingClock  # noqa: PLC0415

    dialect = marked(request.node, "dialect", "text_generation")
    with Client(
        base_url=qianfan_mock.url, credentials=qianfan_mock.credentials, dialect=dialect, clock=SkippingClock()
    ) as client:
        qianfan_mock.waits_seen = False  # it skips them in a time of its own
        yield client


@pytest.fixture
def qianfan_intercept(
    qianfan_server: MockServer, qianfan_mock: AccountHandle, request: pytest.FixtureRequest
) -> Iterator[Interception]:
    """Code with https://aip.baidubce.com or https://qianfan.baidubce.com written into it lands on the mock, unchanged.

    requests, urllib3, httpx, openai, aiohttp and whatever else resolves names with the socket module; certificates are
    checked, against a throw-away authority. Keys that are written into the code belong to `qianfan_mock` after
    ``qianfan_intercept.use(access_key="...", secret_key="...")``, or ``@pytest.mark.qianfan(keys={...})``.
    """
    from qfkit.testing.intercept import intercept  # noqa: PLC0415 - see the module's docstring

    keys, hosts = marked(request.node, "keys", {}), marked(request.node, "hosts", ())
    with intercept(qianfan_server, qianfan_mock, hosts=hosts) as interception:
        request.node.stash[_INTERCEPTION] = interception
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

    with guard(marked(request.node, "allow", ()), path=str(request.path)) as watch:
        request.node.stash[_GUARD] = watch
        yield watch


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that tried to leave its machine, even when the code under test kept that to itself."""
    result = yield
    watch = item.stash.get(_GUARD, None)
    if watch is not None and watch.refused:
        raise watch.refused[0]
    return result


def marked(node: pytest.Item, name: str, default: Any) -> Any:
    """An argument of the test's ``qianfan`` marker, or ``default``. The closest marker wins.

    Raises:
        pytest.UsageError: the marker has an argument that it does not know.
    """
    for marker in node.iter_markers("qianfan"):
        unknown = set(marker.kwargs) - set(_ARGUMENTS)
        if unknown or marker.args:
            what = ", ".join(map(repr, [*marker.args, *sorted(unknown)]))
            raise pytest.UsageError(f"{node.nodeid}: the qianfan marker knows no {what}; it is {_MARKER}")
        if name in marker.kwargs:
            return marker.kwargs[name]
    return default


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show beside a failed test what the mock saw of it."""
    outcome: Any = yield
    report = outcome.get_result()
    account = item.stash.get(_ACCOUNT, None)
    if account is not None and report.when == "call" and report.failed:
        waiting = account.waiting
        lines = [repr(account.requests)]
        if account.misfortune:
            lines.append(f"{account.misfortune}: the same call on a fresh account breaks the same requests again")
        if waiting:
            lines.append(f"not met by any request: {', '.join(waiting)}")
        if (interception := item.stash.get(_INTERCEPTION, None)) is not None:
            lines += interception.strays
        if not (call.excinfo and hasattr(call.excinfo.value, "verdict")):  # a failed verdict has been told
            lines += _graded(account)
        report.sections.append(("what the mock Qianfan saw", "\n".join(lines)))


def _graded(account: AccountHandle) -> list[str]:
    """What is to be said of the client; nothing where nothing is."""
    try:
        verdict = account.verdict()
    except Exception as error:  # noqa: BLE001 - the test has failed already, and for another reason
        return [f"no verdict on the client: {type(error).__name__}: {error}"]
    return [verdict.render()] if verdict.findings else []
