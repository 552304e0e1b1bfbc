"""What a scenario plays on the mock while users make calls, and what it has to say at the end. Knows no Locust.

``backoff`` sets a quota on an account of its own. ``outage`` lets that account's service fail for a while in the middle
of the run. Both read from the account's journal what came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias
from uuid import uuid4

import msgspec

from loadtests.control import Account, Control, Seen
from loadtests.plan import PlanError, seconds_of
from loadtests.recovery import outage_lines, outage_section
from loadtests.served import backoff_lines, backoff_section
from qfkit.grading import declared
from qfkit.protocol.dialects import InferenceDialect

Name: TypeAlias = Literal["backoff", "outage"]

#: Scenarios that play on the mock.
PLAYS: tuple[Name, ...] = ("backoff", "outage")

#: Limits that a quota has, as the mock's configuration names them.
LIMITS = ("qps", "rpm", "tpm", "daily", "total", "concurrency")

#: ``--fault error`` in each dialect: what its clients take for a failure that another attempt may cure.
ERRORS: dict[InferenceDialect, int | str] = {"text_generation": 500, "v1": 336100, "v2": "internal_error"}

#: Faults on the way that make an outage; the mock has more, for single answers. What hangs is closed after a while.
FAULTS = ("reset", "hang", "close", "proxy-error")

#: Share of the run time after which the fault begins, and share that it lasts, unless told.
FAULT_AT, FAULT_FOR = 0.3, 0.2

#: Seconds between two looks at the journal: so that a long run does not outgrow it.
LOOK_EVERY = 1.0

_DOWN, _UP = "qfkit-load-down", "start"


class Play(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is played, and with which client.

    Attributes:
        client: ``qfkit``, ``sdk``, ``openai``, or the path of a factory; see `loadtests.clients`.
        attempts: requests of one call at most; None for what the client does by itself.
        client_timeout: seconds that the client waits for an answer; None for its own time-out.
        quota: of ``backoff``, such as ``qps=5`` or ``rpm=60,concurrency=2``.
        schedule: what the client says of its waits, such as ``openai`` or ``aws-full:base=0.5,cap=8``.
        fault: of ``outage``: ``error``, a code of the service, or a fault such as ``reset`` or ``hang``.
        fault_at: seconds from the beginning of the run to that of the fault.
        fault_for: seconds that it lasts.
    """

    client: str = "qfkit"
    attempts: Annotated[int, msgspec.Meta(ge=1)] | None = None
    client_timeout: Annotated[float, msgspec.Meta(gt=0)] | None = None
    quota: str = "qps=5"
    schedule: str | None = None
    fault: str = "error"
    fault_at: str | None = None
    fault_for: str | None = None

    def limits(self) -> dict[str, float]:
        """The quota.

        Raises:
            PlanError: it names no limit, or no number.
        """
        found: dict[str, float] = {}
        for part in self.quota.split(","):
            name, _, value = (piece.strip() for piece in part.partition("="))
            if name not in LIMITS:
                raise PlanError(f"--quota knows no {name!r}: choose among {', '.join(LIMITS)}, such as qps=5")
            if not value.isascii() or not value.isdigit() or int(value) < 1:
                raise PlanError(f"--quota {part.strip()!r}: {name} is a whole number from 1, such as {name}=5")
            found[name] = int(value)
        return found

    def step(self, dialect: InferenceDialect, lasts: float) -> dict[str, Any]:
        """The step that the mock plays during the fault.

        Args:
            dialect: whose errors ``error`` means.
            lasts: seconds of the fault. What hangs is closed after as long, as by a service that is restarted.

        Raises:
            PlanError: there is no such fault.
        """
        if self.fault == "error":
            return {"fail": ERRORS[dialect], "times": "forever"}
        if self.fault in FAULTS:
            more = {"open_for": lasts} if self.fault == "hang" else {}
            return {"fault": self.fault, **more, "times": "forever"}
        if self.fault.isdecimal() or "_" in self.fault:
            return {"fail": int(self.fault) if self.fault.isdecimal() else self.fault, "times": "forever"}
        raise PlanError(
            f"--fault knows no {self.fault!r}: it is error, a code such as 336100 or internal_error, or one of "
            f"{', '.join(FAULTS)}"
        )

    def window(self, run_time: float) -> tuple[float, float]:
        """Seconds from the beginning of the run to the beginning and the end of the fault.

        Raises:
            PlanError: nothing of the run is left before or after it.
        """
        start = FAULT_AT * run_time if self.fault_at is None else seconds_of(self.fault_at)
        end = start + (FAULT_FOR * run_time if self.fault_for is None else seconds_of(self.fault_for))
        if end >= run_time:
            raise PlanError(
                f"the fault would last until {end:g} s, and the run {run_time:g} s: make --run-time longer, or "
                "--fault-at and --fault-for smaller, so that the way back can be seen"
            )
        return start, end

    def check(self, name: Name, dialect: InferenceDialect, run_time: float) -> None:
        """Whether it can be played.

        Raises:
            PlanError: it cannot; the message says why.
        """
        if name == "backoff":
            self.limits()
        else:
            start, end = self.window(run_time)
            self.step(dialect, end - start)
        try:
            declared(self.schedule)
        except ValueError as error:
            raise PlanError(f"--schedule: {error}") from error


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
            account.quota(**self.play.limits())
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
        account.enter(_DOWN)
        down = self._control.now()
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
            more = backoff_section(seen, quota=self.play.limits(), span=span, schedule=self.play.schedule)
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
        verdict = account.verdict(self.play.schedule)
        verdict.pop("calls", None)  # a row for each call; the figures above say more
        section = {
            "client": self.play.client,
            "dialect": self._dialect,
            "attempts_per_call": self.play.attempts,
            "account": account.name,
            "requests": len(seen),
            "forgotten": account.forgotten,
            **more,
            "verdict": verdict,
        }
        return {"lines": list(_LINES[self.name](section)), **section}


_LINES: dict[Name, Callable[[Mapping[str, Any]], Iterator[str]]] = {"backoff": backoff_lines, "outage": outage_lines}
