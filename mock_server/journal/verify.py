"""Seeing that the requests came that should have, and teaching when they did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mock_server.journal.entries import Entries
from mock_server.journal.entry import Entry
from mock_server.journal.filters import Filters

#: Requests of each sort that a message shows.
_SHOWN = 3


class VerificationFailed(AssertionError):
    """Other requests came than were expected.

    Attributes:
        wanted: what was expected, in words.
        found: the requests that fit.
        nearest: those that did not and came nearest, the nearest first.
    """

    def __init__(self, message: str, *, wanted: str, found: Entries, nearest: Entries) -> None:
        super().__init__(message)
        self.wanted = wanted
        self.found = found
        self.nearest = nearest


@dataclass(frozen=True, slots=True)
class Count:
    """How many requests are expected: from ``least`` to ``most``, None for any number more."""

    least: int
    most: int | None

    @classmethod
    def of(cls, *, exactly: int | None, at_least: int | None, at_most: int | None, never: bool) -> Count:
        """The count of `Entries.verify`'s arguments; none of them means one request or more.

        Raises:
            ValueError: a number is none, or they contradict each other.
        """
        for name, value in (("exactly", exactly), ("at_least", at_least), ("at_most", at_most)):
            if value is not None and (type(value) is not int or value < 0):
                raise ValueError(f"{name} is a number of requests from 0; got {value!r}")
        bounded = at_least is not None or at_most is not None
        if (never, exactly is not None, bounded).count(True) > 1:
            raise ValueError("give never, exactly, or at_least and at_most: they say different things")
        if never:
            return cls(0, 0)
        if exactly is not None:
            return cls(exactly, exactly)
        if at_least is not None and at_most is not None and at_least > at_most:
            raise ValueError(f"at_least={at_least} is more than at_most={at_most}: no number is both")
        return cls(at_least if at_least is not None else 0 if at_most is not None else 1, at_most)

    def __str__(self) -> str:
        if self.most == 0:
            return "no request"
        if self.most is None:
            return f"at least {_requests(self.least)}"
        if self.least == self.most:
            return f"exactly {_requests(self.least)}"
        return f"at most {_requests(self.most)}" if not self.least else f"{self.least} to {_requests(self.most)}"

    def holds(self, number: int) -> bool:
        """Whether so many are as many as expected."""
        return self.least <= number and (self.most is None or number <= self.most)


def verify(entries: Entries, count: Count, given: Mapping[str, Any]) -> Entries:
    """See `Entries.verify`."""
    __tracebackhide__ = True
    filters = Filters(given)
    found = Entries([entry for entry in entries if filters.fit(entry)], entries.forgotten)
    if count.holds(len(found)):
        return found
    wanted = f"{count}{f' with {filters}' if filters else ''}"
    others = [entry for entry in entries if not filters.fit(entry)]
    nearest = Entries(sorted(others, key=lambda entry: _distance(filters, entry)))
    lines = [f"expected {wanted}; there {_were(len(found))} (of {_requests(len(entries))} recorded)"]
    lines += _listed("that fit", found)
    few = len(found) < count.least
    if few:
        lines += _differing(nearest, filters)
    lines += _advice(few=few, entries=entries, filters=filters)
    raise VerificationFailed("\n".join(lines), wanted=wanted, found=found, nearest=nearest)


def verify_in_order(entries: Entries, expected: Sequence[Mapping[str, Any]]) -> Entries:
    """See `Entries.verify_in_order`."""
    __tracebackhide__ = True
    if not expected:
        raise ValueError("verify_in_order takes the filters of each request that is expected, one or more")
    steps = [Filters(each) for each in expected]
    found: list[Entry] = []
    rest = list(entries)
    for number, filters in enumerate(steps, 1):
        at = next((index for index, entry in enumerate(rest) if filters.fit(entry)), None)
        if at is not None:
            found.append(rest[at])
            rest = rest[at + 1 :]
            continue
        wanted = f"{_requests(len(steps))} in order"
        lines = [
            f"expected {wanted}; number {number} ({filters or 'any request'}) did not come"
            + (f" after request #{found[-1].number}" if found else "")
        ]
        lines += [f"  {done}. {steps[done - 1]}: #{entry.number}" for done, entry in enumerate(found, 1)]
        early = [entry for entry in entries if filters.fit(entry) and entry not in found]
        if early:
            lines += _listed("that came too early for it", Entries(early))
        nearest = Entries(sorted(rest, key=lambda entry: _distance(filters, entry)))
        lines += _differing(nearest, filters)
        lines += _advice(few=True, entries=entries, filters=filters)
        raise VerificationFailed("\n".join(lines), wanted=wanted, found=Entries(found), nearest=nearest)
    return Entries(found, entries.forgotten)


def _distance(filters: Filters, entry: Entry) -> float:
    return sum(miss.distance for miss in filters.misses(entry))


def _listed(title: str, entries: Entries) -> list[str]:
    if not entries:
        return []
    lines = [f"{title}:", *(f"  {entry}" for entry in entries[:_SHOWN])]
    return [*lines, f"  … and {len(entries) - _SHOWN} more"] if len(entries) > _SHOWN else lines


def _differing(nearest: Entries, filters: Filters) -> list[str]:
    if not nearest or not filters:
        return []
    lines = ["nearest of the others, with what differed:"]
    for entry in nearest[:_SHOWN]:
        lines += [f"  {entry}", *(f"      {miss.line()}" for miss in filters.misses(entry))]
    return lines


def _advice(*, few: bool, entries: Entries, filters: Filters) -> list[str]:
    if not few:
        text = "a client that retries asks again; count its calls by ok=True, or allow more with at_most."
    elif entries.forgotten:
        text = (
            f"{_requests(entries.forgotten)} had to make room in the journal and cannot be seen any more; give it more "
            "with the settings journal and journal_bytes."
        )
    elif not entries:
        text = (
            "nothing came to this account. Has the client its URL and keys (account.env())? Requests with unknown "
            "keys are in server.requests."
        )
    elif filters:
        text = "change the request, or the filter that it misses; print(account.requests) lists them all."
    else:
        text = "let the client ask as often as is expected, or expect less with at_least."
    return [f"How to fix: {text}"]


def _requests(number: int) -> str:
    return f"{number} request{'' if number == 1 else 's'}"


def _were(number: int) -> str:
    return f"{'was' if number == 1 else 'were'} {number or 'none'}"
