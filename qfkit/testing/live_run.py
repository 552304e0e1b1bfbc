"""The hooks of a run under ``--qianfan-live``. Registered with pytest only then; see `qfkit.testing.live`."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from qfkit.client.credentials import dialect_of, read_credentials
from qfkit.client.exceptions import ConfigurationError
from qfkit.testing import options
from qfkit.testing.live import Absent, Budget, Live, LiveAccount, LiveInterception, Spent

if TYPE_CHECKING:
    from qfkit import Client

#: The name that `LiveRun` is registered under.
NAME = "qfkit-live"

TITLE = "what was sent to the real service"

#: Fixtures that only the mock has -> why.
_MOCK_ONLY = {"qianfan_clock": "the real service does not run on virtual time"}

_ACCOUNT = pytest.StashKey[LiveAccount]()
#: Lines of the log, and refused requests, when the test began.
_BEFORE = pytest.StashKey["tuple[int, int]"]()


class LiveRun:
    """One run of tests against the real service.

    Args:
        config: of the run.

    Raises:
        pytest.UsageError: there are no keys.
    """

    def __init__(self, config: pytest.Config) -> None:
        credentials = read_credentials(os.environ)
        try:
            dialect_of(credentials)
        except ConfigurationError as error:
            raise pytest.UsageError(f"--qianfan-live needs keys of the real service: {error}") from None
        requests, tokens = (options.of_run(config, f"live_max_{what}") for what in ("requests", "tokens"))
        self._gateway: str = options.of_run(config, "live_gateway")
        self.mode = f"live within {requests} requests and {tokens} tokens"
        if self._gateway:
            self.mode += f", sent to {self._gateway}"
        budget = Budget(_share(config, requests), _share(config, tokens), shared=hasattr(config, "workerinput"))
        self.live = Live(credentials, budget, self._gateway)
        self.server = Absent("qianfan_server", "there is no mock to ask")
        #: Of the whole run: this process and its workers.
        self._spent = Spent()

    # What the fixtures are

    @contextmanager
    def account(self, node: pytest.Item) -> Iterator[LiveAccount]:
        """What ``qianfan_mock`` is, while the real hosts' names lead to the gate."""
        with self.live.route() as account:
            node.stash[_ACCOUNT] = account
            yield account

    def client(self, dialect: str) -> Client:
        """What ``qianfan_client`` is; skips the test where there are no keys for its dialect."""
        from qfkit import Client  # noqa: PLC0415 - few live tests have the reference client as theirs

        try:
            return Client.from_env({**os.environ, **self.live.environment()}, dialect=dialect)
        except ConfigurationError as error:
            pytest.skip(f"--qianfan-live: {error} (or choose another with --qianfan-dialect)")

    def interception(self, node: pytest.Item) -> LiveInterception:
        """What ``qianfan_intercept`` is."""
        if hosts := options.of_test(node, "hosts"):
            pytest.skip(f"--qianfan-live: {', '.join(hosts)}: only hosts of Qianfan are sent to")
        return LiveInterception(node.stash[_ACCOUNT])

    # Hooks

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip what is not for the real service, and everything of ours once the budget is spent."""
        names: list[str] = getattr(item, "fixturenames", [])
        if not any(name.startswith("qianfan_") for name in names):
            return
        budget = self.live.budget
        item.stash[_BEFORE] = len(budget.log), budget.spent.refused
        if options.of_test(item, "mock_only"):
            pytest.skip("--qianfan-live: the test is marked mock_only")
        for name, why in _MOCK_ONLY.items():
            if name in names:
                pytest.skip(f"--qianfan-live: {name}: {why}")
        if (empty := budget.empty) is not None:
            pytest.skip(f"--qianfan-live: {budget.told(empty)}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Skip a test that asked for the mock's own; fail one that the budget did not suffice for, for that alone."""
        failed: BaseException | None = None
        result: object = None
        try:
            result = yield
        except pytest.skip.Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed = error
        account = item.stash.get(_ACCOUNT, None)
        if account is not None and account.wanted is not None:
            pytest.skip(account.wanted)
        budget = self.live.budget
        if _BEFORE in item.stash and budget.spent.refused > item.stash[_BEFORE][1] and budget.empty is not None:
            beside = f"\n  the test ended with {type(failed).__name__}: {failed}" if failed is not None else ""
            pytest.fail(f"--qianfan-live: {budget.told(budget.empty)}{beside}", pytrace=False)
        if failed is not None:
            raise failed
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show beside a failed test what was sent."""
        report = yield
        if report.failed and _BEFORE in item.stash:
            log = self.live.budget.log[item.stash[_BEFORE][0] :]
            report.sections.append((TITLE, "\n".join(log) or "(nothing)"))
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Close the gate; a worker tells the run what it has spent."""
        self.live.close()
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[NAME] = self.live.budget.spent.to_data()
        self._spent.add(self.live.budget.spent.to_data())

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Count what a worker of pytest-xdist has spent."""
        told = getattr(node, "workeroutput", {}).get(NAME)
        if told is not None:
            self._spent.add(told)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Say what was spent."""
        spent, write = self._spent, terminalreporter.write_line
        terminalreporter.section("qianfan live")
        requests, tokens = (options.of_run(config, f"live_max_{what}") for what in ("requests", "tokens"))
        estimated = f" ({spent.estimated} of them estimated)" if spent.estimated else ""
        write(f"sent {spent.requests} of {requests} requests, used {spent.tokens} of {tokens} tokens{estimated}")
        for call, times in sorted(spent.calls.items()):
            write(f"  {times} x {call}")
        if spent.refused:
            write(f"not sent, for the budget was spent: {spent.refused}")


def _share(config: pytest.Config, total: int) -> int:
    """What of the budget is this process's: workers of pytest-xdist divide it, so that all of them keep within it."""
    given = getattr(config, "workerinput", None)
    if given is None:
        return total
    workers, index = given["workercount"], int(given["workerid"].removeprefix("gw"))
    return int(total // workers + (index < total % workers))
