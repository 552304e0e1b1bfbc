"""One policy in one situation, from the first call to the end of the last."""

from __future__ import annotations

import gc
from array import array
from collections import Counter
from collections.abc import Callable
from itertools import repeat
from random import Random
from typing import Final

from qfkit.client.budget import Purse
from qfkit.client.exceptions import APIError
from qfkit.simulation.agenda import Agenda
from qfkit.simulation.measures import Curve, Rush
from qfkit.simulation.policies import Contender
from qfkit.simulation.scenario import Scenario
from qfkit.simulation.service import Failure, Service

#: Attempts of one run at most, unless told otherwise. At about 10 microseconds each these are some minutes.
MOST_ATTEMPTS: Final = 20_000_000

#: Attempts between two looks at the limit, and two reports of progress.
_STRIDE: Final = 1 << 16


class TooMuch(RuntimeError):
    """A simulation that was stopped: it had made as many attempts as were allowed, and was not at its end."""


class Run:
    """What happens, event by event, and the records of it.

    Two events an attempt: it arrives at the service, and its failure arrives at the client (its answer too, which ends
    the call). Everything that is drawn comes from streams of its own, so that policies meet the same arrivals.

    Args:
        scenario: the situation.
        contender: the policy.
        most: attempts to stop after.
        tell: is told from time to time how many attempts there were, and the simulated time.

    Attributes:
        began, ended: of each call, in seconds.
        attempts: of each call.
        answered: of each call, 1 when it was.
    """

    def __init__(
        self,
        scenario: Scenario,
        contender: Contender,
        *,
        most: int = MOST_ATTEMPTS,
        tell: Callable[[int, float], None] | None = None,
    ) -> None:
        total = scenario.total
        self.scenario = scenario
        self.began = array("d", bytes(8 * total))
        self.ended = array("d", bytes(8 * total))
        self.attempts = array("l", bytes(array("l").itemsize * total))
        self.answered = bytearray(total)
        self.refused = self.faults = 0
        self.causes: Counter[str] = Counter()
        self.rush, self.storm = Rush(), Rush()
        self.arrivals, self.answers = Curve(), Curve()
        self.service = Service(scenario, agenda := Agenda(), Random(f"{scenario.seed}/errors"))
        self.all_attempts = 0
        self._agenda = agenda
        self._policy, self._honours = contender.policy, contender.honours
        self._most, self._tell, self._label = most, tell, contender.label
        self._hops = Random(f"{scenario.seed}/hops")
        self._jitter = Random(f"{scenario.seed}/jitter")
        self._beginnings = scenario.beginnings(Random(f"{scenario.seed}/arrivals"))
        # What only some situations need takes no memory in the others.
        self._versions = array("l", bytes(array("l").itemsize * total)) if scenario.contention else None
        self._backoffs = array("d", repeat(-1.0, total))
        self._purses: dict[int, Purse] = {}

    def go(self) -> None:
        """Let it happen.

        Raises:
            TooMuch: it is not at its end after so many attempts.
        """
        self._agenda.at(self._beginnings[0], self._next, 0)
        # Events are millions of small tuples in no cycle: to look for cycles among them takes a third of the time.
        collects = gc.isenabled()
        gc.disable()
        try:
            self._agenda.run()
        finally:
            if collects:
                gc.enable()

    def _next(self, call: int, _: object) -> None:
        # The first calls put each other down, so that those to come need no place on the agenda.
        if call + 1 < len(self._beginnings):
            self._agenda.at(self._beginnings[call + 1], self._next, call + 1)
        self._begin(call)

    def _begin(self, call: int) -> None:
        self.began[call] = self._agenda.now
        if (purse := self._purse(call)) is not None:
            purse.earn()
        self._send(call, self._agenda.now)

    def _send(self, call: int, moment: float) -> None:
        self._agenda.at(moment + self._hop(), self._read if self._versions is not None else self._arrive, call)

    def _read(self, call: int, _: object) -> None:
        assert self._versions is not None
        self._versions[call] = self.service.read()
        self._agenda.at(self._agenda.now + self._hop() + self._hop(), self._arrive, call)

    def _arrive(self, call: int, _: object) -> None:
        now = self._agenda.now
        self.attempts[call] += 1
        self.all_attempts += 1
        if not self.all_attempts % _STRIDE or self.all_attempts > self._most:
            self._check(now)
        self.rush.add(now)
        if self.scenario.outage and now >= self.scenario.outage_end:
            self.storm.add(now)
        self.arrivals.add(now)
        failure = self.service.answer(0 if self._versions is None else self._versions[call])
        if failure is None:
            self._agenda.at(now + self.scenario.answer + self._hop(), self._succeed, call)
            return
        if failure.refused:
            self.refused += 1
        else:
            self.faults += 1
        self._agenda.at(now + (failure.held or self._hop()), self._fail, call, failure)

    def _succeed(self, call: int, _: object) -> None:
        self.answered[call] = 1
        self.answers.add(self._agenda.now)
        self._end(call)

    def _fail(self, call: int, failure: Failure) -> None:
        error, now = failure.error, self._agenda.now
        if isinstance(error, APIError):
            error.retry_after = failure.retry_after if self._honours else None
        before = self._backoffs[call]
        decision = self._policy.decide(
            error,
            failures=self.attempts[call],
            elapsed=now - self.began[call],
            random=self._jitter,
            previous=None if before < 0 else before,
            purse=self._purse(call),
        )
        if decision.wait is None:
            self.causes[decision.cause or "attempts"] += 1
            self._end(call)
            return
        if decision.reason == "backoff":
            self._backoffs[call] = decision.wait
        self._send(call, now + decision.wait)

    def _end(self, call: int) -> None:
        self.ended[call] = self._agenda.now
        following = call + self.scenario.clients
        if self.scenario.rate is None and following < len(self.began):
            self._begin(following)

    def _purse(self, call: int) -> Purse | None:
        if self._policy.budget is None:
            return None
        client = call % self.scenario.clients
        purse = self._purses.get(client)
        if purse is None:
            purse = self._purses[client] = Purse(self._policy.budget)
        return purse

    def _hop(self) -> float:
        mean, deviation = self.scenario.hop, self.scenario.hop_sd
        return abs(self._hops.gauss(mean, deviation)) if deviation else mean

    def _check(self, now: float) -> None:
        if self.all_attempts > self._most:
            raise TooMuch(
                f"{self._label}: stopped after {self._most:,} attempts, {now:.6g} s into the simulation and not at its "
                f"end. Give the policy fewer attempts or longer waits, simulate fewer clients, or allow more attempts"
            )
        if self._tell is not None:
            self._tell(self.all_attempts, now)
