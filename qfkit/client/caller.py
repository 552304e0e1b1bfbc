"""How a call is made, whatever it asks for: limits, attempts, retries, tokens.

A call passes through layers that are one verb each: `Caller.call` tries until the policy is content,
``_authenticated`` renews a stale token once, ``_start`` waits for the limits, ``_attempt`` sends one request and has it
read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import requests

from qfkit.client.answers import read_json, request_id
from qfkit.client.attempts import AttemptLog, Running
from qfkit.client.budget import Purse
from qfkit.client.calls import Call
from qfkit.client.exceptions import APIError, QianfanError
from qfkit.client.limits import Limiter, Slot
from qfkit.client.logs import CallLog
from qfkit.client.redaction import scrub
from qfkit.client.retry import RetryPolicy, run
from qfkit.client.schemes import Auth, Proof
from qfkit.client.transport import Answer, Outgoing, Transport
from qfkit.clock import Clock
from qfkit.protocol.messages import Json

T = TypeVar("T")

#: Calls of this process, over all clients: the number that ties the log lines of one call together.
_NUMBERS = itertools.count(1)


class Trip:
    """One attempt on its way: what is sent, what proved who sent it, what must not be written down."""

    __slots__ = ("_auth", "_known", "call", "headers_after", "lines", "log", "proof", "running", "slot")

    def __init__(
        self, call: Call, auth: Auth, secrets: tuple[str, ...], *, log: AttemptLog, lines: CallLog, slot: Slot
    ) -> None:
        self._auth = auth
        self._known = secrets
        self.call = call
        self.log = log
        self.lines = lines
        self.slot = slot
        self.headers_after: float | None = None  # seconds from the start of the call
        self.proof = Proof()
        self.running: Running = log.start(slot.queued)

    def sign(self, request: requests.PreparedRequest) -> None:
        """Prove who asks."""
        self.proof = self._auth.authorize(request)
        self.lines.proven = self.proof.sensitive

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys, and the token or signature of this attempt."""
        return (*self._known, *self.proof.sensitive)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Caller:
    """Makes calls of any kind to one service. Used from many threads at once.

    Attributes:
        base_url: scheme and host, without a trailing slash.
        transport: sends.
        auth: proves who asks.
        retry: says whether to try again.
        limiter: says when an attempt may begin.
        clock: time, and how to sleep.
        random: where jitter is drawn.
        secrets: what to strike out of whatever is written.
        purse: what is left of the policy's retry budget, None where it has none.
    """

    base_url: str
    transport: Transport
    auth: Auth
    retry: RetryPolicy
    limiter: Limiter
    clock: Clock
    random: Random
    secrets: tuple[str, ...]
    purse: Purse | None = None

    def call(self, call: Call, read: Callable[[Trip, Answer], T]) -> T:
        """Make ``call`` until ``read`` is content with an answer.

        Raises:
            QianfanError: what the last attempt failed with; ``attempts`` holds them all.
        """
        log = AttemptLog(self.clock)
        lines = CallLog(next(_NUMBERS), call, self.secrets)
        lines.start()

        try:
            return run(
                self.retry,
                lambda: self._authenticated(call, read, log, lines),
                clock=self.clock,
                random=self.random,
                log=log,
                on_retry=lines.retry,
                purse=self.purse,
            )
        except QianfanError as error:
            error.attempts = log.attempts()
            lines.failure(error, log.elapsed(), len(error.attempts))
            raise

    def read_json(self, trip: Trip, answer: Answer) -> Json:
        """The JSON object of a good answer; raises as `answers.read_json`."""
        return read_json(trip.call.dialect, answer, now=self.clock.time(), secrets=trip.secrets)

    def _authenticated(self, call: Call, read: Callable[[Trip, Answer], T], log: AttemptLog, lines: CallLog) -> T:
        trip = self._start(call, log, lines)
        try:
            return self._attempt(trip, read)
        except APIError as error:
            if log.refreshed or not self.auth.renew(error, trip.proof):
                raise
            lines.token_refused(error.code)
        log.wait(0.0, "token-refresh")
        return self._attempt(self._start(call, log, lines), read)

    def _start(self, call: Call, log: AttemptLog, lines: CallLog) -> Trip:
        slot = self.limiter.acquire(call.limited_as, call.weigh)
        if slot.queued:
            lines.held(slot.queued)
        return Trip(call, self.auth, self.secrets, log=log, lines=lines, slot=slot)

    def _attempt(self, trip: Trip, read: Callable[[Trip, Answer], T]) -> T:
        call, log, running = trip.call, trip.log, trip.running
        outgoing = Outgoing(
            "POST",
            self.base_url + call.path,
            call.body,
            {"Content-Type": "application/json", "Accept": call.accept},
        )
        try:
            answer = self.transport.send(outgoing, trip.sign, stream=call.stream)
            running.status = answer.status
            trip.headers_after = log.elapsed()
            running.request_id = scrub(request_id(answer.headers), trip.secrets)
            self.limiter.learn(call.limited_as, answer.headers)
            result = read(trip, answer)
        except BaseException as error:
            if isinstance(error, QianfanError):
                log.end(running, error)
            trip.slot.release()
            raise
        if not call.stream:  # a stream keeps its slot until it ends
            trip.slot.release()
        return result
