"""Whether a run's figures can be trusted: its counts are held against the mock's, and its clock against a schedule.

Both need the mock's control API. Where it is not there (another server, or no token for it), the report says so, and
counts what can be counted here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gevent
import msgspec
import requests

from loadtests.playing.control import Control, ControlFailed
from loadtests.sending.calls import kinds_of
from loadtests.trusting.calibrate import NAME, Calibration, notes, section
from loadtests.trusting.reconcile import reconcile
from qfkit.client import QianfanError

if TYPE_CHECKING:
    from loadtests.measuring.recorder import Recorder
    from loadtests.measuring.tally import Ledger
    from loadtests.planning.plan import Plan

#: Looks, and seconds between them, until the server has noted the last requests.
_LOOKS, _BETWEEN = 40, 0.05

#: Seconds that a mock may take to say that it is there.
_PATIENCE = 3.0

#: About how many seconds the calibration at rest takes.
_AT_REST = 1.0


class _Keys(msgspec.Struct):
    access_key: str | None = None
    ak: str | None = None
    bearer_token: str | None = None


class _Account(msgspec.Struct):
    name: str
    requests: int
    credentials: _Keys


class _Accounts(msgspec.Struct):
    accounts: list[_Account]


class _Journal(msgspec.Struct):
    count: int


class ServerCount:
    """Requests that a mock has seen since this was made, but for those of accounts that are not ours.

    Its journal counts every request, also when it remembers none. Requests whose keys are wrong belong to no account:
    so what came for us is all that came, without what came for others.

    Args:
        control: of the mock.
        environ: holds our keys. Without an access key every account counts as ours.

    Raises:
        ControlFailed: it is no mock, or does not let us look.
    """

    def __init__(self, control: Control, environ: Mapping[str, str]) -> None:
        self._control = control
        self._key = environ.get("QIANFAN_ACCESS_KEY")
        self._all, self._others = self._now()

    def _now(self) -> tuple[int, dict[str, int]]:
        accounts = self._control.ask(_Accounts, "GET", "accounts").accounts
        others = {
            it.name: it.requests
            for it in accounts
            if self._key is not None and it.credentials.access_key != self._key and not it.name.startswith(NAME)
        }
        return self._control.ask(_Journal, "GET", "journal", limit=1).count, others

    def seen(self) -> int:
        """How many came since, those of the calibration among them.

        Raises:
            ControlFailed: the mock is gone.
        """
        count, others = self._now()
        return count - self._all - sum(now - self._others.get(name, 0) for name, now in others.items())


def _why(error: Exception) -> str:
    """What went wrong, without the advice that is meant for scenarios which cannot do without a mock."""
    return re.split(r"[:.] this scenario", str(error), maxsplit=1, flags=re.IGNORECASE)[0]


def _look(url: str) -> None:
    """See that there is a mock at all: another server may take its time for a path that it does not know.

    Raises:
        ControlFailed: there is none.
    """
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
            answer = session.get(f"{url}/__admin/health", timeout=_PATIENCE)
            if answer.json() == {"status": "ok"}:
                return
    except (requests.RequestException, ValueError):
        pass
    raise ControlFailed(f"{url} is no mock of qfkit")


class Trust:
    """What one process does for it.

    Args:
        recorder: of the process.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._forget()

    def _forget(self) -> None:
        self._count: ServerCount | None = None
        self._calibration: Calibration | None = None
        self._reconciliation: dict[str, Any] | None = None

    @staticmethod
    def takes(plan: Plan) -> float:
        """About how many seconds `begin` takes in a process that makes load."""
        return _AT_REST if plan.calibrate and not plan.traffic.live else 0.0

    def begin(self, plan: Plan, *, counts: bool, makes_load: bool, environ: Mapping[str, str] = os.environ) -> None:
        """Before the first call.

        Args:
            plan: of the run.
            counts: this process makes the report.
            makes_load: this process makes calls.
            environ: holds the keys of the run.
        """
        self._forget()
        if plan.traffic.live or not (plan.reconcile or plan.calibrate):
            return
        control = Control.from_env(plan.traffic.host, environ)
        try:
            _look(plan.traffic.host)
            if counts and plan.reconcile:
                self._count = ServerCount(control, environ)
            if makes_load and plan.calibrate:
                calibration = Calibration(control, self._recorder)
                calibration.at_rest()
                calibration.start()
                self._calibration = calibration
        except (ControlFailed, QianfanError) as error:
            self._recorder.note(f"neither reconciled with the server nor calibrated: {_why(error)}")

    def stop(self) -> None:
        """Calls are over in this process."""
        if self._calibration is None:
            return
        try:
            self._calibration.stop()
        except ControlFailed as error:
            self._recorder.note(f"not calibrated: {_why(error)}")
        self._calibration = None

    def finish(self, ledger: Ledger, plan: Plan) -> None:
        """The run is over, in all processes: count."""
        if plan.reconcile:
            self._reconciliation = reconcile(ledger, self._seen(ledger))

    def _seen(self, ledger: Ledger) -> int | None:
        if self._count is None:
            return None
        try:
            for _ in range(_LOOKS):
                seen = self._count.seen() - ledger.probes
                if reconcile(ledger, seen)["ok"]:
                    break
                gevent.sleep(_BETWEEN)  # the server may still be noting what was cut off
        except ControlFailed as error:
            self._recorder.note(f"not reconciled with the server: {_why(error)}")
            return None
        return seen

    def sections(self, ledger: Ledger, plan: Plan) -> dict[str, Any]:
        """What of the report is made here."""
        limits = []
        if ledger.unsent:
            limits.append(
                f"{ledger.unsent} of {ledger.planned} calls were not sent: as many as --max-in-flight "
                f"{plan.load.max_in_flight} allows were under way"
            )
        streams = any("stream" in kinds for kinds in kinds_of(plan.scenario, plan.traffic).values())
        calibration = section(ledger.calibration, streams=streams)
        return {
            "calibration": calibration,
            "reconciliation": self._reconciliation,
            "limits_reached": limits,
            "notes": [*ledger.notes, *notes(calibration)],
        }
