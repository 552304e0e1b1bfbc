"""How a call is made, whatever it asks for: limits, attempts, retries, tokens.

A call passes through layers that are one verb each: `Caller.call` tries until the policy is content,
``_authenticated`` renews a stale token once, ``_start`` waits for the limits, ``_attempt`` sends one request and has it
read.
"""

from __future__ import annotations

import itertools
import logging
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
from qfkit.client.retry import RetryPolicy, run
from qfkit.client.schemes import Auth, Proof
from qfkit.client.transport import Answer, Outgoing, Transport
from qfkit.clock import Clock
from qfkit.protocol.messages import Json, Usage

logger = logging.getLogger("qfkit.client")

T = TypeVar("T")

#: Calls of this process, over all clients: the number that ties the log lines of one call together.
_NUMBERS = itertools.count(1)


class Trip:
    """One attempt on its way: what is sent, what proved who sent it, what must not be written down."""

    __slots__ = ("_auth", "_known", "call", "log", "number", "proof", "running", "slot")

    def __init__(
        self, call: Call, auth: Auth, secrets: tuple[str, ...], *, log: AttemptLog, number: int, slot: Slot
    ) -> None:
        self._auth = auth
        self._known = secrets
        self.call = call
        self.log = log
        self.number = number
        self.slot = slot
        self.proof = Proof()
        self.running: Running = log.start(slot.queued)

    def sign(self, request: requests.PreparedRequest) -> None:
        """Prove who asks."""
        self.proof = self._auth.authorize(request)

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
        number = next(_NUMBERS)
        verb = "stream" if call.stream else call.operation
        logger.debug("#%d %s %s %s: %r", number, call.dialect, verb, call.model, call.preview)

        def on_retry(error: QianfanError, wait: float, reason: str) -> None:
            logger.warning("#%d failed, next attempt in %.3f s (%s): %s", number, wait, reason, error.summary)

        try:
            return run(
                self.retry,
                lambda: self._authenticated(call, read, log, number),
                clock=self.clock,
                random=self.random,
                log=log,
                on_retry=on_retry,
                purse=self.purse,
            )
        except QianfanError as error:
            error.attempts = log.attempts()
            logger.error("#%d failed in %.3f s: %s", number, log.elapsed(), error.summary)  # noqa: TRY400 - the caller gets the traceback
            raise

    def read_json(self, trip: Trip, answer: Answer) -> Json:
        """The JSON object of a good answer; raises as `answers.read_json`."""
        return read_json(trip.call.dialect, answer, now=self.clock.time(), secrets=trip.secrets)

    def _authenticated(self, call: Call, read: Callable[[Trip, Answer], T], log: AttemptLog, number: int) -> T:
        trip = self._start(call, log, number)
        try:
            return self._attempt(trip, read)
        except APIError as error:
            if log.refreshed or not self.auth.renew(error, trip.proof):
                raise
            logger.info("#%d token refused (%s), sending again with a new one", number, error.code)
        log.wait(0.0, "token-refresh")
        return self._attempt(self._start(call, log, number), read)

    def _start(self, call: Call, log: AttemptLog, number: int) -> Trip:
        slot = self.limiter.acquire(call.limited_as, call.weigh)
        if slot.queued:
            logger.info("#%d held back %.3f s by the client's own limits", number, slot.queued)
        return Trip(call, self.auth, self.secrets, log=log, number=number, slot=slot)

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
            running.request_id = request_id(answer.headers)
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


def log_success(number: int, seconds: float, attempts: int, usage: Usage | None) -> None:
    """The log line of a call that went well."""
    used = usage or Usage()
    logger.info(
        "#%d answered in %.3f s, attempts: %d, tokens: %d in, %d out",
        number,
        seconds,
        attempts,
        used.prompt_tokens,
        used.completion_tokens,
    )
