"""What a failed test shows beside its own error: what the mock saw of it.

The test has failed already, so nothing here may fail it again: what cannot be told is replaced by a line that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mock_server import AccountHandle, MockServer
    from mock_server.journal import Entry
    from qfkit.testing.strict import Finding

TITLE = "what the mock Qianfan saw"

#: Requests that are shown from the beginning and from the end, and signatures whose whole page is.
_FIRST, _LAST, _PAGES = 10, 20, 2


@dataclass(frozen=True)
class Seen:
    """What is known of a test when it fails.

    Attributes:
        server: the mock of the session.
        account: of the test.
        since: how many requests the server had seen when the test began.
        unplayed: steps that no request met; empty where the failure is about just that.
    """

    server: MockServer
    account: AccountHandle
    since: int
    unplayed: Callable[[], Sequence[Finding]]


def section(seen: Seen, error: BaseException | None) -> str:
    """The report's section on a test that failed with ``error``."""
    parts: list[tuple[str, Callable[[], Iterable[str]]]] = [
        ("list of requests", lambda: _requests(seen.account.requests)),
        ("list of strays", lambda: _strays(seen)),
        ("word on chaos", lambda: _misfortune(seen.account)),
        ("list of steps", lambda: (line for finding in seen.unplayed() for line in finding.lines())),
    ]
    if not hasattr(error, "verdict"):  # a failed verdict has been told
        parts.append(("verdict on the client", lambda: _graded(seen.account)))
    return "\n".join(line for what, part in parts for line in _told(what, part))


def _told(what: str, part: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return list(part())
    except Exception as error:  # noqa: BLE001 - the test has failed already, and for another reason
        return [f"no {what}: {type(error).__name__}: {error}"]


def _requests(entries: Sequence[Entry]) -> Iterator[str]:
    """One line a request, with who answered; below it, what else came near, and what is wrong with its signature."""
    if not entries:
        yield "(no requests)"
    pages = _PAGES
    folded = len(entries) - _FIRST - _LAST
    for index, entry in enumerate(entries):
        if folded > 1 and _FIRST <= index < len(entries) - _LAST:
            if index == _FIRST:
                yield f"... {folded} more; qianfan_mock.requests has them all"
            continue
        if entry.signature is not None and not entry.signature.ok and pages:
            pages -= 1
            yield str(entry).removesuffix(f": {entry.diagnosis}")  # which the page says again
            yield from (f"    {line}".rstrip() for line in entry.signature.render().splitlines())
        else:
            yield str(entry)
        yield from (f"    {line}" for line in entry.near_misses[1:])


def _strays(seen: Seen) -> Iterator[str]:
    """Requests of this test's time that were let in for nobody: often its own, with keys that the mock has not."""
    for entry in seen.server.requests:
        if entry.account is None and entry.number > seen.since:
            why = entry.diagnosis or entry.auth_error or entry.status
            yield f"of no account: #{entry.number} {entry.method} {entry.path}: {why}"


def _misfortune(account: AccountHandle) -> Iterator[str]:
    if account.misfortune:
        yield f"{account.misfortune}: the same call on a fresh account breaks the same requests again"


def _graded(account: AccountHandle) -> list[str]:
    """What is to be said of the client; nothing where nothing is."""
    verdict = account.verdict()
    return [verdict.render()] if verdict.findings else []
