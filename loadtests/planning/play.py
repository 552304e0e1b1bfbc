"""What the scenarios ``backoff`` and ``outage`` play, and with which client: validated values. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from loadtests.planning.spelling import PlanError, seconds_of
from qfkit.grading import Limits, declared
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


class Play(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is played, and with which client.

    Attributes:
        client: ``qfkit``, ``sdk``, ``openai``, or the path of a factory; see `loadtests.sending.clients`.
        attempts: requests of one call at most; None for what the client does by itself.
        client_timeout: seconds that the client waits for an answer; None for its own time-out.
        quota: of ``backoff``, such as ``qps=5`` or ``rpm=60,concurrency=2``.
        schedule: what the client says of its waits, such as ``openai`` or ``aws-full:base=0.5,cap=8``.
        limits: where the verdict draws its lines, such as ``tolerance=0.3``; see `qfkit.grading.Limits`.
        fault: of ``outage``: ``error``, a code of the service, or a fault such as ``reset`` or ``hang``.
        fault_at: seconds from the beginning of the run to that of the fault.
        fault_for: seconds that it lasts.
    """

    client: str = "qfkit"
    attempts: Annotated[int, msgspec.Meta(ge=1)] | None = None
    client_timeout: Annotated[float, msgspec.Meta(gt=0)] | None = None
    quota: str = "qps=5"
    schedule: str | None = None
    limits: str | None = None
    fault: str = "error"
    fault_at: str | None = None
    fault_for: str | None = None

    def quotas(self) -> dict[str, float]:
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
            self.quotas()
        else:
            start, end = self.window(run_time)
            self.step(dialect, end - start)
        try:
            declared(self.schedule)
        except ValueError as error:
            raise PlanError(f"--schedule: {error}") from error
        try:
            Limits.parse(self.limits or "")
        except ValueError as error:
            raise PlanError(f"--limits: {error}") from error
