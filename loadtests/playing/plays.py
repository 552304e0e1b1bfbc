"""What a scenario plays on the mock while users make calls, and what it has to say at the end. Knows no Locust.

``backoff`` sets a quota on an account of its own. ``outage`` lets that account's service fail for a while in the middle
of the run. Both read from the account's journal what came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from loadtests.planning.play import Name, Play
from loadtests.playing.control import Account, Control, ControlFailed, Seen
from loadtests.playing.recovery import outage_lines, outage_section
from loadtests.playing.served import backoff_lines, backoff_section
from qfkit.protocol.dialects import InferenceDialect

#: Seconds between two looks at the journal: so that a long run does not outgrow it.
LOOK_EVERY = 1.0

_DOWN, _UP = "qfkit-load-down", "start"


class Stage:
    """An account of a mock on which a scenario plays.

    Args:
        name: of the scenario.
        play: what is played.
        dialect: in which the client speaks.
        control: of the mock.
        run_time: seconds of the run.
        sleep: waits, for other things to go on.
        now: a monotonic clock, in seconds.

    Attributes:
        environ: keys of the account, for the users.
    """

    def __init__(
        self,
        name: Name,
        play: Play,
        dialect: InferenceDialect,
        control: Control,
        *,
        run_time: float,
        sleep: Callable[[float], None],
        now: Callable[[], float],
    ) -> None:
        self.name = name
        self.play = play
        self._dialect = dialect
        self._control = control
        self._run_time = run_time
        self._sleep, self._now = sleep, now
        self._seen: list[Seen] = []
        self._window: tuple[float, float] | None = None
        self._ended: float | None = None
        self._account: Account | None = None
        self.environ: dict[str, str] = {}

    def prepare(self) -> None:
        """Make the account, and set what its requests will meet. To be called before the users start.

        Raises:
            ControlFailed: there is no mock, or it refuses.
        """
        account = self._account = self._control.new_account(f"load-{self.name}-{uuid4().hex[:8]}")
        self.environ = dict(account.env)
        if self.name == "backoff":
            account.quota(**self.play.quotas())
        else:
            start, end = self.play.window(self._run_time)
            account.rule({"state": _DOWN}, self.play.step(self._dialect, end - start), priority=1_000_000)

    def run(self) -> None:
        """Play: to be called as the run begins, beside it; returns when there is no more to play."""
        account = self._account
        assert account is not None
        if self.name != "outage":
            return
        begun = self._now()
        start, end = self.play.window(self._run_time)
        self._until(begun + start)
        down = self._control.now()
        account.enter(_DOWN)
        self._until(begun + end)
        account.enter(_UP)
        self._window = down, self._control.now()

    def follow(self) -> None:
        """Read what came since the last time."""
        assert self._account is not None
        self._seen += self._account.read()

    def ends(self) -> None:
        """No more calls are begun."""
        if self._ended is None:
            self._ended = self._control.now()

    def _until(self, moment: float) -> None:
        while (left := moment - self._now()) > 0:
            self._sleep(left)

    def section(self) -> dict[str, Any]:
        """What came of it, as data for the report. To be called when all calls have ended.

        Raises:
            ControlFailed: the mock does not say.
        """
        account = self._account
        assert account is not None
        self.ends()
        self.follow()
        seen = [*self._seen, *account.under_way()]
        began = min((one.time for one in seen), default=self._ended or 0.0)
        span = (began, max(self._ended or 0.0, began))
        more: Mapping[str, Any]
        if self.name == "backoff":
            more = backoff_section(seen, quota=self.play.quotas(), span=span, schedule=self.play.schedule)
        elif self._window is None:
            more = {"window": None, "why": "the run ended before the fault did: make it longer"}
        else:
            start, end = self.play.window(self._run_time)
            more = outage_section(
                seen,
                window=self._window,
                span=span,
                fault=self.play.step(self._dialect, end - start),
                schedule=self.play.schedule,
            )
        forgotten = account.count - len(seen)
        verdict, unjudged = self._verdict(account)
        section = {
            "client": self.play.client,
            "dialect": self._dialect,
            "attempts_per_call": self.play.attempts,
            "account": account.name,
            "requests": len(seen),
            "forgotten": forgotten,
            **more,
            "verdict": verdict,
        }
        lines = [*_LINES[self.name](section), *_verdict_lines(verdict), *unjudged]
        if forgotten:
            lines.append(
                f"{forgotten} requests had no room in the mock's journal and are missing here: start it with a larger "
                "--journal"
            )
        return {"lines": lines, **section}

    def _verdict(self, account: Account) -> tuple[dict[str, Any], list[str]]:
        """The verdict, and why it does not speak of the declared schedule, if it should."""
        schedule, limits, why = self.play.schedule, self.play.limits, []
        try:
            verdict = account.verdict(schedule, limits)
        except ControlFailed as error:
            if schedule is None:
                raise
            why = [f"the waits were not held against {schedule}: {error}"]
            verdict = account.verdict(None, limits)
        verdict.pop("calls", None)  # a row for each call; the figures above say more
        return verdict, why


def unseen(reconciliation: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The reconciliation of a run by a client of somebody's own, and what is to be said of it.

    Such a client may send from threads of its own, where its requests are seen by the mock alone. That the mock saw
    more than this process did is then no sign that something was lost; anything else that differs is.
    """
    found = dict(reconciliation)
    seen, sent = found["seen"], found["sent"]
    whole = found["calls"] == found["planned"] - found["unsent"] and found["recorded"] == sent and not found["unsent"]
    if found["ok"] or seen is None or seen <= sent or not whole:
        return found, None
    note = (
        f"{seen - sent} requests of the client were seen by the mock alone, for it sends from threads of its own: its "
        "attempts and waits are those of the mock's journal"
    )
    return {**found, "ok": True, "differences": []}, note


def _verdict_lines(verdict: Mapping[str, Any]) -> Iterator[str]:
    yield str(verdict["text"]).partition("\n")[0]
    for finding in verdict["findings"]:
        yield f"{finding['severity']} {finding['code']}: {finding['title']}"
    if schedule := verdict["schedule"]:
        yield f"declared {schedule['declared']}: {schedule['answer']}: {schedule['message']}"


_LINES: dict[Name, Callable[[Mapping[str, Any]], Iterator[str]]] = {"backoff": backoff_lines, "outage": outage_lines}
