"""The other end: an outage, errors by chance, the mock's own quota, or a row that many want to write."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from mock_server.quota import Quota, Refused, error_code
from qfkit.client.answers import api_error
from qfkit.client.exceptions import ConnectionFailed, QianfanError, TimeoutExceeded
from qfkit.protocol.errors import ErrorSpec, envelope, lookup, translate
from qfkit.simulation.agenda import Agenda
from qfkit.simulation.scenario import Scenario

#: What an outage and chance answer with: the model service is overloaded.
_OVERLOADED = 336100


class Failure(NamedTuple):
    """An attempt that was not answered well.

    Attributes:
        error: what the reference client would raise.
        retry_after: seconds that the service asks to wait, None when it does not say.
        held: seconds for which it leaves the client waiting.
        refused: by a quota, or by another's write; otherwise it met a fault.
    """

    error: QianfanError
    retry_after: float | None = None
    held: float = 0.0
    refused: bool = False


class Service:
    """What becomes of an attempt that arrives.

    Args:
        scenario: says what it meets.
        agenda: tells the time.
        random: draws which attempts fail.
    """

    __slots__ = ("_agenda", "_errors", "_fault", "_mishap", "_quota", "_random", "_scenario", "_version", "admitted")

    def __init__(self, scenario: Scenario, agenda: Agenda, random: Random) -> None:
        self.admitted = 0
        self._scenario = scenario
        self._agenda = agenda
        self._random = random
        self._quota = Quota(scenario.limits, agenda)
        self._errors: dict[str, QianfanError] = {}
        self._version = 0
        overloaded = _error_of(translate(_OVERLOADED, scenario.dialect))
        self._mishap = Failure(overloaded)
        self._fault: Callable[[], Failure] = {
            "error": lambda: self._mishap,
            "reset": lambda: Failure(ConnectionFailed("no whole answer: connection reset")),
            "hang": lambda: Failure(
                TimeoutExceeded(f"nothing came for {scenario.timeout:g} s (read timeout)"), held=scenario.timeout
            ),
        }[scenario.fault]

    def read(self) -> int:
        """The version of the row, under contention."""
        return self._version

    def answer(self, version: int) -> Failure | None:
        """Take an attempt in, now. None when it will be answered.

        Args:
            version: of the row as the client has read it, under contention.
        """
        scenario, now = self._scenario, self._agenda.now
        if scenario.outage and scenario.outage_at <= now < scenario.outage_end:
            return self._fault()
        if scenario.error_rate and self._random.random() < scenario.error_rate:
            return self._mishap
        if scenario.contention:
            if version != self._version:
                return self._mishap._replace(refused=True)
            self._version += 1
        else:
            admission = self._quota.admit()
            if isinstance(admission, Refused):
                return self._refused(admission)
            if scenario.limits.concurrency is not None:
                self._agenda.at(now + scenario.answer, lambda _, granted: granted.release(), 0, admission)
        self.admitted += 1
        return None

    def _refused(self, refused: Refused) -> Failure:
        dialect = self._scenario.dialect
        error = self._errors.get(refused.kind)
        if error is None:
            spec = lookup(dialect, error_code(dialect, refused.kind))
            if spec is None:
                raise LookupError(f"the error table of {dialect} has no row for {refused.kind}")
            error = self._errors[refused.kind] = _error_of(spec)
        asked = refused.retry_after if self._scenario.says_when else None
        return Failure(error, asked, refused=True)


def _error_of(spec: ErrorSpec) -> QianfanError:
    """What the reference client makes of an answer with this error."""
    error = api_error(spec.dialect, spec.status, {}, envelope(spec), now=0.0, secrets=())
    if error is None:
        raise LookupError(f"the client sees no error in {spec.dialect} {spec.code}")
    return error
