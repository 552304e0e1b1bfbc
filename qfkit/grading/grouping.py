"""Which attempts belong to one call.

A server sees requests. What its client meant by them has to be told:

1. **By an id.** Attempts with the same ``X-Qfkit-Call-Id`` or ``Idempotency-Key`` are one call: *explicit*.
2. **By a count.** openai-python and its kin number the attempts of a call (``x-stainless-retry-count``): number 0
   begins a call, number n goes on with one of the same content whose last attempt was n - 1: *explicit* as well. Where
   every attempt has number 0, the counting library has been told not to retry, and the number says nothing.
3. **By content and order.** Else a request goes on with an open call of the same content. A call is open while its last
   attempt has failed, and that attempt has to have ended before the request came. An answer closes a call, and so does
   whoever declares to have noticed the failure. What needs no retry (a permanent error) keeps a call open for
   `Limits.patience` only, anything else for a quarter of an hour beyond ``Retry-After``. This is *likely*: a person who
   asks the same thing again looks the same.

Where a request could go on with several open calls, nobody can tell with which: all of them are *ambiguous*. The one
that failed first gets it, so that waves of retries keep their shape.

So is a *likely* call in which three and more requests came at once and others after a wait: nobody backs off like
that, but several who ask the same thing at the same time look so. And where one call of a content is ambiguous, all
that were put together by content and order are.

Token fetches belong to no call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

from qfkit.grading.limits import Limits
from qfkit.grading.observed import Observation

Certainty: TypeAlias = Literal["explicit", "likely", "ambiguous"]

#: From the least sure on.
CERTAINTIES: tuple[Certainty, ...] = ("ambiguous", "likely", "explicit")

#: Seconds by which a retry may seem to come before the end of what it follows: the end is noted after the last bytes
#: have left, and a client on the same machine is quick.
_OVERLAP = 0.002

#: Seconds after which nobody tries again.
_FORGOTTEN = 900.0

#: Open calls of one content that are remembered; beyond, all is ambiguous anyway.
_REMEMBERED = 200

#: Requests that came at once, from which on those of one call with others that did not are more than one call.
_CROWD = 3

_RETRIED = frozenset({"retryable", "stale", "permanent", "broken"})


class Gap(NamedTuple):
    """What lies between two attempts of one call.

    Attributes:
        before, after: the attempts.
        seconds: from the end of the one to the arrival of the other; None where the first has no end.
        failures: of the call until then that were no matter of a stale token.
        renewal: it was the one attempt more that a stale token calls for.
    """

    before: Observation
    after: Observation
    seconds: float | None
    failures: int
    renewal: bool

    @property
    def backoff(self) -> float | None:
        """Seconds that the client chose to wait; None where the service said how long, or it is not known."""
        return None if self.renewal or self.before.retry_after else self.seconds


@dataclass(slots=True, eq=False)
class Call:
    """Attempts that belong together.

    Attributes:
        number: from 1, in the order in which calls began.
        attempts: in the order in which they arrived.
        certainty: how sure it is that they do.
        noticed: its client declared to have noticed how it ended.
        follows: the call of the same content that had failed shortly before this one began, where attempts are counted.
    """

    number: int
    attempts: list[Observation]
    certainty: Certainty
    noticed: bool = False
    follows: Call | None = field(default=None, repr=False)

    @property
    def first(self) -> Observation:
        """Its first attempt."""
        return self.attempts[0]

    @property
    def last(self) -> Observation:
        """Its last attempt."""
        return self.attempts[-1]

    @property
    def gaps(self) -> list[Gap]:
        """What lies between its attempts."""
        found: list[Gap] = []
        failures = 0
        for before, after in pairwise(self.attempts):
            renewal = before.fate == "stale"
            failures += not renewal
            known = before.ended is not None and before.fate != "left"
            seconds = max(0.0, after.began - before.ended) if known and before.ended is not None else None
            found.append(Gap(before, after, seconds, failures, renewal))
        return found

    @property
    def tries(self) -> int:
        """Its attempts, without those that only a stale token made necessary."""
        return 1 + sum(not gap.renewal for gap in self.gaps)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "number": self.number,
            "attempts": [attempt.number for attempt in self.attempts],
            "waits": [gap.seconds for gap in self.gaps],
            "fates": [attempt.fate for attempt in self.attempts],
            "certainty": self.certainty,
            "noticed": self.noticed,
        }


def group(
    observed: Iterable[Observation], *, noticed: Collection[int] = (), limits: Limits | None = None
) -> list[Call]:
    """The calls that these requests belong to, in the order in which they began.

    Args:
        observed: in the order of arrival.
        noticed: numbers of the attempts that ended a call as their client declared.
        limits: see `Limits.patience`.
    """
    groups = _Groups(frozenset(noticed), limits or Limits())
    for one in observed:
        if not one.token_fetch:
            groups.add(one)
    for call in groups.calls:
        if call.certainty == "likely" and _mingled(call, groups.limits.instant):
            call.certainty = "ambiguous"
    unclear = {call.first.content for call in groups.calls if call.certainty == "ambiguous"}
    for call in groups.calls:
        if call.certainty == "likely" and call.first.content in unclear:
            call.certainty = "ambiguous"
    return groups.calls


def _mingled(call: Call, instant: float) -> bool:
    waits = [gap.backoff for gap in call.gaps if gap.backoff is not None]
    at_once = sum(wait < instant for wait in waits)
    return _CROWD <= at_once < len(waits)


class _Groups:
    def __init__(self, noticed: frozenset[int], limits: Limits) -> None:
        self.calls: list[Call] = []
        self._noticed = noticed
        self.limits = limits
        self._by_id: dict[tuple[str, str], Call] = {}
        self._open: dict[str, list[Call]] = {}

    def add(self, one: Observation) -> None:
        """Find the call of the next request."""
        if one.call_id is not None:
            self._explicit(one, one.call_id)
            return
        waiting = self._waiting(one)
        if one.retry_count is not None:
            self._counted(one, one.retry_count, waiting)
            return
        candidates = [call for call in waiting if call.last.retry_count is None]
        self._go_on(one, candidates, "likely")

    def _explicit(self, one: Observation, name: str) -> None:
        # The same id with another question is a bug of the client's: not one that should confuse this.
        key = (name, one.content)
        if key not in self._by_id:
            self._by_id[key] = self._begin("explicit")
        self._put(one, self._by_id[key], opens=False)

    def _counted(self, one: Observation, count: int, waiting: list[Call]) -> None:
        if count == 0 and (silent := [call for call in waiting if _counts_nothing(call)]):
            for call in silent:
                call.certainty = "likely"
            self._go_on(one, silent, "likely")
        elif count == 0:
            call = self._begin("explicit")
            failed = [each for each in waiting if each.last.retry_count is not None and each.last.fate != "left"]
            if len(failed) == 1:
                call.follows = failed[0]
                self._open[one.content].remove(failed[0])
            self._put(one, call)
        else:
            self._go_on(one, [call for call in waiting if call.last.retry_count == count - 1], "explicit")

    def _go_on(self, one: Observation, candidates: list[Call], certainty: Certainty) -> None:
        """Go on with the one candidate; with the one that failed first of several; or begin a call."""
        if len(candidates) > 1:
            for call in candidates:
                call.certainty = "ambiguous"
        self._put(one, min(candidates, key=_since) if candidates else self._begin(certainty))

    def _begin(self, certainty: Certainty) -> Call:
        call = Call(len(self.calls) + 1, [], certainty)
        self.calls.append(call)
        return call

    def _put(self, one: Observation, call: Call, *, opens: bool = True) -> None:
        call.attempts.append(one)
        call.noticed = one.number in self._noticed
        waiting = self._open.setdefault(one.content, [])
        if call in waiting:
            waiting.remove(call)
        # One that is left after some of its content had come is one whose client had enough of it.
        keeps = one.fate in _RETRIED or (one.fate == "left" and not one.pieces)
        if opens and keeps and not call.noticed:
            waiting.append(call)
            del waiting[:-_REMEMBERED]

    def _waiting(self, one: Observation) -> list[Call]:
        """The open calls that this request could go on with."""
        return [call for call in self._open.get(one.content, ()) if self._could(call.last, one)]

    def _could(self, last: Observation, one: Observation) -> bool:
        if last.fate == "left":  # when a client has gone is noticed late
            return last.ended is None or one.began - last.ended <= self.limits.patience
        if last.ended is None or last.ended > one.began + _OVERLAP:
            return False
        longest = self.limits.patience if last.fate == "permanent" else _FORGOTTEN + (last.retry_after or 0.0)
        return one.began - last.ended <= longest


def _counts_nothing(call: Call) -> bool:
    return all(attempt.retry_count == 0 for attempt in call.attempts)


def _since(call: Call) -> float:
    return call.last.ended or call.last.began


def certainty_of(calls: Iterable[Call]) -> Certainty:
    """The least sure of the calls that have more than one attempt, ``explicit`` where there is none."""
    found = {call.certainty for call in calls if len(call.attempts) > 1 or call.certainty == "ambiguous"}
    return next((certainty for certainty in CERTAINTIES if certainty in found), "explicit")


def gaps_of(calls: Iterable[Call]) -> Iterator[tuple[Call, Gap]]:
    """Every gap of every call."""
    for call in calls:
        for gap in call.gaps:
            yield call, gap
