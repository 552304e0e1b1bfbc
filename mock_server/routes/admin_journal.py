"""What the mock saw: read, followed, verified, exported, forgotten; of the server, or of one account."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from flask import Response

from mock_server.journal import Entries, Journal
from mock_server.routes.operation import Call, ControlError, Operation
from qfkit.clock import SYSTEM_CLOCK, Clock

#: Requests that may wait at the same time for something to happen: Flask's threads are few, and some must be left.
#: Those beyond are answered at once.
WAITING = 4

#: Seconds between two looks at the journal while somebody waits. Looking is cheap; telling those who wait would cost
#: every request of the service.
LOOK_EVERY = 0.05

_Seconds: TypeAlias = Annotated[
    float, msgspec.Meta(ge=0, le=30, description="seconds to wait when there is nothing yet, 0 to 30")
]


class Filters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which requests; what is left out does not matter. As `Entries.where` in Python."""

    dialect: str | None = None
    operation: str | None = None
    method: str | None = None
    path: str | None = None
    model: str | None = None
    account: str | None = None
    status: int | None = None
    code: Annotated[int | str | None, msgspec.Meta(description="error code, such as 18 or rpm_rate_limit_exceeded")] = (
        None
    )
    ok: bool | None = None
    stream: bool | None = None
    contains: Annotated[str | None, msgspec.Meta(description="a text that the body holds")] = None
    answered_by: str | None = None
    rule: str | None = None
    signature: Annotated[str | None, msgspec.Meta(description="verdict on the signature, such as ok or mismatch")] = (
        None
    )
    scheme: str | None = None
    outcome: Annotated[
        Literal["pending", "complete", "cut", "reset", "hung up"] | None,
        msgspec.Meta(description="how the delivery went"),
    ] = None
    request_id: str | None = None
    since: Annotated[float | None, msgspec.Meta(description="Unix time")] = None
    until: Annotated[float | None, msgspec.Meta(description="Unix time")] = None

    def given(self) -> dict[str, Any]:
        """Those that were given, as `Entries.where` takes them."""
        found = {name: getattr(self, name) for name in Filters.__struct_fields__}
        if isinstance(self.code, str) and self.code.isdecimal():  # a query knows no numbers
            found["code"] = int(self.code)
        return {name: value for name, value in found.items() if value is not None}


class Reading(Filters, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What to read of a journal, and how."""

    after: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | None,
        msgspec.Meta(description="only requests with a greater number: those that came since"),
    ] = None
    limit: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=10_000, description="at most so many: the first with `after`, else the last, oldest first"
        ),
    ] = 100
    wait: _Seconds = 0.0
    format: Annotated[
        Literal["json", "jsonl", "har"],
        msgspec.Meta(description="a page, one JSON object a line, or an HTTP archive (HAR 1.2)"),
    ] = "json"


class JournalPage(msgspec.Struct, kw_only=True):
    """Part of a journal; what an entry holds is in docs/journal.md."""

    entries: list[dict[str, Any]]
    count: Annotated[int, msgspec.Meta(description="requests recorded since the start")]
    forgotten: Annotated[int, msgspec.Meta(description="requests that made room for others")]


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What should have come: so many requests that fit ``where``, or requests that fit ``in_order`` one by one."""

    where: Filters = Filters()
    exactly: Annotated[int, msgspec.Meta(ge=0)] | None = None
    at_least: Annotated[int, msgspec.Meta(ge=0)] | None = None
    at_most: Annotated[int, msgspec.Meta(ge=0)] | None = None
    never: bool = False
    in_order: list[Filters] = []


class Checked(msgspec.Struct, kw_only=True):
    """Whether it came. The message says what came instead, and what was nearest."""

    ok: bool
    message: str
    numbers: Annotated[list[int], msgspec.Meta(description="the requests that fit")]


#: What those who wait go by, in tests a clock that skips. The mock's own clock may be a virtual one.
clock: Clock = SYSTEM_CLOCK

_waiting = threading.BoundedSemaphore(WAITING)


def read_journal(call: Call) -> Response:
    """Read what came. With ``after`` and ``wait``, follow it: the answer comes as soon as there is something."""
    journal, reading = _journal(call), call.query
    _filtered(journal, reading)  # a wrong filter is refused before the answer begins
    form, write = _FORMATS[reading.format]
    place = ExitStack()  # closed once, by whatever comes first: the end of the answer, or of its connection
    waits = reading.wait > 0 and _waiting.acquire(blocking=False)
    if waits:
        place.callback(_waiting.release)
    pieces = _followed(journal, reading, lambda found: write(journal, found), reading.wait if waits else 0.0)
    response = Response(_closing(place, pieces), content_type=form)
    response.call_on_close(place.close)
    return response


def _closing(place: ExitStack, pieces: Iterator[bytes]) -> Iterator[bytes]:
    with place:
        yield from pieces


def _followed(journal: Journal, reading: Reading, write: Callable[[Entries], bytes], wait: float) -> Iterator[bytes]:
    """The answer's body: empty pieces while nothing has come, so that a client that has left is noticed; then all."""
    until = clock.monotonic() + wait
    while not (found := _filtered(journal, reading)) and clock.monotonic() < until:
        yield b""
        clock.sleep(LOOK_EVERY)
    yield write(found)


def clear_journal(call: Call) -> None:
    """Forget what was recorded; numbers go on."""
    _journal(call).clear()
    if "name" not in call.names:
        for account in call.state.accounts():
            account.journal.clear()


def verify_journal(call: Call) -> Checked:
    """See that the requests came that should have; without a number, at least one."""
    check: Check = call.body
    entries = _journal(call).entries()
    numbers = {name: getattr(check, name) for name in ("exactly", "at_least", "at_most", "never")}
    counted = check.never or any(value is not None for name, value in numbers.items() if name != "never")
    if check.in_order and (counted or check.where.given()):
        raise ControlError(400, "in_order stands alone: it has filters of its own", path="$.in_order")
    try:
        if check.in_order:
            found = entries.verify_in_order([filters.given() for filters in check.in_order])
        else:
            found = entries.verify(**numbers, **check.where.given())
    except AssertionError as error:
        return Checked(ok=False, message=str(error), numbers=[])
    except (TypeError, ValueError) as error:
        raise ControlError(400, str(error), path="$") from error
    return Checked(ok=True, message=f"{len(found)} requests fit", numbers=[entry.number for entry in found])


def _journal(call: Call) -> Journal:
    return call.owner.journal if "name" in call.names else call.state.journal


def _filtered(journal: Journal, reading: Reading) -> Entries:
    entries = journal.entries()
    if reading.after is not None:
        entries = Entries([entry for entry in entries if entry.number > reading.after], entries.forgotten)
    try:
        found = entries.where(**reading.given())
    except (TypeError, ValueError) as error:
        raise ControlError(400, str(error)) from error
    return found[-reading.limit :] if reading.after is None else found[: reading.limit]


def _page(journal: Journal, found: Entries) -> bytes:
    page = JournalPage(entries=[entry.to_dict() for entry in found], count=journal.count, forgotten=journal.forgotten)
    return msgspec.json.encode(page)


_FORMATS: dict[str, tuple[str, Callable[[Journal, Entries], bytes]]] = {
    "json": ("application/json", _page),
    "jsonl": ("application/x-ndjson", lambda _, found: found.to_jsonl().encode()),
    "har": ("application/har+json", lambda _, found: msgspec.json.encode(found.to_har())),
}

_TAG = "journal"


def _operations(path: str, suffix: str, python: str) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path=path,
            view=read_journal,
            suffix=suffix,
            tag=_TAG,
            query=Reading,
            answer=JournalPage,
            media=("application/x-ndjson", "application/har+json"),
            python=python,
        ),
        Operation(
            method="DELETE", path=path, view=clear_journal, suffix=suffix, tag=_TAG, status=204, python="Journal.clear"
        ),
        Operation(
            method="POST",
            path=f"{path}/verify",
            view=verify_journal,
            suffix=suffix,
            tag=_TAG,
            body=Check,
            answer=Checked,
            python="Entries.verify",
        ),
    )


OPERATIONS = (
    *_operations("/journal", "", "MockServer.requests"),
    *_operations("/accounts/{name}/journal", "_of_account", "AccountHandle.requests"),
)
