"""What a failed test shows beside its own error: what the mock saw of it.

The test has failed already, so nothing here may fail it again: what cannot be told is replaced by a line that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mock_server import AccountHandle
    from qfkit.testing.intercept import Interception

TITLE = "what the mock Qianfan saw"


def section(account: AccountHandle, interception: Interception | None, error: BaseException | None) -> str:
    """The report's section on a test that failed with ``error``."""
    parts: list[tuple[str, Callable[[], Iterable[str]]]] = [
        ("list of requests", lambda: [repr(account.requests)]),
        ("word on chaos", lambda: _misfortune(account)),
        ("list of steps", lambda: _waiting(account)),
    ]
    if interception is not None:
        parts.append(("list of strays", lambda: interception.strays))
    if not hasattr(error, "verdict"):  # a failed verdict has been told
        parts.append(("verdict on the client", lambda: _graded(account)))
    return "\n".join(line for what, part in parts for line in _told(what, part))


def _told(what: str, part: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return list(part())
    except Exception as error:  # noqa: BLE001 - the test has failed already, and for another reason
        return [f"no {what}: {type(error).__name__}: {error}"]


def _misfortune(account: AccountHandle) -> Iterator[str]:
    if account.misfortune:
        yield f"{account.misfortune}: the same call on a fresh account breaks the same requests again"


def _waiting(account: AccountHandle) -> Iterator[str]:
    if waiting := account.waiting:
        yield f"not met by any request: {', '.join(waiting)}"


def _graded(account: AccountHandle) -> list[str]:
    """What is to be said of the client; nothing where nothing is."""
    verdict = account.verdict()
    return [verdict.render()] if verdict.findings else []
